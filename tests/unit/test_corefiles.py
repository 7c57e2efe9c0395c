"""Metadata of other assets are data from elsewhere: read within bounds, or refused in words."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_provenance import DerivedAsset, PreflightError
from asset_provenance.corefiles import MAX_BYTES, MAX_DEPTH, parse_json, read_bytes
from helpers.assets import PEOPLE, RAW, description, make_asset

PATH = Path("subject.json")


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def test_nesting_is_read_to_its_bound_and_no_deeper() -> None:
    assert parse_json(nested(MAX_DEPTH), PATH)
    for depth in (MAX_DEPTH + 1, 1_000, 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(nested(depth), PATH)


def test_a_file_is_read_to_its_bound_and_no_larger() -> None:
    with PATH.open("wb") as file:
        file.truncate(MAX_BYTES)
    assert len(read_bytes(PATH)) == MAX_BYTES
    with PATH.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match=f"has {MAX_BYTES + 1} bytes"):
        read_bytes(PATH)


def test_a_large_hostile_file_is_refused_in_time() -> None:
    for content in (b"[" * 10_000_000, b'{"a":' + b'"' * 10_000_000, b'{"a":' + b"9" * 10_000_000):
        begin = time.monotonic()
        with pytest.raises(ValueError, match="not valid JSON|too deeply"):
            parse_json(content, PATH)
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON: line 1"),
        (b"[]", "holds list, not a JSON object"),
        (b'{"a": NaN}', "holds NaN, which JSON does not know"),
        (b'{"a": -Infinity}', "holds -Infinity"),
        (b'{"a": [1e308, -1e309]}', "holds -1e309, a number that is too large"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": 1}\0', "not valid JSON"),
    ],
)
def test_what_is_no_metadata_is_refused_in_words(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(content, PATH)


@given(st.binary() | st.recursive(st.none(), st.lists).map(lambda v: json.dumps(v).encode()))
@settings(max_examples=300)
def test_any_bytes_are_an_object_or_a_value_error(content: bytes) -> None:
    try:
        assert isinstance(parse_json(content, PATH), dict)
    except ValueError as error:
        assert str(PATH) in str(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_fifo_or_a_device_is_neither_read_nor_waited_for(data_root: Path) -> None:
    os.mkfifo("fifo.json")
    for path in (Path("fifo.json"), Path("/dev/zero"), Path.cwd()):
        with pytest.raises(ValueError, match="is not a regular file"):
            read_bytes(path)
    folder = make_asset(data_root)
    (folder / "subject.json").unlink()
    os.mkfifo(folder / "subject.json")
    with pytest.raises(PreflightError, match=r"subject\.json is not a regular file"):
        DerivedAsset("t", inputs=folder, **PEOPLE).start()


def test_a_link_is_followed_as_pipelines_stage_files_but_not_to_another_name(
    data_root: Path, tmp_path: Path
) -> None:
    folder = make_asset(data_root)
    staged = tmp_path / "staged"
    staged.mkdir()
    (folder / "subject.json").rename(staged / "subject.json")
    (folder / "subject.json").symlink_to(staged / "subject.json")
    with DerivedAsset("t", inputs=folder, **PEOPLE):
        pass
    assert not Path("results/subject.json").is_symlink()
    secret = tmp_path / "secret.json"
    secret.write_text('{"canary": 1}')
    (folder / "subject.json").unlink()
    (folder / "subject.json").symlink_to(secret)
    with pytest.raises(PreflightError, match="is a link to a file of another name"):
        DerivedAsset("t", inputs=folder, overwrite=True, **PEOPLE).start()


@pytest.mark.parametrize(
    "name", ["../../etc/x", "a\nb", "\x1b[31mred", "a\\b", "x" * 300, "a\u009bb", "/abs"]
)
def test_a_name_that_could_do_harm_is_refused(data_root: Path, name: str) -> None:
    folder = make_asset(data_root)
    (folder / "data_description.json").write_text(json.dumps(description(name)))
    with pytest.raises(PreflightError) as caught:
        DerivedAsset("t", inputs=folder, **PEOPLE).start()
    assert "cannot be that of an asset" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert not Path("results").exists()


def test_a_folder_name_with_control_characters_is_written_out(
    data_root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_root / "bad\x1b[31m\nname").mkdir()

    from helpers.assets import FACTS

    facts: dict[str, Any] = {**FACTS, **PEOPLE}
    with DerivedAsset("t", inputs=data_root / "bad\x1b[31m\nname", base_name="b", **facts):
        pass
    assert "\x1b" not in caplog.text
    described = json.loads(Path("results/data_description.json").read_text())
    assert described["source_data"] == ["bad\\x1b[31m\\nname"]


def test_html_in_a_name_stays_text(data_root: Path) -> None:
    folder = make_asset(data_root, "<b>1_2026-03-02_18-30-05", mount=RAW)
    with DerivedAsset("t", inputs=folder, **PEOPLE) as asset:
        pass
    assert (asset.name or "").startswith("<b>1_2026-03-02_18-30-05_t_")
