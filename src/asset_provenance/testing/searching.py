"""How Code Ocean finds data assets: search expressions, filters, order and pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from asset_provenance.testing.server import Refusal

__all__ = ["matches", "page_of", "sorted_as"]

_LIMIT, _LARGEST_LIMIT = 100, 1000
_TERM = re.compile(r'(?:(?P<field>\w+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')
_TOKEN = re.compile(r"next-(\d+)")

Asset = Mapping[str, Any]


def matches(asset: Asset, wanted: Mapping[str, Any]) -> bool:
    """Say whether a data asset is one that is searched for.

    Parameters
    ----------
    asset
        As it is shown.
    wanted
        The form of a search.
    """
    if wanted.get("type") not in {None, asset["type"]}:
        return False
    external = bool(asset.get("source_bucket", {}).get("external"))
    if wanted.get("origin") not in {None, "external" if external else "internal"}:
        return False
    # There is one user, who marks nothing and with whom nobody shares.
    if wanted.get("ownership") == "shared" or wanted.get("favorite"):
        return False
    return _is_told(asset, wanted.get("query", "")) and all(
        _passes(asset, one) for one in wanted.get("filters", ())
    )


def _is_told(asset: Asset, query: str) -> bool:
    """Match an expression: the same field again is "or", all else "and"; case is nothing."""
    made_from = asset.get("provenance", {})
    fields = {
        "name": [asset["name"]],
        "tag": asset["tags"],
        "run_script": [made_from.get("run_script", "")],
        "commit_id": [made_from.get("commit", "")],
        "contained_data_id": [],
    }
    free = [asset["name"], *asset["tags"], asset.get("description", "")]
    free += map(str, asset.get("custom_metadata", {}).values())
    groups: dict[str, list[bool]] = {}
    for number, term in enumerate(_TERM.finditer(query)):
        field, phrase = term["field"], term["phrase"]
        text = term["word"] if phrase is None else phrase
        if field in fields:
            groups.setdefault(field, []).append(_holds(fields[field], text))
        else:
            word = text if field is None else f"{field}:{text}"
            groups[f"free text {number}"] = [_holds(free, word)]
    return all(any(found) for found in groups.values())


def _holds(texts: list[str], wanted: str) -> bool:
    return any(wanted.casefold() in text.casefold() for text in texts)


def _passes(asset: Asset, condition: Mapping[str, Any]) -> bool:
    key = condition["key"]
    held = asset.get(key, asset.get("custom_metadata", {}).get(key))
    values = held if isinstance(held, list) else [held]
    given = [*condition.get("values", ()), *[condition[k] for k in ("value",) if k in condition]]
    texts = {str(one).casefold() for one in given}
    found = any(str(one).casefold() in texts for one in values) if given else True
    if "range" in condition:
        least = condition["range"].get("min", float("-inf"))
        most = condition["range"].get("max", float("inf"))
        found &= any(isinstance(one, int | float) and least <= one <= most for one in values)
    return bool(found) != bool(condition.get("exclude"))


def sorted_as(assets: list[dict[str, Any]], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sort what was found; without an order, the newest comes first."""
    if ("sort_field" in wanted) != ("sort_order" in wanted):
        raise Refusal(HTTPStatus.BAD_REQUEST, "sort_field and sort_order go together")
    field = wanted.get("sort_field", "created")
    # Reversed first: of two that were created in one second, the later one is the newer.
    downwards = wanted.get("sort_order", "desc") == "desc"
    several = assets[::-1] if downwards else assets
    empty: Any = 0 if field in {"size", "created"} else ""
    return sorted(several, key=lambda one: one.get(field, empty), reverse=downwards)


def page_of(found: list[dict[str, Any]], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Give the page that is asked for, and what leads to the next one."""
    limit, begin = wanted.get("limit", _LIMIT), wanted.get("offset", 0)
    if not 0 < limit <= _LARGEST_LIMIT or begin < 0:
        told = f"limit must be from 1 to {_LARGEST_LIMIT}, and offset not below 0"
        raise Refusal(HTTPStatus.BAD_REQUEST, told)
    if wanted.get("next_token"):
        token = _TOKEN.fullmatch(wanted["next_token"])
        if token is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "next_token is none that was given out")
        begin = int(token[1])
    end = begin + limit
    has_more = end < len(found)
    page: dict[str, Any] = {"has_more": has_more, "results": found[begin:end]}
    return page | ({"next_token": f"next-{end}"} if has_more else {})
