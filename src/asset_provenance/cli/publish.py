"""``asset-provenance publish``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_provenance.cli.terminal import acting_command, complain, say, say_json
from asset_provenance.errors import ServiceError, StorageError
from asset_provenance.redaction import redact_json, redact_text

if TYPE_CHECKING:
    from asset_provenance.publishing import Published
    from asset_provenance.publishplan import Plan

__all__ = ["publish"]

_FOUND_WRONG, _MISUSE = 1, 2


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
    """Make the results in DIR a data asset of Code Ocean.

    Checks the metadata, and shows what would be done: create the data asset, wait until it is
    ready, describe it, register it in the metadata database, and write the request for its
    transfer to the open bucket. Does it with --yes. What has been done already is not done again.

    Exit status: 0 if all is done or planned, 1 if something is wrong, 2 if it cannot be done,
    130 if it was interrupted.
    """
    from asset_provenance import publication, publishplan, publishsource  # noqa: PLC0415 - slow

    if request_file is not None:
        _check_place(request_file)
    if not _is_right(folder, as_json=as_json):
        raise typer.Exit(_FOUND_WRONG)
    asked = publishsource.Request(
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
    if request_file is not None and plan.source.in_session:
        _check_outside(request_file, folder)
    if not as_json:
        _show(plan)
    if yes:
        _act(plan, request_file, seconds=timeout, as_json=as_json)
    elif as_json:
        say_json({"plan": redact_json(publishplan.as_json(plan)), "published": None})
    else:
        _say(f"-> to do it: {acting_command()}")


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
        _say(f"the data asset is there already: {plan.existing.id} ({state})", indent=2)
    elif source.url is not None:
        _say(f"create a data asset whose files stay in {source.url}", indent=2)
    elif source.in_session:
        _say(f"create a data asset from {source.path} in this session", indent=2)
    else:
        part = source.path or "all"
        _say(f"create a data asset from the results of {source.computation} ({part})", indent=2)
    _say(f"at {plan.code_ocean.domain}, mounted as {publication.name}", indent=4)
    kept = " (left as they are there)" if plan.keeps_tags else ""
    _say(f"tags: {', '.join(plan.tags)}{kept}", indent=4)
    kept = " (left as it is there)" if plan.keeps_description else ""
    _say(f"description: {plan.description or 'none'}{kept}", indent=4)
    if plan.record is not None:
        _say(f"its record is there already: {plan.record.id} at {plan.record.location}", indent=2)
    elif plan.registry is not None:
        _say(f"register it in {plan.registry.host} at {plan.location(plan.existing)}", indent=2)
    else:
        _say(f"not register it: {plan.not_registered}", indent=2)
    if plan.left_out:
        from asset_provenance.publishing import kept_patches  # noqa: PLC0415 - slow

        _say(f"leave out {', '.join(plan.left_out)} (moved to {kept_patches(plan)})", indent=2)
    if plan.published_patches:
        _say(f"publish uncommitted code: {', '.join(plan.published_patches)}", indent=2)
    _say("write the request for its transfer to the open bucket", indent=2)


def _say(text: str, *, indent: int = 0) -> None:
    """Print a line in which words of the command line may stand, and so a token among them."""
    say(redact_text(text), indent=indent)


class _Steps:
    """What has been done so far, and how it is told; whoever stops reading stops nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self.done: list[str] = []
        self.is_read = True
        self._quiet = quiet

    def tell(self, text: str) -> None:
        self.done.append(text)
        if not self._quiet:
            self.show(f"- {text}")

    def show(self, text: str) -> None:
        if not self.is_read:
            return
        try:
            _say(text)
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # the second is how rich tells of the first
            self.is_read = False

    def complain(self) -> None:
        done = "; ".join(self.done) or "nothing"
        complain(f"done so far: {done}. To go on, run again: {acting_command()}")


def _act(plan: Plan, request_file: Path | None, *, seconds: float, as_json: bool) -> None:
    from asset_provenance import publishplan  # noqa: PLC0415 - slow
    from asset_provenance.publishing import publish as do  # noqa: PLC0415 - slow
    from asset_provenance.transferrequest import transfer_request  # noqa: PLC0415 - slow

    steps = _Steps(quiet=as_json)
    planned = redact_json(publishplan.as_json(plan))
    published: Published | None = None
    request = ""
    failure: str | None = None
    try:
        with _progress() as progress:
            published = do(plan, seconds=seconds, tell=steps.tell, progress=progress)
        request = transfer_request(plan, published)
        if request_file is not None:
            _save(request_file, request)
            steps.tell(f"saved the request for transfer in {request_file}")
    except (ServiceError, StorageError) as error:
        failure = redact_text(str(error))
        complain(failure)
        steps.complain()
    except KeyboardInterrupt:
        steps.complain()
        if as_json:
            say_json(_result(planned, None, steps, "interrupted"))
        raise
    if as_json:
        told = None if published is None else _as_json(published, request)
        say_json(_result(planned, told, steps, failure))
    elif request and (request_file is None or failure is not None):
        for line in ("", *request.splitlines()):
            steps.show(line)
    if failure is None and not steps.is_read:
        complain(
            f"all was done, but nobody read it to its end; to see it again: {acting_command()}"
        )
    if failure is not None or not steps.is_read:
        raise typer.Exit(_FOUND_WRONG)


def _result(
    planned: Any, published: dict[str, Any] | None, steps: _Steps, failure: str | None
) -> dict[str, Any]:
    told = {} if failure is None else {"error": failure}
    return {"plan": planned, "published": published, "done": steps.done, **told}


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


def _check_place(file: Path) -> None:
    """End before anything is done if the request for transfer cannot be saved there."""
    reason: str | None = None
    part = _part(file)
    try:
        if file.is_dir() or part is None:
            reason = "that is a folder"
        elif not file.parent.is_dir():
            reason = f"there is no folder {file.parent}"
        else:
            part.touch()
            part.unlink()
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        complain(f"the request cannot be saved as {file}: {reason}; give another --request")
        raise typer.Exit(_MISUSE)


def _check_outside(file: Path, folder: Path) -> None:
    if file.resolve().is_relative_to(folder.resolve()):
        complain(
            f"the request would be saved in {folder}, which is captured as it is: give a --request "
            "beside it"
        )
        raise typer.Exit(_MISUSE)


def _part(file: Path) -> Path | None:
    return file.with_name(f".{file.name}.part") if file.name else None


def _save(file: Path, text: str) -> None:
    part = _part(file) or file
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
