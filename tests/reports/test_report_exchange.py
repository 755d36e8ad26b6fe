"""What a sentence is worth and the regimes, as the page and ablation.md say them."""

import csv
import io
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from invented_run import with_diverged

from harness.errors import ConfigError
from harness.reports import ablation, page
from harness.reports.exchange import exchange_section
from harness.reports.exchange_plot import LEFT, RIGHT, WIDTH, Point, Read, curve_plot
from harness.reports.exchange_words import break_even_words, price_words, rows_of, worth_sentence
from harness.reports.inputs import Composition, Inputs
from harness.reports.leaderboard import leaderboard_rows
from harness.reports.regimes import regimes, regimes_section
from harness.reports.suppression import suppress
from harness.schemas.base import build
from harness.schemas.mix import Mix
from harness.schemas.recipe_parts import Evaluation, Prices, Reporting

N_GOLD = {"gold_10": 20, "gold_25": 50, "gold_50": 100, "gold": 200}
SCORES = {"gold_10": 0.40, "gold_25": 0.48, "gold_50": 0.53, "gold": 0.57}
ROW: dict[str, Any] = {
    "mix": "gold_dualalign", "arm": "dualalign", "learner": "llm", "fit": "power", "n_gold": 50, "n_synthetic": 40,
    "score": 0.52, "gold_equivalent": 90.0, "per_sentence": 1.0, "ci_low": 0.25, "ci_high": 2.5, "where": "inside",
    "share_undefined": 0.0, "status": "ok", "reason": None,
}  # fmt: skip
CHECK = ROW | {"fit": "monotone", "gold_equivalent": 86.0, "per_sentence": 0.9, "ci_low": 0.2, "ci_high": None}

UNKNOWN = ROW | {"learner": "tfidf", "status": "undefined", "reason": "the curve of gold alone does not rise"}
UNKNOWN |= dict.fromkeys(("gold_equivalent", "per_sentence", "ci_low", "ci_high", "where"))


def changed(**changes: Any) -> dict[str, Any]:
    return ROW | changes


@pytest.fixture
def with_curve(inputs: Inputs) -> Inputs:
    """The invented run, as if it had trained on four amounts of gold and on DualAlign sentences alone."""
    extra = [
        {"name": name, "sources": [{"origin": "gold", "share": 1, "patients": share}]}
        for name, share in (("gold_10", 0.1), ("gold_25", 0.25), ("gold_50", 0.5))
    ]
    extra.append({"name": "dualalign", "sources": [{"origin": "dualalign", "share": 1}]})
    mixes = (*inputs.recipe.mixes, *(Mix.model_validate(one) for one in extra))
    [metric] = [
        row for row in inputs.metrics
        if (row["mix"], row["learner"], row["metric"], row["subgroup_variable"], row["train_seed"])
        == ("gold", "llm", "macro_f1", "overall", "all")
    ]  # fmt: skip
    metrics = [
        {**metric, "mix": mix, "value": score, "ci_low": score - 0.05, "ci_high": score + 0.05}
        for mix, score in {**SCORES, "dualalign": 0.3}.items()
    ]
    composition = {
        mix: Composition(240, n, 720, {"gold": (n, 240)}, n_gold_patients=n // 5) for mix, n in N_GOLD.items()
    } | {"dualalign": Composition(240, 40, 720, {"dualalign": (40, 240)}, n_gold_patients=0)}
    return replace(
        inputs,
        recipe=inputs.recipe.model_copy(update={"mixes": mixes}),
        metrics=[*inputs.metrics, *metrics],
        composition={**inputs.composition, **composition},
        audit={**dict.fromkeys(composition, ()), **inputs.audit},
        exchange=[ROW, CHECK, UNKNOWN],
    )


def priced(inputs: Inputs, **prices: Any) -> Inputs:
    evaluation = inputs.recipe.file.evaluation.model_copy(update={"prices": Prices(**prices)})
    file = inputs.recipe.file.model_copy(update={"evaluation": evaluation})
    return replace(inputs, recipe=inputs.recipe.model_copy(update={"file": file}))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW, "With 50 gold sentences, one DualAlign sentence is worth 1.00 [0.25, 2.50] gold sentences. "
              "40 of them score what 90 gold sentences alone would."),
        (changed(where="extrapolated"), "The number lies outside the amounts of gold that were tried"),
        (changed(where="bounded", ci_high=None, reason="at least: the score lies beyond"),
         "is worth at least 1.00 [0.25, no upper bound] gold sentences. 40 of them score what at least 90"),
        (changed(where="bounded", reason="at most: the score lies beyond"), "is worth at most 1.00 [0.25, 2.50]"),
        (changed(ci_low=-0.5), "The interval holds zero: that it is worth nothing is not ruled out."),
        (changed(ci_low=-0.5, ci_high=None), "The interval holds zero"),
        (changed(n_gold=0), "Without gold, one DualAlign sentence is worth"),
        (changed(per_sentence=None, status="undefined", reason="the curve does not rise"),
         "With 50 gold sentences, what one DualAlign sentence is worth cannot be said: the curve does not rise."),
        (changed(ci_low=None, ci_high=None), "is worth 1.00 (no interval) gold sentences."),
    ],
)  # fmt: skip
def test_a_row_is_said_in_plain_words(inputs: Inputs, row: dict[str, Any], words: str) -> None:
    assert words in worth_sentence(inputs, row)


def test_zero_is_mentioned_only_where_the_interval_holds_it(inputs: Inputs) -> None:
    for row in (ROW, changed(per_sentence=-1.0, ci_low=-2.0, ci_high=-0.5), changed(ci_high=None)):
        assert "zero" not in worth_sentence(inputs, row)


@pytest.mark.parametrize(
    ("row", "prices", "words"),
    [
        (ROW, {}, "price of a synthetic sentence / 1.00"),
        (ROW, {"synthetic_sentence": 0.02}, "USD 0.02 [0.008, 0.08]"),  # 0.02 / 1, / 2.5, / 0.25
        (ROW, {"synthetic_sentence": 0.02, "gold_sentence": 1.2}, "at 1.2: synthetic is cheaper"),
        (ROW, {"synthetic_sentence": 0.02, "gold_sentence": 0.05}, "at 0.05: cannot be told"),
        (ROW, {"synthetic_sentence": 0.02, "gold_sentence": 0.001}, "at 0.001: gold is cheaper"),
        (changed(ci_low=-1.0), {"synthetic_sentence": 0.02, "gold_sentence": 9}, "USD 0.02 [0.008, no upper bound]; "
                                                                                 "at 9: cannot be told"),
        (changed(per_sentence=-0.1, ci_low=-0.2, ci_high=0.0), {"synthetic_sentence": 0.02},
         "none: not worth a gold sentence at any price"),
        (changed(per_sentence=-0.1, ci_low=-0.2, ci_high=0.3), {"synthetic_sentence": 0.02},
         "cannot be told: perhaps not worth a gold sentence at any price"),
        (changed(where="bounded", reason="at least: beyond"), {"synthetic_sentence": 0.02}, "at most USD 0.02 ["),
        (changed(where="bounded", reason="at most: beyond"), {"synthetic_sentence": 0.02}, "at least USD 0.02 ["),
        (ROW, {"synthetic_sentence": 3, "currency": "EUR"}, "EUR 3 [1.2, 12]"),
    ],
)  # fmt: skip
def test_the_break_even_price_and_what_it_says_of_a_given_one(
    inputs: Inputs, row: dict[str, Any], prices: dict[str, Any], words: str
) -> None:
    assert words in break_even_words(priced(inputs, **prices), row)


def test_what_servers_were_paid_is_shared_out_over_kept_sentences(inputs: Inputs) -> None:
    paid = replace(inputs, spent_usd={"dualalign": 0.8})  # 40 kept sentences: 0.02 each
    assert break_even_words(paid, ROW).startswith("USD 0.02 [")
    assert "A synthetic sentence (paid to servers): dualalign USD 0.02." in price_words(paid)
    assert "gives no price" in price_words(inputs)


def test_another_currency_needs_a_price_of_its_own() -> None:
    with pytest.raises(ConfigError, match="currency is EUR, but what servers were paid is in USD"):
        build(Evaluation, {"prices": {"gold_sentence": 1.2, "currency": "EUR"}}, "recipe.yaml")


def test_the_page_shows_curve_words_table_and_data(with_curve: Inputs) -> None:
    section = exchange_section(with_curve)
    assert section is not None
    first, second = section["learners"]
    assert (first["learner"], second["learner"]) == ("llm", "tfidf")
    assert [mark.title for mark in first["plot"].points] == [
        f"{mix}: {n} gold sentences score {SCORES[mix]:.3f}"
        for mix, n in sorted(N_GOLD.items(), key=lambda one: one[0] != "gold")
    ]
    assert second["plot"] is None  # no points of this learner
    text = page.report_page(with_curve, leaderboard_rows(with_curve))
    for words in ('id="worth"', 'href="#worth"', "one DualAlign sentence is worth 1.00 [0.25, 2.50]",
                  "cannot be said: the curve of gold alone does not rise", "no upper bound", 'id="regimes"'):  # fmt: skip
        assert words in text
    table = csv.DictReader(io.StringIO(unquote(section["download"].uri.partition(",")[2])))
    assert [row["per_sentence"] for row in table][:2] == ["1", "0.9"]
    points = list(csv.DictReader(io.StringIO(unquote(section["points_download"].uri.partition(",")[2]))))
    assert {(row["mix"], int(row["n_gold"])) for row in points} == set(N_GOLD.items())


def test_a_recipe_without_a_curve_has_no_such_section(inputs: Inputs) -> None:
    assert exchange_section(inputs) is None
    text = page.report_page(inputs, leaderboard_rows(inputs))
    assert 'id="worth"' not in text
    assert "worth of one sentence" not in ablation.ablation_markdown(inputs)


def test_regimes_stand_in_order_with_every_mix_once(with_curve: Inputs) -> None:
    found = [(row["regime"], row["mix"]) for row in regimes(with_curve, "llm")]
    assert found == [
        *(("TRTR", mix) for mix in ("gold", "gold_10", "gold_25", "gold_50")),
        ("TSTR", "dualalign"),
        *(("augmented", mix) for mix in ("gold_unguided", "gold_dualalign")),
    ]
    assert [learner["learner"] for learner in regimes_section(with_curve)] == ["llm", "tfidf"]


def test_markdown_says_the_same(with_curve: Inputs) -> None:
    text = ablation.ablation_markdown(priced(with_curve, synthetic_sentence=0.02))
    assert "| TSTR: trained on synthetic, tested on real | `dualalign` | 0.300 [0.250, 0.350] |" in text
    assert (
        "| `gold_dualalign` | 50 | 40 | 0.520 | 90 | 1.00 [0.25, 2.50] | 0.90 [0.20, no upper bound] "
        "| USD 0.02 [0.008, 0.08] |"
    ) in text


def test_gold_of_few_patients_is_withheld_with_all_that_would_tell_it(with_curve: Inputs) -> None:
    """The row's mix holds gold of 10 patients; 11 are needed."""
    few = {
        **with_curve.composition,
        "gold_dualalign": replace(with_curve.composition["gold_dualalign"], n_gold_patients=10),
    }
    file = with_curve.recipe.file.model_copy(update={"reporting": Reporting(min_patients_shown=11)})
    recipe = with_curve.recipe.model_copy(update={"file": file})
    copy = suppress(replace(with_curve, recipe=recipe, composition=few))
    assert {row["status"] for row in copy.exchange} == {"suppressed"}
    for column in ("n_gold", "gold_equivalent", "per_sentence", "ci_low", "score"):
        assert {row[column] for row in copy.exchange} == {None}
    text = page.report_page(copy, leaderboard_rows(copy))
    assert "What one DualAlign sentence is worth in gold_dualalign is suppressed" in text


def test_marks_of_the_plot_lie_where_the_numbers_are() -> None:
    points = [Point(k, mix, n, SCORES[mix], None, None) for k, (mix, n) in enumerate(N_GOLD.items())]
    read = Read(5, "both", 50, 0.53, 100.0, "worth")
    plot = curve_plot(points, [read], "power")
    assert plot is not None
    x = [mark.x for mark in plot.points]
    assert x == sorted(x)
    assert x[2] - x[1] == pytest.approx(x[3] - x[2], abs=0.2)  # 50, 100, 200: equal steps in log n
    assert LEFT < x[0] < x[3] < WIDTH - RIGHT
    [mark] = plot.reads
    assert (mark.x, mark.y, mark.x_from) == (x[2], plot.points[2].y, x[1])
    heights = [mark.y for mark in plot.points]
    assert heights == sorted(heights, reverse=True)  # a higher score lies higher, and y runs down
    assert [tick.text for tick in plot.x_ticks] == ["20", "50", "100", "200"]


def test_too_few_points_leave_no_power_curve_to_draw() -> None:
    points = [Point(0, mix, n, SCORES[mix], None, None) for mix, n in list(N_GOLD.items())[:3]]
    assert curve_plot(points, [], "power") is None
    assert curve_plot(points, [], "monotone") is not None


@pytest.mark.parametrize("mix", ["gold_dualalign", "gold"])
def test_what_rests_on_a_run_that_diverged_is_worth_nothing_and_says_so(with_curve: Inputs, mix: str) -> None:
    [row] = rows_of(with_diverged(with_curve, mix), "llm")
    assert (row["per_sentence"], row["ci_low"], row["status"]) == (None, None, "undefined")
    assert f"cannot be said: a run of {mix} diverged" in worth_sentence(with_curve, row)
    assert rows_of(with_curve, "llm")[0]["per_sentence"] == 1.0
