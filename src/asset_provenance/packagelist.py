"""The list of the packages that a run has imported, as pip can install them.

Each process of the operating system keeps in the folder of the run what it has imported so far;
whoever writes the metadata makes one list of all.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from asset_provenance.capture.git import WorkTree
from asset_provenance.capture.given_code import COMMIT
from asset_provenance.capture.packages import (
    Imported,
    ImportedFolder,
    ImportedPackage,
    is_name,
    is_reachable,
    pip_url,
)
from asset_provenance.corefiles import FRAGMENT_ENDING, PROVENANCE_FOLDER, read_bytes
from asset_provenance.journalfiles import IMPORTED
from asset_provenance.records import printable
from asset_provenance.redaction import clean_url, contains_secret, redact_text

__all__ = ["LIST_ENDING", "finish_list", "list_name", "lists_of_stages", "read_list"]

LIST_ENDING = "_packages.txt"
"""How the list of a pipeline's stage ends, which lies beside its fragment."""

_LIST = "packages.txt"
"""In the folder of a run: its whole list, once that was made."""

_LONGEST = 10.0
"""Seconds from which on no further repository is asked for its state."""
_MOST_MODULES = 10

_log = logging.getLogger("asset_provenance")


def list_name(unique: str) -> str:
    """Give the path of the list beside the metadata; it must not be another run's."""
    return f"{PROVENANCE_FOLDER}/packages-{unique}.txt"


def finish_list(folders: Iterable[Path], ask: Callable[[str], WorkTree]) -> bytes | None:
    """Make the list of a run that has ended, and keep it in the run's folder.

    Parameters
    ----------
    folders
        Where the run's record is.
    ask
        Gives what is known of a git work tree.

    Returns
    -------
    bytes or None
        The list; None where nothing is known, or it could not be made.
    """
    places = list(folders)
    try:
        found = list(_imported(places))
        until = time.monotonic() + _LONGEST
        states: dict[str, WorkTree] = {}
        for root in dict.fromkeys(one.root for each in found for one in each.folders):
            if root is not None and os.path.isdir(root) and time.monotonic() < until:  # noqa: PTH112
                states[root] = ask(root)
        content = _text(found, states)
        with suppress(OSError):
            if content is not None:
                (places[0] / _LIST).write_bytes(content)
    except Exception:  # noqa: BLE001 - a failing collector costs its own fact, never the run
        _log.debug("the list of imported packages could not be made", exc_info=True)
        return None
    return content


def read_list(folders: Iterable[Path]) -> bytes | None:
    """Give the list of a run from what it has left: whole, or as far as it had come."""
    places = list(folders)
    for place in places:
        with suppress(OSError):
            return (place / _LIST).read_bytes()
    try:
        return _text(list(_imported(places)), {})
    except Exception:  # noqa: BLE001 - as above; files may hold anything
        _log.debug("the list of imported packages could not be made", exc_info=True)
        return None


def lists_of_stages(fragments: Iterable[Path]) -> dict[str, bytes]:
    """Give the lists that lie beside the fragments of earlier stages, by their new paths."""
    found: dict[str, bytes] = {}
    for path in fragments:
        unique = path.name.removesuffix(FRAGMENT_ENDING)
        if unique != path.name and re.fullmatch(r"[\w.-]{1,200}", unique, re.ASCII):
            with suppress(OSError, ValueError):  # of a stage that left none
                content = read_bytes(path.with_name(f"{unique}{LIST_ENDING}"))
                if not contains_secret(content):
                    found[list_name(unique)] = content
    return found


def _imported(folders: Iterable[Path]) -> Iterator[Imported]:
    """Give what each process of the run has imported; that of the program itself comes first."""
    found: list[tuple[bool, Imported]] = []
    for folder in folders:
        for path in sorted(folder.glob(f"*{IMPORTED}")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                data = json.loads(path.read_bytes())
                found.append((data["is_first"] is True, Imported.from_json(data)))
    found.sort(key=lambda each: not each[0])
    return (each for _, each in found)


def _text(found: Iterable[Imported], states: Mapping[str, WorkTree]) -> bytes | None:
    several = list(found)
    if not several:
        return None
    lines = ["# What was imported, in a form that pip can install: pip install -r <this file>"]
    lines += [f"# {printable(each)}" for each in dict.fromkeys(one.python for one in several)]
    lines += _packages(dict.fromkeys(each for one in several for each in one.packages))
    folders = dict.fromkeys(each for one in several for each in one.folders)
    by_place: dict[str, list[ImportedFolder]] = {}
    for each in folders:
        by_place.setdefault(each.folder, []).append(each)
    taken = {_key(each.name) for one in several for each in one.packages if each.line}
    for same in by_place.values():
        lines += _folder(same, states, taken)
    # In no encoding of the machine that reads it.
    return "".join(f"{line}\n" for line in lines).encode("ascii", "backslashreplace")


def _packages(packages: Iterable[ImportedPackage]) -> Iterator[str]:
    kept: dict[str, str] = {}
    for package in sorted(packages, key=lambda each: _key(each.name)):
        if package.line is None:
            yield _comment(f"# {package.name}=={package.version} {package.note}")
        elif _key(package.name) not in kept:
            kept[_key(package.name)] = package.line
            yield f"{package.line}  # {package.note}" if package.note else package.line
        elif kept[_key(package.name)] != package.line:
            # pip takes one version only.
            yield f"# {package.line} was imported, too"


def _folder(
    same: list[ImportedFolder], states: Mapping[str, WorkTree], taken: set[str]
) -> Iterator[str]:
    """Tell of a folder, as several processes may have seen it."""
    first = same[0]
    modules = list(dict.fromkeys(module for one in same for module in one.modules))
    more = len(modules) - _MOST_MODULES
    names = ", ".join(modules[:_MOST_MODULES]) + (f" and {more} more" if more > 0 else "")
    what = f"{first.name}=={first.version}, editable" if first.name else names
    on_path = ", on PYTHONPATH" if any(one.is_on_path for one in same) else ""
    yield _comment(f"# {what}: imported from {first.folder}{on_path}")
    if first.root is None:
        yield "#   which is in no git repository"
        return
    state = states.get(first.root)
    commits = dict.fromkeys(one.commit or "no commit" for one in same)
    url = clean_url(first.url or "")
    yield _comment(f"#   of {url}, at {' and at '.join(commits)}")
    for text in _state(state, first.commit):
        yield _comment(f"#   {text}")
    is_unreachable = state is not None and state.is_pushed is False
    commit = first.commit or ""
    is_known = is_name(first.name or "") and COMMIT.fullmatch(commit)
    if is_known and is_reachable(url) and not is_unreachable:
        subfolder = os.path.relpath(first.folder, first.root).replace(os.sep, "/")
        line = f"{first.name} @ {pip_url(f'git+{url}@{commit}', subfolder)}"
        yield line if _key(first.name) not in taken else _comment(f"# {line}")
        taken.add(_key(first.name))


def _comment(text: str) -> str:
    return printable(redact_text(text))


def _state(state: WorkTree | None, commit: str | None) -> tuple[str, ...]:
    if state is None:
        return ("whether it had uncommitted changes was not looked at",)
    if state.commit != commit:
        return (f"when the run ended it was at {state.commit or 'no commit'}", *state.notes)
    return state.notes or ("without uncommitted changes",)


def _key(name: str | None) -> str:
    return re.sub(r"[-_.]+", "-", (name or "").lower())
