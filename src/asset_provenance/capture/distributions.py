"""Which installed distribution a file belongs to, and where that came from.

A helper of :mod:`asset_provenance.capture.code`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import sys
import sysconfig
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from asset_provenance.capture.given_code import COMMIT
from asset_provenance.redaction import clean_url

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["SITE_FOLDERS", "Distributions", "metadata_of", "where_from"]

SITE_FOLDERS = frozenset(("site-packages", "dist-packages"))
# Labels of Project-URL that lead to the code, the best first; compared without case and signs.
_URL_LABELS = ("source", "sourcecode", "repository", "code", "github", "gitlab", "homepage")


class Distributions:
    """Finds which installed distribution a file belongs to."""

    def __init__(self) -> None:
        # By folder of sys.path, then by first part of the path below it.
        self._folders: dict[str, dict[str, list[Distribution]]] = {}

    def owner(self, path: str) -> tuple[Distribution, str] | None:
        """Give the distribution that a file belongs to and the file's path as it lists it."""
        folder, name = os.path.split(path)
        # Both: a folder may be a link (lib64), and so may each file (uv's link mode).
        names = dict.fromkeys((os.path.join(os.path.realpath(folder), name),  # noqa: PTH118
                               os.path.realpath(path)))  # fmt: skip
        scripts = os.path.realpath(sysconfig.get_path("scripts"))
        for entry in dict.fromkeys(os.path.realpath(item) for item in sys.path):
            for name in names:
                if not name.startswith((os.path.join(entry, ""), os.path.join(scripts, ""))):  # noqa: PTH118
                    continue
                listed = PurePath(os.path.relpath(name, entry)).as_posix()
                for distribution in self._below(entry).get(_first_part(listed), ()):
                    files = _listed_files(distribution)
                    if not files or listed in files:
                        return distribution, listed
        return None

    def _below(self, folder: str) -> dict[str, list[Distribution]]:
        index = self._folders.get(folder)
        if index is None:
            from importlib.metadata import distributions  # noqa: PLC0415 - seldom needed

            index = self._folders[folder] = {}
            is_site = PurePath(folder).name in SITE_FOLDERS
            for distribution in distributions(path=[folder]):
                parts = {_first_part(name) for name in _listed_files(distribution)}
                # Without a list of files (Debian's packages) the top-level names must do; a
                # source folder with an egg-info is not an installation.
                if not parts and is_site:
                    tops = (distribution.read_text("top_level.txt") or "").split()
                    parts = {name + end for name in tops for end in ("", ".py")}
                for part in parts:
                    index.setdefault(part, []).append(distribution)
        return index


def _listed_files(distribution: Distribution) -> list[str]:
    text = distribution.read_text("RECORD") or ""
    return [row[0] for row in csv.reader(text.splitlines()) if row]


def _first_part(listed: str) -> str:
    return listed if listed.startswith("../") else listed.split("/", 1)[0]


def where_from(distribution: Distribution) -> tuple[str, str | None]:
    """Give URL and commit of what was installed."""
    direct: Any = {}
    with contextlib.suppress(ValueError):
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not isinstance(direct, dict):
        direct = {}
    direct_url = clean_url(str(direct.get("url", "")))
    vcs = direct.get("vcs_info")
    if direct_url and isinstance(vcs, dict):
        commit = str(vcs.get("commit_id", ""))
        return direct_url, commit if COMMIT.fullmatch(commit) else None
    urls: dict[str, str] = {}
    for item in distribution.metadata.get_all("Project-URL") or ():
        label, _, url = item.partition(",")
        urls.setdefault(re.sub(r"[^a-z]", "", label.lower()), url.strip())
    homepage = metadata_of(distribution, "Home-page") or ""
    for url in (*(urls.get(label, "") for label in _URL_LABELS), homepage, direct_url):
        if url.startswith(("https://", "http://")):
            return clean_url(url), None
    # From an index; conda names itself as installer, and a package put there by hand none.
    installer = (distribution.read_text("INSTALLER") or "conda").strip()
    if not direct and installer != "conda":
        return f"https://pypi.org/project/{metadata_of(distribution, 'Name')}/", None
    return direct_url or Path(str(distribution.locate_file(""))).resolve().as_uri(), None


def metadata_of(distribution: Distribution, field: str) -> str | None:
    """Give a field of a distribution's metadata."""
    values = distribution.metadata.get_all(field)
    return values[0] if values else None
