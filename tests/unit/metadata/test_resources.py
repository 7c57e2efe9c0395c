"""What the schema says of a process's resources, and how little of a file the series take."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aind_data_schema.components.identifiers import Code
from aind_data_schema.core.processing import DataProcess, Processing, ResourceUsage
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_provenance.metadata.resources import (
    SERIES_BYTES,
    fit_series,
    points_in,
    resource_notes,
    resource_usage,
)
from asset_provenance.records import ResourceRecord

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
GIB = 2**30


def record(points: int = 0, seconds: float = 100.0, **facts: Any) -> ResourceRecord:
    times = [round(seconds * (number + 1) / points, 2) for number in range(points)]
    return ResourceRecord(
        os="Ubuntu 22.04",
        architecture="x86_64",
        cpu="Fast CPU",
        cpu_cores=8,
        ram=64 * GIB,
        cpu_usage=tuple((at, 100 + 50 * math.sin(at)) for at in times),
        ram_usage=tuple((at, float(at * 1e6 + 8 * GIB)) for at in times),
        **facts,
    )


def written(usages: list[ResourceUsage | None]) -> str:
    """Give the file that holds processes of these resources."""
    processes = [
        DataProcess(
            process_type="Analysis",
            name=f"step-{number}",
            stage="Processing",
            code=Code(url="https://example.org/code", version="1"),
            experimenters=["Example Researcher"],
            start_date_time=START,
            end_date_time=START + timedelta(seconds=100),
            resources=usage,
        )
        for number, usage in enumerate(usages)
    ]
    graph: dict[str, list[str]] = {process.name: [] for process in processes}
    text: str = Processing(data_processes=processes, dependency_graph=graph).model_dump_json(
        indent=3
    )
    return text


def test_the_facts_of_the_machine_stand_with_their_units() -> None:
    usage = resource_usage(record(gpu="NVIDIA H100"), START)

    assert (usage.os, usage.architecture, usage.cpu) == ("Ubuntu 22.04", "x86-64", "Fast CPU")
    assert (usage.cpu_cores, usage.gpu) == (8, "NVIDIA H100")
    assert (usage.ram, usage.ram_unit) == (68.72, "Gigabyte")
    assert (usage.cpu_usage, usage.ram_usage, usage.gpu_usage) == (None, None, None)


def test_a_machine_of_which_little_is_known_is_described_as_far_as_it_is() -> None:
    usage = resource_usage(
        ResourceRecord(os="Plan 9", architecture="vax", ram_usage=((1.0, 5.0),)), START
    )

    assert (usage.os, usage.architecture) == ("Plan 9", "vax")
    assert (usage.ram, usage.ram_unit, usage.ram_usage) == (None, None, None)


def test_series_have_times_and_percentages_and_say_of_what() -> None:
    one = ResourceRecord(
        os="Ubuntu 22.04",
        architecture="aarch64",
        ram=64 * GIB,
        cpu_usage=((0.5, 250.0), (1.25, 99.5)),
        ram_usage=((0.5, 16.0 * GIB),),
        gpu_usage=((2.0, 40.0),),
    )

    usage = resource_usage(one, START)

    assert [(each.timestamp, each.usage) for each in usage.cpu_usage or ()] == [
        (START + timedelta(seconds=0.5), 250.0),
        (START + timedelta(seconds=1.25), 99.5),
    ]
    assert [each.usage for each in usage.ram_usage or ()] == [25.0]
    assert [each.usage for each in usage.gpu_usage or ()] == [40.0]
    assert usage.architecture == "Arm64"
    assert usage.usage_unit == (
        "percent (cpu_usage: of one core; ram_usage: of ram; gpu_usage: of one GPU)"
    )


def test_notes_tell_of_gpu_memory_and_of_a_gpu_that_others_may_have_used() -> None:
    assert resource_notes(record()) == []
    assert resource_notes(record(gpu_memory=3_210_000_000, gpu_is_whole=True)) == [
        "At most 3.2 GB of GPU memory was used.",
        "The use of the GPU is that of all programs on it: its driver did not tell them apart.",
    ]


@pytest.mark.parametrize(("count", "points"), [(1, 100), (4, 100), (30, 100), (100, 10), (400, 99)])
def test_all_series_of_a_file_share_its_bound(count: int, points: int) -> None:
    usages = [resource_usage(record(points, 100.0 + number), START) for number in range(count)]

    fitted = fit_series(usages)

    bare = [usage.model_copy(update={"cpu_usage": None, "ram_usage": None}) for usage in usages]
    taken = len(written(fitted.usages)) - len(written(bare))
    assert taken <= SERIES_BYTES
    wanted = count * points * 2
    assert points_in(fitted.usages) >= min(wanted, 900)  # and what there is, is used
    assert points_in(usages) == wanted  # those given are as they were


def test_few_series_stay_whole_and_a_short_one_is_not_cut_for_the_long_ones() -> None:
    few = [resource_usage(record(100), START) for _ in range(4)]
    assert fit_series(few).usages == few

    short = resource_usage(record(5, 12.0), START)
    many = [resource_usage(record(100), START) for _ in range(30)]
    assert fit_series([*many, short]).usages[-1] == short


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.integers(0, 1200))
def test_each_series_that_is_kept_has_its_first_last_and_peak(
    lengths: list[int], taken: int
) -> None:
    usages = [resource_usage(record(points, 10.0 + points), START) for points in lengths]

    fitted = fit_series(usages, taken)

    assert points_in(fitted.usages) <= max(0, 1000 - taken)
    left_out = 0
    for before, after in zip(usages, fitted.usages, strict=True):
        assert after is not None
        left_out += before.cpu_usage is not None and after.cpu_usage is None
        if after.cpu_usage is None:
            continue
        assert after.cpu_usage[0] == before.cpu_usage[0]
        assert after.cpu_usage[-1] == before.cpu_usage[-1]
        assert max(one.usage for one in before.cpu_usage) in [one.usage for one in after.cpu_usage]
    assert left_out == fitted.left_out


def test_where_there_are_too_many_the_longest_processes_keep_their_series() -> None:
    usages = [
        None,
        *(resource_usage(record(10, 20.0), START) for _ in range(600)),
        resource_usage(record(100, 5000.0), START),
    ]

    fitted = fit_series(usages)

    assert fitted.usages[0] is None
    last = fitted.usages[-1]
    assert last is not None
    assert last.cpu_usage is not None
    assert fitted.left_out == 601 - 166
    shortest = next(one for one in fitted.usages if one is not None and one.cpu_usage is None)
    assert shortest.cpu_cores == 8  # what the machine is, stays


def test_the_whole_of_what_is_written_is_read_back_by_the_schema() -> None:
    text = written([resource_usage(record(100, gpu="GPU"), START), None])

    again = Processing.model_validate(json.loads(text))

    assert again.data_processes[0].resources.cpu_usage[0].timestamp.tzinfo is not None
