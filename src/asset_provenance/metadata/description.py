"""Facts become the schema's ``DataDescription``: given, inherited and default values, and names."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aind_data_schema.core.data_description import DataDescription
from aind_data_schema_models.data_name_patterns import DataLevel, build_data_name
from pydantic import ValidationError

from asset_provenance.metadata import vocabulary
from asset_provenance.metadata.inheritance import shared_raw_root
from asset_provenance.metadata.inputs import InputAsset
from asset_provenance.metadata.quiet import quiet
from asset_provenance.settings import DESCRIPTION_FACTS, ENVIRONMENT_PREFIX, FACTS, Settings

__all__ = [
    "Facts",
    "asset_name",
    "build_description",
    "check_base_name",
    "given_facts",
    "inherit_facts",
    "malformed_base_name",
    "missing_facts",
    "reserve",
]

_BASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_OF_THE_PROJECT = ("investigators", "funding_source", "group", "tags")
"""What another project's inputs do not hand on: its people and its money."""
_NEVER_INHERITED = ("creation_time", "data_summary", "data_level")
_REQUIRED = ("project_name", "investigators", "funding_source", "modalities", "experimenters")

_EXAMPLES = {
    "project_name": ('project_name="Thalamus in the middle"', "Thalamus in the middle"),
    "investigators": ('investigators=["First Last"]', "First Last; Second Last"),
    "funding_source": ('funding_source="NIMH:RF1MH123"', "NIMH:RF1MH123; AI"),
    "modalities": ('modalities=["ecephys"]', "ecephys; behavior"),
    "experimenters": ('experimenters=["First Last"]', "First Last"),
}
_HINTS = {
    "funding_source": 'internal funding is "AI", the Allen Institute',
    "experimenters": "the people who ran this analysis; never inherited",
}

_Reader = Callable[[Any], Any]
_LISTS: dict[str, _Reader] = {
    "investigators": vocabulary.person,
    "funding_source": vocabulary.funding,
    "modalities": vocabulary.modality,
    "tags": vocabulary.tag,
    "experimenters": vocabulary.experimenter,
    "pipelines": vocabulary.pipeline,
}
_SINGLE: dict[str, _Reader] = {
    "project_name": vocabulary.project_name,
    "institution": vocabulary.organization,
    "license": vocabulary.license_,
    "group": vocabulary.group,
    "restrictions": vocabulary.text,
    "data_summary": vocabulary.text,
    "data_level": vocabulary.data_level,
    "creation_time": vocabulary.creation_time,
    "pipeline_name": vocabulary.pipeline_name,
}

_log = logging.getLogger("asset_provenance")
_used_names: set[str] = set()
_used_names_lock = threading.RLock()


@dataclass(slots=True)
class Facts:
    """Facts as the schema's objects, each with the source it came from.

    Parameters
    ----------
    values, sources
        By the name of the fact; a fact that is not there is unknown.
    problems
        One text for each fact that was given but cannot be used.
    withheld
        By the name of a fact that an input has, the project of the input that it belongs to.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, value: Any, source: str) -> None:
        """Take a fact, unless one from an earlier source is there."""
        if name not in self.values:
            self.values[name] = value
            self.sources[name] = source

    def copy(self) -> Facts:
        """Give an independent copy."""
        return Facts(dict(self.values), dict(self.sources), list(self.problems))


def given_facts(settings: Settings) -> Facts:
    """Read every fact that was given into the schema's objects; faults are listed, not raised."""
    facts = Facts()
    for name in FACTS:
        given = settings.get(name)
        if given is None:
            continue
        try:
            facts.set(name, _read(name, given.value), given.source)
        except ValueError as error:
            facts.problems.append(f"{name} (from {given.source}): {error}")
    _tell_joined_names(facts)
    pipelines = [pipeline.name for pipeline in facts.values.get("pipelines", [])]
    chosen = facts.values.get("pipeline_name")
    if chosen is not None and chosen not in pipelines:
        declared = ", ".join(map(repr, pipelines)) or "none"
        facts.problems.append(
            f"pipeline_name (from {facts.sources['pipeline_name']}): {chosen!r} is not among the "
            f"pipelines ({declared}); add it to pipelines with its url and version"
        )
    return facts


def _read(name: str, value: Any) -> Any:
    if name in _SINGLE:
        return _SINGLE[name](value)
    several = value if isinstance(value, list | tuple | set | frozenset) else [value]
    items = []
    for item in several:
        read = _LISTS[name](item)
        if read not in items:
            items.append(read)
    return items


def inherit_facts(given: Facts, inputs: Sequence[InputAsset]) -> Facts:
    """Complete the given facts with what the inputs' descriptions hand on, then the defaults.

    Several inputs: modalities, funding, investigators and tags are united; every restriction is
    kept; a group or institution only if all share it; a project or licence that differs must be
    given. Another project's people and money are never taken over.
    """
    facts = given.copy()
    described = [asset for asset in inputs if asset.description]
    own_project = facts.values.get("project_name")
    for name in DESCRIPTION_FACTS:
        if name in _NEVER_INHERITED or name in facts.values:
            continue
        holders = [
            asset
            for asset in described
            if name not in _OF_THE_PROJECT
            or own_project is None
            or asset.description.get("project_name") == own_project
        ]
        for asset in described:
            if asset not in holders and asset.description.get(name):
                facts.withheld[name] = str(asset.description.get("project_name"))
        _inherit(facts, name, holders)
    facts.set("institution", vocabulary.organization("AIND"), "the default")
    facts.set("license", vocabulary.license_("CC-BY-4.0"), "the default")
    facts.set("data_level", DataLevel.DERIVED, "the default")
    return facts


def _inherit(facts: Facts, name: str, holders: Sequence[InputAsset]) -> None:
    found: list[tuple[InputAsset, Any]] = []
    for asset in holders:
        raw = asset.description.get(name)
        if raw is None or raw in ("", []):
            continue
        try:
            found.append((asset, _read(name, raw)))
        except ValueError as error:
            said = f"{name} of input {asset.name} cannot be inherited: {error}"
            if name in _REQUIRED or name == "license":
                facts.problems.append(f"{said}; {_ways(name)}")
            else:
                _log.warning("%s", said)
    if not found:
        return
    source = "input " + ", ".join(asset.name for asset, _ in found)
    values = [value for _, value in found]
    if name in _LISTS:
        united: list[Any] = []
        for value in values:
            united.extend(item for item in value if item not in united)
        facts.set(name, united, source)
    elif name == "restrictions":
        facts.set(name, "\n".join(dict.fromkeys(values)), source)
    elif all(value == values[0] for value in values):
        facts.set(name, values[0], source)
    elif name in ("project_name", "license", "institution"):
        said = "; ".join(f"{asset.name}: {_plain(value)}" for asset, value in found)
        facts.problems.append(f"{name} differs between the inputs ({said}): {_ways(name)}")


def _plain(value: Any) -> str:
    return str(getattr(value, "value", None) or getattr(value, "name", None) or value)


def missing_facts(facts: Facts, *, only: Sequence[str] = _REQUIRED) -> list[str]:
    """Give one text for each required fact that nothing supplies, with the ways to give it."""
    told = {problem.split(" ", 1)[0] for problem in facts.problems}
    return [
        f"{name} is missing{_why(facts, name)}: {_ways(name)}"
        for name in _REQUIRED
        if name in only and name not in told and not facts.values.get(name)
    ]


def _tell_joined_names(facts: Facts) -> None:
    """Warn of several people in one name; "Lovelace, Ada" and "King, Jr." are one."""
    for fact in ("investigators", "experimenters"):
        for person in facts.values.get(fact, ()):
            name = person if isinstance(person, str) else person.name
            parts = [part.strip() for part in name.split(",")]
            if sum(" " in part for part in parts) > 1:
                _log.warning(
                    "%s (from %s) has %r as the name of one person; if these are several, give "
                    "[%s], or %r in an environment variable",
                    fact,
                    facts.sources[fact],
                    name,
                    ", ".join(f'"{part}"' for part in parts),
                    "; ".join(parts),
                )


def _why(facts: Facts, name: str) -> str:
    project = facts.withheld.get(name)
    return "" if project is None else f" (the input's is that of another project, {project!r})"


def _ways(name: str) -> str:
    call, text = _EXAMPLES.get(name, (f'{name}="..."', "..."))
    ways = f"give {call}, or {ENVIRONMENT_PREFIX}{name.upper()}={text!r}"
    return f"{ways} ({_HINTS[name]})" if name in _HINTS else ways


def check_base_name(base_name: str | None, inputs: Sequence[InputAsset]) -> list[str]:
    """Say what is wrong with the base name, given what the inputs are."""
    root = shared_raw_root(inputs)
    if root is not None:
        if base_name is None:
            return []
        return [
            f"base_name {base_name!r} is not wanted: all inputs go back to {root}, which gives "
            "the name; leave base_name out"
        ]
    if base_name is None:
        names = ", ".join(asset.name for asset in inputs) or "no inputs"
        return [
            f"base_name is missing: the result has no single raw asset to be named after ({names});"
            ' give DerivedAsset(..., base_name="what-this-result-combines")'
        ]
    return malformed_base_name(base_name)


def malformed_base_name(base_name: str | None) -> list[str]:
    """Say what is wrong with a base name whatever the inputs turn out to be."""
    if base_name is not None and (
        not isinstance(base_name, str) or not _BASE_NAME.fullmatch(base_name)
    ):
        return [
            f"base_name {base_name!r} may hold letters, digits, hyphens, dots and plus signs only "
            "(no underscore)"
        ]
    return []


def asset_name(
    process_name: str, creation_time: datetime, inputs: Sequence[InputAsset], base_name: str | None
) -> str:
    """Build the name: the raw root or the base name, the process, the time; never chained."""
    label = shared_raw_root(inputs) or base_name
    return str(build_data_name(f"{label}_{process_name}", creation_time))


def reserve(name: Callable[[datetime], str], time: datetime) -> datetime:
    """Take the first second from a time on whose name no asset of this program has.

    Parameters
    ----------
    name
        Gives the asset's name for a time.
    time
        In whole seconds.
    """
    with _used_names_lock:
        while name(time) in _used_names:
            time += timedelta(seconds=1)
        _used_names.add(name(time))
    return time


@quiet()
def build_description(
    facts: Facts,
    *,
    name: str,
    creation_time: datetime,
    inputs: Sequence[InputAsset],
    subject_id: str | None,
) -> DataDescription:
    """Build the description of the new asset.

    Raises
    ------
    ValueError
        If the schema refuses the facts; the message says which.
    """
    fields = {key: facts.values[key] for key in DESCRIPTION_FACTS if key in facts.values}
    fields |= {
        "name": name,
        "creation_time": creation_time,
        "subject_id": subject_id,
        "source_data": [asset.name for asset in inputs] or None,
    }
    try:
        return DataDescription(**fields)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """Tell in one line what the schema refuses, without the values."""
    faults: list[Mapping[str, Any]] = list(error.errors(include_url=False, include_input=False))
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'as a whole'}: {fault['msg']}"
        for fault in faults
    )
