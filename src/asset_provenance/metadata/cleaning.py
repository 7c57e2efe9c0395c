"""What others wrote down of their processes, free of secrets before anything is made of it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from asset_provenance.metadata.description import explain
from asset_provenance.redaction import clean_url, redact_json, redact_text

__all__ = ["refuse_half_characters", "told_fault", "without_secrets"]


def without_secrets(told: Any) -> Any:
    """Give JSON free of secrets; of the URLs of code, those stay as they are that have none."""
    return redact_json(_with_clean_urls(told))


def _with_clean_urls(told: Any) -> Any:
    if isinstance(told, list):
        return [_with_clean_urls(item) for item in told]
    if not isinstance(told, dict):
        return told
    cleaned = {key: _with_clean_urls(item) for key, item in told.items()}
    url = cleaned.get("url")
    if isinstance(url, str) and ("@" in url or redact_text(url) != url):
        cleaned["url"] = clean_url(url)
    return cleaned


def told_fault(error: Exception) -> str:
    """Say what the schema, or one of its own functions, has against something."""
    if isinstance(error, ValidationError):
        return explain(error)
    return "it has not the form of the schema" if isinstance(error, TypeError) else str(error)


def refuse_half_characters(told: Any) -> None:
    """Refuse what JSON can say and no file can hold: one half of a pair of surrogates.

    Raises
    ------
    ValueError
        If there is one.
    """
    try:
        json.dumps(told, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ValueError(
            f"it holds half of a character, {half!r}, which no file can hold"
        ) from None
