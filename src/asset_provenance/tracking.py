"""``track_process``: the decorator, and its twin for a block of code."""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

import wrapt

from asset_provenance.capture import parameters as capture_parameters
from asset_provenance.errors import UsageError
from asset_provenance.recorder import (
    IDLE_PROCESS,
    ActiveProcess,
    Recorder,
    Start,
    innermost,
    open_recorders,
    recorder_of,
)
from asset_provenance.redaction import redact_text

if TYPE_CHECKING:
    from asset_provenance.records import CodeRecord

__all__ = [
    "InputLike",
    "TrackedBlock",
    "calling_file",
    "check_callable",
    "check_process_type",
    "default_stage",
    "several",
    "track_process",
]

P = ParamSpec("P")
R = TypeVar("R")
Arguments = Mapping[str, Any]

_PACKAGE_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120
_ANALYSIS_TYPES = ("Analysis", "Other")
_STAGES = ("Processing", "Analysis")
_log = logging.getLogger("asset_provenance")


class _SchemaObject(Protocol):
    """The schema's ``DataAsset`` or ``CombinedData``."""

    name: Any


InputLike = str | os.PathLike[str] | _SchemaObject
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class _Options:
    """What one use of ``track_process`` asks for."""

    name: str | None
    process_type: str
    stage: str
    inputs: tuple[object, ...] | Callable[[Arguments], object]
    outputs: tuple[Any, ...] | Callable[[Arguments], object]
    parameters: object
    exclude: tuple[str, ...]
    redact: tuple[str, ...]
    code: CodeRecord | None
    notes: tuple[str, ...]


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

    Outside a :class:`DerivedAsset` the function runs untouched.

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
    if not is_function and not (name is None or (isinstance(name, str) and name.strip())):
        raise UsageError(f"the name of a process must be a text, not {name!r}")
    process_type = check_process_type(process_type)
    options = _Options(
        name=None if is_function else name,
        process_type=process_type,
        stage=_check_stage(stage, process_type),
        inputs=several(inputs),
        outputs=_check_outputs(() if outputs is None else several(outputs)),
        parameters=parameters,
        exclude=_names("exclude", exclude),
        redact=_names("redact", redact),
        code=_check_code(code),
        notes=_check_notes(notes),
    )
    return _decorate(options, name) if is_function else TrackedBlock(options)


class TrackedBlock:
    """What ``track_process(...)`` gives: a decorator, and a context manager for a block."""

    def __init__(self, options: _Options) -> None:
        self._options = options
        self._entered: list[tuple[Recorder, ActiveProcess] | None] = []

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
            arguments = capture_parameters.from_block(options.parameters)
        parent = innermost()
        if parent is None:
            self._entered.append(None)
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
        self._entered.append((recorder, process))
        return process

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the block's process; an exception goes on unchanged."""
        entered = self._entered.pop()
        if entered is not None:
            recorder, process = entered
            recorder.end(process, error)


class _BoundTracked(wrapt.BoundFunctionWrapper[..., Any]):
    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        owner = self._self_instance
        if owner is None:
            owner = self._self_owner
        return getattr, (owner, self.__name__)


class _Tracked(wrapt.FunctionWrapper[..., Any]):
    """A decorated function; pickles and copies by its qualified name, like a plain function."""

    __bound_function_wrapper__ = _BoundTracked

    def __reduce_ex__(self, protocol: Any) -> str:
        return self.__qualname__


def _decorate(options: _Options, function: Any) -> Any:
    plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
    check_callable(plain)
    call = _Call(options, plain)

    def tracked(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if not open_recorders:
            return wrapped(*args, **kwargs)
        return call(wrapped, instance, args, kwargs)

    return _Tracked(function, tracked)


class _Call:
    """Records the calls of one decorated function."""

    def __init__(self, options: _Options, function: Callable[..., Any]) -> None:
        self._options = options
        self._function = function
        self._name = options.name or str(getattr(function, "__name__", type(function).__name__))
        self._is_method = _is_method(function)
        _check_names(options, function, self._name)

    @functools.cached_property
    def _bind(self) -> Callable[..., dict[str, Any]]:
        return capture_parameters.compile_binder(self._function)

    @functools.cached_property
    def _bind_method(self) -> Callable[..., dict[str, Any]]:
        return capture_parameters.compile_binder(self._function, skip_first=True)

    def __call__(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        parent = innermost()
        if parent is None:
            return wrapped(*args, **kwargs)
        recorder = recorder_of(parent)
        process = recorder.begin(parent, self._start(recorder, instance, args, kwargs))
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            recorder.end(process, error)
            raise
        recorder.end(process)
        return result

    def _start(self, recorder: Recorder, instance: Any, args: Any, kwargs: Any) -> Start:
        options = self._options
        arguments = _guarded(
            self._arguments, instance, args, kwargs, fact="parameters", name=self._name
        )
        inputs = [
            recorder.resolve(ref) for ref in self._values("inputs", options.inputs, arguments)
        ]
        inputs += _guarded(recorder.path_arguments, arguments, fact="inputs", name=self._name) or []
        return Start(
            name=self._name,
            process_type=options.process_type,
            stage=options.stage,
            code=options.code
            or _guarded(
                recorder.identifier.of_function, self._function, fact="code", name=self._name
            ),
            parameters=self._parameters(recorder, arguments or {}),
            inputs=tuple(inputs),
            outputs=tuple(
                recorder.output_path(path)
                for path in self._values("outputs", options.outputs, arguments)
            ),
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
            return {}  # the call itself is about to say so better

    def _parameters(self, recorder: Recorder, arguments: Arguments) -> Any:
        options = self._options
        given = options.parameters
        if given is False:
            return None
        if given is not True:
            values = self._values("parameters", given, arguments)
            arguments = (
                _guarded(capture_parameters.from_block, values, fact="parameters", name=self._name)
                or {}
            )
        return (
            _guarded(_safe, recorder, options, arguments, fact="parameters", name=self._name)
            or None
        )

    def _values(self, fact: str, given: Any, arguments: Arguments | None) -> Any:
        """Give what was given, or what the user's function makes of the bound arguments."""
        if not callable(given):
            return given
        found = _guarded(given, arguments or {}, fact=fact, name=self._name)
        if fact == "parameters":
            return {} if found is None else found
        return () if found is None else several(found)


def _guarded(collect: Callable[..., Any], *args: Any, fact: str, name: str) -> Any:
    """Collect a fact; one that cannot be had is told and left out, and the run goes on."""
    try:
        return collect(*args)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever goes wrong costs this fact only
        _log.warning(
            "the %s of process %s could not be recorded: %s", fact, name, type(error).__name__
        )
        return None


def _safe(recorder: Recorder, options: _Options, arguments: Arguments) -> dict[str, Any]:
    return recorder.safe_parameters(arguments, exclude=options.exclude, redact=options.redact)


def calling_file() -> str:
    """Give the file of the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE_FOLDER):
        frame = frame.f_back
    return frame.f_code.co_filename


def check_process_type(value: object) -> str:
    """Give the value of a process type.

    Raises
    ------
    UsageError
        If the schema has none of that name; offers the nearest ones.
    """
    from aind_data_schema_models.process_names import ProcessName  # noqa: PLC0415 - when first used

    if isinstance(value, ProcessName):
        return str(value.value)
    names = [member.value for member in ProcessName]
    if isinstance(value, str):
        if value in names:
            return value
        folded = {name.casefold(): name for name in names}
        near = difflib.get_close_matches(value.casefold(), folded, n=3, cutoff=0.5)
        hint = " or ".join(repr(folded[name]) for name in near) if near else ", ".join(names)
        raise UsageError(f"unknown process type {value!r}; did you mean {hint}?")
    raise UsageError(f"a process type must be a ProcessName or its value, not {value!r}")


def default_stage(process_type: str) -> str:
    """Give the stage that a process of this type has unless another is given."""
    return "Analysis" if process_type in _ANALYSIS_TYPES else "Processing"


def _check_stage(stage: object, process_type: str) -> str:
    if stage is None:
        return default_stage(process_type)
    value = getattr(stage, "value", stage)
    if value not in _STAGES:
        raise UsageError(f"unknown stage {stage!r}; it is one of {' and '.join(_STAGES)}")
    return str(value)


def check_callable(function: Any) -> None:
    """Refuse what cannot be recorded.

    Raises
    ------
    UsageError
        For a class, a coroutine function or a generator function, and what is no callable.
    """
    later = {
        "a coroutine function": inspect.iscoroutinefunction,
        "a generator function": inspect.isgeneratorfunction,
        "an async generator function": inspect.isasyncgenfunction,
    }
    for kind, test in later.items():
        if test(function):
            raise UsageError(
                f"{function.__qualname__} is {kind}, which this version cannot time truly; track "
                'the code around it: with track_process("name"):'
            )
    if inspect.isclass(function) or not callable(function):
        raise UsageError(
            f"track_process records functions, methods and blocks, not {function!r:.80}; "
            "decorate the method that does the work"
        )


def _check_outputs(outputs: Any) -> Any:
    if not callable(outputs):
        for path in outputs:
            if not isinstance(path, str | os.PathLike):
                raise UsageError(f"an output must be a path, not {path!r:.80}")
            if Path(os.path.normpath(os.fsdecode(path))).parts[:1] == (os.pardir,):
                raise UsageError(f"output {path} lies outside the asset's output folder")
    return outputs


def _check_code(code: object) -> CodeRecord | None:
    if code is None:
        return None
    from asset_provenance.capture.code import code_from_user  # noqa: PLC0415 - rarely given

    return code_from_user(code)


def _check_notes(notes: object) -> tuple[str, ...]:
    if notes is None:
        return ()
    if not isinstance(notes, str):
        raise UsageError(f"notes must be a text, not {type(notes).__name__}")
    return (redact_text(notes),)


def _names(option: str, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{option} must hold names of arguments, not {given!r:.80}")
    return tuple(names)


def _check_names(options: _Options, function: Callable[..., Any], name: str) -> None:
    """Refuse a misspelled ``exclude`` or ``redact``: it would let a value through unseen."""
    if options.parameters is not True:
        return
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for option, names in (("exclude", options.exclude), ("redact", options.redact)):
        for wanted in names:
            if wanted not in parameters:
                near = difflib.get_close_matches(wanted, parameters, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UsageError(f"{option} names {wanted!r}, no argument of {name}{hint}")


def several(given: Any) -> Any:
    """Give one value, or several, as a tuple; a function stays what it is."""
    if callable(given) and not isinstance(given, os.PathLike):
        return given
    if isinstance(given, str | os.PathLike) or not isinstance(given, Collection):
        return (given,)
    return tuple(given)


def _is_method(function: Any) -> bool:
    """Say whether the first parameter is ``self`` or ``cls``: by its place in a class, and name."""
    parents = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not parents or parents.endswith("<locals>"):
        return False
    code = getattr(function, "__code__", None)
    return (
        code is not None and code.co_argcount > 0 and code.co_varnames[0] in ("self", "cls", "mcs")
    )
