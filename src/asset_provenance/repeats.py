"""Calls beyond ``max_repeats``: those that are alike are one process, counted and summarised.

A function that is called a million times must cost neither memory nor disk for each call. Its first
calls are a process each. Of the rest, all with the same parent, inputs and outputs are one process,
whose notes say how many they were, how many failed, and over what their parameters varied.

Most such calls come in a long loop, so the way of an ordinary one is short: its arguments become a
row of plain values, and rows are looked at a few thousand at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import (
    Path,
    PosixPath,
    PurePath,
    PurePosixPath,
    PureWindowsPath,
    WindowsPath,
)
from time import monotonic
from typing import Any
from weakref import ref

from asset_provenance.flows import ATOMIC, Flows
from asset_provenance.process import ActiveProcess, Outcome, outcome
from asset_provenance.records import JsonValue, ProcessRecord, ProcessStatus
from asset_provenance.variation import (
    NUMBERS,
    OTHER,
    SCALARS,
    Variation,
    array_types,
    calls_outcome,
    plain_of,
)

__all__ = ["Repeat", "RepeatedCalls"]

_MOST_ROWS = 4096
_MOST_FORMS = 20

Row = tuple[Any, ...]


class Repeat:
    """The one process that alike calls are.

    Parameters
    ----------
    process
        Started with the first of them; the innermost process while one of them runs.
    variation
        Of their parameters; None where those are not the arguments.
    changed
        Called when there is something new to be kept, at most once until :meth:`record` is asked.
    flows
        Knows which process returned which object.
    """

    __slots__ = (
        "_changed", "_ended", "_error", "_failed", "_is_told", "_last", "_lock", "_rows",
        "_variation", "flows", "process",
    )  # fmt: skip

    def __init__(
        self,
        process: ActiveProcess,
        variation: Variation | None,
        changed: Callable[[], None],
        flows: Flows,
    ) -> None:
        self.process = process
        self.flows = flows
        self._variation = variation
        self._changed = changed
        self._is_told = False
        self._ended = self._failed = 0
        self._error: str | None = None
        self._last = monotonic()
        self._rows: dict[tuple[str, ...], deque[Row]] = {}
        self._lock = threading.RLock()

    def begin(self, arguments: Mapping[str, Any]) -> Repeat:
        """Take note of the arguments of a call that starts."""
        if self._variation is not None:
            with self._lock:
                for name, value in arguments.items():
                    plain = plain_of(value)
                    if plain is OTHER:
                        self._variation.add_object(name, value)
                    else:
                        self._variation.add(name, (plain,))
        return self

    def gave(self, value: Any) -> None:
        """Take note of what a call returns or yields."""
        if type(value) not in ATOMIC:
            with suppress(Exception):  # it costs the edge
                self.flows.returned(value, self.process._record.id)

    def follow(self, process_ids: Iterable[str]) -> None:
        """Take note of the processes whose results a call was given."""
        self.process._files.follows.update(dict.fromkeys(process_ids))

    def end(self, how: Outcome, *, at: float | None = None) -> None:
        """Count a call that has ended."""
        now = monotonic() if at is None else at
        with self._lock:
            self._ended += 1
            self._last = max(self._last, now)
            if how.status is not ProcessStatus.COMPLETED:
                self._failed += 1
                self._error = self._error or how.error
        self._tell()

    @property
    def count(self) -> int:
        """How many calls have ended."""
        return self._ended + sum(map(len, tuple(self._rows.values())))

    def rows(self, names: tuple[str, ...]) -> deque[Row] | None:
        """Give where rows of these parameters are put; None where there are too many forms."""
        if len(self._rows) >= _MOST_FORMS:
            return self._rows.get(names)
        return self._rows.setdefault(names, deque())

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            self._changed()

    def fold(self) -> None:
        """Count the rows, and take note of what is in them."""
        with self._lock:
            self._fold()

    def _fold(self) -> None:
        for names, waiting in self._rows.items():
            rows = [waiting.popleft() for _ in range(len(waiting))]
            self._ended += len(rows)
            if self._variation is not None and rows:
                for name, values in zip(names, zip(*rows, strict=True), strict=True):
                    self._variation.add(name, values)

    def record(self) -> ProcessRecord:
        """Give the record of the calls so far, as one process."""
        self._is_told = False
        with self._lock:
            self._fold()
            calls = self._calls()
            record = self.process._as_ended(
                calls_outcome(self.process._record.name, calls), self._last
            )
            constant = None if self._variation is None else self._variation.constant
        record = replace(record, calls=calls)
        # Of the first call's parameters, only what all the calls had in common.
        return record if constant is None else replace(record, parameters=constant or None)

    def _calls(self) -> dict[str, JsonValue]:
        calls: dict[str, JsonValue] = {"ended": self._ended}
        if self._failed:
            calls |= {"failed": self._failed, "error": self._error}
        if self._variation is not None and (varied := self._variation.varied):
            calls["varied"] = dict(varied)
        return calls


class RepeatedCalls:
    """Finds, inside one parent, the process that a further call of a function belongs to.

    Parameters
    ----------
    limit
        So many processes at most; calls that are like none of them are then one more together.
    context
        The variable that holds the innermost process.
    """

    __slots__ = ("_by_key", "_limit", "_reset", "_set", "_usual")

    def __init__(self, limit: int, context: ContextVar[ActiveProcess | None]) -> None:
        self._limit = limit
        self._set, self._reset = context.set, context.reset
        self._by_key: dict[Hashable, Repeat] = {}
        self._usual: _Usual | None = None

    def __iter__(self) -> Iterator[Repeat]:
        return iter(tuple(self._by_key.values()))

    def find(self, key: Hashable, make: Callable[[], Repeat]) -> Repeat:
        """Give the process of calls with these inputs and outputs, made if there is none."""
        if key not in self._by_key and len(self._by_key) >= self._limit:
            key = None
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = make()
        return found

    def expect(
        self, found: Repeat, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Let calls that are like this one in form and paths go the short way.

        Parameters
        ----------
        found
            The process that this call belongs to.
        names
            The parameters that the arguments are bound to, in their order.
        """
        values = (*args, *kwargs.values())
        rows = found.rows(names)
        self._usual = None
        if rows is not None and len(names) == len(values):
            paths = frozenset(value for value in values if _is_path(value))
            self._usual = _Usual(
                found.process, found, rows, len(args), tuple(kwargs), paths, {}, found.flows
            )

    def run(
        self,
        other: Callable[[Any, Any, Any, Any], Any],
        call: Callable[..., Any],
        instance: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run a call: the short way, if it is like the one before in form and paths, or another.

        The short way is the whole cost of tracking in a long loop, and so is written out here.
        """
        usual = self._usual
        if usual is None or len(args) != usual.positional:
            return other(call, instance, args, kwargs)
        row = args
        for value in args:
            if type(value) not in NUMBERS:
                is_plain = False
                break
        else:
            is_plain = not kwargs and not usual.names
        if not is_plain:
            kept = self._row(usual, args, kwargs)
            if kept is None:
                return other(call, instance, args, kwargs)
            row = kept
        token = self._set(usual.process)
        try:
            result = call(*args, **kwargs)
        except BaseException as error:
            usual.repeat.end(outcome(error))
            raise
        finally:
            self._reset(token)
        repeat, rows = usual.repeat, usual.rows
        if type(result) not in ATOMIC and usual.flows.returner(result) != repeat.process._record.id:
            repeat.gave(result)
        rows.append(row)
        repeat._last = monotonic()
        if not repeat._is_told:
            repeat._tell()
        elif len(rows) >= _MOST_ROWS:
            repeat.fold()
        return result

    @staticmethod
    def _row(usual: _Usual, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Row | None:
        """Give what is kept of the arguments; None for a call of another form or other paths."""
        if kwargs or usual.names:
            if tuple(kwargs) != usual.names:
                return None
            args = (*args, *kwargs.values())
        row = []
        for value in args:
            kind = type(value)
            if kind in NUMBERS:
                row.append(value)
                continue
            known = usual.arrays.get(kind)
            if known is not None and known[0]() is value:
                row.append(known[1])
                continue
            if (kind is str and "/" in value) or kind in _path_types:
                if value not in usual.paths:
                    return None
                row.append(str(value))
                continue
            plain = plain_of(value)
            if plain is OTHER:
                return None
            if kind not in SCALARS:
                returner = usual.flows.returner(value)
                if returner is not None:
                    usual.repeat.follow((returner,))
            if array_types.get(kind):
                # The same array in every call is the usual case, and its shape is not free.
                usual.arrays[kind] = ref(value), plain
            row.append(plain)
        return tuple(row)


@dataclass(frozen=True, slots=True)
class _Usual:
    """The form of the calls that go the short way."""

    process: ActiveProcess
    repeat: Repeat
    rows: deque[Row]
    positional: int
    names: tuple[str, ...]
    paths: frozenset[Any]
    arrays: dict[type, tuple[ref[Any], Any]]
    flows: Flows


_path_types = frozenset({PurePath, PurePosixPath, PureWindowsPath, Path, PosixPath, WindowsPath})


def _is_path(value: Any) -> bool:
    return "/" in value if type(value) is str else type(value) in _path_types
