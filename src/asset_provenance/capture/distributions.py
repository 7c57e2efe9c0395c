"""Which installed distribution a file belongs to, and where that came from.

A helper of :mod:`asset_provenance.capture.code`.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import glob
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from asset_provenance.capture.given_code import COMMIT
from asset_provenance.records import printable
from asset_provenance.redaction import clean_url
from asset_provenance.suggestions import did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = [
    "Distributions",
    "direct_url",
    "installed_version",
    "is_library",
    "metadata_of",
    "name_and_version",
    "where_from",
]

_SITE_FOLDERS = frozenset(("site-packages", "dist-packages"))
# Labels of Project-URL that lead to the code, the best first; compared without case and signs.
_URL_LABELS = ("source", "sourcecode", "repository", "code", "github", "gitlab", "homepage")
_EGG = ".egg"
_TOKEN_OF_CONDA = re.compile(r"(://[^/]+)/t/[^/]+/")
_FIELD = re.compile(r"^(Name|Version):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


class Distributions:
    """Finds which installed distribution a file belongs to."""

    def __init__(self) -> None:
        # By folder of sys.path, then by first part of the path below it.
        self._folders: dict[str, dict[str, list[Distribution]]] = {}
        self._listed: dict[Distribution, frozenset[str]] = {}
        self._seen: dict[str, int] = {}
        self._sole: dict[str, Distribution] = {}
        self._entries: tuple[tuple[str, ...], dict[str, str]] = ((), {})
        self._projects: dict[str, dict[str, Distribution]] = {}

    @property
    def entries(self) -> dict[str, str]:
        """The entries of ``sys.path`` as they are, by their real paths."""
        known = tuple(item for item in sys.path if isinstance(item, str))
        if self._entries[0] != known:
            real: dict[str, str] = {}
            for item in known:
                with contextlib.suppress(OSError, ValueError):  # there may be no working folder
                    real.setdefault(os.path.realpath(item), item)
            self._entries = known, real
        return self._entries[1]

    def owner(self, path: str) -> tuple[Distribution, str] | None:
        """Give the distribution that a file belongs to and the file's path as it lists it."""
        folder, name = os.path.split(path)
        # A folder may be a link (lib64).
        found = self._owner(os.path.join(os.path.realpath(folder), name))  # noqa: PTH118
        # So may each file (uv's link mode).
        return found or self._owner(os.path.realpath(path))

    def owner_of_module(self, real: str) -> Distribution | None:
        """Give the distribution that a file belongs to whose folder is a real path.

        Modules are many: those beside one whose folder is of one distribution only are of it, too.
        """
        folder = real.rpartition(os.sep)[0]
        sole = self._sole.get(folder)
        if sole is not None:
            return sole
        found = self._owner(real)
        if found is None and os.path.islink(real):  # noqa: PTH114 - a text
            found = self._owner(os.path.realpath(real))
        if found is None:
            return None
        distribution, listed = found
        if "/" in listed and not listed.startswith("../"):
            entry = real.removesuffix(listed.replace("/", os.sep)).rstrip(os.sep)
            if self._folders.get(entry, {}).get(_first_part(listed)) == [distribution]:
                self._sole[folder] = distribution
        return distribution

    def _owner(self, name: str) -> tuple[Distribution, str] | None:
        scripts = _scripts()
        for entry in self.entries:
            if name.startswith(entry.rstrip(os.sep) + os.sep):
                listed = name[len(entry.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
            elif name.startswith(scripts + os.sep):
                listed = PurePath(os.path.relpath(name, entry)).as_posix()
            else:
                continue
            for distribution in self._below(entry).get(_first_part(listed), ()):
                files = self._files(distribution)
                if not files or listed in files:
                    return distribution, listed
        return None

    def _files(self, distribution: Distribution) -> frozenset[str]:
        files = self._listed.get(distribution)
        if files is None:
            files = self._listed[distribution] = _listed_files(distribution)
        return files

    def notice_changes(self) -> None:
        """Look again at folders that something was installed to meanwhile."""
        for folder, seen in list(self._seen.items()):
            if _changed(folder) != seen:
                self._folders.pop(folder, None)
                self._projects.pop(folder, None)
                del self._seen[folder]
                self._sole.clear()

    def forget_files(self) -> None:
        """Let go of the lists of files: they are long, and each is seldom asked again."""
        self._listed = {}

    def _below(self, folder: str) -> dict[str, list[Distribution]]:
        index = self._folders.get(folder)
        if index is None:
            from importlib.metadata import distributions  # noqa: PLC0415 - seldom needed

            index = {}
            self._seen.setdefault(folder, _changed(folder))
            name = PurePath(folder).name
            is_installed = name in _SITE_FOLDERS or name.endswith(_EGG)
            for distribution in distributions(path=[folder]):
                parts = _first_parts(distribution.read_text("RECORD") or "")
                # Without a list of files (Debian's packages, eggs) the top-level names must do; a
                # source folder with an egg-info is not an installation.
                if not parts and is_installed:
                    tops = (distribution.read_text("top_level.txt") or "").split()
                    parts = {name + end for name in tops for end in ("", ".py")}
                for part in parts:
                    index.setdefault(part, []).append(distribution)
            self._folders[folder] = index
        return index

    def editable(self, folder: str) -> tuple[Distribution, str] | None:
        """Give the distribution that is installed editable from around a folder.

        Returns
        -------
        tuple or None
            The distribution, and the real path of the folder of its project.
        """
        for entry in self.entries:
            if entry not in self._projects:
                self._seen.setdefault(entry, _changed(entry))
                self._projects[entry] = dict(_projects(entry))
            for project, distribution in self._projects[entry].items():
                if folder == project or folder.startswith(project.rstrip(os.sep) + os.sep):
                    return distribution, project
        return None


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - a text
    except OSError:
        return 0


@functools.cache
def _scripts() -> str:
    return os.path.realpath(sysconfig.get_path("scripts"))


def _listed_files(distribution: Distribution) -> frozenset[str]:
    lines = (distribution.read_text("RECORD") or "").splitlines()
    return frozenset(row[0] for row in csv.reader(lines) if row)


def _first_part(listed: str) -> str:
    return listed if listed.startswith("../") else listed.split("/", 1)[0]


def _first_parts(record: str) -> set[str]:
    """Give the first parts of the paths in a RECORD, of which it may have tens of thousands."""
    lines = record.split("\n")
    heads = {line.partition("/")[0] for line in lines}
    parts = {head.partition(",")[0].strip('"\r') for head in heads} - {"", ".."}
    if ".." in heads:
        outside = (row[0] for row in csv.reader(lines) if row and row[0].startswith("../"))
        parts.update(map(_first_part, outside))
    return parts


def _projects(folder: str) -> Iterator[tuple[str, Distribution]]:
    """Give the distributions of one folder that are installed editable, by their project's."""
    from importlib.metadata import distributions  # noqa: PLC0415 - seldom needed

    for distribution in distributions(path=[folder]):
        direct = direct_url(distribution)
        info = direct.get("dir_info")
        if isinstance(info, dict) and info.get("editable") is True:
            yield (
                os.path.realpath(url2pathname(urlsplit(str(direct.get("url"))).path)),
                distribution,
            )
    with contextlib.suppress(OSError):
        # As `setup.py develop` leaves it: where the egg-info is, and from there the project.
        for link in sorted(Path(folder).glob("*.egg-link")):
            lines = link.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            for distribution in distributions(path=lines[:1]):
                if str(metadata_of(distribution, "Name")).lower() == link.stem.lower():
                    place = os.path.join(*lines[:2])  # noqa: PTH118
                    yield os.path.realpath(place), distribution


def direct_url(distribution: Distribution) -> dict[str, Any]:
    """Give what the installer noted of a distribution that came from no index."""
    with contextlib.suppress(ValueError):
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
        if isinstance(direct, dict):
            return direct
    return {}


def where_from(distribution: Distribution) -> tuple[str, str | None]:
    """Give URL and commit of what was installed."""
    direct = direct_url(distribution)
    url = clean_url(str(direct.get("url", "")))
    vcs = direct.get("vcs_info")
    if url and isinstance(vcs, dict):
        commit = str(vcs.get("commit_id", ""))
        return url, commit if COMMIT.fullmatch(commit) else None
    urls: dict[str, str] = {}
    for item in distribution.metadata.get_all("Project-URL") or ():
        label, _, value = item.partition(",")
        urls.setdefault(re.sub(r"[^a-z]", "", label.lower()), value.strip())
    homepage = metadata_of(distribution, "Home-page") or ""
    for found in (*(urls.get(label, "") for label in _URL_LABELS), homepage, url):
        if found.startswith(("https://", "http://")):
            return clean_url(found), None
    # From an index; a package that was put there by hand names no installer.
    installer = (distribution.read_text("INSTALLER") or "").strip()
    if not direct and installer not in {"", "conda"}:
        return f"https://pypi.org/project/{metadata_of(distribution, 'Name')}/", None
    place = Path(str(distribution.locate_file(""))).resolve()
    return url or (installer and _conda_url(distribution, place)) or place.as_uri(), None


def _conda_url(distribution: Distribution, place: Path) -> str | None:
    """Give where conda had a distribution from, as it notes it in its environment."""
    name, version = name_and_version(distribution)
    for parent in place.parents[:4]:
        for record in (parent / "conda-meta").glob(f"{glob.escape(name.lower())}-*.json"):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                noted = json.loads(record.read_bytes())
                if str(noted.get("version")) == version and noted.get("url"):
                    # Where a channel needs a token, that is a part of the path.
                    url = _TOKEN_OF_CONDA.sub(r"\1/", clean_url(str(noted["url"])))
                    return url if url.startswith(("https://", "http://")) else None
    return None


def metadata_of(distribution: Distribution, field: str) -> str | None:
    """Give a field of a distribution's metadata."""
    values = distribution.metadata.get_all(field)
    return values[0] if values else None


def name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Read the head of the metadata only: the rest is prose, and slow to parse."""
    texts = (distribution.read_text(name) for name in ("METADATA", "PKG-INFO", ""))
    head = next((text for text in texts if text), "").replace("\r\n", "\n").partition("\n\n")[0]
    found: dict[str, str] = {}
    for field, value in _FIELD.findall(head):
        found.setdefault(field, value)
    return printable(found.get("Name", "")), printable(found.get("Version", ""))


def installed_version(name: str) -> tuple[str, str | None]:
    """Give name and version of an installed distribution, by its name in any spelling.

    Raises
    ------
    LookupError
        If none of that name is installed; the message says which may have been meant.
    """
    from importlib.metadata import (  # noqa: PLC0415 - seldom needed
        PackageNotFoundError,
        distribution,
        distributions,
        packages_distributions,
    )

    try:
        found, version = name_and_version(distribution(name))
    except (PackageNotFoundError, ValueError):
        # Many know a package by what they import.
        offered = packages_distributions().get(name)
        known = (name_and_version(each)[0] for each in distributions())
        hint = f"; did you mean {offered[0]!r}?" if offered else did_you_mean(name, known)
        raise LookupError(f"no package named {printable(name)!r} is installed{hint}") from None
    return found, version or None


def is_library(folder: str) -> bool:
    """Tell whether a folder is for installed code, whatever repository may be around it."""
    if _SITE_FOLDERS.intersection(PurePath(folder).parts):
        return True
    return PurePath(folder).is_relative_to(os.path.realpath(sysconfig.get_path("stdlib")))
