"""The times of processes agree with each other, whatever has to wait for whom."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from asset_provenance import track_process
from helpers.records import make


@pytest.fixture
def _others_want_to_run() -> Iterator[None]:
    """Let any thread be interrupted at any moment, for as long as others like."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            sum(range(2000))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_others_want_to_run")
def test_what_runs_inside_another_ends_no_later() -> None:
    with make() as asset:
        for _ in range(300):
            with track_process("outside"), track_process("inside"):
                pass
    by_id = {record.id: record for record in asset.records}
    for record in asset.records:
        around = by_id.get(record.parent_id or "")
        if around is not None:
            assert around.start_date_time <= record.start_date_time
            assert record.end_date_time is not None
            assert around.end_date_time is not None
            assert record.end_date_time <= around.end_date_time
