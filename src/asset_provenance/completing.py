"""What Code Ocean says of a run, filled in where a processing leaves it open."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from asset_provenance.amending import drop_note, found_by
from asset_provenance.capture.capsule import Capsule, Place, ran_in
from asset_provenance.capture.code import ONE_MACHINE
from asset_provenance.capture.container import image_in_full
from asset_provenance.capture.given_code import COMMIT
from asset_provenance.redaction import clean_url, contains_secret

if TYPE_CHECKING:
    from asset_provenance.amending import Amendment
    from asset_provenance.services.remote import RemoteCapsule, RemoteProvenance

__all__ = ["Change", "Completion", "Contradiction", "Facts", "complete", "read_facts"]

_CODE = "code"
"""The folder of code in a capsule, and in its repository."""
_MACHINE = re.compile(r"/+(?:root/)?(?:capsule/)?")
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:/@-]{0,199}")
_SCRIPT = re.compile(r"[^\x00-\x1f\x7f]{1,300}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What Code Ocean says of a run, as far as it can be used; None where it says nothing.

    Parameters
    ----------
    commit
        Of the capsule's repository.
    script
        That the run began with, from the top of that repository.
    image
        The Docker image, as it is told.
    container
        The same in the form of the schema, where the image is named in full.
    capsule, computation
        Their ids.
    page
        Of the capsule.
    pages, repositories
        The URLs that the capsule's code can be known by.
    is_capsule
        Whether what ran is known to be a capsule: what a pipeline ran is code of other capsules.
    unusable
        What was told in a form that it cannot have, one sentence each.
    """

    commit: str | None = None
    script: str | None = None
    image: str | None = None
    container: Mapping[str, str] | None = None
    capsule: str | None = None
    computation: str | None = None
    page: str | None = None
    pages: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()
    is_capsule: bool = False
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A field that is completed: of a process, or of the processing where that is None."""

    process: str | None
    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A field that has a value already which is not Code Ocean's."""

    process: str | None
    field: str
    recorded: Any
    told: Any


@dataclass(slots=True)
class Completion:
    """What became of a processing.

    Parameters
    ----------
    changes, contradictions
        What was completed, and what was left as it is since it says something else.
    elsewhere
        The processes without a commit whose code is not that of the capsule.
    alike
        The processes whose commit was found by the id of their folder of code, and is not the one
        that Code Ocean tells: several commits hold the same code.
    """

    changes: list[Change] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)


def read_facts(
    told: RemoteProvenance,
    *,
    domain: str,
    capsule_id: str | None,
    capsule: RemoteCapsule | None,
    is_capsule: bool,
) -> Facts:
    """Take what can be used of a provenance.

    Parameters
    ----------
    told
        By Code Ocean.
    domain
        Where it is.
    capsule_id, capsule
        What ran; None where that is not known, or cannot be seen.
    is_capsule
        Whether it is known to be one.
    """
    unusable: list[str] = []

    def use(what: str, value: str | None, form: re.Pattern[str]) -> str | None:
        # It may be anything, a secret among others, and is not repeated.
        if value is None or (form.fullmatch(value) and not contains_secret(value)):
            return value
        unusable.append(f"{what} that Code Ocean tells is not used: it has not the form of one")
        return None

    commit = use("the commit", told.commit, COMMIT)
    script = use("the run script", told.run_script, _SCRIPT)
    image = use("the Docker image", told.docker_image, _ID)
    computation = use("the computation", told.computation, _ID)
    capsule_id = use("the capsule", capsule_id, _ID)
    if script is not None:
        script = _from_the_top(script)
        if script is None:
            unusable.append("the run script that Code Ocean tells is outside of the capsule")
    names = [one for one in (capsule_id, capsule and capsule.slug) if one]
    pages = {f"{domain}/capsule/{name}{end}" for name in names for end in ("", "/tree")}
    repositories = set()
    if capsule is not None and capsule.slug:
        repositories.add(f"{domain}/capsule-{capsule.slug}")
    if capsule is not None and capsule.repository:
        repositories.add(clean_url(capsule.repository))
    container = image_in_full(image) if image else None
    return Facts(
        commit=commit and commit.lower(),
        script=script,
        image=image,
        container=container.to_schema() if container else None,
        capsule=capsule_id,
        computation=computation,
        page=f"{domain}/capsule/{capsule_id}" if capsule_id and is_capsule else None,
        pages=frozenset(pages),
        repositories=frozenset(repositories),
        is_capsule=is_capsule,
        unusable=tuple(unusable),
    )


def complete(
    amendment: Amendment, facts: Facts, inherited: Collection[str], asset_id: str
) -> Completion:
    """Fill in what the processing leaves open.

    Parameters
    ----------
    amendment
        Holds the processing, which is changed and not written.
    facts
        Of the run.
    inherited
        The names of the processes that came with the inputs; those stay as they are.
    asset_id
        The data asset whose provenance the facts are.

    Returns
    -------
    Completion
        What was changed, and what was not.
    """
    done = Completion()
    notes = str(amendment.processing.get("notes") or "")
    _compare_runs(ran_in(notes), facts, done)
    if done.contradictions:  # it is another run's: nothing of it holds here
        return done
    commits: dict[str, str] = {}
    for process in amendment.processes():
        code, name = process.get("code"), str(process.get("name"))
        if not isinstance(code, dict) or name in inherited:
            continue
        if not _is_of_capsule(code, facts):
            if not code.get("commit_hash"):
                done.elsewhere.append(name)
            continue
        recorded = str(code.get("commit_hash") or "")
        if found_by(process) and facts.commit and not _agree(recorded, facts.commit):
            done.alike.append(name)
        _complete_code(name, code, facts, done)
        version = str(code.get("version"))
        if not recorded and code.get("commit_hash") and version.startswith("tree:"):
            commits[version.removeprefix("tree:")] = str(code["commit_hash"])
        is_reached = not str(code.get("url")).startswith("file://")
        if is_reached and drop_note(process, ONE_MACHINE):
            done.changes.append(Change(name, "notes", ONE_MACHINE, None))
    amendment.tell_commits(commits)
    _complete_notes(amendment, notes, facts, done, asset_id)
    return done


def _compare_runs(own: Capsule | None, facts: Facts, done: Completion) -> None:
    """See whether the notes tell of the same run."""
    if own is None:
        return
    for what, recorded, told in (
        ("computation", own.computation_id, facts.computation),
        # In a pipeline it is that of a stage.
        ("capsule", own.capsule_id if own.place != Place.PIPELINE else None, facts.capsule),
    ):
        if recorded and told and recorded != told:
            done.contradictions.append(Contradiction(None, what, recorded, told))


def _is_of_capsule(code: Mapping[str, Any], facts: Facts) -> bool:
    if code.get("name"):  # an installed package
        return False
    url, commit, version = str(code.get("url")), code.get("commit_hash"), code.get("version")
    plain = clean_url(url).rstrip("/")
    if plain in facts.pages:
        return True
    if plain in facts.repositories:
        # A version is of a state of its own, which need not be the one that the capsule had.
        return bool(commit) or not version or str(version).startswith("tree:")
    is_folder = url.startswith("file://") and (
        PurePosixPath(unquote(urlsplit(url).path)).name == _CODE
    )
    is_open = not commit or bool(facts.commit and _agree(str(commit), facts.commit))
    return facts.is_capsule and is_folder and is_open


def _complete_code(name: str, code: dict[str, Any], facts: Facts, done: Completion) -> None:
    def fill(key: str, value: Any) -> None:
        done.changes.append(Change(name, key, code.get(key), value))
        code[key] = value

    recorded = code.get("commit_hash")
    is_other = bool(recorded and facts.commit and not _agree(str(recorded), facts.commit))
    if is_other and name not in done.alike:
        done.contradictions.append(Contradiction(name, "commit_hash", recorded, facts.commit))
        return  # what else is told is of that commit
    is_in_folder = str(code.get("url")).startswith("file://")
    moves = is_in_folder and facts.page is not None
    is_known_by_folder = not is_in_folder and str(code.get("version")).startswith("tree:")
    script = code.get("run_script")
    if facts.commit and not recorded:
        fill("commit_hash", facts.commit)
    if moves:
        fill("url", facts.page)
    if isinstance(script, str) and script:
        # It was from the folder of code; a commit, and a page, are of the repository around that.
        if moves or (is_known_by_folder and not recorded and facts.commit):
            fill("run_script", f"{_CODE}/{script}")
    elif facts.script is not None:
        is_whole = moves or not is_in_folder
        began = facts.script if is_whole else _below_code(facts.script)
        if began is not None:
            fill("run_script", began)
    container = code.get("container")
    if facts.container is not None and not container:
        fill("container", dict(facts.container))
    elif facts.container is not None and isinstance(container, dict):
        told = {key: container.get(key) for key in facts.container}
        if told != facts.container:
            done.contradictions.append(Contradiction(name, "container", told, facts.container))


def _complete_notes(
    amendment: Amendment, before: str, facts: Facts, done: Completion, asset_id: str
) -> None:
    """Say where the facts are from, with those that no field takes."""
    told = [
        f"{what} {value}"
        for what, value in (
            ("computation", facts.computation),
            ("capsule", facts.capsule),
            ("Docker image", facts.image),
        )
        if value
    ]
    line = f"Completed from what Code Ocean tells of the data asset {asset_id}"
    line = f"{line}: {', '.join(told)}." if told else f"{line}."
    unsaid = [one for one in (facts.computation, facts.capsule) if one and one not in before]
    if facts.image and not facts.container and facts.image not in before:
        unsaid.append(facts.image)
    present = amendment.processing.get("notes") or ""
    if not isinstance(present, str):
        return
    lines = present.split("\n") if present else []
    if (done.changes or (unsaid and not done.contradictions)) and line not in lines:
        lines.append(line)
    after = "\n".join(lines)
    if after != before:
        old, new = before.split("\n"), after.split("\n")
        removed = "\n".join(one for one in old if one not in new) or None
        added = "\n".join(one for one in new if one not in old)
        amendment.processing["notes"] = after
        done.changes.append(Change(None, "notes", removed, added))


def _agree(one: str, other: str) -> bool:
    """Say whether two commits can be the same one, of which either may be abbreviated."""
    one, other = one.lower(), other.lower()
    return one.startswith(other) or other.startswith(one)


def _from_the_top(script: str) -> str | None:
    """Give a script from the top of the capsule; None where it is outside."""
    path = PurePosixPath(_MACHINE.sub("", script, count=1) if script.startswith("/") else script)
    return None if path.is_absolute() or {"..", ""} & {*path.parts[:-1], path.name} else str(path)


def _below_code(script: str) -> str | None:
    path = PurePosixPath(script)
    return str(path.relative_to(_CODE)) if path.is_relative_to(_CODE) else None
