"""Files that one step writes, another replaces or adds to, and a third reads; links; listings."""

from __future__ import annotations

import os
from pathlib import Path

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    (data / "raw" / "x.txt").write_text("raw")
    (data / "sorted_units" / "y.txt").write_text("sorted")
    (data / "atlas" / "z.txt").write_text("atlas")
    elsewhere = data.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "w.txt").write_text("model")
    (data / "model").symlink_to(elsewhere)
    (data / "loose.txt").write_text("loose")


def first() -> None:
    text = (DATA / "raw" / "x.txt").read_text()
    (RESULTS / "replaced.txt").write_text(text)
    (RESULTS / "grown.txt").write_text(text)
    (RESULTS / "own.txt").write_text(text)
    assert (RESULTS / "own.txt").read_text() == text
    (RESULTS / "gone.txt").write_text(text)
    (RESULTS / "gone.txt").unlink()


def second() -> None:
    text = (DATA / "model" / "w.txt").read_text()
    (RESULTS / "replaced.txt").write_text(text)
    with (RESULTS / "grown.txt").open("a") as file:
        file.write(text)
    os.link(RESULTS / "grown.txt", RESULTS / "second_name.txt")


def only_looks() -> None:
    names = sorted(path.name for path in (DATA / "sorted_units").iterdir())
    size = (DATA / "atlas" / "z.txt").stat().st_size
    there = (DATA / "sorted_units" / "y.txt").exists()
    (RESULTS / "listing.txt").write_text(f"{names} {size} {there}")


def third() -> None:
    folder = os.open(RESULTS, os.O_RDONLY)
    try:
        descriptor = os.open("replaced.txt", os.O_RDONLY, dir_fd=folder)
    finally:
        os.close(folder)
    with open(descriptor) as file:
        text = file.read()
    (RESULTS / "third.txt").write_text(text + (DATA / "loose.txt").read_text())


def fourth() -> None:
    text = (RESULTS / "grown.txt").read_text()
    (RESULTS / "fourth.txt").write_text(text)
    (RESULTS / "latest.txt").symlink_to("fourth.txt")


def fifth() -> None:
    text = (RESULTS / "third.txt").read_text()
    with (RESULTS / "own.txt").open("r+") as file:
        file.write(text)
    with (RESULTS / "grown.txt").open("r+") as file:
        assert file.read()
    (RESULTS / "replaced.txt").unlink()
    (RESULTS / "latest.txt").write_text(text)


STEPS = (first, second, only_looks, third, fourth, fifth)
