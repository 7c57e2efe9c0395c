"""``asset-provenance resolve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_provenance.cli.terminal import counted, say, say_json

if TYPE_CHECKING:
    from asset_provenance.resolving import Resolution, Resolved

__all__ = ["resolve"]


def resolve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the result.")],
    repository: Annotated[
        Path, typer.Option("--repo", metavar="CLONE", help="A clone of the code's repository.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print what is found as JSON.")] = False,
) -> None:
    """Find the commit of code that ran without its repository.

    Where no commit was known, processing.json has the git id of the folder of code as its version
    (tree:...). The commits of CLONE that hold that very folder, at their top or in any folder, are
    looked for; nothing is fetched. Of several, one that was there when the process began is taken:
    one with a tag, else the newest that a remote has. Commit, tag and URL are written into
    DIR/processing.json.

    Exit status: 0 if every commit is known, 1 if one was not found, 2 if it cannot be done.
    """
    from asset_provenance import resolving  # noqa: PLC0415 - slow

    resolution = resolving.resolve(folder, repository)
    if as_json:
        say_json(_as_json(folder, resolution))
    else:
        _show(folder, resolution, repository)
    raise typer.Exit(0 if all(each.commit for each in resolution.resolved) else 1)


def _show(folder: Path, resolution: Resolution, repository: Path) -> None:
    if not resolution.resolved:
        say(f"{folder}: no code is known by the id of its folder; nothing to resolve")
        return
    for each in resolution.resolved:
        say(f"{each.process}: {_told(each)}", style="" if each.commit else "bold yellow")
    looked = f"{counted(resolution.commits, 'commit')} of {repository}"
    if all(each.commit is None for each in resolution.resolved):
        say(f"looked at {looked}; nothing was written")
        say(
            "-> it may be of another repository, of a branch that was not fetched, or never "
            "committed as it ran"
        )
    else:
        done = "written" if resolution.is_written else "as it was"
        say(f"{folder / 'processing.json'}: {done}; looked at {looked}")
        found = [each for each in resolution.resolved if each.commit is not None]
        if any(each.url is None for each in found):
            say("the clone has no remote that others can reach: the URL stays as it was")
        for commit in dict.fromkeys(each.commit for each in found if each.url):
            if commit is not None and commit.remotes == () and not commit.tags:
                say(
                    f"commit {commit.commit_hash[:12]} is on no remote branch that the clone "
                    "knows: others cannot get it until it is pushed",
                    style="bold yellow",
                )
    if resolution.gaps:
        mend = "make a full clone"
        if resolution.gaps == "shallow":
            mend = f"get all of its history with: git fetch --unshallow --tags, or {mend}"
        say(f"the clone is {resolution.gaps}: {mend}", style="bold yellow")


def _told(each: Resolved) -> str:
    if each.commit is None:
        return f"no commit holds tree {each.tree}"
    tags = f" ({', '.join(each.commit.tags)})" if each.commit.tags else ""
    place = f", in {each.commit.path}/" if each.commit.path else ""
    others = f"; {counted(each.others, 'other commit')} held the same" if each.others else ""
    later = ", after it ran" if each.is_later else ""
    return f"{each.commit.commit_hash}{tags} of {each.commit.time:%Y-%m-%d}{later}{place}{others}"


def _as_json(folder: Path, resolution: Resolution) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "commits": resolution.commits,
        "gaps": resolution.gaps or None,
        "written": resolution.is_written,
        "processes": [
            {
                "name": each.process,
                "tree": each.tree,
                "commit": each.commit and each.commit.commit_hash,
                "time": each.commit and each.commit.time.isoformat(),
                "tags": list(each.commit.tags) if each.commit else [],
                "path": each.commit and each.commit.path,
                "url": each.url,
                "others": each.others,
                "after_it_ran": each.is_later,
            }
            for each in resolution.resolved
        ],
    }
