"""Metadata of schema v1 is recognised, and upgraded in a child process with bounds.

``aind-metadata-upgrader`` takes seconds and 120 MB to import, prints records and tracebacks, and
asks a public database for some of them, without a time limit. A child process bounds all of that.
"""

from __future__ import annotations

import errno
import faulthandler
import ipaddress
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asset_provenance import children
from asset_provenance.corefiles import CORE_FILES, LEGACY_FILES
from asset_provenance.errors import AssemblyError, UsageError
from asset_provenance.redaction import redact_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

__all__ = ["is_v1", "upgrade", "v1_files"]

logger = logging.getLogger("asset_provenance")

_NEW_NAMES = {"session": "acquisition", "rig": "instrument"}
# The upgrader knows no ``model``: it fails on a record that holds one.
_UPGRADABLE = ({*CORE_FILES} - {"model"}) | {*LEGACY_FILES}
_UPGRADER = "aind_metadata_upgrader"
_REMEDY = (
    'give an input whose metadata have been upgraded, or inherit="none" and the facts yourself'
)
_LONGEST_REASON = 400
_CLIENT = "requests.sessions"
"""Where the upgrader is while it asks a service."""
_LOOK_EVERY = 0.05


def is_v1(core_files: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether any of an asset's core files is of schema v1.

    Parameters
    ----------
    core_files
        The content of each file, by its name without ``.json``.
    """
    return bool(v1_files(core_files))


def v1_files(core_files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name the core files that are of schema v1, in the order given.

    Only v1 had ``session`` and ``rig``. Any other file is v1 if it says so by a ``schema_version``
    below 2; one without a readable version is not.

    Parameters
    ----------
    core_files
        The content of each file, by its name without ``.json``.
    """
    names = []
    for name, content in core_files.items():
        if name not in _UPGRADABLE or not isinstance(content, Mapping) or not content:
            continue
        major = _major_version(content)
        if name in LEGACY_FILES or (major is not None and major < 2):
            names.append(name)
    return names


def upgrade(
    name: str,
    location: str,
    core_files: Mapping[str, Mapping[str, Any]],
    *,
    timeout: float = 120.0,
    service_timeout: float = 10.0,
    offline: bool = False,
) -> dict[str, bytes]:
    """Upgrade those core files of an asset that are of schema v1.

    Parameters
    ----------
    name, location
        Of the asset, as in its record.
    core_files
        All its core files: the upgrader repairs one with the help of the others.
    timeout
        Seconds after which the upgrader is killed.
    service_timeout
        Seconds that it may wait for services on the network, all in all.
    offline
        Refuse the upgrader every connection to another machine.

    Returns
    -------
    dict
        The upgraded files as JSON, by their names in v2 (``session`` becomes ``acquisition``,
        ``rig`` becomes ``instrument``). Files that are v2 already are not among them.

    Raises
    ------
    UsageError
        If ``aind-metadata-upgrader`` is not installed.
    AssemblyError
        If it does not manage to upgrade the record in that time.
    """
    old = v1_files(core_files)
    if not old:
        return {}
    known = {
        key: content
        for key, content in core_files.items()
        if key in old
        or (
            key in _UPGRADABLE
            and isinstance(content, Mapping)
            and _major_version(content) is not None
        )
    }
    if "processing" in old:
        known["processing"] = _with_pipeline(known["processing"])
    # A v2 acquisition beside a v1 session stays as it is.
    targets = sorted({_NEW_NAMES.get(key, key) for key in old} - (known.keys() - {*old}))
    request = {
        "record": {"name": name, "location": location, **known},
        "targets": targets,
        "offline": offline,
        "timeout": timeout,
        "service_timeout": service_timeout,
    }
    reply = _ask_child(name, request, timeout)
    if reply.get("missing"):
        raise UsageError(
            f"the metadata of {name} are of schema v1, and the upgrader is not installed: "
            'pip install "asset-provenance[upgrade]"'
        )
    if "silent" in reply:
        raise _failure(
            name,
            f"the upgrader asked {reply['silent']}, which did not answer within "
            f"{service_timeout:g} s (service_timeout)",
        )
    if "error" in reply:
        reason = f"the upgrader said: {reply['error']}"
        if reply["refused"]:
            hosts = " and ".join(reply["refused"])
            reason = f"the upgrader needs {hosts}, and `offline` is set; {reason}"
        raise _failure(name, reason)
    for key in reply["invalid"]:
        logger.warning(
            "%s of %s was upgraded from schema v1, but does not satisfy the schema", key, name
        )
    for key in sorted({*targets} - reply["files"].keys()):
        logger.warning("the upgrader dropped %s of %s, which was of schema v1", key, name)
    return {key: text.encode() for key, text in reply["files"].items()}


def _major_version(content: Mapping[str, Any]) -> int | None:
    version = content.get("schema_version")
    if not isinstance(version, str):
        return None
    major = version.strip().partition(".")[0]
    return int(major) if major.isascii() and major.isdecimal() else None


def _with_pipeline(processing: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the processes where v0.3 and later have them; the upgrader loses them elsewhere."""
    if "processing_pipeline" in processing or "data_processes" not in processing:
        return processing
    moved = ("data_processes", "pipeline_url", "pipeline_version")
    pipeline = {key: processing[key] for key in moved if key in processing}
    return {**processing, "processing_pipeline": pipeline}


def _failure(name: str, reason: str) -> AssemblyError:
    return AssemblyError(
        f"the metadata of {name} are of schema v1 and could not be upgraded:",
        (reason, f"to go on, {_REMEDY}"),
    )


def _ask_child(name: str, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    # The upgrader walks sets of names: with a fixed seed, the same record gives the same bytes.
    environment = {**children.environment(), "PYTHONHASHSEED": "0"}
    try:
        result = subprocess.run(
            children.command(__name__, "_child"),
            input=json.dumps(request).encode(),
            capture_output=True,
            check=False,
            env=environment,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise _failure(name, f"the upgrader did not finish within {timeout:g} s") from None
    except OSError as error:
        raise _failure(name, f"the upgrader could not be started: {error}") from error
    try:
        reply: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        said = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
        ending = f"the upgrader ended with status {result.returncode}"
        raise _failure(name, redact_text(": ".join([ending, *said]))[:_LONGEST_REASON]) from None
    return reply


def _child() -> None:
    """Upgrade the record on standard input; the answer is the only thing on standard output."""
    request = json.loads(sys.stdin.buffer.read())
    # Should the parent be killed, nobody else ends an upgrader that waits for the network.
    faulthandler.dump_traceback_later(request["timeout"], exit=True)
    # The upgrader prints whole records.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    only_one = threading.Lock()

    def tell(reply: Mapping[str, Any]) -> None:
        only_one.acquire()  # for good: the first answer is the only one
        with answer:
            answer.write(json.dumps(reply).encode())

    refused: list[str] = []
    if request["offline"]:
        _refuse_connections(refused)
    else:
        _bound_waiting(request["service_timeout"], tell)
    reply = _upgraded(request["record"], request["targets"])
    reply["refused"] = list(dict.fromkeys(refused))
    tell(reply)


def _upgraded(record: dict[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    from pydantic import ValidationError  # noqa: PLC0415 - in the child only

    try:
        from aind_metadata_upgrader.upgrade import TYPE_MAPPING, Upgrade  # noqa: PLC0415 - as above

        # The schema refuses a record that has neither; the upgrader can then do each file alone.
        alone = not ({"subject", "processing"} & record.keys())
        metadata = Upgrade(record, skip_metadata_validation=alone).metadata
        models = {key: getattr(metadata, key) for key in targets}
        if alone:
            models = {key: TYPE_MAPPING[key](**value) for key, value in models.items() if value}
        files = {
            key: model.model_dump_json(indent=3)
            for key, model in models.items()
            if model is not None
        }
    except ModuleNotFoundError as error:
        return {"missing": error.name == _UPGRADER, "error": _reason(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent says it
        return {"error": _reason(error)}
    invalid = []
    for key, text in files.items():
        try:
            type(models[key]).model_validate_json(text)
        except ValidationError:
            invalid.append(key)
    return {"files": files, "invalid": invalid}


def _reason(error: BaseException) -> str:
    """Give what an exception says in one line, without pydantic's details and web pages."""
    lines = [line.partition(" [type=")[0].strip() for line in str(error).splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith("For further info"))
    return redact_text(f"{type(error).__name__}: {said}")[:_LONGEST_REASON]


def _bound_waiting(seconds: float, tell: Callable[[Mapping[str, Any]], None]) -> None:
    """End this process when it has waited for the network for so long, all in all.

    A name server or a server that hangs cannot be interrupted, and the upgrader sets no limit. Its
    imports and its own work do not count.
    """
    asked = [""]

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.getaddrinfo":
            asked.append(str(arguments[0]))
        elif event == "http.client.connect":  # by way of a proxy, it is not the proxy that is meant
            asked.append(str(getattr(arguments[0], "_tunnel_host", None) or arguments[1]))

    def watch() -> None:
        waited = 0.0
        while waited < seconds:
            before = time.monotonic()
            time.sleep(min(_LOOK_EVERY, seconds))
            frame = sys._current_frames().get(threading.main_thread().ident or 0)
            while frame is not None and not _is_asking(frame):
                frame = frame.f_back
            waited += 0.0 if frame is None else time.monotonic() - before
        tell({"silent": asked[-1]})
        os._exit(0)

    sys.addaudithook(note)
    threading.Thread(target=watch, daemon=True).start()


def _is_asking(frame: FrameType) -> bool:
    """Say whether this is the client at work, rather than its import."""
    return frame.f_globals.get("__name__") == _CLIENT and frame.f_code.co_name != "<module>"


def _refuse_connections(refused: list[str]) -> None:
    """Let no socket of this process reach another machine, nor ask for its address.

    An audit hook also sees what C code connects through the ``socket`` module. It cannot be
    removed and slows the interpreter, which matters only outside a process as short as this one.
    """

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
            host = arguments[0]
        elif event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            address = arguments[1]
            if not isinstance(address, tuple):  # a Unix socket, or one that is connected
                return
            host = address[0]
        else:
            return
        if not _is_loopback(host):
            refused.append(str(host))
            raise OSError(errno.ECONNREFUSED, f"refused because offline: {host}")

    sys.addaudithook(refuse)


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False
