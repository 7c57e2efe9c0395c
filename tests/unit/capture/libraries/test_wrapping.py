"""What takes a function's place tells of its files, and is the function in all else."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asset_provenance.capture.files import Access, Watching
from asset_provenance.capture.libraries.wrapping import replace_everywhere, telling, telling_paths

Seen = list[tuple[str, int, bool]]


class Reader:
    """A class of a library, in a module that can be imported by name."""

    def load(self, path: Any, other: Any = None, *, scale: int = 1) -> tuple[Any, int]:
        """Load."""
        if path == "absent":
            raise FileNotFoundError(path)
        return path, scale


def load(path: Any, other: Any = None) -> Any:
    """Load."""
    return path, other


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("a_library")
    for each in (Reader, load):
        monkeypatch.setattr(each, "__module__", "a_library")
        setattr(module, each.__name__, each)
    monkeypatch.setitem(sys.modules, "a_library", module)
    return module


@pytest.fixture
def watching() -> Iterator[tuple[Watching, Seen]]:
    told: Seen = []
    here = os.getcwd()
    started = Watching(
        lambda path, access, before: told.append(
            (os.path.relpath(path, here), access, before is not None)
        ),
        lambda *_: None,
    )
    yield started, told
    started.stop()


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("a", ["a"]),
        (b"a", ["a"]),
        (Path("a"), ["a"]),
        (["a", Path("b")], ["a", "b"]),
        (("a", ["b"]), ["a", "b"]),
        (3, []),
        (None, []),
        (iter(["a"]), []),
    ],
)
def test_a_path_or_a_list_of_them_is_told_and_nothing_else(
    given: Any, paths: list[str], library: ModuleType, watching: tuple[Watching, Seen]
) -> None:
    started, told = watching
    started.patches.wrap(
        library, "load", lambda original: telling_paths(original, reads={"path": 0})
    )
    assert library.load(given) == (given, None)
    assert library.load(path=given) == (given, None)
    assert told == [(path, Access.READ, False) for path in paths] * 2
    if isinstance(given, Iterator):
        assert list(given) == ["a"]


def test_each_argument_is_told_for_what_is_done_with_it(
    library: ModuleType, watching: tuple[Watching, Seen]
) -> None:
    started, told = watching
    Path("a").write_text("old")
    told.clear()
    started.patches.wrap(
        library.Reader,
        "load",
        lambda original: telling_paths(original, updates={"path": 0}, writes={"other": 1}),
    )
    assert library.Reader().load("a", other="b", scale=3) == ("a", 3)
    assert sorted(told) == [("a", Access.READ, True), ("b", Access.REPLACE, False)]


def test_a_call_that_fails_fails_as_it_did_and_is_not_told(
    library: ModuleType, watching: tuple[Watching, Seen]
) -> None:
    started, told = watching
    started.patches.wrap(
        library.Reader, "load", lambda original: telling_paths(original, reads={"path": 0})
    )
    with pytest.raises(FileNotFoundError, match="absent"):
        library.Reader().load("absent")
    with pytest.raises(TypeError, match="unexpected keyword argument 'wrong'"):
        library.Reader().load("a", wrong=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'path'"):
        library.Reader().load()
    assert not told


@pytest.mark.parametrize("fails", ["before", "after"])
def test_what_we_do_wrong_is_never_the_users(fails: str, library: ModuleType) -> None:
    def look(_instance: Any, _args: Any, _kwargs: Any) -> Any:
        if fails == "before":
            raise RuntimeError("ours")

        def tell(_result: Any) -> None:
            raise RuntimeError("ours")

        return tell

    assert telling(load, look)("a") == ("a", None)


def test_a_replacement_is_the_function_in_all_else(
    library: ModuleType, watching: tuple[Watching, Seen]
) -> None:
    started, _ = watching
    originals = library.load, library.Reader.load
    started.patches.wrap(
        library, "load", lambda original: telling_paths(original, reads={"path": 0})
    )
    started.patches.wrap(
        library.Reader, "load", lambda original: telling_paths(original, reads={"path": 0})
    )
    for original, replacement in zip(originals, (library.load, library.Reader.load), strict=True):
        assert replacement is not original
        assert inspect.signature(replacement) == inspect.signature(original)
        assert inspect.isfunction(replacement)
        assert (replacement.__name__, replacement.__doc__) == (original.__name__, "Load.")
        assert copy.deepcopy(replacement) == copy.copy(replacement) == replacement
    assert pickle.loads(pickle.dumps(library.load)) is library.load
    bound = pickle.loads(pickle.dumps(library.Reader().load))
    assert bound("a") == ("a", 1)
    held = library.load
    started.stop()
    assert (library.load, library.Reader.load) == originals
    assert held("a") == ("a", None)
    assert pickle.loads(pickle.dumps(held)) is library.load


def test_a_function_that_others_hold_by_name_is_replaced_there_and_put_back(
    library: ModuleType, watching: tuple[Watching, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, told = watching
    user = ModuleType("a_user")
    user.read = original = library.load
    monkeypatch.setitem(sys.modules, "a_user", user)
    replace_everywhere(
        started.patches,
        library,
        {
            "load": lambda function: telling_paths(function, reads={"path": 0}),
            "of_another_version": lambda function: function,
        },
    )
    assert user.read is library.load
    user.read("a")
    assert told == [("a", Access.READ, False)]
    started.stop()
    assert user.read is library.load is original
