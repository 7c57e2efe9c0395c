"""What is made of runs that were killed, crashed or failed: of real ones, in child processes."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aind_data_schema.components.identifiers import CombinedData, DataAsset

from asset_provenance import (
    DerivedAsset,
    StorageError,
    UsageError,
    current_process,
    track_process,
)
from asset_provenance.cli import main
from asset_provenance.deadruns import DeadRun, find_runs, finish_written
from asset_provenance.metadata.writer import write_set
from asset_provenance.recovery import read_assignments, recover
from helpers.assets import FACTS, PEOPLE, RAW, graph, make_asset, processes, read_json
from helpers.schema import validate_set

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

RESULTS = Path("results")


@track_process
def double(x: int) -> int:
    return 2 * x


@pytest.fixture(autouse=True)
def _known_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.0")  # wherever the tests lie


def plain(name: str = "tuning", **options: Any) -> DerivedAsset:
    given = {"inputs": (), "base_name": "b", **FACTS, **PEOPLE, **options}
    return DerivedAsset(name, **given)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    import resource

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def in_child(body: Callable[[], object]) -> int:
    """Run it in a child, which ends as a program with it would; give how it ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(**options: Any) -> None:
    """Leave a run that was killed in its second step."""

    def body() -> None:
        with plain(**options):
            double(1)
            with track_process("second"):
                kill()

    assert in_child(body) == -signal.SIGKILL


def only_run(folder: Path = RESULTS) -> DeadRun:
    (run,) = find_runs(folder.absolute())
    return run


def accepted(run: DeadRun | None = None, **options: Any) -> dict[str, Any]:
    """Recover the run, and give its processes, once the whole set is right."""
    run = run or only_run()
    assert run.refusal is None
    assert recover(run, accept_failed=True, **options).is_written
    validate_set(run.output_dir)
    return processes(run.output_dir)


def tree(folder: Path = RESULTS) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def journal_file(folder: Path = RESULTS) -> Path:
    (path,) = folder.glob(".asset-provenance/*/*.jsonl")
    return path


def change_head(**changes: Any) -> None:
    """Change what the journal says of the run as a whole."""
    path = journal_file()
    first, _, rest = path.read_text().partition("\n")
    path.write_text(json.dumps({**json.loads(first), **changes}) + "\n" + rest)


# How a run can end


@pytest.mark.parametrize(
    ("end", "status"),
    [(kill, -signal.SIGKILL), (crash, -signal.SIGSEGV), (lambda: os._exit(7), 7)],
    ids=["SIGKILL", "segfault", "os._exit"],
)
def test_what_had_ended_is_complete_and_what_was_open_is_interrupted(
    end: Callable[[], object], status: int
) -> None:
    def body() -> None:
        with plain():
            double(1)
            with track_process("outer"), track_process("inner"):
                end()

    assert in_child(body) == status
    run = only_run()
    assert "It was killed or it crashed: the machine went on." in run.ending
    found = accepted(run)
    assert list(found) == ["double", "outer", "inner"]
    assert "Interrupted" not in (found["double"]["notes"] or "")
    for name in ("outer", "inner"):
        assert found[name]["notes"].startswith("Interrupted: the program ended before it had.")
        # On a busy machine its record was synced once more before it ended.
        assert found[name]["end_date_time"] >= found["inner"]["start_date_time"]
    assert found["outer"]["end_date_time"] == found["inner"]["end_date_time"]
    notes = read_json(RESULTS / "processing.json")["notes"]
    assert "Interrupted: the program ended before it had." in notes
    assert "The metadata were written later, from the record of the run." in notes
    assert graph(RESULTS) == {"double": [], "outer": [], "inner": []}


@pytest.mark.parametrize(
    ("error", "told"), [(SystemExit(3), "SystemExit: 3"), (ValueError("no"), "ValueError: no")]
)
def test_a_run_that_raised_is_written_as_failed(error: BaseException, told: str) -> None:
    def body() -> None:
        with plain():
            double(1)
            raise error

    assert in_child(body) == (3 if isinstance(error, SystemExit) else 1)
    assert only_run().ending == f"It failed: {told}"
    assert list(accepted()) == ["double"]
    assert f"The run failed: {told}" in read_json(RESULTS / "processing.json")["notes"]


def test_a_signal_that_ended_the_run_is_named() -> None:
    def body() -> None:
        with plain():
            double(1)
            os.kill(os.getpid(), signal.SIGTERM)

    assert in_child(body) == -signal.SIGTERM
    assert only_run().ending == "It was interrupted: SIGTERM"
    accepted()
    assert "Ended by SIGTERM." in read_json(RESULTS / "processing.json")["notes"]


def test_a_signal_that_came_before_a_kill_is_named() -> None:
    def body() -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        with plain():
            os.kill(os.getpid(), signal.SIGTERM)
            kill()

    in_child(body)
    assert only_run().ending.startswith("It got SIGTERM. It was killed or it crashed")


def test_a_block_that_is_a_process_is_interrupted_too() -> None:
    killed(process_type="Spike sorting")
    found = accepted()
    assert list(found) == ["tuning", "double", "second"]
    assert found["tuning"]["process_type"] == "Spike sorting"
    assert found["tuning"]["notes"].startswith("Interrupted: the program ended before it had.")


def test_a_run_that_failed_is_written_as_if_failures_were_to_be(data_root: Path) -> None:
    for day in (2, 3):
        make_asset(data_root, f"ecephys_900101_2026-03-0{day}_18-30-05", carried=())
    other = make_asset(data_root, "ecephys_900101_2026-03-04_18-30-05", carried=())
    names = [folder.name for folder in data_root.iterdir() if folder != other]
    pipeline = {"url": "https://example.org/pipe", "name": "pipe", "version": "1"}

    def written(folder: str, on_failure: str) -> Path:
        with pytest.raises(ValueError):
            with plain(
                inputs=CombinedData(assets=[DataAsset(name=n) for n in names], name="group"),
                reference_inputs="atlas",
                base_name="both",
                funding_source=["NIMH:RF1MH123", "AI"],
                process_type="Analysis",
                pipelines=[pipeline],
                pipeline_name="pipe",
                group="ephys",
                data_level="simulated",
                tags=["x"],
                restrictions="none",
                creation_time="2026-03-05T00:00:00Z",
                output_dir=folder,
                on_failure=on_failure,
            ) as asset:
                asset.add_inputs(other)
                double(1)
                raise ValueError
        return Path(folder)

    at_once, later = written("at-once", "write"), written("later", "journal")
    accepted(only_run(later))
    described = read_json(later / "data_description.json")
    assert described["source_data"] == [*names, other.name]
    assert described == read_json(at_once / "data_description.json")

    def without_times(folder: Path) -> Any:
        content = read_json(folder / "processing.json")
        for item in content["data_processes"]:
            del item["start_date_time"], item["end_date_time"]
        text = json.dumps(content)
        return text.replace("The metadata were written later, from the record of the run.\\n", "")

    assert without_times(later) == without_times(at_once)


def test_forked_workers_are_in_it_the_open_ones_interrupted() -> None:
    def worker() -> None:
        double(1)
        with track_process("in the worker"):
            kill()

    def body() -> None:
        with plain():
            in_child(worker)
            with track_process("second"):
                kill()

    in_child(body)
    found = accepted()
    assert list(found) == ["double", "in the worker", "second"]
    assert found["in the worker"]["notes"].startswith("Interrupted")
    assert (found["double"]["notes"] or "").count("Interrupted") == 0


def test_repeated_calls_are_in_it_as_far_as_they_were_counted() -> None:
    def body() -> None:
        with plain() as asset:
            for number in range(500):
                double(number)
            asset._run.journal.sync()  # as it is done every second
            kill()

    in_child(body)
    found = accepted()
    assert len(found) == 101
    assert "400 further calls" in found["double_100"]["notes"]


def wait_for_counts(text: str, folder: Path = RESULTS) -> None:
    """Wait until the journal holds what comes to it while processes are open."""
    until = time.monotonic() + 20
    while not any(text in path.read_text() for path in folder.rglob("*.counts")):
        assert time.monotonic() < until
        time.sleep(0.02)


def killed_after(use: Callable[[], object], told: str, **options: Any) -> None:
    """Leave a run that was killed once it was in the journal what its second step had used."""

    def body() -> None:
        with DerivedAsset("tuning", **PEOPLE, **options):
            with track_process("first"):
                (RESULTS / "first.txt").write_text("1")
            with track_process("second"):
                use()
                wait_for_counts(told)
                kill()

    assert in_child(body) == -signal.SIGKILL


def test_what_an_open_process_was_seen_to_use_is_kept_though_it_was_killed(
    data_root: Path,
) -> None:
    raw = make_asset(data_root)
    (raw / "units.csv").write_text("1")
    (RESULTS / "old").mkdir(parents=True)
    (RESULTS / "old/changed.txt").write_text("1")
    begun = datetime.now(UTC)

    def use() -> None:
        (raw / "units.csv").read_text()
        (RESULTS / "first.txt").read_text()
        with (RESULTS / "old/changed.txt").open("r+") as file:
            file.write("2")
        (RESULTS / "old/part.txt").write_text("3")
        (RESULTS / "old/part.txt").rename(RESULTS / "old/second.txt")
        current_process().add_results(units=7)

    killed_after(use, "units")
    run = only_run()
    assert run.block is not None
    ended = [one.end_date_time for one in (run.block, run.records[1])]
    assert ended[0] == ended[1]
    assert begun < run.records[1].start_date_time < (ended[1] or begun) < datetime.now(UTC)
    assert recover(run, accept_failed=True).is_written
    found = processes(RESULTS)
    assert [one["name"] for one in found["second"]["code"]["input_data"]] == [RAW]
    assert found["second"]["output_path"] == "old"
    assert set(run.records[1].written_files) == {"old/changed.txt", "old/second.txt"}
    assert found["second"]["output_parameters"] == {"units": 7}
    assert graph(RESULTS)["second"] == ["first"]
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]
    assert (RESULTS / "subject.json").read_bytes() == (raw / "subject.json").read_bytes()


def test_what_the_block_itself_was_seen_to_use_is_kept_too(data_root: Path) -> None:
    raw = make_asset(data_root, carried=())

    def body() -> None:
        with DerivedAsset("tuning", **PEOPLE):
            (raw / "data_description.json").read_text()
            wait_for_counts(RAW)
            kill()

    assert in_child(body) == -signal.SIGKILL
    found = accepted()
    assert [one["name"] for one in found["tuning"]["code"]["input_data"]] == [RAW]


def test_very_many_files_of_an_open_process_are_kept_as_their_folders(data_root: Path) -> None:
    make_asset(data_root, carried=())

    def use() -> None:
        for chunk in range(6_000):
            if chunk % 100 == 0:
                (RESULTS / f"image.zarr/{chunk // 100}").mkdir(parents=True)
            (RESULTS / f"image.zarr/{chunk // 100}/{chunk}").write_bytes(b"x")
        current_process().add_note("all written")

    killed_after(use, "all written", inputs=RAW)
    (run,) = find_runs(RESULTS.absolute())
    assert len(run.records[1].written_files) <= 2_000
    assert sum(path.stat().st_size for path in journal_file().parent.iterdir()) < 200_000
    assert accepted(run)["second"]["output_path"] == "image.zarr"


def test_of_two_states_of_an_open_process_the_later_is_taken(data_root: Path) -> None:
    raw = make_asset(data_root)
    killed_after((raw / "subject.json").read_text, RAW)
    first = journal_file()
    other = Path(os.environ["HOME"]) / ".local/state/asset-provenance/runs" / first.parent.name
    shutil.copytree(first.parent, other)
    for path in min(other, first.parent.absolute()).glob("*.counts"):
        path.unlink()  # it is of the time before the journal went on elsewhere
    assert [ref.name for ref in only_run().records[1].inputs] == [RAW]


def test_the_main_script_is_the_one_that_ran_not_the_command_that_recovers() -> None:
    def body() -> None:
        script = Path("analysis.py")
        script.write_text("")
        sys.modules["__main__"].__file__ = str(script.absolute())
        with plain():
            double(1)
            kill()

    in_child(body)
    accepted()
    assert "(analysis.py)" in read_json(RESULTS / "processing.json")["notes"]


def test_uncommitted_changes_are_kept_though_the_program_was_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SAVE_PATCH", "true")
    script = Path("repo") / "step.py"
    script.parent.mkdir()
    script.write_text("x = 1\n")
    git = "git -C repo -c user.name=n -c user.email=e@e.org"
    assert os.system(f"{git} init -q && {git} add . && {git} commit -q -m one") == 0
    script.write_text("from asset_provenance import track_process\n@track_process\ndef f(): ...\n")
    space: dict[str, Any] = {}
    exec(compile(script.read_text(), str(script.absolute()), "exec"), space)

    def body() -> None:
        with plain():
            space["f"]()
            kill()

    in_child(body)
    accepted()
    patches = [path.read_bytes() for path in RESULTS.glob("provenance/uncommitted-*.patch")]
    assert any(b"+def f(): ..." in patch for patch in patches)


def test_a_run_that_was_killed_when_it_was_all_but_over_is_complete() -> None:
    killed()
    path = journal_file()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for start in (lines[-1], lines[1]):
        end = {**start, "kind": "end", "end_date_time": start["start_date_time"]}
        path.write_text(path.read_text() + json.dumps({**end, "status": "completed"}) + "\n")
    ending = "It ended as it should, but was killed before the metadata were written."
    assert only_run().ending == ending
    assert "Interrupted" not in json.dumps(accepted())


# Facts and inputs


def test_missing_facts_are_named_and_can_be_given(data_root: Path) -> None:
    def body() -> None:
        with DerivedAsset("tuning", **PEOPLE):
            double(1)
            kill()

    in_child(body)
    before = tree()
    result = recover(only_run())
    assert result.assembled is None
    told = "\n".join(result.problems)
    for name in ("project_name", "investigators", "funding_source", "modalities", "base_name"):
        assert f"{name} is missing" in told
    assert tree() == before
    facts = read_assignments(
        ["project_name=P", "investigators=A B; C D", 'funding_source=["AI"]', "modalities=ecephys"]
    )
    accepted(facts=facts, base_name="b")
    described = read_json(RESULTS / "data_description.json")
    assert [person["name"] for person in described["investigators"]] == ["A B", "C D"]


def test_what_is_given_now_wins_over_the_record_and_that_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed()
    monkeypatch.setenv("ASSET_PROVENANCE_PROJECT_NAME", "Of the environment")
    monkeypatch.setenv("ASSET_PROVENANCE_DATA_SUMMARY", "Of the environment")
    accepted(facts={"experimenters": ["Somebody Else"]})
    described = read_json(RESULTS / "data_description.json")
    assert described["project_name"] == FACTS["project_name"]
    assert described["data_summary"] == "Of the environment"
    assert processes(RESULTS)["double"]["experimenters"] == ["Somebody Else"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("projectname=x", "did you mean 'project_name'"),
        ("project_name", "write --set project_name=VALUE"),
        ("project_name=", "write --set project_name=VALUE"),
        ("output_dir=x", "'output_dir' cannot be set"),
        ("Ada", "'Ada' is no NAME=VALUE, as in --set experimenters='Ada Lovelace'"),
        ("investigators=[x", "--set investigators: not valid JSON"),
    ],
)
def test_an_assignment_that_means_nothing_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("[", r"\[")):
        read_assignments([text])


def test_inputs_hand_on_their_files_again(data_root: Path) -> None:
    raw = make_asset(data_root)
    outside = make_asset(Path("elsewhere"), "ecephys_900101_2026-03-04_18-30-05")

    def body() -> None:
        with plain(inputs=[raw, outside]):
            double(1)
            kill()

    in_child(body)
    assert recover(only_run(), accept_failed=True).is_written
    described = read_json(RESULTS / "data_description.json")
    assert described["source_data"] == [raw.name, outside.name]
    assert (RESULTS / "subject.json").read_bytes() == (raw / "subject.json").read_bytes()


def test_inputs_that_the_run_was_seen_to_use_are_its_inputs(data_root: Path) -> None:
    raw = make_asset(Path("elsewhere"), carried=())

    def body() -> None:
        with DerivedAsset("tuning", **PEOPLE):
            with track_process("read", inputs=raw):
                pass
            kill()

    in_child(body)
    run = only_run()
    name = recover(run).assembled
    accepted(run)
    described = read_json(RESULTS / "data_description.json")
    assert described["source_data"] == [RAW]
    # However often it is looked at, the name stays.
    assert name is not None
    assert name.name == described["name"]


def test_inputs_that_lie_elsewhere_now_are_found_below_the_given_data_root(
    data_root: Path,
) -> None:
    make_asset(data_root, carried=())

    def body() -> None:
        with DerivedAsset("tuning", inputs=RAW, **PEOPLE):
            kill()

    in_child(body)
    shutil.move(data_root, "moved")
    assert any(f"input {RAW} was not found" in text for text in recover(only_run()).problems)
    accepted(facts=read_assignments([f"data_root={Path('moved').absolute()}"]))
    assert read_json(RESULTS / "data_description.json")["subject_id"] == "900101"


def test_a_folder_that_is_another_asset_now_is_not_taken_for_the_input(data_root: Path) -> None:
    raw = make_asset(Path("elsewhere"))

    def body() -> None:
        with plain(inputs=raw, base_name=None):
            kill()

    in_child(body)
    shutil.rmtree(raw)
    make_asset(Path("elsewhere"), "ecephys_1_2026-03-04_18-30-05", mount=RAW, subject_id="1")
    assert any(f"input {RAW} was not found" in text for text in recover(only_run()).problems)


# The record as it is found


def test_nothing_is_changed_until_it_is_accepted_and_then_only_once() -> None:
    killed()
    before = tree()
    result = recover(only_run())
    assert result.problems == ()
    assert result.assembled is not None
    assert not result.is_written
    assert tree() == before
    accepted()
    written = tree()
    assert not any(name.startswith(".asset-provenance") for name in written)
    assert find_runs(RESULTS.absolute()) == []
    assert finish_written(RESULTS.absolute()) == []
    assert tree() == written


def test_a_last_line_cut_short_anywhere_costs_that_line_only() -> None:
    def body() -> None:
        with plain():
            double(1)
            double(2)
            kill()

    in_child(body)
    path = journal_file()
    content = path.read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last, len(content) + 1):
        path.write_bytes(content[:length])
        run = only_run()
        is_torn = last < length < len(content) - 1
        assert [text for text in run.remarks if "one line" in text] == (
            ["one line of its record cannot be read, as a kill or a power cut leaves them"]
            if is_torn
            else []
        )
        first, second = run.records
        assert first.status == "completed"
        assert second.status == ("completed" if length >= len(content) - 1 else "interrupted")
    path.write_bytes(content[:-20])
    assert list(accepted()) == ["double", "double_1"]


def test_a_file_cut_anywhere_is_recovered_or_refused() -> None:
    killed()
    path = journal_file()
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        run = only_run()
        lines = content[: length + 1].count(b"\n")
        if lines < 1:
            assert run.refusal is not None
            assert "its record says nothing of the run: nothing can be recovered" in run.refusal
        elif lines < 2:
            assert run.refusal is not None
            assert "it ended before anything had started" in run.refusal
        else:
            assert run.refusal is None
    with pytest.raises(StorageError, match="cannot be recovered: its record says nothing"):
        path.write_bytes(b"")
        recover(only_run())


def test_lines_that_a_power_cut_left_empty_are_told_and_left_out() -> None:
    killed()
    path = journal_file()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b"\0" * (len(lines[3]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    assert any("one line" in text for text in only_run().remarks)
    accepted()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 99}, "its record is of version 99, and this asset-provenance reads version 2"),
        ({"version": None}, "its record is of version None"),
        ({"unknown": 1}, "its record of the run is damaged"),
        ({"creation_time": 5}, "its record of the run is damaged"),
        ({"settings": 5}, "its record of the run is damaged"),
        ({"inputs": [5]}, "its record of the run is damaged"),
    ],
)
def test_a_record_that_is_not_understood_is_refused(changes: dict[str, Any], told: str) -> None:
    killed()
    change_head(**changes)
    run = only_run()
    assert run.refusal is not None
    assert told in run.refusal
    before = tree()
    with pytest.raises(StorageError, match="cannot be recovered"):
        recover(run, accept_failed=True)
    assert tree() == before


def test_a_run_on_another_machine_by_another_user_is_told_apart_and_recovered() -> None:
    killed()
    change_head(host="rig-3", user="somebody", output_dir="/gone")
    run = only_run()
    assert run.remarks == (
        "it ran on rig-3, not on this one: whether it still runs there cannot be seen from here",
        "somebody ran it",
        "its output folder was /gone then",
    )
    assert run.ending.startswith("It was killed, or its machine stopped; up to a second may be")
    accepted(run)


def test_a_machine_that_was_started_anew_since_is_told() -> None:
    killed()
    path = journal_file()
    year = f"{datetime.now(UTC).year}-"
    path.write_text(path.read_text().replace(year, "1999-"))
    assert only_run().ending.startswith("The machine was started anew since; up to a second may")


def test_a_run_that_goes_on_is_refused() -> None:
    with plain():
        double(1)
        run = only_run()
        assert run.refusal == (
            f"it is still running, as process {os.getpid()}; wait until it has ended"
        )
        with pytest.raises(StorageError, match="still running"):
            recover(run, accept_failed=True)
    assert find_runs(RESULTS.absolute()) == []


def test_a_dead_run_waits_until_another_has_left_the_folder() -> None:
    killed()
    with plain():
        runs = {run.asset.process_id: run for run in find_runs(RESULTS.absolute()) if run.asset}
        (dead,) = (run for process, run in runs.items() if process != os.getpid())
        assert dead.refusal is not None
        assert dead.refusal.startswith("the output folder is in use, by another run")
        with pytest.raises(StorageError, match="another run has the output folder"):
            recover(replace(dead, refusal=None), accept_failed=True)


def test_a_record_that_cannot_be_read_is_refused() -> None:
    killed()
    (journal_file().parent / "x.jsonl").mkdir()
    run = only_run()
    assert run.refusal is not None
    assert "its record cannot be read (Is a directory" in run.refusal
    assert "let the user who ran it recover it" in run.refusal


def test_a_folder_that_was_moved_is_recovered_where_it_is() -> None:
    killed()
    RESULTS.rename("moved")
    run = only_run(Path("moved"))
    assert any("its output folder was" in text for text in run.remarks)
    accepted(run)
    assert not RESULTS.exists()


def test_a_journal_that_went_on_in_the_users_own_folder_is_found() -> None:
    def body() -> None:
        with plain() as asset:
            double(1)
            shutil.rmtree(RESULTS)
            with track_process("second"):
                asset._run.journal.sync()  # as it is done every second
                kill()

    in_child(body)
    RESULTS.mkdir()
    run = only_run()
    assert "state/asset-provenance/runs" in str(run.places[0])
    assert list(accepted(run)) == ["double", "second"]
    assert find_runs(RESULTS.absolute()) == []
    assert not run.places[0].exists()


def test_a_journal_in_two_folders_is_one_run() -> None:
    killed()
    first = journal_file()
    other = Path(os.environ["HOME"]) / ".local/state/asset-provenance/runs" / first.parent.name
    shutil.copytree(first.parent, other)
    first.write_bytes(first.read_bytes()[:-400])  # the disk was full
    run = only_run()
    assert run.places == (first.parent.absolute(), other)
    assert list(accepted(run)) == ["double", "second"]
    assert not other.exists()


def test_several_runs_are_found_the_earliest_first() -> None:
    for day in (2, 1):
        killed(creation_time=f"2026-03-0{day}T00:00:00Z")
    times = [run.asset.creation_time.day for run in find_runs(RESULTS.absolute()) if run.asset]
    assert times == [1, 2]


def test_a_folder_without_runs_has_none() -> None:
    assert find_runs(Path("nowhere").absolute()) == []
    Path(".asset-provenance").write_text("a file")
    assert find_runs(Path.cwd()) == []


# What stands in the way


def test_metadata_of_a_later_run_are_not_replaced_unless_asked_for() -> None:
    killed(creation_time="2026-03-01T00:00:00Z")
    with plain(creation_time="2026-03-02T00:00:00Z"):
        pass
    before = tree()
    result = recover(only_run(), accept_failed=True)
    assert not result.is_written
    assert "holds the metadata of a later run, b_tuning_2026-03-02_00-00-00" in result.problems[0]
    assert tree() == before
    assert list(accepted(overwrite=True)) == ["double", "second"]


def test_files_that_are_not_ours_are_not_replaced_unless_asked_for() -> None:
    killed()
    (RESULTS / "subject.json").write_text("{}")
    assert "already holds subject.json" in recover(only_run(), accept_failed=True).problems[0]
    assert not (RESULTS / "processing.json").exists()
    assert recover(only_run(), accept_failed=True, overwrite=True).is_written


def test_metadata_of_an_earlier_run_of_the_same_process_are_replaced() -> None:
    with plain(creation_time="2026-03-01T00:00:00Z"):
        pass
    killed()
    assert list(accepted()) == ["double", "second"]


# Killed while the files were put into place


def stopped_while_written(moved: int) -> str:
    """Leave a run that was killed when so many of its files were in their places."""
    with plain(creation_time="2026-03-01T00:00:00Z"):
        pass
    killed()
    run = only_run()
    assembled = recover(run).assembled
    assert assembled is not None
    real = Path.replace
    count = 0

    def replace_some(self: Path, target: Path) -> Path:
        nonlocal count
        if "staged" in self.parts:
            count += 1
            if count > moved:
                kill()
        return real(self, target)

    def body() -> None:
        Path.replace = replace_some  # type: ignore[method-assign,assignment]
        write_set(
            run.output_dir,
            run.places[0],
            # A run that lasts for half a second also has a list of packages.
            [file for file in assembled.files if not file.path.startswith("provenance/")],
            header={**assembled.header, "run": run.id},
        )
        kill()

    assert in_child(body) == -signal.SIGKILL
    return run.id


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_set_that_was_begun_is_finished(moved: int) -> None:
    name = stopped_while_written(moved)
    run = only_run()
    assert run.refusal is not None
    assert "put into place, which has to be finished first" in run.refusal
    assert finish_written(RESULTS.absolute()) == [name]
    assert list(processes(RESULTS)) == ["double", "second"]
    assert find_runs(RESULTS.absolute()) == []
    assert not (RESULTS / ".asset-provenance").exists()
    validate_set(RESULTS)


def test_a_run_whose_set_is_in_place_has_only_its_record_removed() -> None:
    name = stopped_while_written(3)
    before = tree()
    assert find_runs(RESULTS.absolute()) == []
    assert finish_written(RESULTS.absolute()) == [name]
    assert tree() == {k: v for k, v in before.items() if not k.startswith(".asset-provenance")}


def test_a_set_is_not_finished_while_somebody_is_at_it() -> None:
    stopped_while_written(1)
    from asset_provenance.folder import OutputFolder

    own = OutputFolder(RESULTS.absolute())
    before = tree()
    assert finish_written(RESULTS.absolute()) == []
    assert tree() == before
    own.give_back()


def test_a_marker_that_leads_out_of_the_folder_is_refused() -> None:
    killed()
    run = only_run()
    (run.places[0] / "commit.json").write_text(
        json.dumps({"files": ["x/y"], "stale": [], "present": {}})
    )
    (RESULTS / "x").symlink_to("/tmp")
    with pytest.raises(StorageError, match="do not belong to the asset"):
        finish_written(RESULTS.absolute())


def test_a_run_that_somebody_else_recovered_meanwhile_is_gone() -> None:
    killed()
    run = only_run()
    accepted(run)
    with pytest.raises(StorageError, match="is not there any more"):
        recover(run, accept_failed=True)


# The command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Give what carries out the command, with its exit status and all that it printed."""

    def carry_out(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main(["recover", *arguments])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return carry_out


def test_the_command_shows_then_writes_then_has_nothing_to_do(command: Any) -> None:
    killed()
    run = only_run()
    status, told = command("results")
    assert status == 1
    assert "It would become b_tuning_" in told
    assert "completed   double" in told
    assert "interrupted second" in told
    line = f"asset-provenance recover {RESULTS.absolute()} --accept-failed --run {run.id}"
    assert line in told
    status, told = command("results", "--accept-failed")
    assert status == 0
    assert "Wrote b_tuning_" in told
    before = tree()
    assert command("results", "--accept-failed") == (0, "results: nothing to recover\n")
    assert tree() == before


def test_the_command_takes_missing_facts(command: Any) -> None:
    def body() -> None:
        with DerivedAsset("tuning", **PEOPLE):
            kill()

    in_child(body)
    status, told = command("results", "--accept-failed")
    assert status == 1
    assert "- project_name is missing" in told
    assert "inputs with --inputs INPUT, and a base name with --base-name." in told
    facts = {"project_name": "P", "investigators": "A B", "funding_source": "AI"}
    given = [f"--set={name}={value}" for name, value in {**facts, "modalities": "ecephys"}.items()]
    status, _ = command("results", "--accept-failed", *given, "--base-name", "b")
    assert status == 0
    validate_set(RESULTS)


def test_the_command_tells_that_inputs_are_not_known_and_takes_them(
    command: Any, data_root: Path
) -> None:
    raw = make_asset(data_root)

    def body() -> None:
        with DerivedAsset("tuning", **PEOPLE):
            kill()

    in_child(body)
    _, told = command("results")
    problems = [line for line in told.splitlines() if line.strip().startswith("- ")]
    assert "no input asset is known: the record tells of nothing below" in problems[0]
    assert "may lack the last second" in problems[0]
    status, _ = command("results", "--accept-failed", "--inputs", RAW)
    assert status == 0
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]
    assert (RESULTS / "subject.json").read_bytes() == (raw / "subject.json").read_bytes()


def test_the_command_writes_one_of_several_runs_that_is_named(command: Any) -> None:
    for day in (1, 2):
        killed(creation_time=f"2026-03-0{day}T00:00:00Z")
    first, second = find_runs(RESULTS.absolute())
    status, told = command("results", "--accept-failed")
    assert (status, find_runs(RESULTS.absolute())) == (2, [first, second])
    assert f"say which: --run {first.id} or --run {second.id}" in told
    status, told = command("results", "--run", "x")
    assert status == 2
    assert f"there is no run x to recover; there are: {first.id}, {second.id}" in told
    assert command("results", "--accept-failed", "--run", second.id)[0] == 1
    assert find_runs(RESULTS.absolute()) == [first]


def test_the_command_tells_why_a_run_cannot_be_recovered(command: Any) -> None:
    killed()
    change_head(version=99)
    status, told = command("results", "--accept-failed")
    assert status == 1
    assert "It cannot be recovered: its record is of version 99" in told
    status, told = command("results", "--accept-failed", "--run", only_run().id)
    assert status == 2
    assert "cannot be recovered: its record is of version 99" in told


def test_the_command_finishes_a_set_first(command: Any) -> None:
    name = stopped_while_written(1)
    status, told = command("results")
    assert status == 0
    assert told == (f"run {name}: its metadata were put into place\nresults: nothing to recover\n")


def test_the_command_gives_json(command: Any) -> None:
    killed()
    status, told = command("results", "--json")
    (found,) = json.loads(told)["runs"]
    assert (status, found["written"], found["refusal"], found["problems"]) == (1, False, None, [])
    assert [item["status"] for item in found["processes"]] == ["completed", "interrupted"]
    files = [item["path"] for item in found["files"]]
    assert files[:2] == ["data_description.json", "processing.json"]
    assert found["run"]["process_name"] == "tuning"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "there is no folder nowhere"),
        ([".", "--set", "x=1"], "'x' cannot be set"),
        ([], "Missing argument 'DIR'"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(
    command: Any, arguments: list[str], told: str
) -> None:
    status, printed = command(*arguments)
    assert status == 2
    assert told in printed
