"""Which processes of two assets stand for the same step."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from asset_provenance.records import InputRef
from asset_provenance.views import ProcessView

__all__ = ["Pair", "pair_up", "used_assets"]

_REPEAT = re.compile(r"(.+)_\d+")


@dataclass(frozen=True, slots=True)
class Pair:
    """The process of either that stands for the same step."""

    before: ProcessView
    after: ProcessView

    @property
    def name(self) -> str:
        """The name; both, where they differ."""
        before, after = self.before.name, self.after.name
        return before if before == after else f"{before} (now {after})"


def pair_up(
    before: Sequence[ProcessView], after: Sequence[ProcessView]
) -> tuple[list[Pair], list[ProcessView], list[ProcessView]]:
    """Find the process of either asset that stands for the same step.

    Processes are the same step by their name: of several calls of one function, first those that
    were given the same, then the others in their order. What was renamed is known by its type,
    script and the names of its parameters, if nothing else is like it.

    Parameters
    ----------
    before, after
        The processes of the two assets.

    Returns
    -------
    tuple
        The pairs, in the order of the first; what only the first has; what only the other has.
    """
    theirs: dict[str, ProcessView] = {}
    rest = [list(before), list(after)]
    stems = [_stems(before), _stems(after)]

    def match(key: Callable[[ProcessView, Mapping[str, str]], Hashable], *, once: bool) -> None:
        waiting: dict[Hashable, deque[ProcessView]] = defaultdict(deque)
        for one in rest[1]:
            waiting[key(one, stems[1])].append(one)
        asked = [key(one, stems[0]) for one in rest[0]]
        times = Counter(asked)
        for one, wanted in zip(rest[0], asked, strict=True):
            found = waiting.get(wanted) if wanted is not None else None
            if found and not (once and (len(found) > 1 or times[wanted] > 1)):
                theirs[one.name] = found.popleft()
        taken = {one.name for one in theirs.values()}
        rest[0] = [one for one in rest[0] if one.name not in theirs]
        rest[1] = [one for one in rest[1] if one.name not in taken]

    match(_repeat, once=False)
    match(lambda one, _: (bool(one.is_inherited), one.name), once=False)
    match(lambda one, stem: (bool(one.is_inherited), stem[one.name]), once=False)
    match(lambda one, _: one.name, once=False)
    match(_form, once=True)
    pairs = [Pair(one, theirs[one.name]) for one in before if one.name in theirs]
    return pairs, rest[0], rest[1]


def _stems(processes: Sequence[ProcessView]) -> dict[str, str]:
    """Give the name that a process would have if it were the only one of that name."""
    names = {one.name for one in processes}
    found = {}
    for name in names:
        repeat = _REPEAT.fullmatch(name)
        found[name] = repeat[1] if repeat and repeat[1] in names else name
    return found


def _repeat(process: ProcessView, stems: Mapping[str, str]) -> Hashable:
    """Tell a call from others of the same name: those that ran at once end in any order."""
    given = json.dumps([process.parameters, sorted(used_assets(process))], sort_keys=True)
    return bool(process.is_inherited), stems[process.name], given


def _form(process: ProcessView, _: Mapping[str, str]) -> Hashable:
    """Tell a process that was renamed: nothing else is of its form."""
    script = process.code.run_script
    return script and (process.process_type, script, tuple(sorted(process.parameters)))


def used_assets(process: ProcessView) -> list[str]:
    """Give the assets that a process used by what tells them apart; of a group, its members."""
    waiting: deque[InputRef] = deque(process.inputs)
    found: dict[str, None] = {}
    while waiting:
        one = waiting.popleft()
        waiting.extend(one.assets)
        if not one.assets:
            found[one.identity] = None
    return list(found)
