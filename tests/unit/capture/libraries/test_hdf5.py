"""Files that HDF5 opens in C are seen: the file itself, and those that it leads to."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from asset_provenance.capture.files import Access, State, Watching
from asset_provenance.capture.libraries import hdf5

Seen = list[tuple[str, int, bool]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What was told: the name below the working folder, what was done, whether it may change."""
    told: Seen = []
    here = os.getcwd()

    def watch(path: str, access: int, before: State | None) -> bool:
        told.append((os.path.relpath(path, here), access, before is not None))
        return False

    watching = Watching(watch, lambda *_: None)
    hdf5.watch(watching.patches)
    yield told
    watching.stop()


def names(seen: Seen) -> set[str]:
    return {name for name, _, _ in seen}


def file_with(name: str, **datasets: Any) -> str:
    with h5py.File(name, "w") as file:
        for key, value in datasets.items():
            file[key] = value
    return name


def really_open() -> set[str]:
    """What HDF5 holds open, as the system knows it."""
    found = set()
    for each in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = Path(os.readlink(f"/proc/self/fd/{each}"))
            if target.suffix in (".h5", ".bin"):
                found.add(target.name)
    return found


@pytest.mark.parametrize(
    ("mode", "exists", "access", "may_change"),
    [
        ("r", True, Access.READ, False),
        ("r+", True, Access.READ, True),
        ("a", True, Access.READ, True),
        ("a", False, Access.REPLACE, False),
        ("w", True, Access.REPLACE, False),
        ("w", False, Access.REPLACE, False),
        ("w-", False, Access.REPLACE, False),
        ("x", False, Access.REPLACE, False),
    ],
)
def test_each_mode_is_told_for_what_it_does(
    mode: str, exists: bool, access: int, may_change: bool, seen: Seen
) -> None:
    if exists:
        file_with("a.h5", x=1)
    seen.clear()
    h5py.File("a.h5", mode).close()
    assert seen == [("a.h5", access, may_change)]


@pytest.mark.parametrize("given", ["a.h5", b"a.h5", Path("a.h5")])
def test_a_path_may_be_of_any_kind(given: Any, seen: Seen) -> None:
    file_with("a.h5", x=1)
    seen.clear()
    h5py.File(given).close()
    h5py.h5f.open(os.fsencode(given), h5py.h5f.ACC_RDONLY).close()
    assert seen == [("a.h5", Access.READ, False)] * 2


def test_a_name_that_was_taken_before_the_asset_opened_is_seen(
    seen: Seen, opener: Callable[..., Any] = h5py.File
) -> None:
    file_with("a.h5", x=1)
    seen.clear()
    opener("a.h5").close()
    assert names(seen) == {"a.h5"}


def test_what_could_not_be_opened_is_not_told(seen: Seen) -> None:
    Path("text.h5").write_text("no HDF5")
    seen.clear()
    for name, mode in (("absent.h5", "r"), ("text.h5", "r"), ("text.h5", "r+"), ("text.h5", "x")):
        with pytest.raises(OSError):
            h5py.File(name, mode)
    assert not seen


def test_a_python_file_object_and_memory_are_no_files_of_hdf5(seen: Seen) -> None:
    import io

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["x"] = 1
    with h5py.File("only_in_memory.h5", "w", driver="core", backing_store=False) as file:
        file["x"] = 1
    assert not seen
    file_with("a.h5", x=1)
    seen.clear()
    with open("a.h5", "rb") as raw, h5py.File(raw) as file:
        assert file["x"][()] == 1
    assert seen == [("a.h5", Access.READ, False)]


def test_a_file_in_several_members_is_told_with_all_of_them(seen: Seen) -> None:
    with h5py.File("many%d.h5", "w", driver="family", memb_size=4096) as file:
        file["x"] = np.arange(2000)
    seen.clear()
    with h5py.File("many%d.h5", "r", driver="family", memb_size=4096) as file:
        assert file["x"][10] == 10
    there = {path.name for path in Path().glob("many*.h5")}
    assert len(there) > 2
    assert names(seen) == there


# -- links ----------------------------------------------------------------------------------------


def linked() -> None:
    file_with("c.h5", z=np.arange(3), other=np.arange(4))
    file_with("b.h5", y=h5py.ExternalLink("c.h5", "/z"))
    file_with(
        "a.h5",
        own=1,
        direct=h5py.ExternalLink("c.h5", "/z"),
        chain=h5py.ExternalLink("b.h5", "/y"),
        gone=h5py.ExternalLink("absent.h5", "/z"),
        whole=h5py.ExternalLink("c.h5", "/"),
        soft=h5py.SoftLink("/chain"),
    )


@pytest.mark.parametrize(
    ("path", "led_to"),
    [
        ("own", set()),
        ("direct", {"c.h5"}),
        ("whole/other", {"c.h5"}),
        ("chain", {"b.h5", "c.h5"}),
        ("soft", {"b.h5", "c.h5"}),
    ],
)
def test_a_link_is_followed_to_all_files_it_leads_through(
    path: str, led_to: set[str], seen: Seen
) -> None:
    linked()
    seen.clear()
    with h5py.File("a.h5") as file:
        found = file[path]
        assert found[()] is not None
        assert led_to <= {"b.h5", *really_open()}
    assert names(seen) == {"a.h5", *led_to}
    assert all(access == Access.READ and not may_change for _, access, may_change in seen)


def test_a_link_that_is_not_followed_is_no_read(seen: Seen) -> None:
    linked()
    seen.clear()
    with h5py.File("a.h5") as file:
        assert "own" in file
        assert set(file) == {"own", "direct", "chain", "gone", "whole", "soft"}
        assert isinstance(file.get("direct", getlink=True), h5py.ExternalLink)
        file.visit(lambda name: None)
        with pytest.raises(KeyError):
            file["gone"]
        assert really_open() == {"a.h5"}
    assert names(seen) == {"a.h5"}


def test_a_link_from_a_file_that_may_change_leads_to_one_that_may(seen: Seen) -> None:
    linked()
    seen.clear()
    with h5py.File("a.h5", "r+") as file:
        file["direct"][0] = 7
    assert ("c.h5", Access.READ, True) in seen


def test_a_link_is_found_in_the_folder_of_its_file_wherever_the_program_is(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir("deep")
    os.chdir("deep")
    linked()
    os.chdir("..")
    seen.clear()
    with h5py.File("deep/a.h5") as file:
        monkeypatch.chdir(tmp_path)
        file["chain"][()]
    assert names(seen) == {"deep/a.h5", "deep/b.h5", "deep/c.h5"}


def test_asking_what_a_link_leads_to_opens_it(seen: Seen) -> None:
    linked()
    seen.clear()
    with h5py.File("a.h5") as file:
        assert file.get("own", getclass=True) is h5py.Dataset
        assert names(seen) == {"a.h5"}
        assert file.get("chain", getclass=True) is h5py.Dataset
    assert names(seen) == {"a.h5", "b.h5", "c.h5"}


def test_a_copy_reads_what_it_copies_through_links(seen: Seen) -> None:
    linked()
    seen.clear()
    with h5py.File("a.h5") as file, h5py.File("new.h5", "w") as new:
        file.copy("direct", new)
    assert names(seen) == {"a.h5", "c.h5", "new.h5"}
    file_with("group.h5")
    with h5py.File("group.h5", "w") as file:
        file.create_group("g")["link"] = h5py.ExternalLink("c.h5", "/z")
    seen.clear()
    with h5py.File("group.h5") as file, h5py.File("flat.h5", "w") as new:
        file.copy("g", new, name="plain")
        assert names(seen) == {"group.h5", "flat.h5"}
        file.copy("g", new, expand_external=True)
        assert names(seen) == {"group.h5", "flat.h5", "c.h5"}


# -- virtual datasets and external storage ---------------------------------------------------------


def virtual(name: str = "v.h5") -> None:
    layout = h5py.VirtualLayout((4, 10), dtype="i8")
    for row in range(4):
        file_with(f"s{row}.h5", d=np.arange(10) + row)
        layout[row] = h5py.VirtualSource(f"s{row}.h5", "d", shape=(10,))
    with h5py.File(name, "w") as file:
        file.create_virtual_dataset("v", layout, fillvalue=-1)


@pytest.mark.parametrize(
    ("read", "sources"),
    [
        (lambda data: data.shape, set()),
        (lambda data: data[1], {"s1.h5"}),
        (lambda data: data[1, 3:5], {"s1.h5"}),
        (lambda data: data[::2], {"s0.h5", "s2.h5"}),
        (lambda data: data[[0, 3]], {"s0.h5", "s3.h5"}),
        (lambda data: data[[0, 1, 3]], {"s0.h5", "s1.h5", "s3.h5"}),
        (lambda data: data[np.array([True, False, False, True])], {"s0.h5", "s3.h5"}),
        (lambda data: data[...], {"s0.h5", "s1.h5", "s2.h5", "s3.h5"}),
        (np.asarray, {"s0.h5", "s1.h5", "s2.h5", "s3.h5"}),
        (lambda data: data.astype("f4")[2:], {"s2.h5", "s3.h5"}),
        (lambda data: data.read_direct(np.zeros((1, 10), "i8"), np.s_[2:3]), {"s2.h5"}),
        (lambda data: next(iter(data)), {"s0.h5"}),
        (lambda data: data[4:], set()),
    ],
)
def test_a_virtual_dataset_reads_the_files_that_hold_what_is_selected(
    read: Callable[[Any], Any], sources: set[str], seen: Seen
) -> None:
    virtual()
    seen.clear()
    with h5py.File("v.h5") as file:
        data = file["v"]
        read(data)
        assert really_open() == {"v.h5", *sources}
    assert names(seen) == {"v.h5", *sources}


@pytest.mark.parametrize(
    ("selection", "sources"),
    [
        (np.s_[::4], {"s0.h5"}),
        (np.s_[1:3], {"s1.h5", "s2.h5"}),
        (np.s_[[0, 1, 7]], {"s0.h5", "s1.h5", "s3.h5"}),
        (np.s_[:], {"s0.h5", "s1.h5", "s2.h5", "s3.h5"}),
    ],
)
def test_sources_may_be_woven_into_each_other(
    selection: Any, sources: set[str], seen: Seen
) -> None:
    layout = h5py.VirtualLayout((40,), dtype="i8")
    for row in range(4):
        file_with(f"s{row}.h5", d=np.arange(10) + row)
        layout[row::4] = h5py.VirtualSource(f"s{row}.h5", "d", shape=(10,))
    with h5py.File("v.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    seen.clear()
    with h5py.File("v.h5") as file:
        data = file["v"]
        assert data[selection].size
        assert really_open() == {"v.h5", *sources}
    assert names(seen) == {"v.h5", *sources}


def test_a_source_that_is_not_there_is_not_told(seen: Seen) -> None:
    virtual()
    os.unlink("s2.h5")
    seen.clear()
    with h5py.File("v.h5") as file:
        assert file["v"][2, 0] == -1
        file["v"][...]
    assert names(seen) == {"v.h5", "s0.h5", "s1.h5", "s3.h5"}


def test_writing_to_a_virtual_dataset_writes_to_its_sources(seen: Seen) -> None:
    virtual()
    seen.clear()
    with h5py.File("v.h5", "r+") as file:
        file["v"][1] = 5
    assert seen == [("v.h5", Access.READ, True), ("s1.h5", Access.WRITE, False)]


def test_sources_that_are_numbered_without_end_are_those_there_are(seen: Seen) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    unlimited = h5py.h5s.UNLIMITED
    space = h5py.h5s.create_simple((3, 10), (unlimited, 10))
    space.select_hyperslab((0, 0), (unlimited, 1), stride=(1, 1), block=(1, 10))
    source = h5py.h5s.create_simple((10,))
    layout.set_virtual(space, b"s%b.h5", b"d", source)
    for row in range(3):
        file_with(f"s{row}.h5", d=np.arange(10) + row)
    with h5py.File("v.h5", "w") as file:
        h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_INT64, space, layout)
    seen.clear()
    with h5py.File("v.h5") as file:
        data = file["v"]
        assert data.shape == (3, 10)
        assert data[2, 1] == 3
    # HDF5 opens them all to learn how large the dataset is.
    assert names(seen) == {"v.h5", "s0.h5", "s1.h5", "s2.h5"}


def test_data_in_external_storage_is_read_from_the_files_that_hold_it(seen: Seen) -> None:
    with h5py.File("e.h5", "w") as file:
        file.create_dataset(
            "e",
            data=np.arange(10, dtype="i8"),
            external=[("p.bin", 0, 40), ("q.bin", 0, h5py.h5f.UNLIMITED)],
        )
    assert {("p.bin", Access.WRITE, False), ("q.bin", Access.WRITE, False)} <= set(seen)
    seen.clear()
    with h5py.File("e.h5") as file:
        assert file["e"][6] == 6
        assert names(seen) == {"e.h5", "q.bin"}
        file["e"][:]
    assert names(seen) == {"e.h5", "p.bin", "q.bin"}


def test_data_written_to_external_storage_is_told_when_it_is_written(seen: Seen) -> None:
    with h5py.File("e.h5", "w") as file:
        data = file.create_dataset(
            "e", (10,), "i8", external=[("p.bin", 0, 40), ("q.bin", 0, h5py.h5f.UNLIMITED)]
        )
        assert names(seen) == {"e.h5"}
        data[:3] = 1
        assert names(seen) == {"e.h5", "p.bin"}
        data.write_direct(np.ones(2, "i8"), dest_sel=np.s_[8:])
    assert names(seen) == {"e.h5", "p.bin", "q.bin"}
    assert ("p.bin", Access.REPLACE, False) in seen


# -- through others -------------------------------------------------------------------------------


def test_an_nwb_file_is_seen_with_the_file_it_links_to(seen: Seen) -> None:
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile, TimeSeries

    def session(name: str) -> Any:
        return NWBFile(name, name, datetime(2024, 1, 2, tzinfo=UTC))

    raw = session("raw")
    raw.add_acquisition(TimeSeries(name="trace", data=np.arange(5.0), unit="V", rate=10.0))
    with NWBHDF5IO("raw.nwb", "w") as io:
        io.write(raw)
    assert ("raw.nwb", Access.REPLACE, False) in seen
    with NWBHDF5IO("raw.nwb", "r") as source:
        trace = source.read().acquisition["trace"]
        linked = session("linked")
        linked.add_acquisition(TimeSeries(name="trace", data=trace.data, unit="V", rate=10.0))
        with NWBHDF5IO("linked.nwb", "w", manager=source.manager) as io:
            io.write(linked, link_data=True)
    seen.clear()
    with NWBHDF5IO("linked.nwb", "r") as io:
        assert list(io.read().acquisition["trace"].data[:2]) == [0.0, 1.0]
    assert names(seen) == {"linked.nwb", "raw.nwb"}


def test_netcdf_is_seen_through_xarray(seen: Seen) -> None:
    import xarray

    xarray.Dataset({"x": ("t", np.arange(4))}).to_netcdf("a.nc", engine="h5netcdf")
    assert ("a.nc", Access.REPLACE, False) in seen
    seen.clear()
    with xarray.open_dataset("a.nc", engine="h5netcdf") as data:
        assert int(data["x"].sum()) == 6
    assert names(seen) == {"a.nc"}


# -- what the user has of it ----------------------------------------------------------------------


def test_everything_is_as_it_was_when_the_asset_closes() -> None:
    virtual()
    owners = (
        (h5py.h5f, ("open", "create")),
        (h5py.h5o, ("open", "copy", "get_info")),
        (h5py.h5g, ("open",)),
        (h5py.h5d, ("open",)),
        (h5py.Dataset, ("__getitem__", "__setitem__", "read_direct", "write_direct")),
        (h5py.Dataset, ("__init__",)),
        (h5py.Group, ("create_dataset",)),
    )
    before = [vars(owner)[name] for owner, names in owners for name in names]
    told: list[Any] = []
    watching = Watching(lambda *each: told.append(each), lambda *_: None)
    hdf5.watch(watching.patches)
    signatures = [str(inspect.signature(h5py.Dataset.__getitem__))]
    file = h5py.File("v.h5")
    data = file["v"]
    during = [vars(owner)[name] for owner, names in owners for name in names]
    assert not any(one is other for one, other in zip(before, during, strict=True))
    held = data.read_direct
    watching.stop()
    assert [vars(owner)[name] for owner, names in owners for name in names] == before
    assert all(
        one is other
        for one, other in zip(
            [vars(owner)[name] for owner, names in owners for name in names], before, strict=True
        )
    )
    assert signatures == [str(inspect.signature(h5py.Dataset.__getitem__))]
    told.clear()
    assert data[1, 0] == 1
    into = np.zeros((4, 10), "i8")
    held(into)
    assert into[3, 0] == 3
    file.close()
    assert not told


def test_errors_and_arguments_are_hdf5s_own(seen: Seen) -> None:
    with pytest.raises(FileNotFoundError) as failed:
        h5py.File("absent.h5")
    assert "absent.h5" in str(failed.value)
    with pytest.raises(TypeError):
        h5py.h5o.open()
    file_with("a.h5", x=1)
    with h5py.File("a.h5") as file:
        with pytest.raises(KeyError, match="absent"):
            file["absent"]
        with pytest.raises(TypeError):
            file[3]
