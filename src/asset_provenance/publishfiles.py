"""The files that would be published: what goes with them unasked, and whether they were checked.

What a service holds is listed and read within bounds; a file is known by its content where it is
metadata, by its size where it is data.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    JOURNAL_FOLDER,
    MANIFEST,
    PROVENANCE_FOLDER,
    file_name,
    read_bytes,
)
from asset_provenance.patches import files_below, is_patch
from asset_provenance.services.requesting import RefusedError

if TYPE_CHECKING:
    from asset_provenance.services.codeocean import CodeOceanService
    from asset_provenance.services.remote import AssetSource, RemoteAsset

__all__ = [
    "Held",
    "Listing",
    "Unasked",
    "differing_files",
    "differing_metadata",
    "held_by_asset",
    "held_by_computation",
    "look_through",
    "some_of",
    "stands_against_asset",
    "unasked_in",
]

_MOST_FOLDERS = 200
"""How many folders of a service are listed: each is a request."""
_DESCRIBED = file_name(DATA_DESCRIPTION)
_NOT_THERE = (400, 404)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Held:
    """Files at a service, by their paths in what would be, or was, captured.

    Parameters
    ----------
    sizes
        Gives what lies in a folder, by name; None for folders. The service is asked once.
    read
        Gives the content of a file.
    """

    sizes: Callable[[str], Mapping[str, int | None]]
    read: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found of the files at a service.

    Parameters
    ----------
    files
        Sizes, by path.
    is_whole
        Whether that is all; False if there are too many folders.
    """

    files: Mapping[str, int | None]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Unasked:
    """What lies among the files that nobody may have thought of.

    Parameters
    ----------
    patches
        Of uncommitted code.
    journals
        The folders with records of runs that have no metadata.
    """

    patches: tuple[str, ...]
    journals: tuple[str, ...]


def held_by_computation(service: CodeOceanService, source: AssetSource) -> Held:
    """Give the results of a computation, below the path that is captured."""
    identity = source.computation or ""

    def inside(path: str) -> str:
        return f"{source.path}/{path}".strip("/")

    return Held(
        sizes=cache(lambda path: _sizes_if_there(partial(service.results, identity), inside(path))),
        read=lambda path: service.result_file(identity, inside(path)),
    )


def held_by_asset(service: CodeOceanService, asset: RemoteAsset) -> Held:
    """Give the files of a data asset."""
    return Held(
        sizes=cache(partial(_sizes_if_there, partial(service.files, asset.id))),
        read=lambda path: service.file(asset.id, path),
    )


def _sizes_if_there(
    ask: Callable[[str], Mapping[str, int | None]], path: str
) -> Mapping[str, int | None]:
    try:
        return ask(path)
    except RefusedError as error:
        if error.status not in _NOT_THERE:
            raise
        return {}


def unasked_in(paths: Iterable[str]) -> Unasked:
    """Find patches, and the records of runs, at any depth."""
    patches: list[str] = []
    journals: dict[str, None] = {}
    for path in paths:
        if is_patch(path):
            patches.append(path)
        parts = path.split("/")
        if JOURNAL_FOLDER in parts[:-2]:  # a lock in it is nobody's record
            journals["/".join(parts[: parts.index(JOURNAL_FOLDER) + 1])] = None
    return Unasked(tuple(sorted(patches)), tuple(journals))


def look_through(held: Held) -> Listing:
    """List what lies in all folders, those first where something of ours can lie."""
    waiting = deque([""])
    files: dict[str, int | None] = {}
    looks = 0
    while waiting and looks < _MOST_FOLDERS:
        looks += 1
        folder = waiting.popleft()
        for name, size in held.sizes(folder).items():
            path = f"{folder}/{name}".lstrip("/")
            if size is not None:
                files[path] = size
            elif name in (PROVENANCE_FOLDER, JOURNAL_FOLDER):
                waiting.appendleft(path)
            else:
                waiting.append(path)
    return Listing(files, not waiting)


def differing_metadata(folder: Path, held: Held) -> list[str]:
    """Give the metadata files, the manifest among them, that differ from those of a folder."""
    sizes = dict(held.sizes(""))
    if PROVENANCE_FOLDER in sizes:
        inside = held.sizes(PROVENANCE_FOLDER)
        sizes |= {f"{PROVENANCE_FOLDER}/{name}": size for name, size in inside.items()}
    return [
        file
        for file in (*map(file_name, CORE_FILES), MANIFEST)
        if _differs(folder / file, file, sizes, held)
    ]


def _differs(here: Path, file: str, sizes: Mapping[str, int | None], held: Held) -> bool:
    if not here.is_file() or file not in sizes:
        return here.is_file() or file in sizes
    if here.stat().st_size != sizes[file]:
        return True
    return read_bytes(here) != held.read(file)


def stands_against_asset(
    folder: Path,
    asset: RemoteAsset,
    service: CodeOceanService,
    source: AssetSource,
    listing: Listing | None = None,
) -> str | None:
    """Say in which way a data asset that is ready does not hold what a folder holds, or None.

    Parameters
    ----------
    folder
        Of the asset that was checked.
    asset, service, source
        The data asset, where it is, and what it was made from.
    listing
        Of its files, where those of the folder are to be the same in name and size.
    """
    page = service.page(asset.id)
    held = held_by_asset(service, asset)
    try:
        is_described = _DESCRIBED in service.files(asset.id, "")
    except RefusedError:
        if not asset.is_external:
            raise
        # Files in other places may not be shown by Code Ocean; how much there is of them is.
        here = _size(folder)
        if not asset.size or asset.size == here:
            return None
        return (
            f"the data asset {asset.id} ({page}) is not what {folder} holds: there are "
            f"{asset.size:,} bytes in {source.url or 'its place'}, and {here:,} here. Copy what "
            "was checked to where it is published from, and remove that data asset"
        )
    differing = differing_metadata(folder, held) if is_described else [_DESCRIBED]
    if listing is not None and listing.is_whole:
        differing += differing_files(folder, listing)
        differing += [path for path in _shown(listing) if not os.path.lexists(folder / path)]
    if not differing:
        return None
    return (
        f"the data asset {asset.id} ({page}) is not what {folder} holds now "
        f"({some_of(differing)} differ): a data asset does not change. Run the "
        "analysis again, which makes an asset of another name, or remove that data asset"
    )


def differing_files(folder: Path, listing: Listing) -> list[str]:
    """Give the files of a folder that a service has not, or not of the same size.

    What is hidden, or a link, may not be captured, and is left out.
    """
    there = _shown(listing)
    return [
        path
        for path in files_below(folder)
        if not _is_hidden(path)
        and not (folder / path).is_symlink()
        and (folder / path).stat().st_size != there.get(path)
    ]


def _shown(listing: Listing) -> dict[str, int | None]:
    return {path: size for path, size in listing.files.items() if not _is_hidden(path)}


def some_of(paths: Iterable[str]) -> str:
    """Name the first of some files, and tell how many more there are."""
    several = list(dict.fromkeys(paths))
    more = f" and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
    return f"{', '.join(several[:_SHOWN])}{more}"


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _size(folder: Path) -> int:
    return sum(
        (folder / path).stat().st_size
        for path in files_below(folder)
        if JOURNAL_FOLDER not in path.split("/") and (folder / path).is_file()
    )
