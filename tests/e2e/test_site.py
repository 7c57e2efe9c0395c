"""The docs site: it is built without a warning, and all of it can be reached."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import asset_provenance
from asset_provenance import cli, settings

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"


class Page(HTMLParser):
    """What a page refers to, and the places in it that others can refer to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.places.add(value or "")
            elif name in ("href", "src") and value:
                self.targets.append(value)


def dead_links(pages: dict[Path, Page]) -> list[str]:
    """Give the links inside the site that lead nowhere."""
    dead = []
    for path, page in pages.items():
        for target in page.targets:
            link = urlsplit(target)
            if link.scheme or link.netloc:
                continue
            to = (path.parent / unquote(link.path)).resolve() if link.path else path
            place = unquote(link.fragment)
            is_there = place in pages[to].places if place and to in pages else to.is_file()
            if not is_there:
                dead.append(f"{path.name}: {target}")
    return dead


@pytest.mark.long
def test_the_site_is_built_and_no_link_in_it_is_dead(tmp_path):
    site = tmp_path.resolve() / "site"
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run([*build, DOCS, site], capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")

    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert dead_links(pages) == []

    described = set().union(*(page.places for page in pages.values()))
    names = {f"asset_provenance.{name}" for name in asset_provenance.__all__}
    assert names - described == set()

    told = pages[site / "reference" / "commands.html"].text
    for command in cli.app.registered_commands:
        assert f"Usage: asset-provenance {command.name} [OPTIONS]" in told

    # What stands elsewhere in the repository has been brought in.
    assert "A first example" in pages[site / "overview.html"].text


def test_every_fact_and_setting_has_its_row():
    text = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == set(settings._NAMES)


def test_every_page_can_be_reached_from_the_first():
    first = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = {DOCS / target for target in re.findall(r"\]\(([^)#:]+)\)", first)}
    kinds = ("tutorial", "how-to", "reference", "explanation")
    pages = {path for kind in kinds for path in (DOCS / kind).glob("*.md")}
    assert pages - linked == set()


def test_every_picture_is_shown_says_what_it_shows_and_is_small():
    pages = [PROJECT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("how-to/*.md")]
    shown = {}
    for page in pages:
        found = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        shown |= {(page.parent / path).resolve(): text for text, path in found}
    for picture in (DOCS / "pictures").glob("*.[ps][nv]g"):
        by_day = picture.with_name(picture.name.replace("-dark", ""))  # on the site, each has both
        assert len(shown[by_day]) > 40
        assert picture.stat().st_size < 150_000
