"""How git is asked: as a child process, within a time limit, and without running what it is told.

A helper of :mod:`asset_provenance.capture.code`. Git runs as a child process and not through
GitPython: importing GitPython already runs ``git version`` without a time limit, so a git that
hangs would hang the user's program, and it offers no way to keep ``GIT_DIR`` and the like from the
child.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

from asset_provenance.records import printable

__all__ = ["BrokenGitError", "NoAnswerError", "Questions"]

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
    "LC_ALL": "C",
}
_OPTIONS = (
    "--no-pager",
    # Programs that a repository's own configuration could name.
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    # Settings that would make the patch one that `git apply` does not take.
    *("-c", "diff.noprefix=false"),
    *("-c", "diff.mnemonicPrefix=false"),
    *("-c", "diff.relative=false"),
)


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
        self._deadline = time.monotonic() + timeout

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
        # Output goes to a file: however much it is, memory stays small, and a grandchild that
        # outlives git and holds a pipe open cannot make us wait.
        try:
            with tempfile.TemporaryFile() as output, _input(given) as source:
                status, errors = self._run(command, source, output)
                output.seek(0)
                answer = output.read()
        except FileNotFoundError:
            raise BrokenGitError("git is not installed here") from None
        except OSError as error:
            raise BrokenGitError(f"git cannot be run here ({error.strerror})") from None
        if status in accept:
            return answer
        if b"dubious ownership" in errors or b"unsafe repository" in errors:
            folder = printable(shlex.quote(self._root))
            raise NoAnswerError(
                "git does not trust the folder, which belongs to another user; to allow it: "
                f"git config --global --add safe.directory {folder}"
            )
        raise NoAnswerError("git cannot read the repository")

    def _run(
        self, command: Sequence[str], source: IO[bytes] | int, output: IO[bytes]
    ) -> tuple[int, bytes]:
        process = subprocess.Popen(
            ["git", "-C", self._root, *_OPTIONS, *command],
            env=_environment(self._root),
            stdin=source,
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that what git started can be ended with it
        )
        try:
            while True:
                left = self._deadline - time.monotonic()
                try:
                    _, errors = process.communicate(timeout=max(0.0, min(left, 0.2)))
                except subprocess.TimeoutExpired:
                    if process.poll() is not None:
                        return process.returncode, b""
                    if left <= 0:
                        raise BrokenGitError(
                            f"git did not answer within {self._timeout:g} s"
                        ) from None
                    if os.fstat(output.fileno()).st_size > self._most:
                        raise NoAnswerError("git's answer is too long") from None
                else:
                    return process.returncode, errors
        finally:
            _end(process)


def _environment(root: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(_KEPT_VARIABLES)
    }
    # A broken repository must not make git answer for the one around it.
    return {**kept, **_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": os.path.dirname(root)}  # noqa: PTH120


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
    """End git and whatever it started, and never wait long for that."""
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
