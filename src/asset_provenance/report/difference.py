"""What differs between two assets, drawn for a terminal of any width."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from asset_provenance.capture.gitrange import CommitRange
from asset_provenance.comparing import Comparison
from asset_provenance.differences import ABSENT, FACTS, MEASURED, THERE, TOPICS, Difference
from asset_provenance.report.words import counted, duration, listed, shown, size, value_in_short

__all__ = ["DifferenceDrawing"]

_LINES = 20
"""So many differences of a topic are told, unless all are wanted."""
_AS_JSON = ("parameters", "outcome", "other metadata")
"""Topics whose values may be of any type: a text is told in quotes."""
_LONGEST = 60
"""Signs of a value that are told."""
_COMMIT = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b")
_CONTEXT = 15
"""Signs before the first that differs, where only part of a long value is told."""
_UNEXPLAINED = (
    "Nothing that was recorded explains the outcome: look for random numbers, the order of what "
    "runs at once, and files that are no inputs."
)
_LEAST_CHANGE = math.log(1.2)
"""What of times and resources has changed by less is not worth a line."""
_TITLES = {
    "order": "order of the processes",
    "outcome": "outcome: follows from what is above, or from what was not recorded",
    MEASURED: "times and resources: they differ from run to run, and change no result",
}


class DifferenceDrawing:
    """What differs between two assets, for people.

    Parameters
    ----------
    comparison
        Of the two.
    ranges
        The commits between those of the one and of the other, as far as they were looked for.
    everything
        Whether all differences are told, however many there are.
    is_shallow
        Whether they were looked for where not all of the history is.
    """

    def __init__(
        self,
        comparison: Comparison,
        ranges: Sequence[CommitRange] = (),
        *,
        everything: bool = False,
        is_shallow: bool = False,
    ) -> None:
        self._comparison = comparison
        self._ranges = {(one.before, one.after): one for one in ranges}
        self._is_shallow = is_shallow
        self._own = {pair.name for pair in comparison.pairs if not pair.before.is_inherited}
        self._most = math.inf if everything else _LINES

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it within the columns that there are."""
        compared = self._comparison
        yield _names(compared)
        found = compared.differences
        topics = [topic for topic in TOPICS if any(one.topic == topic for one in found)]
        both = counted(len(compared.pairs), "process", "es")
        yield Text()
        if topics:
            yield Text(f"{both} in both; different: {', '.join(topics)}", style="bold")
        else:
            yield Text(f"{both} in both; nothing that can change a result differs", style="bold")
        for topic in topics:
            yield from self._topic(topic, [one for one in found if one.topic == topic])
            if topic == "code":
                yield from self._log()
        if "outcome" in topics and not set(topics) - {"outcome", "description"}:
            yield Text(f"\n{_UNEXPLAINED}")
        seen = (
            one
            for one in compared.measured
            if _change(one) >= _LEAST_CHANGE
            and (one.path != "seconds" or max(one.before, one.after) >= 1)
        )
        largest = sorted(seen, key=_change, reverse=True)
        yield from self._topic(MEASURED, largest)
        for told in compared.not_compared:
            yield Text(f"\nnot compared: {told}")

    def _topic(self, topic: str, differences: Sequence[Difference]) -> Iterator[Text | Padding]:
        if not differences:
            return
        yield Text(f"\n{_TITLES.get(topic, topic)}", style="bold cyan")
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(overflow="fold", max_width=32)
        grid.add_column(overflow="fold")
        where_before = None
        for number, one in enumerate(differences):
            if number >= self._most:
                break
            where = self._where(one)
            grid.add_row(Text("" if where == where_before else where), Text(_told(one)))
            where_before = where
        yield Padding(grid, (0, 0, 0, 2))
        if len(differences) > self._most:
            rest = len(differences) - _LINES
            yield Text(f"  and {rest:,} more: see them with --all", style="italic")

    def _where(self, difference: Difference) -> str:
        names = difference.processes
        if len(names) == len(self._comparison.pairs) > 1:
            return "all processes"
        if len(names) > 1 and set(names) == self._own:
            return "all that is not inherited"
        return listed(names, most=3)

    def _log(self) -> Iterator[Text | Padding]:
        """Give where uncommitted changes are, and the commits between or the way to see them."""
        if self._comparison.patches:
            yield Text("\n  the uncommitted changes:")
        for path in self._comparison.patches:
            yield Text(f"  -> {shown(str(path))}")
        for url, before, after in self._comparison.code_changes:
            yield Text()
            found = self._ranges.get((before, after))
            if found is None:
                place = f"in a clone of {shown(url)}" if url else "in a clone of it"
                between = shlex.quote(shown(f"{before[:12]}..{after[:12]}"))
                yield Text(f"  git log --oneline {between}")
                yield Text(f"  -> {place}, or give that to this command: --repo CLONE")
            else:
                yield from _range(found)
                if self._is_shallow and not found.missing:
                    yield Text("  the clone is shallow: there may be more commits between")
                    yield Text("  -> git fetch --unshallow")


def _names(compared: Comparison) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for letter, view in (("A", compared.before), ("B", compared.after)):
        grid.add_row(letter, Text(shown(view.name), style="bold"))
        grid.add_row("", Text(shown(str(view.folder))))
    return grid


def _range(found: CommitRange) -> Iterator[Text | Padding]:
    if found.missing:
        yield Text(f"  the clone does not have {listed(one[:12] for one in found.missing)}")
        yield Text("  -> git fetch --all --tags; in a shallow clone, git fetch --unshallow --tags")
        return
    if found.count_added and found.count_dropped:
        yield Text("  the histories of the two have diverged")
    for commits, number, what in (
        (found.added, found.count_added, "B has and A has not"),
        (found.dropped, found.count_dropped, "A has and B has not"),
    ):
        if not number:
            continue
        yield Text(f"  {counted(number, 'commit')} that {what}:")
        told = commits[:_LINES]
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for one in told:
            grid.add_row(
                Text(f"{one.commit_hash[:10]} {one.time:%Y-%m-%d}"), Text(shown(one.subject))
            )
        if number > len(told):
            grid.add_row("", Text(f"and {number - len(told):,} more", style="italic"))
        yield Padding(grid, (0, 0, 0, 4))


def _told(one: Difference) -> str:
    path = _COMMIT.sub(r"\1", shown(one.path))
    if THERE in (one.before, one.after) and ABSENT in (one.before, one.after):
        return f"{path}: only in {'A' if one.after is ABSENT else 'B'}"
    if one.topic == MEASURED:
        name, say = _MEASURES[one.path]
        told = f"{name} {say(one.before)} -> {say(one.after)}"
        return f"{told} ({one.after / one.before:.1f} times)" if one.before else told
    before, after = _apart([_text(one, value) for value in (one.before, one.after)])
    if one.before is ABSENT:
        return f"{path}: only in B: {after}"
    if one.after is ABSENT:
        return f"{path}: only in A: {before}"
    return f"{path}: {before} -> {after}"


def _text(one: Difference, value: Any) -> str:
    if value is ABSENT:
        return ""
    is_fact = one.topic not in _AS_JSON or one.path in FACTS
    if isinstance(value, str) and is_fact:
        return _COMMIT.sub(r"\1", shown(value))
    name = re.split(r"[.\[]", one.path.rpartition(": ")[2])[-1]
    return value_in_short(value, name, longest=None)


def _apart(texts: list[str]) -> list[str]:
    """Cut two long texts to where they begin to differ."""
    pairs = enumerate(zip(*texts, strict=False))
    same = next((index for index, (one, other) in pairs if one != other), min(map(len, texts)))
    start = max(0, same - _CONTEXT) if max(map(len, texts)) > _LONGEST else 0
    return [
        ("..." if start else "")
        + text[start : start + _LONGEST]
        + ("..." if len(text) > start + _LONGEST else "")
        for text in texts
    ]


def _change(one: Difference) -> float:
    """Give by how much a measurement has changed, however large it is."""
    return abs(math.log(max(one.after, 1e-9) / max(one.before, 1e-9)))


_MEASURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "seconds": ("took", duration),
    "peak_ram": ("memory", size),
    "mean_cores": ("processors", "{:.1f}".format),
}
