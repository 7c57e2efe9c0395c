"""What a written set says of itself to those who publish it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asset_provenance.corefiles import (
    DATA_DESCRIPTION,
    MANIFEST,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.errors import StorageError
from asset_provenance.redaction import redact_json

__all__ = ["CodeUsed", "Publication", "read_publication", "why_unreachable"]

_PRIVATE_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home", ".corp", ".test")


@dataclass(frozen=True, slots=True)
class CodeUsed:
    """The code of one of the asset's own processes, or of a pipeline."""

    used_by: str
    url: str
    state: str


@dataclass(frozen=True, slots=True)
class Publication:
    """A written set, as its handlers want to know it; every text is free of secrets.

    Parameters
    ----------
    folder
        Where it is.
    name, data_level, project, subject, license, summary, restrictions
        Of its description; empty where there is none.
    modalities, investigators, funding, sources, own_tags
        The same, each in words.
    experimenters
        Who ran the asset's own processes.
    codes
        What its own processes ran; not those of its inputs.
    """

    folder: Path
    name: str
    data_level: str
    project: str
    subject: str
    license: str
    summary: str
    restrictions: str
    modalities: tuple[str, ...]
    investigators: tuple[str, ...]
    funding: tuple[str, ...]
    sources: tuple[str, ...]
    own_tags: tuple[str, ...]
    experimenters: tuple[str, ...]
    codes: tuple[CodeUsed, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """What the data asset is found by."""
        several = (self.data_level, self.project, *self.modalities, self.subject, *self.own_tags)
        return tuple(dict.fromkeys(filter(None, several)))


def read_publication(folder: Path) -> Publication:
    """Read what a written set says of itself.

    Parameters
    ----------
    folder
        Of an asset that was checked.

    Raises
    ------
    StorageError
        If its description or its processing cannot be read.
    """
    described = _read(folder, file_name(DATA_DESCRIPTION))
    # Data from outside have none; `check` has seen to it that others do.
    has_processing = (folder / file_name("processing")).exists()
    processing = _read(folder, file_name("processing")) if has_processing else {}
    try:
        manifest = _read(folder, MANIFEST)
    except StorageError:
        manifest = {}  # a set that others wrote
    inherited = _list(manifest.get("inherited_processes"))
    own = [
        process
        for process in _mappings(processing.get("data_processes"))
        if process.get("name") not in inherited
    ]
    # Those of inherited processes are of others; ours are those that our own processes name.
    named = {_text(process.get("pipeline_name")) for process in own}
    pipelines = [
        pipeline
        for pipeline in _mappings(processing.get("pipelines"))
        if not inherited or _text(pipeline.get("name")) in named - {""}
    ]
    return Publication(
        folder=folder,
        name=_text(described.get("name")),
        data_level=_text(described.get("data_level")),
        project=_text(described.get("project_name")),
        subject=_text(described.get("subject_id")),
        license=_text(described.get("license")),
        summary=_text(described.get("data_summary")),
        restrictions=_text(described.get("restrictions")),
        modalities=_unique(
            _text(one.get("abbreviation") or one.get("name"))
            for one in _mappings(described.get("modalities"))
        ),
        investigators=_unique(map(_person, _list(described.get("investigators")))),
        funding=_unique(map(_funding, _mappings(described.get("funding_source")))),
        sources=_unique(map(_text, _list(described.get("source_data")))),
        own_tags=_unique(map(_text, _list(described.get("tags")))),
        experimenters=_unique(
            _person(person) for process in own for person in _list(process.get("experimenters"))
        ),
        codes=(
            *(_code(_text(process.get("name")), process.get("code")) for process in own),
            *(_code("the pipeline", pipeline) for pipeline in pipelines),
        ),
    )


def why_unreachable(url: str) -> str | None:
    """Say why others cannot open the URL of code, or None; nothing is asked of the network."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return "it is not a URL"
    if parts.scheme == "file" or (not parts.scheme and not host):
        return "only this machine has it"
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme or 'without a scheme'} is not what a browser opens"
    try:
        is_private = not ipaddress.ip_address(host).is_global
    except ValueError:
        is_private = "." not in host or host.endswith(_PRIVATE_ENDINGS)
    return f"{host or 'it'} is a private host" if is_private else None


def _read(folder: Path, file: str) -> Mapping[str, Any]:
    path = folder / file
    try:
        value: Mapping[str, Any] = redact_json(parse_json(read_bytes(path), path))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in _list(value) if isinstance(one, dict))


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _unique(texts: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))


def _person(value: Any) -> str:
    return _text(value.get("name")) if isinstance(value, dict) else _text(value)


def _funding(value: Mapping[str, Any]) -> str:
    funder = value.get("funder")
    name = _text(funder.get("name")) if isinstance(funder, dict) else _text(funder)
    return " ".join(filter(None, (name, _text(value.get("grant_number")))))


def _code(used_by: str, value: Any) -> CodeUsed:
    code: Mapping[str, Any] = value if isinstance(value, dict) else {}
    commit, version = _text(code.get("commit_hash")), _text(code.get("version"))
    state = (f"commit {commit}" if commit else "", f"version {version}" if version else "")
    return CodeUsed(used_by, _text(code.get("url")), ", ".join(filter(None, state)) or "no version")
