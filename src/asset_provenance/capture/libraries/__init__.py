"""Libraries that open files in C, where Python's ``open`` is not called.

Each module knows a kind of library and has a ``watch(patches)``, which has what opens files
replaced as soon as the library is imported, and no sooner: nothing is imported for it.
"""

from __future__ import annotations

from asset_provenance.capture.libraries import (
    arrow_files,
    databases,
    hdf5,
    images,
    polars_files,
    remote,
)
from asset_provenance.patching import Patches

__all__ = ["watch"]

_LIBRARIES = (hdf5, images, arrow_files, polars_files, databases, remote)


def watch(patches: Patches) -> None:
    """See the files that libraries open, until the patches are undone."""
    for library in _LIBRARIES:
        library.watch(patches)
