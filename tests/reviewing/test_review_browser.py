"""The sheet in a real browser, as a rater would open it: from the disk, without a network, by keyboard."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.records import parse_records
from harness.reviewing.page import review_page
from harness.reviewing.ratings import Rating, read_ratings
from harness.reviewing.sheet import Item
from harness.schemas.task import Task, load_task

webdriver = pytest.importorskip("selenium.webdriver")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip
ITEMS = [Item(f"{i:03d}", "gold", f"s{i}", "g", "other", f"Sentence <b>{i}</b> & more.") for i in range(1, 5)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver on PATH"),
]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return load_task("alzheimers", base=tmp_path)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def press(browser: Any, keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def test_a_sheet_is_filled_in_by_keyboard_saved_and_read_back(browser: Any, task: Task, tmp_path: Path) -> None:
    path = tmp_path / "review.html"
    path.write_text(review_page(ITEMS, task), encoding="utf-8")
    browser.get(path.as_uri())
    texts = [one.text for one in browser.find_elements("css selector", "blockquote")]
    assert texts == [item.text for item in ITEMS]  # shown as they are, not as markup
    browser.find_element("css selector", "body").send_keys("j")
    press(browser, "4ra" + "j" + "2s" + "j" + "55")  # the third: five, and taken back
    time.sleep(0.2)
    browser.find_elements("css selector", "article")[3].find_element("css selector", "label").click()  # by mouse: 1
    time.sleep(0.2)
    assert browser.find_element("id", "progress").text == "1 of 4 complete"

    # Loaded again: nothing is lost. Not by address: a new renderer may read the store before the old one has written it.
    browser.refresh()
    assert browser.find_element("id", "progress").text == "1 of 4 complete"
    browser.find_element("id", "save").click()
    saved = tmp_path / "downloads" / "ratings.csv"
    deadline = time.monotonic() + 20
    while not saved.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    content = saved.read_bytes()
    assert b"Sentence" not in content
    found = read_ratings(parse_records(content, ".csv", "r"), {item.item_id for item in ITEMS}, task, where="r")
    assert found == {
        "001": Rating(4, "real", "cognitive_impairment"), "002": Rating(2, "synthetic", None), "004": Rating(1, None, None),
    }  # fmt: skip
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [one["params"] for one in events if one["method"] == "Network.requestWillBeSent"]
    asked = {one["request"]["url"].split(":", 1)[0] for one in sent if one["documentURL"] == path.as_uri()}
    assert asked <= {"file", "data"}


@pytest.mark.parametrize("width", [375, 1280])
def test_the_sheet_fits_its_screen(browser: Any, task: Task, tmp_path: Path, width: int) -> None:
    path = tmp_path / "review.html"
    path.write_text(review_page(ITEMS, task), encoding="utf-8")
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.as_uri())
    room, needed = browser.execute_script(
        "const page = document.documentElement; return [page.clientWidth, page.scrollWidth]"
    )
    assert needed <= room <= width
