"""Images: tifffile, SimpleITK with a header and its pixels, OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its users call it so
import tifffile

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    tifffile.imwrite(data / "raw" / "stack.tif", np.arange(64, dtype="u1").reshape(8, 8))
    image = sitk.GetImageFromArray(np.ones((8, 8), "u1"))
    sitk.WriteImage(image, data / "atlas" / "template.mhd")
    cv2.imwrite(str(data / "sorted_units" / "mask.png"), np.full((8, 8), 255, "u1"))


def convert() -> None:
    stack = tifffile.imread(DATA / "raw" / "stack.tif")
    sitk.WriteImage(sitk.GetImageFromArray(stack), RESULTS / "stack.mhd")


def header() -> None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(RESULTS / "stack.mhd"))
    reader.ReadImageInformation()
    (RESULTS / "size.txt").write_text(str(reader.GetSize()))


def register() -> None:
    fixed = sitk.ReadImage(DATA / "atlas" / "template.mhd")
    moving = sitk.ReadImage(RESULTS / "stack.mhd")
    sitk.WriteImage(fixed + moving, RESULTS / "registered.nrrd")


def overlay() -> None:
    mask = cv2.imread(str(DATA / "sorted_units" / "mask.png"), cv2.IMREAD_GRAYSCALE)
    registered = sitk.GetArrayFromImage(sitk.ReadImage(RESULTS / "registered.nrrd"))
    cv2.imwrite(str(RESULTS / "overlay.png"), np.minimum(mask, registered))
    tifffile.imwrite(RESULTS / "overlay.tif", mask)


STEPS = (convert, header, register, overlay)
