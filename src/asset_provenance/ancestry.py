"""The way back from an asset to the raw assets, through what each says of its sources."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from asset_provenance.assetrefs import asset_ref
from asset_provenance.capture.platform import absolute, default_folders
from asset_provenance.errors import PreflightError, StorageError, UsageError
from asset_provenance.lineage import components, cycles
from asset_provenance.parentage import Parentage, Use, parentage
from asset_provenance.services.lookup import find_database
from asset_provenance.settings import load_settings
from asset_provenance.suggestions import no_folder
from asset_provenance.whereabouts import (
    Database,
    Folders,
    Found,
    Origin,
    Whereabouts,
    asset_name,
    is_described,
)

__all__ = ["Ancestor", "Ancestry", "find_ancestry", "walk"]

# Metadata from elsewhere can name as much as they please.
MOST_ASSETS = 10_000
MOST_EDGES = 50_000
MOST_LEVELS = 100
MOST_CYCLES = 50
AT_ONCE = 500
"""Assets that are looked for together."""

_UNKNOWN = Parentage(None, None, is_external=False, uses=())

Find = Callable[[Sequence[str]], Mapping[str, Found]]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An asset on the way back; the first one, too.

    Parameters
    ----------
    name
        Its name; its URL, where nothing else is known of it.
    said
        What its metadata say of its way back; where there are none, what its name says.
    origin, place
        Where they were found, as of :class:`~asset_provenance.whereabouts.Found`; None where
        there are none.
    is_url
        Whether it is known by its URL only, so that nothing can be looked up.
    is_followed
        Whether it was looked for: beyond the bounds, nothing is.
    reached_from
        The asset that names it, nearest to the first one; None for that.
    is_reference
        Whether no way of sources leads to it, only one of references.
    """

    name: str
    said: Parentage
    origin: Origin | None = None
    place: str | None = None
    is_url: bool = False
    is_followed: bool = True
    reached_from: str | None = None
    is_reference: bool = False

    @property
    def is_missing(self) -> bool:
        """Whether it was looked for, and is nowhere."""
        return self.origin is None and not self.is_url and self.is_followed

    @property
    def is_unidentified(self) -> bool:
        """Whether it is a source of which nobody can say what it is: no reference needs to."""
        return self.is_url and not self.is_reference

    @property
    def is_end_unexplained(self) -> bool:
        """Whether the way back ends here, though it is an asset that should have a source."""
        is_end = self.origin is not None and not self.said.uses
        return is_end and not self.said.is_origin and not self.is_reference


@dataclass(frozen=True, slots=True)
class Ancestry:
    """All assets on the way back.

    Parameters
    ----------
    root
        The name of the asset that the way begins at.
    assets
        By name, nearest first, and references last.
    cycles
        Assets that go back to themselves, each cycle from one of them to the same again. Each
        step that lies on a cycle is in one of these, unless there are too many.
    problems
        What a person should know of the search: what could not be asked, read or followed.
    is_bounded
        Whether there was more than is followed.
    """

    root: str
    assets: Mapping[str, Ancestor]
    cycles: tuple[tuple[str, ...], ...] = ()
    problems: tuple[str, ...] = ()
    is_bounded: bool = False

    def named(self, wanted: Callable[[Ancestor], bool]) -> list[str]:
        """Give the names of some of the assets."""
        return [name for name, asset in self.assets.items() if wanted(asset)]

    @property
    def missing(self) -> list[str]:
        """The assets that are nowhere."""
        return self.named(lambda asset: asset.is_missing)

    @property
    def unexplained(self) -> list[str]:
        """The assets that should have a source, and name none."""
        return self.named(lambda asset: asset.is_end_unexplained)

    @property
    def unidentified(self) -> list[str]:
        """The sources that are known by their URLs only."""
        return self.named(lambda asset: asset.is_unidentified)

    @property
    def raw_roots(self) -> list[str]:
        """The raw assets that it goes back to, those of its references left out."""
        return self.named(lambda asset: asset.said.level == "raw" and not asset.is_reference)

    @property
    def is_complete(self) -> bool:
        """Whether every way leads back to an asset that rightly has no source."""
        ends = self.missing or self.unexplained or self.unidentified
        return not (ends or self.cycles or self.is_bounded)


def find_ancestry(asset: str, data_roots: Sequence[Path] = ()) -> Ancestry:
    """Find the way back from an asset, through the metadata database and folders.

    Parameters
    ----------
    asset
        Its folder, its name, or its ``s3://`` URL.
    data_roots
        Folders in which assets are looked for, instead of the data root of the settings.

    Raises
    ------
    UsageError
        If nothing answers for the asset itself, or a folder is none.
    PreflightError
        If the settings cannot be used.
    StorageError
        If the metadata in its folder cannot be read, and the database has none.
    """
    folder = absolute(asset) if os.path.isdir(asset) else None  # noqa: PTH112 - never raises
    name = _name_of(asset, folder)
    where = _whereabouts(data_roots, folder)
    if folder is not None and is_described(folder):
        where.folders.know(name, folder)
    first = where.find([name]).get(name)
    if first is None or not (first.description or first.processing):
        problems = where.problems
        if problems and folder is not None and is_described(folder):
            raise StorageError("\n".join(problems))
        raise UsageError(_unanswered(name, folder, where))
    ancestry = walk(name, first, where.find)
    if first.origin == "database" and folder is not None:
        here = where.folders.find(name)
        if here is not None and here.description and _uses(name, here) != _uses(name, first):
            where.folders.problems.append(
                f"{folder} tells of other sources than the database, whose are shown"
            )
    return replace(ancestry, problems=(*where.problems, *ancestry.problems))


def _uses(name: str, found: Found) -> tuple[Use, ...]:
    return parentage(name, found.description, found.processing).uses


def _name_of(asset: str, folder: Path | None) -> str:
    if folder is not None:
        return asset_name(folder)
    ref = asset_ref(None, asset) if "://" in asset else asset_ref(asset, None)
    if ref.name is None or not asset.strip():
        raise UsageError(f"{asset!r} names no asset: give its name, s3://<bucket>/<name>, or DIR")
    if os.sep in ref.name:
        raise UsageError(f"{no_folder(Path(asset))}: give the folder or the name of an asset")
    return ref.name


def _whereabouts(data_roots: Sequence[Path], folder: Path | None) -> Whereabouts:
    settings = load_settings({}, script_folder=None)
    problems = list(settings.problems)
    database = None
    if not settings.flag("offline", default=False):
        try:
            host, version = find_database(settings)
            database = Database(host, version, settings.service_timeout)
        except ValueError as error:
            problems.append(str(error))
    problems += [f"--data-root: there is no folder {one}" for one in data_roots if not one.is_dir()]
    if problems:
        raise PreflightError("nothing was looked for; mend this first:", problems)
    roots = [absolute(root) for root in data_roots]
    roots = roots or [absolute(settings.text("data_root") or default_folders().data_root)]
    # Results of several runs are often kept beside each other.
    return Whereabouts(Folders(roots, beside=folder.parent if folder else None), database)


def _unanswered(name: str, folder: Path | None, where: Whereabouts) -> str:
    """Say that nothing is known of an asset, where it was looked for, and what helps."""
    places = [str(place) for place in where.folders.places]
    if where.database is None:
        places.append("the metadata database is not asked, since offline is set")
    elif where.database.failure is None:
        places.append(f"the metadata database {where.database.host}")
    lines = [
        f"nothing is known of {name}; looked for in: {'; '.join(places)}",
        *where.problems,
        "-> give its folder, or with --data-root the folder that has it",
    ]
    if folder is not None:
        lines[0] = f"there is no metadata in {folder}, and {lines[0]}"
    by_name = [use.asset for use in parentage(name, {}, {}).uses]
    if by_name:
        lines.append(f"by its name it goes back to {by_name[0]}")
    return "\n".join(lines)


def walk(root: str, first: Found, find: Find) -> Ancestry:
    """Follow what assets say of their sources, level by level.

    Parameters
    ----------
    root, first
        The name of the asset to begin with, and what was found of it.
    find
        Gives what is found of some assets, by their names; asked for each name once.
    """
    way = _Way()
    way.take(root, first)
    problems = []
    for _ in range(MOST_LEVELS - 1):
        names = way.next_level()
        if not names:
            break
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            found = find(some)
            for name in some:
                way.take(name, found.get(name))
    if way.left_out:
        problems.append(
            f"more than can be followed: {len(way.assets)} assets and {way.steps} steps between "
            "them are shown, the others are left out"
        )
    if way.waiting:
        problems.append(f"there are more than {MOST_LEVELS} levels: what is beyond is not followed")
        way.leave_rest()
    is_bounded = bool(problems)
    assets = _in_order(root, _without_inherited(way.assets))
    graph = {name: [use.asset for use in asset.said.uses] for name, asset in assets.items()}
    found_cycles = list(islice(map(tuple, cycles(graph)), MOST_CYCLES + 1))
    if len(found_cycles) > MOST_CYCLES:
        problems.append(f"there are more than {MOST_CYCLES} cycles: the others are not told")
    told = tuple(found_cycles[:MOST_CYCLES])
    return Ancestry(root, assets, told, tuple(problems), is_bounded)


class _Way:
    """What was reached so far; bounded, whatever the assets name."""

    def __init__(self) -> None:
        self.assets: dict[str, Ancestor] = {}
        self.waiting: dict[str, None] = {}
        self.steps = 0
        self.left_out = False

    def take(self, name: str, found: Found | None) -> None:
        """Take an asset, and what it names as far as that can be followed."""
        described = (found.description, found.processing) if found else ({}, {})
        said = parentage(name, *described)
        origin, place = (found.origin, found.place) if found else (None, None)
        self.assets[name] = Ancestor(name, said, origin, place)
        self.waiting.pop(name, None)
        self.assets[name] = _with_uses(self.assets[name], list(filter(self._follow, said.uses)))

    def _follow(self, use: Use) -> bool:
        is_new = use.asset not in self.assets and use.asset not in self.waiting
        is_full = len(self.assets) + len(self.waiting) >= MOST_ASSETS
        if self.steps >= MOST_EDGES or (is_new and is_full):
            self.left_out = True
            return False
        self.steps += 1
        if is_new and use.is_url:
            self.assets[use.asset] = Ancestor(use.asset, _UNKNOWN, is_url=True)
        elif is_new:
            self.waiting[use.asset] = None
        return True

    def next_level(self) -> list[str]:
        """Give the assets that were named, and not looked for yet."""
        return list(self.waiting)

    def leave_rest(self) -> None:
        """Take those that are left for what is not followed."""
        for name in self.waiting:
            self.assets[name] = Ancestor(name, _UNKNOWN, is_followed=False)


def _with_uses(asset: Ancestor, uses: Iterable[Use]) -> Ancestor:
    return replace(asset, said=replace(asset.said, uses=tuple(uses)))


def _without_inherited(assets: Mapping[str, Ancestor]) -> dict[str, Ancestor]:
    """Leave out what processes used that came with a source: it is that source's use.

    The processing of a result begins with that of its sources, and so names what they went back to
    as well. What the sources of an asset lead to anyway is no reference either.
    """
    by_source = {
        name: [use.asset for use in asset.said.uses if use.kind in ("source", "name")]
        for name, asset in assets.items()
    }
    bits = {name: 1 << number for number, name in enumerate(assets)}
    users: dict[tuple[str, object], int] = {}
    for name, asset in assets.items():
        for use in asset.said.uses:
            for key in use.keys:
                users[use.asset, key] = users.get((use.asset, key), 0) | bits[name]
    above: dict[str, int] = {}
    kept: dict[str, Ancestor] = {}
    for component in components(by_source):
        own = sum(bits[name] for name in component)
        sources = {target for name in component for target in by_source[name]}
        reached = 0
        for target in sources:
            reached |= bits[target] | above.get(target, 0)
        above |= dict.fromkeys(component, reached)
        for name in component:
            uses = [
                use
                for use in assets[name].said.uses
                if use.kind in ("source", "name")
                or not (
                    reached & bits[use.asset]
                    or (
                        use.keys and all(users[use.asset, key] & reached & ~own for key in use.keys)
                    )
                )
            ]
            kept[name] = _with_uses(assets[name], uses)
    return kept


def _in_order(root: str, assets: Mapping[str, Ancestor]) -> dict[str, Ancestor]:
    """Give the assets as they are reached: through sources first, then through references."""
    reached: dict[str, str | None] = {root: None}
    lineal: set[str] = set()
    for with_references in (False, True):
        names = list(reached)
        for name in names:  # which grow meanwhile
            for use in assets[name].said.uses:
                if use.asset not in reached and (with_references or use.kind != "reference"):
                    reached[use.asset] = name
                    names.append(use.asset)
        lineal = lineal or set(reached)
    return {
        name: replace(assets[name], reached_from=above, is_reference=name not in lineal)
        for name, above in reached.items()
    }
