"""The page that ``asset-provenance report`` writes, in a real browser."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from asset_provenance.cli import main
from helpers.assets import description, process, write_json

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WIDTHS = (400, 1000, 1600)
START = datetime(2026, 11, 25, 3, 15, 34, tzinfo=UTC)
UNIT = "percent (cpu_usage: of one core; ram_usage: of ram; gpu_usage: of one GPU)"
EVIL = (
    "<script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "]]>--></style></svg></textarea><script>document.title='pwned'</script>",
    "a\u202egnp.exe\u0000\u0007\u001b[31m\u2066",
    "x" * 900,
    "👩‍🔬 émoji 漢字 שלום",
    "{{ 7*7 }}{% raw %}",
    "javascript:document.title='pwned'",
)


def iso(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def series(start: float, top: float) -> list[dict[str, Any]]:
    return [{"timestamp": iso(start + at), "usage": top * at / 10} for at in range(1, 11)]


def step(number: int, **changes: Any) -> dict[str, Any]:
    """Give a process that ran within the first of all."""
    at = 5.0 + 12 * number
    return {
        **process(
            f"fit_{number}", iso(at), end_date_time=iso(at + 11), output_path=f"{number}.csv"
        ),
        "code": {
            "url": "https://github.com/your-lab/your-analysis",
            "commit_hash": "301234ec52e309b345db5c8566b1a1662c89cbd5",
            "run_script": "scripts/fit.py",
            "parameters": {"number": number, "units": list(range(200)), "deep": {"a": [{"b": 1}]}},
            "input_data": [{"name": "ecephys_900101_2026-03-02_18-30-05"}],
        },
        "resources": {
            "os": "Linux",
            "ram": 16,
            "ram_unit": "Gigabyte",
            "usage_unit": UNIT,
            "cpu_usage": series(at, 380),
            "ram_usage": series(at, 50),
            "gpu_usage": series(at, 90),
        },
        **changes,
    }


def make(folder: Path, steps: list[dict[str, Any]], **described: Any) -> Path:
    """Write an asset: what was inherited, and steps inside one process, each after another."""
    folder.mkdir()
    old = [
        process("conversion", "2019-03-03T00:00:00Z", end_date_time="2019-03-03T02:00:00Z"),
        process("sorting", "2023-03-03T00:00:00Z", end_date_time="2023-03-03T01:00:00Z"),
    ]
    whole = process("whole", iso(0), end_date_time=iso(12 * len(steps) + 10))
    names = [one["name"] for one in steps]
    graph = {"conversion": [], "sorting": ["conversion"], "whole": names}
    graph |= {name: [before] for before, name in itertools.pairwise(["sorting", *names])}
    write_json(folder / "data_description.json", description(**{"name": "made", **described}))
    write_json(
        folder / "processing.json",
        {"data_processes": [*old, whole, *steps], "dependency_graph": graph},
    )
    (folder / "provenance").mkdir()
    manifest = {
        "name": "made",
        "process_name": "fits",
        "inherited_processes": ["conversion", "sorting"],
        "parents": dict.fromkeys(names, "whole"),
        "files": {"data_description.json": {}, "processing.json": {}},
    }
    write_json(folder / "provenance" / "asset-provenance.json", manifest)
    (folder / "provenance" / "packages-0f.txt").write_text("numpy==2.1.0\n")
    return folder


def hostile(text: str) -> dict[str, Any]:
    changed = step(0, name=text, process_type=text, output_path=text, notes=text)
    changed |= {"experimenters": [text], "output_parameters": {text: {text: [text, {text: 1}]}}}
    secret = "https://user:tok3nsecret@example.org/data"
    changed["code"] |= dict.fromkeys(("url", "commit_hash", "run_script", "version"), text)
    changed["code"]["input_data"] = [{"name": text, "url": text}, {"url": secret}]
    return changed


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of an asset of few processes, of many, and of one that means harm."""
    place = tmp_path_factory.mktemp("pages")
    failed = step(1, notes="Failed: ValueError: no units")
    interrupted = step(2, notes="Ended by SIGTERM.")
    folders = [
        make(place / "few", [step(0), failed, interrupted]),
        make(place / "many", [step(number) for number in range(200)]),
        make(
            place / "evil",
            [hostile(text) for text in EVIL],
            name=EVIL[0] + EVIL[1],
            data_summary=EVIL[2],
            project_name=EVIL[4],
            tags=list(EVIL),
        ),
    ]
    made = {}
    for folder in folders:
        made[folder.name] = place / f"{folder.name}.html"
        assert main(["report", str(folder), "--output", str(made[folder.name])]) == 0
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not both on the PATH")
    place = tmp_path_factory.mktemp("browser")
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        f"user-data-dir={place / 'profile'}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    environment = {**os.environ, "HOME": str(place), "SE_OFFLINE": "true"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")
        driver = Chrome(options, Service(DRIVER, env=environment))
        try:
            yield driver
        finally:
            driver.quit()


def see(
    browser: Chrome, page: Path, *, width: int = 1000, theme: str = "light", media: str = "screen"
) -> None:
    """Open a page as it is seen in a window of some width."""
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what was before
    browser.get(page.as_uri())


def open_all(browser: Chrome) -> None:
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = 1")


OUTSIDE = """
const found = [];
for (const one of document.body.querySelectorAll('*')) {
  const box = one.getBoundingClientRect();
  if (!box.width || !box.height || one.closest('.scroll *, pre *, .skip, svg *')) continue;
  if (box.left < -1 || box.right > innerWidth + 1) found.push(one.outerHTML.slice(0, 120));
}
return [document.scrollingElement.scrollWidth, innerWidth, found];
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["few", "many", "evil"])
def test_nothing_is_wider_than_the_window(
    browser: Chrome, pages: dict[str, Path], name: str, width: int
) -> None:
    see(browser, pages[name], width=width)
    open_all(browser)
    whole, window, outside = browser.execute_script(OUTSIDE)
    assert (window, outside) == (width, [])
    assert whole <= width


@pytest.mark.parametrize("name", ["few", "evil"])
def test_the_page_asks_for_nothing_and_nothing_is_wrong_in_the_console(
    browser: Chrome, pages: dict[str, Path], name: str
) -> None:
    see(browser, pages[name])
    open_all(browser)
    assert browser.get_log("browser") == []
    messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = [
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]


def test_hostile_names_stay_text(browser: Chrome, pages: dict[str, Path]) -> None:
    see(browser, pages["evil"])
    open_all(browser)
    assert browser.title == f"{EVIL[0]}{EVIL[1]}: provenance"
    assert browser.find_element(By.TAG_NAME, "h1").text == EVIL[0] + EVIL[1]
    names = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "details.process h3")]
    assert set(EVIL) - {EVIL[3]} < set(names)
    assert r"a\u202egnp.exe\x00\x07\x1b[31m\u2066" in names
    for selector in ("script", "img", "iframe", "object", "embed", "form", "main style"):
        assert browser.find_elements(By.CSS_SELECTOR, selector) == []
    odd = browser.execute_script(
        "return [...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
        ".filter(a => a.name.startsWith('on') || /^\\s*(javascript|data):[^,]/i.test(a.value))"
        ".map(a => a.name)"
    )
    assert odd == []
    targets = {one.get_dom_attribute("href") for one in browser.find_elements(By.TAG_NAME, "a")}
    assert {target for target in targets if not re.match(r"#\w|https://", target)} == set()
    text = pages["evil"].read_text(encoding="utf-8")
    assert "tok3nsecret" not in text
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00-\x09\x0b-\x1f]", text)


CONTRAST = """
const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function parts(colour) {
  paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
  return [...paint.getImageData(0, 0, 1, 1).data];
}
function light(colour) {
  const [r, g, b] = parts(colour).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function ground(one) {
  const box = one.closest('g.box');
  if (box) return getComputedStyle(box.querySelector('rect')).fill;
  for (let at = one; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (parts(colour)[3] == 255) return colour;
  }
}
const found = [];
let count = 0;
for (const one of document.body.querySelectorAll('*')) {
  const own = [...one.childNodes].some(n => n.nodeType == 3 && n.data.trim());
  if (!own || one.closest('title, desc, style, .hidden') || !one.getClientRects().length) continue;
  const style = getComputedStyle(one), colour = one.closest('svg') ? style.fill : style.color;
  const [a, b] = [light(colour), light(ground(one))].sort((x, y) => y - x);
  count += 1;
  if ((a + 0.05) / (b + 0.05) < 4.5) found.push([one.outerHTML.slice(0, 80), colour]);
}
return [count, found, light(ground(document.querySelector('h1')))];
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(
    browser: Chrome, pages: dict[str, Path], theme: str
) -> None:
    see(browser, pages["few"], theme=theme)
    open_all(browser)
    count, faint, ground = browser.execute_script(CONTRAST)
    assert count > 100
    assert faint == []
    assert (ground > 0.5) == (theme == "light")


def test_the_page_has_an_order_for_those_who_hear_it(
    browser: Chrome, pages: dict[str, Path]
) -> None:
    see(browser, pages["few"])
    headings = browser.find_elements(By.CSS_SELECTOR, "h1, h2, h3, h4")
    levels = [int(one.tag_name[1]) for one in headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert browser.find_element(By.TAG_NAME, "html").get_dom_attribute("lang") == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert len(browser.find_elements(By.TAG_NAME, landmark)) == 1
    for drawing in browser.find_elements(By.CSS_SELECTOR, "svg:not([aria-hidden])"):
        assert drawing.get_dom_attribute("role") == "img"
        assert drawing.accessible_name
    identifiers = [
        one.get_dom_attribute("id") for one in browser.find_elements(By.XPATH, "//*[@id]")
    ]
    assert len(identifiers) == len(set(identifiers))


def test_the_page_can_be_used_by_keyboard(browser: Chrome, pages: dict[str, Path]) -> None:
    see(browser, pages["many"])
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    skip = browser.switch_to.active_element
    assert skip.text == "Skip to the content"
    assert skip.rect["x"] >= 0
    skip.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.tag_name == "main"
    link = browser.find_element(By.LINK_TEXT, "fit_150")
    link.send_keys(Keys.ENTER)
    opened = browser.find_elements(By.CSS_SELECTOR, "details.process[open] h3")
    assert [one.text for one in opened] == ["fit_150"]
    summary = opened[0].find_element(By.XPATH, "..")
    summary.send_keys(Keys.ENTER)
    assert not browser.find_elements(By.CSS_SELECTOR, "details.process[open]")


def test_what_happened_can_be_read_off_the_page(browser: Chrome, pages: dict[str, Path]) -> None:
    see(browser, pages["few"], width=1600)
    rows = browser.find_elements(By.CSS_SELECTOR, ".overview tbody tr")
    told = [one.text.replace("\n", " ") for one in rows]
    assert told[2].startswith("fit_1 Analysis ✕ failed 03:15:51 11.0 s 380 % 8.0 GB 90 %")
    assert "! interrupted" in told[3]
    bars = [one.size["width"] for one in browser.find_elements(By.CSS_SELECTOR, ".bar .completed")]
    own, inherited = bars[:2], bars[-2:]
    assert own[0] > 4 * own[1] > 100
    assert min(inherited) > 50  # though four years lie between them
    part = browser.find_element(By.XPATH, "//details[.//h3='fit_1']")
    assert "Failed: ValueError: no units" in part.text
    assert "Follows\nfit_0" in part.text
    commit = part.find_element(By.PARTIAL_LINK_TEXT, "301234ec")
    assert commit.get_dom_attribute("href") == (
        "https://github.com/your-lab/your-analysis/commit/301234ec52e309b345db5c8566b1a1662c89cbd5"
    )


def test_the_graph_of_many_processes_scrolls_in_its_own_box(
    browser: Chrome, pages: dict[str, Path]
) -> None:
    see(browser, pages["many"], width=400)
    box = browser.find_element(By.CSS_SELECTOR, ".scroll:has(.graph)")
    assert box.size["height"] <= 0.9 * 800
    assert box.get_dom_attribute("tabindex") == "0"
    assert box.find_element(By.CLASS_NAME, "graph").size["height"] > 200 * 50
    assert len(box.find_elements(By.CSS_SELECTOR, "g.process")) == 203
    assert len(browser.find_elements(By.CSS_SELECTOR, ".overview tbody tr")) == 203


def test_what_is_printed_is_light_and_has_all(browser: Chrome, pages: dict[str, Path]) -> None:
    see(browser, pages["many"], theme="dark", media="print", width=700)
    hidden = browser.execute_script(
        "return [...document.querySelectorAll('details:not([open]) dl.facts')]"
        ".filter(one => !one.checkVisibility({contentVisibilityAuto: true})).length"
    )
    assert hidden == 0
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert browser.execute_script(OUTSIDE)[0] <= 700


def command(*arguments: object, encoding: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", "report", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding=encoding,
        check=False,
        timeout=60,
    )


def test_the_page_is_written_beside_the_asset_under_its_name_and_only_replaces_pages() -> None:
    folder = make(Path("asset"), [step(0)])
    page = Path("made-provenance.html")
    done = command(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote {page}\n", "")
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert sorted(one.name for one in folder.iterdir()) == [
        "data_description.json", "processing.json", "provenance",
    ]  # fmt: skip
    assert main(["report", str(folder)]) == 0
    page.write_text("my own notes")
    done = command(folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no page of this command" in done.stderr
    assert "--output FILE.html" in done.stderr
    assert page.read_text("utf-8") == "my own notes"
    assert [one.name for one in Path().iterdir() if one.suffix not in ("", ".html")] == []


def test_what_cannot_be_done_is_said_with_what_mends_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(Path("asset"), [step(0)]).absolute()
    for arguments, told in (
        (["nowhere"], "there is no folder nowhere"),
        ([str(folder.parent)], "there is neither data_description.json nor processing.json"),
        ([str(folder), "--output", "no such/page.html"], "mkdir -p 'no such'"),
        ([str(folder), "--output", str(folder)], f"{folder} is a folder"),
        ([str(folder), "--output", str(folder / "processing.json")], "the page is HTML"),
        ([str(folder), "--output", "my page.pdf"], "--output 'my page.html'"),
        (["--nothing"], "Try: asset-provenance report --help"),
    ):
        assert main(["report", *arguments]) == 2
        assert told in capsys.readouterr().err
    monkeypatch.chdir(folder)
    assert main(["report", "."]) == 2
    assert "--output ../provenance.html" in capsys.readouterr().err


def test_a_page_goes_to_the_output_where_a_dash_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make(Path("asset"), [step(0, notes="µ from a terminal without it")])
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    page = command(folder, "--output", "-", encoding="utf-8").stdout
    assert page.rstrip().endswith("</html>")
    assert "µ from a terminal" in page


def test_real_metadata_of_others_have_a_page(
    samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in sorted({one.parent for one in samples.rglob("data_description.json")}):
        assert main(["report", str(folder), "--output", "page.html"]) == 0, folder
        assert "<h2" in Path("page.html").read_text(encoding="utf-8")
