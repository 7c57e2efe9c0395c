"""What the parameters of alike calls had in common, over what they varied, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from asset_provenance.capture.objects import ARRAY_LIBRARIES, is_from
from asset_provenance.process import COMPLETED, Outcome
from asset_provenance.records import JsonValue, ProcessStatus
from asset_provenance.redaction import REDACTED

__all__ = [
    "MOST_VALUES",
    "NUMBERS",
    "OTHER",
    "SCALARS",
    "Variation",
    "array_types",
    "calls_note",
    "calls_outcome",
    "plain_of",
    "short",
]

MOST_VALUES = 10
"""So many different values of a parameter are named; of numbers, the smallest and the largest."""
_LONGEST_VALUE = 60
_LONGEST_TEXT = 200

NUMBERS = frozenset({int, float, bool})
SCALARS = frozenset({*NUMBERS, str, type(None)})

Describe = Callable[[Mapping[str, Any]], Mapping[str, JsonValue]]


def plain_of(value: Any) -> Any:
    """Give what tells a value from another and holds nothing of the user's; else ``OTHER``.

    An array is its type and shape, a small mapping its items.
    """
    kind = type(value)
    if kind is str:
        return value if len(value) <= _LONGEST_TEXT else OTHER
    if array_types.get(kind):
        return kind, value.shape
    if kind in NUMBERS or value is None:
        return value
    if kind is dict:
        is_small = len(value) <= 8 and SCALARS.issuperset(map(type, value.values()))
        return (dict, tuple(value.items())) if is_small else OTHER
    if kind not in array_types:
        is_array = is_from(kind, ARRAY_LIBRARIES) and kind.__name__ in _ARRAY_NAMES
        array_types[kind] = is_array
        return plain_of(value) if is_array else OTHER
    return OTHER


OTHER: Any = object()
"""Stands for what is not told apart without a description."""
_ARRAY_NAMES = ("ndarray", "DataFrame", "Series", "Tensor")
array_types: dict[type, bool] = {}
"""Of the types seen so far, whether they are arrays."""


class Variation:
    """What the parameters of alike calls had in common, and over what they varied.

    Parameters
    ----------
    first
        The arguments of the first call, as they were bound.
    describe
        Makes arguments JSON-safe, and free of what must not be kept.
    """

    def __init__(self, first: Mapping[str, Any], describe: Describe) -> None:
        self._describe = describe
        self._shown = dict(describe(first))
        # What is secret is compared with nothing.
        self._names = {name for name, text in self._shown.items() if text != REDACTED}
        self._ranges: dict[str, list[Any]] = {
            name: [self._shown[name]] * 2
            for name in self._names
            if type(self._shown[name]) in NUMBERS
        }
        self._known: dict[str, set[Hashable]] = {
            name: {plain} if (plain := plain_of(first.get(name))) is not OTHER else set()
            for name in self._names
        }
        self._texts: dict[str, list[str]] = {}

    def add(self, name: str, values: Sequence[Any]) -> None:
        """Take note of the values that a parameter had in further calls.

        Parameters
        ----------
        name
            The parameter.
        values
            As :func:`plain_of` gives them.
        """
        if name not in self._names:
            return
        limits = self._ranges.get(name)
        if limits is not None:
            if NUMBERS.issuperset(map(type, values)):
                limits[0], limits[1] = min(limits[0], *values), max(limits[1], *values)
                return
            del self._ranges[name]
            low, high = limits
            self._texts[name] = [f"{low}" if low == high else f"{low} to {high}"]
        known, texts = self._known[name], self._texts.setdefault(name, [])
        for value in dict.fromkeys(values):
            if value not in known and len(texts) <= MOST_VALUES:
                known.add(value)
                self._add_text(name, self._text(name, value))

    def add_object(self, name: str, value: Any) -> None:
        """Take note of a value that only a description tells from another."""
        if name in self._names and len(self._texts.setdefault(name, [])) <= MOST_VALUES:
            self._ranges.pop(name, None)
            self._add_text(name, short(self._describe({name: value}).get(name)))

    def _add_text(self, name: str, text: str) -> None:
        texts = self._texts[name]
        first = short(self._shown[name])
        if not texts and text != first:
            texts.append(first)
        if text not in texts and (texts or text != first):
            texts.append(text)

    def _text(self, name: str, value: Any) -> str:
        if type(value) is tuple:
            kind, content = value
            if kind is not dict:
                return f"{kind.__name__} of shape {content}"
            value = dict(content)
        return short(self._describe({name: value}).get(name))

    @property
    def constant(self) -> dict[str, JsonValue]:
        """The parameters that were the same in every call."""
        varied = {name for name, (low, high) in self._ranges.items() if low != high}
        varied.update(name for name, texts in self._texts.items() if texts)
        return {name: value for name, value in self._shown.items() if name not in varied}

    @property
    def varied(self) -> dict[str, list[Any]]:
        """Over what the others varied: of numbers the smallest and the largest, else texts."""
        ranges = {name: limits for name, limits in self._ranges.items() if limits[0] != limits[1]}
        return {name: list(found) for name, found in (*ranges.items(), *self._texts.items())
                if found}  # fmt: skip


def _varied_text(varied: Mapping[str, Any]) -> str:
    parts = []
    for name, found in varied.items():
        if type(found[0]) is str:
            more = ", ..." if len(found) > MOST_VALUES else ""
            parts.append(f"{name} over {', '.join(found[:MOST_VALUES])}{more}")
        else:
            parts.append(f"{name} from {found[0]} to {found[1]}")
    return "; ".join(parts)


def short(value: JsonValue) -> str:
    """Give a value as a short text."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def calls_outcome(name: str, calls: Mapping[str, Any]) -> Outcome:
    """Say how many alike calls ended, of which so much is counted."""
    ended, failed = calls["ended"], calls.get("failed", 0)
    note = calls_note(name, calls)
    if failed < ended:
        return Outcome(COMPLETED.status, note=note)
    status = ProcessStatus.FAILED if failed else ProcessStatus.INTERRUPTED
    return Outcome(status, calls.get("error"), note)


def calls_note(name: str, calls: Mapping[str, Any]) -> str:
    """Tell in words what is counted of many alike calls."""
    notes = [f"{calls['ended']} further calls of {name}, together one process."]
    if calls.get("failed"):
        notes.append(f"{calls['failed']} of them failed, the first with {calls.get('error')}.")
    if calls.get("varied"):
        notes.append(f"Varied: {_varied_text(calls['varied'])}.")
    return " ".join(notes)
