"""Which packages this program has imported, and which state they were in."""

from __future__ import annotations

import functools
import logging
import os
import platform
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asset_provenance.capture.distributions import (
    Distributions,
    direct_url,
    is_library,
    name_and_version,
)
from asset_provenance.capture.gitfiles import find_root
from asset_provenance.capture.gitremotes import glance
from asset_provenance.capture.given_code import COMMIT
from asset_provenance.records import JsonValue, printable
from asset_provenance.redaction import clean_url, redact_text

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = [
    "Imported",
    "ImportedFolder",
    "ImportedPackage",
    "ImportedPackages",
    "imported",
    "is_name",
    "is_reachable",
    "judge",
    "pip_url",
]

_logger = logging.getLogger("asset_provenance")

_START_UP = re.compile(r"__editable___.*|_distutils_hack|_virtualenv|__mp_main__")
"""Modules that installers have Python import at its start, whatever it runs; a script's alias."""
_NAME = re.compile(r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII)
_REACHABLE = re.compile(
    r"https?://(?:[A-Z0-9._-]+|\[[0-9A-F:.]+\])(?::\d+)?(?:/|$)", re.I | re.ASCII
)
# As the packaging standard (PEP 440) has it.
_VERSION = re.compile(
    r"(?:\d+!)?\d+(?:\.\d+)*(?:[-_.]?(?:alpha|a|beta|b|preview|pre|c|rc)[-_.]?\d*)?"
    r"(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?(?:[-_.]?dev[-_.]?\d*)?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ImportedPackage:
    """An installed distribution that was imported.

    Parameters
    ----------
    name, version
        As its metadata have them.
    line
        What pip can install it by; None where pip could not.
    note
        What is to be said besides.
    """

    name: str
    version: str
    line: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ImportedFolder:
    """A folder that modules were imported from which no installation holds.

    Parameters
    ----------
    folder
        A real path: of the project, the repository, or the entry of the import path.
    modules
        The names at the top of what was imported; of a script, that of its file.
    name, version
        Of the distribution that is installed editable from there.
    root, url, commit
        Of the repository around it, as it was when this was first seen.
    is_on_path
        Whether ``PYTHONPATH`` names it.
    """

    folder: str
    modules: tuple[str, ...]
    name: str | None = None
    version: str | None = None
    root: str | None = None
    url: str | None = None
    commit: str | None = None
    is_on_path: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What one process of the operating system has imported."""

    python: str
    packages: tuple[ImportedPackage, ...]
    folders: tuple[ImportedFolder, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Give the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Imported:
        """Read that back.

        Raises
        ------
        ValueError, KeyError, TypeError
            If the data are not of that form.
        """
        return cls(
            str(data["python"]),
            tuple(ImportedPackage(**item) for item in data["packages"]),
            tuple(
                ImportedFolder(**{**item, "modules": tuple(item["modules"])})
                for item in data["folders"]
            ),
        )


class ImportedPackages:
    """Looks which packages this program has imported, each time at what is new."""

    def __init__(self) -> None:
        self._distributions = Distributions()
        self._found = Imported(_python(), (), ())
        self._known: set[str] = set()
        self._count = 0
        self._is_waiting = False
        self._real: dict[str, str] = {}
        self._packages: dict[Distribution, ImportedPackage] = {}
        self._folders: dict[str, tuple[ImportedFolder, dict[str, None]]] = {}
        self._places: dict[str, str] = {}
        self.renew_lock()

    def renew_lock(self) -> None:
        """Go on in a forked child, where another thread may have held the lock at the fork."""
        self._lock = threading.RLock()

    def look(self, is_hurried: Callable[[], bool] = lambda: False) -> Imported:
        """Give all that was imported so far; the same object if nothing was since the last look.

        Parameters
        ----------
        is_hurried
            Tells that somebody waits: then the rest is left for the next time.
        """
        with self._lock:
            count = len(sys.modules)
            if count == self._count and not self._is_waiting:
                return self._found
            self._is_waiting = False
            self._distributions.notice_changes()
            new = [item for item in list(sys.modules.items()) if item[0] not in self._known]
            for name, module in new:
                if is_hurried():
                    break
                if type(module).__name__ == "_LazyModule":
                    # It is to be loaded when it is first used, and has not been imported yet.
                    self._is_waiting = True
                    continue
                self._known.add(name)
                try:
                    path = _file(module)
                    if path is not None and not _START_UP.fullmatch(name):
                        self._add(name, path)
                except Exception:  # a failing collector costs its own fact, never the run
                    _logger.debug("%r is of no package that is known", name, exc_info=True)
            else:
                self._count = count
            self._distributions.forget_files()
            found = Imported(
                _python(),
                tuple(self._packages.values()),
                tuple(_with_modules(*item) for item in self._folders.values()),
            )
            if found != self._found:
                self._found = found
            return self._found

    def _add(self, name: str, path: str) -> None:
        folder, _, file = path.rpartition(os.sep)
        real = self._real.get(folder)
        if real is None:
            real = self._real[folder] = os.path.realpath(folder)
        if real.startswith(_libraries()) and not _is_site(real):
            return  # Python's own
        distribution = self._distributions.owner_of_module(f"{real}{os.sep}{file}")
        if distribution is None:
            real = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
            self._add_folder(real, file if name == "__main__" else name.partition(".")[0])
        elif distribution not in self._packages:
            self._packages[distribution] = judge(distribution)

    def _add_folder(self, real: str, module: str) -> None:
        place = self._places.get(real)
        if place is None:
            place = self._places[real] = self._place(real)
        self._folders[place][1][module] = None

    def _place(self, real: str) -> str:
        """Find out what is to be told of a folder, and give the one that it is told of."""
        editable = self._distributions.editable(real)
        root = None if is_library(real) else find_root(real)
        folder = root or self._entry(real)
        name = version = None
        if editable is not None:
            distribution, folder = editable
            name, version = name_and_version(distribution)
        if folder not in self._folders:
            url, commit = (None, None) if root is None else glance(root)
            found = ImportedFolder(
                folder, (), name, version, root, url, commit,
                any(_is_inside(real, each) for each in _on_path()),
            )  # fmt: skip
            self._folders[folder] = found, {}
        return folder

    def _entry(self, real: str) -> str:
        entries = [each for each in self._distributions.entries if _is_inside(real, each)]
        return max(entries, key=len, default=real)


@functools.cache
def _of_program() -> ImportedPackages:
    found = ImportedPackages()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=found.renew_lock)
    return found


def imported(is_hurried: Callable[[], bool] = lambda: False) -> Imported:
    """Give what this program has imported so far; see :meth:`ImportedPackages.look`.

    Whatever assets it opens, it is looked at once: each has imported what the program has.
    """
    return _of_program().look(is_hurried)


def _file(module: object) -> str | None:
    """Give the file of a module, without running any code of what may only look like one."""
    try:
        held = object.__getattribute__(module, "__dict__")
        if type(held) is not dict:
            return None
        path = held.get("__file__")
        if type(path) is not str:
            spec = held.get("__spec__")
            path = spec.origin if type(spec) is ModuleSpec and spec.has_location else None
    except Exception:  # noqa: BLE001 - anything may stand among the modules
        return None
    if type(path) is not str:
        return None
    return path if path.startswith(os.sep) else os.path.abspath(path)  # noqa: PTH100


def _with_modules(found: ImportedFolder, modules: Mapping[str, None]) -> ImportedFolder:
    fields = {name: getattr(found, name) for name in ImportedFolder.__slots__}
    return ImportedFolder(**{**fields, "modules": tuple(modules)})


def _is_site(folder: str) -> bool:
    """Tell whether a folder is one that packages are installed to."""
    return f"{os.sep}site-packages" in folder or f"{os.sep}dist-packages" in folder


@functools.cache
def _libraries() -> tuple[str, ...]:
    return tuple({os.path.realpath(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")})


@functools.cache
def _python() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python} on {platform.platform()}"


def _on_path() -> Iterator[str]:
    for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if entry:
            yield os.path.realpath(entry)


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def judge(distribution: Distribution) -> ImportedPackage:
    """Tell what is to be listed of a distribution."""
    name, version = name_and_version(distribution)
    direct = direct_url(distribution)
    if not is_name(name):
        return ImportedPackage(name, version, None, "has no name that pip knows")
    if direct:
        return _direct_package(name, version, direct)
    if not _VERSION.fullmatch(version):
        return ImportedPackage(name, version, None, "has no version that pip knows")
    installer = (distribution.read_text("INSTALLER") or "").strip()
    note = "installed by conda" if installer == "conda" else ""
    return ImportedPackage(name, version, f"{name}=={version}", note)


def _direct_package(name: str, version: str, direct: Mapping[str, Any]) -> ImportedPackage:
    """Judge a distribution that came from no index."""
    given = str(direct.get("url", ""))
    url = clean_url(given)
    told = f"was installed from {printable(redact_text(url))}"
    subfolder = direct.get("subdirectory")
    vcs = direct.get("vcs_info")
    if not is_reachable(url):
        return ImportedPackage(name, version, None, f"{told}, which others cannot reach")
    if isinstance(vcs, dict):
        commit = str(vcs.get("commit_id", ""))
        kind = str(vcs.get("vcs", ""))
        if not (COMMIT.fullmatch(commit) or commit.isdecimal()) or not kind.isalpha():
            return ImportedPackage(name, version, None, f"{told}, at a commit that is not known")
        line = f"{name} @ {pip_url(f'{kind}+{url}@{commit}', subfolder)}"
        return ImportedPackage(name, version, line, f"version {version}")
    if "?" in given:
        return ImportedPackage(name, version, None, f"{told}, with a query that is not kept")
    archive = direct.get("archive_info")
    hashes = archive.get("hashes") if isinstance(archive, dict) else None
    sha256 = str(hashes.get("sha256", "")) if isinstance(hashes, dict) else ""
    digest = sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else None
    return ImportedPackage(name, version, f"{name} @ {pip_url(url, subfolder, digest)}")


def is_name(name: str) -> bool:
    """Tell whether pip takes a name."""
    return _NAME.fullmatch(name) is not None


def is_reachable(url: str) -> bool:
    """Tell whether a URL is of a host, as far as that can be told from its form."""
    return _REACHABLE.match(url) is not None


def pip_url(url: str, subfolder: object = None, sha256: str | None = None) -> str:
    """Give a URL as pip reads it: in a line of its own, which it fills in variables in.

    Parameters
    ----------
    url
        With the kind of repository and the commit, where it is one.
    subfolder
        Where in it the project is.
    sha256
        Of the file.
    """
    parts = []
    if sha256:
        parts.append(f"sha256={sha256}")
    if isinstance(subfolder, str) and subfolder not in ("", "."):
        parts.append(f"subdirectory={quote(subfolder)}")
    return quote(url, safe="/:@+~%[]!'()*,;=&") + (f"#{'&'.join(parts)}" if parts else "")
