"""Results that are links: to files of an asset, to other results, to a folder."""

from __future__ import annotations

from pathlib import Path

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    (data / "raw" / "x.txt").write_text("raw")
    (data / "sorted_units" / "y.txt").write_text("sorted")
    (data / "atlas" / "z.txt").write_text("atlas")


def link() -> None:
    (RESULTS / "of_asset.txt").symlink_to((DATA / "sorted_units" / "y.txt").absolute())
    (RESULTS / "atlas").symlink_to((DATA / "atlas").absolute())
    (RESULTS / "run_1").mkdir()
    (RESULTS / "run_1" / "x.txt").write_text((DATA / "raw" / "x.txt").read_text())
    (RESULTS / "latest").symlink_to("run_1")


def through_the_link() -> None:
    (RESULTS / "copy.txt").write_text((RESULTS / "of_asset.txt").read_text())


def through_a_linked_folder() -> None:
    (RESULTS / "labels.txt").write_text((RESULTS / "atlas" / "z.txt").read_text())


def past_the_link() -> None:
    (RESULTS / "atlas.txt").write_text((DATA / "atlas" / "z.txt").read_text())


def of_folder() -> None:
    text = (RESULTS / "latest" / "x.txt").read_text()
    (RESULTS / "latest" / "y.txt").write_text(text)
    (RESULTS / "run_2").mkdir()
    (RESULTS / "next").symlink_to("run_2")
    (RESULTS / "next").replace(RESULTS / "latest")
    (RESULTS / "latest" / "z.txt").write_text(text)


def of_its_new_target() -> None:
    (RESULTS / "end.txt").write_text((RESULTS / "latest" / "z.txt").read_text())


STEPS = (
    link,
    through_the_link,
    through_a_linked_folder,
    past_the_link,
    of_folder,
    of_its_new_target,
)
