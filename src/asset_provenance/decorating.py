"""A function that is decorated with an asset: each call of it opens the asset once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

from asset_provenance.errors import UsageError
from asset_provenance.options import check_callable

__all__ = ["open_at_each_call"]

P = ParamSpec("P")
R = TypeVar("R")


def open_at_each_call(
    decorator: str,
    function: Callable[P, R],
    opened: Callable[[tuple[Any, ...], Mapping[str, Any]], AbstractContextManager[None]],
) -> Callable[P, R]:
    """Give a function that runs inside what is opened for each of its calls.

    Parameters
    ----------
    decorator
        What decorates it, for messages.
    function
        A function, method or coroutine function.
    opened
        Opens something for a call, from its positional and its keyword arguments.

    Raises
    ------
    UsageError
        For a generator, a class, and what is no callable.
    """
    check_callable(decorator, function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"{function.__qualname__} is a generator, whose end nobody may see; open the asset in "
            "a with block around the loop that uses it"
        )
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def await_inside(*args: P.args, **kwargs: P.kwargs) -> Any:
            with opened(args, kwargs):
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", await_inside)

    @functools.wraps(function)
    def call_inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with opened(args, kwargs):
            return function(*args, **kwargs)

    return call_inside
