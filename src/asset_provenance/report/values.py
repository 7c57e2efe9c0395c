"""JSON values as a page shows them: readable, bounded, long ones folded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asset_provenance.redaction import redact_json
from asset_provenance.report.texts import shown

__all__ = ["Value", "mapping", "of_text"]

_SHORT = 240
_PREVIEW = 90
_MOST_LINES = 6
_DEEPEST = 6
_MOST_VALUES = 2000
_LITERALS = frozenset(("", "true", "false", "null"))


@dataclass(frozen=True, slots=True)
class Value:
    """A value.

    Parameters
    ----------
    kind
        ``line`` and ``folded`` are a text; ``object`` and ``list`` have members.
    text
        The whole text.
    preview
        The beginning of a folded one, and how much there is.
    members
        Names (numbers, in a list) and values.
    left_out
        How many members are not here.
    """

    kind: Literal["line", "folded", "object", "list"]
    text: str = ""
    preview: str = ""
    members: tuple[tuple[str, Value], ...] = ()
    left_out: int = 0


def mapping(values: Mapping[str, Any]) -> Value:
    """Give a mapping of JSON values, free of secrets, of bounded size."""
    return _value(redact_json(values), 0, [_MOST_VALUES])


def of_text(text: str, what: str | None = None) -> Value:
    """Give a text; a long one is folded.

    Parameters
    ----------
    text
        Of any length.
    what
        What is said of its length, if not the number of its characters.
    """
    if len(text) <= _SHORT and text.count("\n") < _MOST_LINES:
        return Value("line", text)
    start = " ".join(shown(text)[: _PREVIEW * 4].split())[:_PREVIEW]
    return Value("folded", text, f"{start}… ({what or f'{len(text):,} characters'})")


def _value(value: Any, depth: int, left: list[int]) -> Value:
    left[0] -= 1
    if isinstance(value, str):
        return of_text(json.dumps(value, ensure_ascii=False) if _is_ambiguous(value) else value)
    if not isinstance(value, dict | list) or not value:
        return Value("line", json.dumps(value))
    is_object = isinstance(value, dict)
    items = list(value.values()) if isinstance(value, dict) else value
    is_flat = not any(isinstance(one, dict | list) for one in items)
    if depth >= _DEEPEST or (is_flat and not is_object):
        what = f"{len(items):,} values" if is_flat else None
        return of_text(json.dumps(value, ensure_ascii=False), what)
    names = value if is_object else map(str, range(1, len(items) + 1))
    members = []
    for name, one in zip(names, items, strict=True):
        if left[0] <= 0:
            break
        members.append((name, _value(one, depth + 1, left)))
    kind: Literal["object", "list"] = "object" if is_object else "list"
    return Value(kind, members=tuple(members), left_out=len(items) - len(members))


def _is_ambiguous(text: str) -> bool:
    """Say whether a text would be taken for another value, or for nothing."""
    if len(text) > _SHORT:
        return False
    if text in _LITERALS or text != text.strip():
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
