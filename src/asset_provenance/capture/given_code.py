"""The code that a user names: ``"url@version"``, the schema's ``Code``, or a mapping.

A helper of :mod:`asset_provenance.capture.code`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

from asset_provenance.errors import UsageError
from asset_provenance.records import CodeRecord, JsonValue
from asset_provenance.redaction import clean_url, redact_json, redact_text

__all__ = ["COMMIT", "GivenCode", "code_from_user", "version_or_commit"]

_TEXT_FIELDS = ("name", "version", "commit_hash", "run_script", "language", "language_version")
_OBJECT_FIELDS = ("container", "core_dependency")
# Fields of the schema's Code that are facts of the process, not of the code.
_PROCESS_FIELDS = ("parameters", "input_data")
COMMIT = re.compile(r"[0-9a-fA-F]{7,60}")


@dataclass(frozen=True, slots=True)
class GivenCode:
    """The code that a user names, and what the schema's ``Code`` says besides.

    Parameters
    ----------
    record
        Which code it is.
    parameters
        What it ran with, by name, as it was given.
    inputs
        The data that it used, each as a name, a URL, or like the schema's ``DataAsset``.
    """

    record: CodeRecord
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()


def version_or_commit(text: str) -> tuple[str | None, str | None]:
    """Tell a version from a commit.

    Seven to sixty hexadecimal digits are a commit, but a short number without a letter
    (``20240101``) is far more often a date, and a wrong commit would be worse than a version.
    """
    if COMMIT.fullmatch(text) and (len(text) >= 40 or not text.isdigit()):
        return None, text
    return text, None


def code_from_user(code: object) -> GivenCode:
    """Read the code that the user names.

    Parameters
    ----------
    code
        ``"url@version"``, the schema's ``Code``, or a mapping with its fields.

    Returns
    -------
    GivenCode
        With the URL free of credentials. Nothing is added of what runs here.

    Raises
    ------
    UsageError
        If it is none of these, or has no URL.
    """
    if isinstance(code, str):
        url, version = _split_version(code.strip())
        found, commit = version_or_commit(version) if version else (None, None)
        given: dict[str, Any] = {"url": url, "version": found, "commit_hash": commit}
    elif isinstance(code, Mapping):
        given = dict(code)
        known = {"url", "object_type", *_TEXT_FIELDS, *_OBJECT_FIELDS, *_PROCESS_FIELDS}
        if unknown := sorted(str(key) for key in given if key not in known):
            raise UsageError(
                f"code= has unknown fields: {', '.join(unknown)}; "
                f"it may have url, {', '.join((*_TEXT_FIELDS, *_OBJECT_FIELDS, *_PROCESS_FIELDS))}"
            )
    elif hasattr(code, "url"):
        names = ("url", *_TEXT_FIELDS, *_OBJECT_FIELDS, *_PROCESS_FIELDS)
        given = {name: getattr(code, name, None) for name in names}
    else:
        raise UsageError(
            'code= is "url@version", the schema\'s Code, or a mapping with "url"; '
            f"not {type(code).__name__}"
        )
    fields: dict[str, Any] = {name: _text(name, given.get(name)) for name in _TEXT_FIELDS}
    fields.update((name, _object(name, given.get(name))) for name in _OBJECT_FIELDS)
    commit = fields["commit_hash"]
    if commit is not None and not COMMIT.fullmatch(commit):
        raise UsageError("code= has a commit_hash that is not 7 to 60 hexadecimal digits")
    url = clean_url(_text("url", given.get("url")) or "")
    if "/" not in url and ":" not in url:
        raise UsageError('code= has no URL; give for example "https://github.com/org/repo@v1.2"')
    return GivenCode(
        CodeRecord(url=url, **fields),
        _parameters(given.get("parameters")),
        _inputs(given.get("input_data")),
    )


def _parameters(value: Any) -> Mapping[str, Any]:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(
            f"code= wants a mapping of names to values for parameters, not {type(value).__name__}"
        )
    return dict(value)


def _inputs(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise UsageError(
            f"code= wants a list of data assets for input_data, not {type(value).__name__}"
        )
    return tuple(_input(item) for item in value)


def _input(value: Any) -> Any:
    """Give a data asset that stands as JSON in a mapping the form of the schema's object."""
    if not isinstance(value, Mapping):
        return value
    if not (value.get("name") or value.get("url") or value.get("assets")):
        raise UsageError('code= has an item of input_data without "name" and "url"')
    members = value.get("assets")
    if isinstance(members, list | tuple):
        value = {**value, "assets": [_input(member) for member in members]}
    return SimpleNamespace(**{str(key): item for key, item in value.items()})


def _split_version(text: str) -> tuple[str, str | None]:
    """Split at an ``@`` in the last part of the path; one before that belongs to the host."""
    start = text.find("://")
    slash = text.rfind("/", start + 3 if start >= 0 else 0)
    at = text.rfind("@")
    if slash < 0 or at < slash:
        return text, None
    version = text[at + 1 :].strip()
    if not version:
        raise UsageError("code= ends in @ without a version")
    return text[:at].strip(), version


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, PurePath):
        return value.as_posix()
    if not isinstance(value, str):
        raise UsageError(f"code= wants text for {name}, not {type(value).__name__}")
    return redact_text(value) if name != "url" else value


def _object(name: str, value: Any) -> Mapping[str, JsonValue] | None:
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UsageError(f"code= wants an object for {name}, not {type(value).__name__}")
    return redact_json(value)  # type: ignore[no-any-return]
