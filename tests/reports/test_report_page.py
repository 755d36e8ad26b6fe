import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from jinja2 import UndefinedError

from harness.reports import page, stage
from harness.reports.inputs import Inputs
from harness.reports.leaderboard import leaderboard_rows
from harness.store import Run

VOID = {"meta", "link", "br", "wbr", "line", "rect", "circle", "path", "polyline", "img", "hr", "input"}


class Reader(HTMLParser):
    """Elements with their attributes, the text, and whether every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1] if self.open else None}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def parse(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def html(inputs: Inputs) -> str:
    return page.report_page(inputs, leaderboard_rows(inputs))


def test_the_page_is_well_formed_and_has_its_parts(html: str) -> None:
    reader = parse(html)
    ids = [attributes["id"] for _, attributes in reader.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for part in ("caution", "verdict", "leaderboard", "by-class", "by-subgroup", "detectable", "calibration", "confusion", "loss", "fidelity", "sentences", "data",
                 "cost", "provenance"):  # fmt: skip
        assert part in ids
    linked = {attributes["href"] for tag, attributes in reader.elements if tag == "a"}
    assert {f"#{part}" for part in ids if f"#{part}" in linked} == {
        one for one in linked if one and one.startswith("#")
    }


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    for tag, attributes in parse(html).elements:
        for name in ("src", "href", "action", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    assert "url(" not in html and "@import" not in html


def test_every_table_has_a_caption_and_every_header_a_scope(html: str) -> None:
    reader = parse(html)
    n_tables = sum(tag == "table" for tag, _ in reader.elements)
    assert n_tables > 10
    assert sum(tag == "caption" for tag, _ in reader.elements) == n_tables
    assert all(attributes.get("scope") for tag, attributes in reader.elements if tag == "th")


def test_every_picture_has_words(html: str) -> None:
    pictures = [attributes for tag, attributes in parse(html).elements if tag == "svg"]
    assert len(pictures) > 30
    for attributes in pictures:
        assert (
            attributes.get("aria-hidden") == "true" or attributes.get("aria-label") or attributes.get("aria-labelledby")
        )


def test_text_of_tables_is_escaped(html: str) -> None:
    assert "<boiled>" not in html and "&lt;boiled&gt;" in html
    assert "<anything>" not in html and "&lt;anything&gt;" in html


def test_sample_sentences_are_synthetic_and_never_gold(
    html: str, gold_texts: list[str], synthetic_texts: list[str]
) -> None:
    text = " ".join(parse(html).text)
    assert sum(sentence in text for sentence in synthetic_texts) == 2 * stage.SAMPLES_PER_ARM
    assert not any(sentence in text for sentence in gold_texts)


def test_an_insufficient_level_says_so_and_shows_no_mark(html: str) -> None:
    severe = html.split('rowheader" colspan="3">Severe')[1].split("</tbody>", maxsplit=1)[0]
    assert severe.count("insufficient: 2 patients; at least 5 are needed") == 2  # one per mix that is compared
    assert '<svg class="forest' not in severe and "0.000" not in severe


def test_downloads_carry_the_numbers_that_are_drawn(inputs: Inputs, html: str) -> None:
    links = {
        attributes["download"]: attributes["href"]
        for tag, attributes in parse(html).elements
        if tag == "a" and "download" in attributes
    }
    assert {
        "leaderboard.csv",
        "class_f1_llm.csv",
        "sex_difference_tfidf.csv",
        "confusion_llm.csv",
        "loss.csv",
        "cost.csv",
        "calibration.csv",
        "reliability.csv",
        "temperatures.csv",
        "interactions_tfidf.csv",
        "detectable_llm.csv",
    } <= (set(links))
    bins = unquote(str(links["reliability.csv"])).splitlines()
    assert len(bins) == 1 + len(inputs.reliability) and bins[1].startswith("gold,llm,0,as_scored,overall,all,0,9,")
    assert len(unquote(str(links["temperatures.csv"])).splitlines()) == 1 + 3 * (2 + 1 + 1)  # mixes; seeds, baselines
    losses = unquote(str(links["loss.csv"])).splitlines()
    assert len(losses) == 1 + 3 * 2 * 30  # head; three mixes, two seeds, thirty steps
    row = inputs.metric("gold", "llm", metric="f1", label="memory")
    assert row is not None
    assert f"gold,llm,f1,memory,overall,all,{row['value']:.6f}".rstrip("0") in unquote(str(links["class_f1_llm.csv"]))


def test_the_same_tables_give_the_same_page(inputs: Inputs, html: str) -> None:
    assert page.report_page(inputs, leaderboard_rows(inputs)) == html


def test_a_run_without_synthetic_sentences_has_a_page_too(make_run: Callable[..., Run]) -> None:
    inputs = stage.read_inputs(make_run(arms=()))
    html = page.report_page(inputs, leaderboard_rows(inputs))
    parse(html)
    assert "No mix of this recipe holds synthetic sentences." in html


def test_a_run_without_values_has_a_page_that_says_so(inputs: Inputs) -> None:
    empty = replace(inputs, metrics=(), contrasts=(), confusion=(), curves=(), manifests=())
    html = page.report_page(empty, leaderboard_rows(empty))
    parse(html)
    assert "No losses were logged." in html and "evaluation wrote no value" in html


def test_the_recipe_is_shown_without_folders(inputs: Inputs) -> None:
    gold = inputs.recipe.file.gold.model_copy(update={"path": "/home/somebody/secret/notes.jsonl"})
    training = inputs.recipe.file.training.model_copy(update={"base_model": "/home/somebody/models/tiny"})
    file = inputs.recipe.file.model_copy(update={"gold": gold, "training": training})
    text = page.recipe_yaml(inputs.recipe.model_copy(update={"file": file}))
    assert "notes.jsonl" in text and "base_model: tiny" in text
    assert "somebody" not in text


def test_a_template_that_asks_for_an_unknown_value_fails() -> None:
    with pytest.raises(UndefinedError, match="'verdict' is undefined"):
        page.environment().from_string("{{ verdict }}").render()


def test_a_run_without_calibration_or_effects_leaves_those_parts_out(inputs: Inputs, html: str) -> None:
    assert 'id="two-by-two"' not in html  # two arms make no 2 x 2
    kept = [row for row in inputs.metrics if row["metric"] not in ("ece", "ece_scaled", "brier", "brier_scaled")]
    told = [{**row, "detectable": None} for row in inputs.contrasts if row["subgroup_level"] != "(interaction)"]
    bare = replace(inputs, metrics=kept, contrasts=told, reliability=(), temperatures=())
    text = page.report_page(bare, leaderboard_rows(bare))
    parse(text)
    for part in ("calibration", "detectable"):
        assert f'id="{part}"' not in text and f'href="#{part}"' not in text
    assert "Does the gain over" not in text


def test_a_value_tells_what_stands_behind_it(inputs: Inputs, html: str) -> None:
    titles = [
        attributes["title"] or "" for tag, attributes in parse(html).elements if tag == "td" and attributes.get("title")
    ]
    row = inputs.metric("gold", "llm", metric="f1", label="memory")
    assert row is not None
    interval = f"95% interval {row['ci_low']:.3f} to {row['ci_high']:.3f}."
    assert f"48 sentences, 12 of the class, 12 patients. {interval}" in titles
    insufficient = "Insufficient: 2 patients; at least 5 are needed."
    assert f"3 sentences, 12 of the class, 2 patients. No value. {insufficient}" in titles
    assert any("2 train seeds" in title and "Could have been found: 0.140 or more." in title for title in titles)


def luminance(colour: str) -> float:
    """Relative luminance of a colour in hexadecimals. Source: WCAG 2.2, its definition."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_words_stand_out_from_their_ground_in_light_dark_and_print() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)  # (1 + 0.05) / (0 + 0.05)
    style = (page.TEMPLATES / "style.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block)) for block in re.findall(r":root {(.*?)}", style, re.S)
    ]
    assert len(themes) == 3
    light = themes[0]
    for theme in ({**light, **changes} for changes in themes):
        for words in ("ink", "soft", "link"):
            for ground in ("paper", "fill"):
                assert contrast(theme[words], theme[ground]) >= 4.5, (words, ground)
        assert contrast(theme["warn"], theme["paper"]) >= 4.5
        assert contrast(theme["ink"], theme["warn-fill"]) >= 4.5
        assert contrast(theme["edge"], theme["fill"]) >= 3  # edges of controls, frames of plots
