"""What a program may use of its machine: its container's limits, not the host's processors."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil
import pytest

from asset_provenance.capture.machine import machine
from asset_provenance.records import ResourceRecord

HOST_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
HOST_RAM = psutil.virtual_memory().total
LIMIT = 512 * 2**20


def seen(root: Path, files: dict[str, str], **environ: str) -> ResourceRecord:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return machine(root, environ)


def test_a_machine_without_limits_has_all_its_processors_and_memory() -> None:
    found = machine(environ={})

    assert found.architecture == platform.machine()
    assert found.os
    assert found.cpu_cores is not None
    assert 1 <= found.cpu_cores <= HOST_CORES
    assert found.ram is not None
    assert 0 < found.ram <= HOST_RAM


def test_limits_of_the_second_version_of_control_groups_hold(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cpu.max": "100000 100000\n",
            "sys/fs/cgroup/memory.max": f"{LIMIT}\n",
        },
    )

    assert (found.cpu_cores, found.ram) == (1, LIMIT)


def test_a_limit_of_an_outer_group_holds_for_those_inside(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/step\n",
            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            "sys/fs/cgroup/job/step/memory.max": "max\n",
            "sys/fs/cgroup/job/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/job/memory.max": f"{LIMIT}\n",
        },
    )

    assert (found.cpu_cores, found.ram) == (1, LIMIT)  # half a processor is one, half of the time


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_limits_of_the_first_version_of_control_groups_hold(tmp_path: Path, folder: str) -> None:
    found = seen(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/\n",
            f"sys/fs/cgroup/{folder}/docker/1/cpu.cfs_quota_us": "70000\n",
            f"sys/fs/cgroup/{folder}/docker/1/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": f"{LIMIT}\n",
        },
    )

    assert (found.cpu_cores, found.ram) == (1, LIMIT)


def test_a_container_that_sees_its_own_group_as_the_top_has_its_limits(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/1\n3:cpu:/docker/1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{LIMIT}\n",
        },
    )

    assert (found.cpu_cores, found.ram) == (1, LIMIT)


def test_no_limit_is_none_in_either_version(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/\n0::/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/memory.max": "max\n",
        },
    )

    assert (found.cpu_cores, found.ram) == (HOST_CORES, HOST_RAM)


def test_what_code_ocean_says_holds_where_it_is_less(tmp_path: Path) -> None:
    within = seen(tmp_path, {}, CO_CPUS="1", CO_MEMORY=str(LIMIT))
    beyond = seen(tmp_path, {}, CO_CPUS="100000", CO_MEMORY=str(2**60))

    assert (within.cpu_cores, within.ram) == (1, LIMIT)
    assert (beyond.cpu_cores, beyond.ram) == (HOST_CORES, HOST_RAM)


@pytest.mark.parametrize("value", ["", "many", "0", "-2", "nan", "inf", "1e999"])
def test_variables_that_hold_no_limit_are_passed_over(tmp_path: Path, value: str) -> None:
    found = seen(tmp_path, {}, CO_CPUS=value, CO_MEMORY=value)

    assert (found.cpu_cores, found.ram) == (HOST_CORES, HOST_RAM)


def test_files_that_hold_something_else_cost_nothing(tmp_path: Path) -> None:
    found = seen(
        tmp_path,
        {
            "proc/self/cgroup": "0::/../../outside\n\nnonsense\n9:cpu:/gone\n",
            "sys/fs/cgroup/cpu.max": "\n",
            "sys/fs/cgroup/memory.max": "a lot\n",
            "proc/cpuinfo": "model name",
        },
    )

    assert (found.cpu_cores, found.ram) == (HOST_CORES, HOST_RAM)


def test_the_processor_is_called_as_it_calls_itself(tmp_path: Path) -> None:
    cpuinfo = "processor\t: 0\nmodel name\t: Fast   \x1b[1mCPU 3\n\nmodel name : another\n"

    assert seen(tmp_path, {"proc/cpuinfo": cpuinfo}).cpu == "Fast \\x1b[1mCPU 3"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processors can be chosen")
def test_processors_that_the_program_is_not_bound_to_are_not_counted() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine(environ={}).cpu_cores == 1
    finally:
        os.sched_setaffinity(0, before)
