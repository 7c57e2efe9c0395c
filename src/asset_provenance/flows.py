"""Which process returned an object that another one is given.

Identity is the evidence, and a number that ``id`` gives is none, since it is used again: objects
are held by weak references. Plain containers allow none, and count through their contents; those
of nothing but numbers and texts are held themselves, within narrow bounds.
"""

from __future__ import annotations

import sys
import threading
from _io import _IOBase as BaseIO
from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from itertools import islice
from logging import Logger
from re import Pattern
from threading import Thread
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ref

from wrapt import FunctionWrapper

__all__ = ["ATOMIC", "Flows"]

ATOMIC = frozenset({
    type(None), bool, int, float, complex, str, bytes, range, slice, type, type(...),
    FunctionType, BuiltinFunctionType, ModuleType,
})  # fmt: skip
"""Types whose objects are shared by the interpreter, or by everybody: they say nothing."""

_MOST_ITEMS = 1000
_MOST_INSIDE = 10_000
_MOST_DEPTH = 4
_MOST_HELD = 32
_MOST_HELD_OF_ONE = 4
_LARGEST_HELD = 32_768
"""Bytes of one container that is held itself; all of them together take at most a megabyte."""


_SHARED = (
    type,
    Enum,
    Logger,
    Pattern,
    Thread,
    MethodType,
    FunctionWrapper,
    BaseIO,
    type(lru_cache(len)),
)


class _Mark(ref[Any]):
    """A weak reference that knows who returned the object."""

    __slots__ = ("key", "process_id")

    key: int
    process_id: str


class Flows:
    """The objects that processes of one asset have returned, as long as the user has them."""

    def __init__(self) -> None:
        self.marks: dict[int, _Mark] = {}
        """By the number of the object; holds only if the mark still leads to that object."""
        self._held: OrderedDict[int, tuple[Any, int, str]] = OrderedDict()
        self.lock = threading.RLock()

    def forget(self) -> None:
        """Let everything go: the asset has closed."""
        with self.lock:
            self.marks.clear()
            self._held.clear()

    def returned(self, value: Any, process_id: str) -> None:
        """Take note of what a process returned; the last to return an object counts."""
        with self.lock:
            self._returned(value, process_id)

    def _returned(self, value: Any, process_id: str) -> None:
        # One that has grown since may hold what must not live longer for it.
        for key in [key for key, (item, size, _) in self._held.items() if len(item) != size]:
            del self._held[key]
        plain = [item for item in _inside(value) if not self._note(item, process_id)]
        # Of a table of rows, the first tell that it is this one.
        for item in list(islice(filter(_may_be_held, plain), _MOST_HELD_OF_ONE)):
            self._hold(item, process_id)

    def _note(self, item: Any, process_id: str) -> bool:
        """Mark an object by a weak reference; give whether it allows one."""
        marks = self.marks
        key = id(item)
        mark = marks.get(key)
        if mark is not None and mark() is item:
            mark.process_id = process_id
            return True
        try:
            mark = _Mark(item, self._forget)
        except TypeError:
            return False
        mark.key, mark.process_id = key, process_id
        marks[key] = mark
        return True

    def _hold(self, item: Any, process_id: str) -> None:
        self._held[id(item)] = (item, len(item), process_id)
        self._held.move_to_end(id(item))
        if len(self._held) > _MOST_HELD:
            self._held.popitem(last=False)

    def _forget(self, mark: ref[Any]) -> None:
        key = mark.key  # type: ignore[attr-defined]
        if self.marks.get(key) is mark:
            del self.marks[key]

    def returner(self, item: Any) -> str | None:
        """Give the process that returned this very object."""
        key = id(item)
        mark = self.marks.get(key)
        if mark is not None and mark() is item:
            return mark.process_id
        kept = self._held.get(key)
        return kept[2] if kept is not None and kept[0] is item else None

    def find(self, values: Iterable[Any]) -> tuple[str, ...]:
        """Give the processes that returned any of these objects, or of what is inside them."""
        if not self.marks and not self._held:
            return ()
        found = (self.returner(item) for value in values for item in _inside(value))
        return tuple(dict.fromkeys(one for one in found if one is not None))

    def tags(self, value: Any) -> list[tuple[int, str]]:
        """Say which of the objects inside a value came from whom, for a copy that is sent on.

        Returns
        -------
        list of tuple
            The place of each such object, and the process that returned it.
        """
        found = ((place, self.returner(item)) for place, item in enumerate(_inside(value)))
        return [(place, one) for place, one in found if one is not None]

    def tag(self, value: Any, tags: Iterable[tuple[int, str]]) -> None:
        """Take note of who returned the objects inside a copy, as :meth:`tags` told it."""
        known = dict(tags)
        with self.lock:
            for place, item in enumerate(_inside(value) if known else ()):
                process_id = known.get(place)
                if process_id is None or self._note(item, process_id):
                    continue
                if _may_be_held(item):
                    self._hold(item, process_id)


def _may_be_held(item: Any) -> bool:
    """Say whether something is a small container of nothing but numbers, texts and rows of them.

    Not a tuple by itself: those that stand in the code are the same object for everybody.
    """
    if type(item) not in (list, dict, set) or not item:
        return False
    if len(item) > _MOST_ITEMS or sys.getsizeof(item) > _LARGEST_HELD:
        return False
    contents = [*item, *item.values()] if type(item) is dict else list(item)
    for one in tuple(contents):  # rows of a table
        if type(one) is tuple:
            contents += one
    kinds = {type(one) for one in contents} - {tuple}
    return ATOMIC.issuperset(kinds) and sum(map(sys.getsizeof, contents)) < _LARGEST_HELD


def _says_nothing(item: Any, kind: type) -> bool:
    """Say whether an object is one that a whole program shares."""
    return kind in ATOMIC or _is_shared(kind) or (kind is frozenset and not item)


@lru_cache(maxsize=1024)
def _is_shared(kind: type) -> bool:
    return issubclass(kind, _SHARED)


def _inside(value: Any) -> list[Any]:
    """Give an object, and what plain containers hold; no method of a user's class is called."""
    kind = type(value)
    if _says_nothing(value, kind):
        return []
    found = [value]
    if not issubclass(kind, list | dict | tuple):
        return found
    seen = {id(value)}
    waiting = [(value, 0)]
    # Each container once, and not too many: data can be nested lists of any size.
    while waiting and len(found) < _MOST_INSIDE:
        container, depth = waiting.pop()
        for item in _items(container):
            kind = type(item)
            if _says_nothing(item, kind) or id(item) in seen:
                continue
            found.append(item)
            if depth < _MOST_DEPTH and issubclass(kind, list | dict | tuple):
                seen.add(id(item))
                waiting.append((item, depth + 1))
    return found


def _items(container: Any) -> list[Any]:
    kind = type(container)
    items: Iterable[Any]
    if issubclass(kind, dict):
        items = dict.values(container)
    elif issubclass(kind, tuple):
        items = tuple.__iter__(container)
    else:
        items = list.__iter__(container)
    try:
        return list(islice(items, _MOST_ITEMS))
    except RuntimeError:  # another thread changes it
        return []
