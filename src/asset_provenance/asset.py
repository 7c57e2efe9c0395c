"""``DerivedAsset``: the whole run, from the check of its facts to the writing of its files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from asset_provenance.capture.binding import compile_binder
from asset_provenance.decorating import open_at_each_call
from asset_provenance.errors import UsageError
from asset_provenance.options import InputLike, check_process_name, check_process_type, is_method
from asset_provenance.recorder import context
from asset_provenance.records import ProcessRecord, ProcessRecords
from asset_provenance.tracking import calling_file

if TYPE_CHECKING:
    from asset_provenance.run import Run

__all__ = ["DerivedAsset"]

P = ParamSpec("P")
R = TypeVar("R")
Arguments = Mapping[str, Any]


class DerivedAsset:
    """Records a run as it happens, and writes the metadata of its results when it ends.

    A context manager around a block, a decorator of a ``main`` function, or, where a block cannot
    span the code (cells of a notebook), :meth:`start` and :meth:`finish`.

    Parameters
    ----------
    process_name
        Short label in the derived name: letters, digits and hyphens.
    inputs
        Primary inputs: names, ``s3://`` URLs, paths, or the schema's ``DataAsset`` and
        ``CombinedData``. None: those that the run is seen to use, and what only they can supply is
        then checked at the end. ``()``: none. As a decorator, also a function of the bound
        arguments.
    reference_inputs
        Atlases, models, lookup tables: never subjects or acquisitions, never in ``source_data``.
    base_name
        Required when the result has no single raw root, refused otherwise; no underscore.
    output_dir
        Default ``/results`` in a capsule, else ``./results``. As a decorator, also a function of
        the bound arguments.
    process_type
        Given, the block itself is a process, the parent of those inside it. Not given, it becomes
        one of type Analysis when nothing inside was tracked.
    parameters
        The block's parameters: a mapping, ``argparse.Namespace``, dataclass or pydantic model; as
        a decorator, also a function of the bound arguments. Without it, the arguments of the
        decorated function, else those of the command line.
    inherit
        Where metadata are inherited from: ``"auto"``, the metadata database (DocDB) first, then
        the files in the input's folder; ``"docdb"`` or ``"files"``, one of them only; ``"none"``.
    on_failure
        What a run that raises leaves: ``"journal"``, only its record; ``"write"``, metadata with
        the failure in the notes. The exception itself goes on unchanged.
    overwrite
        Replace metadata files that are in the way, not only those this package wrote for the same
        ``process_name``.
    strict
        Raise at the end when the metadata cannot be written, instead of logging it.
    fragment
        A stage of a pipeline: only ``<unique>_data_process.json`` is written, which the asset of
        the last stage takes in, or ``asset-provenance merge``; and ``<unique>_packages.txt``, what
        was imported. Facts of the whole asset are not asked for, only ``experimenters``.
    project_name, investigators, funding_source, modalities, institution, license, group, tags
        Fields of the schema's ``DataDescription``: its objects, or plain texts such as ``"AIND"``,
        ``"ecephys"``, ``"NIMH:RF1MH123"``, ``"CC-BY-4.0"``, a person's name.
    restrictions, data_summary, data_level, creation_time
        Likewise; ``data_level`` is derived or simulated.
    experimenters
        The people who ran it.
    pipelines, pipeline_name
        The schema's ``Code`` objects (or mappings of their fields, or ``"url@version"``), and the
        one among them that this run is part of, or its name.
    core_dependency
        The installed package that matters most to the result, by its name, or the schema's
        ``Software`` with a version: it is recorded for every process whose ``code=`` names no
        other.

    Attributes
    ----------
    name : str or None
        The asset's name; None before it is started, and until the end where only the run itself
        can tell its inputs.
    output_dir : pathlib.Path
        Where it is written; known once it is started.
    records : tuple of ProcessRecord
        The ended processes, in the order of their start.

    Raises
    ------
    UsageError
        At once, for a mistake in the call.
    PreflightError
        When it is started, for everything that is missing or malformed, all at once.
    StorageError
        When it is started, if the output folder cannot be written to or another run has it.
    AssemblyError, StorageError
        When it ends, with ``strict=True`` only.

    Examples
    --------
    >>> from asset_provenance import DerivedAsset
    >>> with DerivedAsset("unit-tuning", inputs="/data/my-recording"):  # doctest: +SKIP
    ...     tuning_curves()
    """

    def __init__(
        self,
        process_name: str,
        *,
        inputs: InputLike | Collection[InputLike] | Callable[[Arguments], object] | None = None,
        reference_inputs: InputLike | Collection[InputLike] = (),
        base_name: str | None = None,
        output_dir: str | os.PathLike[str] | Callable[[Arguments], object] | None = None,
        process_type: str | None = None,
        parameters: object = None,
        inherit: str = "auto",
        on_failure: str = "journal",
        overwrite: bool = False,
        strict: bool = False,
        fragment: bool = False,
        project_name: str | None = None,
        investigators: object = None,
        funding_source: object = None,
        modalities: object = None,
        institution: object = None,
        license: object = None,  # noqa: A002 - the schema's name
        group: object = None,
        tags: Sequence[str] | None = None,
        restrictions: str | None = None,
        data_summary: str | None = None,
        data_level: object = None,
        creation_time: datetime | str | None = None,
        experimenters: object = None,
        pipelines: object = None,
        pipeline_name: object = None,
        core_dependency: object = None,
    ) -> None:
        _check_choice("inherit", inherit, ("auto", "docdb", "files", "none"))
        _check_choice("on_failure", on_failure, ("journal", "write"))
        check_process_name(process_name)
        self._run: Run | None = None
        self._runs: list[Run] = []
        self._request: dict[str, Any] = {
            "process_name": process_name,
            "inputs": inputs,
            "reference_inputs": reference_inputs,
            "base_name": base_name,
            "output_dir": output_dir,
            "process_type": None if process_type is None else check_process_type(process_type),
            "parameters": parameters,
            "inherit": inherit,
            "on_failure": on_failure,
            "overwrite": overwrite,
            "strict": strict,
            "is_fragment": fragment,
            "facts": {
                "project_name": project_name,
                "investigators": investigators,
                "funding_source": funding_source,
                "modalities": modalities,
                "institution": institution,
                "license": license,
                "group": group,
                "tags": tags,
                "restrictions": restrictions,
                "data_summary": data_summary,
                "data_level": data_level,
                "creation_time": creation_time,
                "experimenters": experimenters,
                "pipelines": pipelines,
                "pipeline_name": pipeline_name,
                "core_dependency": core_dependency,
            },
        }

    @property
    def name(self) -> str | None:
        """The asset's name, where it is known already."""
        return None if self._run is None else self._run.name

    @property
    def output_dir(self) -> Path:
        """The folder that the asset is written to; a UsageError before it is started."""
        if self._run is None:
            raise UsageError("the output folder is known once the asset is started")
        return self._run.output_dir

    @property
    def records(self) -> tuple[ProcessRecord, ...]:
        """The processes that have ended, in the order of their start."""
        return ProcessRecords(() if self._run is None else self._run.recorder.records)

    def _repr_html_(self) -> str:
        """Show in Jupyter what is recorded so far, and what was written once it has ended."""
        from asset_provenance.report import notebook  # noqa: PLC0415 - Jupyter asks for it

        run, label = self._run, self._request["process_name"]
        if run is None:
            return notebook.asset_html(label, "not started", None, ())
        name, folder = run.name or label, run.output_dir
        if run.is_written:
            written = notebook.written_html(folder, run.name)
            return written or notebook.asset_html(name, "written", folder, self.records)
        state = (
            "is being recorded"
            if run.is_open
            else f"ended without metadata; see asset-provenance recover {shlex.quote(str(folder))}"
        )
        return notebook.asset_html(name, state, folder, self.records)

    def __enter__(self) -> Self:
        """Check the facts and start recording."""
        self._open(calling_file())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the run and write its metadata; an exception goes on unchanged."""
        self._opened().close(error)

    def start(self) -> Self:
        """Start recording where a ``with`` block cannot span the code; see :meth:`finish`.

        Returns
        -------
        DerivedAsset
            Itself.
        """
        self._open(calling_file())
        return self

    def finish(self) -> None:
        """End what :meth:`start` began, and write the metadata.

        Raises
        ------
        UsageError
            If it was not started.
        """
        self._opened().close(None)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a ``main`` function: each call of it is one asset."""
        return open_at_each_call(
            "DerivedAsset", function, lambda args, kwargs: self._called(function, args, kwargs)
        )

    @contextmanager
    def _called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Iterator[None]:
        """Open the asset around one call of a decorated function."""
        if self._inside() is not None:
            yield  # main called itself: still the same asset
            return
        run = self._new_run(function=function, arguments=_bound(function, args, kwargs))
        try:
            yield
        except BaseException as error:
            run.close(error)
            raise
        run.close(None)

    def add_inputs(self, *refs: object) -> None:
        """Add primary inputs that only the run itself could tell.

        Warns at once when they change what is inherited, as an input of a second subject does.

        Raises
        ------
        UsageError
            If one means nothing, or the asset is not open.
        """
        self._opened().add_inputs(refs)

    def add_outputs(self, *paths: str | os.PathLike[str]) -> None:
        """Add files or folders that the run as a whole writes, inside the asset."""
        self._opened().recorder.block.add_outputs(*paths)

    def add_parameters(self, **values: object) -> None:
        """Add parameters of the run as a whole."""
        self._opened().recorder.block.add_parameters(**values)

    def add_results(self, **values: object) -> None:
        """Add results of the run as a whole."""
        self._opened().recorder.block.add_results(**values)

    def add_note(self, text: str) -> None:
        """Add a note on the run as a whole."""
        self._opened().recorder.block.add_note(text)

    def add_process(self, process: object) -> None:
        """Take in a process that the script has written down itself.

        It appears in the metadata beside what is recorded, and nothing but what it says itself is
        said of it: it is nobody's child, and what depends on it is not guessed. It follows what was
        done before to the inputs that its code names as ``input_data``. Where such processes are
        all that there is, the block does not become a process of its own.

        Parameters
        ----------
        process
            The schema's ``DataProcess``. It is copied as it is now.

        Raises
        ------
        UsageError
            If it is anything else, is not valid, or the asset is not open.
        """
        self._opened().add_process(process)

    def add_processing(self, processing: object) -> None:
        """Take in several such processes, with their pipelines, notes and dependencies.

        Parameters
        ----------
        processing
            The schema's ``Processing``; see :meth:`add_process`.

        Raises
        ------
        UsageError
            If it is anything else, is not valid, or the asset is not open.
        """
        self._opened().add_processing(processing)

    def _inside(self) -> Run | None:
        """Give the open run of this asset that the calling code is inside of."""
        blocks = {run.recorder.block: run for run in self._runs if run.is_open}
        process = context.get() if blocks else None
        while process is not None and process not in blocks:
            process = process._parent
        return None if process is None else blocks[process]

    def _opened(self) -> Run:
        # A notebook's cell has a context of its own, and so is inside of nothing.
        run = self._inside() or self._run
        if run is None or not run.is_open:
            raise UsageError("the asset is not open: use it in a with block, or call start() first")
        return run

    def _open(self, file: str) -> None:
        if self._run is not None and self._run.is_open:
            raise UsageError("the asset is open already")
        self._new_run(file=file)

    def _new_run(self, **code: Any) -> Run:
        # A run brings the schema, the journal and all that; a decorated library needs none of it.
        from asset_provenance.request import Request  # noqa: PLC0415
        from asset_provenance.run import Run  # noqa: PLC0415

        run = Run(Request(**self._request), **code)
        self._run = run
        self._runs = [*(other for other in self._runs if other.is_open), run]
        return run


def _bound(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the arguments of a call by name, defaults included.

    Raises
    ------
    TypeError
        For a wrong call, as the function itself would; then nothing has been opened.
    """
    is_method_call = is_method(function) and args
    bind = compile_binder(function, skip_first=bool(is_method_call))
    try:
        return bind(*(args[1:] if is_method_call else args), **kwargs)
    except TypeError:
        if hasattr(function, "__wrapped__"):  # a decorator in between may take more
            return {"args": list(args), **kwargs}
        raise


def _check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} must be one of {', '.join(map(repr, choices))}, not {value!r}")
