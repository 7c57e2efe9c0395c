"""What one use of ``track_process`` asks for, checked at once."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from asset_provenance.errors import UsageError
from asset_provenance.records import CodeRecord
from asset_provenance.suggestions import did_you_mean

if TYPE_CHECKING:
    from asset_provenance.capture.given_code import GivenCode

__all__ = [
    "Arguments",
    "InputLike",
    "Options",
    "PathLike",
    "check_argument_names",
    "check_callable",
    "check_process_name",
    "check_process_type",
    "default_stage",
    "is_method",
    "make_options",
    "process_name_from",
    "several",
]

Arguments = Mapping[str, Any]

_ANALYSIS_TYPES = ("Analysis", "Other")
_STAGES = ("Processing", "Analysis")
_PROCESS_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")


class _SchemaObject(Protocol):
    """The schema's ``DataAsset`` or ``CombinedData``."""

    name: Any


InputLike = str | os.PathLike[str] | _SchemaObject
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Options:
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
    code_parameters: Mapping[str, Any]
    code_inputs: tuple[object, ...]
    notes: tuple[str, ...]


def make_options(
    name: str | None,
    *,
    process_type: object,
    stage: object,
    inputs: Any,
    outputs: Any,
    parameters: object,
    exclude: object,
    redact: object,
    code: object,
    notes: object,
) -> Options:
    """Check everything that can be checked before there is a call.

    Raises
    ------
    UsageError
        For the first thing that cannot be right.
    """
    if not (name is None or (isinstance(name, str) and name.strip())):
        raise UsageError(f"the name of a process must be a text, not {name!r}")
    checked_type = check_process_type(process_type)
    given_code = _check_code(code)
    return Options(
        name=name,
        process_type=checked_type,
        stage=_check_stage(stage, checked_type),
        inputs=several(inputs),
        outputs=_check_outputs(() if outputs is None else several(outputs)),
        parameters=_check_parameters(parameters),
        exclude=_names("exclude", exclude),
        redact=_names("redact", redact),
        code=None if given_code is None else given_code.record,
        code_parameters={} if given_code is None else given_code.parameters,
        code_inputs=() if given_code is None else given_code.inputs,
        notes=_check_notes(notes),
    )


def check_process_name(name: object) -> None:
    """Refuse a label that cannot stand in the name of an asset.

    Raises
    ------
    UsageError
        If it holds anything but letters, digits and hyphens; offers one that does not.
    """
    if isinstance(name, str) and _PROCESS_NAME.fullmatch(name):
        return
    if callable(name):
        raise UsageError('DerivedAsset needs a label to decorate with: @DerivedAsset("my-label")')
    cleaned = process_name_from(name) if isinstance(name, str) else ""
    hint = f", for instance {cleaned!r}" if cleaned else ""
    raise UsageError(f"process_name {name!r} may hold letters, digits and hyphens only{hint}")


def process_name_from(text: str) -> str:
    """Make a label of any text; empty where that has neither letters nor digits."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


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
        hint = did_you_mean(value, names, count=3) or f"; it is one of {', '.join(names)}"
        raise UsageError(f"unknown process type {value!r}{hint}")
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


def check_callable(decorator: str, function: Any) -> None:
    """Refuse what cannot be recorded.

    Raises
    ------
    UsageError
        For a class, and what is no callable.
    """
    if inspect.isclass(function) or not callable(function):
        raise UsageError(
            f"{decorator} decorates functions and methods, not {function!r:.80}; decorate the "
            "method that does the work"
        )


def _check_outputs(outputs: Any) -> Any:
    if not callable(outputs):
        for path in outputs:
            if not isinstance(path, str | os.PathLike):
                raise UsageError(f"an output must be a path, not {path!r:.80}")
            if Path(os.path.normpath(os.fsdecode(path))).parts[:1] == (os.pardir,):
                raise UsageError(f"output {path} lies outside the asset's output folder")
    return outputs


def _check_parameters(parameters: object) -> object:
    if isinstance(parameters, int | float | str | bytes | Collection) and not isinstance(
        parameters, bool | Mapping
    ):
        raise UsageError(
            "parameters must be True, False, a mapping, a function of the bound arguments or, for "
            f"a block, a Namespace, dataclass or pydantic model, not {parameters!r:.80}"
        )
    return parameters


def _check_code(code: object) -> GivenCode | None:
    if code is None:
        return None
    from asset_provenance.capture.given_code import code_from_user  # noqa: PLC0415 - rarely given

    return code_from_user(code)


def _check_notes(notes: object) -> tuple[str, ...]:
    if notes is None:
        return ()
    if not isinstance(notes, str):
        raise UsageError(f"notes must be a text, not {type(notes).__name__}")
    from asset_provenance.redaction import redact_text  # noqa: PLC0415 - rarely given

    return (redact_text(notes),)


def _names(option: str, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{option} must hold names of arguments, not {given!r:.80}")
    return tuple(names)


def check_argument_names(options: Options, function: Callable[..., Any], name: str) -> None:
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
                hint = did_you_mean(wanted, parameters)
                raise UsageError(f"{option} names {wanted!r}, no argument of {name}{hint}")


def several(given: Any) -> Any:
    """Give one value, or several, as a tuple; a function stays what it is."""
    if callable(given) and not isinstance(given, os.PathLike):
        return given
    if isinstance(given, str | os.PathLike) or not isinstance(given, Collection):
        return (given,)
    return tuple(given)


def is_method(function: Any) -> bool:
    """Say whether the first parameter is ``self`` or ``cls``: by its place in a class, and name."""
    parents = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not parents or parents.endswith("<locals>"):
        return False
    code = getattr(function, "__code__", None)
    return (
        code is not None and code.co_argcount > 0 and code.co_varnames[0] in ("self", "cls", "mcs")
    )
