"""Processes that a script has written down itself, in the schema's own objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aind_data_schema.core.processing import DataProcess, Processing

from asset_provenance.errors import UsageError
from asset_provenance.metadata.checks import process_findings
from asset_provenance.metadata.quiet import quiet
from asset_provenance.redaction import redact_json

__all__ = ["given_inputs", "given_outputs", "given_process", "given_processing"]


def given_process(process: object) -> dict[str, Any]:
    """Give a process as the JSON of a ``Processing``, free of secrets.

    Raises
    ------
    UsageError
        If it is not the schema's ``DataProcess``, or would be refused in the end.
    """
    if isinstance(process, Processing):
        raise UsageError("add_process takes one DataProcess; give a Processing to add_processing")
    if not isinstance(process, DataProcess):
        raise UsageError(_wanted("add_process", "DataProcess", process))
    with quiet():
        return given_processing(Processing(data_processes=[process.model_copy(deep=True)]))


def given_processing(processing: object) -> dict[str, Any]:
    """Give a processing as JSON, free of secrets.

    Raises
    ------
    UsageError
        If it is not the schema's ``Processing``, or would be refused in the end.
    """
    if isinstance(processing, DataProcess):
        raise UsageError("add_processing takes a Processing; give one DataProcess to add_process")
    if not isinstance(processing, Processing):
        raise UsageError(_wanted("add_processing", "Processing", processing))
    faults = [
        f"{found.where}: {found.what}; {found.mend}"
        for process in processing.data_processes
        for found in process_findings(process, f"the process {process.name}")
    ]
    if faults:
        raise UsageError("\n  - ".join(["the given processes cannot be recorded:", *faults]))
    with quiet():
        return redact_json(processing.model_dump(mode="json"))  # type: ignore[no-any-return]


def given_inputs(given: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Give the data assets that given processes say they used; those of groups one by one."""
    for process in given["data_processes"]:
        for entry in process["code"].get("input_data") or ():
            yield from entry.get("assets") or (entry,)


def given_outputs(given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Give the outputs that given processes name, each after the name of the process."""
    for process in given["data_processes"]:
        if process.get("output_path"):
            yield process["name"], process["output_path"]


def _wanted(method: str, model: str, given: object) -> str:
    return (
        f"{method} takes a {model} of aind_data_schema.core.processing, not "
        f"{type(given).__module__}.{type(given).__name__}"
    )
