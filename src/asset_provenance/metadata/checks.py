"""What must hold for written metadata, and aind-data-schema does not check."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from aind_data_schema.core.data_description import DataDescription
from aind_data_schema.core.processing import DataProcess, Processing
from aind_data_schema_models.data_name_patterns import DataLevel

from asset_provenance import lineage

__all__ = ["check_description", "check_processing"]


def check_processing(processing: Processing, *, inherited: Iterable[str] = ()) -> list[str]:
    """Find what is wrong with a processing although the schema accepts it.

    Parameters
    ----------
    processing
        The processing as a whole.
    inherited
        Names of processes that came from an input: their own content is that input's, so only
        what concerns the graph is looked at.

    Returns
    -------
    list of str
        One text for each fault; empty when all is well.
    """
    theirs = frozenset(inherited)
    faults = []
    names = processing.process_names
    faults += [
        f"the name {name} is borne by {names.count(name)} processes"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    for process in processing.data_processes:
        if process.name not in theirs:
            faults += [f"process {process.name}: {fault}" for fault in _process_faults(process)]
    graph = processing.dependency_graph or {}
    for name, targets in graph.items():
        faults += [
            f"process {name} depends on {target}, which does not exist"
            for target in targets
            if target not in graph
        ]
    cleaned = lineage.clean_graph(graph)
    faults += [
        f"process {name} depends on {target}, which closes a cycle"
        for name, targets in graph.items()
        for target in dict.fromkeys(targets)
        if target in graph and target not in cleaned[name]
    ]
    return faults


def _process_faults(process: DataProcess) -> list[str]:
    faults = []
    if process.end_date_time is not None and process.end_date_time < process.start_date_time:
        faults.append(f"it ends ({process.end_date_time}) before it starts")
    if not process.experimenters or not all(name.strip() for name in process.experimenters):
        faults.append("no experimenter is named")
    if not process.code.url.strip():
        faults.append("the URL of its code is empty")
    if process.output_path is not None:
        path = PurePosixPath(process.output_path)
        if path.is_absolute() or ".." in path.parts:
            faults.append(f"its output path {path} does not lie inside the asset")
    return faults


def check_description(description: DataDescription) -> list[str]:
    """Find what is wrong with a derived asset's description although the schema accepts it."""
    faults = []
    name = description.name or ""
    try:
        parsed = DataDescription.parse_name(name, DataLevel.DERIVED)
    except ValueError:
        return [f"the name {name!r} is not that of a derived asset"]
    if parsed["creation_time"] != description.creation_time.replace(tzinfo=None, microsecond=0):
        faults.append(f"the time in the name {name!r} is not the creation time")
    if not description.modalities:
        faults.append("no modality is named")
    return faults
