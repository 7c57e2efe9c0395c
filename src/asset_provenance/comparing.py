"""What differs between two assets' provenance; pure functions over views.

A difference is told once, with all the processes in which it is the same, and under a topic. The
topics are in the order in which somebody would look who asks why a result has changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from asset_provenance.pairing import Pair, pair_up, used_assets
from asset_provenance.views import AssetView, CodeView, ProcessView, ResourceView

__all__ = [
    "ABSENT",
    "FACTS",
    "MEASURED",
    "THERE",
    "TOPICS",
    "Comparison",
    "Difference",
    "Side",
    "compare",
    "value_differences",
]

TOPICS = (
    "inputs",
    "processes",
    "code",
    "parameters",
    "packages",
    "environment",
    "other metadata",
    "order",
    "outcome",
    "description",
)
"""What can have changed a result, the likeliest first; then what is a consequence, or a label."""

MEASURED = "times and resources"
"""The topic of what differs from run to run, and changes no result."""

FACTS = ("how it ended", "output")
"""Under the topic of the outcome, what is no result of a process's own."""

_LISTED = 20
"""Lists of up to this length are compared one by one."""
_OF_RUN = "Parameters of the run: "
_SUM = re.compile(r"uncommitted changes.*SHA-256 is ([0-9a-f]{64})")


class _Absent:
    """Stands for what is not there, where null could be."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
THERE = "there"
"""The value of what is there or not, and has no value."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two, with what lies beside its metadata.

    Parameters
    ----------
    view
        Of the asset.
    packages
        Versions of the packages that were imported, by name; None where no list was kept.
    files
        The content of its inherited files, by path.
    patches
        The SHA-256 of each patch of uncommitted changes, by commit.
    """

    view: AssetView
    packages: Mapping[str, str] | None = None
    files: Mapping[str, Any] = field(default_factory=dict)
    patches: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that differs.

    Parameters
    ----------
    topic
        One of :data:`TOPICS`, or :data:`MEASURED`.
    path
        What it is, such as the path to a parameter.
    before, after
        JSON values; :data:`ABSENT` where there is none.
    processes
        Where it is the same difference, by the names of their pairs; empty for one that is the
        asset's.
    """

    topic: str
    path: str
    before: Any
    after: Any
    processes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the comparison of two assets.

    Parameters
    ----------
    before, after
        The two.
    pairs
        The processes that both have.
    differences
        In the order of their topics.
    measured
        What differs in times and resources.
    not_compared
        What could not be compared, and why.
    """

    before: AssetView
    after: AssetView
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    measured: tuple[Difference, ...]
    not_compared: tuple[str, ...]

    @property
    def code_changes(self) -> tuple[tuple[str | None, str, str], ...]:
        """Each change of a commit: the repository's URL, the commit before, and after."""
        found: dict[tuple[str | None, str, str], None] = {}
        for pair in self.pairs:
            before, after = pair.before.code, pair.after.code
            if before.commit_hash and after.commit_hash and before.commit_hash != after.commit_hash:
                found[after.url, before.commit_hash, after.commit_hash] = None
        return tuple(found)


def compare(before: Side, after: Side) -> Comparison:
    """Compare two assets.

    Parameters
    ----------
    before, after
        The two; neither need be older.
    """
    pairs, only_before, only_after = pair_up(before.view.processes, after.view.processes)
    found = [
        *_of_assets(before.view, after.view),
        *(Difference("processes", one.name, THERE, ABSENT) for one in only_before),
        *(Difference("processes", one.name, ABSENT, THERE) for one in only_after),
        *_together(pairs, lambda pair: _of_pair(pair, before.patches, after.patches)),
        *_of_order(pairs),
    ]
    not_compared = [
        f"{letter}: {problem}"
        for letter, side in (("A", before), ("B", after))
        for problem in side.view.problems
    ]
    if before.packages is not None and after.packages is not None:
        told = {each.code.url for pair in pairs for each in (pair.before, pair.after)}
        packages = [
            {name: version for name, version in side.packages.items() if name not in told}
            for side in (before, after)
            if side.packages is not None
        ]
        found += _of_mappings("packages", *packages)
    elif before.packages is not None or after.packages is not None:
        one = "A" if before.packages is None else "B"
        not_compared.append(f"packages: {one} has no list of them in provenance/")
    found += _of_files(before.files, after.files)
    found += _of_patches(pairs, before.patches, after.patches)
    return Comparison(
        before.view,
        after.view,
        tuple(pairs),
        tuple(sorted(found, key=lambda one: TOPICS.index(one.topic))),
        tuple(_together(pairs, _of_measurements)),
        tuple(not_compared),
    )


def value_differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give what differs between two JSON values: the path to it, and both values.

    Parameters
    ----------
    before, after
        Any JSON values.
    path
        To the two.
    """
    waiting = [(path, before, after)]
    while waiting:
        place, one, other = waiting.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names = [*one, *(name for name in other if name not in one)]
            dot = "." if place else ""
            waiting += [
                (f"{place}{dot}{name}", one.get(name, ABSENT), other.get(name, ABSENT))
                for name in reversed(names)
            ]
        elif (
            isinstance(one, list) and isinstance(other, list) and len(one) == len(other) <= _LISTED
        ):
            waiting += [
                (f"{place}[{index}]", *items)
                for index, items in reversed(list(enumerate(zip(one, other, strict=True))))
            ]
        elif not _same(one, other):
            yield place, one, other


def _same(one: Any, other: Any) -> bool:
    # To Python true is 1; to whoever reads a parameter it is not.
    is_alike = isinstance(one, bool) == isinstance(other, bool)
    return is_alike and one == other


def _together(
    pairs: Sequence[Pair], differences: Callable[[Pair], Iterable[Difference]]
) -> Iterator[Difference]:
    """Give the differences of all pairs, each once, with all the pairs in which it is the same."""
    found: dict[str, tuple[Difference, list[str]]] = {}
    for pair in pairs:
        for one in differences(pair):
            # Values are JSON, or absent, which has no form in it.
            key = json.dumps([one.topic, one.path, one.before, one.after], default=repr)
            found.setdefault(key, (one, []))[1].append(pair.name)
    for one, names in found.values():
        yield replace(one, processes=tuple(names))


def _of_assets(before: AssetView, after: AssetView) -> Iterator[Difference]:
    yield from _of_sets("inputs", "made from", before.source_data, after.source_data)
    run, run_after = _parameters_of_run(before), _parameters_of_run(after)
    for path, value, value_after in value_differences(run, run_after, "of the run"):
        yield Difference("parameters", path, value, value_after)
    pipelines = [
        {f"pipeline {one.name or one.url}": _version(one) for one in view.pipelines}
        for view in (before, after)
    ]
    yield from _of_mappings("code", *pipelines)
    for name in ("subject_id", "project_name", "data_level"):
        yield from _of_values(
            "description", name, before.description.get(name), after.description.get(name)
        )


def _parameters_of_run(view: AssetView) -> Any:
    """Give the parameters of a run that is no process of its own: its notes have them."""
    for line in reversed(view.notes):  # those of the inputs come first
        if line.startswith(_OF_RUN):
            with suppress(ValueError):
                return json.loads(line.removeprefix(_OF_RUN))
    return {}


def _of_pair(
    pair: Pair, patches_before: Mapping[str, str], patches_after: Mapping[str, str]
) -> Iterator[Difference]:
    before, after = pair.before, pair.after
    yield from _of_sets("inputs", "input", used_assets(before), used_assets(after))
    yield from _of_code(before, after, patches_before, patches_after)
    for topic, one, other in (
        ("parameters", before.parameters, after.parameters),
        ("outcome", before.results, after.results),
    ):
        for path, value, value_after in value_differences(one, other):
            yield Difference(topic, path, value, value_after)
    yield from _of_environment(before, after)
    yield from _of_values("outcome", FACTS[0], str(before.status), str(after.status))
    yield from _of_values("outcome", FACTS[1], before.output_path, after.output_path)
    yield from _of_values("description", "type", before.process_type, after.process_type)
    yield from _of_values("description", "stage", before.stage, after.stage)
    yield from _of_sets("description", "experimenter", before.experimenters, after.experimenters)


def _of_code(
    before: ProcessView,
    after: ProcessView,
    patches_before: Mapping[str, str],
    patches_after: Mapping[str, str],
) -> Iterator[Difference]:
    one, other = before.code, after.code
    yield from _of_values("code", "repository", _plain_url(one.url), _plain_url(other.url))
    yield from _of_values("code", "commit", one.commit_hash, other.commit_hash)
    yield from _of_values("code", "version", one.version, other.version)
    if one.is_dirty and other.is_dirty:
        changes = [
            patches.get(code.commit_hash or "") or _told_sum(process)
            for process, code, patches in (
                (before, one, patches_before),
                (after, other, patches_after),
            )
        ]
        if None in changes or changes[0] != changes[1]:
            said = "yes, others" if None not in changes else "yes; whether the same is not known"
            yield Difference("code", "uncommitted changes", "yes", said)
    else:
        words = {True: "yes", False: "no", None: None}
        changed = words[one.is_dirty], words[other.is_dirty]
        # Where one of the two does not tell, only that there were some is worth a word.
        if None not in changed or "yes" in changed:
            yield from _of_values("code", "uncommitted changes", *changed)
    yield from _of_values("code", "script", one.run_script, other.run_script)
    yield from _of_values("code", "pipeline", before.pipeline_name, after.pipeline_name)
    for path, value, value_after in value_differences(
        one.core_dependency or ABSENT, other.core_dependency or ABSENT, "core_dependency"
    ):
        yield Difference("packages", path, value, value_after)


def _told_sum(process: ProcessView) -> str | None:
    """Give the SHA-256 that the notes have of a patch which was not kept."""
    for line in process.notes:
        found = _SUM.search(line)
        if found:
            return found[1]
    return None


def _of_environment(before: ProcessView, after: ProcessView) -> Iterator[Difference]:
    one, other = before.code, after.code
    known = [
        ("language", one.language, other.language),
        ("language version", one.language_version, other.language_version),
    ]
    if before.resources and after.resources:
        machines = [_machine(each) for each in (before.resources, after.resources)]
        known += [(name, machines[0][name], machines[1][name]) for name in machines[0]]
    for name, value, value_after in known:
        if value is not None and value_after is not None:
            yield from _of_values("environment", name, value, value_after)
    for path, value, value_after in value_differences(
        one.container or ABSENT, other.container or ABSENT, "container"
    ):
        yield Difference("environment", path, value, value_after)


def _machine(resources: ResourceView) -> dict[str, Any]:
    return {
        "operating system": resources.os,
        "architecture": resources.architecture,
        "processor": resources.cpu,
        "processors": resources.cpu_cores,
        "memory": resources.ram and f"{resources.ram / 1e9:.1f} GB",
        "GPU": resources.gpu or "none",
    }


def _of_order(pairs: Sequence[Pair]) -> Iterator[Difference]:
    """Give what follows what else; a process goes by the name of its pair."""
    names_before = {pair.before.name: pair.name for pair in pairs}
    names_after = {pair.after.name: pair.name for pair in pairs}

    def differences(pair: Pair) -> Iterator[Difference]:
        followed = (names_before.get(name, name) for name in pair.before.depends_on)
        follows = (names_after.get(name, name) for name in pair.after.depends_on)
        yield from _of_sets("order", "follows", followed, follows)
        one, other = pair.before.parent, pair.after.parent
        yield from _of_values(
            "order",
            "inside of",
            one and names_before.get(one, one),
            other and names_after.get(other, other),
        )

    return _together(pairs, differences)


def _of_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for path in dict.fromkeys([*before, *after]):
        one, other = before.get(path, ABSENT), after.get(path, ABSENT)
        if one is ABSENT or other is ABSENT:
            there = [ABSENT if each is ABSENT else THERE for each in (one, other)]
            yield Difference("other metadata", path, there[0], there[1])
            continue
        for place, value, value_after in value_differences(one, other):
            yield Difference("other metadata", f"{path}: {place}", value, value_after)


def _of_patches(
    pairs: Sequence[Pair], before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Difference]:
    """Compare the uncommitted changes of imported packages; of processes it is done."""
    told = {pair.before.code.commit_hash for pair in pairs}
    for commit in before:
        if commit in after and commit not in told:
            yield from _of_values(
                "packages", f"uncommitted changes at {commit}", before[commit], after[commit]
            )


def _of_measurements(pair: Pair) -> Iterator[Difference]:
    resources = [each.resources or ResourceView() for each in (pair.before, pair.after)]
    for name, one, other in (
        ("seconds", pair.before.seconds, pair.after.seconds),
        ("peak_ram", resources[0].peak_ram, resources[1].peak_ram),
        ("mean_cores", resources[0].mean_cores, resources[1].mean_cores),
    ):
        if one is not None and other is not None:
            yield from _of_values(MEASURED, name, one, other)


def _of_values(topic: str, path: str, before: Any, after: Any) -> Iterator[Difference]:
    one, other = (ABSENT if value is None else value for value in (before, after))
    if not _same(one, other):
        yield Difference(topic, path, one, other)


def _of_sets(
    topic: str, path: str, before: Iterable[str], after: Iterable[str]
) -> Iterator[Difference]:
    there, now = dict.fromkeys(before), dict.fromkeys(after)
    yield from (Difference(topic, path, name, ABSENT) for name in there if name not in now)
    yield from (Difference(topic, path, ABSENT, name) for name in now if name not in there)


def _of_mappings(
    topic: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Difference]:
    for name in sorted({*before, *after}, key=str.lower):
        yield from _of_values(topic, name, before.get(name), after.get(name))


def _version(code: CodeView) -> str:
    return code.version or code.commit_hash or "?"


def _plain_url(url: str | None) -> str | None:
    return url and url.rstrip("/").removesuffix(".git")
