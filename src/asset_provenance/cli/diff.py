"""``asset-provenance diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_provenance.cli.terminal import draw, say_json

if TYPE_CHECKING:
    from asset_provenance.differences import Difference
    from asset_provenance.differing import Differing

__all__ = ["diff"]


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="The folder of an asset.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The folder of another.")],
    repository: Annotated[
        Path | None,
        typer.Option("--repo", metavar="CLONE", help="A clone of the code's repository."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show all differences, however many there are.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all differences as JSON.")] = False,
) -> None:
    """Tell why a result has changed: what differs between A and B.

    Their provenance is compared: processes by name, the others of one function by what they were
    given. What most likely changed a result comes first: inputs, code, parameters, packages,
    environment. Times and resources are told last, and are no difference. With --repo, the commits
    between are told; nothing is fetched.

    Exit status: 0 if nothing differs, 1 if anything does, 2 if A and B cannot be compared.
    """
    from asset_provenance.differing import differ  # noqa: PLC0415 - for this command only
    from asset_provenance.report.difference import DifferenceDrawing  # noqa: PLC0415

    found = differ(before, after, repository)
    if as_json:
        say_json(_as_json(found))
    else:
        draw(
            DifferenceDrawing(
                found.comparison,
                found.ranges,
                everything=everything,
                is_shallow=found.is_shallow,
            )
        )
    raise typer.Exit(1 if found.comparison.differences else 0)


def _as_json(found: Differing) -> dict[str, Any]:
    from asset_provenance.redaction import redact_json  # noqa: PLC0415

    compared = found.comparison
    told = {
        "a": {"name": compared.before.name, "folder": str(compared.before.folder)},
        "b": {"name": compared.after.name, "folder": str(compared.after.folder)},
        "different": bool(compared.differences),
        "processes": [{"a": pair.before.name, "b": pair.after.name} for pair in compared.pairs],
        "differences": [_difference(one) for one in compared.differences],
        "measured": [_difference(one) for one in compared.measured],
        "commits": [
            {
                "a": one.before,
                "b": one.after,
                "missing": list(one.missing),
                "only_in_a": one.count_dropped,
                "only_in_b": one.count_added,
                "log": [
                    {
                        "in": letter,
                        "commit": each.commit_hash,
                        "time": each.time.isoformat(),
                        "subject": each.subject,
                    }
                    for letter, commits in (("b", one.added), ("a", one.dropped))
                    for each in commits
                ],
            }
            for one in found.ranges
        ],
        "shallow": found.is_shallow,
        "patches": [str(path) for path in compared.patches],
        "not_compared": list(compared.not_compared),
    }
    redacted: dict[str, Any] = redact_json(told)
    return redacted


def _difference(one: Difference) -> dict[str, Any]:
    """Give a difference; the value of a side that has none is left out."""
    from asset_provenance.differences import ABSENT  # noqa: PLC0415

    sides = {"a": one.before, "b": one.after}
    return {
        "topic": one.topic,
        "processes": list(one.processes),
        "path": one.path,
        **{side: value for side, value in sides.items() if value is not ABSENT},
    }
