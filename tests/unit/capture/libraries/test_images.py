"""Images and videos that SimpleITK and OpenCV open in C are seen, with all files of a format."""

from __future__ import annotations

import abc
import copy
import inspect
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its users call it so
from SimpleITK import ReadImage

from asset_provenance.capture.files import Access, Watching
from asset_provenance.capture.libraries import images

Seen = list[tuple[str, int]]

KEPT: list[Any] = []

READ, REPLACE, WRITE = Access.READ, Access.REPLACE, Access.WRITE


def watching(told: Seen) -> Watching:
    here = os.getcwd()
    started = Watching(
        lambda path, access, _before: told.append((os.path.relpath(path, here), access)),
        lambda *_: None,
    )
    images.watch(started.patches)
    return started


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What was told: the name below the working folder, and what was done."""
    told: Seen = []
    started = watching(told)
    yield told
    started.stop()


def volume() -> Any:
    return sitk.GetImageFromArray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


def picture() -> Any:
    return np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


def there() -> set[str]:
    return {path.name for path in Path().iterdir()}


# -- SimpleITK ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "compress", "files"),
    [
        ("a.mha", False, {"a.mha"}),
        ("a.mhd", False, {"a.mhd", "a.raw"}),
        ("a.mhd", True, {"a.mhd", "a.zraw"}),
        ("a.nrrd", True, {"a.nrrd"}),
        ("a.nhdr", False, {"a.nhdr", "a.raw"}),
        ("a.nhdr", True, {"a.nhdr", "a.raw.gz"}),
        ("a.nii", False, {"a.nii"}),
        ("a.nii.gz", True, {"a.nii.gz"}),
        ("a.hdr", False, {"a.hdr", "a.img"}),
        ("a.img", False, {"a.hdr", "a.img"}),
        ("a.img.gz", True, {"a.hdr.gz", "a.img.gz"}),
        ("a.tif", False, {"a.tif"}),
        ("a.vtk", False, {"a.vtk"}),
    ],
)
def test_an_image_is_seen_with_all_its_files_and_none_more(
    name: str, compress: bool, files: set[str], seen: Seen
) -> None:
    sitk.WriteImage(volume(), name, compress)
    assert there() == files
    assert sorted(seen) == sorted((file, REPLACE) for file in files)
    seen.clear()
    assert sitk.GetArrayFromImage(sitk.ReadImage(name)).sum() == 276
    assert sorted(seen) == sorted((file, READ) for file in files)


def test_a_header_names_its_pixels_wherever_they_are(seen: Seen) -> None:
    os.mkdir("pixels")
    sitk.WriteImage(volume(), "a.mhd")
    os.rename("a.raw", "pixels/other name.raw")
    header = Path("a.mhd").read_text().replace("a.raw", "pixels/other name.raw")
    Path("a.mhd").write_text(header)
    seen.clear()
    sitk.ReadImage("a.mhd")
    assert seen == [("a.mhd", READ), ("pixels/other name.raw", READ)]


def test_pixels_of_which_there_are_two_are_those_that_are_read(seen: Seen) -> None:
    sitk.WriteImage(volume(), "a.img.gz")
    sitk.WriteImage(volume(), "a.hdr")
    seen.clear()
    sitk.ReadImage("a.hdr")
    assert seen == [("a.hdr", READ), ("a.img", READ)]


@pytest.mark.parametrize("kind", ["list", "numbers"])
def test_a_header_may_name_a_file_for_each_slice(kind: str, seen: Seen) -> None:
    for number, plane in enumerate(np.arange(24, dtype=np.uint8).reshape(2, 3, 4)):
        plane.tofile(f"slice{number}.raw")
    named = {"list": "LIST\nslice0.raw\nslice1.raw\n", "numbers": "slice%d.raw 0 1 1\n"}[kind]
    Path("a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 4 3 2\n"
        f"ElementType = MET_UCHAR\nElementDataFile = {named}"
    )
    seen.clear()
    assert sitk.GetArrayFromImage(sitk.ReadImage("a.mhd")).sum() == 276
    assert seen == [("a.mhd", READ), ("slice0.raw", READ), ("slice1.raw", READ)]


@pytest.mark.parametrize("as_path", [str, Path])
def test_readers_and_writers_are_seen_however_they_are_held(
    as_path: Callable[[str], Any], seen: Seen
) -> None:
    writer = sitk.ImageFileWriter()
    writer.SetFileName(as_path("a.mhd"))
    writer.Execute(volume())
    reader = sitk.ImageFileReader()
    reader.SetFileName(as_path("a.mhd"))
    assert seen == [("a.mhd", REPLACE), ("a.raw", REPLACE)]
    seen.clear()
    reader.ReadImageInformation()
    assert seen == [("a.mhd", READ)]
    reader.Execute()
    ReadImage(as_path("a.mhd"))
    assert seen == [("a.mhd", READ)] + [("a.mhd", READ), ("a.raw", READ)] * 2


def test_a_series_is_seen_with_each_of_its_files(seen: Seen) -> None:
    names = ["p0.png", "p1.png"]
    sitk.WriteImage(volume(), names)
    assert seen == [("p0.png", REPLACE), ("p1.png", REPLACE)]
    seen.clear()
    sitk.ReadImage(names)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names[1:])
    reader.Execute()
    assert seen == [("p0.png", READ), ("p1.png", READ), ("p1.png", READ)]


def test_a_folder_that_is_searched_for_a_series_is_read(seen: Seen) -> None:
    os.mkdir("scan")
    for number in range(2):
        sitk.WriteImage(volume()[:, :, number], f"scan/{number}.dcm")
    Path("scan/notes.txt").write_text("nothing")
    os.mkdir("scan/inner")
    Path("scan/inner/more.txt").write_text("nothing")
    seen.clear()
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames("scan")
    assert set(names) < {"scan/0.dcm", "scan/1.dcm"}
    # Each file is opened to see what it is.
    files = {("scan/0.dcm", READ), ("scan/1.dcm", READ), ("scan/notes.txt", READ)}
    assert set(seen) == files
    seen.clear()
    sitk.ImageSeriesReader.GetGDCMSeriesIDs("scan")
    assert set(seen) == files


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a.mhd", {"a.mhd"}),
        ("a.nhdr", {"a.nhdr", "a.raw"}),
        ("a.hdr", {"a.hdr"}),
        ("a.img", {"a.hdr", "a.img"}),
    ],
)
def test_asking_for_the_size_of_an_image_reads_what_it_reads(
    name: str, files: set[str], seen: Seen
) -> None:
    sitk.WriteImage(volume(), name)
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    seen.clear()
    reader.ReadImageInformation()
    assert {each for each, _ in seen} == files


def test_a_transform_is_seen(seen: Seen) -> None:
    moved = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    sitk.WriteTransform(moved, "a.tfm")
    moved.WriteTransform("b.tfm")
    sitk.ReadTransform(Path("a.tfm"))
    assert seen == [("a.tfm", REPLACE), ("b.tfm", REPLACE), ("a.tfm", READ)]


def test_an_image_that_could_not_be_read_or_written_is_not_told(seen: Seen) -> None:
    Path("text.mha").write_text("no image")
    seen.clear()
    for name in ("absent.mha", "text.mha"):
        with pytest.raises(RuntimeError):
            sitk.ReadImage(name)
    with pytest.raises(RuntimeError):
        sitk.WriteImage(volume(), "no/such/folder/a.mha")
    with pytest.raises(RuntimeError):
        sitk.ReadTransform("absent.tfm")
    assert not seen


# -- OpenCV ---------------------------------------------------------------------------------------


def test_a_picture_is_seen(seen: Seen) -> None:
    assert cv2.imwrite("a.png", picture())
    assert cv2.imread("a.png").shape == (8, 8, 3)
    assert cv2.imread(filename="a.png", flags=cv2.IMREAD_GRAYSCALE).shape == (8, 8)
    assert seen == [("a.png", REPLACE), ("a.png", READ), ("a.png", READ)]


def test_a_picture_of_many_pages_is_seen(seen: Seen) -> None:
    assert cv2.imwritemulti("a.tiff", [picture(), picture()])
    found, pages = cv2.imreadmulti("a.tiff")
    assert found and len(pages) == 2
    assert cv2.imcount("a.tiff") == 2
    assert seen == [("a.tiff", REPLACE), ("a.tiff", READ), ("a.tiff", READ)]


def test_what_opencv_could_not_read_or_write_is_not_told(
    seen: Seen, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("text.png").write_text("no picture")
    Path("text.avi").write_text("no video")
    seen.clear()
    assert cv2.imread("absent.png") is None
    assert cv2.imread("text.png") is None
    assert cv2.imreadmulti("absent.tiff")[0] is False
    assert cv2.imreadmulti("text.png")[0] is False
    assert not cv2.imwrite("no/such/folder/a.png", picture())
    with pytest.raises(cv2.error):
        cv2.imwrite("a.unknown", picture())
    assert not cv2.VideoCapture("absent.avi").isOpened()
    assert not cv2.VideoCapture("text.avi").isOpened()
    assert not seen


def video(name: str = "a.avi") -> str:
    writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (16, 16))
    assert writer.isOpened()
    for _ in range(3):
        writer.write(np.zeros((16, 16, 3), np.uint8))
    writer.release()
    return name


def test_a_video_is_seen(seen: Seen) -> None:
    video()
    assert seen == [("a.avi", REPLACE)]
    seen.clear()
    capture = cv2.VideoCapture("a.avi")
    assert capture.read()[0]
    later = cv2.VideoCapture()
    assert later.open("a.avi")
    by_name = cv2.VideoCapture(filename="a.avi", apiPreference=cv2.CAP_ANY)
    assert by_name.isOpened()
    writer = cv2.VideoWriter()
    assert writer.open("b.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (16, 16))
    assert seen == [("a.avi", READ)] * 3 + [("b.avi", REPLACE)]


@pytest.mark.parametrize("name", ["p%02d.png", "p00.png"])
def test_pictures_that_are_numbered_are_seen_one_by_one(name: str, seen: Seen) -> None:
    writer = cv2.VideoWriter("p%02d.png", cv2.CAP_IMAGES, 0, 1.0, (8, 8))
    for _ in range(3):
        writer.write(picture())
    writer.release()
    assert seen == [(f"p0{number}.png", REPLACE) for number in range(3)]
    cv2.imwrite("p04.png", picture())
    seen.clear()
    # It looks into all of them to see how many there are, up to the first that is missing.
    assert cv2.VideoCapture(name, cv2.CAP_IMAGES).get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert {name for name, _ in seen} == {"p00.png", "p01.png", "p02.png"}


def test_a_video_class_is_the_very_class(seen: Seen) -> None:
    video()
    seen.clear()
    assert isinstance(cv2.VideoCapture("a.avi"), cv2.VideoCapture)
    assert type(cv2.VideoCapture()) is cv2.VideoCapture
    assert pickle.loads(pickle.dumps(cv2.VideoCapture)) is cv2.VideoCapture

    class Mine(cv2.VideoCapture, abc.ABC):
        def frames(self) -> int:
            return int(self.get(cv2.CAP_PROP_FRAME_COUNT))

    mine = Mine("a.avi")
    assert mine.frames() == 3
    assert isinstance(mine, cv2.VideoCapture)
    assert issubclass(Mine, cv2.VideoCapture)
    # OpenCV itself crashes when an instance of a subclass is freed.
    KEPT.append(mine)
    assert seen == [("a.avi", READ)] * 2


def test_a_file_of_settings_is_seen(seen: Seen) -> None:
    storage = cv2.FileStorage("a.yml", cv2.FILE_STORAGE_WRITE)
    storage.write("matrix", np.eye(3))
    storage.release()
    storage = cv2.FileStorage("a.yml", cv2.FILE_STORAGE_READ)
    assert storage.getNode("matrix").mat().shape == (3, 3)
    storage = cv2.FileStorage()
    storage.open("a.yml", cv2.FILE_STORAGE_APPEND)
    storage.release()
    assert seen == [("a.yml", REPLACE), ("a.yml", READ), ("a.yml", WRITE)]
    text = Path("a.yml").read_text()
    seen.clear()
    cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    # The name says which format it is to have in memory.
    cv2.FileStorage("a.yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    assert not seen


def test_a_function_is_still_itself_when_it_is_sent_to_another_process(seen: Seen) -> None:
    held = pickle.dumps(cv2.imread)
    assert pickle.loads(held) is cv2.imread
    assert copy.deepcopy({"read": cv2.imread})["read"] is cv2.imread
    assert cv2.imread.__name__ == "imread"
    assert cv2.imread.__doc__.startswith("imread(filename")
    assert inspect.isbuiltin(cv2.imread)


def test_everything_is_as_it_was_when_the_asset_closes() -> None:
    module = type(sys)("holds_by_name")
    module.imread = cv2.imread
    sys.modules["holds_by_name"] = module
    names = [name for name in dir(cv2) if not name.startswith("__")]
    before = {name: getattr(cv2, name) for name in names}
    methods = {
        (owner, name): vars(owner)[name]
        for owner in (cv2.VideoCapture, cv2.VideoWriter, cv2.FileStorage)
        for name in ("__init__", "open")
    }
    below = sys.modules["SimpleITK._SimpleITK"]
    executes = below.ImageFileReader_Execute
    told: Seen = []
    try:
        started = watching(told)
        assert module.imread is not before["imread"]
        assert below.ImageFileReader_Execute is not executes
        cv2.imwrite("a.png", picture())
        assert module.imread("a.png") is not None
        assert told == [("a.png", REPLACE), ("a.png", READ)]
        function = cv2.imread
        sent = pickle.dumps(function)
        video()
        capture = cv2.VideoCapture("a.avi")
        reader = sitk.ImageFileReader()
        started.stop()
    finally:
        del sys.modules["holds_by_name"]
    assert all(getattr(cv2, name) is before[name] for name in names)
    assert module.imread is before["imread"]
    assert all(vars(owner)[name] is held for (owner, name), held in methods.items())
    assert below.ImageFileReader_Execute is executes
    told.clear()
    assert isinstance(capture, cv2.VideoCapture)
    assert capture.read()[0]
    assert capture.open("a.avi")
    assert function("a.png") is not None
    assert pickle.loads(sent) is cv2.imread
    assert pickle.loads(pickle.dumps(function)) is cv2.imread
    sitk.WriteImage(volume(), "b.mha")
    reader.SetFileName("b.mha")
    reader.Execute()
    assert not told
