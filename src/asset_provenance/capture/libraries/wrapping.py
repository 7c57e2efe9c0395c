"""Make what takes the place of a library's function, and tells what files it opened."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import wrapt

from asset_provenance.capture.files import Access, State, saw, state
from asset_provenance.patching import Patches

__all__ = [
    "Tell",
    "argument",
    "paths_in",
    "replace_everywhere",
    "telling",
    "telling_paths",
]

Tell = Callable[[Any], object]
"""Told of what the function returned, once it has."""


class _BoundTelling(wrapt.BoundFunctionWrapper[..., Any]):
    def __copy__(self) -> Any:
        return self.__wrapped__

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)


class _Telling(wrapt.FunctionWrapper[..., Any]):
    """A function that stands for another in every respect, so also when copied or pickled."""

    __bound_function_wrapper__ = _BoundTelling

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _by_name(self)


def _by_name(replacement: Any) -> Any:
    # As functions are pickled; pickle itself would ask that the name hold this very
    # object, which it does no more when the asset has closed. Functions in C name no module.
    name = replacement.__qualname__
    module = replacement.__module__ or pickle.whichmodule(replacement, name)  # type: ignore[attr-defined]
    if module == "__main__":
        module = pickle.whichmodule(replacement.__wrapped__, name)  # type: ignore[attr-defined]
    return pkgutil.resolve_name, (f"{module}:{name}",)


def telling(original: Any, look: Callable[[Any, Any, Any], Tell | None]) -> Any:
    """Wrap a function or a method of a class, in Python or in C.

    Parameters
    ----------
    original
        What is called, and stands for itself in every other respect.
    look
        Given the instance (None of a function), the arguments by position and those by name
        before the call, gives who is told of the result after it; None where there is nothing to
        tell. Nobody is told of a call that fails. What it raises itself is lost.
    """

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        try:
            tell = look(instance, args, kwargs)
        except Exception:  # noqa: BLE001 - the call is the user's, whatever we cannot see
            tell = None
        result = wrapped(*args, **kwargs)
        if tell is not None:
            with contextlib.suppress(Exception):
                tell(result)
        return result

    return _Telling(original, call)


def telling_paths(
    original: Any,
    *,
    reads: Mapping[str, int] | None = None,
    writes: Mapping[str, int] | None = None,
    updates: Mapping[str, int] | None = None,
) -> Any:
    """Wrap a function that opens the files its arguments name.

    Parameters
    ----------
    original
        The function, or a method of a class.
    reads, writes, updates
        The arguments that are paths, or lists of paths, of files read, written anew, and read and
        perhaps changed: by name, with their position (of a method, ``self`` not counted).
    """

    def look(_instance: Any, args: Any, kwargs: Any) -> Tell:
        files: list[tuple[Any, int, State | None]] = []
        for wanted, access in ((reads, Access.READ), (writes, Access.REPLACE)):
            for name, position in (wanted or {}).items():
                given = argument(args, kwargs, name, position)
                files += [(path, access, None) for path in paths_in(given)]
        for name, position in (updates or {}).items():
            given = argument(args, kwargs, name, position)
            files += [(path, Access.READ, state(path)) for path in paths_in(given)]

        def tell(_result: Any) -> None:
            for path, access, before in files:
                saw(path, access, before)

        return tell

    return telling(original, look)


def argument(args: Any, kwargs: Any, name: str, position: int, default: Any = None) -> Any:
    """Find an argument by its name or its position."""
    if name in kwargs:
        return kwargs[name]
    return args[position] if position < len(args) else default


def paths_in(given: Any) -> Iterator[Any]:
    """Give the paths in an argument: one, or a list of them; what is none is left out.

    An iterator is not touched: it could be gone through once only.
    """
    if isinstance(given, str | bytes | os.PathLike):
        yield given
    elif isinstance(given, list | tuple | set | frozenset):
        for one in given:
            yield from paths_in(one)


def replace_everywhere(
    patches: Patches, module: Any, makes: Mapping[str, Callable[[Any], Any]]
) -> None:
    """Replace functions of a module also where others hold them by ``from module import name``.

    Parameters
    ----------
    patches
        What puts them back.
    module
        Whose functions.
    makes
        By name of the function, which may not exist: gives what takes its place.
    """
    for name, make in makes.items():
        original = getattr(module, name, None)
        if original is not None:
            patches.replace_everywhere(module, name, make(original))
