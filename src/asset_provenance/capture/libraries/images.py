"""Images and videos that SimpleITK and OpenCV read and write."""

# Names are taken as the libraries take them: nothing is resolved or made tidy.
# ruff: noqa: PTH110, PTH118, PTH119, PTH120, PTH122, PTH123
from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from asset_provenance.capture.files import Access, saw, unobserved
from asset_provenance.capture.libraries.wrapping import (
    Tell,
    argument,
    paths_in,
    replace_everywhere,
    telling,
)
from asset_provenance.patching import Patches

__all__ = ["watch"]

_Look = Callable[[Any, Any, Any], Tell | None]


def watch(patches: Patches) -> None:
    """See the files that SimpleITK and OpenCV open, once they are imported."""
    patches.when_imported("SimpleITK.SimpleITK", lambda module: _watch_simpleitk(patches, module))
    patches.when_imported("cv2", lambda module: _watch_opencv(patches, module))


# -- SimpleITK ------------------------------------------------------------------------------------

_HEADER_LIMIT = 1_000_000


def _watch_simpleitk(patches: Patches, module: Any) -> None:
    # The Python face calls these by name each time, whoever holds ReadImage or a reader's method.
    below = module._SimpleITK

    def tells(name: str, access: int, files: Callable[[Any, Any], Iterable[Any]]) -> None:
        def look(_instance: Any, args: Any, kwargs: Any) -> Tell:
            def tell(_result: Any) -> None:
                for path in files(args, kwargs):
                    saw(path, access)

            return tell

        patches.wrap(below, name, lambda original: telling(original, look))

    def images_of(
        get: str, others: Callable[[str], Iterator[str]]
    ) -> Callable[[Any, Any], Iterator[str]]:
        def files(args: Any, _kwargs: Any) -> Iterator[str]:
            for path in map(os.fsdecode, paths_in(getattr(below, get)(args[0]))):
                yield path
                yield from others(path)

        return files

    one, series = "ImageFileReader_GetFileName", "ImageSeriesReader_GetFileNames"
    tells("ImageFileReader_Execute", Access.READ, images_of(one, _pixel_files))
    tells("ImageFileReader_ReadImageInformation", Access.READ, images_of(one, _header_files))
    tells("ImageSeriesReader_Execute", Access.READ, images_of(series, _pixel_files))
    for name in ("ImageSeriesReader_GetGDCMSeriesFileNames", "ImageSeriesReader_GetGDCMSeriesIDs"):
        tells(name, Access.READ, _searched)
    one, series = "ImageFileWriter_GetFileName", "ImageSeriesWriter_GetFileNames"
    tells("ImageFileWriter_Execute", Access.REPLACE, images_of(one, _pixel_files))
    tells("ImageSeriesWriter_Execute", Access.REPLACE, images_of(series, _pixel_files))
    tells("ReadTransform", Access.READ, lambda args, _kwargs: args[:1])
    tells("WriteTransform", Access.REPLACE, lambda args, _kwargs: args[1:2])
    tells("Transform_WriteTransform", Access.REPLACE, lambda args, _kwargs: args[1:2])


def _searched(args: Any, kwargs: Any) -> Iterator[str]:
    """Give the files of a folder that is searched for series: each is opened, of any format."""
    folder = argument(args, kwargs, "directory", 0)
    for here, folders, names in os.walk(folder):
        if not argument(args, kwargs, "recursive", 3, False):
            folders.clear()
        yield from (os.path.join(here, name) for name in names)


def _header_files(path: str) -> Iterator[str]:
    """Give the other files that are opened for the size and the type of an image."""
    # MetaImage and Analyze tell them in the header alone.
    if not path.lower().endswith((".mhd", ".mha", ".hdr")):
        yield from _pixel_files(path)


def _pixel_files(path: str) -> Iterator[str]:
    """Give the other files of an image: those with its pixels, or its header."""
    stem, suffix = os.path.splitext(path.removesuffix(".gz"))
    suffix = suffix.lower()
    if suffix in (".mhd", ".mha"):
        yield from _named_in(path, rb"ElementDataFile\s*=\s*([^\r\n]+)", "LOCAL")
    elif suffix == ".nhdr":
        yield from _named_in(path, rb"(?:^|\n)data ?file:\s*([^\r\n]+)", "")
    elif suffix in (".hdr", ".img"):
        other = stem + (".img" if suffix == ".hdr" else ".hdr")
        ends = (".gz", "") if path.endswith(".gz") else ("", ".gz")
        there = (f"{other}{end}" for end in ends if os.path.exists(f"{other}{end}"))
        yield from itertools.islice(there, 1)


def _named_in(header: str, pattern: bytes, none: str) -> Iterator[str]:
    with unobserved(), open(header, "rb") as file:
        head = file.read(_HEADER_LIMIT)
    found = re.search(pattern, head, re.IGNORECASE)
    if found is None:
        return
    value = os.fsdecode(found[1]).strip()
    if value == none:
        return
    folder = os.path.dirname(header)
    if value.upper().startswith("LIST"):
        names = [os.fsdecode(line).strip() for line in head[found.end() :].splitlines()]
        names = [name for name in names if name]
    elif "%" in value and len(value.split()) >= 4:
        form, first, last, step = value.split()[:4]
        with contextlib.suppress(ValueError, TypeError):
            numbers = range(int(first), int(last) + 1, int(step))
            yield from (os.path.join(folder, form % number) for number in numbers)
        return
    else:
        names = [value]
    yield from (os.path.join(folder, name) for name in names)


# -- OpenCV ---------------------------------------------------------------------------------------

_OPENCV_READS = {
    "imread": ("filename",),
    "imreadmulti": ("filename",),
    "imreadanimation": ("filename",),
    "imreadWithMetadata": ("filename",),
    "imcount": ("filename",),
    "readOpticalFlow": ("path",),
    "loadMesh": ("filename",),
    "loadPointCloud": ("filename",),
}
_OPENCV_WRITES = {
    "imwrite": ("filename",),
    "imwritemulti": ("filename",),
    "imwriteanimation": ("filename",),
    "imwriteWithMetadata": ("filename",),
    "writeOpticalFlow": ("path",),
    "saveMesh": ("filename",),
    "savePointCloud": ("filename",),
}
_NETWORK_READS = {
    "readNet": ("model", "config"),
    "readNetFromONNX": ("onnxFile",),
    "readNetFromCaffe": ("prototxt", "caffeModel"),
    "readNetFromTensorflow": ("model", "config"),
    "readNetFromDarknet": ("cfgFile", "darknetModel"),
    "readNetFromTFLite": ("model",),
    "readNetFromTorch": ("model",),
    "readNetFromModelOptimizer": ("xml", "bin"),
}


def _watch_opencv(patches: Patches, module: Any) -> None:
    def by(look: _Look) -> Callable[[Any], Any]:
        return lambda original: telling(original, look)

    makes = {name: by(_named(names, Access.READ)) for name, names in _OPENCV_READS.items()}
    makes |= {name: by(_named(names, Access.REPLACE)) for name, names in _OPENCV_WRITES.items()}
    replace_everywhere(patches, module, makes)
    writers = _NumberedWriters()
    loads = _named(("filename",), Access.READ)
    for owner, looks in (
        ("VideoCapture", {"__init__": _captured, "open": _captured}),
        (
            "VideoWriter",
            {"__init__": writers.opened, "open": writers.opened, "write": writers.written},
        ),
        ("FileStorage", {"__init__": _stored, "open": _stored}),
        ("CascadeClassifier", {"__init__": loads, "load": loads}),
    ):
        # Some builds have classes that cannot be changed; the functions are seen all the same.
        with contextlib.suppress(AttributeError, TypeError):
            for name, look in looks.items():
                patches.wrap(getattr(module, owner), name, by(look))
    networks = getattr(module, "dnn", None)
    if networks is not None:
        makes = {name: by(_named(names, Access.READ)) for name, names in _NETWORK_READS.items()}
        replace_everywhere(patches, networks, makes)


def _named(names: tuple[str, ...], access: int) -> _Look:
    def look(instance: Any, args: Any, kwargs: Any) -> Tell:
        is_method = instance is not None
        paths = [argument(args, kwargs, name, position) for position, name in enumerate(names)]

        def tell(result: Any) -> None:
            # OpenCV raises nothing where it can read or write nothing, but says so.
            first = result[0] if isinstance(result, tuple) and result else result
            if first is False or (result is None and access == Access.READ and not is_method):
                return
            for path in paths:
                _saw_if_there(path, access)

        return tell

    return look


def _saw_if_there(path: Any, access: int) -> None:
    # A camera, an address or the description of a pipeline is no file.
    if isinstance(path, str | os.PathLike) and os.path.lexists(path):
        saw(path, access)


def _captured(instance: Any, args: Any, kwargs: Any) -> Tell:
    path = argument(args, kwargs, "filename", 0)

    def tell(_result: Any) -> None:
        if instance.isOpened():
            _saw_if_there(path, Access.READ)
            for each in _sequence(path, instance.getBackendName() == "CV_IMAGES"):
                saw(each, Access.READ)

    return tell


def _sequence(path: Any, is_images: bool) -> Iterator[str]:
    """Give the pictures that stand for a video; all are looked into when it is opened."""
    if not isinstance(path, str | os.PathLike):
        return
    text = os.fsdecode(path)
    start = 0
    if "%" not in text:
        number = re.search(r"(\d+)(?=\D*$)", os.path.basename(text))
        if not is_images or number is None:
            return
        folder, name = os.path.dirname(text), os.path.basename(text)
        start, width = int(number[0]), len(number[0])
        text = os.path.join(folder, f"{name[: number.start()]}%0{width}d{name[number.end() :]}")
    names = (text % number for number in itertools.count(start))
    known = list(itertools.islice(names, 5))
    first = next((index for index, name in enumerate(known) if os.path.exists(name)), 5)
    yield from itertools.takewhile(os.path.exists, itertools.chain(known[first:], names))


class _NumberedWriters:
    """Writers of videos, and which of them write a picture for each frame instead."""

    def __init__(self) -> None:
        # By identity, since they allow no weak reference; each opening says it anew.
        self._names: dict[int, Iterator[str]] = {}

    def opened(self, instance: Any, args: Any, kwargs: Any) -> Tell:
        path = argument(args, kwargs, "filename", 0)

        def tell(_result: Any) -> None:
            self._names.pop(id(instance), None)
            if not instance.isOpened():
                return
            _saw_if_there(path, Access.REPLACE)
            if isinstance(path, str) and "%" in path and instance.getBackendName() == "CV_IMAGES":
                self._names[id(instance)] = (path % number for number in itertools.count())

        return tell

    def written(self, instance: Any, _args: Any, _kwargs: Any) -> Tell | None:
        names = self._names.get(id(instance))
        if names is None:
            return None

        def tell(_result: Any) -> None:
            saw(next(names), Access.REPLACE)

        return tell


def _stored(instance: Any, args: Any, kwargs: Any) -> Tell | None:
    path, flags = argument(args, kwargs, "filename", 0), argument(args, kwargs, "flags", 1, 0)
    memory, kind = flags & 4, flags & 3
    if memory:
        return None

    def tell(_result: Any) -> None:
        if instance.isOpened():
            access = (Access.READ, Access.REPLACE, Access.WRITE)[kind]
            _saw_if_there(path, access)

    return tell
