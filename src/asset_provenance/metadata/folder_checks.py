"""What the files of a written set show only together: with each other, and with the manifest."""

from __future__ import annotations

import copy
import json
import os
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from aind_data_schema.components.identifiers import Code
from aind_data_schema.core.data_description import DataDescription
from aind_data_schema.core.processing import DataProcess, Processing
from aind_data_schema_models.data_name_patterns import DataLevel

from asset_provenance.corefiles import (
    DATA_DESCRIPTION,
    JOURNAL_FOLDER,
    MANIFEST,
    PROVENANCE_FOLDER,
    file_name,
)
from asset_provenance.errors import StorageError, UsageError
from asset_provenance.metadata import checks
from asset_provenance.metadata.findings import Finding, Severity, schema_findings
from asset_provenance.metadata.intake import assets_read, is_of_stages
from asset_provenance.metadata.manifest import MERGED
from asset_provenance.metadata.quiet import quiet
from asset_provenance.metadata.writer import interrupted_writes, runs_kept
from asset_provenance.metadata.written_set import (
    MAX_PROCESSES,
    PROCESSING,
    RUN_AGAIN,
    WrittenSet,
    digest,
)
from asset_provenance.redaction import contains_secret
from asset_provenance.suggestions import no_folder

__all__ = ["check_folder"]

_DESCRIPTION_FILE = file_name(DATA_DESCRIPTION)
_PROCESSING_FILE = file_name(PROCESSING)
_DAYS_APART = timedelta(hours=14)
"""By how much a day begins earlier in some places than in UTC."""


def check_folder(folder: Path) -> list[Finding]:
    """Find everything that is wrong with the metadata in a folder; change nothing.

    Faults that came with an input, as the manifest tells, are only warned of.

    Parameters
    ----------
    folder
        The folder of an asset.

    Returns
    -------
    list of Finding
        Errors first; empty when all is well.

    Raises
    ------
    UsageError
        If there is no such folder.
    StorageError
        If it cannot be read.
    """
    try:
        if not folder.is_dir():
            raise UsageError(f"{no_folder(folder)}: give the folder that holds the asset")
        os.scandir(folder).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"the folder {folder} cannot be read: {reason}") from error
    with quiet():
        written = WrittenSet(folder)
        required = (DATA_DESCRIPTION,) if written.is_external else (DATA_DESCRIPTION, PROCESSING)
        for name in required:
            if name not in written.present:
                written.error(file_name(name), "", "it is missing", _how_to_complete(written))
        _look_at_listed_files(written)
        now, acquired = datetime.now(UTC), _acquisition_start(written)
        processes = _look_at_processing(written, now, acquired)
        description: DataDescription | None = written.models.get(DATA_DESCRIPTION)
        if description is not None:
            _look_at_description(written, description, now)
            _compare_subjects(written, description)
            if processes:
                _compare_sources(written, description, processes)
            if all(name in written.models for name in written.present):
                _look_at_record(written, description, processes, acquired)
        _look_at_runs(written)
    return written.found.listed()


# The manifest


def _how_to_complete(written: WrittenSet) -> str:
    """Say how a file is written that a set lacks, also where no whole set was written at all."""
    if written.label == MERGED:
        return "merge writes a processing.json only: take it in as an input of a DerivedAsset"
    if is_of_stages(written.folder):
        return (
            "this is what a stage left: give the folder as an input to the asset of the last stage"
        )
    if runs_kept(written.folder):
        return _how_to_recover(written)
    if not written.present:
        return f"give the folder that holds the asset; if this is it, {written.again}"
    return written.again


def _how_to_recover(written: WrittenSet) -> str:
    return f"asset-provenance recover {shlex.quote(str(written.folder))}, or run the analysis again"


def _look_at_listed_files(written: WrittenSet) -> None:
    for file, entry in written.listed.items():
        if not checks.is_inside(file):
            what = f"it lists {file}, which lies outside of the folder"
            written.error(MANIFEST, "files", what, f'remove "{file}" from it')
        elif not written.has(file):
            what = f"it lists {file}, which is missing"
            written.error(MANIFEST, "files", what, f"put the file back, or {written.again}")
        else:
            content = written.contents.get(file)
            if content is None:
                content = written.read(file)
            if content is not None:
                _look_at_listed_file(written, file, entry, content)
    for file in map(file_name, written.present):
        if written.label == MERGED:  # which is put beside what is there
            continue
        if written.listed and file not in written.listed and file in written.contents:
            what = "it does not belong to this set: the manifest does not list it"
            listing = _listing(file, written.contents[file])
            written.error(file, "", what, f"move it away; if it is meant, {listing}")


def _look_at_listed_file(written: WrittenSet, file: str, entry: Any, content: bytes) -> None:
    if not isinstance(entry, dict) or entry.get("sha256") != digest(content):
        what = "it was edited since it was written"
        mend = f"{written.again}; if the edit is meant, {_listing(file, content)}"
        written.error(file, "", what, mend)
    path = PurePosixPath(file)
    if path.parts[0] == PROVENANCE_FOLDER and contains_secret(content):
        what = "it holds what looks like a password, token or key"
        mend = "remove it, and have the secret itself replaced"
        # An input's processing that could not be merged is kept under such a name.
        severity: Severity = "warning" if path.name.startswith("inherited-") else "error"
        written.found.add(Finding(severity, file, "", what, mend))


def _listing(file: str, content: bytes) -> str:
    entry = json.dumps({file: {"sha256": digest(content)}})[1:-1]
    return f"list it in {MANIFEST} as {entry}"


# The processing


def _look_at_processing(
    written: WrittenSet, now: datetime, acquired: datetime | None
) -> list[DataProcess]:
    """Look at the processing part by part, so that each fault is told where it is.

    Returns
    -------
    list of DataProcess
        All processes, or none if one of them cannot be read.
    """
    data = written.data.get(PROCESSING)
    if data is None:
        return []
    listed, graph = data.get("data_processes"), data.get("dependency_graph")
    items: list[Any] = listed if isinstance(listed, list) else []
    if len(items) > MAX_PROCESSES:
        what = f"there are {len(items)} processes, of which at most {MAX_PROCESSES} are looked at"
        mend = "record repeated calls as one process"
        written.error(_PROCESSING_FILE, "data_processes", what, mend)
        return []
    pipelines = _look_at_pipelines(written, data.get("pipelines"))
    processes = []
    for index, item in enumerate(items):
        place = ("data_processes", index)
        value = copy.deepcopy(item)  # validators change what they are given
        process = written.model(_PROCESSING_FILE, DataProcess.model_validate, value, place)
        if process is not None:
            processes.append(process)
            where = written.where(place)
            written.judge(checks.process_findings(process, where), place)
            run = checks.run_findings(process, where, now=now, acquired=acquired)
            written.judge(run, place)
            _look_at_process(written, process, place, pipelines)
        if written.found.is_full(_PROCESSING_FILE):
            return []
    if graph is None or _is_graph(graph):
        faults = [*checks.graph_findings(written.process_names, graph)]
        written.judge(faults)
        written.judge(checks.order_findings(processes, {} if faults or not graph else graph))
    if listed == []:
        written.error(_PROCESSING_FILE, "data_processes", "no process is recorded", RUN_AGAIN)
    if len(processes) < len(items):
        return []
    if not written.found.has_errors(_PROCESSING_FILE):
        value = copy.deepcopy(data)
        whole = written.model(_PROCESSING_FILE, Processing.model_validate, value)
        if whole is not None:
            written.models[PROCESSING] = whole
    return processes


def _look_at_process(
    written: WrittenSet, process: DataProcess, place: tuple[Any, ...], pipelines: Sequence[str]
) -> None:
    where, output = written.where(place), process.output_path
    # Outputs of the processes of an input are in that input's folder.
    is_ours = not written.is_inherited(_PROCESSING_FILE, place)
    if is_ours and output and checks.is_inside(output) and not written.has(str(output)):
        # Without a manifest it may be an input's all the same.
        may_lack = checks.may_lack_outputs(process) or not written.listed
        severity: Severity = "warning" if may_lack else "error"
        what = f"its output {output} is not in the folder"
        mend = "put it there, or mend output_path"
        written.found.add(Finding(severity, _PROCESSING_FILE, where, what, mend))
    if process.pipeline_name and process.pipeline_name not in pipelines:
        what = f"its pipeline {process.pipeline_name} is not among the pipelines"
        mend = 'add it to "pipelines", with its name, url and version'
        written.judge([Finding("error", _PROCESSING_FILE, where, what, mend)], place)


def _look_at_pipelines(written: WrittenSet, pipelines: Any) -> list[str]:
    """Look at each of the pipelines, and give their names."""
    names = []
    for index, item in enumerate(pipelines if isinstance(pipelines, list) else []):
        place = ("pipelines", index)
        code = written.model(_PROCESSING_FILE, Code.model_validate, copy.deepcopy(item), place)
        if code is not None:
            names.append(code.name)
            written.judge(checks.pipeline_findings(code, written.where(place)), place)
        if written.found.is_full(_PROCESSING_FILE):
            break
    return names


def _is_graph(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(targets, list) and all(isinstance(target, str) for target in targets)
        for targets in value.values()
    )


# The files with each other


def _acquisition_start(written: WrittenSet) -> datetime | None:
    text = written.data.get("acquisition", {}).get("acquisition_start_time")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _look_at_description(written: WrittenSet, description: DataDescription, now: datetime) -> None:
    is_external = written.is_external
    written.judge(checks.description_findings(description, is_external=is_external))
    # Their date alone is midnight in UTC, where the same day may not have begun.
    if description.creation_time > now + (_DAYS_APART if is_external else checks.CLOCK_SLACK):
        what = f"it is in the future ({description.creation_time})"
        mend = "set the clock of the machine that ran it, and run again"
        written.error(_DESCRIPTION_FILE, "creation_time", what, mend)
    if written.name is not None and written.name != description.name:
        what = f"the asset is named {description.name}, but {written.name} in {MANIFEST}"
        mend = f'name it "{written.name}", as when it was written'
        written.error(_DESCRIPTION_FILE, "name", what, mend)


def _compare_subjects(written: WrittenSet, description: DataDescription) -> None:
    ours = description.subject_id
    for name in ("subject", "procedures", "acquisition"):
        theirs = written.data.get(name, {}).get("subject_id")
        if isinstance(theirs, str) and theirs != ours:
            what = f"it is about subject {theirs}, but {_DESCRIPTION_FILE} about {ours or 'none'}"
            mend = "put the file of the right subject there, or mend subject_id"
            written.judge([Finding("error", file_name(name), "subject_id", what, mend)])


def _compare_sources(
    written: WrittenSet, description: DataDescription, processes: Iterable[DataProcess]
) -> None:
    """Look for sources that no process is said to have read, of earlier stages neither."""
    read = {name for asset in assets_read(processes) for name in (asset.name, asset.url)}
    for source in description.source_data or ():
        if source not in read:
            what = f"no process is said to have read the source {source}"
            mend = f'give it to the process that does: track_process(inputs="{source}")'
            written.warn(_DESCRIPTION_FILE, "source_data", what, mend)


def _look_at_record(
    written: WrittenSet,
    description: DataDescription,
    processes: Iterable[DataProcess],
    acquired: datetime | None,
) -> None:
    """Put all files together, as the one record that a database holds of an asset."""
    parts = dict(written.models)
    starts = [process.start_date_time for process in processes]
    if acquired is not None and any(start <= acquired for start in starts):
        # Each that starts too early was told; the schema tells the first, and nothing else then.
        parts.pop(PROCESSING, None)
    is_simulated = description.data_level == DataLevel.SIMULATED.value
    if is_simulated or written.found.has_errors(_DESCRIPTION_FILE):
        # The schema takes the name apart, which it cannot do here; that was told, if it is wrong.
        del parts[DATA_DESCRIPTION]
    carried = {part: model for part, model in parts.items() if written.is_inherited(f"{part}.json")}
    refused = _record_findings(carried)
    if any(found.severity == "error" for found in refused):
        refused = [replace(found, severity="warning") for found in refused]
    else:
        refused = _record_findings(parts)
    is_whole = "acquisition" in parts or "instrument" in parts
    for found in refused:
        # What several acquisitions share has no instrument, for instance.
        if is_whole or "missing required file" not in found.what:
            written.found.add(found)


def _record_findings(parts: Mapping[str, Any]) -> list[Finding]:
    from aind_data_schema.core.metadata import (  # noqa: PLC0415 - takes 3 seconds
        REQUIRED_FILE_SETS,
        Metadata,
    )

    if not any(part in parts for part in REQUIRED_FILE_SETS):
        return []
    findings = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # It changes the parts that it is given.
            Metadata(name="asset", location="s3://bucket/asset", **copy.deepcopy(dict(parts)))
        except Exception as error:  # noqa: BLE001 - its validators fail in any way
            findings += schema_findings(error, "")
    mend = "complete or mend the metadata of the input, and run again"
    findings += [
        Finding("warning", "", "", f"the schema warns: {warning.message}", mend)
        for warning in caught
        if warning.category is UserWarning and DATA_DESCRIPTION not in str(warning.message)
    ]
    return findings


# What runs left


def _look_at_runs(written: WrittenSet) -> None:
    mend = _how_to_recover(written)
    interrupted = interrupted_writes(written.folder)
    for run in runs_kept(written.folder):
        file = f"{JOURNAL_FOLDER}/{run.name}"
        if run in interrupted:
            what = "a run was killed while it put its files into place: not all may be there"
            written.error(file, "", what, mend)
        elif any(run.glob("*.jsonl")):
            what = "it is the record of a run that failed, was killed, or is still going on"
            written.warn(file, "", what, mend)
