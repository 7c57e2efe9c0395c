"""The machine that a program runs on, as far as the program may use it.

A container sees the processors and the memory of its host. What it may use is said by its control
groups, by Code Ocean's ``CO_CPUS`` and ``CO_MEMORY``, and by the processors it is bound to; the
least of all that is known holds.
"""

from __future__ import annotations

import logging
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from asset_provenance.capture.files import unobserved
from asset_provenance.records import ResourceRecord, printable

__all__ = ["machine"]

_log = logging.getLogger("asset_provenance")

_T = TypeVar("_T")


def machine(root: Path = Path("/"), environ: Mapping[str, str] | None = None) -> ResourceRecord:
    """Give what is known of the machine; what cannot be found out is left out.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` lie.
    environ
        Environment variables; default those of this program.
    """
    variables = os.environ if environ is None else environ
    with unobserved():
        return ResourceRecord(
            os=_known(_system) or "unknown",
            architecture=_known(platform.machine) or "unknown",
            cpu=_known(lambda: _processor(root)),
            cpu_cores=_known(lambda: _cores(root, variables)),
            ram=_known(lambda: _memory(root, variables)),
        )


def _known(find: Callable[[], _T]) -> _T | None:
    try:
        return find()
    except Exception:  # noqa: BLE001 - machines differ; it costs this fact only
        _log.debug("a fact of the machine could not be found out", exc_info=True)
        return None


def _system() -> str:
    name = platform.system()
    if name == "Darwin":
        return f"macOS {platform.mac_ver()[0]}".strip()
    if name == "Linux":
        try:
            release = platform.freedesktop_os_release()
        except OSError:
            return f"Linux {platform.release()}"
        name = release.get("NAME", "Linux").removesuffix(" GNU/Linux")
        return printable(f"{name} {release.get('VERSION_ID', '')}".strip())[:200]
    return f"{name} {platform.release()}".strip()


def _processor(root: Path) -> str | None:
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model", "cpu model") and value.strip():
                    return printable(" ".join(value.split()))[:200]
                if not line.strip():
                    break  # the next processor; they are all alike
    except OSError:
        pass
    return platform.processor() or None


def _cores(root: Path, variables: Mapping[str, str]) -> int | None:
    import psutil  # noqa: PLC0415 - not at import

    found: list[float] = [*_positive(variables.get("CO_CPUS"))]
    if hasattr(os, "sched_getaffinity"):
        found.append(len(os.sched_getaffinity(0)))
    count = psutil.cpu_count()
    if count:
        found.append(count)
    found += _quotas(root)
    # Half a processor is one that may be used half of the time.
    return math.ceil(min(found)) if found else None


def _quotas(root: Path) -> Iterator[float]:
    for folder in _groups(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = (_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        for amount in _positive(quota):
            for length in _positive(period):
                yield amount / length


def _memory(root: Path, variables: Mapping[str, str]) -> int | None:
    import psutil  # noqa: PLC0415 - not at import

    found: list[float] = [*_positive(variables.get("CO_MEMORY"))]
    found.append(psutil.virtual_memory().total)
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            found += _positive(_text(folder / name))
    return int(min(found))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Give the folders of the control groups that the program is in, the innermost first.

    A container may see the tree of its host, or its own group as the top of the tree.
    """
    groups = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            top = groups
        elif controller in controllers.split(","):
            top = groups / controller
            top = top if top.is_dir() else groups / controllers
        else:
            continue
        parts = [part for part in path.split("/") if part]
        if ".." in parts:  # outside what the container sees
            parts = []
        for depth in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:depth])


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(65_536).strip()
    except OSError:
        return ""


def _positive(text: str | None) -> Iterator[float]:
    """Give the number that a text holds, if it is a limit: "max" and -1 mean that there is none."""
    try:
        number = float(text or "")
    except ValueError:
        return
    if 0 < number < math.inf:
        yield number
