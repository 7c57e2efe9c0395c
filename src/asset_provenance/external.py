"""``ExternalAsset``: data that come from outside AIND, with a data description only."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from asset_provenance.capture.platform import default_folders
from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    JOURNAL_FOLDER,
    MANIFEST,
    file_name,
)
from asset_provenance.errors import PreflightError, StorageError, UsageError
from asset_provenance.folder import OutputFolder
from asset_provenance.options import check_callable
from asset_provenance.settings import load_settings

if TYPE_CHECKING:
    from asset_provenance.metadata.external import ExternalFacts, Fault
    from asset_provenance.metadata.writer import FileToWrite

__all__ = ["ExternalAsset", "check_facts"]

P = ParamSpec("P")
R = TypeVar("R")

_RUN = "external-"
"""With what the folders begin that a description is staged in."""
_DESCRIPTION = file_name(DATA_DESCRIPTION)

_log = logging.getLogger("asset_provenance")


class ExternalAsset:
    """Describes data that come from outside AIND, as they are when they are complete.

    A context manager around the block that downloads into :attr:`output_dir`, a decorator of a
    function that does, or :meth:`write` for data that are there. Only a data description is
    written. Facts come from the call alone: what the settings hold are the user's own.

    Parameters
    ----------
    name
        What the data are called: letters, digits, hyphens, dots and plus signs.
    source
        The URL or API call that they were got from; credentials in it are not kept.
    creation_time
        When they were posted, or a related publication date if that is not available: a date, a
        date with a time, or the text of either. The asset's name has it as it is written here. A
        date alone is midnight in UTC, a time without a zone is local time.
    institution, investigators, modalities, funding_source, license
        As their own documents have them; there is no default for what is other people's. Objects
        of the schema, or plain texts such as ``"UPENN"``, ``"MRI"``, ``"NIMH:RF1MH124605"``.
        Funding that nobody documents is ``"UNKNOWN"``.
    accessed
        The day they were got; default the day on which the block is entered.
    project_name
        ``"external data"``, unless their collection is part of an AIND project.
    data_summary
        What they are; where and when they were got is added to it.
    subject_id
        Of the one subject that they are about, if there is one.
    output_dir
        The folder that holds the data, or is to; default ``/results`` in a capsule, else
        ``./results``.
    checksums
        Keep a list of the SHA-256 of every data file in ``provenance/checksums-sha256.txt``, for
        ``sha256sum --check``; default the setting ``checksums``, which is false.

    Raises
    ------
    PreflightError
        At once, for every fact that is missing or malformed; and when the folder is opened, if it
        holds metadata already.
    UsageError
        If there are no data in the folder when it is to be described.
    StorageError
        If the folder cannot be written to, or another run has it.

    Examples
    --------
    >>> from asset_provenance import ExternalAsset
    >>> with ExternalAsset(  # doctest: +SKIP
    ...     "KimLab-DevCCF-v1", source="https://example.org/atlas.zip", creation_time="2024-04-21",
    ...     institution="UPENN", investigators=["Yongsoo Kim"], modalities=["MRI", "SPIM"],
    ...     funding_source=["NIMH:RF1MH12460501"], license="CC-BY-4.0",
    ... ) as asset:
    ...     download(asset.output_dir)
    """

    def __init__(
        self,
        name: str,
        *,
        source: str | None = None,
        creation_time: date | datetime | str | None = None,
        institution: object = None,
        investigators: object = None,
        modalities: object = None,
        funding_source: object = None,
        license: object = None,  # noqa: A002 - the schema's name
        accessed: date | str | None = None,
        project_name: str = "external data",
        data_summary: str | None = None,
        subject_id: str | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        checksums: bool | None = None,
    ) -> None:
        if callable(name):
            raise UsageError('ExternalAsset needs a name to decorate with: @ExternalAsset("...")')
        if output_dir is not None and not isinstance(output_dir, str | os.PathLike):
            raise UsageError(f"output_dir must be a path, not {output_dir!r:.80}")
        given = {
            "name": name,
            "source": source,
            "creation_time": creation_time,
            "institution": institution,
            "investigators": investigators,
            "modalities": modalities,
            "funding_source": funding_source,
            "license": license,
            "accessed": accessed,
            "project_name": project_name,
            "data_summary": data_summary,
            "subject_id": subject_id,
        }
        self._facts = check_facts(given, _as_keyword)
        if self._facts.had_secret:
            _log.warning("the source holds what looks like credentials; they are not kept")
        self._output_dir = output_dir
        self._checksums = checksums
        self._opening: _Opening | None = None

    @property
    def name(self) -> str:
        """The asset's name, with its time."""
        return self._facts.name

    @property
    def output_dir(self) -> Path:
        """The folder that holds the data, or is to."""
        return self._choices()[0] if self._opening is None else self._opening.folder

    def __enter__(self) -> Self:
        """Take the folder, which a block then fills."""
        if self._opening is not None and self._opening.is_open:
            raise UsageError("the asset is open already")
        self._opening = self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Describe what is in the folder; after an exception, which goes on, write nothing."""
        if self._opening is not None:
            self._opening.close(is_complete=error is None)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function that gets the data: each call of it is one asset."""
        check_callable(function)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(
                f"{function.__qualname__} is a generator, whose end nobody may see; open the asset "
                "in a with block around the loop that uses it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def await_data(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._opened():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", await_data)

        @functools.wraps(function)
        def get_data(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._opened():
                return function(*args, **kwargs)

        return get_data

    def write(self, *, copy_from: str | os.PathLike[str] | None = None) -> Path:
        """Describe data that are in the folder, or are copied there first.

        Parameters
        ----------
        copy_from
            A folder whose content is copied into ``output_dir``, all of it or nothing.

        Returns
        -------
        pathlib.Path
            The ``data_description.json``.
        """
        with self._opened(copy_from):
            pass
        return self.output_dir / _DESCRIPTION

    @contextmanager
    def _opened(self, copy_from: str | os.PathLike[str] | None = None) -> Iterator[None]:
        # Each call has its own: several may go on at once, in folders of their own.
        opening = self._open(copy_from)
        try:
            yield
        except BaseException:
            opening.close(is_complete=False)
            raise
        opening.close(is_complete=True)

    def _open(self, copy_from: str | os.PathLike[str] | None = None) -> _Opening:
        folder, checksums = self._choices()
        source = None if copy_from is None else _absolute(copy_from)
        return _Opening(self._facts, folder, source, checksums=checksums)

    def _choices(self) -> tuple[Path, bool]:
        """Give the folder, and whether checksums are wanted; facts of the settings do not count."""
        settings = load_settings({}, script_folder=_script_folder())
        if settings.problems:
            raise PreflightError("the settings cannot be used; mend this first:", settings.problems)
        default = settings.text("output_dir") or default_folders().output_dir
        chosen = default if self._output_dir is None else self._output_dir
        wanted = self._checksums
        return _absolute(chosen), (
            settings.flag("checksums", default=False) if wanted is None else wanted
        )


class _Opening:
    """A folder that is being filled, and described when it is closed."""

    def __init__(
        self, facts: ExternalFacts, folder: Path, source: Path | None, *, checksums: bool
    ) -> None:
        self.folder = folder
        self.is_open = True
        self._facts = facts
        self._checksums = checksums
        self._process_id = os.getpid()
        self._accessed = facts.accessed or _now().date()
        # A label of a derived asset has no colon: neither replaces what describes the other.
        self._label = f"external:{facts.label}"
        if source is not None:
            _check_source(source, folder)
        self._own = OutputFolder(folder)
        try:
            self._clear()
            self._refuse_metadata()
            if source is not None:
                self._copy(source)
        except BaseException:
            self._own.abandon()
            raise

    def close(self, *, is_complete: bool) -> None:
        """Describe the folder, if it is complete; give it back in any case."""
        if self._process_id != os.getpid():
            return  # a forked child leaves its parent's block
        self.is_open = False
        try:
            if is_complete:
                self._describe()
        except BaseException:
            self._own.abandon()
            raise
        if is_complete:
            self._own.give_back()
        else:
            self._own.abandon()

    def _clear(self) -> None:
        """Finish or remove what was left by a program that was killed."""
        from asset_provenance.metadata import writer  # noqa: PLC0415 - slow, and loaded by now

        writer.roll_forward(self.folder)
        for run in writer.runs_kept(self.folder):
            if run.name.startswith(_RUN):
                shutil.rmtree(run, ignore_errors=True)

    def _refuse_metadata(self) -> None:
        from asset_provenance.metadata import writer  # noqa: PLC0415 - as above

        found = writer.find_obstacles(self.folder, self._label)
        if found:
            raise PreflightError(
                f"{self.folder} cannot be described as {self._facts.label}:", [_in_the_way(found)]
            )

    def _copy(self, source: Path) -> None:
        from asset_provenance.copying import copy_into  # noqa: PLC0415 - rarely needed

        held = sorted(path.name for path in self.folder.iterdir() if path.name != JOURNAL_FOLDER)
        if held:
            raise PreflightError(
                f"{source} cannot be copied to {self.folder}:",
                [
                    f"it holds {', '.join(held[:5])}{', ...' if len(held) > 5 else ''} already: "
                    "give an empty folder, or describe what is there without copying"
                ],
            )
        with self._run_folder() as run:
            copy_into(source, self.folder, run / "copy", show_progress=True)

    def _describe(self) -> None:
        from asset_provenance.checksums import data_files  # noqa: PLC0415 - as above
        from asset_provenance.metadata import external, writer  # noqa: PLC0415 - as above

        self._refuse_metadata()
        if next(data_files(self.folder), None) is None:
            raise UsageError(
                f"{self.folder} holds no data to describe: put them there first, or in the block"
            )
        try:
            described = external.build_external(self._facts, self._accessed)
        except ValueError as error:
            raise PreflightError("the description would not be valid:", [str(error)]) from error
        content = described.model_dump_json(indent=3).encode()
        files = [writer.FileToWrite(_DESCRIPTION, content), *self._listed()]
        with self._run_folder() as run:
            header = {
                "asset_provenance_version": importlib.metadata.version("asset-provenance"),
                "kind": writer.EXTERNAL,
                "name": described.name,
                "process_name": self._label,
                "run": run.name,
            }
            writer.write_set(self.folder, run, files, header=header)
        _log.info("wrote the description of %s to %s", described.name, self.folder)

    def _listed(self) -> list[FileToWrite]:
        from asset_provenance import checksums  # noqa: PLC0415 - as above
        from asset_provenance.metadata.writer import FileToWrite  # noqa: PLC0415 - as above

        if not self._checksums:
            return []
        content = checksums.checksum_list(self.folder, show_progress=True)
        return [FileToWrite(checksums.CHECKSUMS, content)]

    @contextmanager
    def _run_folder(self) -> Iterator[Path]:
        folder = self.folder / JOURNAL_FOLDER / f"{_RUN}{uuid.uuid4().hex[:12]}"
        try:
            folder.mkdir()
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {error.strerror or error}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def check_facts(given: Mapping[str, Any], way: Callable[[str, str], str]) -> ExternalFacts:
    """Read facts of data from outside.

    Parameters
    ----------
    given
        By the names of the parameters of :class:`ExternalAsset`.
    way
        Says how a fact is given, from its name and a value; with an empty one, how it is called.

    Returns
    -------
    ExternalFacts
        All of them.

    Raises
    ------
    PreflightError
        For every one that is missing or malformed.
    """
    from asset_provenance.metadata.external import read_facts  # noqa: PLC0415 - slow

    facts, faults = read_facts(given, _now())
    if faults:
        raise PreflightError(
            "the data were not described; mend this first:", [_told(fault, way) for fault in faults]
        )
    return facts


def _told(fault: Fault, way: Callable[[str, str], str]) -> str:
    named = way(fault.fact, "")
    if fault.example is None:
        return f"{named}: {fault.what}"
    hint = f" ({fault.hint})" if fault.hint else ""
    return f"{named} is missing: give {way(fault.fact, fault.example)}{hint}"


def _as_keyword(fact: str, value: str) -> str:
    return f'{fact}="{value}"' if value else fact


def _in_the_way(found: Sequence[str]) -> str:
    return (
        f"it holds {', '.join(found)}, so that it has metadata already: move them away, or give "
        "another folder; a data file that only has such a name must be renamed"
    )


def _check_source(source: Path, folder: Path) -> None:
    """Refuse a folder that cannot be copied, before anything is."""
    if not source.is_dir():
        raise UsageError(f"there is no folder {source}: give the folder that holds the data")
    inner, outer = source.resolve(), folder.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UsageError(f"{source} and {folder} lie in each other: copy to another place")
    found = [name for name in map(file_name, CORE_FILES) if os.path.lexists(source / name)]
    found += [name for name in (MANIFEST, JOURNAL_FOLDER) if os.path.lexists(source / name)]
    if found:
        raise PreflightError(f"{source} is not copied:", [_in_the_way(found)])


def _now() -> datetime:
    return datetime.now().astimezone()


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - keeps symlinks


def _script_folder() -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if file is None else _absolute(file).parent
