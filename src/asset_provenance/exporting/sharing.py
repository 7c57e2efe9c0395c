"""What of an asset goes to others: no secrets, and no places that only its machine knows."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import PureWindowsPath
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from asset_provenance.lineage import unique_names
from asset_provenance.records import InputRef, valid_text
from asset_provenance.redaction import redact_json, redact_text
from asset_provenance.views import AssetView, CodeView, ProcessView, as_texts

__all__ = [
    "for_others",
    "is_url",
    "name_of",
    "names_in",
    "own_path",
    "people_in",
    "plain_value",
]

_T = TypeVar("_T")
_URL = re.compile(r"(?i)(?:https?|s3|gs|ftps?|ssh|git)://[^\s/]")
_ORCID = re.compile(r"(?:https?://orcid\.org/)?((?:\d{4}-){3}\d{3}[\dX])")
_ROR = re.compile(r"(?:https?://ror\.org/)?(0[a-z0-9]{8})")
_OF_A_MACHINE = re.compile(r"(?i)file:|[/\\~]|[a-z]:[/\\]")


def for_others(view: AssetView) -> AssetView:
    """Give what others may see of an asset, and can make use of.

    Secrets are redacted wherever they stand. A place on the machine that wrote the metadata (a
    path from its root, a ``file://`` URL) becomes the last name in it; of code, which names its
    script besides, nothing. Text, which parameters are as well, is not searched for paths.

    Parameters
    ----------
    view
        As it was read.
    """
    clean = _clean(view)
    # Two names can have differed in their secrets only.
    names = [process.name for process in view.processes]
    new = dict(zip(names, unique_names([one.name for one in clean.processes]), strict=True))
    return dataclasses.replace(
        clean,
        processes=tuple(
            dataclasses.replace(
                shared,
                name=new[read.name],
                depends_on=tuple(new[name] for name in read.depends_on),
                notes=_lines(read.notes),
                parent=None if read.parent is None else new[read.parent],
            )
            for read, shared in zip(view.processes, map(_process, clean.processes), strict=True)
        ),
        pipelines=tuple(map(_code, clean.pipelines)),
        notes=_lines(view.notes),
    )


def is_url(text: str | None) -> bool:
    """Say whether a text is a URL of a kind that others can open."""
    if text is None or not _URL.match(text):
        return False
    with suppress(ValueError):  # of what is no address in brackets
        return bool(urlsplit(text).netloc)
    return False


def own_path(path: str | None) -> str | None:
    """Give a path that leads to something inside the asset, in POSIX form; None for another."""
    if path is None or is_url(path) or _OF_A_MACHINE.match(path):
        return None
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return None if ".." in parts or not parts else "/".join(parts)


def name_of(code: CodeView) -> str | None:
    """Give what code is called: its own name, that of its script or of its repository."""
    return code.name or code.run_script or (code.url or "").rstrip("/").rpartition("/")[2] or None


def names_in(told: Any) -> tuple[str, ...]:
    """Give names of people, modalities or institutions, as either version of the schema does."""
    items = told if isinstance(told, list) else [told]
    return as_texts(
        [
            one.get("name") or one.get("abbreviation") if isinstance(one, dict) else one
            for one in items
        ]
    )


def people_in(told: Any) -> dict[str, str | None]:
    """Give the people or institutions that are named, and where a register has them."""
    items = told if isinstance(told, list) else [told]
    found: dict[str, str | None] = {}
    for item in items:
        for name in names_in(item):
            found.setdefault(name, _registered(item) if isinstance(item, dict) else None)
    return found


def _registered(told: Mapping[str, Any]) -> str | None:
    number = told.get("registry_identifier")
    if not isinstance(number, str):
        return None
    orcid = _ORCID.fullmatch(number)
    ror = _ROR.fullmatch(number)
    return (
        f"https://orcid.org/{orcid[1]}" if orcid else f"https://ror.org/{ror[1]}" if ror else None
    )


def plain_value(value: Any) -> str | bool | int | float:
    """Give a value that every standard has; others as their JSON."""
    if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return json.dumps(value, sort_keys=True)


def _clean(value: _T) -> _T:
    cleaned: Any = value
    if isinstance(value, str) and not isinstance(value, Enum):
        cleaned = redact_text(valid_text(value))
    elif isinstance(value, Mapping):
        cleaned = _valid(redact_json(value))
    elif isinstance(value, tuple):
        cleaned = tuple(map(_clean, value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = {one.name: _clean(getattr(value, one.name)) for one in dataclasses.fields(value)}
        cleaned = dataclasses.replace(value, **told)
    return cleaned  # type: ignore[no-any-return]


def _lines(notes: tuple[str, ...]) -> tuple[str, ...]:
    """Clean notes as a whole: a private key goes over many lines."""
    return tuple(redact_text("\n".join(notes)).splitlines())


def _valid(value: Any) -> Any:
    if isinstance(value, dict):
        return {valid_text(key): _valid(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_valid, value))
    return valid_text(value) if isinstance(value, str) else value


def _process(process: ProcessView) -> ProcessView:
    return dataclasses.replace(
        process,
        code=_code(process.code),
        inputs=tuple(map(_input, process.inputs)),
        output_path=_place(process.output_path),
    )


def _code(code: CodeView) -> CodeView:
    return dataclasses.replace(
        code,
        url=_quoted(code.url) if is_url(code.url) else None,
        run_script=_place(code.run_script),
    )


def _input(ref: InputRef) -> InputRef:
    at_hand = is_url(ref.url)
    return dataclasses.replace(
        ref,
        name=ref.name or (None if at_hand else _place(ref.url)),
        url=_quoted(ref.url) if at_hand else None,
        assets=tuple(map(_input, ref.assets)),
    )


def _place(text: str | None) -> str | None:
    if text is None or is_url(text) or not _OF_A_MACHINE.match(text):
        return text
    return PureWindowsPath(text).name or None  # which knows both kinds of slashes


def _quoted(url: str | None) -> str | None:
    """Give a URL with what no URL may hold written out."""
    return None if url is None else quote(url, safe=":/?#[]@!$&'()*+,;=%~")
