"""Which paths a command names is read from its words, as the program or the shell would."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_provenance.capture.commands import named_by


def paths(command: Any, **options: Any) -> list[str]:
    return [os.path.relpath(path, "/w") for path in named_by(command, cwd="/w", **options).paths]


def _plain(found: list[str]) -> set[str]:
    """Without the words that were taken apart: as a whole they may name a file, too."""
    return {path for path in found if "=" not in path and path[0] not in "-@"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sort", "in.txt"], ["in.txt"]),
        (["./tool", "-n", "--in=a b/x.nii"], ["tool", "a b/x.nii"]),
        (["tool", "-oout.txt", "key=d/x", "@list.txt"], ["out.txt", "d/x", "list.txt"]),
        ([b"cat", b"\xff.txt"], [os.fsdecode(b"\xff.txt")]),
        ([Path("bin/tool"), Path("/w/x")], ["bin/tool", "x"]),
        (["sh", "-c", "cat a > b"], ["a", "b"]),
        (["bash", "-ec", "cat a"], ["a"]),
        (["cat", "*.txt", "~", "$HOME"], ["*.txt", "~", "$HOME"]),
    ],
)
def test_words_of_a_list_are_taken_as_they_are(words: Any, expected: list[str]) -> None:
    assert _plain(paths(words)) == set(expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sort data/in.txt | uniq > results/out.txt", ["data/in.txt", "results/out.txt"]),
        ("sort<a>b 2>c 2>&1", ["a", "b", "c"]),
        ("cat a>>b&&wc b;ls d||rm e&", ["a", "b", "d", "e"]),
        ("cat 'a b' \"c d\" e\\ f", ["a b", "c d", "e f"]),
        ("cat \"a\"'b'c", ["abc"]),
        ("cd sub && cat a; cd ..; cat b", ["sub/a", "b"]),
        ("(cd sub; cat a); cat b", ["sub/a", "b"]),
        ("cat $FOLDER/a ${FOLDER}/b '$FOLDER/c'", ["d/a", "d/b", "$FOLDER/c"]),
        ("X=e; cat $X/a", ["e", "e/a"]),
        ("cat ~/x '~/y'", ["h/x", "~/y"]),
        ("cat $(ls d/a) `ls e/b`", ["d/a", "e/b"]),
        ("echo x > results/sub/$(date).txt", ["x", "results/sub"]),
        ("cat a # b\ncat c", ["a", "c"]),
        ("cat a \\\n b", ["a", "b"]),
        ("cat a <<EOF\nb\nEOF", ["a"]),
        ("FOO=1 ./tool --in=a", ["1", "tool", "a"]),
    ],
)
def test_a_line_is_read_as_a_shell_would(line: str, expected: list[str]) -> None:
    found = paths(line, shell=True, environment={"FOLDER": "d", "HOME": "/w/h"})
    assert _plain(found) == set(expected)


def test_a_pattern_stands_for_what_it_matches_unless_it_is_quoted() -> None:
    for name in ("a.txt", "b.txt", "c.csv"):
        Path(name).touch()
    here = os.getcwd()
    assert sorted(named_by("cat *.txt", shell=True, cwd=here).paths) == [
        f"{here}/a.txt",
        f"{here}/b.txt",
    ]
    assert list(named_by("cat '*.txt' none*", shell=True, cwd=here).paths) == [
        f"{here}/*.txt",
        f"{here}/none*",
    ]


def test_what_the_shell_writes_anew_is_told_from_what_it_adds_to() -> None:
    found = named_by("sort -o d a > b 2>> c", shell=True, cwd="/w")
    assert found.replaced == {"/w/b"}


def test_a_line_without_end_and_a_huge_list_take_no_time() -> None:
    started = time.monotonic()
    named_by("cat " + "$(" * 100_000, shell=True, cwd="/w")
    named_by("cat " + "a* " * 1_000_000, shell=True, cwd="/w")
    assert len(named_by(["cat", *map(str, range(1_000_000))], cwd="/w").paths) <= 10_000
    assert time.monotonic() - started < 60  # what is read again and again takes hours


@given(st.text(alphabet="ab /'\"\\$(){}`|&;<>*?[]~#=\n-", max_size=60))
def test_no_line_is_too_strange(line: str) -> None:
    assert all(os.path.isabs(path) for path in named_by(line, shell=True, cwd="/w").paths)
