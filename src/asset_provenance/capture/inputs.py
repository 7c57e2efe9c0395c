"""Which data asset a name, an ``s3://`` URL or a path means, and what lies in the output folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from asset_provenance.assetrefs import asset_ref, recordable
from asset_provenance.corefiles import DATA_DESCRIPTION, file_name, parse_json, read_bytes
from asset_provenance.errors import UsageError
from asset_provenance.records import InputRef, valid_text
from asset_provenance.redaction import redact_json, redact_text

__all__ = ["InputResolver", "ResolvedInput"]

_LONGEST_PATH = 4096
_MOST_ITEMS = 100
"""Of a sequence among the arguments, so many items at most are looked at for paths."""


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """What a reference turned out to be.

    Parameters
    ----------
    ref
        The data asset, or None for a path below the output folder.
    folder
        The asset's root folder, where it is known.
    read
        For a path below the output folder, that path relative to it, in POSIX form.
    """

    ref: InputRef | None
    folder: Path | None = None
    read: str | None = None


class InputResolver:
    """Finds data assets below the data root, and paths below the output folder.

    Parameters
    ----------
    data_root, output_dir
        Absolute folders. Either may be a symlink, or lie behind a chain of them.
    """

    def __init__(self, data_root: Path, output_dir: Path) -> None:
        self._data_root = _Root(data_root)
        self._output_dir = _Root(output_dir, holds_mounts=False)
        self._outside: dict[Path, Path] = {}
        # Swapped as a whole: no lock that a forked child could find held.
        self._names: tuple[object, dict[str, Path]] = (None, {})

    def resolve(self, value: object) -> ResolvedInput:
        """Find what a declared input means.

        Parameters
        ----------
        value
            A name, an ``s3://`` URL, a path, or an object like the schema's ``DataAsset`` or
            ``CombinedData``. A text that is a folder below the data root is that folder; one that
            exists below the output folder is what an earlier step wrote there; else one without a
            separator is a name.

        Raises
        ------
        UsageError
            If it is none of these, or a path that does not exist.
        """
        if isinstance(value, str):
            return self._resolve_text(value)
        if isinstance(value, os.PathLike):
            return self._resolve_path(_text_of(value))
        return ResolvedInput(_from_schema(value))

    def know(self, folder: Path) -> None:
        """Take a folder as an asset's, wherever it lies: paths inside it belong to that asset."""
        self._outside = {**self._outside, folder: folder, Path(os.path.realpath(folder)): folder}

    def known(self) -> list[Path]:
        """Give the folders that :meth:`know` was told of."""
        return list(self._outside)

    def known_names(self) -> list[str]:
        """Give the names of the assets and folders below the data root."""
        folders = [folder.name for folder in _folders(self._data_root.path)]
        return list(dict.fromkeys([*self._asset_names(), *folders]))

    def locate(self, ref: InputRef) -> Path | None:
        """Give the folder of an asset that is known by name, if it lies below the data root."""
        if ref.name is None:
            return None
        return self._by_name(ref.name) or self._plain_folder(ref.name)

    def find_paths(self, arguments: Mapping[str, Any]) -> Iterable[ResolvedInput]:
        """Find the arguments that are existing paths below the data root, or ``s3://`` URLs.

        Paths below the output folder do not count: as an argument they say nothing of whether the
        process reads there or writes.
        """
        known: set[Path] = set()
        for value in arguments.values():
            candidates: Iterable[Any] = (value,)
            # By type: asking a user's object for its class could run code of theirs.
            if issubclass(type(value), list):
                candidates = list(islice(list.__iter__(value), _MOST_ITEMS))
            elif issubclass(type(value), tuple):
                candidates = list(islice(tuple.__iter__(value), _MOST_ITEMS))
            for candidate in candidates:
                try:
                    found = self._find_path(candidate, known)
                except Exception:  # noqa: BLE001, S112 - an argument that cannot be read is no path
                    continue
                if found is not None:
                    yield found

    def _find_path(self, value: Any, known: set[Path]) -> ResolvedInput | None:
        if issubclass(type(value), str):
            if "/" not in value or len(value) > _LONGEST_PATH or "\0" in value:
                return None
            if value.startswith("s3://"):
                return self._resolve_s3(value)
            text = value
        elif issubclass(type(value), os.PathLike):
            text = _text_of(value)
        else:
            return None
        path = Path(os.path.abspath(text))
        if path.parent in known and os.path.isfile(path):
            return None  # a list of files has many of one folder
        is_output = self._output_dir.relative(path) is not None
        if is_output and not self._is_data_inside_output(path):
            return None
        if not self._is_of_an_asset(path):
            return None
        if not os.path.exists(path):
            return None
        found = self._place(path)
        if found.folder is not None and path != found.folder:
            known.add(path.parent)
        return found

    def roots(self) -> list[str]:
        """Give the folders in which files belong to data assets, by each way that leads there."""
        found = [*self._data_root.roots()]
        return list(dict.fromkeys([*found, *map(str, self._outside)]))

    @staticmethod
    def is_described(folder: str) -> bool:
        """Say whether a folder is a data asset by a description of its own."""
        return os.path.isfile(f"{folder}/{file_name(DATA_DESCRIPTION)}")

    def of_path(self, path: str) -> ResolvedInput | None:
        """Give the asset that a file belongs to; None for one that belongs to none."""
        for full in (Path(path), Path(os.path.realpath(path))):
            if self._is_of_an_asset(full):
                try:
                    return self._place(full)
                except UsageError:
                    return None
        return None

    def _is_of_an_asset(self, path: Path) -> bool:
        inside_data = self._data_root.relative(path)
        if inside_data is not None:
            return inside_data != Path()
        return any(path.is_relative_to(folder) for folder in self._outside)

    def _is_data_inside_output(self, path: Path) -> bool:
        """Say whether it is below a data root that lies in the output folder itself."""
        is_inside = self._output_dir.relative(self._data_root.path) not in (None, Path())
        return is_inside and self._data_root.relative(path) is not None

    def _resolve_text(self, text: str) -> ResolvedInput:
        if not text.strip() or "\0" in text or "\n" in text:
            raise UsageError(
                f"an input must be a name, an s3:// URL or a path, not {redact_text(text)!r}"
            )
        if text.startswith("s3://"):
            return self._resolve_s3(text)
        if "://" in text:
            return ResolvedInput(InputRef(url=recordable(text)))
        below_data = self._data_root.path / text
        if not Path(text).is_absolute() and os.path.isdir(below_data):
            return self._place(below_data)
        below_output = self._output_dir.path / text
        if not Path(text).is_absolute() and os.path.exists(below_output):
            return self._place(below_output)
        if "/" in text or os.sep in text or os.path.exists(text):
            return self._resolve_path(text)
        folder = self._by_name(text)
        return ResolvedInput(InputRef(name=recordable(text)), folder)

    def _resolve_path(self, text: str) -> ResolvedInput:
        path = Path(os.path.abspath(text))
        if not os.path.exists(path):
            raise UsageError(f"input {path} does not exist")
        return self._place(path)

    @staticmethod
    def _resolve_s3(url: str) -> ResolvedInput:
        ref = asset_ref(None, url)
        if ref.name is None:
            raise UsageError(
                f"input {redact_text(url)} names no asset; write s3://<bucket>/<asset>/..."
            )
        return ResolvedInput(ref)

    def _place(self, path: Path) -> ResolvedInput:
        """Say what an existing path belongs to."""
        inside_output = self._output_dir.relative(path)
        if inside_output is not None and not self._is_data_inside_output(path):
            return ResolvedInput(None, read=valid_text(inside_output.as_posix()))
        inside_data = self._data_root.relative(path)
        if inside_data == Path():
            raise UsageError(
                f"input {path} is the data root itself; name the asset below it that is meant"
            )
        if inside_data is not None:
            return self._below_data_root(self._data_root.path, inside_data)
        # Outside both, a description says where an asset begins, or what was declared before.
        for folder in (path, *path.parents):
            declared = self._outside.get(folder)
            if declared is not None:
                return ResolvedInput(InputRef(name=_name_of(declared)), declared)
            if _is_asset(folder):
                return ResolvedInput(InputRef(name=_name_of(folder)), folder)
        if os.path.isdir(path):
            return ResolvedInput(InputRef(name=recordable(path.name)), path)
        return ResolvedInput(InputRef(url=path.as_uri()))

    @staticmethod
    def _below_data_root(root: Path, inside: Path) -> ResolvedInput:
        parts = inside.parts
        for count in range(len(parts), 0, -1):
            folder = root.joinpath(*parts[:count])
            if _is_asset(folder):
                return ResolvedInput(InputRef(name=_name_of(folder)), folder)
        first = root / parts[0]
        return ResolvedInput(
            InputRef(name=recordable(first.name)), first if os.path.isdir(first) else None
        )

    def _by_name(self, name: str) -> Path | None:
        """Find the folder below the data root whose description bears a name."""
        return self._asset_names().get(name)

    def _plain_folder(self, name: str) -> Path | None:
        """Find the folder below the data root that a name is of for want of a description."""
        if "\0" in name or name == ".." or Path(name).name != name:
            return None
        folder = self._data_root.path / name
        return folder if os.path.isdir(folder) and not _is_asset(folder) else None

    def _asset_names(self) -> dict[str, Path]:
        stamp = self._data_root.stamp()
        known, names = self._names
        if stamp != known:
            names = self._data_root.asset_names()
            self._names = stamp, names
        return names


class _Root:
    """A folder together with the place that its symlinks lead to."""

    def __init__(self, path: Path, *, holds_mounts: bool = True) -> None:
        self.path = path
        self._holds_mounts = holds_mounts
        self._real = Path(os.path.realpath(path))
        self._known_links: tuple[object, dict[Path, str]] = (None, {})

    def relative(self, path: Path) -> Path | None:
        """Give a path relative to this folder, or None when it lies outside."""
        if path.is_relative_to(self.path):
            return path.relative_to(self.path)
        real = Path(os.path.realpath(path))
        if real.is_relative_to(self._real):
            return real.relative_to(self._real)
        for target, link in self._links().items():
            if real.is_relative_to(target):
                return Path(link) / real.relative_to(target)
        return None

    def roots(self) -> list[str]:
        """Give the folder by each way that leads to it, or into it."""
        return [str(self.path), str(self._real), *map(str, self._links())]

    def _links(self) -> dict[Path, str]:
        """Give what the links in this folder lead to: each mount may be one."""
        if not self._holds_mounts:  # a result may be a link to an input
            return {}
        stamp = self.stamp()
        if stamp != self._known_links[0]:
            links: dict[Path, str] = {}
            try:
                for entry in os.scandir(self.path):
                    if entry.is_symlink():
                        links.setdefault(Path(os.path.realpath(entry.path)), entry.name)
            except OSError:
                pass
            self._known_links = stamp, links
        return self._known_links[1]

    def stamp(self) -> tuple[int, ...]:
        """Give a value that changes when assets appear or disappear."""
        try:
            return (self.path.stat().st_mtime_ns,)
        except OSError:
            return ()

    def asset_names(self) -> dict[str, Path]:
        """Find every asset in the folder, and in those of its folders that are no asset."""
        found: dict[str, Path] = {}
        for folder in _folders(self.path):
            inner = [folder] if _is_asset(folder) else [f for f in _folders(folder) if _is_asset(f)]
            for asset in inner:
                found.setdefault(_name_of(asset), asset)
        return found


def _is_asset(folder: Path) -> bool:
    return os.path.isfile(folder / file_name(DATA_DESCRIPTION))


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if os.path.isdir(path))
    except OSError:
        return []


def _name_of(folder: Path) -> str:
    """Give the asset's own name; its folder's, where the description has none that can be read."""
    path = folder / file_name(DATA_DESCRIPTION)
    try:
        state = path.stat()
        name = _described_name(path, state.st_mtime_ns, state.st_size)
    except (OSError, ValueError):
        name = None
    return recordable(name or folder.name)


@functools.lru_cache(maxsize=1024)
def _described_name(path: Path, mtime_ns: int, size: int) -> str | None:
    """Read the name in a description; once, as long as the file stays the same."""
    name = parse_json(read_bytes(path), path).get("name")
    return name if isinstance(name, str) else None


def _text_of(path: os.PathLike[Any]) -> str:
    return os.fsdecode(os.fspath(path))


def _from_schema(value: object) -> InputRef:
    """Take an object of the schema apart by its attributes, without importing the schema."""
    members = getattr(value, "assets", None)
    if isinstance(members, list | tuple) and members:
        identifiers = getattr(value, "database_identifier", None)
        description = getattr(value, "description", None)
        return replace(
            _single(value, required=False),
            assets=tuple(_from_schema(member) for member in members),
            description=None if description is None else redact_text(str(description)),
            database_identifier=(
                redact_json({getattr(key, "value", key): ids for key, ids in identifiers.items()})
                if isinstance(identifiers, Mapping)
                else None
            ),
        )
    return _single(value, required=True)


def _single(value: object, *, required: bool) -> InputRef:
    name, url = getattr(value, "name", None), getattr(value, "url", None)
    for text in (name, url):
        if text is not None and not isinstance(text, str):
            name = url = None
    if required and not name and not url:
        raise UsageError(
            "an input must be a name, an s3:// URL, a path, or the schema's DataAsset or "
            f"CombinedData, not {type(value).__name__}"
        )
    return asset_ref(name, url)
