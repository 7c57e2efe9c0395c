"""The command ``asset-provenance``: one file for each command, which parses, calls and prints.

Exit status of every command: 0 when all is well, 1 when something was found wrong, 2 when the
command could not be carried out; 130, as shells have it, when it was interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from asset_provenance.cli import (
    check,
    diff,
    enrich,
    export,
    external,
    lineage,
    merge,
    publish,
    recover,
    report,
    resolve,
    run,
    show,
)
from asset_provenance.cli.terminal import complain, say
from asset_provenance.errors import ProvenanceError

__all__ = ["main"]

_INTERRUPTED = 130

app = typer.Typer(
    name="asset-provenance",
    help="Record what an analysis did, and write and check the AIND metadata of its results.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
# What follows the command that is to be run is that command's own.
app.command("run", context_settings={"allow_interspersed_args": False})(run.run)
app.command("show")(show.show)
app.command("diff")(diff.diff)
app.command("report")(report.report)
app.command("check")(check.check)
app.command("recover")(recover.recover)
app.command("external")(external.external)
app.command("resolve")(resolve.resolve)
app.command("enrich")(enrich.enrich)
app.command("merge")(merge.merge)
app.command("publish")(publish.publish)
app.command("export")(export.export)
app.command("lineage")(lineage.lineage)


def _show_version(wanted: bool) -> None:
    if wanted:
        from asset_provenance import __version__  # noqa: PLC0415 - looks it up when asked

        say(f"asset-provenance {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take what stands before the command; with it, one command alone still has a name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command.

    Parameters
    ----------
    arguments
        Without the program's name; those of the command line when None.

    Returns
    -------
    int
        The exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What a terminal of few characters cannot show is written out, and ends no command.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(
            args=None if arguments is None else list(arguments),
            prog_name="asset-provenance",
            standalone_mode=False,
        )
    except ProvenanceError as error:
        return complain(str(error))
    except (typer.Abort, KeyboardInterrupt):
        complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # nobody reads any more: leave nothing to flush
        return 1
    except Exception as error:  # noqa: BLE001 - a command never ends in a traceback
        usage = getattr(error, "format_message", None)  # of the parser's own errors
        if usage is not None:
            command = getattr(getattr(error, "ctx", None), "command_path", "asset-provenance")
            return complain(f"{usage()}\nTry: {command} --help")
        return complain(f"this should not have happened: {type(error).__name__}: {error}")
    if status == _INTERRUPTED:  # which is all that typer tells of it
        complain("interrupted")
    return status if isinstance(status, int) else 0
