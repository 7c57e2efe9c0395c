"""The id of a folder is the one that git gives it."""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asset_provenance.capture import trees
from asset_provenance.capture.trees import TreeError, tree_id
from helpers.repositories import git


def tree_of_git(folder: Path) -> str:
    """Commit what git would take of a folder, and give the id of its tree."""
    git(folder, "init", "--quiet", ".")
    git(folder, "add", "--all")
    found = git(folder, "write-tree")
    shutil.rmtree(folder / ".git")
    return found


def write(path: Path, content: str | bytes = "x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code of mine"
    folder.mkdir()
    return folder


def test_of_files_folders_links_and_programs(code: Path) -> None:
    write(code / "run", "#!/bin/sh\n").chmod(0o755)
    write(code / "pkg" / "mod.py")
    write(code / "pkg.py")  # sorted before the folder pkg/, though after it by name alone
    write(code / "pkg-x" / "deep" / "er" / "empty.txt", "")
    write(code / "größe é.txt", "ü\r\n")
    write(Path(os.fsdecode(os.fsencode(code) + b"/\xff\xfe.txt")))
    (code / "nothing" / "inside").mkdir(parents=True)
    (code / "link").symlink_to("pkg/mod.py")
    (code / "dangling").symlink_to("nowhere")
    (code / "to-folder").symlink_to("pkg")
    write(code / "group", "x").chmod(0o654)
    assert tree_id(str(code)) == tree_of_git(code)


def test_what_gitignore_files_name_is_left_out(code: Path) -> None:
    write(code / ".gitignore", "*.log\n!keep.log\n/top\nbuild/\na/**/z\n# x\n\\#y\nend\\ \nt  \r\n")
    for name in ("a.log", "keep.log", "top", "sub/top", "build/x", "sub/build/y", "a/z", "a/b/c/z"):
        write(code / name)
    for name in ("#y", "end ", "end", "t", "# x", "deep/keep.log", "deep/.gitignore"):
        write(code / name)
    write(code / "deep" / ".gitignore", "*\n!keep.log\n!.gitignore\n")
    assert tree_id(str(code)) == tree_of_git(code)


def test_what_is_converted_counts_as_git_keeps_it(code: Path) -> None:
    write(
        code / ".gitattributes",
        "* text=auto\n*.bat eol=crlf\n*.raw -text\n*.txt text\n*.id ident\nsub/*.md !text\n"
        '"with space.cs" text\n*.u16 working-tree-encoding=UTF-16LE\n*.bin binary\n'
        "*.old crlf=input\n",
    )
    for name in ("a.py", "a.bat", "a.raw", "a.txt", "with space.cs", "sub/a.md", "a.bin", "a.old"):
        write(code / name, b"one\r\ntwo\r\n")
        write(code / "sub" / name, b"one\r\ntwo\n")
    write(code / "lone.py", b"one\rtwo\r\n")
    write(code / "zero.py", b"one\0two\r\n")
    write(code / "zero.txt", b"one\0two\r\n")
    write(code / "control.py", b"\1\2one\r\n")
    write(code / "end.py", b"one\r\n\x1a")
    write(code / "a.id", b"$Id: 0123 $ $Id$ $Id: no\n$\r\n")
    write(code / "a.u16", "é\r\n".encode("utf-16-le"))
    write(code / "sub" / ".gitattributes", "*.txt -text\n*.raw text\n")
    assert tree_id(str(code)) == tree_of_git(code)


def test_attributes_with_values_that_git_does_not_know_change_nothing(code: Path) -> None:
    write(
        code / ".gitattributes",
        "*.a eol\n*.b text=foo eol=lf\n*.c text=foo crlf=input\n*.d -text eol=lf\n"
        "*.e working-tree-encoding=UTF-8\n",
    )
    for name in "abcd":
        write(code / f"file.{name}", b"one\r\n")
    write(code / "file.e", b"\xff\r\n")
    assert tree_id(str(code)) == tree_of_git(code)


def test_a_large_file_that_is_no_text_is_never_held_in_memory(code: Path) -> None:
    write(code / ".gitattributes", "* text=auto\n")
    with (code / "weights.bin").open("wb") as file:
        file.truncate(100_000_000)
    tracemalloc.start()
    found = tree_id(str(code))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000_000
    assert found == tree_of_git(code)


def test_of_a_large_file_its_pointer_counts(code: Path) -> None:
    write(code / ".gitattributes", "*.h5 filter=lfs diff=lfs merge=lfs -text\n")
    write(code / "model.h5", b"much\r\n" * 1000)
    write(code / "other.h5", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    found = tree_id(str(code))
    digest = hashlib.sha256(b"much\r\n" * 1000).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 6000\n"
    write(code / "model.h5", pointer)
    assert found == tree_of_git(code)


def test_a_repository_inside_counts_by_its_commit(code: Path) -> None:
    write(code / "a.py")
    inner = code / "inner"
    write(inner / "b.py")
    git(inner, "init", "--quiet")
    git(inner, "add", ".")
    git(inner, "commit", "--quiet", "-m", "x")
    assert tree_id(str(code)) == tree_of_git(code)


def test_what_running_and_results_leave_is_no_code(code: Path) -> None:
    write(code / "a.py")
    before = tree_id(str(code))
    write(code / "__pycache__" / "a.cpython-311.pyc")
    write(code / "sub" / "__pycache__" / "b.pyc")
    write(code / ".ipynb_checkpoints" / "a.ipynb")
    write(code / "results" / "out.json")
    os.mkfifo(code / "pipe")
    assert tree_id(str(code), without=[os.path.realpath(code / "results")]) == before


def test_what_keeps_the_folders_of_data_and_results_in_a_repository_is_of_the_code(
    code: Path,
) -> None:
    write(code / "a.py")
    write(code / ".gitignore", "/data/*\n!/data/.gitkeep\n")
    write(code / "data" / ".gitkeep", "")
    write(code / "results" / ".gitignore", "*\n!.gitignore\n")
    wanted = tree_of_git(code)
    write(code / "data" / "raw.bin")
    write(code / "results" / "deep" / ".gitkeep")
    write(code / "results" / "found.json")
    without = [os.path.realpath(code / name) for name in ("data", "results")]
    assert tree_id(str(code), without=without) == wanted


def test_what_cannot_be_read_whole_has_no_id(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TreeError, match="nothing in it"):
        tree_id(str(code))
    for number in range(70):
        write(code / f"{number}.py")
    with pytest.raises(TreeError, match="not enough time"):
        tree_id(str(code), seconds=0)
    monkeypatch.setattr(trees, "MOST_FILES", 60)
    with pytest.raises(TreeError, match="more than 60 files"):
        tree_id(str(code))
    with pytest.raises(TreeError, match="code of mine/gone cannot be read"):
        tree_id(str(code / "gone"))


def test_folders_that_are_nested_too_deep_have_no_id(code: Path) -> None:
    write(code.joinpath(*["d"] * 200, "a.py"))
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        with pytest.raises(TreeError, match="nested too deep"):
            tree_id(str(code))
    finally:
        sys.setrecursionlimit(usual)


def test_a_pattern_that_matches_in_many_ways_takes_no_time(code: Path) -> None:
    write(code / ".gitignore", "*a*a*a*a*a*a*a*a*a*a*b\n*a?a*[ab]*a*a/*a*a*a*a*a*a*c\n")
    write(code / ("a" * 200))
    write(code / ("a" * 100) / ("a" * 200))
    assert tree_id(str(code), seconds=60) == tree_of_git(code)


PARTS = st.sampled_from(["a", "b", "ab", "a b", "a.b", "-", "é", "[a]", "A", "c]", "\\", "^", "!"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
GLOBS = st.lists(
    st.sampled_from(
        ["a", "b", "*", "**", "/", "/", "?", "[ab]", "[!a]", "[^b", "[]-a]", "[[:alpha:]]", "]",
         "\\", " ", ".", "!", "#", "-", "é", "[--a]", "[a-]", "***", "\t", "[[:x:]]", "[a\\]]"]
    ),
    max_size=6,
).map("".join)  # fmt: skip


@given(
    paths=st.lists(PATHS, min_size=1, max_size=12),
    globs=st.lists(GLOBS, max_size=5),
    nested=st.lists(GLOBS, max_size=3),
)
@example(paths=["a/b", "a/ab"], globs=["a/**", "!a/b"], nested=[])
@example(paths=["a/b/a", "b/a"], globs=["**/b/", "!b"], nested=["!b"])
@example(paths=["a/a"], globs=[], nested=["a**/***"])
@example(paths=["a b", "a"], globs=["a ", "a\\ "], nested=[])
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_pattern_leaves_out_what_git_leaves_out(
    tmp_path: Path, paths: list[str], globs: list[str], nested: list[str]
) -> None:
    folder = tmp_path / "code"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in paths:
        try:
            write(folder / path)
        except OSError:  # one path makes a folder of what another made a file
            continue
    write(folder / "kept.txt")
    write(folder / ".gitignore", "\n".join([*globs, "!kept.txt"]))
    if (folder / "a").is_dir():
        write(folder / "a" / ".gitignore", "\n".join(nested))
    assert tree_id(str(folder)) == tree_of_git(folder)
