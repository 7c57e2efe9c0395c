"""Records of input assets from the metadata database, asked for while something else goes on.

A run asks when it starts and waits only where it needs the answer. The question is put by a
program of our own: its imports and its waiting cost the user's program nothing, it can be ended
whatever the network does, and no thread of ours is in the way of a fork.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asset_provenance import children
from asset_provenance.assetrefs import recordable
from asset_provenance.records import InputRef
from asset_provenance.redaction import redact_text
from asset_provenance.settings import Settings

__all__ = ["Catalog", "chosen_record", "find_database"]

_HOST = "api.allenneuraldynamics.org"
_VERSIONS = ("v2", "v1")

_LATEST = 0.3
"""Seconds that the asking program has for the end of its work before it is ended."""

_log = logging.getLogger("asset_provenance")

Record = Mapping[str, Any]


def find_database(settings: Settings) -> tuple[str, str]:
    """Give the host and the version of the metadata database's API.

    Raises
    ------
    ValueError
        If what is given can be neither.
    """
    host = (settings.text("docdb_host") or _HOST).removeprefix("https://").rstrip("/")
    if not re.fullmatch(r"[A-Za-z0-9.-]+(:\d{1,5})?", host):
        raise ValueError(
            f"docdb_host must be the name of a host, such as {_HOST!r}, not {redact_text(host)!r}"
        )
    version = settings.text("docdb_version") or _VERSIONS[0]
    if version not in _VERSIONS:
        raise ValueError(
            f"docdb_version must be one of {', '.join(_VERSIONS)}, not {redact_text(version)!r}"
        )
    return host, version


@dataclass(slots=True)
class Catalog:
    """What the database knows of the inputs of a run.

    Parameters
    ----------
    host, version
        Of the database's API.
    timeout
        Seconds that a run waits for answers at most, at its start as at its end.
    """

    host: str
    version: str
    timeout: float
    _asked: set[str] = field(default_factory=set)
    _records: dict[str, list[Record]] = field(default_factory=dict)
    _failures: dict[str, str] = field(default_factory=dict)
    _waited: float = 0.0
    _waiting: list[_Lookup] = field(default_factory=list)

    def ask(self, refs: Iterable[InputRef]) -> None:
        """Begin to look for assets that have not been asked for yet, all with one query."""
        names = [ref.name for ref in refs if ref.name and ref.name not in self._asked]
        if names:
            self._asked.update(names)
            left = self.timeout - self._waited
            self._waiting.append(_Lookup(list(dict.fromkeys(names)), self, left))

    def renew_limit(self) -> None:
        """Let the time limit begin anew: what comes now may wait as long as what came before."""
        self._waited = 0.0

    def record(self, ref: InputRef) -> Record | None:
        """Give the record of an asset; waits for the answers to what was asked.

        Of several records of one name, the one at the given URL is taken, else the newest.
        """
        while self._waiting:
            self._take(self._waiting.pop(0))
        found = self._records.get(ref.name or "", [])
        if len(found) > 1:
            self._records[ref.name or ""] = found = [chosen_record(found, ref)]
        return found[0] if found else None

    def failure(self, ref: InputRef) -> str | None:
        """Say why it is not known whether there is a record of an asset; None if it is known."""
        return None if self.record(ref) is not None else self._failures.get(ref.name or "")

    def close(self) -> None:
        """End what still asks: nobody waits for the answer."""
        for lookup in self._waiting:
            lookup.end()
        self._waiting.clear()

    def _take(self, lookup: _Lookup) -> None:
        began = time.monotonic()
        records, failure = lookup.answer()
        self._waited += time.monotonic() - began
        for record in records:
            self._records.setdefault(record["name"], []).append(record)
        if failure is not None:
            self._failures |= dict.fromkeys(lookup.names, failure)
            _log.warning(
                "the metadata database %s could not be asked%s: %s",
                self.host,
                " for everything" if records else "",
                failure,
            )


class _Lookup:
    """One question, put by a program of our own."""

    def __init__(self, names: list[str], catalog: Catalog, seconds: float) -> None:
        self.names = names
        self._timeout = catalog.timeout
        self._deadline = time.monotonic() + seconds
        self._program: children.Program | None = None
        self._failure: str | None = None
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - read when the program has ended
        request = {
            "names": names,
            "host": catalog.host,
            "version": catalog.version,
            "deadline": self._deadline - _LATEST,
        }
        try:
            self._program = children.Program(
                "asset_provenance.services.docdb", "_answer_request", request, self._answer
            )
        except OSError as error:
            self._failure = f"the program that asks could not be started: {error.strerror}"

    def answer(self) -> tuple[list[Record], str | None]:
        """Wait for the answer: the records, and why they are not all there may be."""
        is_done = True
        if self._program is not None:
            is_done = self._program.wait(self._deadline - time.monotonic())
            self._program.end()
        try:
            with self._answer:
                self._answer.seek(0)
                reply = json.loads(self._answer.read())
            return reply["records"], reply["failure"]
        except (ValueError, RecursionError, KeyError, OSError):
            if is_done and time.monotonic() < self._deadline - _LATEST:
                return [], self._failure or "the program that asks ended without an answer"
            return [], f"it did not answer within {self._timeout:g} s"

    def end(self) -> None:
        """End the program that asks."""
        if self._program is not None:
            self._program.end()
        self._answer.close()


def chosen_record(records: list[Record], ref: InputRef) -> Record:
    """Choose among records of one name, and say so.

    That at the asset's URL, where one is known, else the newest.
    """
    here = [record for record in records if ref.url and _place(record) == ref.url.rstrip("/")]
    newest = max(here or records, key=_last_change)
    _log.warning(
        "the metadata database has %d records of %s; the %s is used, %s",
        len(records),
        ref.name,
        f"one at {ref.url}" if here else "newest",
        recordable(str(newest.get("_id"))),
    )
    return newest


def _place(record: Record) -> str:
    return str(record.get("location") or "").rstrip("/")


def _last_change(record: Record) -> datetime:
    """Give the time that a record tells, in whichever form; of one that tells none, the first."""
    for name in ("_last_modified", "last_modified", "_created", "created"):
        with suppress(ValueError):
            time_told = datetime.fromisoformat(str(record.get(name)))
            return time_told if time_told.tzinfo else time_told.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)
