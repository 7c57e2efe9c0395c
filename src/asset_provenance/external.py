"""``ExternalAsset``: data that come from outside AIND, with a data description only."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from asset_provenance.capture.platform import absolute, default_folders, script_folder
from asset_provenance.corefiles import DATA_DESCRIPTION, file_name
from asset_provenance.decorating import open_at_each_call
from asset_provenance.errors import PreflightError, UsageError
from asset_provenance.settings import load_settings

if TYPE_CHECKING:
    from asset_provenance.externalrun import ExternalRun
    from asset_provenance.metadata.external import ExternalFacts, Fault

__all__ = ["ExternalAsset", "check_facts"]

P = ParamSpec("P")
R = TypeVar("R")

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
        _check_path("output_dir", output_dir)
        if not (checksums is None or isinstance(checksums, bool)):
            raise UsageError(f"checksums must be True or False, not {checksums!r:.80}")
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
        self._opening: ExternalRun | None = None

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
            self._opening.close(error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function that gets the data: each call of it is one asset."""
        return open_at_each_call("ExternalAsset", function, lambda *_: self._opened())

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
        _check_path("copy_from", copy_from)
        with self._opened(copy_from, is_told=False):  # that is the caller's, who has the path
            pass
        return self.output_dir / _DESCRIPTION

    @contextmanager
    def _opened(
        self, copy_from: str | os.PathLike[str] | None = None, *, is_told: bool = True
    ) -> Iterator[None]:
        # Each call has its own: several may go on at once, in folders of their own.
        opening = self._open(copy_from, is_told=is_told)
        try:
            yield
        except BaseException as error:
            opening.close(error)
            raise
        opening.close(None)

    def _open(
        self, copy_from: str | os.PathLike[str] | None = None, *, is_told: bool = True
    ) -> ExternalRun:
        folder, checksums, live = self._choices()
        source = None if copy_from is None else absolute(copy_from)
        # It brings the schema, the lock and all that, which a decorated library does not need.
        from asset_provenance.externalrun import ExternalRun  # noqa: PLC0415

        return ExternalRun(
            self._facts, folder, source, checksums=checksums, live=live if is_told else False
        )

    def _choices(self) -> tuple[Path, bool, bool | None]:
        """Give the folder, and whether checksums and the end's telling are wanted.

        Facts of the settings do not count.
        """
        settings = load_settings({}, script_folder=script_folder())
        if settings.problems:
            raise PreflightError("the settings cannot be used; mend this first:", settings.problems)
        default = settings.text("output_dir") or default_folders().output_dir
        chosen = default if self._output_dir is None else self._output_dir
        wanted = self._checksums
        if wanted is None:
            wanted = settings.flag("checksums", default=False)
        return absolute(chosen), wanted, settings.live


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


def _check_path(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str | os.PathLike):
        raise UsageError(f"{name} must be a path, not {value!r:.80}")


def _told(fault: Fault, way: Callable[[str, str], str]) -> str:
    named = way(fault.fact, "")
    if fault.example is None:
        return f"{named}: {fault.what}"
    hint = f" ({fault.hint})" if fault.hint else ""
    return f"{named} is missing: give {way(fault.fact, fault.example)}{hint}"


def _as_keyword(fact: str, value: str) -> str:
    return f'{fact}="{value}"' if value else fact


def _now() -> datetime:
    return datetime.now().astimezone()
