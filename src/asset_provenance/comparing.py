"""What differs between two assets' provenance; pure functions over views.

A difference is told once, with all the processes in which it is the same, and under a topic. The
topics are in the order in which somebody would look who asks why a result has changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from asset_provenance.corefiles import PROVENANCE_FOLDER
from asset_provenance.differences import (
    ABSENT,
    FACTS,
    MEASURED,
    THERE,
    TOPICS,
    Difference,
    of_mappings,
    of_sets,
    of_values,
    value_differences,
)
from asset_provenance.endings import status_in_notes
from asset_provenance.pairing import Pair, pair_up, used_assets
from asset_provenance.records import ProcessStatus
from asset_provenance.views import AssetView, CodeView, ProcessView, ResourceView

__all__ = ["Comparison", "Side", "compare"]

_OF_RUN = "Parameters of the run: "
_CHANGES = "uncommitted changes"
_NOT_IN_PATCH = re.compile(r"uncommitted changes.*(?:, without the large | of its own: )")
_SUM = re.compile(r"uncommitted changes.*SHA-256 is ([0-9a-f]{64})")


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
        The content of its inherited files, by path; None where it cannot be read.
    patches
        The SHA-256 of each patch of uncommitted changes, by commit.
    """

    view: AssetView
    packages: Mapping[str, str] | None = None
    files: Mapping[str, Any] = field(default_factory=dict)
    patches: Mapping[str, str] = field(default_factory=dict)


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
    patches
        The files with uncommitted changes of code, where these differ.
    not_compared
        What could not be compared, and why.
    """

    before: AssetView
    after: AssetView
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]
    measured: tuple[Difference, ...]
    patches: tuple[Path, ...]
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
        *_together(pairs, lambda pair: _of_pair(pair, before, after)),
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
        found += of_mappings("packages", *packages)
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
        tuple(_kept_patches(found, pairs, before, after)),
        tuple(not_compared),
    )


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
    yield from of_sets("inputs", "made from", before.source_data, after.source_data)
    given = _parameters_of_run(before), _parameters_of_run(after)
    yield from _of_parameters(*given, before, after, "of the run")
    pipelines = [
        {
            f"pipeline {one.name or one.url or 'without a name'}": _version(one)
            for one in view.pipelines
        }
        for view in (before, after)
    ]
    yield from of_mappings("code", *pipelines)
    yield from of_values("outcome", FACTS[2], _run_ended(before), _run_ended(after))
    for name in ("subject_id", "project_name", "data_level"):
        yield from of_values(
            "description", name, before.description.get(name), after.description.get(name)
        )


def _parameters_of_run(view: AssetView) -> Any:
    """Give the parameters of a run that is no process of its own: its notes have them."""
    for line in reversed(view.notes):  # those of the inputs come first
        if line.startswith(_OF_RUN):
            with suppress(ValueError):
                return json.loads(line.removeprefix(_OF_RUN))
    return {}


def _run_ended(view: AssetView) -> str | None:
    status = status_in_notes("\n".join(view.notes))
    # Of a run that others recorded, no word of failure does not mean that all went well.
    return None if status is ProcessStatus.COMPLETED else str(status)


def _of_parameters(
    given: Any, given_after: Any, before: AssetView, after: AssetView, path: str = ""
) -> Iterator[Difference]:
    for place, one, other in value_differences(given, given_after, path):
        # Where each writes is no difference of what it does.
        is_own = _option(one, before.folder), _option(other, after.folder)
        if None in is_own or is_own[0] != is_own[1]:
            yield Difference("parameters", place, one, other)


def _option(value: Any, folder: Path) -> str | None:
    """Give the option that a value sets to the asset's own folder, as in ``--output=results``."""
    if not isinstance(value, str):
        return None
    option, sign, path = value.rpartition("=")
    parts = tuple(part for part in PurePath(path).parts if part != "..")
    # Not by the last name alone: an input's folder may bear the same.
    is_own = bool(parts) and PurePath(os.path.abspath(folder)).parts[-len(parts) :] == parts  # noqa: PTH100
    return option + sign if is_own else None


def _of_pair(pair: Pair, side: Side, side_after: Side) -> Iterator[Difference]:
    before, after = pair.before, pair.after
    yield from of_sets("inputs", "input", used_assets(before), used_assets(after))
    yield from _of_code(before, after, side.patches, side_after.patches)
    yield from _of_parameters(before.parameters, after.parameters, side.view, side_after.view)
    # Of many calls that are one process, the parameters that varied stand in the notes only.
    yield from of_values("parameters", "further calls", before.repeats, after.repeats)
    for path, value, value_after in value_differences(before.results, after.results):
        yield Difference("outcome", path, value, value_after)
    yield from _of_environment(before, after)
    yield from of_values("outcome", FACTS[0], str(before.status), str(after.status))
    yield from of_values("outcome", FACTS[1], before.output_path, after.output_path)
    yield from of_values("description", "type", before.process_type, after.process_type)
    yield from of_values("description", "stage", before.stage, after.stage)
    yield from of_sets("description", "experimenter", before.experimenters, after.experimenters)


def _of_code(
    before: ProcessView,
    after: ProcessView,
    patches_before: Mapping[str, str],
    patches_after: Mapping[str, str],
) -> Iterator[Difference]:
    one, other = before.code, after.code
    yield from of_values("code", "repository", _plain_url(one.url), _plain_url(other.url))
    yield from of_values("code", "commit", one.commit_hash, other.commit_hash)
    yield from of_values("code", "version", _told_version(one), _told_version(other))
    if one.is_dirty and other.is_dirty:
        changes = [
            None
            if any(map(_NOT_IN_PATCH.search, process.notes))
            else patches.get(code.commit_hash or "") or _told_sum(process)
            for process, code, patches in (
                (before, one, patches_before),
                (after, other, patches_after),
            )
        ]
        if None in changes or changes[0] != changes[1]:
            said = (
                "yes, other ones" if None not in changes else "yes; whether the same is not known"
            )
            yield Difference("code", _CHANGES, "yes", said)
    else:
        words = {True: "yes", False: "no", None: None}
        changed = words[one.is_dirty], words[other.is_dirty]
        # Where one of the two does not tell, only that there were some is worth a word.
        if None not in changed or "yes" in changed:
            yield from of_values("code", _CHANGES, *changed)
    yield from of_sets("code", "beside the commit", one.beyond_commit, other.beyond_commit)
    yield from of_values("code", "script", one.run_script, other.run_script)
    yield from of_values("code", "pipeline", before.pipeline_name, after.pipeline_name)
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
            yield from of_values("environment", name, value, value_after)
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
        # Of what only one has, that is told.
        followed = (names_before[name] for name in pair.before.depends_on if name in names_before)
        follows = (names_after[name] for name in pair.after.depends_on if name in names_after)
        yield from of_sets("order", "follows", followed, follows)
        one, other = pair.before.parent, pair.after.parent
        yield from of_values(
            "order",
            "inside of",
            one and names_before.get(one, one),
            other and names_after.get(other, other),
        )

    return _together(pairs, differences)


def _of_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for path in dict.fromkeys([*before, *after]):
        one, other = before.get(path, ABSENT), after.get(path, ABSENT)
        if one is None or other is None:
            continue
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
            yield from of_values(
                "packages", f"uncommitted changes at {commit}", before[commit], after[commit]
            )


def _kept_patches(
    found: Iterable[Difference], pairs: Sequence[Pair], before: Side, after: Side
) -> Iterator[Path]:
    """Give the patches of the processes whose uncommitted changes differ."""
    changed = {name for one in found if one.path == _CHANGES for name in one.processes}
    those = [pair for pair in pairs if pair.name in changed]
    for side, codes in (
        (before, [pair.before.code for pair in those]),
        (after, [pair.after.code for pair in those]),
    ):
        for commit in dict.fromkeys(code.commit_hash for code in codes):
            if commit in side.patches:
                yield side.view.folder / PROVENANCE_FOLDER / f"uncommitted-{commit}.patch"


def _of_measurements(pair: Pair) -> Iterator[Difference]:
    resources = [each.resources or ResourceView() for each in (pair.before, pair.after)]
    for name, one, other in (
        ("seconds", pair.before.seconds, pair.after.seconds),
        ("peak_ram", resources[0].peak_ram, resources[1].peak_ram),
        ("mean_cores", resources[0].mean_cores, resources[1].mean_cores),
    ):
        if one is not None and other is not None:
            yield from of_values(MEASURED, name, one, other)


def _version(code: CodeView) -> str:
    return code.version or code.commit_hash or "?"


def _told_version(code: CodeView) -> str | None:
    """Give the version; the id of a tree whose commit was found later says no more than that."""
    is_told = code.commit_hash is not None and (code.version or "").startswith("tree:")
    return None if is_told else code.version


def _plain_url(url: str | None) -> str | None:
    return url and url.rstrip("/").removesuffix(".git")
