"""Files that h5py opens, and those that HDF5 opens for them: of links, virtual and external data.

Whatever is built on h5py (pynwb, h5netcdf and through it xarray, anndata) is seen through it.
"""

# Names are taken as the libraries take them: nothing is resolved or made tidy.
# ruff: noqa: PTH110, PTH119
from __future__ import annotations

import contextlib
import functools
import itertools
import os
import weakref
from collections.abc import Iterator
from typing import Any

from asset_provenance.capture.files import Access, saw, state
from asset_provenance.capture.libraries.storage import Elsewhere, Places, resolved
from asset_provenance.capture.libraries.wrapping import Tell, argument, telling
from asset_provenance.patching import Patches

__all__ = ["watch"]


def watch(patches: Patches) -> None:
    """See the files that h5py opens, once it is imported."""
    patches.when_imported("h5py", lambda module: _Hdf5(module).watch(patches))


class _Hdf5:
    """What is replaced in h5py.

    Its face calls the functions below by name each time, so that they are seen whoever calls them.
    """

    def __init__(self, h5py: Any) -> None:
        self._h5py = h5py
        self._open_file = h5py.h5f.open
        self._open_object = h5py.h5o.open
        self._info_of = h5py.h5o.get_info
        self._name_of = h5py.h5f.get_name
        self._places = Places()

    def watch(self, patches: Patches) -> None:
        h5py = self._h5py
        patches.wrap(h5py.h5f, "open", lambda original: telling(original, self._opening))
        patches.wrap(h5py.h5f, "create", lambda original: telling(original, self._creating))
        for module in (h5py.h5o, h5py.h5g, h5py.h5d):
            patches.wrap(module, "open", self._following)
        patches.wrap(h5py.h5o, "get_info", lambda original: telling(original, self._asking))
        patches.wrap(h5py.h5o, "copy", lambda original: telling(original, self._copying))
        Elsewhere(h5py, self._places).watch(patches)

    # -- the file itself --------------------------------------------------------------------------

    def _opening(self, _instance: Any, args: Any, kwargs: Any) -> Tell:
        h5f = self._h5py.h5f
        flags = argument(args, kwargs, "flags", 1, h5f.ACC_RDWR)
        files = list(self._files_of(args, kwargs))
        changes = flags & h5f.ACC_RDWR
        befores = [state(path) if changes else None for path in files]

        def tell(_result: Any) -> None:
            for path, before in zip(files, befores, strict=True):
                self._places.remember(path)
                saw(path, Access.READ, before)

        return tell

    def _creating(self, _instance: Any, args: Any, kwargs: Any) -> Tell:
        def tell(_result: Any) -> None:
            for path in self._files_of(args, kwargs):
                self._places.remember(path)
                saw(path, Access.REPLACE)

        return tell

    def _files_of(self, args: Any, kwargs: Any) -> Iterator[str]:
        """Give the files that one name means to the driver that opens it."""
        h5fd = self._h5py.h5fd
        name = os.fsdecode(argument(args, kwargs, "name", 0))
        properties = (*args, kwargs.get("fapl"))
        access: Any = next(
            (each for each in properties if isinstance(each, self._h5py.h5p.PropFAID)), None
        )
        driver = None if access is None else access.get_driver()
        if driver == h5fd.fileobj_driver or ("://" in name and not name.startswith("s3://")):
            return
        if driver == h5fd.CORE and not access.get_fapl_core()[1] and not os.path.exists(name):
            return
        if driver == h5fd.FAMILY:
            members = (name % number for number in itertools.count())
            yield from itertools.takewhile(os.path.exists, members)
        elif driver == h5fd.MULTI:
            ends = ("-m.h5", "-r.h5", "-s.h5", "-b.h5", "-g.h5", "-l.h5", "-o.h5")
            yield from filter(os.path.exists, (name + end for end in ends))
        else:
            yield name

    # -- what a link leads to ---------------------------------------------------------------------

    def _following(self, original: Any) -> Any:
        # No more than is needed: it is called for each object that is looked up. Mostly the same
        # group is asked again and again, so that its file is known.
        name_of, led_to = self._name_of, self._led_to
        last: tuple[Any, bytes] = (lambda: None, b"")

        @functools.wraps(original)
        def open(*args: Any, **kwargs: Any) -> Any:  # noqa: A001 - it stands in its place
            nonlocal last
            found = original(*args, **kwargs)
            with contextlib.suppress(Exception):
                loc = args[0] if args else kwargs["loc"]
                known, here = last
                if known() is not loc:
                    here = name_of(loc)
                    last = weakref.ref(loc), here
                there = name_of(found)
                if there != here:
                    led_to(loc, argument(args, kwargs, "name", 1), found, there)
            return found

        return open

    def _led_to(self, loc: Any, name: bytes, found: Any, there: bytes) -> None:
        file = self._h5py.h5i.get_file_id(found)
        path = self._places.absolute(there)
        changes = file.get_intent() & self._h5py.h5f.ACC_RDWR
        saw(path, Access.READ, state(path) if changes else None)
        for passed in self._passed(loc, name, there):
            saw(passed, Access.READ)

    def _passed(self, loc: Any, path: bytes, last: bytes) -> Iterator[str]:
        """Give the files that a link led through before the last, which itself is left out."""
        h5l = self._h5py.h5l
        here = self._open_object(loc, b"/" if path.startswith(b"/") else b".")
        for part in filter(None, path.split(b"/")):
            kind = here.links.get_info(part).type
            if kind == h5l.TYPE_SOFT:
                yield from self._passed(here, here.links.get_val(part), last)
            elif kind == h5l.TYPE_EXTERNAL:
                name, inside = here.links.get_val(part)
                if os.path.basename(name) == os.path.basename(last):
                    return
                home = self._places.absolute(self._name_of(here))
                where = resolved(os.fsdecode(name), home, "HDF5_EXT_PREFIX")
                if where is None:
                    return
                yield where
                yield from self._passed(self._open_file(os.fsencode(where), 0), inside, last)
            here = self._open_object(here, part)

    def _asking(self, _instance: Any, args: Any, kwargs: Any) -> Tell | None:
        name = argument(args, kwargs, "name", 1)
        if name is None:
            return None
        loc = args[0]
        here = self._info_of(loc).fileno

        def tell(info: Any) -> None:
            if info.fileno != here:
                self._following(self._open_object)(loc, name)

        return tell

    def _copying(self, _instance: Any, args: Any, kwargs: Any) -> Tell:
        def tell(_result: Any) -> None:
            loc, name = args[0], args[1]
            follow = self._following(self._open_object)
            source = follow(loc, name)
            options = argument(args, kwargs, "copypl", 4)
            expand = self._h5py.h5o.COPY_EXPAND_EXT_LINK_FLAG
            if options is None or not options.get_copy_object() & expand:
                return

            def look(inside: bytes, info: Any) -> None:
                if info.type == self._h5py.h5l.TYPE_EXTERNAL:
                    follow(source, inside)

            source.links.visit(look, info=True)

        return tell
