"""What differs between two assets, and which of their processes are the same step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.comparing import Comparison, Side, compare
from asset_provenance.differences import ABSENT, TOPICS, value_differences
from asset_provenance.differing import packages_in
from asset_provenance.records import InputRef, ProcessStatus
from asset_provenance.views import AssetView, CodeView, ProcessView, ResourceView

HERE = Path("here")
CODE = CodeView(url="https://example.org/code", commit_hash="1" * 40, run_script="run.py")


def process(name: str, **changes: Any) -> ProcessView:
    return ProcessView(**{"name": name, "process_type": "Analysis", "code": CODE, **changes})


def compared(
    one: list[ProcessView],
    other: list[ProcessView],
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> Comparison:
    views = [AssetView(HERE, processes=tuple(each)) for each in (one, other)]
    return compare(Side(views[0], **(before or {})), Side(views[1], **(after or {})))


def told(found: Comparison) -> list[tuple[Any, ...]]:
    return [(one.topic, one.path, one.before, one.after) for one in found.differences]


def pairs(before: list[ProcessView], after: list[ProcessView]) -> list[tuple[str, str]]:
    return [(pair.before.name, pair.after.name) for pair in compared(before, after).pairs]


def test_calls_of_one_function_are_matched_by_what_they_were_given_then_in_their_order() -> None:
    def call(name: str, session: str, start: int) -> ProcessView:
        return process(name, parameters={"start": start}, inputs=(InputRef(name=session),))

    before = [call("fit", "a", 1), call("fit_1", "b", 1), call("fit_2", "c", 1)]
    after = [call("fit", "b", 1), call("fit_1", "a", 1), call("fit_2", "c", 2)]

    assert pairs(before, after) == [("fit", "fit_1"), ("fit_1", "fit"), ("fit_2", "fit_2")]
    assert told(compared(before, after)) == [("parameters", "start", 1, 2)]


def test_a_failed_attempt_that_only_one_has_is_not_taken_for_the_one_that_went_well() -> None:
    failed = process("fit", parameters={"steps": 5}, status=ProcessStatus.FAILED)
    second = process("fit_1", parameters={"steps": 100})
    only = process("fit", parameters={"steps": 100})

    found = compared([failed, second], [only])

    assert [(pair.before.name, pair.after.name) for pair in found.pairs] == [("fit_1", "fit")]
    assert told(found) == [("processes", "fit", "there", ABSENT)]


def test_names_that_end_with_a_number_are_names_where_nothing_goes_by_the_rest() -> None:
    before = [process("session_1", parameters={"n": 1}), process("session_2", parameters={"n": 2})]
    after = [process("session_1", parameters={"n": 2}), process("session_2", parameters={"n": 1})]
    assert pairs(before, after) == [("session_1", "session_1"), ("session_2", "session_2")]


def test_a_renamed_process_is_known_by_its_form_if_nothing_else_has_it() -> None:
    old, new = process("fit", parameters={"a": 1}), process("refit", parameters={"a": 2})
    assert pairs([old], [new]) == [("fit", "refit")]
    assert told(compared([old], [new])) == [("parameters", "a", 1, 2)]
    assert pairs([old], [new, process("third", parameters={"a": 3})]) == []
    other_script = process("refit", parameters={"a": 2}, code=CodeView(run_script="other.py"))
    assert pairs([old], [other_script]) == []


def test_an_inherited_process_is_not_taken_for_one_of_the_run() -> None:
    before = [process("fit", is_inherited=False)]
    after = [process("fit", is_inherited=True), process("fit_1", is_inherited=False)]
    assert pairs(before, after) == [("fit", "fit_1")]


def test_a_difference_is_told_once_with_all_the_processes_that_have_it() -> None:
    newer = CodeView(url="https://example.org/code.git", commit_hash="2" * 40, run_script="run.py")
    names = ["first", "second"]

    found = compared(
        [process(name) for name in names], [process(name, code=newer) for name in names]
    )

    (one,) = found.differences
    assert (one.topic, one.path, one.processes) == ("code", "commit", ("first", "second"))
    assert found.code_changes == (("https://example.org/code.git", "1" * 40, "2" * 40),)


def test_what_most_likely_changed_a_result_comes_first() -> None:
    before = process("fit", parameters={"a": 1}, results={"r": 1}, experimenters=("Ada",))
    after = process(
        "fit",
        parameters={"a": 2},
        results={"r": 2},
        experimenters=("Charles",),
        code=CodeView(url="https://example.org/code", commit_hash="2" * 40, language="R"),
        inputs=(InputRef(assets=(InputRef(name="x"), InputRef(url="s3://y"))),),
        depends_on=("other",),
    )
    found = compared(
        [before, process("other")],
        [after, process("other")],
        before={"packages": {"numpy": "1.0"}, "files": {"subject.json": {"sex": "F"}}},
        after={"packages": {"numpy": "2.0"}, "files": {"subject.json": {"sex": "M"}}},
    )
    topics = [one.topic for one in found.differences]
    assert topics == sorted(topics, key=TOPICS.index)
    assert told(found)[:3] == [
        ("inputs", "input", ABSENT, "x"),
        ("inputs", "input", ABSENT, "s3://y"),
        ("code", "commit", "1" * 40, "2" * 40),
    ]
    assert ("packages", "numpy", "1.0", "2.0") in told(found)
    assert ("other metadata", "subject.json: sex", "F", "M") in told(found)
    assert ("order", "follows", ABSENT, "other") in told(found)
    assert ("outcome", "r", 1, 2) in told(found)


def test_times_and_resources_are_told_and_are_no_difference() -> None:
    slow = ResourceView(peak_ram=2e9, mean_cores=1.0)
    fast = ResourceView(peak_ram=1e9, mean_cores=2.0)
    found = compared([process("fit", resources=slow)], [process("fit", resources=fast)])
    assert found.differences == ()
    assert [(one.path, one.before, one.after) for one in found.measured] == [
        ("peak_ram", 2e9, 1e9),
        ("mean_cores", 1.0, 2.0),
    ]


def test_another_machine_is_a_difference_where_both_are_known() -> None:
    one, other = ResourceView(os="Debian 12", cpu_cores=8), ResourceView(os="Debian 13", gpu="A100")
    assert told(compared([process("fit", resources=one)], [process("fit", resources=other)])) == [
        ("environment", "operating system", "Debian 12", "Debian 13"),
        ("environment", "GPU", "none", "A100"),
    ]
    assert told(compared([process("fit", resources=one)], [process("fit")])) == []


@pytest.mark.parametrize(
    ("patches", "said"),
    [
        (("x", "x"), None),
        (("x", "y"), "yes, other ones"),
        (("x", None), "yes; whether the same is not known"),
        ((None, None), "yes; whether the same is not known"),
    ],
)
def test_uncommitted_changes_of_both_are_compared_where_anything_tells_them(
    patches: tuple[str | None, str | None], said: str | None
) -> None:
    dirty = process("fit", code=CodeView(commit_hash="1" * 40, is_dirty=True))
    kept = [{"patches": {"1" * 40: one} if one else {}} for one in patches]
    found = compared([dirty], [dirty], before=kept[0], after=kept[1])
    assert told(found) == ([("code", "uncommitted changes", "yes", said)] if said else [])


@pytest.mark.parametrize(
    "note",
    [
        "2 files have uncommitted changes, kept as provenance/uncommitted-1.patch, without the "
        "large table.csv",
        "1 submodule has uncommitted changes of its own: lib",
    ],
)
def test_equal_patches_that_do_not_hold_all_changes_are_not_called_the_same(note: str) -> None:
    code = CodeView(commit_hash="1" * 40, is_dirty=True)
    one = [process("fit", code=code, notes=(note,))]
    found = compared(one, one, *[{"patches": {"1" * 40: "a"}}] * 2)
    said = "yes; whether the same is not known"
    assert told(found) == [("code", "uncommitted changes", "yes", said)]


def test_whether_code_was_clean_is_told_only_where_some_had_changed() -> None:
    clean, dirty, unknown = (
        [process("fit", code=replace(CODE, is_dirty=state))] for state in (False, True, None)
    )
    assert told(compared(clean, unknown)) == []
    assert told(compared(dirty, unknown)) == [("code", "uncommitted changes", "yes", ABSENT)]


def test_uncommitted_changes_of_imported_packages_are_compared() -> None:
    one = [process("fit")]
    commit = "9" * 40
    found = compared(one, one, *({"patches": {commit: each}} for each in "ab"))
    assert told(found) == [("packages", f"uncommitted changes at {commit}", "a", "b")]


def test_a_patch_that_was_not_kept_is_known_by_its_sum_in_the_notes() -> None:
    note = "1 file has uncommitted changes: run.py; the patch is not kept; its SHA-256 is "
    code = CodeView(commit_hash="1" * 40, is_dirty=True)
    one, other = (process("fit", code=code, notes=(note + sum_ * 64,)) for sum_ in "ab")
    kept = {"patches": {"1" * 40: "a" * 64}}
    assert told(compared([one], [process("fit", code=code)], after=kept)) == []
    assert told(compared([one], [other])) == [
        ("code", "uncommitted changes", "yes", "yes, other ones")
    ]


@pytest.mark.parametrize(
    ("one", "other", "differences"),
    [
        ({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2.0}, [("a.b", 1, 3)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a[1]", 2, 3)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a", [1, 2], [1])]),
        ({"a": True}, {"a": 1}, [("a", True, 1)]),
        ({"b": None}, {"c": None}, [("b", None, ABSENT), ("c", ABSENT, None)]),
    ],
)
def test_values_are_compared_as_json_wherever_they_are(
    one: Any, other: Any, differences: list[tuple[str, Any, Any]]
) -> None:
    assert list(value_differences(one, other)) == differences


def test_a_list_of_packages_tells_versions_commits_and_changes() -> None:
    text = f"""\
# What was imported, in a form that pip can install: pip install -r <this file>
# CPython 3.11.7 on Linux
NumPy==2.0.1
scipy==1.0  # from conda
scipy_tools @ git+https://example.org/tools@{"3" * 40}#subdirectory=x
# odd==1.0 is not on PyPI
# run.py, helper: imported from /capsule/code
#   of https://example.org/run, at {"1" * 40}
#   without uncommitted changes
# my_lib==0.3, editable: imported from /home/a/lib
#   of https://example.org/lib, at {"2" * 40}
#   2 files have uncommitted changes, kept as provenance/uncommitted-2.patch
my_lib @ git+https://example.org/lib@{"2" * 40}
# loose==0.1, editable: imported from /home/a/loose
#   which is in no git repository
"""
    assert packages_in(text) == {
        "numpy": "2.0.1",
        "scipy": "1.0",
        "scipy-tools": f"{'3' * 40}#subdirectory=x",
        "odd": "1.0",
        "https://example.org/run": "1" * 40,
        "my-lib": f"{'2' * 40}; 2 files have uncommitted changes",
        "loose": "0.1",
    }


def test_that_each_was_told_its_own_folder_is_no_difference() -> None:
    def side(folder: str, **parameters: Any) -> Side:
        given = (process("fit", parameters={"argv": [f"--output={folder}", "x"], **parameters}),)
        notes = (f'Parameters of the run: {{"output": "../{folder}"}}',)
        return Side(AssetView(Path("/data") / folder, processes=given, notes=notes))

    assert compare(side("first", out="/data/first"), side("second", out="second")).differences == ()
    found = compare(side("first", n="first"), side("second", n="third"))
    assert told(found) == [("parameters", "n", "first", "third")]
    found = compare(side("first", n="/sessions/first"), side("second", n="/sessions/second"))
    assert told(found) == [("parameters", "n", "/sessions/first", "/sessions/second")]


def test_a_commit_that_was_found_by_its_tree_is_that_commit() -> None:
    tree = f"tree:{'2' * 40}"
    resolved = replace(CODE, version=tree)
    assert told(compared([process("a")], [process("a", code=resolved)])) == []
    not_resolved = process("a", code=replace(CODE, version=tree, commit_hash=None))
    paths = [path for _, path, *_ in told(compared([process("a")], [not_resolved]))]
    assert paths == ["commit", "version"]


def test_that_a_run_failed_is_a_difference_though_no_process_did() -> None:
    ends = ["The run failed: ValueError: no", "Interrupted: the program ended before it had. x"]
    fine, failed, killed = (
        Side(AssetView(HERE, notes=("Ran in a capsule.", *end))) for end in ([], ends[:1], ends[1:])
    )
    path = "how the run ended"
    assert told(compare(fine, fine)) == []
    assert told(compare(fine, failed)) == [("outcome", path, ABSENT, "failed")]
    assert told(compare(failed, killed)) == [("outcome", path, "failed", "interrupted")]


def test_what_follows_a_process_that_only_one_has_is_told_by_that_process() -> None:
    found = compared(
        [process("a"), process("b", depends_on=("a",))],
        [process("a"), process("new"), process("b", depends_on=("a", "new"))],
    )
    assert told(found) == [("processes", "new", ABSENT, "there")]


def test_the_patches_of_uncommitted_changes_that_differ_are_named() -> None:
    dirty = process("fit", code=CodeView(commit_hash="1" * 40, is_dirty=True))
    clean = process("fit", code=CodeView(commit_hash="1" * 40, is_dirty=False))
    kept = {"patches": {"1" * 40: "x", "2" * 40: "y"}}
    path = HERE / "provenance" / f"uncommitted-{'1' * 40}.patch"
    assert compared([clean], [dirty], after=kept).patches == (path,)
    assert compared([dirty], [dirty], before=kept, after=kept).patches == ()
