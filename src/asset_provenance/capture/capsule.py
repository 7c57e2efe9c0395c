"""What Code Ocean says of the run: which capsule and computation, and which commit of the code.

A helper of :mod:`asset_provenance.capture.code`. Nothing here holds anywhere else: on a laptop, a
cluster or any other Linux there is no capsule.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asset_provenance.capture.gitfiles import find_root
from asset_provenance.capture.given_code import COMMIT, version_or_commit

__all__ = ["Capsule", "Place", "find_capsule", "ran_in"]

_IDS = ("CO_CAPSULE_ID", "CO_COMPUTATION_ID", "CO_PIPELINE_ID")
_COMMITS = ("CO_COMMIT", "GIT_COMMIT", "COMMIT_ID")
_VERSION_FILE = "CODE_VERSION"
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")
_HOST = re.compile(r"[0-9A-Za-z.-]+(:\d{1,5})?")
_SENTENCE = re.compile(r"Ran in Code Ocean \(([^()]+)\)(?:: (.+))?\.")
_VERSION = re.compile(r"[A-Za-z]{0,10}[-_.]?\d[0-9A-Za-z.+_-]{0,60}")


class Place(enum.StrEnum):
    """Where in Code Ocean a program runs."""

    WORKSTATION = "cloud workstation"
    RUN = "Reproducible Run"
    PIPELINE = "pipeline"


@dataclass(frozen=True, slots=True)
class Capsule:
    """The capsule that a program runs in.

    Parameters
    ----------
    place
        Where in Code Ocean.
    capsule_id, computation_id, pipeline_id
        As Code Ocean gives them; None where it does not, or not in a form that an id can have.
    code
        The capsule's folder of code, where a file is in one.
    url
        Page of the capsule, where the host is told.
    commit, version
        Of the code, as variables or the file ``CODE_VERSION`` have it.
    problems
        What was told in a form that it cannot have, one sentence each.
    """

    place: Place
    capsule_id: str | None = None
    computation_id: str | None = None
    pipeline_id: str | None = None
    code: str | None = None
    url: str | None = None
    commit: str | None = None
    version: str | None = None
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Tell in a sentence where the program ran."""
        known = (
            ("capsule", self.capsule_id),
            ("pipeline", self.pipeline_id),
            ("computation", self.computation_id),
        )
        told = ", ".join(f"{name} {value}" for name, value in known if value)
        return f"Ran in Code Ocean ({self.place}){': ' if told else ''}{told}."


def ran_in(notes: str) -> Capsule | None:
    """Give the capsule that notes tell of, one sentence a line; of several the last, our own."""
    for line in reversed(notes.split("\n")):
        found = _SENTENCE.fullmatch(line)
        if found is not None and found[1] in list(Place):
            known = dict(item.split(" ", 1) for item in (found[2] or "").split(", ") if " " in item)
            return Capsule(
                Place(found[1]),
                known.get("capsule"),
                known.get("computation"),
                known.get("pipeline"),
            )
    return None


def find_capsule(
    folder: str, environ: Mapping[str, str] | None = None, root: Path = Path("/")
) -> Capsule | None:
    """Find out whether a program runs in Code Ocean, and what is told of it there.

    Parameters
    ----------
    folder
        Of the code that is asked for; its commit is told of the capsule's own code only.
    environ
        Environment variables; default those of this program.
    root
        Where a capsule has its folders.

    Returns
    -------
    Capsule or None
        None anywhere else.
    """
    variables = os.environ if environ is None else environ
    is_laid_out = all((root / name).is_dir() for name in ("code", "data", "results"))
    if not (is_laid_out or any(variables.get(name, "").strip() for name in _IDS)):
        return None
    problems: list[str] = []
    ids = {name: _told(variables, name, _ID, problems) for name in _IDS}
    code = _code_folder(folder)
    domain = variables.get("CODEOCEAN_DOMAIN", "").strip().rstrip("/").removeprefix("https://")
    capsule_id = ids["CO_CAPSULE_ID"]
    url = None
    if capsule_id and _HOST.fullmatch(domain):
        url = f"https://{domain}/capsule/{capsule_id}"
    commit, version = (None, None) if code is None else _state(variables, code, problems)
    return Capsule(
        _place(folder, variables),
        capsule_id,
        ids["CO_COMPUTATION_ID"],
        ids["CO_PIPELINE_ID"],
        code,
        url,
        commit,
        version,
        tuple(problems),
    )


def _place(folder: str, variables: Mapping[str, str]) -> Place:
    if any(variables.get(name, "").strip() for name in ("CO_PIPELINE_ID", "AWS_BATCH_JOB_ID")):
        return Place.PIPELINE
    # Only a workstation has the capsule's repository.
    return Place.RUN if find_root(folder) is None else Place.WORKSTATION


def _code_folder(folder: str) -> str | None:
    """Give the capsule's folder of code around a folder: beside it lie data or results."""
    for candidate in reversed((Path(folder), *Path(folder).parents)):
        if candidate.name == "code" and any(
            os.path.isdir(candidate.parent / name)  # noqa: PTH112 - never raises
            for name in ("data", "results")
        ):
            return str(candidate)
    return None


def _state(
    variables: Mapping[str, str], code: str, problems: list[str]
) -> tuple[str | None, str | None]:
    """Give commit and version of the capsule's code, whichever is told."""
    for name in _COMMITS:
        commit = _told(variables, name, COMMIT, problems)
        if commit is not None:
            return commit.lower(), None
    path = Path(code, _VERSION_FILE)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(1000).strip() if path.is_file() else ""
    except OSError:
        return None, None
    if not text:
        return None, None
    version, commit = version_or_commit(text)
    if commit is not None:
        return commit.lower(), None
    if version is not None and _VERSION.fullmatch(version):
        return None, version
    problems.append(f"{_VERSION_FILE} {_MALFORMED} or version")
    return None, None


# What it says may be anything, a secret among others.
_MALFORMED = "is not recorded: it has not the form of a commit (7 to 60 hexadecimal digits)"


def _told(
    variables: Mapping[str, str], name: str, form: re.Pattern[str], problems: list[str]
) -> str | None:
    value = variables.get(name, "").strip()
    if not value:
        return None
    if form.fullmatch(value):
        return value
    problems.append(f"{name} {_MALFORMED if form is COMMIT else 'is not recorded: it is no id'}")
    return None
