"""How facts of a view are said in few words, the same on the terminal and on the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from asset_provenance.endings import status_in_notes
from asset_provenance.records import InputRef, ProcessStatus, printable
from asset_provenance.redaction import redact_json, redact_text
from asset_provenance.views import CodeView, ProcessView, ResourceView

__all__ = [
    "code_in_short",
    "counted",
    "duration",
    "input_in_short",
    "listed",
    "machine_in_short",
    "moment",
    "reason",
    "shown",
    "size",
    "value_in_short",
    "values_in_short",
]

_LONGEST_VALUE = 60
_COMMIT = re.compile(r"[0-9a-f]{8,64}")
_TREE = re.compile(r"tree:[0-9a-f]{8,64}")
_BELOW = re.compile(r"/(?:-/)?(?:tree|blob|commit|releases)(?:/|$)|[?#]")
"""Where the URL of a page inside of a repository goes on after that of the repository."""
_CAPSULE = re.compile(r"^https?://[^/]+/capsule/([^/]+)")


def shown(text: str) -> str:
    """Give a text from a file as people may see it: nothing acts on a terminal, nothing is secret.

    Parameters
    ----------
    text
        From anybody.
    """
    return printable(redact_text(text))


def duration(seconds: float) -> str:
    """Give how long something took, in two units at most."""
    if 0 < seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24:,} d {hours % 24} h"


def size(number: float) -> str:
    """Give an amount of bytes."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 999.5 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if number >= 9.95 or unit == "bytes" else f"{number:.1f} {unit}"


def moment(time: datetime) -> str:
    """Give a time to the second, in UTC as all times of views are."""
    return f"{time:%Y-%m-%d %H:%M:%S}"


def counted(number: int, thing: str, plural: str = "s") -> str:
    """Give a number of things in words."""
    return f"{number:,} {thing}{'' if number == 1 else plural}"


def listed(texts: Iterable[str], *, most: int = 8) -> str:
    """Give texts as one, or the first of them and how many more there are."""
    several = [shown(text) for text in texts]
    more = f", and {len(several) - most:,} more" if len(several) > most else ""
    return ", ".join(several[:most]) + more


def code_in_short(code: CodeView) -> str:
    """Give repository, commit or version, whether it had uncommitted changes, and the script."""
    where = [_repository(code), _revision(code)]
    parts = [" ".join(filter(None, where))]
    if code.is_dirty is not None:
        parts.append("uncommitted changes" if code.is_dirty else "clean")
    if code.beyond_commit:
        parts.append("files that are not in the commit")
    parts.append(shown(code.run_script or ""))
    return ", ".join(filter(None, parts))


def machine_in_short(process: ProcessView) -> str:
    """Give what a process ran with and on: language, system, processors, memory."""
    code, on = process.code, process.resources or ResourceView()
    return ", ".join(
        filter(
            None,
            (
                shown(" ".join(filter(None, (code.language, code.language_version)))),
                shown(on.os or ""),
                shown(on.cpu or ""),
                counted(on.cpu_cores, "processor") if on.cpu_cores else "",
                f"{size(on.ram)} of memory" if on.ram else "",
                shown(on.gpu or ""),
            ),
        )
    )


def _repository(code: CodeView) -> str:
    url = code.url or ""
    capsule = _CAPSULE.match(url)
    if capsule:
        return f"capsule {shown(capsule[1])}"
    last = _BELOW.split(url)[0].rstrip("/").rpartition("/")[2].removesuffix(".git")
    name = unquote(last)  # of a file: URL, as the folder is called
    return shown(code.name or (name if name.isprintable() else last) or url)


def _revision(code: CodeView) -> str:
    version, commit = code.version or "", code.commit_hash or ""
    if _TREE.fullmatch(version):
        version = "" if commit else version[:12]
    told = [shown(version), commit[:7] if _COMMIT.fullmatch(commit) else shown(commit)]
    return " ".join(filter(None, told))


def input_in_short(used: InputRef) -> str:
    """Give the name of an input; of a group, with its members."""
    if not used.assets:
        return used.identity
    members = listed((one.identity for one in used.assets), most=4)
    return f"{used.name or 'a group'} ({members})"


def values_in_short(values: Mapping[str, Any], *, most: int = 10) -> str:
    """Give parameters or results in a line."""
    several = [f"{name}={value_in_short(value, name)}" for name, value in values.items()]
    return listed(several, most=most)


def value_in_short(value: Any, name: str = "", *, longest: int | None = _LONGEST_VALUE) -> str:
    """Give a JSON value in a line; a long one is cut, and says so.

    Parameters
    ----------
    value
        From a file.
    name
        What it is called there: the name may say that it is secret.
    longest
        So many signs are shown; all if None.
    """
    text = shown(json.dumps(redact_json({name: value})[name], ensure_ascii=False))
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest - 3]}..."


def reason(process: ProcessView) -> str | None:
    """Give the note that says why a process did not come to its end."""
    for line in process.notes:
        if status_in_notes(line) is not ProcessStatus.COMPLETED:
            return line
    return None
