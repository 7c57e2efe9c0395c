"""Record what an analysis did while it ran, and write the AIND metadata of its results."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asset_provenance.asset import DerivedAsset
    from asset_provenance.errors import (
        AssemblyError,
        PreflightError,
        ProvenanceError,
        ServiceError,
        StorageError,
        UsageError,
    )
    from asset_provenance.external import ExternalAsset
    from asset_provenance.process import ActiveProcess
    from asset_provenance.recorder import current_process
    from asset_provenance.records import ProcessRecord
    from asset_provenance.tracking import track_process

    __version__: str

__all__ = [
    "ActiveProcess",
    "AssemblyError",
    "DerivedAsset",
    "ExternalAsset",
    "PreflightError",
    "ProcessRecord",
    "ProvenanceError",
    "ServiceError",
    "StorageError",
    "UsageError",
    "__version__",
    "current_process",
    "track_process",
]

_HOMES = {
    "ActiveProcess": "process",
    "AssemblyError": "errors",
    "DerivedAsset": "asset",
    "ExternalAsset": "external",
    "PreflightError": "errors",
    "ProcessRecord": "records",
    "ProvenanceError": "errors",
    "ServiceError": "errors",
    "StorageError": "errors",
    "UsageError": "errors",
    "current_process": "recorder",
    "track_process": "tracking",
}

_RECORDING = ("DerivedAsset", "current_process", "track_process")


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package costs nothing."""
    import importlib  # noqa: PLC0415 - only needed once a name is asked for

    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("asset-provenance")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        if "_ASSET_PROVENANCE_JOIN" in os.environ and name in _RECORDING:
            # This script was started while an asset was open, and what it does belongs to that.
            importlib.import_module(f"{__name__}.joining").join_by_environment()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
