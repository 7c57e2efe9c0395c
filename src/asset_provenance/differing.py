"""``asset-provenance diff``: two assets read with what lies beside their metadata, and compared."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asset_provenance.capture.gitasking import NoAnswerError, Questions
from asset_provenance.capture.gitfiles import find_clone
from asset_provenance.capture.gitrange import CommitRange, find_range
from asset_provenance.comparing import Comparison, Side, compare
from asset_provenance.corefiles import (
    CORE_FILES,
    LEGACY_FILES,
    PROVENANCE_FOLDER,
    WHOLE_RECORD,
    file_name,
    read_bytes,
    read_or_tell,
)
from asset_provenance.errors import UsageError
from asset_provenance.reading import read_view
from asset_provenance.views import AssetView

__all__ = ["Differing", "differ", "packages_in"]

_SECONDS = 60.0
"""For all questions to git."""
_PINNED = re.compile(r"(?:# )?([A-Za-z0-9][\w.-]*)(?:==([^\s,;]+)| @ \S*@(\S+))")
_FOLDER = re.compile(r"# (.+): imported from .*")
_EDITABLE = re.compile(r"([\w.-]+)==(\S+), editable")
_REPOSITORY = re.compile(r"of (.+), at (.+)")
_CHANGED = re.compile(r"(?<!without) uncommitted changes")


@dataclass(frozen=True, slots=True)
class Differing:
    """What became of it.

    Parameters
    ----------
    comparison
        What differs.
    ranges
        The commits between those of the first and of the second, if a clone was given.
    is_shallow
        Whether that clone is one that has not all of its history.
    """

    comparison: Comparison
    ranges: tuple[CommitRange, ...] = ()
    is_shallow: bool = False


def differ(before: Path, after: Path, repository: Path | None = None) -> Differing:
    """Compare two assets.

    Parameters
    ----------
    before, after
        Their folders.
    repository
        A clone of the repository that the code is from; nothing is fetched.

    Raises
    ------
    UsageError, StorageError
        If one of them cannot be read.
    """
    comparison = compare(_side(before), _side(after))
    if repository is None:
        return Differing(comparison)
    if not repository.is_dir():
        raise UsageError(
            f"there is no folder {repository}: give a clone of the code's repository on this "
            "machine, made with: git clone URL"
        )
    ask = Questions(find_clone(str(repository.absolute())), _SECONDS)
    try:
        is_shallow = ask("rev-parse", "--is-shallow-repository").strip() == b"true"
        changes = dict.fromkeys(change[1:] for change in comparison.code_changes)
        ranges = tuple(find_range(ask, *change) for change in changes)
    except NoAnswerError as error:
        raise UsageError(
            f"{repository} cannot be searched: {error}; give a clone of the code's repository"
        ) from error
    return Differing(comparison, ranges, is_shallow)


def _side(folder: Path) -> Side:
    view = read_view(folder)
    lists = []
    for path in view.packages:
        with suppress(OSError, ValueError):
            lists.append(read_bytes(path).decode("utf-8", "replace"))
    packages = packages_in("\n".join(lists)) if lists else None
    problems: list[str] = []
    inherited = dict(_inherited(view, problems))
    view = replace(view, problems=(*view.problems, *problems))
    return Side(view, packages, inherited, dict(_patches(folder)))


def _inherited(view: AssetView, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Give the content of the files that inputs hand on; those of a record, where it is all."""
    names = [file_name(name) for name in (*CORE_FILES[2:], *LEGACY_FILES)]
    if [one.path for one in view.files] == [WHOLE_RECORD]:
        record = read_or_tell(view.folder / WHOLE_RECORD, problems) or {}
        for name in names:
            inside = record.get(name.removesuffix(".json"))
            if inside is not None:
                yield name, inside
        return
    for name in names:
        if (view.folder / name).is_file():
            yield name, read_or_tell(view.folder / name, problems)


def _patches(folder: Path) -> Iterator[tuple[str, str]]:
    for path in (folder / PROVENANCE_FOLDER).glob("uncommitted-*.patch"):
        with suppress(OSError, ValueError):
            commit = path.name.removeprefix("uncommitted-").removesuffix(".patch")
            yield commit, hashlib.sha256(read_bytes(path)).hexdigest()


def packages_in(text: str) -> Mapping[str, str]:
    """Give the versions that a list of imported packages has, by the packages' names.

    Parameters
    ----------
    text
        As ``provenance/packages-<run>.txt`` holds it. A folder that was imported from goes by its
        package, else its repository; its version is the commit, with what was uncommitted.
    """
    found: dict[str, dict[str, None]] = {}
    folder: list[str] | None = None
    for line in text.splitlines():
        if line.startswith("#   ") and folder is not None:
            folder.append(line.removeprefix("#   "))
            continue
        _add_folder(found, folder)
        imported, pinned = _FOLDER.fullmatch(line), _PINNED.match(line)
        folder = [imported[1]] if imported else None
        if pinned and not imported:
            name, version = _key(pinned[1]), pinned[2] or pinned[3]
            is_told = pinned[3] and name in found  # with its commit
            found.setdefault(name, {}).update({} if is_told else {version: None})
    _add_folder(found, folder)
    return {name: ", ".join(versions) for name, versions in found.items()}


def _add_folder(found: dict[str, dict[str, None]], lines: list[str] | None) -> None:
    """Add what was imported from a folder: the package, else its repository, at a commit."""
    if not lines or len(lines) < 2:
        return
    editable, repository = _EDITABLE.fullmatch(lines[0]), _REPOSITORY.fullmatch(lines[1])
    if repository:
        name = _key(editable[1]) if editable else repository[1]
        states = (state.split(",")[0] for state in lines[2:] if _CHANGED.search(state))
        found.setdefault(name, {})["; ".join([repository[2], *states])] = None
    elif editable:
        found.setdefault(_key(editable[1]), {})[editable[2]] = None


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.lower())
