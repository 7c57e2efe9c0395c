"""Which notebook this program runs, where that can be known: a helper of ``capture.code``.

A kernel is given cells, not files. Those who start it leave traces of where the cells come from,
each in a way of its own; what none of them says stays unknown.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

__all__ = ["is_cell", "is_notebook", "notebook_file"]

_IN_NAMESPACE = ("PAPERMILL_INPUT_PATH", "__vsc_ipynb_file__", "__session__")
"""Names that papermill (of the notebook, not of the copy it fills), VS Code and ipykernel set."""

_IN_ENVIRONMENT = ("JPY_SESSION_NAME",)
"""Variables that Jupyter's server sets for the kernels it starts."""


def is_notebook() -> bool:
    """Tell whether this program is the kernel of a notebook or console."""
    return getattr(_shell(), "kernel", None) is not None


def notebook_file() -> str | None:
    """Give the absolute path of the notebook that runs here; None where nothing says it."""
    if not is_notebook():
        return None
    namespace = getattr(_shell(), "user_ns", {})
    said = [namespace.get(name) for name in _IN_NAMESPACE]
    said += [os.environ.get(name) for name in _IN_ENVIRONMENT]
    for path in said:
        # A console's or an unsaved notebook's session has a name, but no file.
        if isinstance(path, str) and path.endswith(".ipynb") and os.path.isfile(path):  # noqa: PTH113
            return os.path.abspath(path)  # noqa: PTH100 - keeps symlinks
    return None


def is_cell(file: str) -> bool:
    """Tell whether this is the name that a kernel gives to the code of a cell.

    It writes such a file only while it is debugged, and the file is of that moment.
    """
    if not is_notebook():
        return False
    folder = os.path.join(tempfile.gettempdir(), f"ipykernel_{os.getpid()}")  # noqa: PTH118
    return file.startswith((folder + os.sep, os.path.realpath(folder) + os.sep))


def _shell() -> Any:
    # Not imported: where no notebook runs, nobody has.
    interactive = sys.modules.get("IPython.core.interactiveshell")
    shell = getattr(interactive, "InteractiveShell", None)
    return getattr(shell, "_instance", None)
