"""What the metadata of an asset say of the assets that it was made from; of any schema version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from aind_data_schema_models.data_name_patterns import DataRegex

from asset_provenance.assetrefs import asset_ref, recordable
from asset_provenance.views import as_objects, as_time

__all__ = ["Kind", "Parentage", "Use", "parentage", "time_in_name"]

Kind = Literal["source", "name", "input", "reference"]
"""How an asset is said to go back to another: its description names it as a source; no source is
named, and its own name begins with it; no source is named, and a process used it; a process used
it, and it is not among the sources that are named, or the asset is of a kind that has none."""
ProcessKey = tuple[str, str]
"""What a process is known by in another asset's metadata: its type and its start."""

_LEVELS = ("raw", "derived", "simulated")
_ORIGINS = ("raw", "simulated")
"""Levels of what needs no source."""
_EXTERNAL = "external data"
_FROM_OUTSIDE = re.compile(r"^Downloaded from ", re.MULTILINE)
_TIME = re.compile(r"_(\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})$")
_MOST_USES = 20_000
"""Assets that an asset is heard to name: more than anybody follows."""
_LONGEST = 1000
"""Characters of a text that is taken: no asset has a longer name."""


@dataclass(frozen=True, slots=True)
class Use:
    """An asset that another one says it goes back to.

    Parameters
    ----------
    asset
        Its name; its URL, where no name is told.
    is_url
        Whether it is known by its URL only.
    kind
        How it is said.
    processes
        The names of the processes that used it.
    groups
        The names of the groups of assets (``CombinedData``) that it was used in.
    keys
        What those processes are known by; empty where one of them tells no start.
    """

    asset: str
    is_url: bool
    kind: Kind
    processes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    keys: frozenset[ProcessKey] = frozenset()


@dataclass(frozen=True, slots=True)
class Parentage:
    """What is said of an asset, as far as its way back is concerned.

    Parameters
    ----------
    level
        ``raw``, ``derived`` or ``simulated``; None where nothing tells.
    created
        When it was created or acquired; without a zone, where only its name tells.
    is_external
        Whether it came from outside AIND.
    uses
        What it goes back to: sources first.
    """

    level: str | None
    created: datetime | None
    is_external: bool
    uses: tuple[Use, ...]

    @property
    def is_origin(self) -> bool:
        """Whether it is right that it has no source."""
        return self.level in _ORIGINS or self.is_external


@dataclass(slots=True)
class _Input:
    is_url: bool
    processes: dict[str, None]
    groups: dict[str, None]
    keys: set[ProcessKey | None]


def parentage(
    name: str, description: Mapping[str, Any], processing: Mapping[str, Any]
) -> Parentage:
    """Read what an asset says of the assets that it was made from.

    Parameters
    ----------
    name
        Of the asset.
    description, processing
        Its ``data_description`` and ``processing``, from anybody; empty where it has none.
    """
    level = (_text(description.get("data_level")) or "").lower().partition(" ")[0]
    known_level = level if level in _LEVELS else None
    inputs = _inputs(name, processing)
    sources = dict(_sources(description))
    uses = [_use(ref, is_url, "source", inputs.get(ref)) for ref, is_url in sources.items()]
    is_external = known_level != "raw" and not uses and not inputs and _is_external(description)
    if not uses and known_level in ("derived", None) and not is_external:
        root = re.match(DataRegex.DERIVED.value, name)
        if root is not None:
            uses.append(_use(root["input"], False, "name", inputs.get(root["input"])))
            sources[root["input"]] = False
    sources_are_told = any(use.kind == "source" for use in uses) or known_level in _ORIGINS
    kind: Kind = "reference" if sources_are_told else "input"
    uses += [
        _use(ref, found.is_url, kind, found) for ref, found in inputs.items() if ref not in sources
    ]
    created = as_time(description.get("creation_time")) or time_in_name(name)
    return Parentage(known_level, created, is_external, tuple(uses))


def time_in_name(name: str) -> datetime | None:
    """Give the time that the name of an asset ends with; it has no zone."""
    found = _TIME.search(name)
    with suppress(ValueError):
        return datetime.strptime(found[1], "%Y-%m-%d_%H-%M-%S") if found else None
    return None


def _sources(description: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    named = description.get("source_data")
    if named is None:
        named = description.get("input_data_name")  # of schema v1
    texts = map(_text, named if isinstance(named, list) else [named])
    for text in islice(dict.fromkeys(texts), _MOST_USES):
        if text is not None:
            yield _identity(None, text) if "://" in text else (recordable(text), False)


def _inputs(name: str, processing: Mapping[str, Any]) -> dict[str, _Input]:
    """Give what the processes used, by name."""
    inputs: dict[str, _Input] = {}
    pipeline = processing.get("processing_pipeline")  # of schema v1
    holder = pipeline if isinstance(pipeline, dict) else processing
    for process in as_objects(holder.get("data_processes")):
        kind = _text(process.get("process_type")) or _text(process.get("name")) or ""
        start = as_time(process.get("start_date_time"))
        key = None if start is None else (kind, start.isoformat())
        own_name = recordable(_text(process.get("name")) or kind)
        _take(inputs, [*_of_code(process.get("code")), *_of_v1(process)], own_name, key)
    for code in as_objects(processing.get("pipelines")):
        made_by = recordable(_text(code.get("name")) or _text(code.get("url")) or "")
        _take(inputs, _of_code(code), made_by, ("pipeline", made_by))
    inputs.pop(name, None)  # a step that works on what an earlier one left in the asset itself
    return inputs


def _take(
    inputs: dict[str, _Input],
    found: list[tuple[str, bool, str | None]],
    process: str,
    key: ProcessKey | None,
) -> None:
    for ref, is_url, group in found:
        if len(inputs) >= _MOST_USES and ref not in inputs:
            continue
        known = inputs.setdefault(ref, _Input(is_url, {}, {}, set()))
        known.keys.add(key)
        if process:
            known.processes[process] = None
        if group is not None:
            known.groups[group] = None


def _of_code(code: Any) -> list[tuple[str, bool, str | None]]:
    """Give the assets that a code had as its input, with the group that each was in."""
    found: list[tuple[str, bool, str | None]] = []
    for entry in as_objects(code.get("input_data") if isinstance(code, dict) else None):
        members = as_objects(entry.get("assets"))
        group = (_text(entry.get("name")) or _text(entry.get("description"))) if members else None
        for asset in members or [entry]:
            name, url = _text(asset.get("name")), _text(asset.get("url"))
            if name or url:
                found.append((*_identity(name, url), recordable(group) if group else None))
    return found


def _of_v1(process: Mapping[str, Any]) -> list[tuple[str, bool, str | None]]:
    """Give the assets that a process of schema v1 read from: other places are one machine's."""
    told = process.get("input_location")
    places = [_text(place) for place in (told if isinstance(told, list) else [told])]
    found = [_identity(None, place) for place in places if place and place.startswith("s3://")]
    return [(ref, is_url, None) for ref, is_url in found if not is_url]


def _use(ref: str, is_url: bool, kind: Kind, found: _Input | None) -> Use:
    if found is None:
        return Use(ref, is_url, kind)
    keys = frozenset(key for key in found.keys if key is not None)
    return Use(
        ref,
        is_url,
        kind,
        tuple(found.processes),
        tuple(found.groups),
        frozenset() if None in found.keys else keys,
    )


def _identity(name: str | None, url: str | None) -> tuple[str, bool]:
    ref = asset_ref(name, url)
    return ref.identity, ref.name is None


def _is_external(description: Mapping[str, Any]) -> bool:
    """Say whether it describes data from outside, as this package does."""
    summary = _text(description.get("data_summary")) or ""
    return description.get("project_name") == _EXTERNAL or bool(_FROM_OUTSIDE.search(summary))


def _text(value: Any) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) and value.strip() else None
