"""A call's arguments become parameters: JSON-safe, redacted and bounded.

What a user hands over is never run: containers are read with the methods of the built-in base
class, and nothing is iterated but built-in containers.
"""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import EnumType
from functools import lru_cache
from itertools import islice
from json import dumps
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Any

from asset_provenance.capture.objects import (
    ARRAY_LIBRARIES,
    MISSING,
    class_attribute,
    declared,
    dtype_name,
    is_from,
    is_number,
    is_small,
    known_value,
    plain_value,
    stored,
    stored_fields,
    type_name,
    wrapped,
)
from asset_provenance.errors import UsageError
from asset_provenance.records import JsonValue, valid_text
from asset_provenance.redaction import REDACTED, is_secret_name, redact_arguments, redact_text

__all__ = ["from_block", "safe_parameters"]

_MAX_TEXT = 1_000  # characters
_MAX_ITEMS = 100
_MAX_DEPTH = 8
_MAX_SIZE = 15_000  # bytes of JSON in a call, a little below the 16 KB that are promised
_SCALARS_ONLY = 3_000  # bytes kept free for the numbers and short texts that come late
_SHORT = 120


def from_block(value: object) -> dict[str, Any]:
    """Give the fields of what a block has for its ``parameters``.

    Parameters
    ----------
    value
        A mapping, ``argparse.Namespace``, dataclass, attrs or pydantic instance.

    Returns
    -------
    dict
        The values as they are, by name; to be given to :func:`safe_parameters`.

    Raises
    ------
    UsageError
        If it is anything else.
    """
    if isinstance(value, Mapping):
        return dict(value)
    fields = stored_fields(value)
    if fields is None:
        raise UsageError(
            f"parameters= of a block cannot be of type {type_name(type(value))}. Give a mapping, "
            'such as parameters={"threshold": 5.0}, or an argparse.Namespace, a dataclass, attrs '
            "or pydantic instance."
        )
    return dict(fields)


def safe_parameters(
    arguments: Mapping[str, Any],
    *,
    exclude: Collection[str] = (),
    redact: Collection[str] = (),
    roots: Sequence[str] = (),
) -> dict[str, JsonValue]:
    """Make arguments into parameters that can be kept: JSON values, redacted, of bounded size.

    Parameters
    ----------
    arguments
        By name, as a binder or :func:`from_block` gives them. They are not changed or kept.
    exclude
        Names of arguments to leave out.
    redact
        Names whose values are secret, at any depth.
    roots
        Absolute folders; paths inside one are given relative to it.

    Returns
    -------
    dict
        Valid JSON without NaN, at most 16 KB. ``.`` and ``$`` in keys, which MongoDB does not
        take, are their full-width forms U+FF0E and U+FF04. Integers beyond 64 bits and
        non-finite numbers are text, time spans are seconds.
    """
    writer = _Writer(redact, roots)
    try:
        is_dict = issubclass(type(arguments), dict)
        items = dict.items(arguments) if is_dict else dict(arguments).items()  # type: ignore[arg-type]
        kept = [item for item in items if not (type(item[0]) is str and item[0] in exclude)]
        return writer.mapping(kept, len(kept), 0)
    except Exception:  # noqa: BLE001 - a parameter never makes a run fail
        return {}


class _Writer:
    """Writes the parameters of one call, and knows how much room is left."""

    __slots__ = ("open", "redact", "room", "roots")

    def __init__(self, redact: Collection[str], roots: Sequence[str]) -> None:
        self.redact = redact
        self.roots = _prefixes(tuple(roots)) if roots else ()
        self.room = _MAX_SIZE
        self.open: set[int] = set()

    def value(self, value: Any, depth: int) -> JsonValue:
        try:
            kind = type(value)
            if kind is float or kind is int:
                return self.number(value)
            if value is None or kind is bool:
                self.room -= 8
                return value  # type: ignore[no-any-return]
            if kind is str:
                return self.text(value)
            if depth < _MAX_DEPTH and id(value) not in self.open and self.room > _SCALARS_ONLY:
                self.open.add(id(value))
                self.room -= 2
                try:
                    return self.content(value, kind, depth)
                finally:
                    self.open.discard(id(value))
        except Exception:  # noqa: BLE001, S110 - what cannot be read is given as its type
            pass
        return self.type_of(value)

    def number(self, value: float) -> JsonValue:
        self.room -= 26
        if type(value) is int:
            if -(2**63) <= value < 2**63:
                return value
            bits = value.bit_length()
            return self.text(str(value) if bits <= 3_000 else f"[integer of {bits} bits]")
        if math.isfinite(value):
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124

    def text(self, text: str) -> JsonValue:
        """Redact before cutting, so that no half of a secret is left over."""
        text = _cut(text, _MAX_TEXT)
        if self.roots:
            text = self.relative(text)
        size = len(encode_basestring_ascii(text)) + 2
        if size > self.room - (_SCALARS_ONLY if size > _SHORT else 0):
            return self.type_of(text)
        self.room -= size
        return text

    def relative(self, text: str) -> str:
        for prefix in self.roots:
            if text.startswith(prefix) and len(text) > len(prefix):
                rest = text[len(prefix) :]
                rest = rest.replace("\\", "/") if prefix[-1] == "\\" else rest
                return text if ".." in rest.split("/") else rest
        return text

    def type_of(self, value: object) -> JsonValue:
        name = type_name(type(value))
        self.room -= len(name) + 14
        return {"type": name}

    def key(self, key: Any, depth: int) -> str:
        if type(key) is not str:
            key = self.value(key, depth + 1)
        return key if type(key) is str else dumps(key, ensure_ascii=False)

    def mapping(
        self, items: Iterable[tuple[Any, Any]], total: int, depth: int
    ) -> dict[str, JsonValue]:
        result: dict[str, JsonValue] = {}
        least = _SCALARS_ONLY if depth else 500
        for key, value in list(islice(items, _MAX_ITEMS)):
            text = self.key(key, depth)
            name, is_secret = _known_key(text) if len(text) <= _SHORT else _judge_key(text)
            name = _apart(name, result)
            self.room -= (len(name) if name.isascii() else len(encode_basestring_ascii(name))) + 6
            if self.room < least:
                break
            if text in self.redact or (is_secret and not is_number(value)):
                self.room -= len(REDACTED) + 2
                result[name] = REDACTED
            else:
                result[name] = self.value(value, depth + 1)
        if len(result) < total:
            self.room -= 50
            result[_apart("…", result)] = f"[… {total - len(result)} more of {total}]"
        return result

    def sequence(
        self, items: Iterable[Any], total: int, depth: int, *, ordered: bool = True
    ) -> list[JsonValue]:
        values = list(islice(items, _MAX_ITEMS))
        if any(type(item) is str and item[:1] == "-" for item in values):
            line = [item[: 4 * _MAX_TEXT] if type(item) is str else "" for item in values]
            for index, (before, after) in enumerate(zip(line, redact_arguments(line), strict=True)):
                if before != after:
                    values[index] = after
        result: list[JsonValue] = []
        for item in values:
            if self.room < _SCALARS_ONLY:
                break
            self.room -= 2
            result.append(self.value(item, depth + 1))
        if not ordered:
            result.sort(key=_rank)
        if len(result) < total:
            self.room -= 50
            result.append(f"[… {total - len(result)} more of {total}]")
        return result

    def content(self, value: Any, kind: type, depth: int) -> JsonValue:  # noqa: PLR0912
        """Give what an object holds, by the first of its bases that is known."""
        if issubclass(kind, dict):
            return self.mapping(dict.items(value), dict.__len__(value), depth)
        if issubclass(type(kind), EnumType):
            return self.value(stored(value, "_value_"), depth + 1)
        if issubclass(kind, tuple):
            names = class_attribute(kind, "_fields")
            values = tuple.__iter__(value)
            total = tuple.__len__(value)
            if type(names) is tuple and len(names) == total:
                return self.mapping(zip(names, values, strict=True), total, depth)
            return self.sequence(_redact_pair(list(islice(values, _MAX_ITEMS))), total, depth)
        base: Any
        for base in (list, deque):
            if issubclass(kind, base):
                return self.sequence(base.__iter__(value), base.__len__(value), depth)
        for base in (set, frozenset):
            if issubclass(kind, base):
                items = base.__iter__(value)
                return self.sequence(items, base.__len__(value), depth, ordered=False)
        if kind is MappingProxyType:
            # The mapping behind it could be a user's own, whose methods the proxy would call.
            return self.value(gc.get_referents(value)[0], depth + 1)
        # Arrays are the most frequent objects: they are looked for before the rest.
        from_library = is_from(kind, ARRAY_LIBRARIES)
        plain = known_value(value, kind) if from_library else plain_value(value, kind)
        if plain is not MISSING:
            return self.value(plain, depth + 1)
        found = from_library and self.array(value, kind, depth)
        if found:
            return found
        fields = stored_fields(value)
        if fields is not None:
            return self.mapping(fields, len(fields), depth)
        for reader in (plain_value, wrapped) if from_library else (known_value, wrapped):
            plain = reader(value, kind)
            if plain is not MISSING:
                return self.value(plain, depth + 1)
        return self.array(value, kind, depth) or self.type_of(value)

    def array(self, value: object, kind: type, depth: int) -> dict[str, JsonValue] | None:
        """Describe what has a shape and a dtype."""
        shape = declared(value, kind, "shape")
        dtype = declared(value, kind, "dtype") if shape is not MISSING else MISSING
        if dtype is MISSING:
            dtype = declared(value, kind, "dtypes")
        if shape is MISSING or dtype is MISSING:
            return None
        if is_from(type(shape), ARRAY_LIBRARIES):
            shape = tuple(shape)
        name = type_name(kind)
        self.room -= len(name) + 40
        if type(shape) is tuple and len(shape) < 8 and all(map(is_small, shape)):
            self.room -= 22 * len(shape)
            sizes: JsonValue = list(shape)
        else:
            sizes = self.value(shape, depth + 1)
        return {"type": name, "shape": sizes, "dtype": self.text(dtype_name(dtype)[:200])}


def _rank(value: JsonValue) -> tuple[str, Any]:
    return type(value).__name__, value if isinstance(value, int | float | str) else str(value)


def _apart(name: str, taken: Collection[str]) -> str:
    number = 2
    result = name
    while result in taken:
        result = f"{name} ({number})"
        number += 1
    return result


def _redact_pair(values: list[Any]) -> list[Any]:
    """Redact the second of a name and a value, the form in which headers are given."""
    if len(values) == 2 and type(values[0]) is str and issubclass(type(values[1]), str | bytes):
        return [values[0], REDACTED if is_secret_name(values[0]) else values[1]]
    return values


def _cut(text: str, limit: int) -> str:
    """Redact, then cut; never reads much more of a long text than is shown."""
    length = len(text)
    if length <= limit:
        text = redact_text(text)
    else:
        text = redact_text(text[: 4 * limit])
        if length > 4 * limit:
            text = text[:-300]  # half a secret may stand at the end of what was read
        if length > 4 * limit or len(text) > limit:
            text = f"{text[:limit]}…[{length} characters]"
    return valid_text(text)


def _judge_key(key: str) -> tuple[str, bool]:
    name = _cut(key, 200).replace(".", "\uff0e").replace("$", "\uff04").replace("\0", "\u2400")
    return name, is_secret_name(key)


_known_key = lru_cache(maxsize=4096)(_judge_key)


@lru_cache(maxsize=64)
def _prefixes(roots: tuple[str, ...]) -> tuple[str, ...]:
    """Give the beginnings of paths inside the roots, the innermost root first."""
    bare = (root.rstrip("/\\") for root in roots)
    found = (root + ("\\" if "\\" in root else "/") for root in bare if root)
    return tuple(sorted(found, key=len, reverse=True))
