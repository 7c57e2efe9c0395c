"""``python -m asset_provenance.testing``: the loopback services for a terminal or a command."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from asset_provenance.errors import UsageError
from asset_provenance.testing.loading import load_records
from asset_provenance.testing.services import LoopbackServices

_DIED = 128
"""What shells add to the signal that ended a program."""


def main(arguments: Sequence[str]) -> int:
    """Start the services, and end them with the command or on Ctrl-C.

    Parameters
    ----------
    arguments
        Without the program's name.

    Returns
    -------
    int
        The exit status: the command's, or 0.
    """
    at = arguments.index("--") if "--" in arguments else len(arguments)
    command = arguments[at + 1 :]
    parser = _parser()
    options = parser.parse_args(arguments[:at])
    if at < len(arguments) and not command:
        parser.error("a command must follow --")
    try:
        records = load_records(options.records) if options.records is not None else {}
        with LoopbackServices(port=options.port) as services:
            for version, several in records.items():
                services.docdb.add_records(several, version=version)
            if command:
                return _run(command, services.environ)
            _tell(services, sum(map(len, records.values())))
            threading.Event().wait()
    except UsageError as error:
        parser.error(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m asset_provenance.testing",
        usage="%(prog)s [--records DIR] [--port PORT] [-- COMMAND ARGS]",
        description="Start a metadata database and a Code Ocean on this machine, which nobody else "
        "can reach. Without a command, print what leads there from another terminal, and run "
        "until Ctrl-C; with one, run it with them and give its exit status.",
    )
    parser.add_argument(
        "--records",
        type=Path,
        metavar="DIR",
        help="fill the database with the records (metadata.nd.json) and the assets "
        "(folders with a data_description.json) below DIR",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="where to listen; by default any port that is free"
    )
    return parser


def _tell(services: LoopbackServices, number: int) -> None:
    """Print lines that can be pasted as they are."""
    lines = [
        f"# A database with {number} record{'' if number == 1 else 's'}, and Code Ocean, are at "
        f"https://localhost:{services.port} until Ctrl-C.",
        "# Paste these lines into another terminal; all credentials in them are invented.",
        *(f"export {name}={shlex.quote(value)}" for name, value in services.environ.items()),
    ]
    print("\n".join(lines), flush=True)


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    # Ctrl-C goes to the command as well, which decides what becomes of it.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command, env={**os.environ, **environ})
    except OSError as error:
        raise UsageError(f"{command[0]} cannot be run: {error.strerror}") from None
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    status = process.wait()
    return status if status >= 0 else _DIED - status


if __name__ == "__main__":
    # The services are ended in order, whoever asks for it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
