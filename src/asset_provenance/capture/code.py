"""Which code ran: from the user, settings, the git work tree, or the installed distribution."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import json
import logging
import os
import platform
import re
import sys
import sysconfig
import threading
import types
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from asset_provenance.capture.git import Git, WorkTree, find_root, printable
from asset_provenance.errors import UsageError
from asset_provenance.records import CodeRecord, JsonValue
from asset_provenance.redaction import clean_url, redact_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import Distribution

__all__ = ["CodeIdentifier", "Patch", "code_from_user"]

_logger = logging.getLogger("asset_provenance")

_TEXT_FIELDS = ("name", "version", "commit_hash", "run_script", "language", "language_version")
_OBJECT_FIELDS = ("container", "core_dependency")
# Fields of the schema's Code that are facts of the process and are given as such.
_PROCESS_FIELDS = {"parameters": "parameters=", "input_data": "inputs="}
_COMMIT = re.compile(r"[0-9a-fA-F]{7,60}")
_LONGEST_COMMIT = 60  # in the metadata; a longer one (SHA-256 repositories) is abbreviated

_SITE_FOLDERS = frozenset(("site-packages", "dist-packages"))
# Labels of Project-URL that lead to the code, the best first; compared without case and signs.
_URL_LABELS = ("source", "sourcecode", "repository", "code", "github", "gitlab", "homepage")

_MADE_AT_RUN_TIME = (
    "this code was given at run time (interactively, in a notebook or by exec), not in a file"
)


@dataclass(frozen=True, slots=True)
class Patch:
    """Uncommitted changes of one repository.

    Parameters
    ----------
    commit_hash
        The full commit that they change.
    content
        As git gives it; in no encoding, since it may hold files of several.
    """

    commit_hash: str
    content: bytes


class CodeIdentifier:
    """Finds which code a function came from; one per run, remembers repositories and files.

    Parameters
    ----------
    code_url, code_version
        Settings of the user, which win over what git says. A version that reads as a commit is
        one. Neither is said of an installed distribution's version: it has its own.
    save_patch
        Whether patches of uncommitted changes may be kept.
    timeout
        Seconds that git may take for one repository.
    """

    def __init__(
        self,
        *,
        code_url: str | None = None,
        code_version: str | None = None,
        save_patch: bool = True,
        timeout: float = 10.0,
    ) -> None:
        self._code_url = clean_url(code_url) if code_url else None
        self._code_version = code_version or None
        self._git = Git(save_patch=save_patch, timeout=timeout)
        self._distributions = _Distributions()
        self._trees: dict[str, WorkTree] = {}
        self._files: dict[str, CodeRecord] = {}
        # Not by code object: those of two files that hold the same text compare equal.
        self._functions: dict[tuple[str, str | None], CodeRecord] = {}
        self._warned: set[str] = set()
        self._lock = threading.RLock()
        _identifiers.add(self)

    def of_function(self, function: Callable[..., Any]) -> CodeRecord | None:
        """Tell which code a function came from.

        Parameters
        ----------
        function
            Any callable. Wrappers that name what they wrap are looked through.

        Returns
        -------
        CodeRecord or None
            None for what is built into Python.
        """
        try:
            # On the way of every tracked call: a plain function costs two look-ups.
            if type(function) is not types.FunctionType or hasattr(function, "__wrapped__"):
                function = _unwrap(function)
            code = getattr(function, "__code__", None)
            if code is not None:
                key = (code.co_filename, getattr(function, "__module__", None))
                record = self._functions.get(key)
                if record is None:
                    record = self._functions[key] = self._of_python(*key)
                return record
            return self._of_object(function)
        except Exception:  # a failing collector costs its own fact, never the run
            _logger.debug("which code a function came from was not found", exc_info=True)
            return None

    def of_file(self, path: str) -> CodeRecord:
        """Tell which code a script or module file belongs to.

        Parameters
        ----------
        path
            The file. The name that Python gives to code without a file (``<stdin>``) is
            taken for the main script, or the working folder.
        """
        with contextlib.suppress(OSError):  # there may be no working folder any more
            path = os.path.abspath(path)  # noqa: PTH100 - of a name that need not be a file
        record = self._files.get(path)
        if record is None:
            with self._lock:
                record = self._files.get(path)
                if record is None:
                    record = self._files[path] = self._identify(path)
        return record

    def of_main(self) -> CodeRecord | None:
        """Tell which code the program's main script belongs to; None where there is no script."""
        path = getattr(sys.modules.get("__main__"), "__file__", None)
        return self.of_file(path) if isinstance(path, str) and _is_source(path) else None

    @property
    def patches(self) -> tuple[Patch, ...]:
        """Uncommitted changes of the repositories asked so far that are to be kept."""
        return tuple(Patch(*item) for item in list(self._git.patches.items()))

    def _of_python(self, name: str, module: str | None) -> CodeRecord:
        """Identify Python code by the file name it bears and the module it is in."""
        path = getattr(sys.modules.get(module or ""), "__file__", None)
        if _is_source(name) or module == "__main__" or not isinstance(path, str):
            return self.of_file(name)
        record = self.of_file(path)
        # A compiled module can bear the name of a file that is elsewhere, or was.
        return _with_note(record, _MADE_AT_RUN_TIME) if name.startswith("<") else record

    def _of_object(self, function: Any) -> CodeRecord | None:
        """Identify a callable without Python code of its own: a C function, class or object."""
        call = getattr(type(function).__call__, "__code__", None)
        if call is not None:
            return self._of_python(call.co_filename, type(function).__module__)
        module = getattr(function, "__module__", None)
        if module is None:
            module = type(getattr(function, "__self__", None)).__module__
        path = getattr(sys.modules.get(module), "__file__", None)
        if not isinstance(path, str) or module.partition(".")[0] in sys.stdlib_module_names:
            return None
        return self.of_file(path)

    def _identify(self, path: str) -> CodeRecord:
        try:
            if not _is_source(path):
                record = self.of_main() or self._of_folder(os.getcwd())  # noqa: PTH109
                return _with_note(record, _MADE_AT_RUN_TIME)
            owner = self._distributions.owner(path)
            if owner is not None:
                return self._finish(self._of_distribution(*owner))
            real = os.path.realpath(path)
            folder = os.path.dirname(real)  # noqa: PTH120
            return self._of_folder(folder, real)
        except Exception:  # a failing collector costs its own fact, never the run
            _logger.debug("which code %s is was not found", printable(path), exc_info=True)
            record = _record(Path(os.sep, path).parent.as_uri())
            return self._finish(_with_note(record, "which code this is could not be found out"))

    def _of_folder(self, folder: str, path: str | None = None) -> CodeRecord:
        """Identify code that no distribution owns, by the repository around its folder."""
        root = None if _is_library(folder) else find_root(folder)
        if root is None:
            script = None if path is None else os.path.basename(path)  # noqa: PTH119
            return self._finish(_record(Path(folder).as_uri(), script))
        tree = self._trees.get(root)
        if tree is None:
            tree = self._trees[root] = self._git.work_tree(root)
        commit = tree.commit and tree.commit[:_LONGEST_COMMIT]
        notes = tree.notes
        script = None
        if path is not None:
            script = PurePath(os.path.relpath(path, root)).as_posix()
            if self._git.is_committed(tree, script) is False:
                notes = (*notes, f"{printable(script)} itself is not in the commit")
        return self._finish(_record(tree.url, script, commit_hash=commit, notes=notes))

    def _of_distribution(self, distribution: Distribution, path: str) -> CodeRecord:
        # Of a script, RECORD has the way out of site-packages: ../../../bin/name.
        script = re.sub(r"^(\.\./)+", "", path)
        if self._code_url is not None:
            return _record(self._code_url, script)
        url, commit = _where_from(distribution)
        return _record(
            url,
            script,
            name=_metadata(distribution, "Name"),
            version=_metadata(distribution, "Version"),
            commit_hash=commit,
        )

    def _finish(self, record: CodeRecord) -> CodeRecord:
        """Let settings win, and say it where nobody else can follow the URL."""
        url = self._code_url or record.url
        notes = list(record.notes)
        version, commit = record.version, record.commit_hash
        given = None
        if self._code_version is not None and record.name is None:
            version, given = _version_or_commit(self._code_version)
        if given and commit and not commit.startswith(given.lower()):
            notes.append(f"the work tree was at commit {commit}")
        elif commit and url != record.url and not record.url.startswith("file://"):
            notes.append(f"the commit is of the work tree of {record.url}")
        commit = given or commit
        if url.startswith("file://"):
            notes.append("the URL is a folder of one machine: others cannot reach it")
            if url not in self._warned:
                self._warned.add(url)
                _logger.warning(
                    "others cannot reach the code in %s; put it under git with a remote, "
                    "or give its URL: ASSET_PROVENANCE_CODE_URL=https://...",
                    url,
                )
        return dataclasses.replace(
            record, url=url, version=version, commit_hash=commit, notes=tuple(notes)
        )


_identifiers: weakref.WeakSet[CodeIdentifier] = weakref.WeakSet()


def _renew_locks() -> None:
    """Replace locks that another thread may have held at the fork, and so would hold for ever."""
    for identifier in list(_identifiers):
        identifier._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class _Distributions:
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
            is_site = PurePath(folder).name in _SITE_FOLDERS
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


def _where_from(distribution: Distribution) -> tuple[str, str | None]:
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
        return direct_url, commit if _COMMIT.fullmatch(commit) else None
    urls: dict[str, str] = {}
    for item in distribution.metadata.get_all("Project-URL") or ():
        label, _, url = item.partition(",")
        urls.setdefault(re.sub(r"[^a-z]", "", label.lower()), url.strip())
    homepage = _metadata(distribution, "Home-page") or ""
    for url in (*(urls.get(label, "") for label in _URL_LABELS), homepage, direct_url):
        if url.startswith(("https://", "http://")):
            return clean_url(url), None
    # From an index; conda names itself as installer, and a package put there by hand none.
    installer = (distribution.read_text("INSTALLER") or "conda").strip()
    if not direct and installer != "conda":
        return f"https://pypi.org/project/{_metadata(distribution, 'Name')}/", None
    return direct_url or Path(str(distribution.locate_file(""))).resolve().as_uri(), None


def _metadata(distribution: Distribution, field: str) -> str | None:
    values = distribution.metadata.get_all(field)
    return values[0] if values else None


def _record(url: str, script: str | None = None, **fields: Any) -> CodeRecord:
    return CodeRecord(
        url=url,
        run_script=None if script is None else printable(script),
        language="Python",
        language_version=platform.python_version(),
        **fields,
    )


def _with_note(record: CodeRecord, note: str) -> CodeRecord:
    if note in record.notes:
        return record
    return dataclasses.replace(record, notes=(*record.notes, note))


def _unwrap(function: Any) -> Any:
    """Give the innermost function; bounded, since a proxy may claim to wrap for ever."""
    for _ in range(100):
        inner = getattr(function, "__wrapped__", None)
        if inner is None and isinstance(function, (functools.partial, functools.partialmethod)):
            inner = function.func
        elif inner is None and isinstance(function, types.MethodType):
            inner = function.__func__
        if inner is None:
            break
        function = inner
    return function


def _is_source(path: str) -> bool:
    """Tell whether a name is that of a file, or of one inside an archive."""
    try:
        nearest = next(item for item in (Path(path), *Path(path).parents) if item.exists())
        return nearest.is_file()
    except (OSError, ValueError, StopIteration):
        return False


def _is_library(folder: str) -> bool:
    """Tell whether a folder is for installed code, whatever repository may be around it."""
    if _SITE_FOLDERS.intersection(PurePath(folder).parts):
        return True
    library = os.path.realpath(sysconfig.get_path("stdlib"))
    return PurePath(folder).is_relative_to(library)


def _version_or_commit(text: str) -> tuple[str | None, str | None]:
    """Tell a version from a commit.

    Seven to sixty hexadecimal digits are a commit, but a short number without a letter
    (``20240101``) is far more often a date, and a wrong commit would be worse than a version.
    """
    if _COMMIT.fullmatch(text) and (len(text) >= 40 or not text.isdigit()):
        return None, text
    return text, None


def code_from_user(code: object) -> CodeRecord:
    """Make a record of the code that the user names.

    Parameters
    ----------
    code
        ``"url@version"``, the schema's ``Code``, or a mapping with its fields.

    Returns
    -------
    CodeRecord
        With the URL free of credentials. Nothing is added of what runs here.

    Raises
    ------
    UsageError
        If it is none of these, or has no URL.
    """
    if isinstance(code, str):
        url, version = _split_version(code.strip())
        found, commit = _version_or_commit(version) if version else (None, None)
        given: dict[str, Any] = {"url": url, "version": found, "commit_hash": commit}
    elif isinstance(code, Mapping):
        given = dict(code)
        known = {"url", "object_type", *_TEXT_FIELDS, *_OBJECT_FIELDS, *_PROCESS_FIELDS}
        if unknown := sorted(str(key) for key in given if key not in known):
            raise UsageError(
                f"code= has unknown fields: {', '.join(unknown)}; "
                f"it may have url, {', '.join((*_TEXT_FIELDS, *_OBJECT_FIELDS))}"
            )
    elif hasattr(code, "url"):
        names = ("url", *_TEXT_FIELDS, *_OBJECT_FIELDS, *_PROCESS_FIELDS)
        given = {name: getattr(code, name, None) for name in names}
    else:
        raise UsageError(
            'code= is "url@version", the schema\'s Code, or a mapping with "url"; '
            f"not {type(code).__name__}"
        )
    for name, instead in _PROCESS_FIELDS.items():
        if given.get(name):
            raise UsageError(f"code= cannot hold {name}; give {instead} beside it")
    fields: dict[str, Any] = {name: _text(name, given.get(name)) for name in _TEXT_FIELDS}
    fields.update((name, _object(name, given.get(name))) for name in _OBJECT_FIELDS)
    commit = fields["commit_hash"]
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise UsageError("code= has a commit_hash that is not 7 to 60 hexadecimal digits")
    url = clean_url(_text("url", given.get("url")) or "")
    if not url:
        raise UsageError('code= has no URL; give for example "https://github.com/org/repo@v1.2"')
    return CodeRecord(url=url, **fields)


def _split_version(text: str) -> tuple[str, str | None]:
    """Split at an ``@`` in the last part of the path; one before that belongs to the host."""
    start = text.find("://")
    slash = text.rfind("/", start + 3 if start >= 0 else 0)
    at = text.rfind("@")
    if slash < 0 or at < slash:
        return text, None
    version = text[at + 1 :].strip()
    if not version:
        raise UsageError("code= ends in @ without a version")
    return text[:at].strip(), version


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, PurePath):
        return value.as_posix()
    if not isinstance(value, str):
        raise UsageError(f"code= wants text for {name}, not {type(value).__name__}")
    return redact_text(value) if name != "url" else value


def _object(name: str, value: Any) -> Mapping[str, JsonValue] | None:
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UsageError(f"code= wants an object for {name}, not {type(value).__name__}")
    return {str(key): _redacted(item) for key, item in value.items()}


def _redacted(value: Any) -> JsonValue:
    if isinstance(value, Mapping):
        return {str(key): _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value
