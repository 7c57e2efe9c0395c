"""Files that hold the data of HDF5 datasets elsewhere: virtual datasets and external storage.

HDF5 opens them when their data is read, and only those that hold some of it.
"""

# Names are taken as the libraries take them: nothing is resolved or made tidy.
# ruff: noqa: PTH100, PTH110, PTH117, PTH118, PTH119, PTH120
from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from asset_provenance.capture.files import Access, saw
from asset_provenance.capture.libraries.wrapping import Tell, argument, telling
from asset_provenance.patching import Patches

__all__ = ["Elsewhere", "Places", "resolved"]

_MOST_PLACES = 4096

_PENDING = "_asset_provenance_elsewhere"
"""The attribute of a dataset that holds what has not been told of it."""

_Select = Callable[[Any, Any], Any]
"""Given the arguments of a call by position and by name, gives what it selects."""


_Axis = tuple[int, int, int, int]
"""Start, stride, count and size of the blocks that are selected of one axis."""


class Places:
    """Where the files are that were opened by a relative name: the working folder may change."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def remember(self, name: str) -> None:
        """Take note of a file that has just been opened."""
        if not os.path.isabs(name):
            if len(self._known) > _MOST_PLACES:
                self._known.clear()
            self._known[name] = os.path.abspath(name)

    def absolute(self, name: bytes) -> str:
        """Give the path of an open file by the name that HDF5 has for it."""
        text = os.fsdecode(name)
        return self._known.get(text) or os.path.abspath(text)


class _Part:
    """A file with a part of a dataset's data, and the part."""

    __slots__ = ("first", "last", "path", "space")

    def __init__(self, path: str, first: Any, last: Any, space: Any) -> None:
        self.path, self.first, self.last, self.space = path, first, last, space


class Elsewhere:
    """Sees which files the reads and writes of datasets reach.

    Parameters
    ----------
    h5py
        The module.
    places
        Where the open files are.
    """

    def __init__(self, h5py: Any, places: Places) -> None:
        self._h5py = h5py
        self._places = places
        self._plain = (h5py.h5d.CHUNKED, h5py.h5d.COMPACT)
        self._lock = threading.Lock()
        self._watches = False

    def watch(self, patches: Patches) -> None:
        """See datasets whose data is elsewhere, when there are any.

        Nearly all programs have none, and for them reading a dataset costs what it did.
        """
        h5py = self._h5py
        with h5py._hl.base.phil:
            ids = h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_DATASET)
        if any(self._is_elsewhere(each.get_create_plist()) for each in ids):
            self._watch_all(patches)
        patches.wrap(h5py.Dataset, "__init__", partial(self._making, patches))
        patches.wrap(
            h5py.Group, "create_dataset", lambda original: telling(original, self.creating)
        )

    def _making(self, patches: Patches, original: Any) -> Any:
        # No more than is needed: it is called for each dataset that is looked up.
        plain, virtual = self._plain, self._h5py.h5d.VIRTUAL

        @functools.wraps(original)
        def init(dataset: Any, *args: Any, **kwargs: Any) -> None:
            original(dataset, *args, **kwargs)
            with contextlib.suppress(Exception):
                layout = dataset._dcpl.get_layout()
                if layout not in plain and (
                    layout == virtual or dataset._dcpl.get_external_count()
                ):
                    self._watch_all(patches)

        return init

    def _watch_all(self, patches: Patches) -> None:
        with self._lock:
            if self._watches:
                return
            self._watches = True
        for name, select, writes in (
            ("__getitem__", _by("args", 0), False),
            ("read_direct", _by("source_sel", 1), False),
            ("__setitem__", _by("args", 0), True),
            ("write_direct", _by("dest_sel", 2), True),
        ):
            look = partial(self._look, select, writes)
            patches.wrap(self._h5py.Dataset, name, partial(_telling, look))

    def _is_elsewhere(self, layout: Any) -> bool:
        if layout.get_layout() == self._h5py.h5d.VIRTUAL:
            return True
        return layout.get_layout() not in self._plain and bool(layout.get_external_count())

    def _look(
        self, select: _Select, writes: bool, dataset: Any, args: Any, kwargs: Any
    ) -> Tell | None:
        if not self._is_elsewhere(dataset._dcpl):
            return None
        reached = self._reached(dataset, select(args, kwargs), writes)
        if not reached:
            return None

        def tell(_result: Any) -> None:
            for path, access in reached:
                saw(path, access)

        return tell

    def creating(self, _group: Any, _args: Any, kwargs: Any) -> Tell | None:
        """See the files that a new dataset with external storage is written to."""
        if kwargs.get("external") is None:
            return None

        def tell(dataset: Any) -> None:
            for name, _offset, _size in dataset.external or ():
                path = self._storage_path(dataset, name)
                if os.path.exists(path):
                    saw(path, Access.WRITE)

        return tell

    def _reached(self, dataset: Any, given: Any, writes: bool) -> list[tuple[str, int]]:
        """Give the files that a read or write opens, and had not been told yet."""
        is_virtual = dataset._dcpl.get_layout() == self._h5py.h5d.VIRTUAL
        pending = dataset.__dict__.setdefault(_PENDING, {})
        if writes not in pending:
            pending[writes] = list(self._sources(dataset) if is_virtual else self._stored(dataset))
        if not pending[writes]:
            return []
        selected = self._selected(dataset, given)
        first, last = selected.get_select_bounds()
        if not is_virtual:
            first, last = self._bytes(dataset, first, last)
        left, found = [], []
        for part in pending[writes]:
            if not self._meets(part, first, last, selected):
                left.append(part)
            elif os.path.exists(part.path):
                found.append((part.path, Access.WRITE if writes else Access.READ))
            elif writes:
                found.append((part.path, Access.REPLACE))
        pending[writes] = left
        return found

    def _selected(self, dataset: Any, given: Any) -> Any:
        """Give the selection as HDF5 takes it."""
        given = () if given is None else given
        parts = given if isinstance(given, tuple) else (given,)
        parts = tuple(part for part in parts if not isinstance(part, str | bytes))  # fields
        select = self._h5py._hl.selections.select
        try:
            return select(dataset.shape, parts, dataset=dataset).id
        except (TypeError, ValueError):  # a mask, which older versions do not select
            indices = (
                part.nonzero()[0] if str(getattr(part, "dtype", "")) == "bool" else part
                for part in parts
            )
            return select(dataset.shape, tuple(indices), dataset=dataset).id

    def _meets(self, part: _Part, first: Any, last: Any, selected: Any) -> bool:
        if part.first is None:
            return True
        for low, high, start, end in zip(part.first, part.last, first, last, strict=True):
            if low > end or high < start:
                return False
        if part.space is None:
            return True
        h5s = self._h5py.h5s
        kind = selected.get_select_type()
        if kind == h5s.SEL_ALL:
            return True
        axes = [
            (low, 1, 1, high - low + 1) for low, high in zip(part.first, part.last, strict=True)
        ]
        if part.space.get_select_type() == h5s.SEL_HYPERSLABS and part.space.is_regular_hyperslab():
            axes = list(zip(*part.space.get_regular_hyperslab(), strict=True))
        if kind == h5s.SEL_HYPERSLABS and selected.is_regular_hyperslab():
            return _meet(axes, zip(*selected.get_regular_hyperslab(), strict=True))
        if kind == h5s.SEL_POINTS:
            starts = ends = selected.get_select_elem_pointlist()
        else:
            blocks = selected.get_select_hyper_blocklist()
            starts, ends = blocks[:, 0], blocks[:, 1]
        near = ((starts <= part.last) & (ends >= part.first)).all(axis=1)
        return any(
            _meet(axes, ((low, 1, 1, high - low + 1) for low, high in zip(*box, strict=True)))
            for box in zip(starts[near].tolist(), ends[near].tolist(), strict=True)
        )

    def _sources(self, dataset: Any) -> Iterator[_Part]:
        """Give the parts of a virtual dataset."""
        layout, access = dataset._dcpl, dataset.id.get_access_plist()
        here = self._places.absolute(self._h5py.h5f.get_name(dataset.id))
        prefix = os.fsdecode(access.get_virtual_prefix())
        for number in range(layout.get_virtual_count()):
            name = layout.get_virtual_filename(number)
            if name == ".":
                continue
            space = layout.get_virtual_vspace(number)
            try:
                first, last = space.get_select_bounds()
            except Exception:  # noqa: BLE001 - a selection without an end
                first = last = space = None
            for each in _numbered(name):
                path = resolved(each, here, "HDF5_VDS_PREFIX", prefix)
                if path is None:
                    break
                yield _Part(path, first, last, space)

    def _stored(self, dataset: Any) -> Iterator[_Part]:
        """Give the parts of a dataset whose bytes are in other files."""
        position = 0
        for name, _offset, size in dataset.external:
            yield _Part(
                self._storage_path(dataset, name), (position,), (position + size - 1,), None
            )
            position += size

    def _storage_path(self, dataset: Any, name: str) -> str:
        here = self._places.absolute(self._h5py.h5f.get_name(dataset.id))
        prefix = os.environ.get("HDF5_EXTFILE_PREFIX") or os.fsdecode(
            dataset.id.get_access_plist().get_efile_prefix()
        )
        if not prefix or os.path.isabs(name):
            return name
        return os.path.join(_at_origin(prefix, os.path.dirname(here)), name)

    def _bytes(self, dataset: Any, first: Any, last: Any) -> tuple[tuple[int], tuple[int]]:
        """Give the first and the last byte between two corners of a dataset."""
        size = dataset.id.get_type().get_size()
        steps = [1, *itertools.accumulate(reversed(dataset.shape[1:]), lambda a, b: a * b)][::-1]
        start = sum(index * step for index, step in zip(first, steps, strict=True))
        end = sum(index * step for index, step in zip(last, steps, strict=True))
        return (start * size,), ((end + 1) * size - 1,)


def _meet(some: Iterable[_Axis], others: Iterable[_Axis]) -> bool:
    """Tell whether two regular selections have an element in common."""
    return all(_share_index(one, other) for one, other in zip(some, others, strict=True))


def _share_index(one: _Axis, other: _Axis) -> bool:
    """Tell whether two regular selections of an axis have an index in common."""
    few, many = sorted((one, other), key=lambda axis: axis[2])
    start, stride, count, block = many
    for number in range(few[2]):
        low = few[0] + number * few[1]
        high = low + few[3] - 1
        # The first of its blocks that does not end before this one begins.
        nearest = max(0, -((start + block - 1 - low) // stride))
        if nearest < count and start + nearest * stride <= high:
            return True
    return False


def _telling(look: Any, original: Any) -> Any:
    return telling(original, look)


def _by(name: str, position: int) -> _Select:
    return lambda args, kwargs: argument(args, kwargs, name, position)


def _numbered(name: str) -> Iterator[str]:
    """Give the names that a name with ``%b`` stands for; there is no end to them."""
    if "%b" not in name:
        yield name.replace("%%", "%")
        return
    for number in itertools.count():
        yield name.replace("%b", str(number)).replace("%%", "%")


def resolved(name: str, here: str, variable: str, prefix: str = "") -> str | None:
    """Find the file that a file refers to, where HDF5 looks for it.

    Parameters
    ----------
    name
        What it refers to.
    here
        The file that does, by its absolute path.
    variable
        The environment variable with more folders to look in.
    prefix
        A folder that the program has set for this.
    """
    folder = os.path.dirname(here)
    candidates = [name] if os.path.isabs(name) else []
    base = os.path.basename(name) if os.path.isabs(name) else name
    prefixes = [*os.environ.get(variable, "").split(":"), prefix]
    candidates += [os.path.join(_at_origin(each, folder), base) for each in prefixes if each]
    candidates += [os.path.join(folder, base), base]
    candidates.append(os.path.join(os.path.dirname(os.path.realpath(here)), base))
    return next((each for each in candidates if os.path.exists(each)), None)


def _at_origin(prefix: str, folder: str) -> str:
    return prefix.replace("${ORIGIN}", folder)
