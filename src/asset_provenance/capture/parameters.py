"""A call's arguments become parameters: bound to their names, JSON-safe, redacted and bounded.

What a user hands over is never run. Types are read without their metaclass, containers with the
methods of the built-in base class, attributes only where they are stored. Nothing is iterated but
built-in containers. The one exception are `shape` and `dtype` of known array libraries.
"""

from __future__ import annotations

import gc
import inspect
import math
import re
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import EnumType
from functools import lru_cache
from itertools import islice
from json import dumps
from json.encoder import encode_basestring_ascii
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    SimpleNamespace,
)
from typing import TYPE_CHECKING, Any, TypeAlias

from asset_provenance.errors import UsageError
from asset_provenance.redaction import REDACTED, is_secret_name, redact_arguments, redact_text

if TYPE_CHECKING:
    from asset_provenance.records import JsonValue

__all__ = ["Binder", "compile_binder", "from_block", "safe_parameters"]

Binder: TypeAlias = Callable[..., dict[str, Any]]
"""Takes what the function takes, and gives the arguments by name, defaults included."""

_MAX_TEXT = 1_000  # characters
_MAX_ITEMS = 100
_MAX_DEPTH = 8
_MAX_SIZE = 15_000  # bytes of JSON in a call, a little below the 16 KB that are promised
_SCALARS_ONLY = 3_000  # bytes kept free for the numbers and short texts that come late
_SHORT = 120

_MISSING: Any = object()
# The metaclass of a user's class could override each of these attributes.
_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_namespace: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
_module: Callable[[type], object] = type.__dict__["__module__"].__get__
_qualname: Callable[[type], str] = type.__dict__["__qualname__"].__get__

# Their properties are known to be quick and to compute nothing.
_ARRAY_LIBRARIES = re.compile(
    r"(?:awkward|cudf|cupy|dask|dask_expr|geopandas|h5py|jax|jaxlib|numpy|pandas|polars|pyarrow|scipy"
    r"|sparse|tensorflow|tensorstore|torch|xarray|zarr)(?:\.|$)"
)
_TIME_ZONES = re.compile(r"(?:datetime|zoneinfo|pytz|dateutil|pandas)(?:\.|$)")


def compile_binder(function: Callable[..., Any], *, skip_first: bool = False) -> Binder:
    """Compile, once for a function, what binds the arguments of its calls.

    Parameters
    ----------
    function
        The function as it was defined. One whose signature cannot be read (many functions
        written in C) has its arguments as ``args`` and under their keywords.
    skip_first
        For methods: the binder is called without ``self`` or ``cls``.

    Returns
    -------
    Binder
        Raises ``TypeError`` on a wrong call, as the function does. An entry of ``**kwargs`` that
        has the name of another parameter goes under ``**name``.
    """
    try:
        return _compile(inspect.signature(function), function.__qualname__, skip_first)
    except Exception:  # noqa: BLE001 - `__signature__` may be anything
        return _bind_unknown


class _Source(str):
    """The name of a default, which a signature writes as its ``repr``."""

    __slots__ = ()
    __repr__ = str.__str__


def _compile(signature: inspect.Signature, name: str, skip_first: bool) -> Binder:
    parameters = list(signature.parameters.values())
    kinds = inspect.Parameter
    if skip_first and parameters and parameters[0].kind <= kinds.POSITIONAL_OR_KEYWORD:
        del parameters[0]
    names: dict[str, Any] = {"asset_provenance_merge": _merge}
    for index, parameter in enumerate(parameters):
        default = parameter.default
        if default is not parameter.empty:
            names[f"default_{index}"] = default
            default = _Source(f"default_{index}")
        parameters[index] = parameter.replace(annotation=parameter.empty, default=default)
    extra = [p.name for p in parameters if p.kind == kinds.VAR_KEYWORD]
    bound = "".join(f"{p.name!r}: {p.name}, " for p in parameters if p.name not in extra)
    if {kinds.POSITIONAL_ONLY, kinds.VAR_POSITIONAL} & {p.kind for p in parameters} and extra:
        body = f"asset_provenance_merge({{{bound}}}, {extra[0]})"
    else:
        body = f"{{{bound}{''.join(f'**{name}' for name in extra)}}}"
    # Only the names of parameters, which are identifiers, get into the source.
    exec(f"def bind{inspect.Signature(parameters)}: return {body}", names)  # noqa: S102
    binder = names["bind"]
    binder.__qualname__ = name  # for the message of a TypeError
    return binder  # type: ignore[no-any-return]


def _bind_unknown(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return _merge({"args": list(args)}, kwargs)


def _merge(bound: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    for name, value in extra.items():
        key = name
        while key in bound or (key != name and key in extra):
            key = f"**{key}"
        bound[key] = value
    return bound


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
    fields = _stored_fields(value)
    if fields is None:
        raise UsageError(
            f"parameters= of a block cannot be of type {_type_name(type(value))}. Give a mapping, "
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
        name = _type_name(type(value))
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
            if text in self.redact or (is_secret and not _is_number(value)):
                self.room -= len(REDACTED) + 2
                result[name] = REDACTED
            else:
                result[name] = self.value(value, depth + 1)
        if len(result) < total:
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
            result.append(f"[… {total - len(result)} more of {total}]")
        return result

    def content(self, value: Any, kind: type, depth: int) -> JsonValue:  # noqa: PLR0912
        """Give what an object holds, by the first of its bases that is known."""
        if issubclass(kind, dict):
            return self.mapping(dict.items(value), dict.__len__(value), depth)
        if issubclass(type(kind), EnumType):
            return self.value(_stored(value, "_value_"), depth + 1)
        if issubclass(kind, tuple):
            names = _class_attribute(kind, "_fields")
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
        from_library = _is_from(kind, _ARRAY_LIBRARIES)
        plain = _known(value, kind) if from_library else _plain(value, kind)
        if plain is not _MISSING:
            return self.value(plain, depth + 1)
        found = from_library and self.array(value, kind, depth)
        if found:
            return found
        fields = _stored_fields(value)
        if fields is not None:
            return self.mapping(fields, len(fields), depth)
        for reader in (_plain, _wrapped) if from_library else (_known, _wrapped):
            plain = reader(value, kind)
            if plain is not _MISSING:
                return self.value(plain, depth + 1)
        return self.array(value, kind, depth) or self.type_of(value)

    def array(self, value: object, kind: type, depth: int) -> dict[str, JsonValue] | None:
        """Describe what has a shape and a dtype."""
        shape = _declared(value, kind, "shape")
        dtype = _declared(value, kind, "dtype") if shape is not _MISSING else _MISSING
        if dtype is _MISSING:
            dtype = _declared(value, kind, "dtypes")
        if shape is _MISSING or dtype is _MISSING:
            return None
        if _is_from(type(shape), _ARRAY_LIBRARIES):
            shape = tuple(shape)
        name = _type_name(kind)
        self.room -= len(name) + 40
        if type(shape) is tuple and len(shape) < 8 and all(map(_is_small, shape)):
            self.room -= 22 * len(shape)
            sizes: JsonValue = list(shape)
        else:
            sizes = self.value(shape, depth + 1)
        return {"type": name, "shape": sizes, "dtype": self.text(_dtype_name(dtype)[:200])}


def _plain(value: Any, kind: type) -> Any:  # noqa: PLR0912 - one line a type
    """Give the JSON value of an object of the standard library's plain types, if it is one."""
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, complex):
        return complex.__repr__(value).strip("()")
    if issubclass(kind, bytes):
        return {"type": _type_name(kind), "length": bytes.__len__(value)}
    if issubclass(kind, bytearray):
        return {"type": _type_name(kind), "length": bytearray.__len__(value)}
    if kind is memoryview:
        return {"type": "memoryview", "length": value.nbytes}
    if issubclass(kind, PurePath):
        return PurePath.__str__(value)
    if issubclass(kind, datetime) and _is_from(kind, _ARRAY_LIBRARIES):
        return value.isoformat()  # pandas has nanoseconds, and NaT
    base: Any
    for base in (datetime, date, time):
        if issubclass(kind, base):
            zone = None if base is date else base.tzinfo.__get__(value)
            # A user's own time zone would be run for its offset.
            known = zone is None or _is_from(type(zone), _TIME_ZONES)
            return base.isoformat(value) if known else _MISSING
    if issubclass(kind, timedelta):
        return timedelta.total_seconds(value)
    if kind is range:
        return repr(value)
    return _qualified_name(value, kind)


def _qualified_name(value: Any, kind: type) -> Any:
    if issubclass(kind, type):
        return _type_name(value)
    if kind is MethodType:
        return _qualified_name(value.__func__, type(value.__func__))
    if kind in (FunctionType, BuiltinFunctionType) or _is_from(kind, _ARRAY_LIBRARIES):
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if type(name) is str:
            module = getattr(value, "__module__", None)
            return f"{module}.{name}" if type(module) is str and module != "builtins" else name
    return _MISSING


def _numpy_scalar(value: Any, generic: Any) -> Any:
    kind = type(value)
    if not _is_genuine(kind):
        return generic.item(value)
    if issubclass(kind, sys.modules["numpy"].longdouble):
        return float(value)  # its item() is no Python number
    is_text = _type_name(kind) in ("numpy.datetime64", "numpy.timedelta64", "numpy.clongdouble")
    return str(value) if is_text else generic.item(value)


# Types of libraries that may not be loaded, each with what gives its value.
_KNOWN: dict[str, Callable[[Any, Any], Any]] = {
    "decimal.Decimal": lambda value, base: base.__str__(value),
    "fractions.Fraction": lambda value, base: base.__str__(value),
    "uuid.UUID": lambda value, base: base.__str__(value),
    "posix.DirEntry": lambda value, base: base.__fspath__(value),
    "nt.DirEntry": lambda value, base: base.__fspath__(value),
    "numpy.dtype": lambda value, base: base.__str__(value),
    "numpy.generic": _numpy_scalar,
    "pydantic.types._SecretBase": lambda _value, _base: REDACTED,
}


def _known(value: Any, kind: type) -> Any:
    for base in _mro(kind):
        known = _KNOWN.get(_full_name(base))
        if known and _is_genuine(base):
            return known(value, base)
    return _MISSING


def _is_genuine(kind: type) -> bool:
    """Say whether a type is the one that its module has under its name."""
    name = _module(kind)
    module = sys.modules.get(name) if type(name) is str else None
    # A module that is loaded when first used must not be loaded by this.
    names = object.__getattribute__(module, "__dict__") if module else {}
    return dict.get(names, _qualname(kind)) is kind


def _is_number(value: Any) -> bool:
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is float:
        return True
    if issubclass(type(kind), EnumType):
        return False
    numbers = ("numpy.number", "numpy.bool", "numpy.bool_")
    return issubclass(kind, int | float | complex) or any(
        _type_name(base) in numbers for base in _mro(kind)
    )


def _class_attribute(kind: type, name: str) -> Any:
    for base in _mro(kind):
        found = _namespace(base).get(name, _MISSING)
        if found is not _MISSING:
            return found
    return _MISSING


def _instance_dict(value: object) -> dict[Any, Any]:
    stored = _class_attribute(type(value), "__dict__")
    if type(stored) not in (GetSetDescriptorType, MemberDescriptorType):
        return {}
    names = stored.__get__(value)
    return names if issubclass(type(names), dict) else {}


def _stored(value: object, name: str) -> Any:
    """Give what an object itself stores, in a slot or its dictionary; no property is run."""
    slot = _class_attribute(type(value), name)
    if type(slot) in (MemberDescriptorType, GetSetDescriptorType):
        try:
            return slot.__get__(value)
        except AttributeError:
            return _MISSING
    return dict.get(_instance_dict(value), name, _MISSING)


def _stored_fields(value: object) -> list[tuple[Any, Any]] | None:
    """Give the fields of a namespace, pydantic, attrs or dataclass instance; None for others."""
    kind = type(value)
    if any(
        base is SimpleNamespace or _type_name(base) == "argparse.Namespace" for base in _mro(kind)
    ):
        return list(dict.items(_instance_dict(value)))
    names: Any = _MISSING
    extra: Any = None
    if _class_attribute(kind, "__pydantic_validator__") is not _MISSING:
        names = _class_attribute(kind, "__pydantic_fields__")
        if names is _MISSING:  # before pydantic 2.10
            names = _class_attribute(kind, "model_fields")
        extra = _stored(value, "__pydantic_extra__")
    if names is _MISSING:
        names = _class_attribute(kind, "__dataclass_fields__")
    if names is _MISSING:
        names = _class_attribute(kind, "__attrs_attrs__")
        if issubclass(type(names), tuple):
            names = {_stored(attribute, "name"): None for attribute in tuple.__iter__(names)}
    if type(names) is not dict:
        return None
    fields = [(name, _stored(value, name)) for name in names if type(name) is str]
    if type(extra) is dict:
        fields += extra.items()
    return [field for field in fields if field[1] is not _MISSING]


def _wrapped(value: object, kind: type) -> Any:
    """Give the function inside a wrapper, such as a tracked or cached function."""
    if any(_qualname(base).endswith("FunctionWrapper") for base in _mro(kind)):
        return _stored(value, "__wrapped__")
    return dict.get(_instance_dict(value), "__wrapped__", _MISSING)


def _declared(value: object, kind: type, name: str) -> Any:
    for base in _mro(kind):
        found = _namespace(base).get(name, _MISSING)
        if found is not _MISSING:
            if type(found) in (GetSetDescriptorType, MemberDescriptorType):
                return _stored(value, name)
            if _class_attribute(type(found), "__get__") is _MISSING:
                return dict.get(_instance_dict(value), name, found)
            return found.__get__(value, kind) if _is_from(base, _ARRAY_LIBRARIES) else _MISSING
    return _stored(value, name)


def _dtype_name(dtype: Any) -> str:
    kind = type(dtype)
    if kind is str:
        return dtype  # type: ignore[no-any-return]
    if issubclass(kind, type):
        return _type_name(dtype)
    if kind in (list, tuple) or _type_name(kind).endswith(".Series"):
        return ", ".join(dict.fromkeys(_dtype_name(item) for item in islice(dtype, 1_000)))
    return str(dtype) if _is_from(kind, _ARRAY_LIBRARIES) else _type_name(kind)


def _is_from(kind: type, modules: re.Pattern[str]) -> bool:
    module = _module(kind)
    return type(module) is str and modules.match(module) is not None


def _is_small(size: object) -> bool:
    return type(size) is int and 0 <= size < 2**63


def _full_name(kind: type) -> str:
    module = _module(kind)
    name = _qualname(kind)
    return name if type(module) is not str or module == "builtins" else f"{module}.{name}"


def _type_name(kind: type) -> str:
    name = _full_name(kind)
    return name if len(name) <= 200 and name.isascii() else ascii(name[:60])[1:-1]


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
    if len(values) == 2 and type(values[0]) is str and type(values[1]) in (str, bytes):
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
    # File names that are no UTF-8 come as lone surrogates.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


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
