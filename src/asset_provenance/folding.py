"""Calls of one function that several workers made, held to ``max_repeats`` together.

Each process of the operating system counts its own calls; see :mod:`asset_provenance.repeats`. When
the asset closes, those of all of them are counted anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from asset_provenance.lineage import latest_uses
from asset_provenance.records import JsonValue, ProcessRecord, ProcessStatus, writer_of
from asset_provenance.variation import (
    MOST_VALUES,
    NUMBERS,
    calls_note,
    calls_outcome,
    short,
)

__all__ = ["fold"]


def fold(records: Sequence[ProcessRecord], limit: int) -> tuple[ProcessRecord, ...]:
    """Give records in which the calls of no function are more processes than allowed.

    Parameters
    ----------
    records
        Of all processes of the operating system; the one without a parent stays as it is, and all
        keep their order.
    limit
        So many calls of one function are a process each. Of the rest, those with the same parent,
        inputs and outputs are one process, and so are those beyond as many of these.
    """
    if len({writer_of(record.id) for record in records if record.parent_id}) < 2:
        return tuple(records)  # who was alone has counted all
    folding = _Folding(records, limit)
    for record in sorted(records, key=lambda one: (one.start_date_time, one.id)):
        folding.add(record)
    return folding.result(records)


class _Folding:
    def __init__(self, records: Sequence[ProcessRecord], limit: int) -> None:
        self._limit = limit
        self._counts: dict[Hashable, int] = {}
        self._groups: dict[Hashable, dict[Hashable, list[ProcessRecord]]] = {}
        self._kept: dict[str, ProcessRecord] = {}
        self._became: dict[str, str] = {}
        alone: dict[tuple[str, Hashable], int] = {}
        for record in records:
            if record.calls is None:
                key = writer_of(record.id), _function(record)
                alone[key] = alone.get(key, 0) + 1
        # One process alone has more: it is no function, but a block, of which each time counts.
        self._blocks = {key[1] for key, count in alone.items() if count > limit}

    def add(self, record: ProcessRecord) -> None:
        """Take in a record; those that started earlier have been taken in."""
        parent = self._became.get(record.parent_id or "", record.parent_id)
        record = replace(record, parent_id=parent)
        function = _function(record)
        # What was interrupted is to be seen, and is one of few.
        is_single = record.calls is None and (
            not parent
            or function in self._blocks
            or record.status not in (ProcessStatus.COMPLETED, ProcessStatus.FAILED)
        )
        if not is_single and record.calls is None:
            count = self._counts[function] = self._counts.get(function, 0) + 1
            is_single = count <= self._limit
        if is_single:
            self._kept[record.id] = record
            return
        groups = self._groups.setdefault((function, parent), {})
        key: Hashable = (record.inputs, record.outputs, record.reads)
        if key not in groups and len(groups) >= self._limit:
            key = None
        group = groups.setdefault(key, [])
        group.append(record)
        self._became[record.id] = group[0].id

    def result(self, records: Sequence[ProcessRecord]) -> tuple[ProcessRecord, ...]:
        """Give what became of the records, in the order of those."""
        for groups in self._groups.values():
            for group in groups.values():
                first = group[0]
                self._kept[first.id] = first if len(group) == 1 and first.calls else _united(
                    first.name, group
                )  # fmt: skip
        return tuple(
            _renamed(self._kept[record.id], self._became)
            for record in records
            if record.id in self._kept
        )


def _renamed(record: ProcessRecord, became: Mapping[str, str]) -> ProcessRecord:
    follows = dict.fromkeys(became.get(one, one) for one in record.follows)
    follows.pop(record.id, None)
    return replace(record, follows=tuple(follows))


def _function(record: ProcessRecord) -> Hashable:
    return record.name, record.process_type, record.stage, record.code and record.code.run_script


def _united(name: str, records: Sequence[ProcessRecord]) -> ProcessRecord:
    """Give the one process that alike calls are which several have counted, or not yet.

    Parameters
    ----------
    name
        Of the function.
    records
        Each of one call that ended, or of several, in the order of their start.
    """
    first = records[0]
    calls: dict[str, Any] = {"ended": 0}
    notes: dict[str, None] = {}
    for record in records:
        of_one = {"ended": 1, "failed": int(record.status is ProcessStatus.FAILED)}
        counted = of_one if record.calls is None else record.calls
        calls["ended"] += counted["ended"]
        if failed := counted.get("failed"):
            calls["failed"] = calls.get("failed", 0) + failed
            calls.setdefault("error", counted.get("error", record.error))
        said = None if record.calls is None else calls_note(name, record.calls)
        notes.update(dict.fromkeys(note for note in record.notes if note != said))
    constant, varied = _united_parameters(records)
    if varied:
        calls["varied"] = varied
    how = calls_outcome(name, calls)
    ends = [record.end_date_time for record in records if record.end_date_time is not None]
    return replace(
        first,
        end_date_time=max(ends, default=first.end_date_time),
        status=how.status,
        error=how.error,
        parameters=constant or None,
        results={k: v for record in records for k, v in (record.results or {}).items()} or None,
        notes=(*notes, how.note or ""),
        observed=tuple(dict.fromkeys(one for record in records for one in record.observed)),
        read_files=latest_uses(record.read_files for record in records),
        written_files=latest_uses(record.written_files for record in records),
        follows=tuple(dict.fromkeys(one for record in records for one in record.follows)),
        calls=calls,
    )


def _united_parameters(
    records: Sequence[ProcessRecord],
) -> tuple[dict[str, JsonValue], dict[str, list[Any]]]:
    """Give the parameters that were the same in all, and over what the others varied."""
    constant: dict[str, JsonValue] = {}
    varied: dict[str, list[Any]] = {}
    known: list[tuple[Mapping[str, JsonValue], Mapping[str, Any]]] = [
        (record.parameters or {}, cast("Any", (record.calls or {}).get("varied")) or {})
        for record in records
    ]
    names = dict.fromkeys(name for pair in known for part in pair for name in part)
    for name in names:
        found = [part[name] for part in (pair[0] for pair in known) if name in part]
        others = [part[name] for part in (pair[1] for pair in known) if name in part]
        if not others and all(value == found[0] for value in found):
            constant[name] = found[0]
            continue
        numbers = [value for value in found if type(value) in NUMBERS]
        ranges = [limits for limits in others if type(limits[0]) in NUMBERS]
        if len(numbers) == len(found) and len(ranges) == len(others):
            values = [*numbers, *(value for limits in ranges for value in limits)]
            varied[name] = [min(cast("Any", values)), max(cast("Any", values))]
            continue
        texts = [short(value) for value in found]
        for each in others:
            texts += each if type(each[0]) is str else [f"{each[0]} to {each[1]}"]
        varied[name] = list(dict.fromkeys(texts))[: MOST_VALUES + 1]
    return constant, varied
