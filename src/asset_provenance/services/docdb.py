"""The metadata database, asked through its own client.

Runs in a program of our own beside the user's, see :mod:`asset_provenance.services.lookup`.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asset_provenance.corefiles import CORE_FILES, LEGACY_FILES
from asset_provenance.errors import ServiceError
from asset_provenance.redaction import redact_text
from asset_provenance.services.requesting import (
    may_pass,
    pause,
    read_answer,
    status_of,
    why_no_answer,
)

if TYPE_CHECKING:
    import requests

__all__ = ["find_records"]

_TRIES = 2.5
"""A request may take so much of the time, so that one that hangs leaves time for another."""
_LAST_WORDS = 0.2
"""Seconds after the deadline in which the program must have said what it has found out."""
_CHUNK = 1024 * 1024
_TOO_LARGE = 413
_ABOUT = ("_id", "name", "location", "schema_version", "created", "_created")
_ABOUT_CHANGES = ("last_modified", "_last_modified")

Ask = Callable[[Sequence[str], Sequence[str] | None], list[dict[str, Any]]]


class _TooLargeError(Exception):
    """The gateway does not pass so much on at once."""


def find_records(
    names: Sequence[str],
    *,
    host: str,
    version: str,
    deadline: float,
    core_files: Sequence[str] | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Find the records of data assets, with as few queries as they need: one, as a rule.

    Parameters
    ----------
    names
        Of the assets.
    host, version
        Of the database's API.
    deadline
        When to give up, on the monotonic clock, in seconds.
    core_files
        Those that are wanted, by the names of their fields; None: whole records.

    Returns
    -------
    tuple
        What was found, several records of one name among them; and why it is not all that there
        may be, or None.
    """
    from aind_data_access_api.document_db import MetadataDbClient  # noqa: PLC0415 - slow

    wanted = set(names)
    fields = None if core_files is None else (*_ABOUT, *_ABOUT_CHANGES, *core_files)
    found: list[dict[str, Any]] = []

    def ask(group: Sequence[str], fields: Sequence[str] | None) -> list[dict[str, Any]]:
        projection = None if fields is None else dict.fromkeys(fields, 1)
        answer = _patiently(
            lambda: client.fetch_records_by_filter_list("name", list(group), projection), deadline
        )
        if not isinstance(answer, list):
            raise ServiceError(f"it answered with {type(answer).__name__} instead of records")
        return [record for record in answer if isinstance(record, dict) and _name(record) in wanted]

    try:
        with _session(deadline) as session:
            client = MetadataDbClient(host=host, version=version, session=session)
            missing = list(names)
            while missing:
                new = _in_parts(ask, missing, fields)
                found += new
                # A gateway may pass on fewer records than there are, without a word.
                there = {record["name"] for record in new}
                missing = [name for name in missing if name not in there] if there else []
    except ServiceError as error:
        return found, str(error)
    return found, None


def _name(record: Mapping[str, Any]) -> str | None:
    name = record.get("name")
    return name if isinstance(name, str) else None


def _in_parts(ask: Ask, names: Sequence[str], fields: Sequence[str] | None) -> list[dict[str, Any]]:
    """Ask for all at once, or for halves as long as the answer is too large."""
    try:
        return ask(names, fields)
    except _TooLargeError:
        if len(names) == 1:
            return _file_by_file(ask, names, fields)
    middle = len(names) // 2
    return [*_in_parts(ask, names[:middle], fields), *_in_parts(ask, names[middle:], fields)]


def _file_by_file(
    ask: Ask, names: Sequence[str], fields: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Put records together whose core files only pass the gateway one by one."""
    records: dict[str, dict[str, Any]] = {}
    for core_file in (*CORE_FILES, *LEGACY_FILES):
        if fields is not None and core_file not in fields:
            continue
        try:
            parts = ask(names, (*_ABOUT, *_ABOUT_CHANGES, core_file))
        except _TooLargeError:
            continue  # a core file that nothing passes on: the asset's folder may have it
        for part in parts:
            records.setdefault(str(part.get("_id")), {}).update(part)
    return list(records.values())


def _patiently(query: Callable[[], Any], deadline: float) -> Any:
    """Query, and again after a while where that may help, until the time is over.

    Raises
    ------
    ServiceError
        With the reason in words.
    """
    import tenacity  # noqa: PLC0415 - slow

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        wait=pause,
        stop=tenacity.stop_before_delay(max(0.0, deadline - time.monotonic())),
        reraise=True,
    )
    try:
        return retrying(query)
    except Exception as error:  # noqa: BLE001 - the client raises what it pleases
        status = status_of(error)
        if status == _TOO_LARGE:
            raise _TooLargeError from None
        if status is None:
            raise ServiceError(why_no_answer(error)) from None
        reason = getattr(getattr(error, "response", None), "reason", None) or ""
        raise ServiceError(
            f"it answered {status} {redact_text(' '.join(reason.split()))}"
        ) from None


def _session(deadline: float) -> requests.Session:
    """Give a session whose requests end in time; by itself, the client would wait for ever."""
    import requests  # noqa: PLC0415 - as above

    class BoundedSession(requests.Session):
        def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            left = deadline - time.monotonic()
            if left <= 0:
                raise requests.Timeout("no time is left")
            limits = {**kwargs, "timeout": max(0.1, min(left, _share(left))), "stream": True}
            response = super().send(request, **limits)
            response._content = read_answer(response.iter_content(_CHUNK), deadline)
            return response

    return BoundedSession()


def _share(left: float) -> float:
    return left / _TRIES if left > 1 else left


def _answer_request() -> None:
    """Answer the request on standard input, on standard output."""
    request: Mapping[str, Any] = json.loads(sys.stdin.buffer.read())
    # Should the run be killed, nobody else ends a program that waits for the network.
    left = request["deadline"] - time.monotonic()
    faulthandler.dump_traceback_later(max(0.0, left) + _LAST_WORDS, exit=True)
    records, failure = find_records(
        request["names"],
        host=request["host"],
        version=request["version"],
        deadline=request["deadline"],
    )
    with sys.stdout as answer:
        json.dump({"records": records, "failure": failure}, answer)
