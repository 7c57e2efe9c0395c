"""Reads what objects hold without running any code of theirs.

Types are read without their metaclass, attributes only where they are stored. The one exception
are ``shape`` and ``dtype`` of known array libraries, whose properties compute nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import EnumType
from itertools import islice
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    SimpleNamespace,
)
from typing import Any

from asset_provenance.redaction import REDACTED

__all__ = [
    "ARRAY_LIBRARIES",
    "MISSING",
    "class_attribute",
    "declared",
    "dtype_name",
    "is_from",
    "is_number",
    "is_small",
    "known_value",
    "plain_value",
    "stored",
    "stored_fields",
    "type_name",
    "wrapped",
]

MISSING: Any = object()
# The metaclass of a user's class could override each of these attributes.
_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_namespace: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
_module: Callable[[type], object] = type.__dict__["__module__"].__get__
_qualname: Callable[[type], str] = type.__dict__["__qualname__"].__get__

# Their properties are known to be quick and to compute nothing.
ARRAY_LIBRARIES = re.compile(
    r"(?:awkward|cudf|cupy|dask|dask_expr|geopandas|h5py|jax|jaxlib|numpy|pandas|polars|pyarrow|scipy"
    r"|sparse|tensorflow|tensorstore|torch|xarray|zarr)(?:\.|$)"
)
_TIME_ZONES = re.compile(r"(?:datetime|zoneinfo|pytz|dateutil|pandas)(?:\.|$)")


def plain_value(value: Any, kind: type) -> Any:  # noqa: PLR0912 - one line a type
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
        return {"type": type_name(kind), "length": bytes.__len__(value)}
    if issubclass(kind, bytearray):
        return {"type": type_name(kind), "length": bytearray.__len__(value)}
    if kind is memoryview:
        return {"type": "memoryview", "length": value.nbytes}
    if issubclass(kind, PurePath):
        return PurePath.__str__(value)
    if issubclass(kind, datetime) and is_from(kind, ARRAY_LIBRARIES):
        return value.isoformat()  # pandas has nanoseconds, and NaT
    base: Any
    for base in (datetime, date, time):
        if issubclass(kind, base):
            zone = None if base is date else base.tzinfo.__get__(value)
            # A user's own time zone would be run for its offset.
            known = zone is None or is_from(type(zone), _TIME_ZONES)
            return base.isoformat(value) if known else MISSING
    if issubclass(kind, timedelta):
        return timedelta.total_seconds(value)
    if kind is range:
        return repr(value)
    return _qualified_name(value, kind)


def _qualified_name(value: Any, kind: type) -> Any:
    if issubclass(kind, type):
        return type_name(value)
    if kind is MethodType:
        return _qualified_name(value.__func__, type(value.__func__))
    if issubclass(kind, FunctionType | BuiltinFunctionType) or is_from(kind, ARRAY_LIBRARIES):
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if type(name) is str:
            module = getattr(value, "__module__", None)
            return f"{module}.{name}" if type(module) is str and module != "builtins" else name
    return MISSING


def _numpy_scalar(value: Any, generic: Any) -> Any:
    kind = type(value)
    if not _is_genuine(kind):
        return generic.item(value)
    if issubclass(kind, sys.modules["numpy"].longdouble):
        return float(value)  # its item() is no Python number
    is_text = type_name(kind) in ("numpy.datetime64", "numpy.timedelta64", "numpy.clongdouble")
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


def known_value(value: Any, kind: type) -> Any:
    """Give the value of an object of a library that is known by name, or MISSING."""
    for base in _mro(kind):
        known = _KNOWN.get(_full_name(base))
        if known and _is_genuine(base):
            return known(value, base)
    return MISSING


def _is_genuine(kind: type) -> bool:
    """Say whether a type is the one that its module has under its name."""
    name = _module(kind)
    module = sys.modules.get(name) if type(name) is str else None
    # A module that is loaded when first used must not be loaded by this.
    names = object.__getattribute__(module, "__dict__") if module is not None else {}
    return dict.get(names, _qualname(kind)) is kind


def is_number(value: Any) -> bool:
    """Say whether a value is a number, a truth value or None: never a secret."""
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is float:
        return True
    if issubclass(type(kind), EnumType):
        return False
    numbers = ("numpy.number", "numpy.bool", "numpy.bool_")
    return issubclass(kind, int | float | complex) or any(
        type_name(base) in numbers for base in _mro(kind)
    )


def class_attribute(kind: type, name: str) -> Any:
    """Give what a class or its bases hold under a name, unbound; or MISSING."""
    for base in _mro(kind):
        found = _namespace(base).get(name, MISSING)
        if found is not MISSING:
            return found
    return MISSING


def _instance_dict(value: object) -> dict[Any, Any]:
    stored = class_attribute(type(value), "__dict__")
    if not issubclass(type(stored), GetSetDescriptorType | MemberDescriptorType):
        return {}
    names = stored.__get__(value)
    return names if issubclass(type(names), dict) else {}


def stored(value: object, name: str) -> Any:
    """Give what an object itself stores, in a slot or its dictionary; no property is run."""
    slot = class_attribute(type(value), name)
    if issubclass(type(slot), GetSetDescriptorType | MemberDescriptorType):
        try:
            return slot.__get__(value)
        except AttributeError:
            return MISSING
    return dict.get(_instance_dict(value), name, MISSING)


def stored_fields(value: object) -> list[tuple[Any, Any]] | None:
    """Give the fields of a namespace, pydantic, attrs or dataclass instance; None for others."""
    kind = type(value)
    if any(
        base is SimpleNamespace or type_name(base) == "argparse.Namespace" for base in _mro(kind)
    ):
        return list(dict.items(_instance_dict(value)))
    names: Any = MISSING
    extra: Any = None
    if class_attribute(kind, "__pydantic_validator__") is not MISSING:
        names = class_attribute(kind, "__pydantic_fields__")
        if names is MISSING:  # before pydantic 2.10
            names = class_attribute(kind, "model_fields")
        extra = stored(value, "__pydantic_extra__")
    if names is MISSING:
        names = class_attribute(kind, "__dataclass_fields__")
    if names is MISSING:
        names = class_attribute(kind, "__attrs_attrs__")
        if issubclass(type(names), tuple):
            names = {stored(attribute, "name"): None for attribute in tuple.__iter__(names)}
    if type(names) is not dict:
        return None
    fields = [(name, stored(value, name)) for name in names if type(name) is str]
    if type(extra) is dict:
        fields += extra.items()
    return [field for field in fields if field[1] is not MISSING]


def wrapped(value: object, kind: type) -> Any:
    """Give the function inside a wrapper, such as a tracked or cached function."""
    if any(_qualname(base).endswith("FunctionWrapper") for base in _mro(kind)):
        return stored(value, "__wrapped__")
    return dict.get(_instance_dict(value), "__wrapped__", MISSING)


def declared(value: object, kind: type, name: str) -> Any:
    """Give an attribute that is stored, or a property of a known array library; or MISSING."""
    for base in _mro(kind):
        found = _namespace(base).get(name, MISSING)
        if found is not MISSING:
            if issubclass(type(found), GetSetDescriptorType | MemberDescriptorType):
                return stored(value, name)
            if class_attribute(type(found), "__get__") is MISSING:
                return dict.get(_instance_dict(value), name, found)
            return found.__get__(value, kind) if is_from(base, ARRAY_LIBRARIES) else MISSING
    return stored(value, name)


def dtype_name(dtype: Any) -> str:
    """Name the dtype of an array, or those of a frame's columns, each once."""
    kind = type(dtype)
    from_library = is_from(kind, ARRAY_LIBRARIES)
    if kind is list or (from_library and type_name(kind).endswith(".Series")):  # of a frame
        names = (_one_dtype_name(item) for item in islice(dtype, 1_000))
        return ", ".join(dict.fromkeys(names))
    return _one_dtype_name(dtype)


def _one_dtype_name(dtype: Any) -> str:
    kind = type(dtype)
    if kind is str:
        return dtype  # type: ignore[no-any-return]
    if issubclass(kind, type):
        return type_name(dtype)
    return str(dtype) if is_from(kind, ARRAY_LIBRARIES) else type_name(kind)


def is_from(kind: type, modules: re.Pattern[str]) -> bool:
    """Say whether a type was defined in one of these modules."""
    module = _module(kind)
    return type(module) is str and modules.match(module) is not None


def is_small(size: object) -> bool:
    """Say whether a length is a plain number that JSON and MongoDB can hold."""
    return type(size) is int and 0 <= size < 2**63


def _full_name(kind: type) -> str:
    module = _module(kind)
    name = _qualname(kind)
    return name if type(module) is not str or module == "builtins" else f"{module}.{name}"


def type_name(kind: type) -> str:
    """Give the full name of a type, short and printable."""
    name = _full_name(kind)
    return name if len(name) <= 200 and name.isascii() else ascii(name[:60])[1:-1]
