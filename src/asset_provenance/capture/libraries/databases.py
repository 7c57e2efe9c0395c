"""Databases of SQLite, which opens its files in C."""

from __future__ import annotations

import os
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

from asset_provenance.capture.files import Access, saw, state
from asset_provenance.capture.libraries.wrapping import (
    Tell,
    argument,
    replace_everywhere,
    telling,
)
from asset_provenance.patching import Patches

__all__ = ["watch"]


def watch(patches: Patches) -> None:
    """See the databases that ``sqlite3`` opens, until the patches are undone."""
    patches.when_imported("sqlite3", partial(_watch_connect, patches))


def _watch_connect(patches: Patches, module: Any) -> None:
    replace_everywhere(patches, module, {"connect": lambda original: telling(original, _connected)})


def _connected(_instance: Any, args: Any, kwargs: Any) -> Tell | None:
    named = os.fsdecode(argument(args, kwargs, "database", 0))
    path = named
    options: dict[str, str] = {}
    if argument(args, kwargs, "uri", 7, default=False) and named.startswith("file:"):
        path, options = _from_uri(named)
    if path in ("", ":memory:") or options.get("mode") == "memory":
        return None
    if options.get("mode") == "ro" or options.get("immutable") in ("1", "true", "yes", "on"):
        return lambda _connection: saw(path, Access.READ)
    # Whether it is written to is seen by what it is when the process ends.
    before, log = state(path), f"{path}-wal"
    log_before = state(log)

    def tell(_connection: Any) -> None:
        if before is None:
            saw(path, Access.REPLACE)
            return
        saw(path, Access.READ, before)
        if log_before is not None:
            saw(log, Access.READ, log_before)

    return tell


def _from_uri(uri: str) -> tuple[str, dict[str, str]]:
    """Take a URI as SQLite does: without an authority, and a fragment that means nothing."""
    text, _, _ = uri.removeprefix("file:").partition("#")
    path, _, query = text.partition("?")
    if path.startswith("//"):
        path = f"/{path[2:].partition('/')[2]}"
    return unquote(path), dict(parse_qsl(query, keep_blank_values=True))
