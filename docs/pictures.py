"""Make the pictures of the documents again, from real runs: ``make pictures``.

An analysis is run twice, with a commit between, in a repository of its own; then the commands are
run in a terminal of 100 columns, and the page is opened in Chromium. It takes two minutes.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from asset_provenance.report.notebook import written_html

DOCS = Path(__file__).resolve().parent
PICTURES = DOCS / "pictures"
ANALYSIS = PICTURES / "orientation.py"
EXAMPLES = DOCS.parent / "examples"
# Pages name the folder, and what a picture shows is to be nobody's.
FOLDER = Path(tempfile.gettempdir()).resolve() / "analysis"
REMOTE = "https://github.com/your-lab/orientation.git"
COLUMNS = 100
WIDTH = 1060
MARGIN = 16
# Parts of the page.
TIMELINE = "//section[@aria-labelledby='timeline']"
GRAPH = "//section[@aria-labelledby='graph']"
STEP = "//details[contains(summary, 'bootstrap')]"
FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
    "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars",
)  # fmt: skip
# As rich has it, but for a font that would be fetched from the network.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Make all pictures."""
    FOLDER.mkdir()
    try:
        with tempfile.TemporaryDirectory() as home:
            environ = {
                **{name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ},
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": home,
                "ASSET_PROVENANCE_OFFLINE": "true",
                "GIT_CONFIG_GLOBAL": os.devnull,
                **{
                    f"GIT_{part}_{what}": value
                    for part in ("AUTHOR", "COMMITTER")
                    for what, value in (("NAME", "Ada Lovelace"), ("EMAIL", "ada@example.com"))
                },
            }
            analyse_twice(environ)
            draw_terminal("show", ["show", "friday"], environ)
            draw_terminal("diff", ["diff", "monday", "friday", "--repo", "."], environ)
            file = FOLDER / "page.html"
            run("asset-provenance", "report", "friday", "--output", str(file), environ=environ)
            summary = FOLDER / "summary.html"
            summary.write_text(summary_of(FOLDER / "friday"), encoding="utf-8")
            draw_pages(file, summary)
    finally:
        shutil.rmtree(FOLDER)


def analyse_twice(environ: dict[str, str]) -> None:
    """Make two results in which something differs."""
    script = FOLDER / ANALYSIS.name
    shutil.copyfile(ANALYSIS, script)
    (FOLDER / ".gitignore").write_text("/*/\n", encoding="ascii")
    run("python", str(EXAMPLES / "make_input.py"), "data", environ=environ)
    run("git", "init", "--quiet", "--initial-branch=main", environ=environ)
    run("git", "add", ".", environ=environ)
    run("git", "remote", "add", "origin", REMOTE, environ=environ)
    commit("Find the units that prefer an orientation", environ)
    run("python", script.name, "monday", environ=environ)
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace("selectivity=0.35", "selectivity=0.38"), encoding="utf-8")
    commit("Ask more of a unit that counts as tuned", environ)
    run("python", script.name, "friday", environ=environ)


def commit(subject: str, environ: dict[str, str]) -> None:
    """Commit all, as if it had been pushed."""
    run("git", "commit", "--quiet", "--all", f"--message={subject}", environ=environ)
    run("git", "update-ref", "refs/remotes/origin/main", "HEAD", environ=environ)


def run(*command: str, environ: dict[str, str]) -> None:
    """Run a command in the folder of the analysis."""
    subprocess.run(command, cwd=FOLDER, env=environ, check=True, stdout=subprocess.DEVNULL)


def draw_terminal(name: str, arguments: list[str], environ: dict[str, str]) -> None:
    """Draw what a command prints on a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, COLUMNS))
    environ = {**environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    command = ["asset-provenance", *arguments]
    with subprocess.Popen(command, cwd=FOLDER, env=environ, stdout=theirs):
        os.close(theirs)
        told = b"".join(read(ours))
    os.close(ours)
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(told.decode()))
    console.print()  # of the last line, the lower ends would be cut off
    title = " ".join(command)
    drawn = console.export_svg(title=title, code_format=SVG, unique_id=name)
    (PICTURES / f"{name}.svg").write_text(drawn, encoding="utf-8")


def read(terminal: int) -> Iterator[bytes]:
    """Read all that is written to a terminal."""
    with suppress(OSError):  # which says on Linux that nobody has it open any more
        while part := os.read(terminal, 65536):
            yield part


def summary_of(folder: Path) -> str:
    """Give what a cell of Jupyter holds that shows an asset."""
    description = json.loads((folder / "data_description.json").read_text(encoding="utf-8"))
    shown = written_html(folder, description["name"])
    style = ":root { color-scheme: light dark } body { margin: 0 12px; font: 14px sans-serif }"
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style>{shown}'


def draw_pages(page: Path, summary: Path) -> None:
    """Draw parts of a page as they are seen on several screens, and the summary."""
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    with tempfile.TemporaryDirectory() as profile:
        options.add_argument(f"--user-data-dir={profile}")
        browser = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            browser.get(page.as_uri())
            for name, width, scheme, first, last in (
                ("report", WIDTH, "light", TIMELINE, GRAPH),
                ("report-dark", WIDTH, "dark", TIMELINE, GRAPH),
                ("report-process", WIDTH, "light", STEP, STEP),
                ("report-phone", 390, "light", TIMELINE, TIMELINE),
            ):
                draw_part(browser, PICTURES / f"{name}.png", width, scheme, (first, last))
            browser.get(summary.as_uri())
            for name, scheme in (("notebook", "light"), ("notebook-dark", "dark")):
                draw_part(browser, PICTURES / f"{name}.png", 760, scheme, ("//body", "//body"))
        finally:
            browser.quit()


def draw_part(
    browser: webdriver.Chrome, picture: Path, width: int, scheme: str, ends: tuple[str, str]
) -> None:
    """Draw from the beginning of a part of the page to the end of another."""
    tell = browser.execute_cdp_cmd
    tell(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    tell(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    top, bottom = browser.execute_script(
        """const [first, last] = [...arguments].map(each => each.getBoundingClientRect())
        return [first.top + scrollY, last.bottom + scrollY]""",
        *(browser.find_element("xpath", path) for path in ends),
    )
    top, bottom = top - MARGIN, bottom + MARGIN / 2  # what follows is not far
    clip = {"x": 0, "y": top, "width": width, "height": bottom - top, "scale": 1}
    drawn = tell("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    picture.write_bytes(base64.b64decode(drawn["data"]))


if __name__ == "__main__":
    main()
