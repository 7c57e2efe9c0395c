"""How git is asked: as a child process, within a time limit, and without running what it is told.

A helper of :mod:`asset_provenance.capture.code`. Git runs as a child process and not through
GitPython: importing GitPython already runs ``git version`` without a time limit, so a git that
hangs would hang the user's program, and it offers no way to keep ``GIT_DIR`` and the like from the
child.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import IO

from asset_provenance.records import printable

__all__ = ["TIMEOUT", "BrokenGitError", "NoAnswerError", "Question", "Questions", "commit_time"]

TIMEOUT = 10.0
"""Seconds for all questions about one work tree."""
MAX_OUTPUT = 64_000_000

# Only these of the user's GIT_ variables reach the child: the others (GIT_DIR, GIT_INDEX_FILE,
# GIT_EXTERNAL_DIFF, ...) would make it look at another repository or run other programs.
_KEPT_VARIABLES = ("GIT_CONFIG_", "GIT_EXEC_PATH", "GIT_DISCOVERY_ACROSS_FILESYSTEM")

_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",  # never write to the user's repository
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    # A partial clone must not fetch what is missing: no network, no ssh, no credential helper.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    # A commit is what its id says, not what this clone has put in its place.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C",
}
_OPTIONS = (
    "--no-pager",
    # Programs that a repository's own configuration could name.
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "log.showSignature=false"),
    # What `git log -m` shows of a merge: what differs from each of its parents.
    *("-c", "log.diffMerges=separate"),
    # To read the index with several threads takes longer than with one, for any usual number.
    *("-c", "index.threads=1"),
    # Settings that would make the patch one that `git apply` does not take.
    *("-c", "diff.noprefix=false"),
    *("-c", "diff.mnemonicPrefix=false"),
    *("-c", "diff.relative=false"),
)


_EMPTY = "ASSET_PROVENANCE_EMPTY"
"""A variable of git's that holds nothing."""


class NoAnswerError(Exception):
    """Git gave no answer; the text says why and holds nothing that git itself said."""


class BrokenGitError(NoAnswerError):
    """Git does not run here at all."""


class Questions:
    """Questions to git about one repository, which share one time limit.

    Parameters
    ----------
    root
        Top folder of a work tree, or of a repository without one.
    timeout
        Seconds for all of them.
    most
        Bytes that an answer may have.
    """

    def __init__(self, root: str, timeout: float, *, most: int = MAX_OUTPUT) -> None:
        self._root = root
        self._timeout = timeout
        self._most = most
        self.deadline = 0.0
        self.start_clock()
        self._without_filters: list[str] = []
        self._environment = _environment(root)

    def start_clock(self) -> None:
        """Let the time count from now on: until now, nobody has waited."""
        self.deadline = time.monotonic() + self._timeout

    def elsewhere(self, root: str) -> Questions:
        """Give questions about another repository that share this time limit."""
        other = Questions(root, self._timeout, most=self._most)
        other.deadline = self.deadline
        return other

    def __call__(
        self, *command: str, accept: Sequence[int] = (0,), given: bytes | None = None
    ) -> bytes:
        """Ask git, and give what it prints.

        Parameters
        ----------
        command
            Of git, and its arguments.
        accept
            The exit statuses of an answer.
        given
            What stands in its standard input.

        Raises
        ------
        NoAnswerError
            If there is no answer; the text says why.
        """
        return self.begin(*command, accept=accept, given=given).answer()

    def begin(
        self, *command: str, accept: Sequence[int] = (0,), given: bytes | None = None
    ) -> Question:
        """Ask git without waiting for the answer; as for a call.

        Raises
        ------
        NoAnswerError
            If git does not start.
        """
        # Output goes to a file: however much it is, memory stays small, and a grandchild that
        # outlives git and holds a pipe open cannot make us wait.
        output = tempfile.TemporaryFile()  # noqa: SIM115 - the question closes it
        try:
            with _input(given) as source:
                process = subprocess.Popen(
                    ["git", "-C", self._root, *_OPTIONS, *self._without_filters, *command],
                    env=self._environment,
                    stdin=source,
                    stdout=output,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # so that what git started can be ended with it
                )
        except OSError as error:
            output.close()
            if isinstance(error, FileNotFoundError):
                raise BrokenGitError("git is not installed here") from None
            if error.errno == errno.E2BIG:
                raise NoAnswerError("there is too much to ask git at once") from None
            raise BrokenGitError(f"git cannot be run here ({error.strerror})") from None
        return Question(self, process, output, accept)

    def config(self, pattern: str, *, file: str | None = None) -> list[tuple[str, str]]:
        """Give the settings whose whole names match a regular expression, in their order.

        Parameters
        ----------
        pattern
            The expression.
        file
            Where they are; without, all those that hold for the repository.
        """
        place = ("--file", file) if file else ()
        answer = self("config", *place, "--null", "--get-regexp", f"^({pattern})$", accept=(0, 1))
        items = (os.fsdecode(item).partition("\n") for item in answer.split(b"\0") if item)
        return [(name, value) for name, _, value in items]

    def leave_out_filters(self, names: Iterable[str]) -> None:
        """Have git compare files as they are: no filter of these names is run from here on."""
        self._without_filters = [
            part
            for name in names
            for key in ("clean", "smudge", "process", "required")
            for part in _emptied(f"filter.{name}.{key}")
        ]


class Question:
    """A question that git works on.

    Parameters
    ----------
    questions
        Those that it belongs to.
    process, output
        The git that was started, and the file that it writes to.
    accept
        The exit statuses of an answer.
    """

    def __init__(
        self,
        questions: Questions,
        process: subprocess.Popen[bytes],
        output: IO[bytes],
        accept: Sequence[int],
    ) -> None:
        self._questions = questions
        self._process = process
        self._output = output
        self._accept = accept

    def answer(self) -> bytes:
        """Wait for git, and give what it prints; once.

        Raises
        ------
        NoAnswerError
            If there is no answer; the text says why.
        """
        try:
            status, errors = self._wait()
            self._output.seek(0)
            answer = self._output.read()
        except OSError as error:
            raise BrokenGitError(f"git cannot be run here ({error.strerror})") from None
        finally:
            self.end()
        if status in self._accept:
            return answer
        if b"dubious ownership" in errors or b"unsafe repository" in errors:
            folder = printable(shlex.quote(self._questions._root))
            raise NoAnswerError(
                "git does not trust the folder, which belongs to another user; to allow it: "
                f"git config --global --add safe.directory {folder}"
            )
        raise NoAnswerError("git cannot read the repository")

    def end(self) -> None:
        """End git and whatever it started, and never wait long for that."""
        self._output.close()
        _end(self._process)

    def _wait(self) -> tuple[int, bytes]:
        process, limits = self._process, self._questions
        while True:
            left = limits.deadline - time.monotonic()
            try:
                _, errors = process.communicate(timeout=max(0.0, min(left, 0.2)))
            except subprocess.TimeoutExpired:
                if process.poll() is not None:
                    return process.returncode, b""
                if left <= 0:
                    raise BrokenGitError(
                        f"git did not answer within {limits._timeout:g} s"
                    ) from None
                if os.fstat(self._output.fileno()).st_size > limits._most:
                    raise NoAnswerError("git's answer is too long") from None
            else:
                return process.returncode, errors


def _emptied(key: str) -> tuple[str, ...]:
    """Give the options that empty a setting."""
    if "=" in key:  # where the key ends in the form that -c takes
        return (f"--config-env={key}={_EMPTY}",)
    return ("-c", f"{key}=")


def _environment(root: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(_KEPT_VARIABLES)
    }
    # A broken repository must not make git answer for the one around it.
    return {**kept, **_ENVIRONMENT, _EMPTY: "", "GIT_CEILING_DIRECTORIES": os.path.dirname(root)}  # noqa: PTH120


@contextlib.contextmanager
def _input(given: bytes | None) -> Iterator[IO[bytes] | int]:
    if given is None:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(given)
        file.seek(0)
        yield file


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
    if process.stderr is not None:
        process.stderr.close()


def commit_time(seconds: str) -> datetime:
    """Give the time of a commit, as git tells it in seconds."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):  # git takes any number for a time
        return datetime.max.replace(tzinfo=UTC)
