"""Chunked arrays: zarr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    zarr.save_array(str(data / "raw" / "movie.zarr"), np.arange(24).reshape(4, 6))
    zarr.save_array(str(data / "sorted_units" / "mask.zarr"), np.ones((4, 6)))


def crop() -> None:
    movie = zarr.open(str(DATA / "raw" / "movie.zarr"), mode="r")
    crop = zarr.open(
        str(RESULTS / "crop.zarr"), mode="w", shape=(4, 4), chunks=(2, 2), dtype=movie.dtype
    )
    crop[:] = movie[:, :4]


def masks() -> None:
    mask = zarr.open(str(DATA / "sorted_units" / "mask.zarr"), mode="r")[:]
    group = zarr.open_group(str(RESULTS / "group.zarr"), mode="w")
    array = group.create_array("mask", shape=mask.shape, chunks=(4, 6), dtype=mask.dtype)
    array[:] = mask


def shapes_only() -> None:
    shape = zarr.open(str(RESULTS / "crop.zarr"), mode="r").shape
    (RESULTS / "shape.txt").write_text(str(shape))


def update() -> None:
    crop = zarr.open(str(RESULTS / "crop.zarr"), mode="r+")
    crop[:2, :2] = 7
    mask = zarr.open_group(str(RESULTS / "group.zarr"), mode="r")["mask"]
    zarr.save_array(str(RESULTS / "product.zarr"), crop[:] * mask[:, :4])


STEPS = (crop, masks, shapes_only, update)
