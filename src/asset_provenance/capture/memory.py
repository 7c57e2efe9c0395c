"""How often the system has ended a process for want of memory, as far as its groups tell."""

from __future__ import annotations

from pathlib import Path

from asset_provenance.capture.files import unobserved

__all__ = ["out_of_memory_kills"]


def out_of_memory_kills(root: Path = Path("/")) -> int:
    """Count the processes that were ended for want of memory in this program's control group.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` lie.

    Returns
    -------
    int
        Since the group was made; 0 where nothing is known.
    """
    with unobserved():
        groups = root / "sys/fs/cgroup"
        for line in _lines(root / "proc/self/cgroup"):
            _, _, rest = line.partition(":")
            controllers, _, inside = rest.partition(":")
            if not controllers:
                top, name = groups, "memory.events"
            elif "memory" in controllers.split(","):
                top, name = groups / "memory", "memory.oom_control"
            else:
                continue
            # A container may see the tree of its host, or its own group as the top of the tree.
            for folder in (top / inside.lstrip("/"), top):
                for counter in _lines(folder / name):
                    key, _, value = counter.partition(" ")
                    if key == "oom_kill" and value.isdigit():
                        return int(value)
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
