from __future__ import annotations

import collections
import copy
import dataclasses
import datetime as dt
import enum
import json
import re
import types
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_provenance.capture.binding import compile_binder
from asset_provenance.capture.parameters import safe_parameters

CANARY = "cAn4ryQ7x"
LIMIT = 16_384


class Hostile:
    """Raises whatever is asked of it."""

    def _raise(self, *args: Any) -> Any:
        raise RuntimeError("hostile")

    __class__ = property(_raise)  # type: ignore[assignment]
    __repr__ = __str__ = __len__ = __iter__ = __getattr__ = __fspath__ = __bool__ = _raise  # type: ignore[assignment]
    shape = dtype = property(_raise)

    def __deepcopy__(self, memo: Any) -> Hostile:
        return self


class HostileDict(dict[Any, Any]):
    keys = items = __getitem__ = __len__ = __iter__ = __repr__ = Hostile._raise  # type: ignore[assignment]

    def __deepcopy__(self, memo: Any) -> HostileDict:
        return self


class Mode(enum.Enum):
    FAST = "fast"


@dataclasses.dataclass
class Box:
    content: Any


def lazily() -> Any:
    yield 1


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**18, max_value=10**40)
    | st.floats()
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.text()
    | st.text(alphabet=st.characters(), max_size=20)
    | st.text(alphabet="\ud800\udcff\0é$.", max_size=20)
    | st.integers(min_value=900, max_value=9000).map(lambda length: "é" * length)
    | st.binary()
    | st.datetimes(timezones=st.just(dt.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.just(Mode.FAST)
    | st.sampled_from([PurePosixPath("/data/x"), np.float32(1), np.int8(3), np.zeros((2, 2))])
)
odd = st.builds(Hostile) | st.builds(lambda: HostileDict(a=1)) | st.sampled_from([int, len, Box])
keys = st.text(max_size=20) | st.integers() | st.booleans() | st.none() | st.floats() | st.dates()


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(collections.deque)
        | st.dictionaries(keys, inner, max_size=6)
        | st.dictionaries(st.text(max_size=3), inner).map(types.MappingProxyType)
        | st.builds(Box, inner)
        | st.builds(lambda item: types.SimpleNamespace(item=item), inner)
        | st.tuples(inner, st.integers(95, 130)).map(lambda pair: [pair[0]] * pair[1])
    )


values = st.recursive(scalars | odd, containers, max_leaves=12)


def freeze(value: Any) -> Any:
    """Give a form of a value in which any change would show."""
    if isinstance(type(value), type) and type(value) in (Hostile, HostileDict):
        return id(value)
    if isinstance(value, dict | types.MappingProxyType):
        return [(freeze(key), freeze(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | collections.deque):
        return [type(value), [freeze(item) for item in value]]
    if isinstance(value, Box | types.SimpleNamespace):
        return freeze(vars(value))
    return repr(value)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text(max_size=10), values, max_size=5))
def test_any_argument_becomes_valid_bounded_json_and_stays_as_it_was(
    arguments: dict[str, Any],
) -> None:
    before = freeze(arguments)
    result = safe_parameters(arguments, roots=("/data",))
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    json.dumps(result, ensure_ascii=False).encode()  # no lone surrogates
    assert len(text) <= LIMIT
    assert len(result) == len(arguments)
    assert freeze(arguments) == before


@settings(deadline=None, max_examples=50)
@given(values, st.integers(2, 120))
def test_however_much_there_is_the_size_is_bounded(value: Any, times: int) -> None:
    for nested in ([value] * times, {f"é{i}" * 90: [value] * 5 for i in range(times)}):
        arguments = {f"p{i}": copy.copy(nested) for i in range(times)}
        assert len(json.dumps(safe_parameters(arguments))) <= LIMIT


def assert_safe_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            assert not set(key) & set(".$\0")
            assert_safe_keys(item)
    elif isinstance(value, list):
        for item in value:
            assert_safe_keys(item)


@settings(deadline=None, max_examples=80)
@given(st.dictionaries(st.text(alphabet=".$\0\uff0ea1", max_size=3), values, max_size=8))
def test_no_key_has_what_mongodb_refuses_and_none_is_lost(arguments: dict[str, Any]) -> None:
    result = safe_parameters({"value": arguments})["value"]
    assert_safe_keys(result)
    if "…" not in result:
        assert len(result) == len(arguments)  # type: ignore[arg-type]


holders = st.sampled_from(
    [
        lambda name, secret: {name: secret},
        lambda name, secret: {name: [secret]},
        lambda name, secret: {name: {"x": secret}},
        lambda name, secret: {name: secret.encode()},
        lambda name, secret: {name: Box(secret)},
        lambda name, secret: types.SimpleNamespace(**{name: secret}),
        lambda name, secret: ["run", f"--{name}", secret],
        lambda name, secret: ["run", f"--{name}={secret}"],
        lambda name, secret: (name, secret),
        lambda name, secret: f"run --{name} {secret}",
        lambda name, secret: f"https://host/?{name}={secret}",
        lambda name, secret: f"https://{name}:{secret}@host/",
        lambda name, secret: f"https://{secret}@host/",
        lambda name, secret: {f"https://{secret}@host/": name},
    ]
)
names = st.sampled_from(["password", "api_key", "githubToken", "SECRET", "my_credentials"])
secrets = st.text(alphabet="abz019", max_size=30).map(lambda text: CANARY + text)


@settings(deadline=None, max_examples=80)
@given(holders, names, secrets, st.integers(0, 5), values)
def test_a_secret_never_gets_through(
    holder: Any, name: str, secret: str, depth: int, other: Any
) -> None:
    value = holder(name, secret)
    for level in range(depth):
        value = [value, 1] if level % 2 else {"inner": value}
    assert CANARY not in json.dumps(safe_parameters({"value": value, "other": other}))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_binder_takes_what_the_function_takes(data: st.DataObject) -> None:
    parts = ["a", "b", "c", "d"][: data.draw(st.integers(0, 4))]
    needed = data.draw(st.integers(0, len(parts)))
    declared = [name if i < needed else f"{name}={i}" for i, name in enumerate(parts)]
    if parts and data.draw(st.booleans()):
        declared.insert(data.draw(st.integers(1, len(parts))), "/")
    if data.draw(st.booleans()):
        declared += data.draw(st.sampled_from([["*rest"], ["*", "k"], ["*rest", "k=5", "l"]]))
    if data.draw(st.booleans()):
        declared.append("**more")
    names: dict[str, Any] = {}
    exec(f"def function({', '.join(declared)}): return dict(locals())", names)
    args = data.draw(st.lists(st.integers(), max_size=5))
    kwargs = data.draw(st.dictionaries(st.sampled_from("bdklxy"), st.integers(), max_size=3))
    binder = compile_binder(names["function"])
    # The function itself is asked: `Signature.bind` of Python 3.11 refuses some good calls.
    try:
        expected = names["function"](*args, **kwargs)
    except TypeError as error:
        with pytest.raises(TypeError, match=re.escape(str(error))):
            binder(*args, **kwargs)
        return
    more = expected.pop("more", {})
    expected |= {f"**{name}" if name in expected else name: more[name] for name in more}
    assert binder(*args, **kwargs) == expected
