"""How a process ended is told by what this package writes, and by nothing that resembles it."""

from __future__ import annotations

import pytest

from asset_provenance.endings import status_in_notes
from asset_provenance.engines import dask_records
from asset_provenance.process import CANCELLED, STILL_RUNNING
from asset_provenance.records import ProcessStatus
from asset_provenance.stepping import _ABANDONED
from asset_provenance.workers import how_it_ended


@pytest.mark.parametrize(
    "note",
    [
        CANCELLED.note,
        STILL_RUNNING.note,
        _ABANDONED.note,
        dask_records._LEFT.note,
        how_it_ended(None)[1],
        how_it_ended(-9, memory_was_short=True)[1],
        how_it_ended(3)[1],
        "Ended by SIGTERM.",
        f"{_ABANDONED.note} Active for 0.100 s of 2.000 s.",
        "Worker tcp://10.0.0.1:4000, on which it ran, was lost.",
        "Interrupted: the program ended before it had. It was killed or it crashed.",
    ],
)
def test_each_way_not_to_come_to_the_end_is_known_again(note: str | None) -> None:
    assert status_in_notes(f"Done by hand.\n{note}\n1 file has uncommitted changes") is (
        ProcessStatus.INTERRUPTED
    )


@pytest.mark.parametrize("note", ["Failed: ValueError: no", "The run failed: ValueError: no"])
def test_a_failure_is_known_again(note: str) -> None:
    assert status_in_notes(note) is ProcessStatus.FAILED


@pytest.mark.parametrize(
    "note",
    [
        "Failed trials were left out of the mean.",
        "Interrupted trials count half.",
        "The stimulus ended before it had reached full contrast.",
        "Ended by SIGNAL of the camera",
        "Closed before it had given everything.",
        None,
    ],
)
def test_what_a_user_notes_of_the_data_is_no_end_of_the_process(note: str | None) -> None:
    assert status_in_notes(note) is ProcessStatus.COMPLETED
