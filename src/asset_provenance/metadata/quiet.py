"""Keeps the schema's warnings from a program that may have made warnings errors."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

_lock = threading.RLock()
_schema_log = logging.getLogger("aind_data_schema")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the schema quiet inside: its Python warnings, and what it logs.

    They concern the schema's own code, or faults of an input, which are told by our log. What our
    own metadata must not lack is looked at by :mod:`asset_provenance.metadata.checks`.
    """
    # The filters are the whole program's: two of ours at once would restore each other's.
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = _schema_log.level
        _schema_log.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            _schema_log.setLevel(level)
