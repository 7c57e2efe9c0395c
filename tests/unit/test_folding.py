"""Calls of several workers are held to the limit together, and what is folded stays true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from asset_provenance.folding import fold
from asset_provenance.records import ProcessRecord, ProcessStatus

START = datetime(2026, 3, 2, tzinfo=UTC)
BLOCK = ProcessRecord("p-1", "block", "Analysis", "Analysis", START, status=ProcessStatus.COMPLETED)

_seconds = count(1)


def call(writer: str, name: str = "fit", parent: str = "p-1", **changes: Any) -> ProcessRecord:
    second = next(_seconds)
    start = START + timedelta(seconds=second)
    return ProcessRecord(
        **{
            "id": f"{writer}-{second}",
            "name": name,
            "process_type": "Analysis",
            "stage": "Analysis",
            "start_date_time": start,
            "end_date_time": start + timedelta(seconds=0.5),
            "parent_id": parent,
            "status": ProcessStatus.COMPLETED,
            **changes,
        }
    )


def test_what_one_program_did_alone_stays_as_it_counted_it() -> None:
    records = [BLOCK, *(call("p") for _ in range(5))]
    assert fold(records, 2) == tuple(records)


def test_calls_beyond_the_limit_are_one_process_that_says_what_varied() -> None:
    records = [
        BLOCK,
        *(call(f"w{n % 4}", parameters={"x": n, "way": "a", "key": f"k{n % 3}"}) for n in range(8)),
    ]
    _, first, second, folded = fold(records, 2)
    assert (first, second) == tuple(records[1:3])
    assert folded.id == records[3].id
    assert folded.parameters == {"way": "a"}
    assert folded.notes == (
        "6 further calls of fit, together one process. "
        'Varied: x from 2 to 7; key over "k2", "k0", "k1".',
    )
    assert folded.end_date_time == records[-1].end_date_time


def test_what_workers_had_counted_is_added_up_and_failures_are_told() -> None:
    counted = {"ended": 10, "failed": 2, "error": "ValueError: x", "varied": {"x": [1, 5]}}
    note = (
        "10 further calls of fit, together one process. 2 of them failed, the first with "
        "ValueError: x. Varied: x from 1 to 5."
    )
    many = call("w0", calls=counted, notes=("mine", note))
    other = call("w1", calls={"ended": 3, "varied": {"x": [0, 2]}}, notes=())
    _, folded = fold([BLOCK, many, other], 1)
    assert folded.status == "completed"
    assert folded.notes == (
        "mine",
        "13 further calls of fit, together one process. 2 of them failed, the first with "
        "ValueError: x. Varied: x from 0 to 5.",
    )


def test_another_parent_input_or_output_is_another_process() -> None:
    records = [
        BLOCK,
        call("w0"),
        call("w1", outputs=("a",)),
        call("w2", outputs=("a",)),
        call("w3", outputs=("b",)),
        call("w4", parent="p-2"),
    ]
    found = fold(records, 1)
    assert [(one.parent_id, one.outputs) for one in found[1:]] == [
        ("p-1", ()),
        ("p-1", ("a",)),
        ("p-1", ("b",)),
        ("p-2", ()),
    ]
    assert [(one.calls or {}).get("ended") for one in fold(records, 2)[1:]] == [None, None, 1, 1, 1]


def test_edges_and_children_follow_what_was_folded() -> None:
    records = [BLOCK, call("w0"), call("w1"), call("w2")]
    inner = call("w1", "inner", parent=records[3].id)
    merge = call("p", "merge", follows=tuple(record.id for record in records[1:]))
    found = {one.id: one for one in fold([*records, inner, merge], 1)}
    folded = records[2].id
    assert found[merge.id].follows == (records[1].id, folded)
    assert found[inner.id].parent_id == folded
    assert records[3].id not in found


def test_what_was_interrupted_and_blocks_of_code_stay_each_their_own() -> None:
    killed = call("w0", status=ProcessStatus.INTERRUPTED)
    blocks = [call("p", "a block") for _ in range(4)]
    records = [BLOCK, call("w0"), call("w1"), killed, *blocks, call("w1", "a block")]
    found = fold(records, 2)
    assert killed in found
    assert [one for one in found if one.name == "a block"] == [*blocks, records[-1]]
    assert found[0] == BLOCK
