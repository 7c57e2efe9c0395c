"""The way back from an asset, drawn as a tree for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text
from rich.tree import Tree

from asset_provenance.ancestry import Ancestor, Ancestry
from asset_provenance.parentage import Use, time_in_name
from asset_provenance.report.words import shown

__all__ = ["AncestryDrawing"]

_INDENT = 4
_ROOM = 48
"""Columns that an asset has at least; where a terminal has fewer, the tree goes on below."""
_BAD = "bold red"
_HOW = {"name": "by its name", "input": "used, but not named as a source", "reference": "reference"}


class AncestryDrawing:
    """The assets that one goes back to, each in full where it is nearest to that one.

    Parameters
    ----------
    ancestry
        What was found of them.
    """

    def __init__(self, ancestry: Ancestry) -> None:
        self._root = ancestry.root
        self._assets = ancestry.assets
        self._steps = {step for cycle in ancestry.cycles for step in pairwise(cycle)}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it: what is too deep for the width goes on below, as a tree of its own."""
        levels = max(2, (options.max_width - _ROOM) // _INDENT)
        above: set[str] = set()
        roots = [self._root]
        for root in roots:  # which grow meanwhile
            above.add(root)
            tree = Tree(self._told(root))
            stack = [(root, tree, iter(self._assets[root].said.uses))]
            while stack:
                name, branch, uses = stack[-1]
                use = next(uses, None)
                if use is None:
                    stack.pop()
                    continue
                is_here = self._assets[use.asset].reached_from == name
                goes_on = is_here and bool(self._assets[use.asset].said.uses)
                is_too_deep = goes_on and len(stack) == levels
                if is_here:
                    line = self._told(use.asset, use, "goes on below" if is_too_deep else "")
                else:
                    line = self._referred(
                        name, use, "see above" if use.asset in above else "see below"
                    )
                added = branch.add(line)
                if is_here:
                    above.add(use.asset)
                if is_too_deep:
                    roots.append(use.asset)
                elif goes_on:
                    stack.append((use.asset, added, iter(self._assets[use.asset].said.uses)))
            yield tree

    def _told(self, name: str, use: Use | None = None, ending: str = "") -> Text:
        """Give the line of an asset in the place where it is shown in full."""
        asset = self._assets[name]
        is_bad = asset.is_missing or asset.is_unidentified or asset.is_end_unexplained
        marks = [*_marks(use), *_facts(asset), *filter(None, [ending])]
        text = Text().append(shown(name), "" if use else "bold")
        return text.append(shown(f"  {', '.join(marks)}"), _BAD if is_bad else "dim")

    def _referred(self, above: str, use: Use, where: str) -> Text:
        """Give the line of an asset that is shown in full in another place."""
        is_cycle = (above, use.asset) in self._steps
        marks = [*_marks(use), *(["cycle"] if is_cycle else []), where]
        text = Text().append(shown(use.asset), "" if is_cycle else "dim")
        return text.append(shown(f"  {', '.join(marks)}"), _BAD if is_cycle else "dim")


def _marks(use: Use | None) -> Iterator[str]:
    """Say how an asset is named by the one above it."""
    if use is not None and use.kind in _HOW:
        yield _HOW[use.kind]
    for group in use.groups if use is not None else ():
        yield f"in the group {group}"


def _facts(asset: Ancestor) -> Iterator[str]:
    """Say what is known of an asset besides its name."""
    said = asset.said
    if said.is_external:
        yield "external"
    elif said.level is not None:
        yield said.level
    if said.created is not None and time_in_name(asset.name) is None:
        yield f"{said.created:%Y-%m-%d}"
    if asset.is_missing:
        yield "missing"
    elif asset.is_url:
        yield "known by its URL only"
    elif asset.origin is None:
        yield "not followed"
    elif asset.origin == "database":
        yield "database"
    else:
        yield f"in {_short(asset.name, Path(asset.place or ''))}"
    if asset.is_end_unexplained:
        yield "names no source"


def _short(name: str, folder: Path) -> str:
    """Give the way to a folder from here, without the asset's name that it ends with."""
    way = folder.parent if folder.name == name else folder
    here = Path.cwd()
    return f"{way.relative_to(here) if way.is_relative_to(here) else way}/"
