"""The page in a real browser, as a reader would open it: from the disk, without a network. One browser for all tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invented_run import LABELS, SEES, FolderBuilder, make_recipe

from harness.reports import page, stage
from harness.reports.inputs import Inputs
from harness.reports.leaderboard import leaderboard_rows

webdriver = pytest.importorskip("selenium.webdriver")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         "--force-prefers-reduced-motion")  # fmt: skip
TAB, DOWN, END, ESCAPE = "\ue004", "\ue015", "\ue010", "\ue00c"  # WebDriver's code points of keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver on PATH"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("run")
    return stage.read_inputs(FolderBuilder(make_recipe(folder, arms=tuple(SEES)), folder / "one").build())


@pytest.fixture(scope="module")
def path(shown: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("page") / "report.html"
    found.write_text(page.report_page(shown, leaderboard_rows(shown)), encoding="utf-8")
    return found


@pytest.fixture
def at(browser: Any, path: Path) -> Any:
    """The browser on a fresh copy of the page, at the width of a desk."""
    open_at(browser, path.as_uri(), 1280)
    return browser


def open_at(browser: Any, url: str, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get("about:blank")  # the same address with another fragment would not be loaded again
    browser.get(url)


def css(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


def press(browser: Any, keys: str) -> None:
    browser.switch_to.active_element.send_keys(keys)


def requested(browser: Any, url: str) -> list[str]:
    """Addresses that the page asked for; the browser's own start page asks for others."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [one["request"]["url"] for one in sent if one["documentURL"] == url]


def complaints(browser: Any) -> list[Any]:
    return [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]


def column(browser: Any, table: str, number: int) -> list[str]:
    """First line of every cell of a column, as it stands on the page."""
    cells = browser.execute_script(
        f"return [...document.querySelectorAll('{table} tbody tr')].map((row) => row.cells[{number}].innerText)"
    )
    return [cell.split("\n")[0] for cell in cells]


def head(browser: Any, table: str, number: int) -> Any:
    return css(browser, f"{table} thead th:nth-child({number + 1})")[0]


def choose(browser: Any, name: str, value: str) -> None:
    css(browser, f"#filter select[name={name}] option[value='{value}']")[0].click()


# -- the page as it opens --------------------------------------------------------------------------


def test_the_page_opens_whole_quietly_and_asks_nobody(at: Any, path: Path) -> None:
    headings = [heading.text for heading in css(at, "h2")]
    assert headings == [
        "Verdict", "Leaderboard", "By class", "By patient subgroup", "What each alignment adds",
        "What this test set could have found", "Regimes", "Would a cheap learner have said the same?", "Calibration", "Confusion matrices", "Training",
        "Fidelity: what was aligned, and what was not", "Synthetic sentences", "Data and audit", "Time and memory", "How every number came about",
    ]  # fmt: skip
    assert "gold_dualalign is better" in css(at, ".verdict")[0].text
    assert "invented" in at.find_element("id", "caution").text
    assert len(css(at, "#leaderboard tbody tr")) == 5 * 2 + 1
    drawn = at.execute_script(
        "return [...document.querySelectorAll('svg.forest .mark')].filter((mark) => mark.getBoundingClientRect().width > 4).length"
    )
    assert drawn >= 4 * 4 + 5 * 4  # marks of the unfolded class plots alone: differences and values, by class
    assert len(css(at, ".loss polyline.smooth")) == 5 * 2
    assert len(css(at, "#fidelity .legend li")) == 2 + 4 + 1  # gold, plan, arms, target
    assert len(css(at, "#fidelity .curves polyline")) == 1 + 4
    keys = css(at, "figcaption svg.key")
    assert keys and max(key.size["width"] for key in keys) < 20  # a marker in a caption is no picture
    assert complaints(at) == []
    urls = requested(at, path.as_uri())
    assert path.as_uri() in urls
    assert [one for one in urls if one != path.as_uri() and not one.startswith("data:")] == []


def test_reliability_and_the_square_are_drawn(at: Any) -> None:
    overall = css(at, "#calibration > div > .small-multiples svg[role=group]")
    assert len(overall) == 5  # mixes, of the fine-tuned model
    assert len(overall[0].find_elements("css selector", "polyline")) == 2 * 2  # kinds of probability, train seeds
    assert len(overall[0].find_elements("css selector", "circle")) == 2 * 2 * 5  # bins
    assert len(css(at, "#calibration details[data-variable=sex] svg[role=group]")) == 2 * 5
    assert len(css(at, "#two-by-two svg.forest .mark")) == 3 * (1 + len(LABELS) + 2)  # effects; overall, classes, sexes


# -- sorting ---------------------------------------------------------------------------------------


def test_a_head_sorts_numbers_down_then_up_then_not_at_all(at: Any) -> None:
    table = "#leaderboard table"
    before = column(at, table, 6)
    button = head(at, table, 6).find_element("css selector", "button")
    numbers = [float(one) for one in before]
    assert numbers != sorted(numbers)
    button.click()
    assert [float(one) for one in column(at, table, 6)] == sorted(numbers, reverse=True)
    assert head(at, table, 6).get_attribute("aria-sort") == "descending"
    button.click()
    assert [float(one) for one in column(at, table, 6)] == sorted(numbers)
    button.click()
    assert column(at, table, 6) == before
    assert head(at, table, 6).get_attribute("aria-sort") is None


def test_sorting_is_stable_and_what_has_no_number_stays_last(at: Any) -> None:
    table = "#leaderboard table"
    names, p_before = column(at, table, 0), column(at, table, 4)
    button = head(at, table, 4).find_element("css selector", "button")
    for direction in ("descending", "ascending"):
        button.click()
        found = column(at, table, 4)
        numbers = [float(one) for one in found if one != "\u2014"]
        assert numbers == sorted(numbers, reverse=direction == "descending")
        assert found[len(numbers) :] == ["\u2014"] * 3  # gold of two learners, and the floor
    tied = [name for name, p in zip(names, p_before, strict=True) if p == "0.410"]
    assert [name for name, p in zip(column(at, table, 0), column(at, table, 4), strict=True) if p == "0.410"] == tied


def test_insufficient_levels_stay_last_in_both_directions(at: Any) -> None:
    table = "#by-subgroup div[data-learner=llm] > .scroll table"
    for _ in range(2):
        head(at, table, 2).find_element("css selector", "button").click()
        assert column(at, table, 2)[-4:] == ["insufficient"] * 4
        assert "insufficient" not in column(at, table, 2)[:4]


def test_text_and_durations_are_sorted_by_what_they_mean(at: Any) -> None:
    at.execute_script(
        "document.querySelectorAll('#cost tbody td[data-sort]').forEach((cell, index) => { cell.dataset.sort = 100 - index; })"
    )
    stages = column(at, "#cost table", 0)
    head(at, "#cost table", 2).find_element("css selector", "button").click()
    assert column(at, "#cost table", 0) == stages  # 100 seconds, 99, 98: down
    head(at, "#cost table", 0).find_element("css selector", "button").click()
    assert column(at, "#cost table", 0) == sorted(stages)


def test_rows_stay_in_their_group_below_its_title(at: Any) -> None:
    script = """return [...document.querySelector('#by-class table.forest').tBodies].map((body) =>
      [...body.rows].map((row) => row.querySelector('.num span')?.innerText ?? row.innerText.split('\\n')[0]))"""
    before = at.execute_script(script)
    head(at, "#by-class table.forest", 2).find_element("css selector", "button").click()
    after = at.execute_script(script)
    assert [group[0] for group in after] == [group[0] for group in before]
    for one, other in zip(before, after, strict=True):
        numbers = [float(text.replace("\u2212", "-")) for text in other[1:]]
        assert sorted(one) == sorted(other) and numbers == sorted(numbers, reverse=True)


# -- filtering -------------------------------------------------------------------------------------


def test_the_filter_hides_and_shows_and_stands_in_the_address(at: Any, path: Path) -> None:
    choose(at, "class", "worry")
    groups = [group.text for group in css(at, "#by-class div[data-learner=llm] tr.group") if group.is_displayed()]
    assert [group.split("\n")[0].split(" 12 ")[0] for group in groups] == [
        "concern by others"
    ] * 2  # differences, values
    choose(at, "learner", "tfidf")
    learners = {row.get_attribute("data-learner") for row in css(at, "#leaderboard tbody tr") if row.is_displayed()}
    assert learners == {"tfidf"}
    tables = css(at, "#by-class div[data-learner=tfidf] table.forest")
    assert tables and all(table.is_displayed() for table in tables)  # what was folded and asked for is unfolded
    assert at.current_url == f"{path.as_uri()}#learner=tfidf&class=worry"
    assert "parts shown" in css(at, "#filter output")[0].text
    css(at, "#filter button[type=reset]")[0].click()
    at.implicitly_wait(0)
    assert at.execute_async_script("setTimeout(() => arguments[0](location.hash), 20)") == ""
    assert all(row.is_displayed() for row in css(at, "#leaderboard tbody tr"))


def test_an_address_brings_back_what_was_chosen_and_where(browser: Any, path: Path) -> None:
    open_at(browser, f"{path.as_uri()}#by-subgroup&variable=stage&learner=nobody", 1280)
    headings = [one.text for one in css(browser, "#by-subgroup div[data-learner=llm] h3") if one.is_displayed()]
    assert headings == ["Stage"]
    assert css(browser, "#filter select[name=learner]")[0].get_attribute("value") == ""  # no such learner
    top = browser.execute_script("return document.getElementById('by-subgroup').getBoundingClientRect().top")
    assert abs(top) < 100
    css(browser, "nav a[href='#confusion']")[0].click()  # a link to a place keeps the choice
    assert (
        browser.execute_async_script("setTimeout(() => arguments[0](location.hash), 20)") == "#confusion&variable=stage"
    )
    assert [one.text for one in css(browser, "#by-subgroup div[data-learner=llm] h3") if one.is_displayed()] == [
        "Stage"
    ]


def test_a_part_in_which_nothing_matches_says_so(at: Any) -> None:
    messages = "#by-class .nothing, #leaderboard .nothing"
    assert not any(one.is_displayed() for one in css(at, messages))
    choose(at, "learner", "majority")
    assert [one.text for one in css(at, messages) if one.is_displayed()] == ["Nothing here matches the filter."]
    assert css(at, "#by-class .nothing")[0].is_displayed()


# -- what stands behind a value --------------------------------------------------------------------


def test_pointing_at_a_value_or_its_plot_shows_sizes_and_interval(at: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    value = css(at, "#by-class table.forest td.num")[0]
    for target in (value, value.find_element("xpath", "../td[contains(@class, 'plot')]")):
        ActionChains(at, duration=0).move_to_element(target).perform()
        tip = at.find_element("id", "tip")
        assert tip.is_displayed()
        assert tip.text.startswith("12 patients, 2 train seeds. 95% interval ")
        assert "Could have been found: 0.070 or more." in tip.text
        ActionChains(at, duration=0).move_to_element(css(at, "h1")[0]).perform()
        assert not tip.is_displayed()
    severe = css(at, "#by-subgroup > div[data-learner=llm] > div[data-variable=stage] td.reason")[0]
    severe.click()  # a tap
    assert "Insufficient: 2 patients; at least 5 are needed." in at.find_element("id", "tip").text


def test_the_keyboard_reaches_heads_and_values_and_escape_hides(at: Any, shown: Inputs) -> None:
    at.execute_script("document.querySelector('#leaderboard .scroll').focus()")
    for _ in range(10):  # heads of the leaderboard's columns
        press(at, TAB)
        assert at.switch_to.active_element.get_attribute("class") == "sort"
    for _ in range(2):
        press(at, TAB)
    value = at.switch_to.active_element
    assert value.tag_name == "td" and value.get_attribute("aria-describedby") == "tip"
    first = leaderboard_rows(shown)[0]
    bounds = f"95% interval {first.macro_f1_ci_low:.3f} to {first.macro_f1_ci_high:.3f}."
    assert f"12 patients. {bounds}" in at.find_element("id", "tip").text
    press(at, DOWN)
    assert at.switch_to.active_element != value
    press(at, END)
    assert at.switch_to.active_element.find_element("xpath", "..").get_attribute("class") == "majority"
    press(at, ESCAPE)
    assert not at.find_element("id", "tip").is_displayed()
    stops = at.execute_script("return document.querySelectorAll('#leaderboard td[tabindex=\"0\"]').length")
    assert stops == 1  # Tab leaves the table at the next press


# -- narrow, printed, without a script -------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_only_tables_scroll_sideways_never_the_page(browser: Any, path: Path, width: int) -> None:
    open_at(browser, path.as_uri(), width)
    folded = len(css(browser, "details.long:not([open])"))
    assert folded == (2 if width == 390 else 0)  # the long parts, on a phone
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


def test_print_shows_everything_and_folds_it_again(at: Any) -> None:
    choose(at, "learner", "tfidf")
    at.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    folded = len(css(at, "details:not([open])"))
    assert folded > 0
    at.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert css(at, "details:not([open])") == []
    assert all(row.is_displayed() for row in css(at, "#leaderboard tbody tr"))
    assert not at.find_element("id", "filter").is_displayed()
    at.execute_script("dispatchEvent(new Event('afterprint'))")
    assert len(css(at, "details:not([open])")) == folded
    at.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_without_a_script_all_is_shown_and_nothing_pretends_to_work(browser: Any, path: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_at(browser, f"{path.as_uri()}#learner=tfidf", 1280)
        assert all(row.is_displayed() for row in css(browser, "#leaderboard tbody tr"))
        assert not browser.find_element("id", "filter").is_displayed()
        assert css(browser, "button.sort") == []
        assert "12 patients" in css(browser, "#by-class td.num")[0].get_attribute("title")
        assert css(browser, "details.long:not([open])") == []
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_every_table_can_be_sorted_by_every_head_without_a_complaint(at: Any) -> None:
    complaints(at)
    n_heads, n_rows, n_after = at.execute_script(
        """const rows = () => document.querySelectorAll('tbody tr').length, before = rows();
           const heads = [...document.querySelectorAll('button.sort')];
           for (const head of heads) head.click();
           return [heads.length, before, rows()]"""
    )
    assert n_heads > 100 and n_rows == n_after
    assert complaints(at) == []
