"""Which code is found for functions, files and what the user names."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.util
import io
import json
import math
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import wrapt

from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.given_code import code_from_user
from asset_provenance.errors import UsageError
from helpers.repositories import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

CANARY = "ghp_CanaryCanaryCanaryCanaryCanary000000"
PUBLIC = "https://github.com/AllenNeuralDynamics/unit-tuning"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ANALYSIS = """
import functools
def analyse(x=1): return x
def other(x): return x
class Unit:
    def method(self): return 1
    @classmethod
    def made(cls): return 1
    @staticmethod
    def still(): return 1
    def __call__(self): return 1
async def waits(): return 1
def steps(): yield 1
"""


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _clean_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith(("ran_", "tinytuning")):
            del sys.modules[name]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / "code").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "code" / "analysis.py").write_text(ANALYSIS)
    (folder / ".gitignore").write_text(".venv/\n__pycache__/\n")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "work")
    git(folder, "remote", "add", "origin", f"https://{CANARY}@github.com/{PUBLIC[19:]}.git")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


@pytest.fixture
def analysis(repo: Path) -> ModuleType:
    return load(repo / "code" / "analysis.py", "ran_analysis")


def install(
    site: Path,
    *,
    metadata: str = "",
    direct_url: dict[str, Any] | None = None,
    installer: str = "pip",
    files: dict[str, str] | None = None,
) -> Path:
    """Install a small wheel as pip would, and give the module's file."""
    info = "tinytuning-1.2.3.dist-info"
    contents = {
        "tinytuning/__init__.py": "",
        "tinytuning/core.py": ANALYSIS,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-tuning\nVersion: 1.2.3\n{metadata}",
        **(files or {}),
    }
    if installer:
        contents[f"{info}/INSTALLER"] = f"{installer}\n"
    if direct_url is not None:
        contents[f"{info}/direct_url.json"] = json.dumps(direct_url)
    record = io.StringIO()
    csv.writer(record).writerows([name, "", ""] for name in (*contents, f"{info}/RECORD"))
    contents[f"{info}/RECORD"] = record.getvalue()
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    sys.path.insert(0, str(site))
    return site / "tinytuning" / "core.py"


def test_a_function_of_a_repository_gives_url_commit_script_and_language(
    repo: Path, analysis: ModuleType
) -> None:
    record = CodeIdentifier().of_function(analysis.analyse)
    assert record is not None
    assert record.url == PUBLIC
    assert record.commit_hash == git(repo, "rev-parse", "HEAD")
    assert record.run_script == "code/analysis.py"
    assert record.language == "Python"
    assert record.language_version == platform.python_version()
    assert record.notes == ()
    assert CANARY not in repr(record)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@wrapt.decorator
def wrapt_decorated(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: m.analyse,
        lambda m: functools.partial(m.analyse, 1),
        lambda m: functools.partial(functools.partial(m.analyse), 1),
        lambda m: decorated(m.analyse),
        lambda m: decorated(decorated(functools.partial(m.analyse))),
        lambda m: wrapt_decorated(m.analyse),
        lambda m: functools.lru_cache(m.analyse),
        lambda m: functools.singledispatch(m.analyse),
        lambda m: functools.partialmethod(m.analyse),
        lambda m: staticmethod(m.analyse),
        lambda m: m.Unit().method,
        lambda m: m.Unit.made,
        lambda m: m.Unit.still,
        lambda m: wrapt_decorated(m.Unit().method),
        lambda m: m.Unit(),
        lambda m: m.Unit,
        lambda m: m.waits,
        lambda m: m.steps,
    ],
)
def test_the_innermost_source_of_a_callable_counts(
    analysis: ModuleType, wrap: Callable[[ModuleType], Any]
) -> None:
    record = CodeIdentifier().of_function(wrap(analysis))
    assert record is not None
    assert (record.url, record.run_script, record.notes) == (PUBLIC, "code/analysis.py", ())


def test_a_proxy_that_wraps_for_ever_or_raises_costs_nothing_but_the_fact() -> None:
    class Endless:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self) -> None: ...

    class Raises:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> None: ...

    identifier = CodeIdentifier()
    identifier.of_function(Endless())
    assert identifier.of_function(Raises()) is None


def test_the_same_text_in_two_files_is_told_apart(repo: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "analysis.py"
    copy.parent.mkdir()
    copy.write_text(ANALYSIS)
    first = load(repo / "code" / "analysis.py", "ran_first").analyse
    second = load(copy, "ran_second").analyse
    assert first.__code__ == second.__code__
    identifier = CodeIdentifier()
    records = [identifier.of_function(function) for function in (first, second)]
    assert [record and record.url for record in records] == [PUBLIC, copy.parent.as_uri()]


def test_a_file_outside_any_repository_is_a_file_uri_that_others_cannot_reach(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("script.py", "second.py"):
        (tmp_path / name).write_text("A = 1\n")
    identifier = CodeIdentifier()
    record = identifier.of_file(str(tmp_path / "script.py"))
    identifier.of_file(str(tmp_path / "second.py"))
    assert (record.url, record.commit_hash, record.version) == (tmp_path.as_uri(), None, None)
    assert record.run_script == "script.py"
    assert record.notes == ("the URL is a folder of one machine: others cannot reach it",)
    assert caplog.text.count("others cannot reach") == 1  # said once


def test_an_installed_function_gives_version_and_the_projects_url(tmp_path: Path) -> None:
    core = install(
        tmp_path / "target",
        metadata="Project-URL: Documentation, https://docs.example.org\n"
        "Project-URL: Homepage, https://example.org\n"
        f"Project-URL: Source Code, https://{CANARY}@github.com/org/tiny-tuning.git\n",
    )
    record = CodeIdentifier().of_function(load(core, "tinytuning.core").Unit().method)
    assert record is not None
    assert record.url == "https://github.com/org/tiny-tuning"
    assert (record.name, record.version, record.commit_hash) == ("tiny-tuning", "1.2.3", None)
    assert (record.run_script, record.notes) == ("tinytuning/core.py", ())
    assert CANARY not in repr(record)


@pytest.mark.parametrize(
    ("metadata", "installer", "direct_url", "url"),
    [
        ("Home-page: https://example.org/tiny\n", "pip", None, "https://example.org/tiny"),
        ("Home-page: UNKNOWN\n", "pip", None, "https://pypi.org/project/tiny-tuning/"),
        ("", "uv", None, "https://pypi.org/project/tiny-tuning/"),
        ("", "conda", None, None),
        ("", "", None, None),
        (
            "",
            "pip",
            {"url": "https://example.org/tiny-1.2.3.whl", "archive_info": {}},
            "https://example.org/tiny-1.2.3.whl",
        ),
        ("", "pip", {"url": "file:///home/me/tiny", "dir_info": {}}, "file:///home/me/tiny"),
        (
            "Project-URL: repository, https://github.com/org/tiny\n",
            "pip",
            {"url": "file:///home/me/tiny", "dir_info": {}},
            "https://github.com/org/tiny",
        ),
    ],
)
def test_only_what_came_from_an_index_is_said_to_be_there(
    tmp_path: Path,
    metadata: str,
    installer: str,
    direct_url: dict[str, Any] | None,
    url: str | None,
) -> None:
    site = tmp_path / "target"
    core = install(site, metadata=metadata, installer=installer, direct_url=direct_url)
    record = CodeIdentifier().of_file(str(core))
    assert record.url == url or (url is None and record.url == site.as_uri())
    assert record.version == "1.2.3"
    assert record.url.startswith("https://") or "others cannot reach it" in record.notes[0]


def test_a_package_installed_from_git_gives_url_and_commit(tmp_path: Path) -> None:
    direct_url = {
        "url": f"https://user:{CANARY}@github.com/org/tiny-tuning.git",
        "vcs_info": {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"},
    }
    core = install(
        tmp_path / "target", direct_url=direct_url, metadata="Home-page: https://example.org\n"
    )
    record = CodeIdentifier().of_file(str(core))
    assert record.url == "https://github.com/org/tiny-tuning"
    assert (record.commit_hash, record.version) == (COMMIT, "1.2.3")
    assert CANARY not in repr(record)


def test_a_malformed_direct_url_costs_no_exception(tmp_path: Path) -> None:
    core = install(tmp_path / "target", metadata="Home-page: https://example.org\n")
    (core.parents[1] / "tinytuning-1.2.3.dist-info" / "direct_url.json").write_text("{[")
    assert CodeIdentifier().of_file(str(core)).url == "https://example.org"


def test_installed_code_is_never_of_the_repository_around_its_environment(repo: Path) -> None:
    site = repo / ".venv" / "lib" / "python3.11" / "site-packages"
    core = install(site, metadata="Home-page: https://example.org/tiny\n")
    by_hand = site / "by_hand.py"
    by_hand.write_text("A = 1\n")
    identifier = CodeIdentifier()
    assert identifier.of_file(str(core)).url == "https://example.org/tiny"
    assert identifier.of_file(str(by_hand)).url == site.as_uri()
    assert identifier.of_file(str(by_hand)).commit_hash is None


def test_a_package_copied_into_a_repository_by_pip_keeps_its_own_identity(repo: Path) -> None:
    core = install(repo / "vendored", metadata="Home-page: https://example.org/tiny\n")
    assert CodeIdentifier().of_file(str(core)).url == "https://example.org/tiny"


def test_an_editable_install_is_found_in_its_work_tree(repo: Path, tmp_path: Path) -> None:
    # As pip leaves it: RECORD names the .pth file and not the sources.
    site = tmp_path / "site-packages"
    install(site, files={"__editable__.analysis.pth": f"{repo / 'code'}\n"})
    # As setuptools' develop mode leaves it.
    egg_info = repo / "code" / "analysis.egg-info"
    egg_info.mkdir()
    (egg_info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: analysis\nVersion: 9\n")
    (egg_info / "SOURCES.txt").write_text("analysis.py\n")
    (egg_info / "top_level.txt").write_text("analysis\n")
    sys.path.insert(0, str(repo / "code"))
    record = CodeIdentifier().of_file(str(repo / "code" / "analysis.py"))
    assert (record.url, record.version) == (PUBLIC, None)


def test_an_environment_of_links_is_known_by_the_name_of_the_link(tmp_path: Path) -> None:
    # uv's link mode "symlink": each file of site-packages leads into a cache.
    core = install(tmp_path / "site-packages", metadata="Home-page: https://example.org\n")
    cached = tmp_path / "cache" / "core.py"
    cached.parent.mkdir()
    core.rename(cached)
    core.symlink_to(cached)
    assert CodeIdentifier().of_file(str(core)).version == "1.2.3"


def test_a_package_without_a_list_of_files_is_known_by_its_top_level_name(tmp_path: Path) -> None:
    # As Debian installs.
    site = tmp_path / "dist-packages"
    (site / "tinytuning").mkdir(parents=True)
    (site / "tinytuning" / "core.py").write_text(ANALYSIS)
    info = site / "tinytuning-4.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text(
        "Metadata-Version: 1.1\nName: tinytuning\nVersion: 4\nHome-page: https://example.org\n"
    )
    (info / "top_level.txt").write_text("tinytuning\n")
    sys.path.insert(0, str(site))
    record = CodeIdentifier().of_file(str(site / "tinytuning" / "core.py"))
    assert (record.url, record.version) == ("https://example.org", "4")


def test_a_c_function_gives_its_distribution() -> None:
    identifier = CodeIdentifier()
    for function in (np.add, np.array, np.zeros(1).sum):
        record = identifier.of_function(function)
        assert record is not None
        assert (record.name, record.version) == ("numpy", np.__version__)


@pytest.mark.parametrize("function", [len, print, math.sin, [].append, int, str.upper])
def test_what_is_built_into_python_gives_nothing(function: Callable[..., Any]) -> None:
    assert CodeIdentifier().of_function(function) is None


def run_python(code: str, folder: Path, *arguments: str, stdin: str = "") -> dict[str, Any]:
    """Run code in a fresh interpreter and give the last line it prints, from JSON."""
    result = subprocess.run(
        [sys.executable, *arguments, *(["-c", code] if code else [])],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        input=stdin,
        text=True,
        capture_output=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


SHOW = """
import json
from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.records import to_json
identifier = CodeIdentifier()
def show(record):
    print(json.dumps(record and to_json(record)))
"""


def test_a_function_without_a_file_is_of_the_working_folders_repository(repo: Path) -> None:
    cell = "exec(compile('def f(): pass', '/tmp/ipykernel_1/2.py', 'exec'))\n"
    for make in ("def f(): pass\n", cell):
        record = run_python(f"{SHOW}\n{make}\nshow(identifier.of_function(f))", repo / "code")
        assert record["url"] == PUBLIC
        assert record["commit_hash"] == git(repo, "rev-parse", "HEAD")
        assert "run_script" not in record
        assert "not in a file" in record["notes"][-1]


def test_a_function_made_by_exec_is_of_the_script_or_module_that_made_it(
    repo: Path, tmp_path: Path
) -> None:
    script = repo / "code" / "main.py"
    script.write_text(
        f"{SHOW}\nspace = {{'__name__': '__main__'}}\nexec('def f(): pass', space)\n"
        "show(identifier.of_function(space['f']))"
    )
    record = run_python("", tmp_path, str(script))
    assert (record["url"], record["run_script"]) == (PUBLIC, "code/main.py")
    assert "not in a file" in record["notes"][-1]

    module = load(repo / "code" / "analysis.py", "ran_analysis")
    exec("def f(): pass", module.__dict__)
    found = CodeIdentifier().of_function(module.f)
    assert found is not None
    assert (found.url, found.run_script) == (PUBLIC, "code/analysis.py")
    assert "not in a file" in found.notes[-1]


def test_the_main_script_is_found_and_there_is_none_at_a_prompt(repo: Path, tmp_path: Path) -> None:
    script = repo / "code" / "main.py"
    script.write_text(f"{SHOW}\nshow(identifier.of_main())")
    assert run_python("", tmp_path, str(script))["run_script"] == "code/main.py"
    assert run_python(f"{SHOW}\nshow(identifier.of_main())", repo) is None
    # A block of code at a prompt: Python calls its file <stdin>.
    record = run_python("", repo, "-", stdin=f"{SHOW}\nshow(identifier.of_file('<stdin>'))")
    assert record["url"] == PUBLIC


def test_without_a_working_folder_nothing_raises(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    record = run_python(
        f"import os; os.rmdir({str(gone)!r})\n{SHOW}\ndef f(): pass\n"
        "identifier.of_file('nothing.py')\nshow(identifier.of_function(f))",
        gone,
        "-P",
    )
    assert "which code this is could not be found out" in record["notes"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file name that is no text")
def test_a_script_whose_name_is_no_text_can_be_written_to_json(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.py"
    Path(os.fsdecode(path)).write_text("A = 1\n")
    record = CodeIdentifier().of_file(os.fsdecode(path))
    assert record.run_script == r"caf\xe9.py"
    json.dumps(dataclasses.asdict(record)).encode("utf-8")


def test_settings_win_over_git_and_the_changes_of_the_work_tree_are_still_said(
    repo: Path, analysis: ModuleType
) -> None:
    (repo / "code" / "analysis.py").write_text(ANALYSIS + "# changed\n")
    head = git(repo, "rev-parse", "HEAD")
    record = CodeIdentifier(
        code_url=f"https://{CANARY}@example.org/mirror.git", code_version="v2.0"
    ).of_function(analysis.analyse)
    assert record is not None
    assert record.url == "https://example.org/mirror"
    assert (record.version, record.commit_hash) == ("v2.0", head)
    assert "1 file has uncommitted changes" in record.notes[0]
    assert f"the commit is of the work tree of {PUBLIC}" in record.notes
    assert CANARY not in repr(record)


def test_a_version_from_settings_that_is_a_commit_wins_over_the_work_trees(
    repo: Path, analysis: ModuleType
) -> None:
    head = git(repo, "rev-parse", "HEAD")
    record = CodeIdentifier(code_version=COMMIT).of_function(analysis.analyse)
    assert record is not None
    assert (record.url, record.version, record.commit_hash) == (PUBLIC, None, COMMIT)
    assert record.notes == (f"the work tree was at commit {head}",)


def test_settings_of_the_run_are_not_mixed_with_the_facts_of_an_installed_package(
    tmp_path: Path,
) -> None:
    core = str(install(tmp_path / "target", metadata="Home-page: https://example.org/tiny\n"))
    record = CodeIdentifier(code_version="v2.0").of_file(core)
    assert (record.url, record.version) == ("https://example.org/tiny", "1.2.3")
    record = CodeIdentifier(code_url=PUBLIC).of_file(core)
    assert (record.url, record.name, record.version) == (PUBLIC, None, None)


def test_a_url_from_settings_makes_code_outside_git_reachable(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("A = 1\n")
    record = CodeIdentifier(code_url=PUBLIC, code_version="v1").of_file(str(tmp_path / "run.py"))
    assert (record.url, record.version, record.run_script) == (PUBLIC, "v1", "run.py")
    assert record.notes == ()


def test_of_a_commit_from_settings_nobody_says_that_it_ran_unchanged(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("A = 1\n")
    identifier = CodeIdentifier(code_url=PUBLIC, code_version=COMMIT)
    record = identifier.of_file(str(tmp_path / "run.py"))
    assert record.commit_hash == COMMIT
    assert record.notes == (
        "uncommitted changes were not looked for: the commit is as it was given",
    )


@pytest.mark.parametrize(
    ("text", "url", "version", "commit"),
    [
        (f"{PUBLIC}@v1.2", PUBLIC, "v1.2", None),
        (f"{PUBLIC}.git@{COMMIT}", PUBLIC, None, COMMIT),
        (f"{PUBLIC}@1a2b3c4", PUBLIC, None, "1a2b3c4"),
        (f"{PUBLIC}@20240101", PUBLIC, "20240101", None),
        (f"{PUBLIC}@{'1' * 40}", PUBLIC, None, "1" * 40),
        (f"{PUBLIC}@abc123", PUBLIC, "abc123", None),
        (PUBLIC, PUBLIC, None, None),
        ("git@github.com:org/repo", "https://github.com/org/repo", None, None),
        ("git@github.com:org/repo@v2", "https://github.com/org/repo", "v2", None),
        ("git@github.com:repo.git", "https://github.com/repo", None, None),
        (f"https://user:{CANARY}@host.org/x", "https://host.org/x", None, None),
        (f"https://user:{CANARY}@host.org/x@v1", "https://host.org/x", "v1", None),
        (f"https://user:{CANARY}@host.org", "https://host.org", None, None),
    ],
)
def test_url_and_version_in_one_text_are_told_apart(
    text: str, url: str, version: str | None, commit: str | None
) -> None:
    record = code_from_user(text).record
    assert (record.url, record.version, record.commit_hash) == (url, version, commit)
    assert CANARY not in repr(record)


CONTAINER = {"container_type": "Docker", "tag": "1", "uri": f"https://u:{CANARY}@ghcr.io/x"}


def test_a_mapping_gives_the_record_without_credentials() -> None:
    record = code_from_user(
        {
            "url": f"https://{CANARY}@github.com/org/repo.git",
            "name": "repo",
            "commit_hash": COMMIT,
            "run_script": Path("code") / "run.py",
            "container": CONTAINER,
        }
    ).record
    assert (record.url, record.name) == ("https://github.com/org/repo", "repo")
    assert (record.commit_hash, record.run_script) == (COMMIT, "code/run.py")
    assert record.container is not None
    assert record.container["container_type"] == "Docker"
    assert record.language is None
    assert CANARY not in repr(record)


def test_the_schemas_code_gives_the_record() -> None:
    from aind_data_schema.components.identifiers import Code, Container, Software

    record = code_from_user(
        Code(
            url="https://github.com/org/repo",
            version="1.0",
            run_script="code/run.py",
            language="MATLAB",
            language_version="R2024b",
            container=Container(container_type="Docker", tag="1", uri="ghcr.io/x"),
            core_dependency=Software(name="Bonsai", version="2.8"),
        )
    ).record
    assert (record.url, record.version) == ("https://github.com/org/repo", "1.0")
    assert (record.run_script, record.language) == ("code/run.py", "MATLAB")
    assert record.container is not None
    assert record.container["uri"] == "ghcr.io/x"
    assert record.core_dependency is not None
    assert record.core_dependency["name"] == "Bonsai"
    json.dumps(dict(record.container))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "no URL"),
        ("   ", "no URL"),
        (f"{PUBLIC}@", "without a version"),
        ({}, "no URL"),
        ({"url": ""}, "no URL"),
        ({"url": 5}, "text for url"),
        ({"url": PUBLIC, "verison": "1"}, "verison"),
        ({"url": PUBLIC, "commit_hash": "abc-dirty"}, "commit_hash"),
        ({"url": PUBLIC, "container": "docker"}, "container"),
        ({"url": PUBLIC, "parameters": [1]}, "a mapping .* for parameters"),
        ({"url": PUBLIC, "input_data": "asset"}, "a list .* for input_data"),
        (5, "int"),
        (None, "NoneType"),
        ([PUBLIC], "list"),
    ],
)
def test_anything_else_is_a_usage_error_that_says_what_is_wrong(code: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        code_from_user(code)
