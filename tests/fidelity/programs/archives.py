"""Files moved, copied, packed and unpacked, and temporary ones that are gone again."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    (data / "raw" / "frames").mkdir()
    for number in range(3):
        (data / "raw" / "frames" / f"{number}.bin").write_bytes(b"x" * 1000)
    with tarfile.open(data / "sorted_units" / "units.tar.gz", "w:gz") as archive:
        archive.add(data / "raw" / "frames" / "0.bin", "units/0.bin")
    with gzip.open(data / "atlas" / "labels.gz", "wt") as file:
        file.write("labels")


def copy() -> None:
    shutil.copytree(DATA / "raw" / "frames", RESULTS / "frames")
    (RESULTS / "frames" / "2.bin").rename(RESULTS / "last.bin")


def unpack() -> None:
    with tarfile.open(DATA / "sorted_units" / "units.tar.gz") as archive:
        archive.extractall(RESULTS / "unpacked", filter="data")
    with tempfile.NamedTemporaryFile(dir=RESULTS) as scratch:
        scratch.write(b"gone")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.txt"
        made.write_text("made")
        shutil.move(made, RESULTS / "made.txt")


def pack() -> None:
    with zipfile.ZipFile(RESULTS / "frames.zip", "w") as archive:
        for path in sorted((RESULTS / "frames").iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(RESULTS / "frames")
    shutil.move(RESULTS / "unpacked", RESULTS / "units")


def finish() -> None:
    with gzip.open(DATA / "atlas" / "labels.gz", "rt") as file:
        labels = file.read()
    with zipfile.ZipFile(RESULTS / "frames.zip") as archive:
        size = len(archive.read("0.bin"))
    size += (RESULTS / "units" / "units" / "0.bin").stat().st_size
    size += len((RESULTS / "units" / "units" / "0.bin").read_bytes())
    draft = RESULTS / "final.txt.part"
    draft.write_text(f"{labels} {size}")
    draft.replace(RESULTS / "final.txt")


STEPS = (copy, unpack, pack, finish)
