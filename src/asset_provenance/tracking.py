"""``track_process``: the decorator, and its twin for a block of code."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import sys
from collections.abc import Callable, Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

import wrapt

from asset_provenance.capture.binding import compile_binder
from asset_provenance.errors import UsageError
from asset_provenance.options import (
    Arguments,
    InputLike,
    Options,
    PathLike,
    check_argument_names,
    check_callable,
    is_method,
    make_options,
    several,
)
from asset_provenance.process import (
    COMPLETED,
    IDLE_PROCESS,
    ActiveProcess,
    Outcome,
    Start,
    describe,
    outcome,
)
from asset_provenance.recorder import (
    Recorder,
    context,
    enter,
    innermost,
    leave,
    open_recorders,
    recorder_of,
)
from asset_provenance.stepping import in_steps

if TYPE_CHECKING:
    from asset_provenance.repeats import Repeat, RepeatedCalls, Variation

__all__ = ["TrackedBlock", "calling_file", "track_process"]

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120

_log = logging.getLogger("asset_provenance")


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
        ``"url@version"``.
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
            arguments = _from_block(options.parameters)
        parent = innermost()
        if parent is None:
            return IDLE_PROCESS
        recorder = recorder_of(parent)
        code = options.code or _guarded(
            recorder.identifier.of_file, calling_file(), fact="code", name=options.name
        )
        start = Start(
            name=options.name,
            process_type=options.process_type,
            stage=options.stage,
            code=code,
            parameters=_safe(recorder, options, arguments) or None,
            inputs=tuple(recorder.resolve(ref) for ref in options.inputs),
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


def _decorate(options: Options, function: Any) -> Any:
    plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
    check_callable(plain)
    call = _Call(options, plain)

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

    return _Tracked(function, tracked)


class Execution:
    """One call that is a process of its own."""

    __slots__ = ("_recorder", "process")

    def __init__(self, recorder: Recorder, process: ActiveProcess) -> None:
        self._recorder = recorder
        self.process = process

    def end(self, how: Outcome, *, at: float | None = None) -> None:
        """End the process."""
        self._recorder.end(self.process, how, at=at)


class _Call:
    """Records the calls of one decorated function."""

    def __init__(self, options: Options, function: Callable[..., Any]) -> None:
        self._options = options
        self._function = function
        self._name = options.name or str(getattr(function, "__name__", type(function).__name__))
        self._is_method = is_method(function)
        self._in_steps = in_steps(function)
        self._is_dynamic = any(
            callable(given) for given in (options.inputs, options.outputs, options.parameters)
        )
        check_argument_names(options, function, self._name)

    # The binders are compiled at the first call that is recorded, not with the decoration.
    @functools.cached_property
    def _bind(self) -> Callable[..., dict[str, Any]]:
        return compile_binder(self._function)

    @functools.cached_property
    def _bind_method(self) -> Callable[..., dict[str, Any]]:
        return compile_binder(self._function, skip_first=True)

    def __call__(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        parent = innermost()
        if parent is None:
            return wrapped(*args, **kwargs)
        if self._in_steps is not None:
            return self._in_steps(
                lambda parent: self._begin(parent, instance, args, kwargs),
                lambda: wrapped(*args, **kwargs),
            )
        execution = self._begin(parent, instance, args, kwargs)
        token = enter(execution.process)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            execution.end(outcome(error))
            raise
        else:
            execution.end(COMPLETED)
            return result
        finally:
            leave(token)

    def _begin(
        self, parent: ActiveProcess, instance: Any, args: Any, kwargs: Any
    ) -> Execution | Repeat:
        """Start the process of a call, or count it with those that it is like."""
        recorder = recorder_of(parent)
        number = recorder.count_call(self)
        arguments: Arguments = self._guarded("parameters", self._arguments, instance, args, kwargs)
        if number < recorder.max_repeats:
            return Execution(recorder, recorder.begin(parent, self._start(recorder, arguments)))
        return self._repeat(recorder, parent, arguments, args, kwargs)

    def _repeat(
        self,
        recorder: Recorder,
        parent: ActiveProcess,
        arguments: Arguments,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Repeat:
        calls = cast("RepeatedCalls | None", parent._repeats.get(self))
        if calls is None:
            from asset_provenance.repeats import RepeatedCalls  # noqa: PLC0415 - for many calls

            calls = RepeatedCalls(recorder.max_repeats, context)
            calls = cast("RepeatedCalls", parent._repeats.setdefault(self, calls))
        start = self._start(recorder, arguments)
        found = calls.find(
            (start.inputs, start.outputs),
            lambda: recorder.repeat(parent, start, self._variation(recorder, arguments)),
        )
        if not self._is_dynamic and self._in_steps is None:
            names = (*list(arguments)[: len(args)], *kwargs)
            calls.expect(found, names, args, kwargs)
        return found.begin(arguments)

    def _variation(self, recorder: Recorder, arguments: Arguments) -> Variation | None:
        if self._options.parameters is not True:
            return None
        from asset_provenance.repeats import Variation  # noqa: PLC0415 - as above

        return Variation(arguments, lambda values: _safe(recorder, self._options, values))

    def _start(self, recorder: Recorder, arguments: Arguments) -> Start:
        options = self._options
        inputs = self._values("inputs", options.inputs, arguments, recorder.resolve)
        outputs = self._values("outputs", options.outputs, arguments, recorder.output_path)
        inputs += self._guarded("inputs", recorder.path_arguments, arguments) or []
        of_function = recorder.identifier.of_function
        return Start(
            name=self._name,
            process_type=options.process_type,
            stage=options.stage,
            code=options.code or self._guarded("code", of_function, self._function),
            parameters=self._parameters(recorder, arguments),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            notes=options.notes,
        )

    def _arguments(self, instance: Any, args: Any, kwargs: Any) -> dict[str, Any]:
        try:
            if instance is not None:
                return self._bind_method(*args, **kwargs)
            if self._is_method:  # a classmethod hands over its class as a plain argument
                return self._bind_method(*args[1:], **kwargs)
            return self._bind(*args, **kwargs)
        except TypeError:
            # A wrong call is about to say so better; but a decorator in between may take what
            # the function inside does not.
            is_wrapper = hasattr(self._function, "__wrapped__")
            return {"args": list(args), **kwargs} if is_wrapper else {}

    def _parameters(self, recorder: Recorder, arguments: Arguments) -> Any:
        given = self._options.parameters
        if given is False:
            return None
        if callable(given):
            made = self._made("parameters", lambda: _from_block(given(dict(arguments))), arguments)
            arguments = made or {}
        elif given is not True:
            arguments = _from_block(given)
        return self._guarded("parameters", _safe, recorder, self._options, arguments) or None

    def _values(
        self, fact: str, given: Any, arguments: Arguments, resolve: Callable[[Any], Any]
    ) -> list[Any]:
        """Give what was given, or what the user's function makes of the bound arguments."""
        if callable(given):
            made = lambda: [resolve(value) for value in several(given(dict(arguments)) or ())]  # noqa: E731
            return self._made(fact, made, arguments) or []
        return [resolve(value) for value in given]

    def _made(self, fact: str, make: Callable[[], Any], arguments: Arguments) -> Any:
        """Run a user's function; hours into a run, its mistake must not be the end of it."""
        source = f"{fact} (from the arguments {', '.join(arguments)})"
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - as for every fact, and UsageError too
            _not_recorded(source, self._name, error)
            return None

    def _guarded(self, fact: str, collect: Callable[..., Any], *args: Any) -> Any:
        return _guarded(collect, *args, fact=fact, name=self._name)


def _from_block(value: object) -> dict[str, Any]:
    from asset_provenance.capture.parameters import from_block  # noqa: PLC0415 - with the asset

    return from_block(value)


def _guarded(collect: Callable[..., Any], *args: Any, fact: str, name: str) -> Any:
    """Collect a fact; one that cannot be had is told and left out, and the run goes on."""
    try:
        return collect(*args)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever goes wrong costs this fact only
        _not_recorded(fact, name, error)
        return None


def _not_recorded(fact: str, name: str, error: Exception) -> None:
    _log.warning("the %s of process %s could not be recorded: %s", fact, name, describe(error))


def _safe(recorder: Recorder, options: Options, arguments: Arguments) -> dict[str, Any]:
    return recorder.safe_parameters(arguments, exclude=options.exclude, redact=options.redact)


def calling_file() -> str:
    """Give the file of the nearest caller outside this package."""
    frame = sys._getframe(1)
    # An ExitStack enters blocks on behalf of whoever called it.
    passed = (_PACKAGE_FOLDER, contextlib.__file__)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(passed):
        frame = frame.f_back
    return frame.f_code.co_filename
