"""An asset without inputs, and what its records say."""

from __future__ import annotations

from typing import Any

from asset_provenance import DerivedAsset, ProcessRecord
from helpers.assets import FACTS, PEOPLE

__all__ = ["make", "named", "parents"]


def make(**options: Any) -> DerivedAsset:
    """Give an asset that needs nothing but what it is given."""
    facts = {"inputs": (), "base_name": "base", "parameters": {}, **FACTS, **PEOPLE, **options}
    return DerivedAsset("test", **facts)


def named(asset: DerivedAsset, name: str) -> ProcessRecord:
    """Give the one process of a name."""
    (record,) = [record for record in asset.records if record.name == name]
    return record


def parents(asset: DerivedAsset) -> dict[str, str | None]:
    """Give the name of each process's parent; None for the block."""
    names = {record.id: record.name for record in asset.records}
    return {record.name: names.get(record.parent_id or "") for record in asset.records}
