"""The documents: their code runs, and what they show is what happens.

Each document is followed from top to bottom, in one folder that is a git repository with the
examples in it. By the info string of a block:

``python``
    Is executed, all blocks of a document in one namespace. With a file name after it, it is
    that file; with ``written`` after that, it is only written. A ``text`` block that follows is
    what it prints.
``console``
    Lines that begin with ``$`` are run; what is shown below them is what they print, in which
    ``...`` stands for anything. With ``exits-1`` after it, that is their exit status.
``json FILE``
    Is a part of what that file holds.
``toml``, ``sh``
    Are settings, each of which is understood. With a file name after it, the first is that file.

``no-run`` after the language leaves a block out, and what the site is made with (``{toctree}``)
is left out as well. A document that makes its repository itself (``git init``) begins without one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from doctest import ELLIPSIS, OutputChecker
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.metadata.description import given_facts
from asset_provenance.settings import load_settings

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"
ARCHITECTURE = PROJECT / "docs" / "architecture.md"
SITE = PROJECT / "docs" / "_build"
DOCUMENTS = sorted(
    [
        *PROJECT.glob("*.md"),
        *(path for path in PROJECT.glob("docs/**/*.md") if SITE not in path.parents),
    ]
)
REMOTE = "https://github.com/your-lab/your-analysis.git"
SOMEONE = {
    f"GIT_{part}_{what}": value
    for part in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Example Researcher"), ("EMAIL", "example@example.com"))
}
NOT_EXAMPLES = {"demo.py", "example_data.py"}

_BLOCK = re.compile(r"^( *)```(\S+)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMIT = re.compile(r"\b[0-9a-f]{40}\b")
# Each version of the schema writes files of other sizes.
_SIZE = re.compile(r" +[\d,]+ bytes")
_LIST = re.compile(r"\bpackages-[0-9a-f]{12}\b")
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_PORT = re.compile(r"\blocalhost:\d+")
# When a document was written is not when it is tested; the recording's own time stays.
_TIME = re.compile(r"(?!2026-03-)\d{4}-\d\d-\d\d[T_ ]\d\d[-:]\d\d[-:]\d\d(\.\d+)?Z?")
# As commands tell them to people.
_SHORT_COMMIT = re.compile(r"\b[0-9a-f]{7,12}\b( \d{4}-\d\d-\d\d)?")
_CLOCK = re.compile(r"\b\d\d:\d\d:\d\d\b")
_DURATION = re.compile(r" *(?:<|\b)[\d.]+ m?s\b")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int


def blocks(document: Path) -> Iterator[Block]:
    """Give the blocks of a document that are to be looked at."""
    text = document.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        _, language, words, content = found.groups()
        if "no-run" not in words.split() and not language.startswith("{"):
            line = text.count("\n", 0, found.start(4)) + 1
            yield Block(language, tuple(words.split()), textwrap.dedent(content), line)


def relative(document: Path) -> str:
    return document.relative_to(PROJECT).as_posix()


def timeless(text: str) -> str:
    """Leave out what differs from one run to the next."""
    text = _LIST.sub("packages-RUN", text)
    text = _PORT.sub("localhost:PORT", _ID.sub("ID", text))
    return _COMMIT.sub("COMMIT", _SIZE.sub(" SIZE", _TIME.sub("TIME", text)))


def alike(shown: str, told: str) -> bool:
    """Whether a command told what is shown of it, but for what differs from one run to the next."""
    texts = [shown, told]
    for pattern, word in ((_CLOCK, "CLOCK"), (_DURATION, " DURATION"), (_SHORT_COMMIT, "COMMIT")):
        texts = [pattern.sub(word, timeless(text)) for text in texts]
    return OutputChecker().check_output(*texts, ELLIPSIS)


def holds(found: Any, shown: Any) -> bool:
    """Whether something holds all that is shown of it, perhaps among more."""
    if isinstance(found, dict) and isinstance(shown, dict):
        return all(key in found and holds(found[key], shown[key]) for key in shown)
    if isinstance(found, list) and isinstance(shown, list):
        return len(found) == len(shown) and all(map(holds, found, shown))
    return bool(found == shown)


def parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from parts(part)


class Reader:
    """Somebody who does, in the working folder, what a document says."""

    def __init__(self, document: Path) -> None:
        self.document = document
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""

    def prepare(self) -> None:
        """Put the examples and the document's own files under git, as pushed to a remote."""
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "examples", "examples", ignore=ignored)
        for block in blocks(self.document):
            if block.language == "python" and block.words:
                Path(block.words[0]).write_text(block.text, encoding="utf-8")
        if any("$ git init" in block.text for block in blocks(self.document)):
            return
        Path(".gitignore").write_text("/*/\n!/examples/\n__pycache__/\n")
        for command in (
            ("init", "--quiet", "--initial-branch=main"),
            ("add", "."),
            ("commit", "--quiet", "--message=Add the analysis"),
            ("remote", "add", "origin", REMOTE),
            ("update-ref", "refs/remotes/origin/main", "HEAD"),
        ):
            subprocess.run(["git", *command], env={**os.environ, **SOMEONE}, check=True)

    def follow(self, block: Block) -> Iterator[tuple[Any, Any]]:
        """Do what a block says; give what happened, and what the block shows of it."""
        where = f"{relative(self.document)}, line {block.line}"
        match block.language:
            case "python" if "written" not in block.words:
                self.printed = self.execute(block)
            case "text":
                yield timeless(self.printed), timeless(block.text)
            case "console":
                status = 1 if "exits-1" in block.words else 0
                for command, shown in commands(block.text):
                    told = self.run(command, status)
                    if shown:
                        yield (shown if alike(shown, told) else told), shown
            case "json":
                shown = json.loads(timeless(block.text))
                found = json.loads(timeless(Path(*block.words).read_text(encoding="utf-8")))
                is_there = any(holds(part, shown) for part in parts(found))
                yield (shown if is_there else found), shown
            case "python":
                pass  # a command that follows runs it
            case "toml" | "sh":
                if block.words:
                    Path(*block.words).write_text(block.text, encoding="utf-8")
                yield faults_of_settings(block), []
            case _:
                pytest.fail(f"{where}: nobody knows how to check a {block.language} block")

    def execute(self, block: Block) -> str:
        """Execute a block of Python, with the places in its document for tracebacks."""
        text, file = block.text, str(self.document)
        if block.words:
            file = str(Path(block.words[0]).resolve())
        else:
            text = "\n" * (block.line - 1) + text
        with redirect_stdout(StringIO()) as printed:
            exec(compile(text, file, "exec"), self.namespace)
        return printed.getvalue()

    def run(self, command: str, status: int) -> str:
        done = subprocess.run(
            ["sh", "-c", command],
            env={**os.environ, **SOMEONE, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == status, done.stderr
        return done.stdout


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Give the commands of a console block, each with the output that is shown."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def faults_of_settings(block: Block) -> list[str]:
    """Give what is wrong with the settings in a toml file or in the environment."""
    nowhere = Path("nowhere")
    environ: dict[str, str] = {}
    file = Path("settings.toml")
    file.write_text(block.text if block.language == "toml" else "", encoding="utf-8")
    if block.language == "sh":
        script = f"{block.text}\nenv -0"
        told = subprocess.run(["sh", "-c", script], env={}, capture_output=True, check=True).stdout
        environ = dict(pair.split("=", 1) for pair in told.decode().split("\0") if pair)
        environ = {name: value for name, value in environ.items() if name.startswith("ASSET_")}
    settings = load_settings(
        {}, script_folder=None, environ=environ, working_folder=nowhere, own_file=file
    )
    facts = given_facts(settings)
    nothing = [] if facts.values else ["nothing was given"]
    return [*settings.problems, *facts.problems, *nothing]


@pytest.mark.long
@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_what_a_document_shows_is_what_happens(document, monkeypatch):
    # As in an environment that is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    found = list(blocks(document))
    reader = Reader(document)
    if found:
        reader.prepare()
    for block in found:
        for happened, shown in reader.follow(block):
            assert happened == shown, f"{relative(document)}, line {block.line}"


def test_the_first_two_commands_of_the_readme_are_demo_and_test():
    told = re.findall(r"^\$ (.*)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert told[:2] == ["make demo", "make test"]


def test_the_readme_shows_every_example():
    text = README.read_text(encoding="utf-8")
    for path in (PROJECT / "examples").glob("*.py"):
        if path.name not in NOT_EXAMPLES:
            assert f"$ python examples/{path.name}" in text


def test_only_what_would_install_something_is_not_run():
    left_out = re.findall(
        r"^ *```(.*)no-run\n(.*)", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert left_out == [("console ", "$ make demo"), ("console ", "$ pip install asset-provenance")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_what_a_document_refers_to_is_there(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (document.parent / target).exists()
    for path, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert f"def {test}" in (PROJECT / path).read_text(encoding="utf-8")


def test_every_module_has_its_place_in_the_architecture():
    text = ARCHITECTURE.read_text(encoding="utf-8")
    for path in (PROJECT / "src" / "asset_provenance").rglob("*.py"):
        if path.name != "__init__.py":
            assert re.search(rf"\b{path.name}\b", text), path
