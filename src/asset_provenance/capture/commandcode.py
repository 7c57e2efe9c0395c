"""Which code a command runs: the script that it names, in what language.

A helper of :mod:`asset_provenance.capture.code`. Nothing of the user's is run for it: words and
files are read, and interpreters are asked for their version.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asset_provenance.capture.commands import Named, candidates, named_by
from asset_provenance.capture.distributions import is_library
from asset_provenance.capture.gitfiles import find_root
from asset_provenance.capture.proc import standard_input

if TYPE_CHECKING:
    from asset_provenance.capture.code import CodeIdentifier
    from asset_provenance.records import CodeRecord

__all__ = ["CommandCode"]

_LONGEST = 5.0
"""Seconds that an interpreter may take to tell its version."""
_MOST_ANSWER = 10_000
_FIRST_LINE = 256

_VERSION = re.compile(r"(?:^|[ (v])(\d+\.\d[\w.]*)")


class _Language(NamedTuple):
    name: str
    program: re.Pattern[str]
    endings: tuple[str, ...]
    tells_version: bool = True


_LANGUAGES = (
    _Language("Python", re.compile(r"(?:python|pypy)[\d.]*"), (".py", ".pyw")),
    _Language("R", re.compile(r"R|Rscript|Rterm"), (".r", ".rscript")),
    _Language("Bash", re.compile(r"bash"), (".bash",)),
    _Language("Zsh", re.compile(r"zsh"), (".zsh",)),
    _Language("Shell", re.compile(r"sh|dash|ksh"), (".sh",), tells_version=False),
    _Language("MATLAB", re.compile(r"matlab"), (".m", ".mlx"), tells_version=False),
    _Language("Octave", re.compile(r"octave(?:-cli)?"), ()),
    _Language("Julia", re.compile(r"julia"), (".jl",)),
    _Language("Perl", re.compile(r"perl[\d.]*"), (".pl",)),
    _Language("Ruby", re.compile(r"ruby[\d.]*"), (".rb",)),
    _Language("JavaScript", re.compile(r"node(?:js)?"), (".js", ".mjs"), tells_version=False),
)
_OTHER_ENDINGS = (".ipynb", ".nf", ".smk", ".qmd", ".rmd", ".do", ".sas", ".cwl", ".wdl")
_SOURCES = frozenset(
    [ending for language in _LANGUAGES for ending in language.endings] + [*_OTHER_ENDINGS]
)
_SOURCE_NAMES = frozenset(("Snakefile", "Makefile", "makefile", "GNUmakefile"))
_QUOTED = re.compile(r"""['"]([^'"\n]{1,1000})['"]""")
_CALLED = re.compile(r"(?:^|[;,\s])([A-Za-z]\w{0,62})")
_ENTRY = re.compile(rb"^from ([\w.]+) import ", re.MULTILINE)
_RELEASE = re.compile(r"/(R20\d\d[ab])/")

_TRANSPARENT = frozenset(
    ("env", "nice", "ionice", "nohup", "time", "timeout", "stdbuf", "setsid", "taskset", "chrt")
)
"""Programs that start another one as it would be started without them."""
_SETTING_UP = frozenset((".", "source"))
"""What these read in a shell line is no more than its beginning."""
_RUNNING_NOTHING = frozenset((
    *("cat", "cd", "cp", "diff", "du", "echo", "file", "grep", "gzip", "head", "install", "less"),
    *("ln", "ls", "md5sum", "mkdir", "mv", "printf", "rm", "rsync", "sed", "sha256sum", "sort"),
    *("stat", "tail", "tar", "tee", "test", "touch", "wc", "zip", "["),
))  # fmt: skip
"""To these, code is a file like any other."""
_CHANGING = _SETTING_UP | frozenset(
    (
        *("eval", "export", "declare", "typeset", "alias", "hash", "module", "ml", "workon"),
        *("conda", "mamba", "micromamba", "pyenv", "nvm", "spack"),
    )
)
"""After these in a shell line, nobody can say which interpreter a name means."""
_OF_THE_FOLDER = (
    "the command names no script: this is the work tree of the folder that it was run in"
)
_MARKS = ("pyvenv.cfg", "conda-meta", "lib/python3*/site-packages")
_SYSTEM = ("/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/", "/usr/lib/", "/usr/libexec/")


class _Candidate(NamedTuple):
    """A file of code that a command names, and what it was found by."""

    path: str
    interpreter: str | None
    """What runs it, where that is clear."""
    is_script: bool
    """Whether it is the user's own, not a program that is found by its name."""


@dataclass(frozen=True, slots=True)
class CommandCode:
    """The code of a command, as far as its words tell.

    Parameters
    ----------
    program
        The absolute path of the program itself.
    script
        The file of code that it runs; None where it names none.
    label
        What the process is called unless it is given a name.
    cwd
        Where it runs.
    language, version
        Of the script, as far as they are known.
    """

    program: str
    script: str | None
    label: str
    cwd: str
    language: str | None = None
    version: str | None = None

    @classmethod
    def of(cls, command: Sequence[str], program: str, cwd: str) -> CommandCode:
        """Find the code of a command.

        Parameters
        ----------
        command
            Its words.
        program
            The absolute path of its first word.
        cwd
            Where it runs, absolute.
        """
        label, found = _stem(command[0]), []
        with suppress(Exception):  # it costs its own fact
            named = named_by(list(command), cwd=cwd)
            label = _label(named) or label
            found = list(_all(named, program))
        chosen = next((one for one in found if _is_in_work_tree(one.path)), None)
        if chosen is None:
            chosen = next((one for one in found if one.is_script), None)
        if chosen is None:
            return cls(program, None, label, cwd)
        known = None if chosen.interpreter is None else _language_of(chosen.interpreter)
        language = known or next(
            (one for one in _LANGUAGES if _ending(chosen.path) in one.endings), None
        )
        return cls(
            program,
            chosen.path,
            _stem(chosen.path),
            cwd,
            None if language is None else language.name,
            None if known is None else _version(known, chosen.interpreter or "", cwd),
        )

    @property
    def place(self) -> str:
        """The script, or else the folder, that stands for the main script of the run."""
        return self.script or self.cwd

    def identify(self, identifier: CodeIdentifier) -> CodeRecord:
        """Tell which code it is."""
        if self.script is not None:
            record = identifier.of_file(self.script)
            return replace(record, language=self.language, language_version=self.version)
        installed = identifier.of_installed(self.program)
        if installed is not None:
            return installed
        around = identifier.of_work_tree(self.cwd)
        if around is not None:
            record = replace(around, notes=(*around.notes, _OF_THE_FOLDER))
        else:
            # What an interpreter is told in its arguments is no code of the interpreter.
            is_told = _language_of(self.program) is not None
            record = identifier.of_place(self.cwd if is_told else self.program)
        return replace(record, language=None, language_version=None)


def _label(named: Named) -> str | None:
    words, cwd = named.commands[0]
    programs = (word for word in words if not _is_transparent(word) and _found(word, cwd))
    return next(map(_stem, programs), None)


def _all(named: Named, program: str) -> Iterator[_Candidate]:
    before: set[str] = set()
    for number, (words, cwd) in enumerate(named.commands):
        # The command as it was given comes last; what stands in its own line, before it.
        is_whole = number == len(named.commands) - 1
        is_clear = not named.sets_path and (is_whole or before.isdisjoint(_CHANGING))
        given = [standard_input()] if is_whole else []
        found = program if is_whole else None
        if words[0] not in _SETTING_UP and _stem(words[0]) not in _RUNNING_NOTHING:
            yield from _of_words([*words, *filter(None, given)], cwd, found, is_clear=is_clear)
        before.add(words[0])


def _of_words(
    words: Sequence[str], cwd: str, program: str | None, *, is_clear: bool
) -> Iterator[_Candidate]:
    """Give the files of code that the words of one command name, in their order."""
    language: _Language | None = None
    interpreter: str | None = None
    # As long as it is, a program found by its name is the one that this command starts.
    is_clear = is_clear and not any(word.startswith("PATH=") for word in words)
    for place, word in enumerate(words):
        rest = words[place + 1 :]
        if language is None and _language_of(word) is not None:
            language = _language_of(word)
            interpreter = _found(word, cwd) if is_clear else None
            for path in _of_interpreter(word, rest, cwd):
                yield _Candidate(path, interpreter, is_script=True)
            continue
        if language is None and is_clear and not _is_transparent(word):
            found = (program if place == 0 else None) or _found(word, cwd)
            if found is not None:
                yield from _of_program(word, found)
                is_clear = False
                continue
        for text in (*candidates(word), *_QUOTED.findall(word)):
            path = os.path.join(cwd, text)  # noqa: PTH118
            if _is_code(path):
                yield _Candidate(os.path.normpath(path), interpreter, is_script=True)


def _of_program(word: str, path: str) -> Iterator[_Candidate]:
    module = _module_of_entry(path)
    if module is not None:
        yield _Candidate(module, _shebang(path), is_script=True)
    elif not path.startswith(_SYSTEM):
        yield _Candidate(path, _shebang(path), is_script="/" in word)


def _is_transparent(word: str) -> bool:
    name = os.path.basename(word)  # noqa: PTH119
    return name in _TRANSPARENT or word.startswith("-") or "=" in word or word[:1].isdigit()


def _found(word: str, cwd: str) -> str | None:
    if "/" in word:
        word = os.path.normpath(os.path.join(cwd, word))  # noqa: PTH118
    found = shutil.which(word)
    return None if found is None else os.path.normpath(found)


def _language_of(program: str) -> _Language | None:
    name = os.path.basename(program)  # noqa: PTH119
    return next((one for one in _LANGUAGES if one.program.fullmatch(name)), None)


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def _stem(path: str) -> str:
    name = os.path.basename(path)  # noqa: PTH119
    if name in {"__main__.py", "__init__.py"}:
        name = os.path.basename(os.path.dirname(path))  # noqa: PTH119, PTH120
    return os.path.splitext(name)[0] if _ending(name) in _SOURCES else name  # noqa: PTH122


def _is_code(path: str) -> bool:
    if not os.path.isfile(path):  # noqa: PTH113 - never raises
        return False
    name = os.path.basename(path)  # noqa: PTH119
    return _ending(path) in _SOURCES or name in _SOURCE_NAMES or _shebang(path) is not None


def _is_in_work_tree(path: str) -> bool:
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
    return not is_library(folder) and not _is_environment(folder) and find_root(folder) is not None


def _is_environment(folder: str) -> bool:
    """Say whether this is where an environment has its programs, wherever that lies."""
    around = Path(folder).parent
    return any(next(around.glob(mark), None) for mark in _MARKS)


def _shebang(path: str) -> str | None:
    """Give the interpreter that the first line of a file names."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            line = os.read(descriptor, _FIRST_LINE).partition(b"\n")[0]
        finally:
            os.close(descriptor)
    except OSError:
        return None
    if not line.startswith(b"#!"):
        return None
    words = os.fsdecode(line[2:]).split()
    if words and os.path.basename(words[0]) == "env":  # noqa: PTH119
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return _found(words[0], os.sep) if words else None


def _of_interpreter(word: str, rest: Sequence[str], cwd: str) -> Iterator[str]:
    """Give what an interpreter is told to run by another way than as a file."""
    name = os.path.basename(word)  # noqa: PTH119
    if name.startswith(("python", "pypy")):
        module = _module_of(rest)
        search = [cwd, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        path = None if module is None else _module_file(module, search, "__main__")
        if path is not None:
            yield path
    elif name.startswith(("matlab", "octave")):
        for place, statements in enumerate(rest):
            if rest[place - 1 : place] in (["-batch"], ["-r"], ["--eval"]):
                for function in _CALLED.findall(statements):
                    for ending in (".m", ".mlx"):
                        path = os.path.join(cwd, function + ending)  # noqa: PTH118
                        if os.path.isfile(path):  # noqa: PTH113
                            yield path


def _module_of(words: Sequence[str]) -> str | None:
    """Give the module of ``python -m``."""
    for place, word in enumerate(words):
        if word == "-m":
            return words[place + 1] if place + 1 < len(words) else None
        if word.startswith("-m"):
            return word[2:]
        if not word.startswith("-") and words[place - 1 : place] not in (["-W"], ["-X"]):
            return None
    return None


def _module_file(module: str, search: Sequence[str], of_package: str) -> str | None:
    """Find the file of a module, or that one of a package's, without importing anything."""
    path: list[str] = list(search)
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, path) if path else None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    if path:  # a package
        spec = PathFinder.find_spec(of_package, path)
    return None if spec is None or not spec.has_location else spec.origin


def _module_of_entry(path: str) -> str | None:
    """Give the file of the user's that an installed program of Python's calls, if it is that."""
    folder = os.path.dirname(path)  # noqa: PTH120
    if not _is_environment(folder):
        return None
    with open(path, "rb") as file:  # noqa: PTH123
        found = _ENTRY.search(file.read(_MOST_ANSWER))
    if found is None:
        return None
    # What is installed editable lies where a file of the environment says.
    search: list[str] = []
    for site in Path(folder).parent.glob("lib/python3*/site-packages"):
        for listed in site.glob("*.pth"):
            lines = listed.read_text("utf-8", "surrogateescape").splitlines()
            search += [line for line in lines if os.path.isabs(line)]  # noqa: PTH117
    module = _module_file(os.fsdecode(found[1]), search, "__init__")
    return module if module is not None and _is_in_work_tree(module) else None


def _version(language: _Language, interpreter: str, cwd: str) -> str | None:
    """Ask an interpreter for its version."""
    real = os.path.realpath(interpreter)
    if language.name == "MATLAB":  # it takes long to start, and lies in a folder of that name
        release = _RELEASE.search(real)
        return release[1] if release else None
    # What bears such a name in the work tree may be the user's own.
    root = find_root(os.path.dirname(real))  # noqa: PTH120
    is_own = root is not None and root == find_root(os.path.realpath(cwd))
    if not language.tells_version or (is_own and not _is_environment(os.path.dirname(real))):  # noqa: PTH120
        return None
    try:
        with subprocess.Popen(
            [interpreter, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as asked:
            try:
                answer = asked.communicate(timeout=_LONGEST)[0]
            except subprocess.TimeoutExpired:
                os.killpg(asked.pid, signal.SIGKILL)
                return None
    except (OSError, ValueError):
        return None
    found = _VERSION.search(answer[:_MOST_ANSWER].decode("utf-8", "replace"))
    return None if asked.returncode or found is None else found[1].rstrip(".")
