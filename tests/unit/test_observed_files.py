"""What a process opens and writes is seen, with nothing declared."""

from __future__ import annotations

import builtins
import copy
import functools
import gc
import io
import logging
import os
import pickle
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from asset_provenance import DerivedAsset, ProcessRecord, track_process
from asset_provenance.capture.files import Access, saw
from asset_provenance.fileuse import ProcessFiles, with_files
from helpers.assets import FACTS, PEOPLE, RAW, graph, make_asset, processes, read_json, write_json

RESULTS = Path("results")
ATLAS = "atlas_2026-01-01_00-00-00"


@pytest.fixture
def raw(data_root: Path) -> Path:
    folder = make_asset(data_root)
    (folder / "units").mkdir()
    (folder / "units/a.txt").write_text("1 2 3\n")
    return folder


def asset(**options: Any) -> DerivedAsset:
    return DerivedAsset("test", **PEOPLE, **options)


def plain(**options: Any) -> DerivedAsset:
    return DerivedAsset("test", inputs=(), base_name="b", **FACTS, **PEOPLE, **options)


def inputs(name: str) -> list[str]:
    data = processes(RESULTS)[name]["code"]["input_data"]
    return [item["name"] for item in data or ()]


def output(name: str) -> str | None:
    return processes(RESULTS)[name]["output_path"]  # type: ignore[no-any-return]


@track_process
def run(function: Any) -> Any:
    return function()


@track_process
def second(function: Any) -> Any:
    return function()


# Inputs


def test_a_capsule_main_needs_no_more_than_its_label(raw: Path) -> None:
    with asset():
        (raw / "units/a.txt").read_text()
        Path("results/out.txt").write_text("x")
    described = read_json(RESULTS / "data_description.json")
    assert described["source_data"] == [RAW]
    assert described["name"].startswith(f"{RAW}_test_")
    assert inputs("test") == [RAW]
    assert output("test") == "out.txt"
    assert (RESULTS / "subject.json").read_bytes() == (raw / "subject.json").read_bytes()


def _os_open(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def _dir_fd(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    os.close(os.open(path.name, os.O_RDONLY, dir_fd=folder))
    os.close(folder)


def _bytes(path: Path) -> None:
    open(os.fsencode(path)).close()


def _update(path: Path) -> None:
    open(path, "r+").close()


def _copy(path: Path) -> None:
    shutil.copy(path, "elsewhere.txt")


@pytest.mark.parametrize(
    "read",
    [
        lambda path: open(path).close(),
        lambda path: io.open(path).close(),  # noqa: UP020
        lambda path: path.read_bytes(),
        _os_open,
        _dir_fd,
        _bytes,
        _update,
        _copy,
    ],
)
def test_however_python_opens_a_file_its_asset_is_an_input(raw: Path, read: Any) -> None:
    with asset():
        run(lambda: read(raw / "units/a.txt"))
    assert inputs("run") == [RAW]


def _fail_to_open(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        (path / "none.txt").read_text()


@pytest.mark.parametrize(
    "look",
    [
        os.listdir,
        lambda path: list(path.rglob("*")),
        lambda path: os.stat(path / "subject.json"),
        lambda path: (path / "subject.json").exists(),
        _fail_to_open,
        lambda path: os.close(os.open(path, os.O_RDONLY)),
    ],
)
def test_to_look_is_not_to_read(data_root: Path, raw: Path, look: Any) -> None:
    make_asset(data_root, "ecephys_900101_2026-04-02_18-30-05")
    with asset():
        run(lambda: look(data_root / "ecephys_900101_2026-04-02_18-30-05"))
        second((raw / "units/a.txt").read_text)
    assert inputs("run") == []
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]


def test_the_innermost_process_has_read_it(raw: Path) -> None:
    @track_process
    def outer() -> None:
        run((raw / "units/a.txt").read_text)

    with asset():
        outer()
    assert inputs("run") == [RAW]
    assert inputs("outer") == []


def test_the_name_is_the_assets_own_not_that_of_its_mount(data_root: Path) -> None:
    folder = make_asset(data_root, mount="mount")
    with asset():
        run((folder / "subject.json").read_text)
    assert inputs("run") == [RAW]


def test_the_working_folder_may_change(raw: Path) -> None:
    with asset():
        before = Path.cwd()
        os.chdir(raw / "units")
        run(lambda: open("a.txt").close())
        os.chdir(before)
    assert inputs("run") == [RAW]


@pytest.mark.parametrize("through", ["link", "real"])
def test_the_data_root_and_what_is_in_it_may_be_links(tmp_path: Path, through: str) -> None:
    folder = make_asset(tmp_path / "store", mount="0123-uuid")
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt/recording").symlink_to(folder)
    (tmp_path / "chain").symlink_to(tmp_path / "mnt")
    Path("data").symlink_to(tmp_path / "chain")
    opened = Path("data/recording/subject.json")
    with asset():
        run((opened if through == "link" else opened.resolve()).read_text)
    assert inputs("run") == [RAW]


def test_a_link_to_a_file_of_an_asset_is_that_asset(raw: Path) -> None:
    Path("scratch").mkdir()
    Path("scratch/link.txt").symlink_to(raw / "units/a.txt")
    with asset():
        run(Path("scratch/link.txt").read_text)
    assert inputs("run") == [RAW]


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_of_an_opener_the_file_that_it_opens_is_seen(raw: Path, mode: str) -> None:
    folder = os.open(raw / "units", os.O_RDONLY)

    def read() -> None:
        def at(_: str, flags: int) -> int:
            return os.open("a.txt", flags, dir_fd=folder)

        open("results/a.txt", mode, opener=at).close()

    with asset():
        second(lambda: Path("results/a.txt").write_text("another"))
        run(read)
    os.close(folder)
    assert inputs("run") == [RAW]
    assert graph(RESULTS)["run"] == []


def test_an_asset_that_appears_during_the_run_is_seen(data_root: Path) -> None:
    with asset():
        folder = make_asset(data_root)
        run((folder / "subject.json").read_text)
    assert inputs("run") == [RAW]


def test_names_may_have_spaces_and_bytes_that_are_no_text(raw: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(raw) + b"/a \xff name"))
    odd.write_text("1")
    with asset():
        run(odd.read_text)
        run(lambda: Path(os.fsdecode(b"results/out \xff")).write_text("x"))
    assert inputs("run") == [RAW]
    assert output("run_1") == "out \\xff"


def test_an_atlas_that_is_read_is_no_source(data_root: Path, raw: Path) -> None:
    (data_root / ATLAS).mkdir()
    (data_root / ATLAS / "labels.txt").write_text("x")
    with asset():
        run((raw / "units/a.txt").read_text)
        second((data_root / ATLAS / "labels.txt").read_text)
    assert inputs("second") == [ATLAS]
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]


def test_what_was_declared_and_not_read_is_recorded_and_told(
    data_root: Path, raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data_root / ATLAS).mkdir()

    @track_process(inputs=ATLAS)
    def fit() -> None:
        (raw / "units/a.txt").read_text()

    with asset(inputs=raw):
        fit()
    assert inputs("fit") == [ATLAS, RAW]
    assert f"input {ATLAS} was declared, but nothing was seen to read it" in caplog.text
    assert f"input {RAW} was declared, but" not in caplog.text


def test_what_was_read_and_not_declared_is_recorded_and_told(
    data_root: Path, raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data_root / ATLAS).mkdir()
    labels = data_root / ATLAS / "labels.txt"
    labels.write_text("x")
    with asset(inputs=raw):
        run(lambda: [path.read_text() for path in (raw / "units/a.txt", labels)])
    assert inputs("run") == [RAW, ATLAS]
    assert f"asset {ATLAS} was used, but is neither among the inputs" in caplog.text


def test_that_no_input_was_seen_is_told_first_and_where_files_were_read_instead(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = make_asset(Path("elsewhere").absolute())
    with asset():
        pass
    with asset(overwrite=True):
        (elsewhere / "subject.json").read_text()
    with asset(overwrite=True):
        make_asset(data_root, ATLAS, subject_id=None)
        (data_root / ATLAS / "subject.json").read_text()
    told = [text.splitlines()[1] for text in caplog.messages if "lack facts" in text]
    assert told == [
        f"  - no input asset was seen: nothing below {data_root} was read; give inputs=... or "
        "data_root=...",
        f"  - no input asset was seen: nothing below {data_root} was read; give inputs=... or "
        f"data_root=... (what was read lies in {elsewhere}, outside of it)",
        f"  - no input asset was seen that hands on facts, only {ATLAS}; give inputs=...",
    ]


def test_what_we_read_ourselves_is_not_the_users(raw: Path) -> None:
    @track_process(inputs=RAW)
    def fit() -> None: ...

    with asset(inputs=raw) as opened:
        fit()
    assert [record.observed for record in opened.records] == [()]


def test_an_s3_url_gives_the_name_and_the_url() -> None:
    with plain():
        run(lambda: saw(f"s3://aind-open-data/{RAW}/a.nwb", Access.READ))
    (item,) = processes(RESULTS)["run"]["code"]["input_data"]
    assert (item["name"], item["url"]) == (RAW, f"s3://aind-open-data/{RAW}")


# Outputs


def add(name: str) -> Any:
    def function() -> None:
        with open(f"results/{name}", "a") as file:
            file.write("x")

    return function


def _rename(path: Path) -> None:
    Path("part").write_text("x")
    os.replace("part", path)


def _rename_inside(path: Path) -> None:
    path.with_suffix(".part").write_text("x")
    path.with_suffix(".part").rename(path)


def _copied(path: Path) -> None:
    Path("source").write_text("x")
    shutil.copyfile("source", path)


def _moved(path: Path) -> None:
    Path("source").write_text("x")
    shutil.move("source", path)


def _low_level(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x"),
        lambda path: open(path, "a").close(),
        lambda path: open(path, "x").close(),
        lambda path: path.touch(),
        lambda path: path.symlink_to("/nowhere"),
        _low_level,
        _rename,
        _rename_inside,
        _copied,
        _moved,
    ],
)
def test_however_a_file_comes_to_be_it_is_the_output(write: Any) -> None:
    with plain():
        run(lambda: write(Path("results/out.txt")))
    assert output("run") == "out.txt"


def test_several_files_are_their_common_folder() -> None:
    def write() -> None:
        Path("results/fit/plots").mkdir(parents=True)
        Path("results/fit/a.csv").write_text("x")
        Path("results/fit/plots/b.png").write_text("x")

    with plain():
        run(write)
    assert output("run") == "fit"


def test_a_folder_that_is_renamed_into_place_is_the_output() -> None:
    def write() -> None:
        Path("results/tmp").mkdir()
        Path("results/tmp/a.csv").write_text("x")
        Path("results/tmp").rename("results/final")

    with plain():
        run(write)
        second(Path("results/final/a.csv").read_text)
    assert output("run") == "final/a.csv"
    assert graph(RESULTS)["second"] == ["run"]


def test_a_folder_from_elsewhere_is_an_output_as_a_whole() -> None:
    def write() -> None:
        Path("work").mkdir()
        Path("work/a.csv").write_text("x")
        Path("work").rename("results/final")

    with plain():
        run(write)
        second(Path("results/final/a.csv").read_text)
    assert output("run") == "final"
    assert graph(RESULTS)["second"] == ["run"]


def test_what_is_gone_again_is_no_output() -> None:
    def write() -> None:
        Path("results/lock").write_text("x")
        Path("results/kept.txt").write_text("x")
        os.unlink("results/lock")

    with plain():
        run(write)
    assert output("run") == "kept.txt"


@pytest.mark.parametrize(("content", "expected"), [("yz", "a.txt"), ("", None)])
def test_a_file_opened_for_both_is_an_output_when_it_changed(
    content: str, expected: str | None
) -> None:
    Path("results").mkdir()
    Path("results/a.txt").write_text("before")

    def update() -> None:
        with open("results/a.txt", "r+") as file:
            file.write(content)

    with plain():
        run(update)
    assert output("run") == expected


def test_two_processes_that_write_to_one_place_are_both_recorded() -> None:
    with plain():
        run(add("log.txt"))
        second(add("log.txt"))
    assert output("run") == output("second") == "log.txt"


def test_very_many_files_are_told_by_their_folder() -> None:
    def write() -> None:
        for chunk in range(5_000):
            Path(f"results/image.zarr/{chunk % 50}").mkdir(parents=True, exist_ok=True)
            Path(f"results/image.zarr/{chunk % 50}/{chunk}").write_bytes(b"x")

    with plain() as opened:
        run(write)
        second(Path("results/image.zarr/7/7").read_bytes)
    assert output("run") == "image.zarr"
    assert len(opened.records[0].written_files) <= 2_000
    assert graph(RESULTS)["second"] == ["run"]


# Edges


def write(name: str, text: str = "x") -> Any:
    return lambda: Path("results", name).write_text(text)


def read(name: str) -> Any:
    return Path("results", name).read_text


def test_who_reads_what_another_wrote_depends_on_it() -> None:
    with plain():
        run(write("a.txt"))
        run(write("b.txt"))
        second(read("b.txt"))
    assert graph(RESULTS) == {"run": [], "run_1": [], "second": ["run_1"]}


def test_who_replaced_a_file_is_followed_and_not_who_wrote_it_before() -> None:
    with plain():
        run(write("a.txt"))
        run(write("a.txt"))
        second(read("a.txt"))
    assert graph(RESULTS)["second"] == ["run_1"]


def test_who_added_to_a_file_is_followed_beside_who_wrote_it() -> None:
    with plain():
        run(write("a.txt"))
        run(add("a.txt"))
        second(read("a.txt"))
    assert graph(RESULTS)["second"] == ["run", "run_1"]


def test_its_own_output_and_its_parents_give_no_edge() -> None:
    @track_process
    def outer() -> None:
        write("a.txt")()
        run(read("a.txt"))
        write("b.txt")()
        read("b.txt")()

    with plain():
        outer()
    assert graph(RESULTS) == {"outer": ["run"], "run": []}


def test_reading_before_it_was_written_gives_no_edge() -> None:
    Path("results").mkdir()
    Path("results/a.txt").write_text("old")
    with plain():
        second(read("a.txt"))
        run(write("a.txt"))
    assert graph(RESULTS) == {"second": [], "run": []}


def test_what_was_declared_and_could_not_be_seen_still_gives_an_edge() -> None:
    @track_process(outputs="unseen")
    def tool() -> None:
        # As a program would that nobody can see.
        Path("results/unseen").mkdir()

    Path("results").mkdir()
    with plain():
        tool()
        saw(os.path.abspath("results/unseen/file"), Access.READ)
        second(lambda: saw(os.path.abspath("results/unseen/file"), Access.READ))
    assert graph(RESULTS)["second"] == ["tool"]


# The program as a whole


def test_every_hook_vanishes_when_the_last_asset_closes() -> None:
    import bz2
    import tarfile

    functions = [os.open, os.rename, os.replace, os.link, os.symlink, os.unlink, os.remove]
    before = [builtins.open, io.open, bz2._builtin_open, tarfile.bltn_open, *functions]  # type: ignore[attr-defined]
    sets = os.supports_dir_fd, os.supports_follow_symlinks
    with plain():
        with plain(output_dir="other"):
            pass
        assert builtins.open is not before[0]
        assert {os.open, os.unlink} <= os.supports_dir_fd
        sys.modules.pop("this_module_takes_open", None)
        Path("this_module_takes_open.py").write_text("from builtins import open as mine\n")
        sys.path.insert(0, os.getcwd())
        import this_module_takes_open  # type: ignore[import-not-found]

        sys.path.pop(0)
    functions = [os.open, os.rename, os.replace, os.link, os.symlink, os.unlink, os.remove]
    after = [builtins.open, io.open, bz2._builtin_open, tarfile.bltn_open, *functions]  # type: ignore[attr-defined]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert this_module_takes_open.mine is builtins.open
    assert sets == (os.supports_dir_fd, os.supports_follow_symlinks)


def test_open_is_as_it_was_for_whoever_looks_at_it() -> None:
    import inspect

    signature = inspect.signature(open)
    with pytest.raises(TypeError) as refused:
        os.open("x", "r")  # type: ignore[arg-type]
    with plain():
        with pytest.raises(TypeError) as refused_within:
            os.open("x", "r")  # type: ignore[arg-type]
        assert str(refused_within.value) == str(refused.value)
        assert inspect.signature(open) == signature
        assert pickle.loads(pickle.dumps(open)) is open
        assert copy.deepcopy(open) is open
        with pytest.raises(FileNotFoundError, match="nowhere"):
            open("nowhere")  # noqa: SIM115
        with pytest.raises(TypeError):
            open()  # type: ignore[call-overload]  # noqa: SIM115
        with pytest.raises(ValueError, match="mode"):
            open("x", "q")  # noqa: PLW1501, SIM115


def test_who_opens_without_an_encoding_is_warned_of_the_own_line() -> None:
    Path("program.py").write_text(
        "from asset_provenance import DerivedAsset\n"
        f"with DerivedAsset('t', inputs=(), base_name='b', **{ {**FACTS, **PEOPLE} }):\n"
        "    file = open('results/a.txt', 'w')\n"
        "print(file.encoding)\n"
        "print(open('results/a.txt', 'w').encoding)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "program.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    warned = [line for line in done.stderr.splitlines() if "EncodingWarning" in line]
    assert [line.partition(" EncodingWarning")[0] for line in warned if "program.py" in line] == [
        f"{Path('program.py').absolute()}:{line}:" for line in (3, 5)
    ]
    assert not [line for line in warned if "capture/files.py" in line]
    within, after = done.stdout.split()
    assert within == after


def test_a_working_folder_that_is_gone_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with plain():
        before = os.getcwd()
        os.chdir(tmp_path / "gone")
        os.rmdir(tmp_path / "gone")
        with pytest.raises(FileNotFoundError):
            open("x")  # noqa: SIM115
        os.chdir(before)


def test_many_threads_may_open_at_once(raw: Path) -> None:
    def work() -> None:
        for number in range(200):
            Path(f"results/{threading.get_ident()}-{number}").write_text("x")
            (raw / "units/a.txt").read_text()

    with asset() as opened:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert inputs("test") == [RAW]
    assert opened.records == ()


def test_an_input_that_only_the_block_read_is_a_source_of_the_asset(raw: Path) -> None:
    with asset():
        text = (raw / "units/a.txt").read_text()
        run(lambda: text)
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]


def test_a_described_asset_inside_another_is_the_one_that_was_read(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inner = raw / "derived"
    make_asset(inner.parent, f"{RAW}_sorted_2026-05-01_00-00-00", mount="derived")
    with asset(inputs=raw), caplog.at_level(logging.WARNING):
        run((inner / "subject.json").read_text)
    assert inputs("run") == [f"{RAW}_sorted_2026-05-01_00-00-00"]
    assert f"input {RAW} was declared, but nothing" not in caplog.text


def test_a_description_that_comes_later_is_believed_from_then_on(data_root: Path) -> None:
    folder = data_root / "mount"
    folder.mkdir()
    (folder / "a.txt").write_text("x")
    with asset():
        run((folder / "a.txt").read_text)
        write_json(folder / "data_description.json", {})
        shutil.rmtree(folder)
        make_asset(data_root, mount="mount")
        second((folder / "subject.json").read_text)
    assert inputs("second") == [RAW]


# What a review found


def test_slashes_too_many_change_nothing(raw: Path) -> None:
    results = os.path.abspath("results")

    def write_it() -> None:
        os.mkdir("results/sub")
        with open(f"{results}//sub//x.csv", "w") as file:
            file.write("x")

    with asset():
        run(write_it)
        second(lambda: [read("sub/x.csv")(), Path(f"{raw}//units/a.txt").read_text()])
    assert output("run") == "sub/x.csv"
    assert graph(RESULTS)["second"] == ["run"]
    assert inputs("second") == [RAW]


def test_what_stands_for_a_function_is_no_method_and_pickles() -> None:
    with plain():

        class Reader:
            opener = open
            remover = os.remove

        Path("f.txt").write_text("x")
        Reader().opener("f.txt").close()
        Reader().remover("f.txt")
        for function in (os.remove, os.rename, os.open, os.link, os.chdir, open):
            assert pickle.loads(pickle.dumps(function)) is function


def test_a_fault_of_ours_never_reaches_who_opens_a_file(
    raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(os.PathLike[str]):
        def __fspath__(self) -> str:
            raise RuntimeError("mine")

    def fail(*args: Any) -> None:
        raise RuntimeError("of ours")

    with asset(inputs=raw) as opened:
        monkeypatch.setattr(opened._run.recorder.files, "saw", fail)  # type: ignore[union-attr]
        monkeypatch.setattr(opened._run.recorder.files, "moved", fail)  # type: ignore[union-attr]
        assert (raw / "units/a.txt").read_text() == "1 2 3\n"
        Path("a").write_text("x")
        os.rename("a", "b")
        with pytest.raises(RuntimeError, match="mine"):
            open(Broken())  # noqa: SIM115
    assert "could not be recorded" in caplog.text
    assert (RESULTS / "processing.json").exists()


@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_who_reads_through_a_link_follows_who_wrote_what_it_leads_to(how: str) -> None:
    def link() -> None:
        if how == "hard":
            os.link("results/a.txt", "results/latest.txt")
        else:
            os.symlink("a.txt", "results/latest.txt")

    with plain():
        run(write("a.txt"))
        second(link)
        second(read("latest.txt"))
    assert "run" in graph(RESULTS)["second_1"]


def test_who_reads_through_a_linked_folder_follows_who_wrote_into_it() -> None:
    def publish() -> None:
        os.mkdir("results/v1")
        write("v1/a.txt")()
        os.symlink("v1", "results/current")

    with plain():
        run(publish)
        second(read("current/a.txt"))
    assert graph(RESULTS)["second"] == ["run"]


def test_an_input_that_was_linked_into_the_results_is_an_input(raw: Path) -> None:
    with asset():
        Path("results").mkdir(exist_ok=True)
        os.symlink(raw, "results/raw")
        os.symlink(raw / "units/a.txt", "results/a.txt")
        run(Path("results/raw/units/a.txt").read_text)
        second(Path("results/a.txt").read_text)
    assert inputs("run") == inputs("second") == [RAW]


def test_that_no_input_was_seen_is_told_unless_there_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with plain():
        pass
    assert "no input" not in caplog.text
    with asset(base_name="made", overwrite=True, **FACTS):
        pass
    assert "no input asset was seen: nothing below" in caplog.text
    assert "or inputs=() if there is none" in caplog.text


@pytest.mark.parametrize("declared", ["link", "real"])
def test_an_input_outside_the_data_root_may_lie_behind_a_link(
    tmp_path: Path, declared: str, caplog: pytest.LogCaptureFixture
) -> None:
    real = make_asset(tmp_path / "store", mount="x")
    (tmp_path / "link").symlink_to(tmp_path / "store")
    ways = {"real": real, "link": tmp_path / "link/x"}
    read_by = "real" if declared == "link" else "link"
    with asset(inputs=ways[declared]):
        run((ways[read_by] / "subject.json").read_text)
    assert inputs("run") == [RAW]
    assert "nothing was seen to read it" not in caplog.text


def test_a_link_that_is_led_elsewhere_is_followed_there(data_root: Path, raw: Path) -> None:
    other = make_asset(data_root, "ecephys_900101_2026-04-02_18-30-05")

    def both() -> None:
        Path("current").symlink_to(raw)
        Path("current/subject.json").read_text()
        os.unlink("current")
        Path("current").symlink_to(other)
        Path("current/subject.json").read_text()

    with asset(base_name="both"):
        run(both)
    assert inputs("run") == [RAW, "ecephys_900101_2026-04-02_18-30-05"]


def _by_another_link(link: Path, folder: Path) -> None:
    os.unlink(link)
    os.symlink(folder, link)


def _by_a_rename(link: Path, _folder: Path) -> None:
    os.replace("next", link)


def _by_a_rename_of_its_folder(link: Path, _folder: Path) -> None:
    os.rename(link.parent, "before")
    os.rename("later", link.parent)


@pytest.mark.parametrize("lead", [_by_another_link, _by_a_rename, _by_a_rename_of_its_folder])
def test_whoever_leads_a_link_elsewhere_all_follow_it_there(
    lead: Any, data_root: Path, raw: Path
) -> None:
    other = make_asset(data_root, "ecephys_900101_2026-04-02_18-30-05")
    Path("now").mkdir()
    Path("later").mkdir()
    link = Path("now/current")
    link.symlink_to(raw)
    for future in ("next", "later/current"):
        Path(future).symlink_to(other)

    def both() -> None:
        (link / "subject.json").read_text()
        second(lambda: lead(link, other))
        (link / "subject.json").read_text()

    with asset(base_name="both"):
        run(both)
    assert inputs("run") == [RAW, other.name]


def test_of_very_many_files_in_one_folder_every_writer_is_followed() -> None:
    def many(start: int) -> Any:
        def function() -> None:
            Path("results/d").mkdir(exist_ok=True)
            for number in range(start, start + 2_300):
                Path(f"results/d/{number}").write_text("x")

        return function

    with plain():
        run(many(0))
        run(many(1_000))
        second(read("d/500"))
        second(read("d/2299"))
    assert "run" in graph(RESULTS)["second"]
    assert "run_1" in graph(RESULTS)["second_1"]


def test_a_record_can_be_made_while_threads_use_files() -> None:
    files = ProcessFiles()
    used = (files.read, files.written, files.follows, files.inputs, files.inside)

    def use(*_: object) -> None:
        """Use one more file, as a thread may that goes on while garbage is collected."""
        for known in used:
            known[str(len(known))] = {}  # type: ignore[index]

    for _ in range(1000):
        use()
    record = ProcessRecord("x", "sort", "Analysis", "Analysis", datetime(2026, 3, 2, tzinfo=UTC))
    thresholds = gc.get_threshold()
    gc.callbacks.append(use)
    gc.set_threshold(1)
    try:
        made = with_files(record, files)
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(use)
    assert len(files.read) > len(made.read_files) >= 1000


def test_files_that_were_there_for_a_while_are_no_outputs() -> None:
    def work() -> None:
        with tempfile.TemporaryDirectory(dir="results") as folder:
            for number in range(2_100):
                Path(folder, str(number)).write_text("x")
        with tempfile.NamedTemporaryFile(dir="results"), tempfile.TemporaryFile(dir="results"):
            pass
        Path("results/sub").mkdir()
        with tempfile.NamedTemporaryFile("w", dir="results/sub", delete=False) as file:
            file.write("x")
        os.replace(file.name, "results/sub/x.csv")

    with plain():
        run(work)
    assert output("run") == "sub/x.csv"


def test_an_open_that_somebody_else_replaced_does_not_hide_the_rest(raw: Path) -> None:
    real = builtins.open
    with mock.patch("builtins.open", functools.partial(real)):
        with asset():
            run((raw / "units/a.txt").read_text)
            second(lambda: open(raw / "units/a.txt").close())
    assert inputs("run") == inputs("second") == [RAW]
    assert builtins.open is real


def test_a_patch_that_outlives_an_asset_does_not_blind_the_next(raw: Path) -> None:
    patch = mock.patch("builtins.open", builtins.open)
    with asset():
        patch = mock.patch("builtins.open", builtins.open)
        patch.start()
        (raw / "units/a.txt").read_text()
    patch.stop()
    with asset(output_dir="second"):
        run((raw / "units/a.txt").read_text)
        second(lambda: open(raw / "units/a.txt").close())
    found = processes(Path("second"))
    names = [[item["name"] for item in one["code"]["input_data"]] for one in found.values()]
    assert names == [[RAW], [RAW]]


def test_an_asset_opens_where_open_is_a_mock() -> None:
    opened = plain()
    with mock.patch("builtins.open"):
        opened.start()
    opened.finish()
    with plain(output_dir="next"):
        run(lambda: Path("next/out.txt").write_text("x"))
    assert (RESULTS / "processing.json").exists()
    assert processes(Path("next"))["run"]["output_path"] == "out.txt"


def test_the_data_may_lie_inside_the_output_folder(raw: Path) -> None:
    with asset(output_dir="."):
        run((raw / "units/a.txt").read_text)
    assert [item["name"] for item in processes(Path())["run"]["code"]["input_data"]] == [RAW]


def test_names_taken_before_the_asset_opened_are_seen_too() -> None:
    from os import replace

    def work() -> None:
        Path("results/part").write_text("x")
        globals()["_taken"]("results/part", "results/whole")

    globals()["_taken"] = replace
    with plain():
        run(work)
    assert output("run") == "whole"


def test_a_thread_from_before_is_seen_by_each_asset(raw: Path) -> None:
    work: queue.Queue[Any] = queue.Queue()
    done: queue.Queue[Any] = queue.Queue()

    def serve() -> None:
        while (function := work.get()) is not None:
            done.put(function())

    def ask(function: Any) -> None:
        work.put(function)
        done.get(timeout=60)

    thread = threading.Thread(target=serve)
    thread.start()
    with asset(output_dir="outer"):
        ask((raw / "units/a.txt").read_text)
        with asset(output_dir="inner"):
            ask((raw / "units/a.txt").read_text)
    work.put(None)
    thread.join()
    assert read_json(Path("inner/data_description.json"))["source_data"] == [RAW]


def test_closing_takes_no_longer_for_each_further_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_MAX_REPEATS", "1000")

    def some(folder: str, number: int) -> None:
        for file in range(20):
            Path(f"{folder}/{number}-{file}").write_text("x")
        if number:
            Path(f"{folder}/{number - 1}-0").read_text()

    def closing(processes: int) -> float:
        opened = plain(output_dir=f"results{processes}").start()
        for number in range(processes):
            run(functools.partial(some, f"results{processes}", number))
        start = time.process_time()
        opened.finish()
        return time.process_time() - start

    closing(1)  # what is imported for it is so only once
    few = closing(50)
    assert closing(400) < 20 * few  # eight times as many; each looking at each takes 64 times
