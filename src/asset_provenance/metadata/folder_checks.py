"""A written set as a whole: each file, all of them together, and the manifest.

The folder may come from anywhere: files are read within bounds and never through a link that
leaves the folder, nothing here recurses, and what the files say never makes a check fail.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from aind_data_schema.components.identifiers import Code
from aind_data_schema.core.data_description import DataDescription
from aind_data_schema.core.processing import DataProcess, Processing
from aind_data_schema_models.data_name_patterns import DataLevel

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    JOURNAL_FOLDER,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.errors import StorageError, UsageError
from asset_provenance.metadata import checks
from asset_provenance.metadata.checks import Finding
from asset_provenance.metadata.quiet import quiet
from asset_provenance.redaction import REDACTED, contains_secret

__all__ = ["check_folder", "interrupted_writes"]

PROCESSING = "processing"

_SCHEMA_SIZE_LIMIT = 500 * 1024
_MAX_DEPTH = 100
_MAX_PROCESSES = 10_000
_MAX_FINDINGS = 100
"""Most findings of one file; what is wrong at many places in the same way is one."""
_LONGEST_TEXT = 400

_Path = tuple[Any, ...]


def check_folder(folder: Path) -> list[Finding]:
    """Find everything that is wrong with the metadata in a folder.

    What came with an input, as the manifest tells, is only warned of.

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
            raise UsageError(f"there is no folder {folder}; give the folder that holds the asset")
        os.listdir(folder)  # noqa: PTH208 - only whether it may be read
    except (OSError, ValueError) as error:
        raise StorageError(f"the folder {folder} cannot be read: {error}") from error
    with quiet():
        return _FolderCheck(folder).run()


def interrupted_writes(folder: Path) -> list[Path]:
    """Give the folders of runs that were killed while their files were put in place."""
    return [run for run in _runs(folder) if (run / "commit.json").is_file()]


def _runs(folder: Path) -> Iterator[Path]:
    journals = folder / JOURNAL_FOLDER
    if journals.is_dir() and not journals.is_symlink():
        for run in sorted(journals.iterdir()):
            if run.is_dir() and not run.is_symlink():
                yield run


class _FolderCheck:
    """One look at a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder.resolve()
        self.now = datetime.now(UTC)
        self.found: dict[tuple[str, ...], list[str]] = {}
        self.counts: dict[str, int] = {}
        self.contents: dict[str, bytes] = {}
        self.data: dict[str, dict[str, Any]] = {}
        self.models: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.entries: Mapping[str, Any] = {}
        self.inherited_processes: frozenset[str] = frozenset()

    def run(self) -> list[Finding]:
        present = [name for name in CORE_FILES if os.path.lexists(self.folder / file_name(name))]
        self.read_manifest()
        for name in present:
            self.look_at_file(name)
        self.look_for_missing(present)
        self.compare_with_manifest(present)
        self.look_at_description()
        self.look_at_processing()
        self.compare_subjects()
        if all(name in self.models for name in present):
            self.look_at_record()
        self.look_for_leftovers()
        return self.findings()

    # What was found

    def add(self, finding: Finding) -> None:
        """Take a finding; the same at several places once, and no more than a reader can use."""
        texts = [
            _cut(text)
            for text in (finding.severity, finding.file, finding.what, finding.mend)
        ]
        key = tuple(texts)
        if key not in self.found:
            self.counts[finding.file] = self.counts.get(finding.file, 0) + 1
            if self.counts[finding.file] > _MAX_FINDINGS:
                return
        self.found.setdefault(key, []).append(_cut(finding.where))

    def error(self, file: str, where: str, what: str, mend: str) -> None:
        self.add(Finding("error", file, where, what, mend))

    def warn(self, file: str, where: str, what: str, mend: str) -> None:
        self.add(Finding("warning", file, where, what, mend))

    def found_in(self, place: _Path, findings: Iterable[Finding]) -> None:
        """Take findings of one place, as warnings if what is there came with an input."""
        for found in findings:
            severity = self.severity(found.file, place)
            self.add(dataclasses.replace(found, severity=min(found.severity, severity, key=_RANK)))

    def is_full(self, file: str) -> bool:
        return self.counts.get(file, 0) > _MAX_FINDINGS

    def severity(self, file: str, place: _Path = ()) -> Literal["error", "warning"]:
        """Say how bad a fault is: what came with an input, unchanged, is only warned of."""
        entry = self.entries.get(file)
        if isinstance(entry, dict) and isinstance(entry.get("inherited_from"), str):
            content = self.contents.get(file)
            unchanged = content is not None and _digest(content) == entry.get("sha256")
            return "warning" if unchanged else "error"
        if file == checks.PROCESSING_FILE and self.inherited_processes and place:
            if place[0] == "data_processes":
                name = self.names.get(place[1]) if len(place) > 1 else None
                return "warning" if name in self.inherited_processes else "error"
            # Those of the inputs are among them, and nothing tells which.
            return "warning" if place[0] in ("pipelines", "notes") else "error"
        return "error"

    def findings(self) -> list[Finding]:
        result = []
        for (severity, file, what, mend), places in self.found.items():
            distinct = list(dict.fromkeys(places))
            more = f" and {len(distinct) - 3} more" if len(distinct) > 3 else ""
            where = "; ".join(distinct[:3]) + more
            result.append(Finding(severity, file, where, what, mend))  # type: ignore[arg-type]
        result += [
            Finding("error", file, "", f"{count - _MAX_FINDINGS} more findings are not shown", "")
            for file, count in self.counts.items()
            if count > _MAX_FINDINGS
        ]
        return sorted(result, key=lambda found: -_RANK(found.severity))

    # One file

    def read(self, file: str) -> bytes | None:
        """Read a file of the folder, or say why it is not read."""
        path = self.folder / file
        try:
            if not path.resolve().is_relative_to(self.root):
                self.error(
                    file,
                    "",
                    "it is a link that leads out of the folder, and was not read",
                    "put the file itself there",
                )
                return None
            content = read_bytes(path)
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{path} ")
            self.error(file, "", f"it cannot be read: {reason}", "put a readable file there")
            return None
        self.contents[file] = content
        return content

    def parse(self, file: str, content: bytes) -> dict[str, Any] | None:
        path = self.folder / file
        try:
            data = parse_json(content, path)
            if _depth_exceeds(data, _MAX_DEPTH):
                raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")
        except ValueError as error:
            what = str(error).removeprefix(f"{path} ")
            self.add(Finding(self.severity(file), file, "", what, "mend the JSON, or run again"))
            return None
        return data

    def look_at_file(self, name: str) -> None:
        file = file_name(name)
        content = self.read(file)
        if content is None:
            return
        if len(content) > _SCHEMA_SIZE_LIMIT:
            self.warn(
                file,
                "",
                f"it has {len(content) // 1024} KB, more than the 500 KB that are advised",
                "record fewer or shorter parameters, results and notes",
            )
        data = self.parse(file, content)
        if data is None:
            return
        self.data[name] = data
        if name == PROCESSING:
            self.names = _process_names(data)
        self.look_at_values(file, data)
        version = data.get("schema_version")
        if isinstance(version, str) and version.startswith(("0.", "1.")):
            self.add(
                Finding(
                    self.severity(file),
                    file,
                    "schema_version",
                    f"it is of schema version {version}; metadata of version 2 are wanted",
                    "upgrade it with aind-metadata-upgrader",
                )
            )
        elif name != PROCESSING:
            self.validate(name, file, _model(name).model_validate_json, content)

    def validate(
        self, name: str, file: str, read: Callable[[Any], Any], value: Any, place: _Path = ()
    ) -> Any:
        """Read a value through a model of the schema, which is kept under a name if all is well."""
        try:
            model = read(value)
        except Exception as error:  # noqa: BLE001 - the schema's validators raise anything
            self.found_in(place, checks.schema_findings(error, file, place, self.names))
            return None
        if name:
            self.models[name] = model
        return model

    def look_at_values(self, file: str, data: Any) -> None:
        """Look for secrets, for numbers that JSON does not have, and for keys that MongoDB lacks."""
        for link, key, value in _values(data):
            if isinstance(value, float) and not math.isfinite(value):
                what, mend = f"{value} is no JSON", 'write "NaN" as text, or null'
            elif isinstance(value, str) and _is_secret(key, value):
                what = "it holds what looks like a password, token or key"
                mend = f"take it out, write {REDACTED}, and make the secret itself worthless"
            elif isinstance(key, str) and contains_secret(key):
                what = "its name looks like a password, token or key"
                mend = "take it out, and make the secret itself worthless"
            elif isinstance(key, str) and ("." in key or "$" in key):
                if not {"parameters", "output_parameters"}.intersection(place := _place(link)):
                    continue
                what = f"the name {key} holds . or $, which databases refuse"
                mend = f'name it "{key.replace(".", "_").replace("$", "_")}"'
            else:
                continue
            place = _place(link)
            where = checks.where_is(place, self.names)
            self.found_in(place, [Finding("error", file, where, what, mend)])
            if self.is_full(file):
                return

    # The description, the processing, and all together

    def look_for_missing(self, present: Iterable[str]) -> None:
        for name in (DATA_DESCRIPTION, PROCESSING):
            if name not in present:
                mend = "run the analysis in a DerivedAsset, which writes the whole set"
                self.error(file_name(name), "", "it is missing", mend)

    def look_at_description(self) -> None:
        description: DataDescription | None = self.models.get(DATA_DESCRIPTION)
        if description is None:
            return
        self.found_in((), checks.description_findings(description))
        if description.creation_time > self.now + checks.CLOCK_SLACK:
            self.error(
                checks.DESCRIPTION_FILE,
                "creation_time",
                f"it lies in the future ({description.creation_time})",
                "set the clock of the machine that ran it, and run again",
            )

    def look_at_processing(self) -> None:
        data = self.data.get(PROCESSING)
        if data is None:
            return
        file, before = checks.PROCESSING_FILE, self.counts.get(checks.PROCESSING_FILE, 0)
        items = data.get("data_processes")
        if not isinstance(items, list) or len(items) > _MAX_PROCESSES:
            what = (
                f"it has {len(items)} processes; at most {_MAX_PROCESSES} are looked at"
                if isinstance(items, list)
                else "it is not a list of processes"
            )
            self.error(file, "data_processes", what, "run the analysis again")
            return
        acquired = self.acquisition_start()
        processes: dict[int, DataProcess] = {}
        for index, item in enumerate(items):
            place = ("data_processes", index)
            where = checks.where_is(place, self.names)
            process = self.validate("", file, DataProcess.model_validate, _copy(item), place)
            if process is not None:
                processes[index] = process
                self.found_in(place, checks.process_findings(process, where))
                if process.name not in self.inherited_processes:
                    times = checks.run_findings(process, where, now=self.now, acquired=acquired)
                    self.found_in(place, times)
                    self.look_at_output(process, where)
            if self.is_full(file):
                return
        graph = data.get("dependency_graph")
        names = [self.names.get(index, "") for index in range(len(items))]
        if graph is None or _is_graph(graph):
            self.found_in((), checks.graph_findings(names, graph))
            self.look_at_order(processes, graph or {})
        self.look_at_pipelines(data.get("pipelines"), processes)
        if self.counts.get(file, 0) == before or len(processes) == len(items):
            self.look_at_whole(data)
        self.compare_sources(processes)

    def look_at_whole(self, data: dict[str, Any]) -> None:
        """Look at what only the processing as a whole shows, if no finding has told it already."""
        try:
            self.models[PROCESSING] = Processing.model_validate(_copy(data))
        except Exception as error:  # noqa: BLE001 - as above
            told = any(
                severity == "error" and file == checks.PROCESSING_FILE
                for severity, file, *_ in self.found
            )
            if not told:
                file = checks.PROCESSING_FILE
                self.found_in((), checks.schema_findings(error, file, (), self.names))

    def look_at_output(self, process: DataProcess, where: str) -> None:
        if process.output_path is None or checks.leads_out(process.output_path):
            return
        path = self.folder / str(process.output_path)
        if not os.path.lexists(path):
            # A process that failed need not have written what it was to write.
            severity = "warning" if checks.may_lack_outputs(process) else "error"
            what = f"its output {process.output_path} does not exist"
            mend = "put it there, or mend output_path"
            self.add(Finding(severity, checks.PROCESSING_FILE, where, what, mend))  # type: ignore[arg-type]

    def look_at_order(self, processes: Mapping[int, DataProcess], graph: Mapping[str, Any]) -> None:
        by_name = {process.name: process for process in processes.values()}
        for name, targets in graph.items():
            for target in targets:
                follower, leader = by_name.get(name), by_name.get(target)
                if follower is None or leader is None or follower.end_date_time is None:
                    continue
                if leader.start_date_time > follower.end_date_time:
                    self.warn(
                        checks.PROCESSING_FILE,
                        f"dependency_graph, {name}",
                        f"it depends on {target}, which started only after it had ended",
                        f'mend the times, or remove "{target}" from its list',
                    )

    def look_at_pipelines(self, pipelines: Any, processes: Mapping[int, DataProcess]) -> None:
        file, names = checks.PROCESSING_FILE, []
        for index, item in enumerate(pipelines if isinstance(pipelines, list) else []):
            place = ("pipelines", index)
            where = checks.where_is(place, self.names)
            code = self.validate("", file, Code.model_validate, _copy(item), place)
            if code is None:
                continue
            names.append(code.name)
            for what, field in (("name", code.name), ("URL", code.url)):
                if not (field or "").strip():
                    mend = f'write "{what.lower()}": "..." into it'
                    fault = Finding("error", file, where, f"the pipeline has no {what}", mend)
                    self.found_in(place, [fault])
            if self.is_full(file):
                return
        for index, process in processes.items():
            if process.pipeline_name and process.pipeline_name not in names:
                place = ("data_processes", index)
                where = checks.where_is(place, self.names)
                what = f"its pipeline {process.pipeline_name} is not among the pipelines"
                mend = 'add it to "pipelines", with its name, url and version'
                self.found_in(place, [Finding("error", file, where, what, mend)])

    def acquisition_start(self) -> datetime | None:
        text = self.data.get("acquisition", {}).get("acquisition_start_time")
        try:
            start = datetime.fromisoformat(text)  # type: ignore[arg-type]
            return start.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            return None

    def compare_sources(self, processes: Mapping[int, DataProcess]) -> None:
        """Look for sources that no process of this asset is said to have read."""
        description: DataDescription | None = self.models.get(DATA_DESCRIPTION)
        if description is None:
            return
        read = {
            name
            for process in processes.values()
            if process.name not in self.inherited_processes
            for entry in process.code.input_data or ()
            for asset in (entry, *getattr(entry, "assets", ()))
            for name in (asset.name, getattr(asset, "url", None))
        }
        for name in description.source_data or ():
            if name not in read:
                self.warn(
                    checks.DESCRIPTION_FILE,
                    "source_data",
                    f"no process is said to have read the source {name}",
                    f'add it to the input_data of one, track_process(inputs="{name}"), or remove it',
                )

    def compare_subjects(self) -> None:
        if DATA_DESCRIPTION not in self.models:
            return
        ours = self.models[DATA_DESCRIPTION].subject_id
        for name in ("subject", "procedures", "acquisition"):
            theirs = self.data.get(name, {}).get("subject_id")
            if isinstance(theirs, str) and theirs != ours:
                file = file_name(name)
                what = f"it is about subject {theirs}, data_description.json about {ours}"
                mend = "put the file of the right subject there, or mend the subject_id"
                self.add(Finding(self.severity(file), file, "subject_id", what, mend))

    def look_at_record(self) -> None:
        """Put all files together as the one record that a database holds of an asset."""
        description: DataDescription | None = self.models.get(DATA_DESCRIPTION)
        if description is None:
            return
        parts = dict(self.models)
        acquired = self.acquisition_start()
        processing = parts.get(PROCESSING)
        if processing and acquired:
            # These were told, each of them; the schema would tell the first and stop.
            if any(process.start_date_time <= acquired for process in processing.data_processes):
                del parts[PROCESSING]
        if description.data_level == DataLevel.SIMULATED.value:
            del parts[DATA_DESCRIPTION]  # the schema takes apart no name of a simulated asset
        from aind_data_schema.core.metadata import Metadata  # noqa: PLC0415 - 3 seconds

        name = description.name or self.folder.name
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                Metadata(name=name, location=self.root.as_uri(), **copy.deepcopy(parts))
            except Exception as error:  # noqa: BLE001 - as above
                theirs = [self.severity(file_name(part)) == "warning" for part in parts]
                carried = sum(theirs) >= len(parts) - 2 and any(theirs)
                for found in checks.schema_findings(error, "", (), {}):
                    severity: Any = "warning" if carried else "error"
                    self.add(dataclasses.replace(found, severity=severity, where="all files"))
        whole = "acquisition" in parts or "instrument" in parts
        for warning in caught:
            text = str(warning.message)
            if "missing required file" in text and (not whole or DATA_DESCRIPTION in text):
                continue  # what several acquisitions share has no instrument, for instance
            self.warn("", "all files", f"the schema warns: {text}", "complete the input's metadata")
