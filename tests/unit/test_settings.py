"""Facts and options: the first source that has one wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asset_provenance.settings import Settings, load_settings


def load(
    call: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    user_file: Path = Path("no-such-file"),
    script_folder: Path | None = None,
) -> Settings:
    return load_settings(
        call or {}, script_folder=script_folder, environ=environ or {}, own_file=user_file
    )


def value(settings: Settings, name: str) -> Any:
    given = settings.get(name)
    return None if given is None else given.value


def table(path: Path, **values: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f'{name} = "{text}"' for name, text in values.items())
    path.write_text(f"[tool.asset-provenance]\n{lines}\n")
    return path


@pytest.mark.parametrize("url", ["https://[::1/x", "https://", "pipeline"])
def test_a_pipeline_url_that_is_none_is_told_and_not_taken(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(environ={"PIPELINE_NAME": "ephys", "PIPELINE_URL": url})
    assert settings.problems == []
    assert value(settings, "pipelines") is None
    assert "PIPELINE_URL is not recorded" in caplog.text


def test_sources_come_in_the_order_call_environment_project_user(tmp_path: Path) -> None:
    names = ("project_name", "group", "institution", "license")
    user = table(tmp_path / "user.toml", **dict.fromkeys(names, "user"))
    project = table(Path("pyproject.toml"), **dict.fromkeys(names[:3], "project"))
    environ = {f"ASSET_PROVENANCE_{name.upper()}": "environment" for name in names[:2]}
    settings = load({"project_name": "call"}, environ, user)
    assert [value(settings, name) for name in names] == ["call", "environment", "project", "user"]
    given = settings.get("institution")
    assert given is not None
    assert given.source == str(project.absolute())


def test_none_in_the_call_counts_as_not_given() -> None:
    settings = load({"project_name": None}, {"ASSET_PROVENANCE_PROJECT_NAME": "x"})
    assert value(settings, "project_name") == "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First Last; Last, First", ["First Last", "Last, First"]),
        ('["A B"]', ["A B"]),
        ('{"name": "A B"}', [{"name": "A B"}]),
    ],
)
def test_lists_in_the_environment_are_json_or_separated_by_semicolons(
    text: str, expected: list[Any]
) -> None:
    assert (
        value(load(environ={"ASSET_PROVENANCE_INVESTIGATORS": text}), "investigators") == expected
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("1", True), ("NO", False), ("off", False)]
)
def test_flags_in_the_environment_are_true_or_false(text: str, expected: bool) -> None:
    settings = load(environ={"ASSET_PROVENANCE_OFFLINE": text})
    assert settings.flag("offline", default=not expected) is expected


def test_faults_of_every_source_are_listed_not_raised(tmp_path: Path) -> None:
    Path("asset-provenance.toml").write_text("project_nam = 'x'\noffline = 'yes'\n")
    user = tmp_path / "user" / "asset-provenance.toml"
    user.parent.mkdir()
    user.write_text("not toml at all")
    settings = load(
        environ={
            "ASSET_PROVENANCE_OFFLINE": "maybe",
            "ASSET_PROVENANCE_TAGS": "[1,",
            "ASSET_PROVENANCE_LIVE": "perhaps",
            "ASSET_PROVENANCE_SERVICE_TIMEOUT": "0",
            "ASSET_PROVENANCE_MAX_REPEATS": "0",
        },
        user_file=user,
    )
    text = "\n".join(settings.problems)
    assert "project_nam is not a setting; did you mean 'project_name'?" in text
    assert "offline must be true or false, not 'yes'" in text
    assert "'maybe' is neither true nor false" in text
    assert "ASSET_PROVENANCE_TAGS: not valid JSON" in text
    assert f"{user}: " in text
    assert "ASSET_PROVENANCE_LIVE: 'perhaps' is neither true nor false" in text
    assert "'0' is not a number of seconds above 0" in text
    assert "'0' is not a whole number above 0" in text


@pytest.mark.parametrize("seconds", ["3000000", "1e7", "inf", "nan", "-1"])
def test_a_time_that_nobody_can_wait_for_is_told(seconds: str) -> None:
    wanted = "a number of seconds above 0, and at most 86400"
    settings = load(environ={"ASSET_PROVENANCE_SERVICE_TIMEOUT": seconds})
    assert f"'{seconds}' is not {wanted}" in settings.problems[0]
    Path("asset-provenance.toml").write_text(f"service_timeout = {seconds}\n")
    (problem,) = load().problems
    assert f"service_timeout must be {wanted}" in problem


def test_a_misspelled_variable_is_told_with_the_nearest_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load(environ={"ASSET_PROVENANCE_EXPERIMENTER": "x"})
    assert "did you mean 'ASSET_PROVENANCE_EXPERIMENTERS'?" in caplog.text


def test_the_toml_is_looked_for_from_the_script_s_folder_first(tmp_path: Path) -> None:
    table(Path("pyproject.toml"), project_name="working folder")
    table(tmp_path / "code" / "pyproject.toml", project_name="script")
    (tmp_path / "code" / "deep" / "er").mkdir(parents=True)
    settings = load(script_folder=tmp_path / "code" / "deep" / "er")
    assert value(settings, "project_name") == "script"
    assert value(load(), "project_name") == "working folder"


def test_a_pyproject_without_our_table_is_passed_over(tmp_path: Path) -> None:
    inner = tmp_path / "work" / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[tool.other]\n")
    table(tmp_path / "work" / "pyproject.toml", project_name="outer")
    assert value(load(script_folder=inner), "project_name") == "outer"


def test_a_broken_pyproject_is_our_trouble_only_if_it_speaks_of_us() -> None:
    Path("pyproject.toml").write_text("[tool.other\n")
    assert load().problems == []
    Path("pyproject.toml").write_text("[tool.asset-provenance\n")
    assert len(load().problems) == 1


def test_paths_in_a_file_are_meant_from_that_file_s_folder(tmp_path: Path) -> None:
    file = tmp_path / "code" / "asset-provenance.toml"
    file.parent.mkdir()
    file.write_text('data_root = "../data"\noutput_dir = "/results"\n')
    settings = load(script_folder=file.parent)
    assert settings.text("data_root") == f"{tmp_path}/code/../data"
    assert settings.text("output_dir") == "/results"
