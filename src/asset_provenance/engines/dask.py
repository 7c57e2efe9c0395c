"""Tracked functions on a Dask cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from asset_provenance.errors import UsageError

__all__ = ["track_client"]


def track_client(client: Any) -> AbstractContextManager[Any]:
    """Record tracked functions that run on a Dask cluster. Not available in this version.

    Parameters
    ----------
    client
        A ``distributed.Client``.

    Raises
    ------
    UsageError
        Always, in this version.
    """
    raise UsageError(
        f"track_client({type(client).__name__}) is not available in this version; functions that "
        "run on a Dask cluster are not recorded yet"
    )
