"""Processes that a script has written down itself, in the schema's own objects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aind_data_schema.components.identifiers import Code
from aind_data_schema.core.processing import DataProcess, Processing
from pydantic import BaseModel, ValidationError

from asset_provenance.errors import UsageError
from asset_provenance.metadata.checks import pipeline_findings, process_findings
from asset_provenance.metadata.cleaning import without_secrets
from asset_provenance.metadata.description import explain
from asset_provenance.metadata.inputs import InputAsset
from asset_provenance.metadata.quiet import quiet
from asset_provenance.redaction import redact_text

__all__ = ["given_inputs", "given_outputs", "given_process", "given_processing", "not_inherited"]

_LONGEST_TOLD = 200


@quiet()
def given_process(process: object, pipelines: Iterable[Any]) -> dict[str, Any]:
    """Give a process as the JSON of a ``Processing``, free of secrets.

    Parameters
    ----------
    process
        The schema's ``DataProcess``.
    pipelines
        The pipelines that it may be part of: the schema's ``Code``, or its JSON.

    Raises
    ------
    UsageError
        If it is anything else, or would be refused in the end.
    """
    if isinstance(process, Processing):
        raise UsageError("add_process takes one DataProcess; give a Processing to add_processing")
    if not isinstance(process, DataProcess):
        raise UsageError(_wanted("add_process", "DataProcess", process))
    named = process.pipeline_name
    known = {code.name: code for code in map(Code.model_validate, pipelines)}
    if named and named not in known:
        raise UsageError(
            f"the process {_told(process.name)} names the pipeline {_told(named)}, which the asset "
            f"does not have ({', '.join(map(_told, known)) or 'it has none'}): give it to "
            "DerivedAsset(..., pipelines=[...]), or with the process in a Processing to "
            "add_processing"
        )
    content: dict[str, Any] = {"data_processes": [_json(process)]}
    if named:
        content["pipelines"] = [_json(known[named])]
    return _checked(content)


@quiet()
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
    return _checked(_json(processing))


def not_inherited(
    given: Iterable[Mapping[str, Any]], inputs: Iterable[InputAsset]
) -> list[Mapping[str, Any]]:
    """Leave out of given processes what the inputs hand on: what was read there and given back."""
    inherited: list[DataProcess] = []
    for asset in inputs:
        file = asset.files.get("processing")
        processes = None if file is None else file.data.get("data_processes")
        for process in processes if isinstance(processes, list) else ():
            try:
                inherited.append(_nameless(process))
            except (ValidationError, TypeError):
                continue  # such a processing is not taken over
    return [
        {
            **one,
            "data_processes": [p for p in one["data_processes"] if _nameless(p) not in inherited],
        }
        for one in given
    ]


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


def _json(model: BaseModel) -> dict[str, Any]:
    """Give an object as it is now, free of secrets.

    Raises
    ------
    UsageError
        If it holds what JSON cannot say.
    """
    try:
        told = _kept(model.model_dump(), model.model_dump(mode="json"))
    except Exception as error:  # noqa: BLE001 - whatever a value of the user's own type raises
        raise UsageError(
            f"the {type(model).__name__} cannot be written as JSON: "
            f"{redact_text(str(error))[:_LONGEST_TOLD]}"
        ) from None
    cleaned: dict[str, Any] = without_secrets(told)
    return cleaned


def _kept(value: Any, told: Any) -> Any:
    """Give what JSON says of a value, and the numbers that JSON does not know as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(told, dict) and isinstance(value, Mapping):
        return {key: _kept(value.get(key), item) for key, item in told.items()}
    if isinstance(told, list) and isinstance(value, list | tuple) and len(told) == len(value):
        return [_kept(*pair) for pair in zip(value, told, strict=True)]
    return told


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """Give a processing as the schema has it.

    Raises
    ------
    UsageError
        If the schema, or our own checks, would refuse it in the end.
    """
    try:
        processing = Processing.model_validate(content)
    except ValidationError as error:
        # It was valid once: made without validation, or changed since.
        raise UsageError(f"the given processes are not valid: {explain(error)}") from None
    findings = [
        finding
        for process in processing.data_processes
        for finding in process_findings(process, f"the process {process.name}")
    ]
    for pipeline in processing.pipelines or ():
        findings += pipeline_findings(pipeline, f"the pipeline {pipeline.name or pipeline.url}")
    faults = [f"{found.where}: {found.what}; {found.mend}" for found in findings]
    if faults:
        raise UsageError("\n  - ".join(["the given processes cannot be recorded:", *faults]))
    return processing.model_dump(  # type: ignore[no-any-return]
        mode="json", exclude={"describedBy", "schema_version"}
    )


@quiet()
def _nameless(process: Mapping[str, Any]) -> DataProcess:
    """Give what a process says whatever it is called, in a form that all can be compared in."""
    return DataProcess.model_validate({**process, "name": "-", "pipeline_name": None})


def _told(name: object) -> str:
    return repr(redact_text(str(name)))


def _wanted(method: str, model: str, given: object) -> str:
    several = isinstance(given, Sequence) and any(isinstance(one, DataProcess) for one in given)
    mend = "give each by itself" if several else f"build one with {model}(...)"
    return (
        f"{method} takes a {model} of aind_data_schema.core.processing, not "
        f"{type(given).__module__}.{type(given).__name__}: {mend}"
    )
