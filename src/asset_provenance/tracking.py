"""``track_process``: the decorator, and its twin for a block of code."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import pickle
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from types import FunctionType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast, overload

import wrapt

from asset_provenance.calls import Call, from_block_parameters, guarded, safe_parameters
from asset_provenance.errors import UsageError
from asset_provenance.options import (
    Arguments,
    InputLike,
    Options,
    PathLike,
    check_callable,
    make_options,
)
from asset_provenance.process import IDLE_PROCESS, ActiveProcess, Start, outcome
from asset_provenance.recorder import (
    context,
    enter,
    innermost,
    leave,
    open_recorders,
    recorder_of,
)

__all__ = ["TrackedBlock", "arrived", "calling_file", "is_tracked", "track_process"]

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120


@overload
def track_process(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def track_process(
    name: str | None = None,
    /,
    *,
    process_type: str = "Analysis",
    stage: str | None = None,
    inputs: InputLike | Collection[InputLike] | Callable[[Arguments], object] = (),
    outputs: PathLike | Collection[PathLike] | Callable[[Arguments], object] | None = None,
    parameters: object = True,
    exclude: str | Collection[str] = (),
    redact: str | Collection[str] = (),
    code: object = None,
    notes: str | None = None,
) -> TrackedBlock: ...
def track_process(
    name: Any = None,
    /,
    *,
    process_type: str = "Analysis",
    stage: str | None = None,
    inputs: Any = (),
    outputs: Any = None,
    parameters: Any = True,
    exclude: str | Collection[str] = (),
    redact: str | Collection[str] = (),
    code: object = None,
    notes: str | None = None,
) -> Any:
    """Record each call of a function, or a block of code, as a process of the open asset.

    Works on functions, methods, class and static methods (in either order), coroutine functions,
    generators and async generators. Outside a :class:`DerivedAsset` the function runs untouched.

    Parameters
    ----------
    name
        Name of the process; default the function's ``__name__``. A block must have one.
    process_type
        A ``ProcessName`` of aind-data-schema-models, or its value.
    stage
        ``"Processing"`` or ``"Analysis"``; default ``"Analysis"`` for the process types Analysis
        and Other, else ``"Processing"``.
    inputs
        Data assets used: names, ``s3://`` URLs, paths, the schema's ``DataAsset`` or
        ``CombinedData``; or a function that gives them from the bound arguments (a mapping from
        the parameters' names to their values).
    outputs
        Paths inside the asset that the process writes, relative to the output folder or absolute;
        or a function that gives them from the bound arguments.
    parameters
        ``True`` records every argument of the call, defaults included; a mapping, or a function
        of the bound arguments, replaces them; ``False`` records none. For a block: a mapping,
        ``argparse.Namespace``, dataclass or pydantic model.
    exclude
        Names of arguments to leave out.
    redact
        Names of arguments to record as ``"[redacted]"``.
    code
        Which code this is, when it is not the one that runs here: the schema's ``Code``, or
        ``"url@version"``. The parameters and input data that a ``Code`` holds are recorded beside
        those of the call, whose own value of a parameter wins.
    notes
        Notes for the reader of the metadata.

    Returns
    -------
    callable or TrackedBlock
        The decorated function; or, called with options, an object that decorates a function and
        is a context manager for a block: ``with track_process("align") as process:``.

    Raises
    ------
    UsageError
        At once, for an unknown process type or stage, an output outside the asset, a name in
        ``exclude`` or ``redact`` that is no argument, or a kind of callable that cannot be
        recorded.
    """
    is_function = callable(name) or isinstance(name, staticmethod | classmethod)
    options = make_options(
        None if is_function else name,
        process_type=process_type,
        stage=stage,
        inputs=inputs,
        outputs=outputs,
        parameters=parameters,
        exclude=exclude,
        redact=redact,
        code=code,
        notes=notes,
    )
    return _decorate(options, name) if is_function else TrackedBlock(options)


class TrackedBlock:
    """What ``track_process(...)`` gives: a decorator, and a context manager for a block."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._entered: dict[ActiveProcess, Any] = {}

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function."""
        return cast("Callable[P, R]", _decorate(self._options, function))

    def __enter__(self) -> ActiveProcess:
        """Start the block's process."""
        options = self._options
        if options.name is None:
            raise UsageError('a block needs a name: with track_process("align"):')
        arguments: Arguments = {}
        if callable(options.inputs) or callable(options.outputs) or callable(options.parameters):
            raise UsageError(
                f"a block has no arguments that functions could use: give the inputs, outputs and "
                f"parameters of {options.name!r} themselves"
            )
        if options.parameters is not True and options.parameters is not False:
            arguments = from_block_parameters(options.parameters)
        parent = innermost()
        if parent is None:
            return IDLE_PROCESS
        recorder = recorder_of(parent)
        code = options.code or guarded(
            recorder.identifier.of_file, calling_file(), fact="code", name=options.name
        )
        start = Start(
            name=options.name,
            process_type=options.process_type,
            stage=options.stage,
            code=code,
            parameters=safe_parameters(recorder, options, arguments) or None,
            inputs=tuple(recorder.resolve(ref) for ref in (*options.inputs, *options.code_inputs)),
            outputs=tuple(recorder.output_path(path) for path in options.outputs),
            notes=options.notes,
        )
        process = recorder.begin(parent, start)
        self._entered[process] = enter(process)
        return process

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the block's process; an exception goes on unchanged."""
        # The same object may be entered in several threads: what is innermost here is ours.
        process = context.get()
        token = self._entered.pop(process, None) if process is not None else None
        if process is not None and token is not None:
            recorder_of(process).end(process, outcome(error))
            leave(token)


class _BoundTracked(wrapt.BoundFunctionWrapper[..., Any]):
    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        owner = self._self_instance
        if owner is None:
            owner = self._self_owner
        return getattr, (owner, self.__name__)

    def __copy__(self) -> _BoundTracked:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # As for a plain bound method: a copy of the object it belongs to brings its own.
        return getattr(copy.deepcopy(self._self_instance, memo), self.__name__)


class _Tracked(wrapt.FunctionWrapper[..., Any]):
    """A decorated function; pickles and copies by its qualified name, like a plain function."""

    __bound_function_wrapper__ = _BoundTracked

    def __reduce_ex__(self, protocol: Any) -> str:
        return self.__qualname__

    def __copy__(self) -> _Tracked:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _Tracked:
        return self

    def _by_value(self, dumps: Callable[[Any], bytes]) -> Any:
        """Give what is sent by a pickler that sends functions themselves, as of a script.

        A plain function: it may be sent on by a program where nothing is recorded, as a Dask
        scheduler is, and does its work where this package is not installed.
        """
        call: Call = cast("Any", self)._self_call
        options, parent = call._options, innermost()
        if options.code is None and parent is not None:
            # Where it arrives, nobody can tell which file it is from.
            of_function = recorder_of(parent).identifier.of_function
            options = replace(options, code=of_function(call._function))
        return _standing_for(self.__wrapped__, dumps(options))


_SENT = "_asset_provenance_sent"
_sent_calls: dict[object, Call] = {}
_arrived: dict[int, tuple[Any, Any]] = {}
"""By the number of a function that came by value: that function, and it decorated."""
_MOST_SENT = 1000


def _standing_for(function: Any, options: bytes) -> Any:
    # Sent as code: it may use nothing of this module but what it imports itself.
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            from asset_provenance.tracking import arrived  # noqa: PLC0415 - may be missing there

            wrapped, given = arrived(stands, function, options, args)
        except Exception:  # noqa: BLE001 - whatever is wrong there: the work is to be done
            wrapped, given = function, args
        return wrapped(*given, **kwargs)

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        return await call(*args, **kwargs)

    stands: Any = call_async if inspect.iscoroutinefunction(function) else call
    functools.update_wrapper(stands, function)
    vars(stands)[_SENT] = True
    return stands


def arrived(stands: Any, function: Any, options: bytes, args: Any) -> tuple[Any, Any]:
    """Decorate a function that came by value; each copy counts as the same function.

    Parameters
    ----------
    stands, function
        What came in place of the decorated function, and what was decorated.
    options
        Pickled.
    args
        Of the call.

    Returns
    -------
    tuple
        What is to be called, and with which arguments.
    """
    known, made = _arrived.get(id(function), (None, None))
    if known is not function:
        key = function.__module__, function.__qualname__, function.__code__
        made = _decorate(pickle.loads(options), function, _sent_calls.get(key))  # noqa: S301 - as the function itself
        if len(_arrived) >= _MOST_SENT:
            _sent_calls.clear()
            _arrived.clear()
        _sent_calls[key] = made._self_call
        _arrived[id(function)] = function, made
    if args and function.__name__ != function.__qualname__:
        name, kinds = function.__name__, type(args[0]).__mro__
        if any(vars(kind).get(name) is stands for kind in kinds):  # a method
            return made.__get__(args[0], type(args[0])), args[1:]
    return made, args


def is_tracked(function: Any) -> bool:
    """Say whether a function is decorated, here or where it came from."""
    while isinstance(function, functools.partial):
        function = function.func
    # The type: a proxy would answer for what it wraps.
    kind = type(function)
    return kind is _Tracked or (kind is FunctionType and _SENT in vars(function))


def _decorate(options: Options, function: Any, known: Call | None = None) -> Any:
    plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
    check_callable("track_process", plain)
    call = known or Call(options, plain)

    recorders, innermost_here = open_recorders, context.get

    # Every call of every tracked function comes this way, also where nothing is recorded.
    def tracked(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if not recorders:
            return wrapped(*args, **kwargs)
        parent = innermost_here()
        if parent is not None and not parent._ended:
            calls = parent._repeats.get(call)
            if calls is not None:
                return calls.run(call, wrapped, instance, args, kwargs)
        return call(wrapped, instance, args, kwargs)

    made: Any = _Tracked(function, tracked)
    made._self_call = call  # not declared: a class's annotations would be those of the function
    return made


def calling_file() -> str:
    """Give the file of the nearest caller outside this package."""
    frame = sys._getframe(1)
    # An ExitStack enters blocks on behalf of whoever called it.
    passed = (_PACKAGE_FOLDER, contextlib.__file__)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(passed):
        frame = frame.f_back
    return frame.f_code.co_filename
