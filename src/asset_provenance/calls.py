"""Records the calls of one decorated function: what is known at the start, and how each ends."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from asset_provenance.capture.binding import compile_binder
from asset_provenance.errors import UsageError
from asset_provenance.flows import ATOMIC
from asset_provenance.options import Arguments, Options, check_argument_names, is_method, several
from asset_provenance.process import COMPLETED, ActiveProcess, Outcome, Start, describe, outcome
from asset_provenance.recorder import Recorder, context, enter, innermost, leave, recorder_of
from asset_provenance.stepping import in_steps

if TYPE_CHECKING:
    from asset_provenance.repeats import Repeat, RepeatedCalls
    from asset_provenance.variation import Variation

__all__ = ["Call", "from_block_parameters", "guarded", "safe_parameters"]

_log = logging.getLogger("asset_provenance")


class Execution:
    """One call that is a process of its own."""

    __slots__ = ("_name", "_recorder", "process")

    def __init__(self, recorder: Recorder, process: ActiveProcess) -> None:
        self._recorder = recorder
        self._name = process._record.name
        self.process = process

    def gave(self, value: Any) -> None:
        """Take note of what the call returns or yields."""
        if type(value) not in ATOMIC:
            returned = self._recorder.flows.returned
            guarded(returned, value, self.process._record.id, fact="results", name=self._name)

    def end(self, how: Outcome, *, at: float | None = None) -> None:
        """End the process."""
        self._recorder.end(self.process, how, at=at)


class Call:
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
        """Run a call, and record it if an asset is open here."""
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
            execution.gave(result)
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
            return Execution(
                recorder, recorder.begin(parent, self._start(recorder, instance, arguments))
            )
        return self._repeat(recorder, parent, instance, arguments, args, kwargs)

    def _repeat(
        self,
        recorder: Recorder,
        parent: ActiveProcess,
        instance: Any,
        arguments: Arguments,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Repeat:
        calls = cast("RepeatedCalls | None", parent._repeats.get(self))
        if calls is None:
            from asset_provenance.repeats import RepeatedCalls  # noqa: PLC0415 - for many calls

            calls = RepeatedCalls(recorder.max_repeats, context)
            calls = cast("RepeatedCalls", parent._repeats.setdefault(self, calls))
        start = self._start(recorder, instance, arguments)
        found = calls.find(
            (start.inputs, start.outputs),
            lambda: recorder.repeat(parent, start, self._variation(recorder, arguments)),
        )
        found.follow(start.follows)
        if not self._is_dynamic and self._in_steps is None:
            names = (*list(arguments)[: len(args)], *kwargs)
            calls.expect(found, names, args, kwargs)
        return found.begin(arguments)

    def _variation(self, recorder: Recorder, arguments: Arguments) -> Variation | None:
        if self._options.parameters is not True:
            return None
        from asset_provenance.variation import Variation  # noqa: PLC0415 - as above

        return Variation(arguments, lambda values: safe_parameters(recorder, self._options, values))

    def _start(self, recorder: Recorder, instance: Any, arguments: Arguments) -> Start:
        options = self._options
        given = (instance, *arguments.values())
        inputs = self._values("inputs", options.inputs, arguments, recorder.resolve)
        outputs = self._values("outputs", options.outputs, arguments, recorder.output_path)
        inputs += [recorder.resolve(ref) for ref in options.code_inputs]
        paths = self._guarded("inputs", recorder.path_arguments, arguments) or []
        of_function = recorder.identifier.of_function
        return Start(
            name=self._name,
            process_type=options.process_type,
            stage=options.stage,
            code=options.code or self._guarded("code", of_function, self._function),
            parameters=self._parameters(recorder, arguments),
            inputs=(*inputs, *paths),
            outputs=tuple(outputs),
            notes=options.notes,
            observed=tuple(item.ref.identity for item in paths if item.ref is not None),
            follows=self._guarded("results", recorder.flows.find, given) or (),
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
        if given is False and not self._options.code_parameters:
            return None
        if callable(given):
            made = self._made(
                "parameters", lambda: from_block_parameters(given(dict(arguments))), arguments
            )
            arguments = made or {}
        elif given is not True:
            arguments = {} if given is False else from_block_parameters(given)
        return (
            self._guarded("parameters", safe_parameters, recorder, self._options, arguments) or None
        )

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
        return guarded(collect, *args, fact=fact, name=self._name)


def from_block_parameters(value: object) -> dict[str, Any]:
    """Give the fields of what ``parameters=`` holds, by name."""
    from asset_provenance.capture.parameters import from_block  # noqa: PLC0415 - with the asset

    return from_block(value)


def guarded(collect: Callable[..., Any], *args: Any, fact: str, name: str) -> Any:
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


def safe_parameters(recorder: Recorder, options: Options, arguments: Arguments) -> dict[str, Any]:
    """Make arguments JSON-safe, without those to be left out, and free of secrets."""
    if options.code_parameters:
        # What was seen wins over what a Code says that may have been written for another run.
        arguments = {**options.code_parameters, **arguments}
    return recorder.safe_parameters(arguments, exclude=options.exclude, redact=options.redact)
