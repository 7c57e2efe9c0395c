"""``asset-provenance recover``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_provenance.cli.terminal import say, say_json
from asset_provenance.errors import UsageError
from asset_provenance.records import to_json
from asset_provenance.suggestions import no_folder

if TYPE_CHECKING:
    from asset_provenance.deadruns import DeadRun
    from asset_provenance.recovery import Recovery

__all__ = ["recover"]

_OF_THE_RUN = ("process_name", "creation_time", "output_dir", "host", "process_id", "user")


def recover(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of the run.")],
    accept_failed: Annotated[
        bool, typer.Option("--accept-failed", help="Write the metadata of a run that did not end.")
    ] = False,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="The run that is meant, of several.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A fact that was missing or wrong, as the environment variable for it takes it; "
            "also data_root, where the inputs are now. May be repeated.",
        ),
    ] = None,
    base_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What a result that has no single raw asset is named after."
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            metavar="INPUT",
            help="An input of the run: its name, s3:// URL or path; in place of those that were "
            "recorded. May be repeated.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace metadata files that are in the way.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is found as JSON.")] = False,
) -> None:
    """Make metadata of what a failed or killed run has left in DIR.

    Shows what would be written, and what is missing for it; writes it with --accept-failed.
    Processes that had not ended are marked as interrupted. If a run was killed while it put its
    files into place, that is finished first.

    Exit status: 0 if nothing is left to recover, 1 if something is, 2 if it cannot be done.
    """
    from asset_provenance import deadruns, recovery  # noqa: PLC0415 - slow

    if not folder.is_dir():
        raise UsageError(f"{no_folder(folder)}: give the folder that the run wrote to")
    facts = recovery.read_assignments(assignments or ())
    finished = deadruns.finish_written(folder.absolute())
    found = deadruns.find_runs(folder.absolute())
    results = {
        run.id: recovery.recover(
            run,
            facts=facts,
            base_name=base_name,
            inputs=inputs or (),
            accept_failed=accept_failed,
            overwrite=overwrite,
        )
        for run in _chosen(found, run_id, only_one=accept_failed)
    }
    if as_json:
        runs = [_as_json(run, results.get(run.id)) for run in found]
        say_json({"folder": str(folder), "finished": finished, "runs": runs})
    else:
        for name in finished:
            say(f"run {name}: its metadata were put into place")
        for run in found:
            _show(run, results.get(run.id))
        if not found:
            say(f"{folder}: nothing to recover")
    is_done = all(run.id in results and results[run.id].is_written for run in found)
    raise typer.Exit(0 if is_done else 1)


def _chosen(found: Sequence[DeadRun], run_id: str | None, *, only_one: bool) -> list[DeadRun]:
    """Give the runs to recover: the one that is named, else those that can be."""
    if run_id is not None:
        named = [run for run in found if run.id == run_id]
        if not named:
            told = ", ".join(run.id for run in found) or "none"
            raise UsageError(f"there is no run {run_id} to recover; there are: {told}")
        return named
    chosen = [run for run in found if run.refusal is None]
    if only_one and len(chosen) > 1:
        told = " or ".join(f"--run {run.id}" for run in chosen)
        raise UsageError(f"several runs can be recovered; say which: {told}")
    return chosen


def _show(run: DeadRun, result: Recovery | None) -> None:
    say(f"run {run.id}{_origin(run)}", style="bold")
    for remark in filter(None, (run.ending, *run.remarks)):
        say(remark, indent=4)
    if run.refusal is not None:
        say(f"It cannot be recovered: {run.refusal}.", indent=4)
    if result is None:
        return
    if result.assembled is not None:
        said = "Wrote" if result.is_written else "It would become"
        say(f"{said} {result.assembled.name}:", indent=4)
        for file in result.assembled.files:
            source = f" (of input {file.inherited_from})" if file.inherited_from else ""
            say(f"{file.path}{source}", indent=6)
    say("Its processes:", indent=4)
    if run.block is not None:
        say(f"{run.block.status:<11} {run.block.name} (the run as a whole)", indent=6)
    for (status, name), alike in groupby(run.records, key=attrgetter("status", "name")):
        count = len(list(alike))
        times = f" ({count} times)" if count > 1 else ""
        say(f"{status:<11} {name}{times}", indent=6)
    for problem in result.problems:
        say(f"- {problem}", indent=4, style="bold yellow")
    if result.assembled is None:
        say(
            "Give facts and data_root with --set NAME=VALUE, inputs with --inputs INPUT, and a "
            "base name with --base-name.",
            indent=4,
        )
        if result.advice:
            say(result.advice, indent=4)
    elif not result.problems and not result.is_written:
        say(
            f"-> to write it: asset-provenance recover {shlex.quote(str(run.output_dir))} "
            f"--accept-failed --run {run.id}",
            indent=4,
        )


def _origin(run: DeadRun) -> str:
    if run.asset is None:
        return ""
    begun = run.asset.creation_time.isoformat()
    return f": {run.asset.process_name}, begun {begun} on {run.asset.host or 'an unknown machine'}"


def _as_json(run: DeadRun, result: Recovery | None) -> dict[str, Any]:
    asset = None if run.asset is None else to_json(run.asset)
    return {
        "id": run.id,
        "run": None if asset is None else {key: asset.get(key) for key in _OF_THE_RUN},
        "ending": run.ending,
        "remarks": run.remarks,
        "refusal": run.refusal,
        "block": None if run.block is None else to_json(run.block),
        "processes": [to_json(record) for record in run.records],
        "name": None if result is None or result.assembled is None else result.assembled.name,
        "files": [
            {"path": file.path, "inherited_from": file.inherited_from}
            for file in (
                () if result is None or result.assembled is None else result.assembled.files
            )
        ],
        "problems": () if result is None else result.problems,
        "written": result is not None and result.is_written,
    }
