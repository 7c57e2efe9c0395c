"""The request to transfer a data asset to the open bucket, with all that its handlers need.

Values come from metadata that anybody may have written. They stand in code spans, where Markdown
gives no character a meaning: a name cannot become a link, a mention or an image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from asset_provenance.publishplan import OPEN_BUCKET

if TYPE_CHECKING:
    from asset_provenance.publishing import Published
    from asset_provenance.publishplan import Plan

__all__ = ["transfer_request"]

_FILL_IN = "(please fill in)"


def transfer_request(plan: Plan, published: Published) -> str:
    """Write the request as Markdown."""
    publication = plan.publication
    lines = [
        f"# Transfer of a data asset to {OPEN_BUCKET}",
        "",
        f"Please transfer {_code(publication.name)} to {_code(f's3://{OPEN_BUCKET}')}.",
        "",
        "## The data asset",
        "",
        *_facts(
            ("Name", [publication.name]),
            ("Code Ocean id", [published.asset.id]),
            ("Files", [published.location or "in Code Ocean's own storage"]),
            ("Size", [_size(published)]),
            ("Record in the metadata database", _record(plan, published)),
        ),
        f"- Page: <{published.page}>",
        "",
        "## What it is",
        "",
        *_facts(
            ("Project", [publication.project]),
            ("Subject", [publication.subject or "none, or several"]),
            ("Data level", [publication.data_level]),
            ("Modalities", publication.modalities),
            ("Summary", [publication.summary]),
            ("Investigators", publication.investigators),
            ("Funding", publication.funding),
            ("Licence", [publication.license]),
            ("Restrictions", [publication.restrictions or "none"]),
            ("Made from", publication.sources),
        ),
        "",
        "## The code",
        "",
        *(_facts(*((code.used_by, [code.url, code.state]) for code in publication.codes))),
        *([] if publication.codes else ["No process is recorded: the data come from outside."]),
        "",
        "## Asked by",
        "",
        f"- People: {', '.join(map(_code, publication.experimenters)) or _FILL_IN}",
        "- Metadata: `asset-provenance check` found no error in them.",
        f"- Publication that it belongs to: {_FILL_IN}",
    ]
    if plan.published_patches:
        lines += ["", "Patches of uncommitted code are part of it, as was asked for."]
    return "\n".join(lines) + "\n"


def _facts(*facts: tuple[str, Iterable[str]]) -> Iterator[str]:
    for label, values in facts:
        told = [_code(value) for value in values if value]
        if told:
            yield f"- {_plain(label)}: {', '.join(told)}"


def _record(plan: Plan, published: Published) -> list[str]:
    if published.record is not None:
        return [published.record.id]
    return [f"none yet ({plan.not_registered}); please register it"]


def _size(published: Published) -> str:
    asset = published.asset
    size = "unknown" if asset.size is None else f"{asset.size:,} bytes"
    return size if asset.files is None else f"{size} in {asset.files:,} files"


def _code(text: str) -> str:
    """Put a text into a code span, fenced with more backticks than it holds in a row."""
    text = "".join(map(_shown, " ".join(text.split())))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"


def _shown(character: str) -> str:
    """Write out what an editor or a terminal would act upon instead of showing it."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode()


def _plain(label: str) -> str:
    """Give a label as it is, or as code where it could mean something to Markdown."""
    return label if re.fullmatch(r"[A-Za-z0-9 ]+", label) else _code(label)
