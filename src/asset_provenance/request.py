"""What was asked of an asset, and what that means for one opening of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asset_provenance.capture import parameters as capture_parameters
from asset_provenance.capture.inputs import InputResolver
from asset_provenance.capture.notebook import is_notebook
from asset_provenance.capture.platform import absolute, default_folders, script_folder
from asset_provenance.errors import UsageError
from asset_provenance.options import several
from asset_provenance.process import describe
from asset_provenance.redaction import redact_arguments
from asset_provenance.settings import load_settings

if TYPE_CHECKING:
    from asset_provenance.capture.code import CodeIdentifier
    from asset_provenance.capture.commandcode import CommandCode
    from asset_provenance.plan import Plan
    from asset_provenance.records import CodeRecord

__all__ = ["Opening", "Request"]

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked of an asset, as it was given; see :class:`DerivedAsset`."""

    process_name: str
    inputs: Any
    reference_inputs: Any
    base_name: str | None
    output_dir: Any
    process_type: str | None
    parameters: Any
    inherit: str
    on_failure: str
    overwrite: bool
    strict: bool
    is_fragment: bool
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of an asset, as it was asked for.

    Parameters
    ----------
    request
        What the user asked for.
    function, arguments
        The decorated function and its bound arguments; None and nothing for a block.
    file
        The file that holds a block.
    command
        The code of a command, where a program is recorded that is not this one: then this one
        only starts it and waits for it.
    """

    request: Request
    function: Callable[..., Any] | None
    arguments: Arguments
    file: str
    command: CommandCode | None

    @property
    def main(self) -> str | None:
        """The main script, if it is not this program's own."""
        return None if self.command is None else self.command.place

    def plan(self) -> Plan:
        """Give what is known before anything is asked of the inputs.

        Raises
        ------
        UsageError
            If the output folder is none.
        """
        # The schema takes a third of a second to import, and only an open asset needs it.
        from asset_provenance.plan import Plan  # noqa: PLC0415

        request = self.request
        settings = load_settings(request.facts, script_folder=self._script_folder())
        default = default_folders()
        chosen = self._given("output_dir")
        if chosen is not None and not isinstance(chosen, str | os.PathLike):
            raise UsageError(f"output_dir must be a path, not {chosen!r:.80}")
        output_dir = absolute(chosen or settings.text("output_dir") or default.output_dir)
        data_root = absolute(settings.text("data_root") or default.data_root)
        return Plan(
            process_name=request.process_name,
            base_name=request.base_name,
            process_type=request.process_type,
            data_root=data_root,
            output_dir=output_dir,
            settings=settings,
            resolver=InputResolver(data_root, output_dir),
            # Inheritance is for the asset as a whole.
            inherit="none" if request.is_fragment else request.inherit,
            fragment=os.urandom(4).hex() if request.is_fragment else None,
        )

    def inputs(self) -> tuple[object, ...] | None:
        """Give the primary inputs; None for those that only the run itself can tell.

        Raises
        ------
        UsageError
            If a function for them fails.
        """
        given = self._given("inputs")
        return None if given is None else several(given)

    def reference_inputs(self) -> tuple[object, ...]:
        """Give what is read beside the primary inputs."""
        given = self.request.reference_inputs
        return () if given is None else several(given)

    def identify(self, identifier: CodeIdentifier) -> tuple[CodeRecord | None, CodeRecord | None]:
        """Give the code of the run as a whole, and that of the main script."""
        if self.command is not None:
            of_command = self.command.identify(identifier)
            return of_command, of_command
        if self.function is not None:
            return identifier.of_function(self.function), identifier.of_main()
        return identifier.of_file(self.file), identifier.of_main()

    def parameters(self) -> Mapping[str, Any]:
        """Give the parameters of the run as a whole.

        Raises
        ------
        UsageError
            If they are of no kind that has names.
        """
        given = self._given("parameters")
        if given is not None:
            return capture_parameters.from_block(given)
        if self.arguments:
            return self.arguments
        # Those of a kernel say nothing of the notebook that it runs.
        if len(sys.argv) > 1 and not is_notebook():
            return {"argv": redact_arguments(sys.argv[1:])}
        return {}

    def _script_folder(self) -> Path | None:
        if self.command is None:
            return script_folder()
        script = self.command.script
        return None if script is None else Path(script).parent

    def _given(self, name: str) -> Any:
        """Give what the user gave, or what a function of theirs makes of the bound arguments."""
        given = getattr(self.request, name)
        if not callable(given):
            return given
        if self.function is None:
            raise UsageError(
                f"{name} is a function, but a block has no arguments for it; decorate a function "
                f"with the asset, or give {name} itself"
            )
        try:
            return given(dict(self.arguments))
        except Exception as error:
            raise UsageError(
                f"{name} could not be made from the arguments {', '.join(self.arguments)}: "
                f"{describe(error)}"
            ) from error
