"""Which code ran: from settings, the git work tree, the installed distribution, or its capsule.

The modules ``git`` (and its own helpers), ``distributions``, ``given_code``, ``notebook``,
``capsule``, ``container``, ``codefolder``, ``sourcefiles`` and ``trees`` are its helpers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import platform
import re
import sys
import threading
import types
import weakref
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from asset_provenance.capture.capsule import Capsule, find_capsule
from asset_provenance.capture.codefolder import code_folder
from asset_provenance.capture.container import Container, find_container
from asset_provenance.capture.distributions import (
    Distributions,
    is_library,
    metadata_of,
    where_from,
)
from asset_provenance.capture.git import Git, WorkTree
from asset_provenance.capture.gitahead import AskedAhead
from asset_provenance.capture.gitasking import TIMEOUT
from asset_provenance.capture.gitfiles import find_root
from asset_provenance.capture.given_code import version_or_commit
from asset_provenance.capture.notebook import is_cell, notebook_file
from asset_provenance.capture.sourcefiles import is_source, main_file, unwrap
from asset_provenance.records import CodeRecord, JsonValue, printable
from asset_provenance.redaction import clean_url

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from importlib.metadata import Distribution

__all__ = ["ONE_MACHINE", "CodeIdentifier", "Patch", "tell_unreachable"]

_logger = logging.getLogger("asset_provenance")

_LONGEST_COMMIT = 60  # in the metadata; a longer one (SHA-256 repositories) is abbreviated

ONE_MACHINE = "the URL is a folder of one machine: others cannot reach it"

_MADE_AT_RUN_TIME = (
    "this code was given at run time (interactively, in a notebook or by exec), not in a file"
)
_IN_CELLS = (
    "this code was given in cells of the notebook, whose file may hold another state of them"
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
    without
        Folders of data and results: what is untracked in them is no code.
    settle_tree
        Called with each record whose version is to be the tree id of a folder; gives it with the
        id, or as it is when the id will be known later.
    ahead
        What git was asked before.
    main
        The script, or the folder, of the program that is recorded, where that is not this one.
    """

    def __init__(
        self,
        *,
        code_url: str | None = None,
        code_version: str | None = None,
        save_patch: bool = True,
        timeout: float = TIMEOUT,
        without: Collection[str] = (),
        settle_tree: Callable[[CodeRecord], CodeRecord] = lambda record: record,
        ahead: AskedAhead | None = None,
        main: str | None = None,
    ) -> None:
        self._code_url = clean_url(code_url) if code_url else None
        self._code_version = code_version or None
        self.options: dict[str, Any] = {
            "code_url": self._code_url,
            "code_version": self._code_version,
            "save_patch": save_patch,
            "without": sorted({os.path.realpath(folder) for folder in without}),
        }
        """What another process of the operating system needs to find code likewise."""
        self.is_quiet = False
        """Whether it leaves it to others to tell that code cannot be reached."""
        self._git = Git(save_patch=save_patch, timeout=timeout, without=self.options["without"])
        self._settle_tree = settle_tree
        self._ahead = ahead
        self._main = main
        self._distributions = Distributions()
        self._trees: dict[str, WorkTree] = {}
        self._files: dict[str, CodeRecord] = {}
        # Not by code object: those of two files that hold the same text compare equal.
        self._functions: dict[tuple[str, str | None], CodeRecord] = {}
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
                function = unwrap(function)
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
            The file. The name that Python gives to code without a file (``<stdin>``, a cell) is
            taken for the main script, the notebook, or the working folder.
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

    def of_installed(self, path: str) -> CodeRecord | None:
        """Tell of the installed distribution that a file belongs to; None if it is of none."""
        try:
            owner = self._distributions.owner(path)
            return None if owner is None else self._finish(self._of_distribution(*owner))
        except Exception:  # a failing collector costs its own fact, never the run
            _logger.debug("whose %s is was not found", printable(path), exc_info=True)
            return None

    def of_work_tree(self, folder: str) -> CodeRecord | None:
        """Tell which work tree a folder is in; None where it is in none."""
        try:
            real = os.path.realpath(folder)
            return None if is_library(real) or find_root(real) is None else self._of_folder(real)
        except Exception:  # as above
            _logger.debug("which code is in %s was not found", printable(folder), exc_info=True)
            return None

    def of_place(self, path: str) -> CodeRecord:
        """Tell no more of code than where it is."""
        return self._finish(_record(Path(os.sep, path).as_uri()))

    def of_main(self) -> CodeRecord | None:
        """Tell which code the main script or notebook belongs to; None where none is known."""
        path = main_file()
        return None if path is None else self.of_file(path)

    def surroundings(self) -> tuple[str, ...]:
        """Tell in sentences where the program runs, as far as the records do not."""
        try:
            capsule, container = self._surrounding
        except OSError:  # there may be no working folder any more
            return ()
        is_told = container is None or container.to_schema() is not None
        return tuple(str(item) for item in (capsule, None if is_told else container) if item)

    @functools.cached_property
    def _surrounding(self) -> tuple[Capsule | None, Container | None]:
        folder = self._main_folder()
        capsule = find_capsule(os.getcwd() if folder is None else folder)  # noqa: PTH109
        return capsule, find_container(None if capsule is None else capsule.code)

    def _main_folder(self) -> str | None:
        if self._main is not None and os.path.isdir(self._main):  # noqa: PTH112 - never raises
            return os.path.realpath(self._main)
        main = self._main or getattr(sys.modules.get("__main__"), "__file__", None)
        return os.path.dirname(os.path.realpath(main)) if isinstance(main, str) else None  # noqa: PTH120

    def _image(self) -> Mapping[str, JsonValue] | None:
        try:
            container = self._surrounding[1]
        except OSError:  # there may be no working folder any more
            return None
        return None if container is None else container.to_schema()

    @property
    def patches(self) -> tuple[Patch, ...]:
        """Uncommitted changes of the repositories asked so far that are to be kept."""
        return tuple(Patch(*item) for item in list(self._git.patches.items()))

    def _of_python(self, name: str, module: str | None) -> CodeRecord:
        """Identify Python code by the file name it bears and the module it is in."""
        path = getattr(sys.modules.get(module or ""), "__file__", None)
        if is_source(name) or module == "__main__" or not isinstance(path, str):
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
            if not is_source(path) or is_cell(path):
                record = self.of_main() or self._of_folder(os.getcwd())  # noqa: PTH109
                return _with_note(record, _IN_CELLS if notebook_file() else _MADE_AT_RUN_TIME)
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
        is_installed = is_library(folder)
        root = None if is_installed else find_root(folder)
        if root is None:
            top = None if is_installed else code_folder(folder, self._main_folder())
            record = _record(
                Path(top or folder).as_uri(),
                None if path is None else PurePath(os.path.relpath(path, top or folder)).as_posix(),
                tree=top,
            )
            return self._finish(record if is_installed else _of_capsule(record, folder))
        tree = self.work_tree(root)
        commit = tree.commit and tree.commit[:_LONGEST_COMMIT]
        notes = tree.notes
        script = None
        if path is not None:
            script = PurePath(os.path.relpath(path, root)).as_posix()
            if self._git.is_committed(tree, script) is False:
                notes = (*notes, f"{printable(script)} itself is not in the commit")
        return self._finish(
            _record(
                tree.url,
                script,
                commit_hash=commit,
                notes=notes,
                tree=root if commit is None else None,
            )
        )

    def work_tree(self, root: str) -> WorkTree:
        """Tell what is known of the work tree with this top folder; git is asked once."""
        with self._lock:
            tree = self._trees.get(root)
            if tree is None:
                survey = None if self._ahead is None else self._ahead.take(root)
                tree = self._trees[root] = self._git.work_tree(root, survey)
        return tree

    def _of_distribution(self, distribution: Distribution, path: str) -> CodeRecord:
        # Of a script, RECORD has the way out of site-packages: ../../../bin/name.
        script = re.sub(r"^(\.\./)+", "", path)
        if self._code_url is not None:
            return _record(self._code_url, script)
        url, commit = where_from(distribution)
        return _record(
            url,
            script,
            name=metadata_of(distribution, "Name"),
            version=metadata_of(distribution, "Version"),
            commit_hash=commit,
        )

    def _finish(self, record: CodeRecord) -> CodeRecord:
        """Let settings win, and say it where nobody else can follow the URL."""
        url = self._code_url or record.url
        notes = list(record.notes)
        version, commit = record.version, record.commit_hash
        given = None
        if self._code_version is not None and record.name is None:
            version, given = version_or_commit(self._code_version)
        if given and commit and not commit.startswith(given.lower()):
            notes.append(f"the work tree was at commit {commit}")
        elif given and not commit:
            notes.append("uncommitted changes were not looked for: the commit is as it was given")
        elif commit and url != record.url and not record.url.startswith("file://"):
            notes.append(f"the commit is of the work tree of {record.url}")
        commit = given or commit
        tree = record.tree if commit is None and version is None else None
        if url.startswith("file://"):
            notes.append(ONE_MACHINE)
            if not self.is_quiet:
                tell_unreachable(url)
        finished = dataclasses.replace(
            record,
            url=url,
            version=version,
            commit_hash=commit,
            container=self._image(),
            notes=tuple(notes),
            tree=tree,
        )
        return finished if tree is None else self._settle_tree(finished)


def tell_unreachable(url: str) -> None:
    """Warn of code that is in a folder of one machine; nothing for other code."""
    if url.startswith("file://") and url not in _warned:
        _warned.add(url)
        # A program of the system, for want of a script: nobody can push that.
        is_program = os.path.isfile(unquote(url.removeprefix("file://")))  # noqa: PTH113
        _logger.warning(
            "others cannot reach the code in %s; %s, or give its URL: "
            "ASSET_PROVENANCE_CODE_URL=https://...",
            url,
            "run it from a script that is under git"
            if is_program
            else "push it to a remote that they can reach",
        )


_warned: set[str] = set()
"""What this program has been told already, however many assets it opens."""
_identifiers: weakref.WeakSet[CodeIdentifier] = weakref.WeakSet()


def _renew_locks() -> None:
    """Replace locks that another thread may have held at the fork, and so would hold for ever."""
    for identifier in list(_identifiers):
        identifier._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _record(url: str, script: str | None = None, **fields: Any) -> CodeRecord:
    return CodeRecord(
        url=url,
        run_script=None if script is None else printable(script),
        language="Python",
        language_version=platform.python_version(),
        **fields,
    )


def _of_capsule(record: CodeRecord, folder: str) -> CodeRecord:
    """Add what Code Ocean tells of code that came without its repository."""
    capsule = find_capsule(folder)
    if capsule is None or capsule.code is None:
        return record
    for problem in capsule.problems:
        if problem not in _warned:
            _warned.add(problem)
            _logger.warning("%s", problem)
    return dataclasses.replace(
        record,
        url=capsule.url or record.url,
        commit_hash=capsule.commit,
        version=capsule.version,
        # A commit is of the repository around the folder of code.
        run_script=(
            f"{os.path.basename(capsule.code)}/{record.run_script}"  # noqa: PTH119
            if capsule.commit and record.run_script
            else record.run_script
        ),
        notes=(*record.notes, *capsule.problems),
    )


def _with_note(record: CodeRecord, note: str) -> CodeRecord:
    if note in record.notes:
        return record
    return dataclasses.replace(record, notes=(*record.notes, note))
