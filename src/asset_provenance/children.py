"""Programs of our own that run beside the user's: Python again, with the same libraries.

What may hang, print, or take seconds to import is done in one of them: it can be killed, and no
thread of ours is alive when the user's program forks.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

__all__ = ["command", "environment"]

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import {} as run; run()"
_DETACH = "import os; os.fork() and os._exit(0); "


def command(module: str, function: str, *, detached: bool = False) -> list[str]:
    """Give the command that calls a function of ours, without arguments, in a new Python.

    Parameters
    ----------
    module, function
        Where the function is, and its name.
    detached
        Whether the program leaves its parent at once: a user's program that waits for any child
        of its own must not meet one of ours. Only where there is ``os.fork``.
    """
    code = (_DETACH if detached else "") + _START.format(module, function)
    return [sys.executable, "-P", "-W", "ignore", "-c", code, json.dumps(_import_path())]


def environment() -> dict[str, str]:
    """Give the environment for such a program."""
    return {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTHONPATH", "PYTHONINSPECT"}  # the path is given; the other would linger
    }


def _import_path() -> list[str]:
    """Give where the child imports from: as here, but the user's own folders come last.

    Otherwise a script or a file beside it, named like a module that the child imports, would run
    in the child.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        cwd = Path.cwd()
    except OSError:  # it is gone; nothing can be imported from it
        cwd = Path(os.sep)
    folders = [str(Path(cwd, entry)) for entry in sys.path]
    own = {str(cwd), str(Path(cwd, script).parent)} if script else {str(cwd)}
    return [*sorted(folders, key=own.__contains__), str(Path(__file__).parents[1])]
