from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime as dt
import enum
import functools
import io
import json
import os
import subprocess
import sys
import types
import uuid
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pandas as pd
import pydantic
import pytest
import wrapt

from asset_provenance.capture.binding import compile_binder
from asset_provenance.capture.parameters import from_block, safe_parameters
from asset_provenance.errors import UsageError
from asset_provenance.redaction import REDACTED

if TYPE_CHECKING:
    from collections.abc import Callable

ROOTS = ("/data", "/results")


def safe(value: Any, **options: Any) -> Any:
    result = safe_parameters({"value": value}, **options)["value"]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


# --- binding ---------------------------------------------------------------------------------


def sort(
    a: Any, b: Any = 2, /, c: Any = 3, *rest: Any, d: Any, e: Any = 5, **more: Any
) -> None: ...


def test_a_binder_gives_every_argument_by_name_with_defaults() -> None:
    bind = compile_binder(sort)
    assert bind(1, d=4) == {"a": 1, "b": 2, "c": 3, "rest": (), "d": 4, "e": 5}
    assert bind(1, 5, 6, 7, 8, d=4, x=9) == {
        "a": 1,
        "b": 5,
        "c": 6,
        "rest": (7, 8),
        "d": 4,
        "e": 5,
        "x": 9,
    }
    assert list(bind(1, d=4)) == ["a", "b", "c", "rest", "d", "e"]


def test_a_binder_gives_defaults_by_identity() -> None:
    default = object()

    def function(default_0: Any = default, *, default_1: Any = default) -> None: ...

    bound = compile_binder(function)()
    assert bound["default_0"] is default
    assert bound["default_1"] is default


def test_keywords_with_the_name_of_a_parameter_are_kept_apart() -> None:
    bound = compile_binder(sort)(1, d=4, a=7, rest=8, **{"**a": 9})
    assert bound["a"] == 1
    assert bound["rest"] == ()
    assert {bound["**a"], bound["**rest"], bound["****a"]} == {7, 8, 9}


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (sort, (), {}),
        (sort, (1,), {}),
        (lambda x: None, (1, 2), {}),
        (lambda x: None, (1,), {"x": 2}),
        (lambda *, x: None, (1,), {}),
    ],
)
def test_a_wrong_call_raises_as_the_function_does(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(TypeError) as of_function:
        function(*args, **kwargs)
    with pytest.raises(TypeError) as of_binder:
        compile_binder(function)(*args, **kwargs)
    assert str(of_binder.value) == str(of_function.value)


def test_a_method_is_bound_without_its_first_parameter() -> None:
    class Sorter:
        def run(self, x: int, y: int = 2) -> None: ...

        def loose(*args: Any, self: int = 1) -> None: ...

    assert compile_binder(Sorter.run, skip_first=True)(1) == {"x": 1, "y": 2}
    assert compile_binder(Sorter.run)("me", 1) == {"self": "me", "x": 1, "y": 2}
    assert compile_binder(Sorter.loose, skip_first=True)(5) == {"args": (5,), "self": 1}


def test_a_function_without_a_signature_has_its_arguments_as_a_list() -> None:
    class Odd:
        __signature__ = "nonsense"

        def __call__(self) -> None: ...

    for function in (getattr, Odd()):
        assert compile_binder(function)(1, "x", y=2) == {"args": [1, "x"], "y": 2}
    assert compile_binder(getattr)(1, args=2) == {"args": [1], "**args": 2}


# --- what a block may give -------------------------------------------------------------------


@dataclasses.dataclass
class Data:
    a: int
    password: str = "hunter2"
    kind: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    unset: int = dataclasses.field(init=False)


@attrs.define
class Attrs:
    a: int
    _hidden: int = 2


@attrs.define(slots=False)
class OpenAttrs:
    a: int


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int = 1
    secret_sauce: pydantic.SecretStr = pydantic.SecretStr("hunter2")
    other: pydantic.SecretBytes = pydantic.SecretBytes(b"hunter2")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        (argparse.Namespace(a=1), {"a": 1}),
        (Data(1), {"a": 1, "password": "hunter2", "kind": None}),
        (Slotted(1), {"a": 1}),
        (Attrs(1), {"a": 1, "_hidden": 2}),
        (OpenAttrs(1), {"a": 1}),
    ],
)
def test_a_block_takes_anything_with_named_fields(value: Any, expected: dict[str, Any]) -> None:
    assert from_block(value) == expected


def test_a_block_takes_a_pydantic_model_with_its_extra_fields() -> None:
    fields = from_block(Model(b=3))  # type: ignore[call-arg]
    assert fields["a"] == 1
    assert fields["b"] == 3
    assert "hunter2" not in json.dumps(safe_parameters(fields))


@pytest.mark.parametrize("value", [None, 5, "text", [("a", 1)], Data, Model, object()])
def test_a_block_says_what_it_takes_when_given_anything_else(value: Any) -> None:
    with pytest.raises(UsageError, match="Give a mapping"):
        from_block(value)


# --- values ----------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BOTH = (1, Path("/data/x"))


class Level(enum.IntEnum):
    LOW = 3


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Whole(int):
    def __int__(self) -> int:
        raise RuntimeError

    __repr__ = __str__ = __int__  # type: ignore[assignment]


Point = collections.namedtuple("Point", "x y")
UTC = dt.timezone.utc  # noqa: UP017 - shorter below


@functools.lru_cache
def cached() -> None: ...


@wrapt.decorator
def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


@wrapper
def tracked() -> None: ...


HERE = __name__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(plain, plain) for plain in (None, True, 3, -(2**63), 2.5, "text", [1, [2]], {"a": {}})],
        (2**64, "18446744073709551616"),
        (10**10_000, "[integer of 33220 bits]"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Text("x"), "x"),
        (Whole(3), 3),
        (1 + 2j, "1+2j"),
        (b"abc", {"type": "bytes", "length": 3}),
        (bytearray(3), {"type": "bytearray", "length": 3}),
        (memoryview(b"abc"), {"type": "memoryview", "length": 3}),
        (Colour.RED, "red"),
        (Colour.BOTH, [1, "/data/x"]),
        (Level.LOW, 3),
        (dt.datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00+00:00"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(minutes=1, milliseconds=5), 60.005),
        (Decimal("1.10"), "1.10"),
        (Fraction(1, 3), "1/3"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (range(3), "range(0, 3)"),
        ((1, 2), [1, 2]),
        ({10, 9, 1}, [1, 9, 10]),
        (frozenset("ab"), ["a", "b"]),
        (collections.deque([1]), [1]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (argparse.Namespace(a=1), {"a": 1}),
        (types.SimpleNamespace(a=1), {"a": 1}),
        (Data(1), {"a": 1, "password": REDACTED, "kind": None}),
        (Attrs(1), {"a": 1, "_hidden": 2}),
        (Model(), {"a": 1, "secret_sauce": REDACTED, "other": REDACTED}),
        (json.dumps, "json.dumps"),
        (len, "len"),
        (Data, f"{HERE}.Data"),
        (Data(1).__init__, f"{HERE}.Data.__init__"),  # type: ignore[misc]
        (cached, f"{HERE}.cached"),
        (tracked, f"{HERE}.tracked"),
        (object(), {"type": "object"}),
        (np.float32(1.5), 1.5),
        (np.float64("nan"), "NaN"),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.longdouble(1.5), 1.5),
        (np.str_("x"), "x"),
        (np.datetime64("2024-01-02"), "2024-01-02"),
        (np.dtype("f4"), "float32"),
        (np.float32, "numpy.float32"),
        (np.mean, "numpy.mean"),
        (np.zeros((2, 3), "f4"), {"type": "numpy.ndarray", "shape": [2, 3], "dtype": "float32"}),
        (np.zeros(()), {"type": "numpy.ndarray", "shape": [], "dtype": "float64"}),
        (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"),
        (pd.NaT, "NaT"),
    ],
    ids=lambda _: "",
)
def test_each_kind_of_value_has_its_form(value: Any, expected: Any) -> None:
    assert safe(value) == expected


def test_frames_are_their_type_shape_and_dtypes() -> None:
    frame = safe(pd.DataFrame({"a": [1], "b": [2.5], "c": [3]}))
    assert frame["type"].endswith("DataFrame")
    assert frame["shape"] == [1, 3]
    assert frame["dtype"] == "int64, float64"
    assert safe(pd.Series([1.5]))["dtype"] == "float64"


def test_anything_that_stores_a_shape_and_a_dtype_is_an_array() -> None:
    class Image:
        shape: Any = 5

        def __init__(self) -> None:
            self.shape = (2, np.int64(3))
            self.dtype = "uint8"

    assert safe(Image())["shape"] == [2, 3]
    assert safe(Image())["dtype"] == "uint8"


def test_paths_inside_a_root_are_relative_to_it() -> None:
    cases = {
        Path("/data/a/b.nwb"): "a/b.nwb",
        Path("/results/x"): "x",
        Path("/elsewhere/x"): "/elsewhere/x",
        Path("/data"): "/data",
        Path("/database/x"): "/database/x",
        Path("/data/../etc"): "/data/../etc",
        PurePosixPath("rel/x"): "rel/x",
        "/data/a/b.nwb": "a/b.nwb",
    }
    for path, expected in cases.items():
        assert safe(path, roots=ROOTS) == expected
    assert safe(PureWindowsPath("D:\\data\\a\\b"), roots=("D:\\data",)) == "a/b"
    assert safe("/data/sub/x", roots=("/data", "/data/sub/", "/")) == "x"
    assert safe(["/data/x", {"p": Path("/data/y")}], roots=ROOTS) == ["x", {"p": "y"}]


def test_directory_entries_are_paths(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with os.scandir(tmp_path) as entries:
        assert safe(next(entries), roots=(str(tmp_path),)) == "x"


# --- keys ------------------------------------------------------------------------------------


def test_keys_are_text_that_mongodb_takes() -> None:
    value = {"a.b": 1, "$x": 2, 1: 3, (1, "b"): 4, None: 5, Colour.RED: 7, "\0": 8}
    keys = ["a\uff0eb", "\uff04x", "1", '[1, "b"]', "null", "red", "\u2400"]
    assert list(safe(value)) == keys
    assert safe({False: 1}) == {"false": 1}


def test_keys_that_become_the_same_are_kept_apart() -> None:
    assert safe({1: "a", "1": "b"}) == {"1": "a", "1 (2)": "b"}
    assert safe({"a.b": 1, "a\uff0eb": 2}) == {"a\uff0eb": 1, "a\uff0eb (2)": 2}


def test_lone_surrogates_are_written_out() -> None:
    assert safe({os.fsdecode(b"\xff"): os.fsdecode(b"a\xfe")}) == {"\\xff": "a\\xfe"}


# --- secrets ---------------------------------------------------------------------------------


def test_secret_names_are_redacted_at_any_depth_but_not_their_numbers() -> None:
    value = {"password": "x", "token": 5, "api_key": None, "secret": [1], "n": {"auth": b"x"}}
    assert safe(value) == {
        "password": REDACTED,
        "token": 5,
        "api_key": None,
        "secret": REDACTED,
        "n": {"auth": REDACTED},
    }
    assert safe({"token": np.int64(5), "use_auth": np.bool_(True)}) == {
        "token": 5,
        "use_auth": True,
    }
    assert safe({"token": Colour.RED}) == {"token": REDACTED}


def test_what_the_user_names_is_redacted_or_left_out() -> None:
    arguments = {"a": 1, "b": 2, "c": {"a": 3}}
    result = safe_parameters(arguments, exclude=("b",), redact=("a",))
    assert result == {"a": REDACTED, "c": {"a": REDACTED}}


def test_secrets_in_text_command_lines_and_headers_are_redacted() -> None:
    assert safe("https://u:p@h/x") == "https://[redacted]@h/x"
    assert safe(["run", "--token", "abc", Path("x"), "-v"]) == [
        "run",
        "--token",
        REDACTED,
        "x",
        "-v",
    ]
    assert safe([("Authorization", "Bearer x")]) == [["Authorization", REDACTED]]
    assert safe({"https://u:p@h": 1}) == {"https://[redacted]@h": 1}


def test_no_half_of_a_secret_is_left_at_a_cut() -> None:
    for length in range(900, 1000, 7):
        assert "canary" not in safe("a" * length + " https://me:" + "canary" * 30 + "@host/x")
    for length in range(3700, 4000, 50):
        text = (
            "password="
            + "y" * (length - 20)
            + " https://me:"
            + "canary" * 40
            + "@host/ "
            + "z" * 999
        )
        assert "canary" not in safe(text)


# --- bounds ----------------------------------------------------------------------------------


def test_long_text_is_cut_with_its_length() -> None:
    text = safe("a" * 12_345)
    assert text == "a" * 1000 + "…[12345 characters]"
    assert safe("a" * 1000) == "a" * 1000


def test_long_containers_are_cut_with_their_length() -> None:
    assert safe(list(range(1000)))[-2:] == [99, "[… 900 more of 1000]"]
    assert safe(set(range(1000)))[-1] == "[… 900 more of 1000]"
    assert safe({str(i): i for i in range(1000)})["…"] == "[… 900 more of 1000]"
    assert len(safe_parameters({f"p{i}": i for i in range(1000)})) == 101


def test_everything_together_is_bounded_and_late_numbers_are_kept() -> None:
    value: Any = "é" * 900
    for _ in range(4):
        value = [value] * 100
    result = safe_parameters(
        {"big": value, "keys": {"é" * 500 + str(i): i for i in range(99)}, "n": 5}
    )
    assert len(json.dumps(result)) < 16_384
    assert result["n"] == 5
    assert result["keys"] == {"type": "dict"}


def test_cycles_and_depth_end_in_the_type() -> None:
    cycle: list[Any] = [1]
    cycle.append({"again": cycle})
    assert safe(cycle) == [1, {"again": {"type": "list"}}]
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    assert '{"type": "list"}' in json.dumps(safe(deep))
    shared = [1]
    assert safe([shared, shared]) == [[1], [1]]


# --- hostile and lazy objects ----------------------------------------------------------------


class Trap:
    """Fails the test when anything of it is run."""

    def _sprung(self, *args: Any) -> Any:
        pytest.fail("user code was run", pytrace=False)

    __class__ = property(_sprung)  # type: ignore[assignment]
    __getattribute__ = __repr__ = __str__ = __eq__ = __hash__ = __len__ = __iter__ = _sprung  # type: ignore[assignment]
    __bool__ = __fspath__ = __array__ = __format__ = __getitem__ = __index__ = _sprung
    shape = dtype = dtypes = __dict__ = _value_ = property(_sprung)


class TrapMeta(type):
    __getattribute__ = __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = Trap._sprung  # type: ignore[assignment]


class TrapDict(dict[str, Any]):
    items = keys = __iter__ = __getitem__ = __len__ = __repr__ = __eq__ = Trap._sprung  # type: ignore[assignment]


class TrapList(list[Any]):
    __iter__ = __getitem__ = __len__ = __repr__ = __eq__ = Trap._sprung  # type: ignore[assignment]


class TrapZone(dt.tzinfo):
    utcoffset = tzname = dst = Trap._sprung


TRAPS: dict[str, Callable[[], Any]] = {
    "object": Trap,
    "list": lambda: [Trap()],
    "value": lambda: {"x": Trap()},
    "dict": lambda: TrapDict(a=1),
    "list subclass": lambda: TrapList([1]),
    "proxy": lambda: types.MappingProxyType(TrapDict(a=1)),
    "field": lambda: Data(1, kind=Trap()),
    "time zone": lambda: dt.datetime(2024, 1, 1, tzinfo=TrapZone()),
    "class": lambda: Trap,
}


@pytest.mark.parametrize("kind", TRAPS)
def test_no_code_of_the_user_is_run(kind: str) -> None:
    for name in ("value", "token"):
        recorded = safe_parameters({name: TRAPS[kind]()})
        assert list(json.loads(json.dumps(recorded))) == [name]


def test_the_metaclass_of_an_argument_is_not_run() -> None:
    meta = TrapMeta.__new__(TrapMeta, "Sly", (), {})
    value = object.__new__(meta)
    for sly in (meta, value, [value]):
        assert list(json.loads(json.dumps(safe_parameters({"value": sly})))) == ["value"]


def test_iterators_files_and_mappings_of_the_user_are_not_touched() -> None:
    generator = (i for i in range(3))
    file = io.StringIO("text")
    assert safe(generator) == {"type": "generator"}
    assert safe(file) == {"type": "_io.StringIO"}
    assert safe(map(int, "12")) == {"type": "map"}
    assert list(generator) == [0, 1, 2]
    assert file.read() == "text"
    assert safe(collections.ChainMap({"a": 1})) == {"type": "collections.ChainMap"}


def test_arguments_that_cannot_be_read_at_all_give_no_parameters() -> None:
    class Broken(collections.UserDict[str, Any]):
        def keys(self) -> Any:
            raise RuntimeError

    assert safe_parameters(Broken()) == {}


def test_an_object_that_lies_about_its_module_is_not_believed() -> None:
    liar = type("Decimal", (), {"__module__": "decimal", "__str__": Trap._sprung})
    odd = type("Odd", (), {"__module__": Trap()})
    assert safe(liar()) == {"type": "decimal.Decimal"}
    assert safe(odd()) == {"type": "Odd"}


def test_arguments_are_not_kept_or_changed() -> None:
    inner = {"b": [1, 2]}
    arguments = {"a": inner}
    result: Any = safe_parameters(arguments)
    result["a"]["b"].append(3)
    assert arguments == {"a": {"b": [1, 2]}}


def test_importing_the_module_loads_no_library() -> None:
    code = (
        "import sys, asset_provenance.capture.parameters\n"
        "heavy = {'numpy', 'pandas', 'pydantic', 'attr', 'argparse', 'decimal', 'uuid'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    answer = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert (answer.returncode, answer.stderr) == (0, b"")
