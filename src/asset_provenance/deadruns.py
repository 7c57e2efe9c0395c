"""Runs that ended without metadata, as their journals tell of them.

What had ended is as it was; what was open is interrupted, at the last time that anything is known
of the program.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from asset_provenance import folding, workers
from asset_provenance.corefiles import JOURNAL_FOLDER, MANIFEST, parse_json, read_bytes
from asset_provenance.errors import StorageError
from asset_provenance.folder import OutputFolder, is_taken
from asset_provenance.journal import user_journals
from asset_provenance.journalfiles import count_damaged, read_entries
from asset_provenance.metadata import writer
from asset_provenance.records import (
    RECORD_VERSION,
    AssetRecord,
    InputRef,
    ProcessRecord,
    ProcessStatus,
    asset_from_json,
    inputs_from_json,
    writer_of,
)

__all__ = ["DeadRun", "find_runs", "finish_written", "mapping"]

_WRITTEN_LATER = "The metadata were written later, from the record of the run."
_NOT_READ = (ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run that has left its record and no metadata.

    Parameters
    ----------
    id
        The name of its folder.
    output_dir
        Where the asset's folder is now.
    places
        The folders that hold its record; a second one where the first could not be written.
    asset, block, records
        The run as a whole, its block, and the processes inside it, in the order of their start;
        None and nothing as far as that cannot be read. Every process has ended: what was open is
        interrupted.
    late_inputs, input_folders
        Primary inputs that were added while it ran, and where inputs were found, by name.
    given
        Processes that the script has written down itself, each as a ``Processing``.
    ending
        How it ended, in words.
    remarks
        What the reader must know besides.
    refusal
        Why nothing can be made of it now, with what to do; None if it can be recovered.
    """

    id: str
    output_dir: Path
    places: tuple[Path, ...]
    asset: AssetRecord | None = None
    block: ProcessRecord | None = None
    records: tuple[ProcessRecord, ...] = ()
    late_inputs: tuple[InputRef, ...] = ()
    input_folders: Mapping[str, Path] = field(default_factory=dict)
    given: tuple[Mapping[str, Any], ...] = ()
    ending: str = ""
    remarks: tuple[str, ...] = ()
    refusal: str | None = None


def finish_written(output_dir: Path) -> list[str]:
    """Finish what runs were killed in that had begun to put their files into place.

    Returns
    -------
    list of str
        The runs that are done with.

    Raises
    ------
    StorageError
        If a set cannot be put into place.
    """
    written = _written_run(output_dir)
    runs = writer.runs_kept(output_dir)
    begun = writer.interrupted_writes(output_dir)
    if (not begun and written not in [run.name for run in runs]) or is_taken(output_dir):
        return []
    if begun and not writer.may_be_finished(output_dir):
        raise StorageError(
            f"{begun[0]} names files that do not belong to the asset, so the metadata in it are "
            "not put into place; remove that folder"
        )
    own = OutputFolder(output_dir)
    try:
        done = [run.name for run in writer.roll_forward(output_dir)]
        for run in runs:
            if run.name == written and run.name not in done:
                shutil.rmtree(run, ignore_errors=True)
                done.append(run.name)
    finally:
        own.give_back()
    return done


def _written_run(output_dir: Path) -> str | None:
    """Give the run that the metadata in a folder are of."""
    path = output_dir / MANIFEST
    try:
        return str(parse_json(read_bytes(path), path).get("run"))
    except (OSError, ValueError):
        return None


def find_runs(output_dir: Path) -> list[DeadRun]:
    """Find the runs on an output folder that have no metadata, the earliest first.

    Nothing is changed. Runs that :func:`finish_written` is for are refused here.

    Raises
    ------
    StorageError
        If the journals cannot be read at all.
    """
    places = _places(output_dir)
    taken = bool(places) and is_taken(output_dir)
    written = _written_run(output_dir)
    runs = [
        _read_run(DeadRun(name, output_dir, tuple(folders)), taken=taken)
        for name, folders in places.items()
        if name != written
    ]
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(runs, key=lambda run: (run.asset.creation_time if run.asset else latest, run.id))


def _places(output_dir: Path) -> dict[str, list[Path]]:
    """Give the folders of each run: in the output folder, and where its journal went on."""
    journals, elsewhere = output_dir / JOURNAL_FOLDER, user_journals()
    found = {folder.name: [folder] for folder in _folders(journals)}
    with suppress(StorageError):
        for folder in _folders(elsewhere):
            if folder.name in found or _is_of(folder, output_dir):
                found.setdefault(folder.name, []).append(folder)
    return found


def _folders(journals: Path) -> list[Path]:
    try:
        return [path for path in sorted(journals.iterdir()) if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"the journals in {journals} cannot be read: {error.strerror}") from None


def _is_of(folder: Path, output_dir: Path) -> bool:
    said = [
        str(entry.get("output_dir"))
        for path in folder.glob("*.jsonl")
        for entry in read_entries(path)
        if entry.get("kind") == "asset"
    ]
    return any(os.path.realpath(path) == os.path.realpath(output_dir) for path in said)


def _read_run(run: DeadRun, *, taken: bool) -> DeadRun:
    try:
        files = [path for place in run.places for path in place.iterdir()]
        files = sorted(path for path in files if path.suffix == ".jsonl")
        for path in files:
            path.open("rb").close()
    except OSError as error:
        reason = f"its record cannot be read ({error.strerror}: {error.filename})"
        return replace(run, refusal=f"{reason}; let the user who ran it recover it")
    entries = [entry for path in files for entry in read_entries(path)]
    head = next((dict(entry) for entry in entries if entry.get("kind") == "asset"), None)
    if head is None:
        if taken:
            return replace(run, refusal=_TAKEN)
        return replace(run, refusal=f"its record says nothing of the run: {_remove(run)}")
    del head["kind"]
    version = head.pop("version", None)
    if version != RECORD_VERSION:
        return replace(
            run,
            refusal=f"its record is of version {version!r:.40}, and this asset-provenance reads "
            f"version {RECORD_VERSION}; use the one that wrote it",
        )
    try:
        asset = asset_from_json(head)
        late = [dict(entry) for entry in entries if entry.get("kind") == "input"]
        late_inputs = inputs_from_json({k: v for k, v in e.items() if k != "kind"} for e in late)
        folders = {
            str(name): Path(str(folder)) for name, folder in mapping(asset, "folders").items()
        }
    except _NOT_READ:
        return replace(run, refusal=f"its record of the run is damaged: {_remove(run)}")
    for entry in entries:
        if entry.get("kind") == "folder":
            folders.setdefault(str(entry.get("name")), Path(str(entry.get("path"))))
    given = [entry.get("processing") for entry in entries if entry.get("kind") == "given"]
    run = replace(
        run,
        asset=asset,
        late_inputs=late_inputs,
        input_folders=folders,
        given=tuple(one for one in given if isinstance(one, dict)),
    )
    run = _with_processes(run, asset, files, entries)
    run = replace(run, remarks=tuple(_remarks(run, asset, files)))
    return replace(run, refusal=_refusal(run, asset, taken=taken))


_TAKEN = (
    "the output folder is in use, by another run or by a process that this one started; wait until "
    "that has ended"
)


def _remove(run: DeadRun) -> str:
    return f"nothing can be recovered from it; remove {' and '.join(map(str, run.places))}"


def mapping(asset: AssetRecord, name: str) -> Mapping[str, Any]:
    """Give one of the mappings that the settings of a run hold."""
    value = asset.settings.get(name)
    return value if isinstance(value, dict) else {}


def _with_processes(
    run: DeadRun, asset: AssetRecord, files: list[Path], entries: list[dict[str, Any]]
) -> DeadRun:
    """Take in the processes of all writers; those that were open end with the last thing known."""
    ended: dict[str, ProcessRecord] = {}
    begun: dict[str, ProcessRecord] = {}
    last: dict[str, datetime] = {}
    written = [workers.read(path) for path in files]
    for one in written:
        for found, records in ((ended, one.ended), (begun, one.begun)):
            for record in records:
                time = record.end_date_time or record.start_date_time
                # Where the journal had to go on elsewhere, what was left behind is older.
                known = found.setdefault(record.id, record)
                if time > (known.end_date_time or known.start_date_time):
                    found[record.id] = record
                last[one.writer] = max(time, last.get(one.writer, time))
    block = next((one for one in (*ended.values(), *begun.values()) if not one.parent_id), None)
    if block is None:
        return run
    # What the program itself began lasted as long as anything inside it did.
    latest = last[writer_of(block.id)] = max(last.values())
    signals = [str(entry.get("name")) for entry in entries if entry.get("kind") == "signal"]
    cause = ending = _cause(asset, latest, signals)
    note = f"Interrupted: the program ended before it had. {cause}"
    if block.id in ended:
        reason = next((str(e.get("reason")) for e in entries if e.get("kind") == "close"), None)
        ending = _ending(block, reason)
        note = "Interrupted: the process that ran it ended before it had."
    exits = {number: code for one in written for number, code in one.exits.items()}
    codes = {one.writer: exits.get(one.process_id or 0) for one in written}
    interrupted = {
        record.id: _interrupted(
            record, last[writer_of(record.id)], codes[writer_of(record.id)], note
        )
        for record in begun.values()
    }
    seen = workers.with_seen(tuple((interrupted | ended).values()), written)
    limit = next((one.max_repeats for one in written if one.max_repeats), len(seen))
    processes = {record.id: record for record in folding.fold(seen, limit)}
    block = processes.pop(block.id)
    return replace(
        run,
        block=replace(block, notes=(*block.notes, _WRITTEN_LATER)),
        records=tuple(sorted(processes.values(), key=lambda record: record.start_date_time)),
        ending=ending,
    )


def _interrupted(
    record: ProcessRecord, last: datetime, code: int | None, note: str
) -> ProcessRecord:
    error = None
    if code is not None:
        error, how = workers.how_it_ended(code)
        note = f"Interrupted: {how[0].lower()}{how[1:]}"
    return replace(
        record,
        end_date_time=last,
        status=ProcessStatus.INTERRUPTED,
        error=error,
        notes=(*record.notes, note),
    )


def _cause(asset: AssetRecord, last: datetime, signals: list[str]) -> str:
    """Say what is known of why a program ended in the middle of a run."""
    seen = f"After {last.isoformat(timespec='milliseconds')} nothing is known of it."
    got = "".join(f"It got {name}. " for name in signals)
    if asset.host != socket.gethostname():
        return f"{got}It was killed, or its machine stopped; up to a second may be missing. {seen}"
    if psutil.boot_time() > last.timestamp():
        return f"{got}The machine was started anew since; up to a second may be missing. {seen}"
    return f"{got}It was killed or it crashed: the machine went on. {seen}"


def _ending(block: ProcessRecord, reason: str | None) -> str:
    if block.status is ProcessStatus.COMPLETED:
        return (
            f"It ended as it should, but {reason or 'was killed before the metadata were written'}."
        )
    how = "failed" if block.status is ProcessStatus.FAILED else "was interrupted"
    return f"It {how}: {block.error}" if block.error else f"It {how}."


def _remarks(run: DeadRun, asset: AssetRecord, files: Iterable[Path]) -> Iterable[str]:
    damaged = sum(map(count_damaged, files))
    if damaged:
        lines = "one line" if damaged == 1 else f"{damaged} lines"
        yield f"{lines} of its record cannot be read, as a kill or a power cut leaves them"
    if asset.host != socket.gethostname():
        yield (
            f"it ran on {asset.host or 'an unknown machine'}, not on this one: whether it still "
            "runs there cannot be seen from here"
        )
    user = ""
    with suppress(Exception):
        user = getpass.getuser()
    if asset.user and asset.user != user:
        yield f"{asset.user} ran it"
    if os.path.realpath(asset.output_dir) != os.path.realpath(run.output_dir):
        yield f"its output folder was {asset.output_dir} then"


def _refusal(run: DeadRun, asset: AssetRecord, *, taken: bool) -> str | None:
    if taken and asset.host == socket.gethostname() and psutil.pid_exists(asset.process_id):
        return f"it is still running, as process {asset.process_id}; wait until it has ended"
    if taken:
        return _TAKEN
    if run.id in [begun.name for begun in writer.interrupted_writes(run.output_dir)]:
        return (
            "it was killed while its metadata were put into place, which has to be finished first"
        )
    if run.block is None:
        return f"it ended before anything had started: {_remove(run)}"
    return None
