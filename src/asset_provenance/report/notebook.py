"""Assets and records as Jupyter shows them: a summary that keeps to its cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asset_provenance.errors import ProvenanceError
from asset_provenance.reading import read_view
from asset_provenance.records import CodeRecord, ProcessRecord, ResourceRecord
from asset_provenance.report.page import environment
from asset_provenance.views import CodeView, ProcessView, ResourceView

__all__ = ["asset_html", "record_html", "records_html", "written_html"]


def asset_html(name: str, state: str, folder: Path | None, records: Sequence[ProcessRecord]) -> str:
    """Show an asset by its records.

    Parameters
    ----------
    name
        Of the asset, or its label while nothing better is known.
    state
        What becomes of it, in words.
    folder
        Where it is written, where that is known.
    records
        The processes that have ended.
    """
    processes = tuple(map(_view, records))
    return _render("summary", name=name, state=state, folder=folder, processes=processes, view=None)


def written_html(folder: Path, name: str | None) -> str | None:
    """Show what was written of an asset; None where a folder does not hold it.

    Parameters
    ----------
    folder
        The asset's folder.
    name
        Its name.
    """
    try:
        view = read_view(folder)
    except ProvenanceError:
        return None
    if view.name != name:
        return None
    return _render(
        "summary",
        name=view.name,
        state="written",
        folder=folder,
        processes=view.own_processes,
        view=view,
    )


def records_html(records: Sequence[ProcessRecord]) -> str:
    """Show records in a table."""
    return _render("table", processes=tuple(map(_view, records)))


def record_html(record: ProcessRecord) -> str:
    """Show all that a record tells of a process."""
    return _render("process", one=_view(record), error=record.error, outputs=record.outputs)


def _render(part: str, **facts: object) -> str:
    return environment().get_template("notebook.html.j2").render(part_shown=part, **facts)


def _view(record: ProcessRecord) -> ProcessView:
    return ProcessView(
        name=record.name,
        process_type=record.process_type,
        stage=record.stage,
        start=record.start_date_time,
        end=record.end_date_time,
        status=record.status,
        is_inherited=False,
        code=_code(record.code),
        parameters=record.parameters or {},
        results=record.results or {},
        inputs=record.inputs,
        notes=record.notes,
        resources=None if record.resources is None else _resources(record.resources),
    )


def _code(code: CodeRecord | None) -> CodeView:
    if code is None:
        return CodeView()
    return CodeView(
        url=code.url,
        name=code.name,
        version=code.version,
        commit_hash=code.commit_hash,
        run_script=code.run_script,
    )


def _resources(used: ResourceRecord) -> ResourceView:
    ram, peak = used.ram, max((size for _, size in used.ram_usage), default=None)
    return ResourceView(
        ram=ram,
        cpu_usage=used.cpu_usage,
        # In percent, as it is written.
        ram_usage=tuple((at, 100 * size / ram) for at, size in used.ram_usage if ram),
        gpu_usage=used.gpu_usage,
        unit="percent of one core",
        peak_ram=peak,
    )
