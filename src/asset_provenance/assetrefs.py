"""Which asset a name and a URL mean, whoever tells them."""

from __future__ import annotations

import re

from asset_provenance.records import InputRef, printable
from asset_provenance.redaction import redact_text

__all__ = ["asset_ref", "recordable"]

_S3_URL = re.compile(r"s3://(?:[^/@]*@)?(?P<bucket>[^/@]+)/(?P<asset>[^/?#]+)")


def asset_ref(name: str | None, url: str | None) -> InputRef:
    """Give the asset of a name and a URL; an ``s3://`` URL alone tells the name as well."""
    match = None if name or not url else _S3_URL.match(url)
    if match is not None:
        name, url = match["asset"], f"s3://{match['bucket']}/{match['asset']}"
    return InputRef(name=recordable(name) if name else None, url=recordable(url) if url else None)


def recordable(text: str) -> str:
    """Give a name or URL as it may stand in a record."""
    return redact_text(printable(text))
