"""What the page says of an asset; how it looks is tested in a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.records import InputRef, ProcessStatus
from asset_provenance.report import texts
from asset_provenance.report.graph import drawing
from asset_provenance.report.page import page
from asset_provenance.report.timeline import timeline
from asset_provenance.report.values import mapping
from asset_provenance.views import AssetView, ProcessView

START = datetime(2026, 11, 25, tzinfo=UTC)


def ran(name: str, start: float, seconds: float, **facts: Any) -> ProcessView:
    begun = START + timedelta(seconds=start)
    return ProcessView(name, start=begun, end=begun + timedelta(seconds=seconds), **facts)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JAVASCRIPT:alert(1)", " javascript:alert(1)", "data:text/html,x",
        "java\nscript:alert(1)", "//example.org/x", "file:///etc/passwd", "https://", "https:x",
        "vbscript:x", "https://user:secret@example.org/x", "https://a.org/\\@b.org", "http://[",
        "\u0000https://a.org", "https://a.org/ b", "", None,
    ],
)  # fmt: skip
def test_only_addresses_of_the_web_become_links(url: str | None) -> None:
    assert texts.link(url) is None
    assert texts.commit_link(url, "301234ec") is None


def test_a_commit_is_linked_where_it_is_known_how() -> None:
    commit = "301234ec52e309b345db5c8566b1a1662c89cbd5"
    for url, told in (
        ("https://github.com/a/b.git", f"https://github.com/a/b/commit/{commit}"),
        ("https://gitlab.example.org/a/b/c", f"https://gitlab.example.org/a/b/c/-/commit/{commit}"),
        ("https://example.org/a/b", None),
        ("http://github.com/a/b", None),
        ("https://github.com/a", None),
    ):
        assert texts.commit_link(url, commit) == told
    assert texts.commit_link("https://github.com/a/b", "../../evil") is None
    script = texts.script_link("https://github.com/a/b", commit, 'x "y"?.py')
    assert script == f"https://github.com/a/b/blob/{commit}/x%20%22y%22%3F.py"


def test_what_is_not_seen_is_written_out_and_what_is_secret_is_not_shown() -> None:
    assert texts.shown("a\u202eb\x00\r\nc\u2066") == "a\\u202eb\\x00\nc\\u2066"
    assert texts.shown("👩‍🔬 שלום") == "👩‍🔬 שלום"
    assert "tok3n" not in texts.shown("https://me:tok3nsecret@example.org")
    assert len(texts.shown("x" * 1_000_000)) < 20_100


def test_names_keep_their_beginning_and_end_when_they_are_shortened() -> None:
    assert texts.fitted("ecephys_900101_2026-03-02_18-30-05", 20) == "ecephys_90…_18-30-05"
    assert texts.width(texts.fitted("漢" * 50, 20)) <= 20


def test_values_are_readable_and_long_ones_are_folded() -> None:
    told = mapping(
        {
            "number": 3,
            "text": "3",
            "api_key": "hidden!",
            "list": list(range(500)),
            "deep": {"a": [{"b": None}]},
            "many": [{"a": at} for at in range(3000)],
        }
    )
    members = dict(told.members)
    assert (members["number"].text, members["text"].text) == ("3", '"3"')
    assert members["api_key"].text == "[redacted]"
    assert members["list"].kind == "folded"
    assert members["list"].preview.endswith("… (500 values)")
    assert dict(dict(members["deep"].members)["a"].members)["1"].members[0][1].text == "null"
    assert members["many"].left_out > 1000


def test_idle_years_are_cut_out_of_the_axis_and_short_pauses_are_not() -> None:
    old, new = ran("old", 0, 3600), ran("new", 4 * 365 * 86_400, 3600)
    (first, second), axis = timeline([old, new]).rows, timeline([old, new]).axis
    assert axis is not None
    assert len(axis.breaks) == 1
    assert [one.label for one in axis.ticks] == ["2026-11-25", "2030-11-24"]
    assert first.width == second.width
    assert first.width is not None
    assert first.width > 40
    paused = timeline([ran("a", 0, 60), ran("b", 90, 60)]).axis
    assert paused is not None
    assert paused.breaks == ()
    assert [(one.at, one.label) for one in paused.ticks] == [
        (0.0, "0"), (40.0, "1 min"), (80.0, "2 min"),
    ]  # fmt: skip


def test_rows_follow_the_process_they_ran_inside_of() -> None:
    several = [
        ran("b", 5, 1, parent="a"),
        ran("c", 20, 1),
        ran("a", 0, 10),
        ran("d", 2, 1, parent="a"),
    ]
    assert [(row.process.name, row.depth) for row in timeline(several).rows] == [
        ("a", 0), ("d", 1), ("b", 1), ("c", 0),
    ]  # fmt: skip
    assert timeline([ProcessView("never")]).axis is None


def test_what_is_alike_is_one_box_where_there_are_many() -> None:
    raw = (InputRef(name="raw"),)
    fits = [ran(f"fit_{at}", at, 1, inputs=raw, output_path=f"{at}.csv") for at in range(300)]
    whole = ran("whole", 0, 400, depends_on=tuple(one.name for one in fits))
    drawn = drawing(AssetView(Path("x"), processes=(*fits, whole)))
    assert drawn.is_grouped
    assert [(box.name, len(box.processes)) for box in drawn.boxes] == [
        ("raw", 0), ("fit \N{MULTIPLICATION SIGN}300", 300), ("whole", 1),
    ]  # fmt: skip
    assert drawn.boxes[1].note == "300 processes, 300 outputs"
    few = drawing(AssetView(Path("x"), processes=tuple(fits[:3])))
    assert [box.kind for box in few.boxes].count("output") == 3


def test_of_thousands_of_processes_the_first_are_shown_and_the_rest_is_told() -> None:
    chain = [ran(f"s{at}", at, 1, depends_on=(f"s{at - 1}",) if at else ()) for at in range(1300)]
    text = page(AssetView(Path("x"), processes=tuple(chain)), [], "1.0")
    assert text.count('<details class="process') == 1000
    assert text.count("300 more processes are not shown here") == 2
    assert "too many boxes" in text


def test_a_process_does_not_follow_what_ran_inside_of_it() -> None:
    before, whole = ran("before", 0, 1), ran("whole", 1, 5, depends_on=("part", "before"))
    part = ran("part", 2, 1, parent="whole")

    text = page(AssetView(Path("x"), processes=(before, whole, part)), [], "1.0")

    followed = re.findall(r"<dt>Follows</dt><dd>(.*?)</dd>", text, re.DOTALL)
    assert ["part" in one for one in followed] == [False]
    assert "before" in followed[0]


def test_an_asset_without_processes_or_facts_has_a_page() -> None:
    text = page(AssetView(Path("x"), unfinished=1, problems=("a <b> is broken",)), [], "1.0")
    assert "No process is recorded" in text
    assert "1 run left its record" in text
    assert "a &lt;b&gt; is broken" in text


def test_nothing_says_that_what_others_recorded_came_to_its_end() -> None:
    mine = ran("mine", 0, 1, is_inherited=False)
    theirs = ran("theirs", -10, 1, is_inherited=True)

    text = page(AssetView(Path("asset"), processes=(theirs, mine)), [], "1.0")

    assert (
        text.count('class="status completed"') == 2
    )  # in the timeline, and where all of it is told
    assert mine.told_status == "completed"
    assert theirs.told_status is None


def test_a_process_that_failed_is_among_the_warnings_and_nothing_is_called_fine() -> None:
    good = ran("good", 0, 1, is_inherited=False)
    bad = ran("bad", 1, 1, is_inherited=False, status=ProcessStatus.FAILED)

    text = page(AssetView(Path("asset"), processes=(good, bad)), [], "1.0")

    warnings = text[text.index('id="warnings"') : text.index('id="timeline"')]
    assert '1 process did not come to its end:\n<a class="id" href="#p2">bad</a>' in warnings
    assert "found nothing wrong" not in warnings
