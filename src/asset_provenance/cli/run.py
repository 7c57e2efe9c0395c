"""``asset-provenance run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from asset_provenance.errors import PreflightError, StorageError, UsageError

__all__ = ["run"]


def run(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="What to run, with its arguments.")
    ],
    process_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Label in the asset's name; default that of the script."),
    ] = None,
    process_type: Annotated[
        str,
        typer.Option(
            metavar="TYPE", help="What kind of process it is, in the words of the AIND schema."
        ),
    ] = "Analysis",
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            metavar="INPUT",
            help="A primary input: its name, s3:// URL or path; default those that the command "
            "names or is seen to have open. May be repeated.",
        ),
    ] = None,
    reference_inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--reference-inputs",
            metavar="INPUT",
            help="An atlas, model or table that it uses. May be repeated.",
        ),
    ] = None,
    base_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What a result that has no single raw asset is named after."
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the command writes; default ./results, in a capsule /results.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A fact such as experimenters, as the environment variable for it takes it; also "
            "data_root. May be repeated.",
        ),
    ] = None,
    on_failure: Annotated[
        Literal["journal", "write"],
        typer.Option(
            metavar="journal|write",
            help="What a command that fails leaves: its record only, or metadata that say so.",
        ),
    ] = "journal",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace metadata files that are in the way.")
    ] = False,
) -> None:
    """Run any program, and record it as an asset.

    The program runs as it would without: it has the terminal, files and signals of this command.
    A line for a shell is given to one: run -- sh -c "a | b > results/c". What is wrong or missing
    is told before it starts. Tracked calls of Python programs inside are recorded as well.

    Exit status: the program's own; a signal that ends it ends this command as well, which shells
    tell as 128 and its number; 2 if nothing was run.
    """
    from asset_provenance import commandrun, recovery  # noqa: PLC0415 - slow
    from asset_provenance.options import (  # noqa: PLC0415 - as above
        check_process_name,
        check_process_type,
    )
    from asset_provenance.request import Request  # noqa: PLC0415 - as above
    from asset_provenance.run import Run  # noqa: PLC0415 - as above

    facts = recovery.read_assignments(assignments or ())
    wanted = commandrun.Command.of(command)
    name = process_name if process_name is not None else wanted.process_name
    check_process_name(name)
    request = Request(
        process_name=name,
        inputs=inputs,
        reference_inputs=reference_inputs or (),
        base_name=base_name,
        output_dir=output_dir,
        process_type=check_process_type(process_type),
        parameters=wanted.parameters,
        inherit="auto",
        on_failure=on_failure,
        overwrite=overwrite,
        strict=False,
        is_fragment=False,
        facts=facts,
    )
    try:
        opened = Run(request, command=wanted.code)
    except (PreflightError, StorageError) as error:
        raise UsageError(
            f"{error}\nIn this command, facts are given with --set NAME=VALUE, inputs with "
            "--inputs INPUT, a base name with --base-name, the output folder with --output-dir; "
            "--overwrite replaces files."
        ) from None
    status = wanted.carry_out(opened)
    from asset_provenance.foreground import end_like  # noqa: PLC0415 - not for every system

    # Past the parser, for which some statuses have a meaning of their own.
    end_like(status)
