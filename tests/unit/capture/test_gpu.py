"""GPUs: what their driver tells, whose use it is, and drivers that are missing, broken or silent.

The driver is a small library of our own in the place of NVIDIA's, asked through the real client.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a library for Linux stands in"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]

DRIVER = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef struct { unsigned pid; unsigned long long memory; unsigned a, b; } Process;
typedef struct { unsigned pid; unsigned long long at; unsigned sm, mem, enc, dec; } Sample;
static int is(const char *what) { const char *m = getenv("FAKE"); return m && strstr(m, what); }
static unsigned owner(void) {
    if (is("of-others")) return 1;
    if (is("elsewhere")) return 4000000;
    return getpid();
}
int nvmlInitWithFlags(unsigned f) {
    if (is("hangs")) sleep(600);
    return is("not-loaded") ? 9 : 0;
}
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int c) { return "it failed"; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = is("two") ? 2 : is("zero") ? 0 : 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) {
    if (i == 0 && is("no-permission")) return 4;
    if (i == 0 && is("lost")) return 15;
    *h = (void *)(long)(i + 1); return 0;
}
int nvmlDeviceGetName(void *h, char *name, unsigned n) { strcpy(name, "Fake H100"); return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, Process *out) {
    if (is("no-list")) return 3;
    if (is("hidden")) { *n = 0; return 0; }
    if (!out) { *n = 1; return 7; }
    *n = 1; memset(out, 0, sizeof *out); out->pid = owner(); out->memory = 3000000000ull;
    return 0;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *h, unsigned *n, Process *out) {
    if (is("no-list")) return 3;
    *n = 0; return 0;
}
int nvmlDeviceGetProcessUtilization(void *h, Sample *out, unsigned *n, unsigned long long since) {
    static unsigned long long now = 1000;
    if (is("idle")) return 6;
    if (is("untold")) return 3;
    if (!out) { *n = 2; return 7; }
    memset(out, 0, 2 * sizeof *out); *n = 2;
    out[0].pid = getpid(); out[0].at = ++now; out[0].sm = 40;
    out[1].pid = 1; out[1].at = now; out[1].sm = 50;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *h, unsigned *out) {
    if (is("no-rates")) return 3;
    out[0] = is("idle") ? 0 : 90; out[1] = 10; return 0;
}
int nvmlDeviceGetMemoryInfo(void *h, unsigned long long *out) {
    out[0] = 80000000000ull; out[1] = 75000000000ull; out[2] = 5000000000ull; return 0;
}
"""
USE = """
import json, os
from asset_provenance.capture.gpu import Gpus
gpus = Gpus.find()
use = None if gpus is None else gpus.use({os.getpid()})
print(json.dumps(None if use is None else [gpus.names, use.percent, use.memory, use.is_whole]))
"""
SAMPLED = """
import json, os, time
from asset_provenance.capture.resources import Sampler
from asset_provenance.records import to_json
sampler, start = Sampler(), time.monotonic()
sampler.start()
series = "cpu_usage" if os.environ["FAKE"] == "hangs" else "gpu_usage"
while len(getattr(sampler.slice(start, start + 80), series)) < 2 and time.monotonic() < start + 60:
    time.sleep(0.05)
begun = time.monotonic()
for _ in range(20):
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
sampler.stop()
waited = time.monotonic() - begun
print(json.dumps([waited, to_json(sampler.slice(start, start + 80))]))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    target = str(folder / "libnvidia-ml.so.1")
    command = ["gcc", "-shared", "-fPIC", "-w", "-o", target, str(folder / "driver.c")]
    subprocess.run(command, check=True)
    return folder


def answer(code: str, library: Path | None, *, fake: str = "", isolated: bool = False) -> Any:
    environ = {**os.environ, "FAKE": fake}
    environ.pop("LD_LIBRARY_PATH", None)
    if library is not None:
        environ["LD_LIBRARY_PATH"] = str(library)
    if isolated:
        code = "import sys; sys.modules['pynvml'] = None\n" + code
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_of_a_gpu_that_the_program_shares_only_its_own_use_is_told(driver: Path) -> None:
    assert answer(USE, driver) == ["Fake H100", 40.0, 3_000_000_000, False]


def test_the_use_of_several_gpus_is_added_up_and_equal_ones_are_counted(driver: Path) -> None:
    assert answer(USE, driver, fake="two") == ["2 x Fake H100", 80.0, 6_000_000_000, False]


@pytest.mark.parametrize("fault", ["no-permission", "lost"])
def test_a_gpu_that_cannot_be_used_hides_no_other(driver: Path, fault: str) -> None:
    assert answer(USE, driver, fake=f"two {fault}") == ["Fake H100", 40.0, 3_000_000_000, False]
    assert answer(USE, driver, fake=fault) is None


def test_a_program_that_holds_memory_and_does_nothing_uses_nothing(driver: Path) -> None:
    assert answer(USE, driver, fake="idle") == ["Fake H100", 0.0, 3_000_000_000, False]


def test_a_gpu_that_only_others_use_is_not_used(driver: Path) -> None:
    assert answer(USE, driver, fake="of-others") == ["Fake H100", 0.0, 0, False]


@pytest.mark.parametrize("fake", ["hidden", "elsewhere", "no-list"])
def test_where_the_driver_does_not_tell_whose_use_it_is_all_of_it_is_told_as_such(
    driver: Path, fake: str
) -> None:
    assert answer(USE, driver, fake=fake) == ["Fake H100", 90.0, 5_000_000_000, True]


def test_memory_that_the_driver_itself_takes_is_not_the_programs(driver: Path) -> None:
    assert answer(USE, driver, fake="hidden idle") == ["Fake H100", 0.0, None, False]


@pytest.mark.parametrize(
    ("fake", "expected"),
    [
        ("untold", ["Fake H100", None, 3_000_000_000, False]),
        ("no-list no-rates", ["Fake H100", None, None, False]),
    ],
)
def test_what_a_driver_does_not_answer_costs_that_fact_only(
    driver: Path, fake: str, expected: list[Any]
) -> None:
    assert answer(USE, driver, fake=fake) == expected


@pytest.mark.parametrize("fake", ["not-loaded", "zero"])
def test_a_driver_that_does_not_run_and_one_without_gpus_are_quiet(driver: Path, fake: str) -> None:
    assert answer(USE, driver, fake=fake) is None


def test_no_driver_no_client_and_a_broken_library_are_quiet(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("no library at all")
    assert answer(USE, None) is None
    assert answer(USE, None, isolated=True) is None
    assert answer(USE, tmp_path) is None


def test_a_run_on_a_gpu_has_its_name_its_use_and_its_memory(driver: Path) -> None:
    _, record = answer(SAMPLED, driver)

    assert record["gpu"] == "Fake H100"
    # It says the same all the time, for which two points do.
    assert [value for _, value in record["gpu_usage"]] == [40.0, 40.0]
    assert record["gpu_memory"] == 3_000_000_000
    assert "gpu_is_whole" not in record


def test_a_driver_that_never_answers_costs_the_gpu_only_and_holds_up_no_fork_again(
    driver: Path,
) -> None:
    code = "import warnings; warnings.simplefilter('ignore')\n" + SAMPLED  # it cannot be ended
    waited, record = answer(code, driver, fake="hangs")

    assert "gpu" not in record
    assert len(record["cpu_usage"]) >= 2
    assert waited < 15  # a second at the first of twenty forks, and none at the others
