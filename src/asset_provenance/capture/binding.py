"""Binds the arguments of a call to their names, by a function compiled once a signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Binder", "compile_binder"]

Binder: TypeAlias = Callable[..., dict[str, Any]]
"""Takes what the function takes, and gives the arguments by name, defaults included."""


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
        return _compile(_signature(function), _name(function), skip_first)
    except Exception:  # noqa: BLE001 - `__signature__` may be anything
        return _bind_unknown


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Give the signature that calls must fit: a decorator's own, where it has one to show."""
    try:
        own = inspect.signature(function, follow_wrapped=False)
    except ValueError:  # a wrapper written in C
        return inspect.signature(function)
    kinds = {parameter.kind for parameter in own.parameters.values()}
    passes_on = kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return inspect.signature(function) if passes_on else own


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


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
