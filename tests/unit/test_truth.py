"""What a record says is what happened, whoever calls from where, and nothing of it is lost."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aind_data_schema.components.identifiers import DataAsset

from asset_provenance import (
    DerivedAsset,
    PreflightError,
    StorageError,
    UsageError,
    current_process,
    track_process,
)
from asset_provenance.recorder import open_recorders
from helpers.assets import FACTS, PEOPLE, RAW, graph, make_asset, processes, read_json

RESULTS = Path("results")
CANARY = "canary-tok3n-9x"


@track_process
def double(x: int) -> int:
    return 2 * x


@pytest.fixture
def raw(data_root: Path) -> Path:
    return make_asset(data_root)


def plain(name: str = "test", **options: Any) -> DerivedAsset:
    return DerivedAsset(name, inputs=(), base_name="b", **FACTS, **PEOPLE, **options)


# Inputs, however they are named


@pytest.mark.parametrize(
    "named",
    [
        lambda folder: DataAsset(name=RAW),
        lambda folder: f"s3://aind-open-data/{RAW}",
        lambda folder: [folder, RAW, f"s3://aind-open-data/{RAW}/x"],
    ],
)
def test_one_asset_is_one_input_however_it_is_named(raw: Path, named: Any) -> None:
    with DerivedAsset("tuning", inputs=named(raw), **PEOPLE):
        double(1)
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]
    assert (RESULTS / "subject.json").read_bytes() == (raw / "subject.json").read_bytes()


def test_naming_an_input_again_while_it_runs_changes_nothing(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE) as asset:
        asset.add_inputs(f"s3://aind-open-data/{RAW}")
    assert "no longer share" not in caplog.text
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]


def test_the_path_argument_of_a_decorated_main_is_its_input(raw: Path) -> None:
    @DerivedAsset("tuning", **PEOPLE)
    def main(folder: Path) -> None: ...

    main(raw)
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]
    assert (RESULTS / "subject.json").exists()


def test_paths_inside_a_declared_input_belong_to_it_wherever_it_lies(tmp_path: Path) -> None:
    folder = make_asset(tmp_path / "elsewhere", mount="mount")

    @track_process
    def fit(path: Path) -> None: ...

    with DerivedAsset("tuning", inputs=folder, **PEOPLE):
        fit(folder / "subject.json")
    assert [item["name"] for item in processes(RESULTS)["fit"]["code"]["input_data"]] == [RAW]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_input_that_only_a_forked_worker_used_is_inherited_from(raw: Path) -> None:
    @track_process
    def fit(path: Path) -> None: ...

    with DerivedAsset("tuning", **PEOPLE):
        if (child := os.fork()) == 0:
            fit(raw)
            os._exit(0)
        os.waitpid(child, 0)
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_killed_worker_had_begun_is_interrupted_not_lost(raw: Path) -> None:
    @track_process
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with DerivedAsset("tuning", inputs=raw, **PEOPLE) as asset:
        if (child := os.fork()) == 0:
            die()
        os.waitpid(child, 0)
    (record,) = asset.records
    assert (record.name, record.status) == ("die", "interrupted")
    assert "ended before it had" in processes(RESULTS)["die"]["notes"]


# Files


@pytest.mark.parametrize("name", ["processing.json", "subject.json"])
def test_a_metadata_file_that_the_run_itself_wrote_is_never_replaced(raw: Path, name: str) -> None:
    with pytest.raises(StorageError, match=f"now holds {name}"):
        with DerivedAsset("tuning", inputs=raw, strict=True, **PEOPLE) as asset:
            (asset.output_dir / name).write_text('{"mine": 1}')
    assert (RESULTS / name).read_text() == '{"mine": 1}'
    assert not (RESULTS / "data_description.json").exists()


# Code, threads, calls


def test_a_block_entered_by_an_exit_stack_has_the_code_of_who_called() -> None:
    with contextlib.ExitStack() as stack:
        asset = stack.enter_context(plain())
        stack.enter_context(track_process("step"))
    (record,) = asset.records
    assert record.code is not None
    assert (record.code.run_script or "").endswith("test_truth.py")


def test_one_block_object_entered_in_two_threads_keeps_their_records_apart() -> None:
    step = track_process("step")
    first_in, second_done = threading.Event(), threading.Event()

    def first() -> None:
        with pytest.raises(ValueError, match="mine"), step as process:
            process.add_note("first")
            first_in.set()
            second_done.wait(10)
            raise ValueError("mine")

    with plain() as asset:
        thread = threading.Thread(target=first)
        thread.start()
        first_in.wait(10)
        with step as process:
            process.add_note("second")
        second_done.set()
        thread.join()
    assert {record.notes: record.status for record in asset.records} == {
        ("first",): "failed",
        ("second",): "completed",
    }


def test_a_main_that_two_threads_call_is_two_assets(raw: Path) -> None:
    barrier = threading.Barrier(2)

    @DerivedAsset("t", inputs=raw, output_dir=lambda arguments: arguments["label"], **PEOPLE)
    def main(label: str) -> None:
        barrier.wait(10)
        with track_process(label):
            barrier.wait(10)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(main, ["one", "two"]))
    for label in ("one", "two"):
        assert list(processes(Path(label))) == [label]


def test_calls_of_threads_belong_to_the_asset_that_started_them_beside_another(raw: Path) -> None:
    barrier = threading.Barrier(2)

    def one_asset(label: str) -> Any:
        with DerivedAsset("t", inputs=raw, output_dir=label, **PEOPLE) as asset:
            barrier.wait(10)
            thread = threading.Thread(target=double, args=(len(label),))
            thread.start()
            thread.join()
            barrier.wait(10)
        return [record.parameters for record in asset.records]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one_asset, ["a", "bb"])) == [[{"x": 1}], [{"x": 2}]]


def test_calls_of_a_thread_from_before_are_not_given_to_one_of_two_assets_by_guess(
    raw: Path,
) -> None:
    both_open, called = threading.Barrier(3), threading.Barrier(3)

    def wait_and_call() -> None:
        both_open.wait(10)
        double(1)
        called.wait(10)

    def one_asset(label: str) -> Any:
        with DerivedAsset("t", inputs=raw, output_dir=label, **PEOPLE) as asset:
            both_open.wait(10)
            called.wait(10)
        return asset.records

    thread = threading.Thread(target=wait_and_call)
    thread.start()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one_asset, ["one", "two"])) == [(), ()]
    thread.join()


def test_partial_coroutines_and_generators_are_recorded() -> None:
    def count(stop: int) -> Iterator[int]:
        yield from range(stop)

    with plain() as asset:
        assert list(track_process("count")(functools.partial(count, 3))()) == [0, 1, 2]
    assert [record.name for record in asset.records] == ["count"]


def test_a_decorator_that_adds_arguments_neither_breaks_nor_falsifies(
    tmp_path: Path,
) -> None:
    def inject(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(x: int) -> Any:
            return function("connection", x)

        return wrapper

    @track_process
    @inject
    def query(connection: str, x: int, y: int = 2) -> tuple[str, int, int]:
        return connection, x, y

    with plain() as asset:
        assert query(3) == ("connection", 3, 2)
    assert asset.records[0].parameters == {"x": 3}


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": lambda arguments: lambda: 1},
        {"inputs": lambda arguments: "/no/where"},
        {"outputs": lambda arguments: "a\0b"},
        {"outputs": lambda arguments: "/etc/passwd"},
        {"parameters": lambda arguments: 5},
    ],
)
def test_what_a_user_s_function_gives_never_ends_the_run(
    options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @track_process(**options)
    def work(x: int) -> int:
        return x

    with plain():
        assert work(7) == 7
    assert "could not be recorded" in caplog.text


def test_odd_path_arguments_of_a_decorated_main_do_no_harm() -> None:
    class Odd:
        def __fspath__(self) -> str:
            raise RuntimeError

    os.PathLike.register(Odd)

    @plain()
    def main(*paths: object) -> int:
        return len(paths)

    assert main(Path("a\0b"), Odd(), "x" * 10_000) == 3


def test_a_wrong_call_of_a_decorated_main_raises_what_python_raises(raw: Path) -> None:
    @DerivedAsset("t", inputs=lambda arguments: arguments["session"], **PEOPLE)
    def main(session: str) -> None: ...

    with pytest.raises(TypeError, match="session"):
        main()  # type: ignore[call-arg]
    assert not RESULTS.exists()


def test_functions_for_the_run_that_fail_are_told_before_it_starts() -> None:
    @DerivedAsset("t", inputs=lambda arguments: arguments["sesion"], **PEOPLE)
    def main(session: str) -> None: ...

    with pytest.raises(UsageError, match="inputs could not be made from the arguments session"):
        main("x")
    with pytest.raises(UsageError, match="a block has no arguments"):
        DerivedAsset("t", inputs=lambda arguments: "x", **PEOPLE).start()
    with pytest.raises(UsageError, match=r"@DerivedAsset\(\"my-label\"\)"):
        DerivedAsset(main)  # type: ignore[arg-type]


def test_the_self_of_a_decorated_method_is_no_parameter() -> None:
    class Analysis:
        @plain(output_dir="out")
        def run(self, n: int) -> int:
            return n

    assert Analysis().run(3) == 3
    assert processes(Path("out"))["test"]["code"]["parameters"] == {"n": 3}


def test_the_command_line_is_kept_when_steps_are_tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--threshold", "5", "--token", CANARY, "\udcff"])
    with plain():
        double(1)
    notes = read_json(RESULTS / "processing.json")["notes"]
    assert '"--threshold", "5", "--token", "[redacted]"' in notes


# Nothing of ours changes the user's program


def test_a_record_that_cannot_be_journaled_neither_masks_an_exception_nor_stays_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Odd:
        name = "group"
        assets = (DataAsset(name="member"),)
        description = object()
        database_identifier = {"x": {object()}}  # noqa: RUF012

    @track_process(
        inputs=[Odd()],  # type: ignore[list-item]
        code={"url": "https://example.org/a", "container": {"container_type": {1}}},
    )
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), plain(on_failure="write"):
        fail()
    assert open_recorders == []
    with plain(overwrite=True):
        double(1)


def test_the_user_s_warning_filters_are_as_before() -> None:
    before = list(warnings.filters)
    with plain():
        double(1)
    assert warnings.filters == before


def test_a_home_folder_that_may_not_be_read_is_no_trouble(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    home = tmp_path / "home" / ".config"
    home.mkdir()
    os.chmod(tmp_path / "home", 0o700)
    with plain(output_dir="before"):  # so that what Python needs is loaded while it may be read
        double(1)
    child = os.fork()
    if child == 0:
        os.chmod(Path.cwd(), 0o777)
        # Those that pytest made for itself alone; each of its workers has one more.
        for folder in [tmp_path, *tmp_path.parents][:4]:
            if not folder.stat().st_mode & stat.S_IXOTH:
                os.chmod(folder, 0o755)
        os.setuid(65534)
        try:
            with plain():
                double(1)
            os._exit(0)
        except BaseException:  # noqa: BLE001
            import traceback

            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_v1_input_that_nothing_is_inherited_from_is_not_upgraded(data_root: Path) -> None:
    folder = data_root / "old"
    folder.mkdir()
    (folder / "data_description.json").write_text('{"schema_version": "1.0.0", "broken": true}')
    with DerivedAsset("t", inputs="old", inherit="none", base_name="b", **FACTS, **PEOPLE):
        pass
    assert read_json(RESULTS / "data_description.json")["source_data"] == ["old"]


def test_an_optional_fact_of_an_input_that_is_malformed_is_left_out(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_asset(data_root, tags=["good", ""])
    with DerivedAsset("t", inputs=RAW, **PEOPLE):
        pass
    assert read_json(RESULTS / "data_description.json")["tags"] is None
    assert "tags of input" in caplog.text


def test_a_required_fact_of_an_input_that_is_malformed_says_how_to_give_it(
    data_root: Path,
) -> None:
    make_asset(data_root, project_name="bad/name")
    with pytest.raises(PreflightError, match=r"project_name of input .* ASSET_PROVENANCE_PROJECT"):
        DerivedAsset("t", inputs=RAW, **PEOPLE).start()


# Secrets


def test_no_secret_given_anywhere_reaches_a_file_or_a_message(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], data_root: Path
) -> None:
    url = f"https://user:{CANARY}@host.org/x"
    facts = {**FACTS, "pipelines": [{
        "name": "p", "url": url, "version": "1", "parameters": {"api_key": CANARY, "u": url},
    }]}  # fmt: skip

    @track_process(
        f"sort {url}",
        inputs=[DataAsset(name=url), f"s3://AKIA:{CANARY}@bucket/asset/x", url],
        outputs=[url],
        notes=url,
        code={"url": url, "container": {"container_type": "x", "tag": url, "uri": url}},
    )
    def work(password: str) -> None:
        current_process().add_note(url)
        current_process().add_results(token=CANARY, text=url)

    with DerivedAsset(
        "test",
        inputs=(),
        base_name="b",
        parameters={"secret": CANARY},
        data_summary=f"Downloaded from {url}?token={CANARY}",
        restrictions=url,
        tags=[url],
        **facts,
        **PEOPLE,
    ) as asset:
        work(CANARY)
        for text in (f"{'y' * 950} {url}", f"token={CANARY}"):
            with contextlib.suppress(ValueError), track_process("fail"):
                raise ValueError(text)
        assert asset._run is not None
        journal = b"".join(p.read_bytes() for p in asset._run.journal.folder.glob("*"))
        for value in (f"{url}\n", f"s3://x:{CANARY}@"):
            with pytest.raises(UsageError) as caught:
                asset.add_inputs(value)
            assert CANARY not in str(caught.value)
    written = b"".join(path.read_bytes() for path in RESULTS.rglob("*") if path.is_file())
    assert b"host.org" in written
    out, err = capfd.readouterr()
    for text in (journal, written, caplog.text.encode(), out.encode(), err.encode()):
        assert CANARY.encode() not in text
    assert "sort" in json.dumps(graph(RESULTS))
