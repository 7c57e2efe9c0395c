"""``asset-provenance run``: programs of all kinds, run as by themselves and read back as assets."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.cli import main
from helpers.assets import RAW, graph, make_asset, processes, read_json
from helpers.repositories import commit, new_repository

RUN = [sys.executable, "-m", "asset_provenance.cli", "run"]
FACTS = [
    *("--set", "project_name=Synthetic project", "--set", "investigators=Example Researcher"),
    *("--set", "funding_source=AI", "--set", "modalities=ecephys", "--base-name", "test"),
]

CTRL_C, CTRL_Z = "\x03", "\x1a"


@pytest.fixture(autouse=True)
def _experimenter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_EXPERIMENTERS", "Sample Scientist")


@pytest.fixture
def table(data_root: Path) -> str:
    """A file of an input, by its path from the working folder."""
    make_asset(data_root)
    path = data_root / RAW / "units.csv"
    path.write_text("unit,rate\n3,1.5\n1,2.5\n2,0.5\n")
    return str(path.relative_to(Path.cwd()))


@pytest.fixture
def head() -> str:
    """The commit of a repository in the working folder, with scripts."""
    folder = new_repository(Path.cwd())
    Path("fit.R").write_text(
        "paths <- commandArgs(TRUE)\n"
        "units <- read.csv(paths[1])\n"
        "dir.create('results/fit')\n"
        "write.csv(data.frame(mean = mean(units$rate)), 'results/fit/mean.csv')\n"
        "write.csv(data.frame(n = nrow(units)), 'results/fit/n.csv')\n"
    )
    Path("steps.py").write_text(
        "import sys\n"
        "from asset_provenance import DerivedAsset, track_process\n"
        "@track_process\n"
        "def load(path):\n"
        "    return open(path).readlines()\n"
        "@track_process\n"
        "def save(rows, path):\n"
        "    open(path, 'w').writelines(rows)\n"
        "if sys.argv[3:]:\n"
        "    with DerivedAsset('inside', output_dir=sys.argv[3]):\n"
        "        save(load(sys.argv[1]), sys.argv[2])\n"
        "else:\n"
        "    save(load(sys.argv[1]), sys.argv[2])\n"
    )
    Path(".gitignore").write_text("data\nresults\n")
    return commit(folder)


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run([*RUN, *words], check=False, **options)


class Terminal:
    """A terminal of 123 columns with a shell that knows jobs."""

    def __init__(self) -> None:
        self._unread = ""
        self._shell, self._terminal = pty.fork()
        if self._shell == 0:
            os.environ["PS1"] = "READY "
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 123, 0, 0))
        self.wait_for("READY ")

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, text: str) -> str:
        """Read and give what it shows, up to that; no row of it is ever ours."""
        until = time.monotonic() + 30
        while text not in self._unread:
            left = max(0.0, until - time.monotonic())
            assert select.select([self._terminal], [], [], left)[0], self._unread
            self._unread += os.read(self._terminal, 65_536).decode(errors="replace")
        shown, _, self._unread = self._unread.partition(text)
        assert "\x1b[r" not in shown
        return shown

    def close(self) -> None:
        os.kill(self._shell, signal.SIGKILL)
        os.close(self._terminal)
        os.waitpid(self._shell, 0)


def test_a_line_for_a_shell_is_a_process_with_its_files_code_and_no_secret(
    table: str, head: str
) -> None:
    line = "sort | tee /dev/stderr | tail -n 2 > results/top.csv; exit 0"
    words = ["sh", "-c", line, "tool", "--password", "hunter2", "https://user:tok3n@host/x"]
    with Path(table).open() as given:
        told = run("--process-name", "top-units", "--", *words, stdin=given)
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr.startswith("1,2.5\n2,0.5\n3,1.5\nunit,rate\n")
    (made,) = processes(Path("results")).values()
    assert made["code"]["commit_hash"] == head
    assert "names no script" in made["notes"]
    assert [each["name"] for each in made["code"]["input_data"]] == [RAW]
    assert made["output_path"] == "top.csv"
    assert made["output_parameters"] == {"exit_status": 0}
    assert made["code"]["parameters"] == {
        "command": [*words[:4], "--password", "[redacted]", "https://[redacted]@host/x"]
    }
    assert read_json(Path("results/data_description.json"))["name"].startswith(f"{RAW}_top-units_")
    for path in Path("results").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"hunter2" not in content
        assert b"tok3n" not in content


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="there is no Rscript here")
def test_an_r_script_is_known_by_its_own_work_tree_and_its_language(table: str, head: str) -> None:
    told = run("--", "Rscript", "--no-save", "fit.R", table)
    assert told.returncode == 0, told.stderr
    made = processes(Path("results"))["fit"]
    code = made["code"]
    assert (code["commit_hash"], code["run_script"], code["language"]) == (head, "fit.R", "R")
    version = subprocess.run(["Rscript", "--version"], check=True, capture_output=True, text=True)
    assert f"version {code['language_version']} " in version.stdout + version.stderr
    assert [each["name"] for each in code["input_data"]] == [RAW]
    assert made["output_path"] == "fit"  # which no argument names
    assert not list(Path("results/provenance").glob("packages-*"))  # this command's are not its


def test_tracked_calls_inside_are_children_of_the_command(table: str, head: str) -> None:
    told = run("--", sys.executable, "steps.py", table, "results/copy.csv")
    assert told.returncode == 0, told.stderr
    made = processes(Path("results"))
    assert list(made) == ["steps", "load", "save"]
    assert graph(Path("results"))["steps"] == ["load", "save"]
    assert graph(Path("results"))["save"] == ["load"]
    assert {each["code"]["run_script"] for each in made.values()} == {"steps.py"}
    (packages,) = Path("results/provenance").glob("packages-*.txt")
    # Which only this command itself imports.
    assert not re.search(r"^rich==", packages.read_text(), re.MULTILINE)


def test_an_asset_inside_has_a_folder_of_its_own(table: str, head: str) -> None:
    command = [sys.executable, "steps.py", table]
    told = run("--", *command, "results/copy.csv", "results")
    assert told.returncode == 1
    assert "leave out either that run" in told.stderr
    assert not Path("results/processing.json").exists()
    assert not Path("results/copy.csv").exists()  # it was told before anything was computed
    told = run("--output-dir", "outer", "--", *command, "results/copy.csv", "results")
    assert told.returncode == 0, told.stderr
    assert list(processes(Path("results"))) == ["load", "save"]
    assert list(processes(Path("outer"))) == ["steps"]


def test_a_failure_is_written_if_asked_for_and_nobody_waits_for_what_is_left_running(
    tmp_path: Path,
) -> None:
    # It ends all of its group, as scripts do: but neither us nor what has a group of its own.
    line = "setsid sleep 50 & echo $!; sleep 0.5; trap 'exit 3' TERM; kill 0; sleep 1"
    with (tmp_path / "out").open("wb") as out:
        command = [*RUN, *FACTS, "--on-failure", "write", "--", "sh", "-c", line]
        status = subprocess.run(
            command, check=False, stdout=out, timeout=40, start_new_session=True
        ).returncode
    assert status == 3
    os.kill(int((tmp_path / "out").read_text()), signal.SIGKILL)  # it is still there
    (made,) = processes(Path("results")).values()
    assert made["output_parameters"] == {"exit_status": 3}
    assert "Failed: it ended with exit status 3" in made["notes"]
    assert "Left running when it ended: 1 of the programs that it started (sleep " in made["notes"]


def test_bytes_pass_untouched_and_a_closed_pipe_ends_the_command() -> None:
    content = os.urandom(1_000_000)
    with subprocess.Popen(
        [*RUN, *FACTS, "--", "cat", "-", "/dev/zero"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        feeding = threading.Thread(
            target=lambda: (running.stdin.write(content), running.stdin.close())
        )
        feeding.start()
        assert running.stdout.read(len(content)) == content
        feeding.join()
        running.stdout.close()
        assert running.wait(timeout=40) == -signal.SIGPIPE
        assert b"asset-provenance recover" in running.stderr.read()


def test_signals_are_passed_on_and_one_that_is_ignored_ends_nobody() -> None:
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def usr1(*_): raise SystemExit(7)\n"
        "signal.signal(signal.SIGUSR1, usr1)\n"
        "print('up', flush=True)\n"
        "time.sleep(50)\n"
    )
    command = [*RUN, *FACTS, "--on-failure", "write", "--", sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert running.poll() is None
        running.send_signal(signal.SIGUSR1)
        assert running.wait(timeout=40) == 7
    (made,) = processes(Path("results")).values()
    assert "The program got SIGTERM." in made["notes"]


def test_a_record_is_left_when_this_command_is_killed(
    table: str, head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sh", "-c", f"exec < {table}; echo $$; exec sleep 50"]
    with subprocess.Popen([*RUN, "--", *command], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        sleeping = int(running.stdout.readline())
        time.sleep(1.5)  # the promise is a second
        running.kill()
        running.wait(timeout=40)
        os.kill(sleeping, 0)
        os.kill(sleeping, signal.SIGKILL)
    assert main(["recover", "results", "--accept-failed"]) == 0, capsys.readouterr()
    (made,) = processes(Path("results")).values()
    assert made["code"]["commit_hash"] == head
    assert [each["name"] for each in made["code"]["input_data"]] == [RAW]


def test_a_terminal_stops_and_interrupts_the_command_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = (
        "import os, time\n"
        "print(f'up in {os.get_terminal_size().columns}', flush=True)\n"
        "for number in (1, 2):\n"
        "    try: time.sleep(50)\n"
        "    except KeyboardInterrupt: print(f'interrupt {number}', flush=True)\n"
    )
    Path("script.py").write_text(script)
    monkeypatch.setenv("ASSET_PROVENANCE_LIVE", "true")
    terminal = Terminal()
    try:
        terminal.type(shlex.join([*RUN, *FACTS, "--", sys.executable, "script.py"]) + "\n")
        terminal.wait_for("up in 123")
        terminal.type(CTRL_Z)
        terminal.wait_for("Stopped")
        terminal.wait_for("READY ")
        terminal.type("fg\n")
        terminal.wait_for("script.py\r\n")
        for number in (1, 2):
            time.sleep(0.4)  # the script sleeps again
            terminal.type(CTRL_C)
            terminal.wait_for(f"interrupt {number}")
        shown = terminal.wait_for("READY ")
        assert "asset-provenance show results" in shown
        terminal.type("echo status $?\n")
        terminal.wait_for("status 0")
        # The shell ends its loop only if a signal has ended what it ran.
        script = "import time; print('asleep', flush=True); time.sleep(50)"
        command = shlex.join([*RUN, *FACTS, "--overwrite", "--", sys.executable, "-c", script])
        terminal.type(f"for turn in first second; do echo the $turn; {command}; done\n")
        terminal.wait_for("the first")
        terminal.wait_for("asleep")
        terminal.type(CTRL_C)
        assert "the second" not in terminal.wait_for("READY ")
        terminal.type("echo status $?\n")
        terminal.wait_for("status 130")
    finally:
        terminal.close()
    (made,) = processes(Path("results")).values()
    assert made["name"] == "script"
    assert "The program got SIGINT." in made["notes"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--", "no-such-program"], "there is no program no-such-program on the PATH"),
        (["--", "./plain.txt"], "it is not executable"),
        (["--", "./results"], "it is a folder"),
        (["--process-type", "Analyses", "--", "./go"], "did you mean 'Analysis'?"),
        (["--process-name", "a b", "--", "./go"], "for instance 'a-b'"),
        (["--set", "projectname=x", "--", "./go"], "did you mean 'project_name'?"),
        (["--set", "experimenters=", "--", "./go"], "--set experimenters=VALUE"),
        (["--inputs", "no-such-asset", "--", "./go"], "project_name is missing"),
        (["--base-name", "a_b", "--", "./go"], "(no underscore)"),
        (["--set", "license=CC-BY", "--", "./go"], "--set NAME=VALUE"),
        (["--output-dir", "plain.txt", "--", "./go"], "the output folder with --output-dir"),
        (["--on-failure", "maybe", "--", "./go"], "Try: asset-provenance run --help"),
        ([], "Try: asset-provenance run --help"),
        ([*FACTS, "--", "./lost"], "names a program that is not there"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_run(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("results").mkdir()
    Path("plain.txt").touch()
    Path("go").write_text("#!/bin/sh\ntouch started\n")
    Path("lost").write_text("#!/no/such/program\n")
    for program in ("go", "lost"):
        Path(program).chmod(0o755)
    assert main(["run", *words]) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""
    assert not Path("started").exists()
    assert list(Path("results").iterdir()) == []


def test_a_working_folder_that_is_gone_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    assert main(["run", "--", "true"]) == 2
    assert "go to one that is there" in capsys.readouterr().err


def test_the_options_of_the_command_are_its_own_and_all_files_are_passed_on() -> None:
    reader, writer = os.pipe()
    Path("go").write_text(f"echo $1 $2 > /dev/fd/{writer}\n")  # for a shell, as no line says
    Path("go").chmod(0o755)
    told = run(*FACTS, "./go", "--help", "--set", pass_fds=(writer,))
    os.close(writer)
    assert told.returncode == 0, told.stderr
    with os.fdopen(reader) as passed:
        assert passed.read() == "--help --set\n"
