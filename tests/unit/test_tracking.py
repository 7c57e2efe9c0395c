"""What a tracked call records, and what it leaves alone."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import (
    ActiveProcess,
    DerivedAsset,
    ProcessRecord,
    UsageError,
    current_process,
    track_process,
)
from asset_provenance.records import InputRef, ProcessStatus
from helpers.assets import FACTS, PEOPLE, RAW, make_asset


@pytest.fixture
def asset() -> Iterator[DerivedAsset]:
    opened = DerivedAsset(
        "test", inputs=(), base_name="base", parameters={}, **FACTS, **PEOPLE
    ).start()
    yield opened
    if opened._run is not None and opened._run.is_open:
        opened.finish()


def last(asset: DerivedAsset) -> ProcessRecord:
    return asset.records[-1]


@track_process
def scale(
    values: list[int], factor: float = 2.0, *extra: int, unit: str = "mV", **more: Any
) -> Any:
    """Scale values."""
    return [value * factor for value in values]


class Sorter:
    @track_process
    def sort(self, threshold: float, *, sign: int = -1) -> float:
        return threshold * sign

    @classmethod
    @track_process
    def outer_class(cls, x: int) -> int:
        return x

    @track_process
    @classmethod
    def inner_class(cls, x: int) -> int:
        return x

    @staticmethod
    @track_process
    def outer_static(x: int) -> int:
        return x

    @track_process
    @staticmethod
    def inner_static(x: int) -> int:
        return x


# Invariant 1: user code's result, exception, signature and arguments are never changed


def test_signature_docstring_and_identity_are_kept() -> None:
    def plain(a: int, /, b: str = "x", *, c: float) -> None:
        """Do it."""

    tracked = track_process(plain)
    assert inspect.signature(tracked) == inspect.signature(plain)
    assert (tracked.__name__, tracked.__doc__) == ("plain", "Do it.")
    assert tracked.__annotations__ == plain.__annotations__
    assert inspect.isfunction(tracked)
    assert isinstance(tracked, type(plain))


def test_the_result_and_the_arguments_are_the_very_same_objects(asset: DerivedAsset) -> None:
    marker = object()

    @track_process
    def same(value: object) -> object:
        return value

    assert same(marker) is marker


def test_an_exception_goes_on_unchanged_and_the_process_is_failed(asset: DerivedAsset) -> None:
    error = ValueError("no spikes\nat all, token=canary")

    @track_process
    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="no spikes") as caught:
        fail()
    assert caught.value is error
    assert last(asset).status is ProcessStatus.FAILED
    assert last(asset).error == "ValueError: no spikes at all, token=[redacted]"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2), SystemExit("why")])
def test_interrupts_and_exits_are_failures_too(asset: DerivedAsset, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, track_process("step"):
        raise error
    assert caught.value is error
    assert last(asset).status is ProcessStatus.FAILED
    assert (last(asset).error or "").startswith(type(error).__name__)


def test_exit_status_zero_completes_a_process(asset: DerivedAsset) -> None:
    with pytest.raises(SystemExit), track_process("step"):
        sys.exit(0)
    assert last(asset).status is ProcessStatus.COMPLETED
    assert last(asset).notes == ("Ended by sys.exit with status 0.",)


def test_an_exception_whose_text_cannot_be_had_is_still_recorded(asset: DerivedAsset) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(Odd), track_process("step"):
        raise Odd
    assert last(asset).error == "Odd"


def test_a_call_that_does_not_fit_raises_what_python_raises(asset: DerivedAsset) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'values'"):
        scale()  # type: ignore[call-arg]
    assert last(asset).status is ProcessStatus.FAILED


def test_decorated_functions_and_methods_pickle_and_copy_like_plain_ones() -> None:
    assert pickle.loads(pickle.dumps(scale)) is scale
    assert copy.deepcopy(scale) is scale
    bound = pickle.loads(pickle.dumps(Sorter().sort))
    assert bound(2.0) == -2.0


# Outside an asset


def test_nothing_happens_outside_an_asset(tmp_path: Path) -> None:
    assert scale([1, 2]) == [2.0, 4.0]
    with track_process("block", parameters={"a": 1}) as process:
        process.add_note("ignored")
    process = current_process()
    process.add_inputs("x")
    process.add_outputs("y")
    process.add_parameters(a=1)
    process.add_results(b=2)
    process.add_note("ignored")
    assert isinstance(process, ActiveProcess)
    assert list(Path.cwd().iterdir()) == []


# What is recorded


def test_every_argument_is_recorded_with_its_default(asset: DerivedAsset) -> None:
    scale([1], 3.0, 7, 8, unit="uV", gain=2)
    assert last(asset).parameters == {
        "values": [1],
        "factor": 3.0,
        "extra": [7, 8],
        "unit": "uV",
        "gain": 2,
    }
    scale([1])
    assert (last(asset).parameters or {})["unit"] == "mV"


def test_times_are_aware_and_in_order(asset: DerivedAsset) -> None:
    with track_process("outer"), track_process("inner"):
        pass
    outer, inner = asset.records
    assert outer.end_date_time is not None
    assert inner.end_date_time is not None
    assert outer.start_date_time <= inner.start_date_time <= inner.end_date_time
    assert inner.end_date_time <= outer.end_date_time
    assert outer.start_date_time.tzinfo is not None


@pytest.mark.parametrize("kind", ["instance", "class"])
@pytest.mark.parametrize("name", ["outer_class", "inner_class", "outer_static", "inner_static"])
def test_class_and_static_methods_are_recorded_without_cls(
    asset: DerivedAsset, name: str, kind: str
) -> None:
    owner = Sorter() if kind == "instance" else Sorter
    assert getattr(owner, name)(5) == 5
    assert (last(asset).name, last(asset).parameters) == (name, {"x": 5})


@pytest.mark.parametrize("bound", [True, False])
def test_methods_are_recorded_without_self(asset: DerivedAsset, bound: bool) -> None:
    sorter = Sorter()
    result = sorter.sort(3.0) if bound else Sorter.sort(sorter, 3.0)
    assert result == -3.0
    assert last(asset).parameters == {"threshold": 3.0, "sign": -1}


def test_a_function_put_into_a_class_later_is_a_method_there(asset: DerivedAsset) -> None:
    @track_process
    def depth(self: object, x: int) -> int:
        return x

    class Probe:
        pass

    Probe.depth = depth  # type: ignore[attr-defined]
    assert Probe().depth(4) == 4  # type: ignore[attr-defined]
    assert last(asset).parameters == {"x": 4}


def test_name_type_stage_and_notes_are_recorded(asset: DerivedAsset) -> None:
    @track_process("spikes", process_type="Spike sorting", notes="By hand: password=canary")
    def sort() -> None: ...

    @track_process(process_type="Other", stage="Processing")
    def other() -> None: ...

    sort()
    other()
    one, two = asset.records
    assert (one.name, one.process_type, one.stage) == ("spikes", "Spike sorting", "Processing")
    assert one.notes == ("By hand: password=[redacted]",)
    assert (two.name, two.process_type, two.stage) == ("other", "Other", "Processing")
    with track_process("plain"):
        pass
    assert last(asset).stage == "Analysis"


def test_arguments_are_left_out_redacted_or_replaced_as_asked(asset: DerivedAsset) -> None:
    @track_process(exclude="big", redact=("where",))
    def load(big: list[int], where: str, api_key: str = "canary", n_tokens: int = 5) -> None: ...

    load([1], "canary")
    assert last(asset).parameters == {
        "where": "[redacted]",
        "api_key": "[redacted]",
        "n_tokens": 5,
    }

    @track_process(parameters=False)
    def none(x: int) -> None: ...

    none(1)
    assert last(asset).parameters is None

    @track_process(parameters={"version": 3})
    def fixed(x: int) -> None: ...

    fixed(1)
    assert last(asset).parameters == {"version": 3}

    @track_process(parameters=lambda arguments: {"twice": arguments["x"] * 2})
    def computed(x: int) -> None: ...

    computed(4)
    assert last(asset).parameters == {"twice": 8}


def test_declared_inputs_and_outputs_are_recorded(asset: DerivedAsset, data_root: Path) -> None:
    make_asset(data_root)

    @track_process(inputs=[RAW, "s3://bucket/other/x.dat"], outputs=["a/b.csv", Path("a/c.csv")])
    def fit() -> None: ...

    fit()
    assert last(asset).inputs == (
        InputRef(name=RAW),
        InputRef(name="other", url="s3://bucket/other"),
    )
    assert last(asset).outputs == ("a/b.csv", "a/c.csv")


def test_inputs_and_outputs_may_be_functions_of_the_bound_arguments(
    asset: DerivedAsset, data_root: Path
) -> None:
    make_asset(data_root)

    @track_process(
        inputs=lambda arguments: arguments["source"],
        outputs=lambda arguments: f"{arguments['label']}/fit.csv",
    )
    def fit(source: str, label: str = "left") -> None: ...

    fit(RAW)
    assert last(asset).inputs == (InputRef(name=RAW),)
    assert last(asset).outputs == ("left/fit.csv",)


def test_a_function_of_the_arguments_that_fails_costs_its_own_fact_only(
    asset: DerivedAsset, caplog: pytest.LogCaptureFixture
) -> None:
    @track_process(inputs=lambda arguments: arguments["sorce"])
    def fit(source: str) -> int:
        return 7

    assert fit("x") == 7
    assert last(asset).parameters == {"source": "x"}
    assert "the inputs (from the arguments source) of process fit" in caplog.text
    assert "could not be recorded: KeyError: 'sorce'" in caplog.text


def test_path_arguments_below_the_data_root_are_inputs(
    asset: DerivedAsset, data_root: Path
) -> None:
    folder = make_asset(data_root)

    @track_process
    def fit(path: object, *others: object) -> None: ...

    fit(folder / "subject.json", str(data_root), "no/such/file", str(data_root / "missing"))
    assert last(asset).inputs == (InputRef(name=RAW),)
    fit([str(folder)])
    assert last(asset).inputs == (InputRef(name=RAW),)


def test_code_given_by_hand_is_taken_without_its_credentials(asset: DerivedAsset) -> None:
    @track_process(code="https://canary:x@github.com/lab/sorter.git@v1.2")
    def fit() -> None: ...

    fit()
    code = last(asset).code
    assert code is not None
    assert (code.url, code.version) == ("https://github.com/lab/sorter", "v1.2")


def test_the_handle_adds_to_the_innermost_process(asset: DerivedAsset, data_root: Path) -> None:
    make_asset(data_root)

    @track_process
    def inner() -> None:
        process = current_process()
        process.add_inputs(RAW)
        process.add_outputs("x.csv")
        process.add_parameters(seed=3)
        process.add_results(units=12)
        process.add_note("fine")

    with track_process("outer") as outer:
        inner()
        outer.add_note("outer")
    first, second = asset.records
    assert (first.notes, second.parent_id) == (("outer",), first.id)
    assert second.inputs == (InputRef(name=RAW),)
    assert second.outputs == ("x.csv",)
    assert second.parameters == {"seed": 3}
    assert second.results == {"units": 12}
    assert second.notes == ("fine",)


def test_a_handle_cannot_be_used_after_its_process_has_ended(asset: DerivedAsset) -> None:
    with track_process("step") as process:
        pass
    with pytest.raises(UsageError, match="the process step has ended"):
        process.add_note("too late")


def test_a_block_takes_its_parameters_in_every_usual_form(asset: DerivedAsset) -> None:
    with track_process("step", parameters={"a": 1, "token": "canary"}):
        pass
    assert last(asset).parameters == {"a": 1, "token": "[redacted]"}
    with pytest.raises(UsageError), track_process("step", parameters=5):
        pass


def test_one_block_object_can_be_used_nested_and_as_decorator(asset: DerivedAsset) -> None:
    step = track_process("step")

    @step
    def function() -> None: ...

    with step, step:
        function()
    outer, inner, call = asset.records
    assert (inner.parent_id, call.parent_id) == (outer.id, inner.id)


def test_a_call_in_a_thread_belongs_to_the_open_asset(asset: DerivedAsset) -> None:
    thread = threading.Thread(target=scale, args=([1],))
    thread.start()
    thread.join()
    assert [record.name for record in asset.records] == ["scale"]


def test_what_still_runs_when_the_asset_closes_is_interrupted(asset: DerivedAsset) -> None:
    started, go_on = threading.Event(), threading.Event()

    @track_process
    def wait() -> None:
        started.set()
        go_on.wait(10)

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait(10)
    asset.finish()
    go_on.set()
    thread.join()
    assert last(asset).status is ProcessStatus.INTERRUPTED
    assert last(asset).notes == ("Still running when the asset was closed.",)


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"process_type": "spike sorting"}, "did you mean 'Spike sorting'"),
        ({"process_type": 3}, "must be a ProcessName or its value"),
        ({"stage": "analysis"}, "one of Processing and Analysis"),
        ({"outputs": "../elsewhere"}, "outside the asset's output folder"),
        ({"outputs": 3}, "an output must be a path"),
        ({"code": 5}, "url@version"),
        ({"notes": 5}, "notes must be a text"),
        ({"exclude": [1]}, "names of arguments"),
    ],
)
def test_a_mistake_is_told_when_the_function_is_decorated(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        track_process("step", **options)


def test_a_misspelled_argument_to_leave_out_is_told_at_once() -> None:
    with pytest.raises(UsageError, match="no argument of load; did you mean 'password_file'"):

        @track_process(redact="pasword_file")
        def load(password_file: str) -> None: ...


def test_a_name_must_be_a_text() -> None:
    with pytest.raises(UsageError, match="name of a process"):
        track_process(5)  # type: ignore[call-overload]


def test_a_block_needs_a_name(asset: DerivedAsset) -> None:
    with pytest.raises(UsageError, match="a block needs a name"), track_process():
        pass


def test_a_block_has_no_arguments_for_functions(asset: DerivedAsset) -> None:
    with pytest.raises(UsageError, match="a block has no arguments"):
        with track_process("step", inputs=lambda arguments: "x"):
            pass


def test_a_class_is_refused() -> None:
    with pytest.raises(UsageError, match="decorate the method"):
        track_process(Sorter)


@pytest.mark.parametrize("bad", ["/etc/passwd", "a/../../b"])
def test_an_output_outside_the_asset_is_told_when_it_is_said(asset: DerivedAsset, bad: str) -> None:
    with pytest.raises(UsageError, match="outside"):
        current_process().add_outputs(bad)
    ran = []

    with pytest.raises(UsageError, match="outside"):

        @track_process(outputs=bad)
        def save() -> None:
            ran.append(1)

        save()
    assert ran == []


def test_an_input_path_that_does_not_exist_is_told_before_the_function_runs(
    asset: DerivedAsset,
) -> None:
    ran = []

    @track_process(inputs="/nowhere/at/all")
    def fit() -> None:
        ran.append(1)

    with pytest.raises(UsageError, match="/nowhere/at/all does not exist"):
        fit()
    assert ran == []


def test_a_note_must_be_a_text(asset: DerivedAsset) -> None:
    with track_process("step") as process, pytest.raises(UsageError, match="must be a text"):
        process.add_note(5)  # type: ignore[arg-type]
