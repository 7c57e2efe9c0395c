"""``asset-provenance publish``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_provenance.cli.terminal import complain, say, say_json
from asset_provenance.errors import ServiceError, StorageError

if TYPE_CHECKING:
    from asset_provenance.publishing import Published
    from asset_provenance.publishplan import Plan

__all__ = ["publish"]

_FOUND_WRONG = 1


def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the asset.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without, only what would be done is shown.")
    ] = False,
    computation: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The computation whose results DIR holds [default: this one]."
        ),
    ] = None,
    path: Annotated[
        str, typer.Option(metavar="FOLDER", help="The folder in its results [default: all].")
    ] = "",
    s3: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="s3://bucket/folder with the same files, instead of a computation."
        ),
    ] = None,
    results_bucket: Annotated[
        str | None,
        typer.Option(metavar="BUCKET", help="Where Code Ocean keeps results, if not known."),
    ] = None,
    with_patches: Annotated[
        bool, typer.Option("--with-patches", help="Publish patches of uncommitted code, too.")
    ] = False,
    despite_restrictions: Annotated[
        bool, typer.Option("--despite-restrictions", help="Publish although it has restrictions.")
    ] = False,
    register: Annotated[
        bool,
        typer.Option("--register/--no-register", help="Register it in the metadata database."),
    ] = True,
    request_file: Annotated[
        Path | None,
        typer.Option(
            "--request", metavar="FILE.md", help="Save the request for transfer, as Markdown."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1.0, help="How long the asset may take to make.")
    ] = 3600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print plan and result as JSON.")] = False,
) -> None:
    """Make the results in DIR a data asset of Code Ocean that others find.

    Checks the metadata, and shows what would be done: create the data asset, wait until it is
    ready, describe it, register it in the metadata database, and write the request for its
    transfer to the open bucket. Does it with --yes. What has been done already is not done again.

    Exit status: 0 if all is done or planned, 1 if something is wrong, 2 if it cannot be done.
    """
    from asset_provenance import publication, publishplan  # noqa: PLC0415 - slow

    if not _is_right(folder, as_json=as_json):
        raise typer.Exit(_FOUND_WRONG)
    asked = publishplan.Request(
        computation=computation,
        path=path,
        s3=s3,
        results_bucket=results_bucket,
        with_patches=with_patches,
        despite_restrictions=despite_restrictions,
        register=register,
    )
    try:
        plan = publishplan.make_plan(publication.read_publication(folder), asked)
    except ServiceError as error:
        complain(str(error))
        raise typer.Exit(_FOUND_WRONG) from None
    if not as_json:
        _show(plan)
    if yes:
        _act(plan, request_file, seconds=timeout, as_json=as_json)
    elif as_json:
        say_json({"plan": publishplan.as_json(plan), "published": None})
    else:
        say(f"-> to do it: {_command(yes=True)}")


def _is_right(folder: Path, *, as_json: bool) -> bool:
    """Check the metadata; show what is wrong, and say whether they can be published."""
    from asset_provenance.cli.check import finish_interrupted_write, show  # noqa: PLC0415 - slow
    from asset_provenance.metadata.folder_checks import check_folder  # noqa: PLC0415 - slow

    finish_interrupted_write(folder)
    findings = check_folder(folder)
    is_wrong = any(found.severity == "error" for found in findings)
    for found in findings:
        if not as_json or found.severity == "error":
            show(found, error=as_json)
    if is_wrong:
        complain(f"{folder} is not published: mend what is wrong first")
    return not is_wrong


def _show(plan: Plan) -> None:
    publication, source = plan.publication, plan.source
    say(publication.name, style="bold")
    if plan.existing is not None:
        state = "ready" if plan.existing.is_ready else plan.existing.state
        say(f"the data asset is there already: {plan.existing.id} ({state})", indent=2)
    elif source.url is not None:
        say(f"create a data asset whose files stay in {source.url}", indent=2)
    elif source.in_session:
        say(f"create a data asset from {source.path} in this session", indent=2)
    else:
        part = source.path or "all"
        say(f"create a data asset from the results of {source.computation} ({part})", indent=2)
    say(f"at {plan.code_ocean.domain}, mounted as {publication.name}", indent=4)
    say(f"tags: {', '.join(publication.tags)}", indent=4)
    say(f"description: {publication.summary or 'none'}", indent=4)
    if plan.registry is not None:
        say(f"register it in {plan.registry.host} at {plan.location(plan.existing)}", indent=2)
    else:
        say(f"not register it: {plan.not_registered}", indent=2)
    if plan.left_out:
        from asset_provenance.publishing import kept_patches  # noqa: PLC0415 - slow

        place = kept_patches(publication.folder)
        say(f"leave out {', '.join(plan.left_out)} (moved to {place})", indent=2)
    if plan.published_patches:
        say(f"publish uncommitted code: {', '.join(plan.published_patches)}", indent=2)
    say("write the request for its transfer to the open bucket", indent=2)


def _act(plan: Plan, request_file: Path | None, *, seconds: float, as_json: bool) -> None:
    from asset_provenance import publishplan  # noqa: PLC0415 - slow
    from asset_provenance.publishing import publish as do  # noqa: PLC0415 - slow
    from asset_provenance.transferrequest import transfer_request  # noqa: PLC0415 - slow

    steps: list[str] = []

    def tell(text: str) -> None:
        steps.append(text)
        if not as_json:
            say(f"- {text}")

    planned = publishplan.as_json(plan)
    try:
        with _progress() as progress:
            published = do(plan, seconds=seconds, tell=tell, progress=progress)
        request = transfer_request(plan, published)
        if request_file is not None:
            _save(request_file, request)
            tell(f"saved the request for transfer in {request_file}")
    except (ServiceError, StorageError) as error:
        complain(str(error))
        done = "; ".join(steps) or "nothing"
        complain(f"done so far: {done}. To go on, run again: {_command(yes=True)}")
        if as_json:
            say_json({"plan": planned, "published": None, "done": steps, "error": str(error)})
        raise typer.Exit(_FOUND_WRONG) from None
    if as_json:
        say_json({"plan": planned, "published": _as_json(published, request), "done": steps})
    elif request_file is None:
        say("")
        for line in request.splitlines():
            say(line)


def _as_json(published: Published, request: str) -> dict[str, Any]:
    return {
        "id": published.asset.id,
        "page": published.page,
        "location": published.location,
        "files": published.asset.files,
        "size": published.asset.size,
        "record": None if published.record is None else published.record.id,
        "request": request,
    }


def _save(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise StorageError(
            f"the request cannot be saved as {file}: {error.strerror}; give another --request"
        ) from error


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Show on a terminal that something is waited for; elsewhere say nothing."""
    from rich.console import Console  # noqa: PLC0415 - only when it acts

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _state, _seconds: None
        return
    with console.status("asking Code Ocean") as status:
        yield lambda state, seconds: status.update(
            f"the data asset is made: {state}, {seconds:.0f} s"
        )


def _command(*, yes: bool) -> str:
    """Give the command line again, as it was given."""
    given = [word for word in sys.argv[1:] if word != "--yes"]
    return shlex.join(["asset-provenance", *given, *(["--yes"] if yes else [])])
