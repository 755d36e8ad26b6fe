"""The page in a real browser, as a reader would open it: from the disk, without a network."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.reports import page, stage
from harness.reports.leaderboard import leaderboard_rows
from harness.store import Run

webdriver = pytest.importorskip("selenium.webdriver")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver on PATH"),
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def url(make_run: Callable[..., Run], tmp_path: Path) -> str:
    inputs = stage.read_inputs(make_run(arms=("unguided", "statistical", "semantic", "dualalign")))
    path = tmp_path / "report.html"
    path.write_text(page.report_page(inputs, leaderboard_rows(inputs)), encoding="utf-8")
    return path.as_uri()


def open_at(browser: Any, url: str, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get(url)


def requested(browser: Any, url: str) -> list[str]:
    """Addresses that the page asked for; the browser's own start page asks for others."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [one["request"]["url"] for one in sent if one["documentURL"] == url]


def test_the_page_opens_whole_quietly_and_asks_nobody(browser: Any, url: str) -> None:
    open_at(browser, url, 1280)
    headings = [heading.text for heading in browser.find_elements("css selector", "h2")]
    assert headings == [
        "Verdict", "Leaderboard", "By class", "By patient subgroup", "Confusion matrices", "Training",
        "Fidelity: what was aligned, and what was not", "Synthetic sentences", "Data and audit", "Time and memory", "How every number came about",
    ]  # fmt: skip
    assert "gold_dualalign is better" in browser.find_element("css selector", ".verdict").text
    assert "invented" in browser.find_element("id", "caution").text
    assert len(browser.find_elements("css selector", "#leaderboard tbody tr")) == 5 * 2 + 1
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('svg.forest .mark')].filter((mark) => mark.getBoundingClientRect().width > 4).length"
    )
    assert drawn >= 4 * 4 + 5 * 4  # marks of the unfolded class plots alone: differences and values, by class
    assert len(browser.find_elements("css selector", ".loss polyline.smooth")) == 5 * 2
    assert len(browser.find_elements("css selector", "#fidelity .legend li")) == 2 + 4 + 1  # gold, plan, arms, target
    assert len(browser.find_elements("css selector", "#fidelity .curves polyline")) == 1 + 4
    keys = browser.find_elements("css selector", "#fidelity figcaption svg.key")
    assert keys and max(key.size["width"] for key in keys) < 20  # a marker in a caption is no picture
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    urls = requested(browser, url)
    assert url in urls
    assert [one for one in urls if one != url and not one.startswith("data:")] == []


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_only_tables_scroll_sideways_never_the_page(browser: Any, url: str, width: int) -> None:
    open_at(browser, url, width)
    browser.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    room, needed = browser.execute_script(
        "const page = document.documentElement; return [page.clientWidth, page.scrollWidth]"
    )
    assert needed <= room <= width
    outside = browser.execute_script(
        """return [...document.querySelectorAll('main *')].filter((element) =>
             !element.closest('.scroll, pre, svg, .away, .skip') && element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5
           ).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_print_unfolds_what_is_folded(browser: Any, url: str) -> None:
    open_at(browser, url, 1280)
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") > 0
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
