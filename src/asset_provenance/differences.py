"""A difference between two assets, and how values are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ABSENT",
    "FACTS",
    "MEASURED",
    "THERE",
    "TOPICS",
    "Difference",
    "of_mappings",
    "of_sets",
    "of_values",
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

FACTS = ("how it ended", "output", "how the run ended")
"""Under the topic of the outcome, what is no result of a process's own."""

_LISTED = 20
"""Lists of up to this length are compared one by one."""


class _Absent:
    """Stands for what is not there, where null could be."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
THERE = "there"
"""The value of what is there or not, and has no value."""


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


def of_values(topic: str, path: str, before: Any, after: Any) -> Iterator[Difference]:
    """Compare a value; None stands for none."""
    one, other = (ABSENT if value is None else value for value in (before, after))
    if not _same(one, other):
        yield Difference(topic, path, one, other)


def of_sets(
    topic: str, path: str, before: Iterable[str], after: Iterable[str]
) -> Iterator[Difference]:
    """Compare lists whose order says nothing; each name that one lacks is a difference."""
    there, now = dict.fromkeys(before), dict.fromkeys(after)
    yield from (Difference(topic, path, name, ABSENT) for name in there if name not in now)
    yield from (Difference(topic, path, ABSENT, name) for name in now if name not in there)


def of_mappings(
    topic: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Difference]:
    """Compare values that go by names."""
    for name in sorted({*before, *after}, key=str.lower):
        yield from of_values(topic, name, before.get(name), after.get(name))
