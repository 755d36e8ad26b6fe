from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

import pytest

from harness.reports import page
from harness.reports.fidelity import (
    COLUMNS,
    fidelity_markdown,
    fidelity_section,
    glance,
    ordered,
    series_of,
    undefined_words,
)
from harness.reports.fidelity_plots import cosine_curves, domain_plot, margin_plot, onset_plot, value_axis
from harness.reports.fidelity_words import level_of, mark_counts, summary
from harness.reports.inputs import Inputs
from harness.reports.leaderboard import leaderboard_rows
from harness.reports.stage import read_inputs
from harness.store import Run


def changed(inputs: Inputs, arm: str, measure: str, value: float | None) -> Inputs:
    """The same rows, with one measure of one arm set to a value."""
    rows = [
        {**row, "value": value} if (row["arm"], row["measure"]) == (arm, measure) else row for row in inputs.fidelity
    ]
    return replace(inputs, fidelity=rows)


def test_gold_the_plan_and_every_arm_stand_side_by_side(inputs: Inputs) -> None:
    assert [one.name for one in series_of(inputs)] == ["gold", "(plan)", "unguided", "dualalign"]
    for part in glance(inputs, series_of(inputs)):
        for row in part.rows:
            assert len(row.cells) == 4


def test_what_is_undefined_says_why_and_shows_no_number(inputs: Inputs) -> None:
    html = page.report_page(inputs, leaderboard_rows(inputs))
    row = html.split("Prevalence error: mean over factors")[1].split("</tr>")[0]
    assert 'title="undefined: the arm shows no persona"' in row
    assert row.count(">undefined<") == 1  # unguided alone
    assert any(
        line.startswith("unguided: ") and "the arm shows no persona" in line
        for line in undefined_words(inputs.fidelity)
    )


def test_distances_are_met_roughly_met_or_missed() -> None:
    assert [level_of(distance) for distance in (0.0, 0.05, 0.051, 0.15, 0.151)] == [
        "meets", "meets", "roughly meets", "roughly meets", "misses",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("measure", "value", "words"),
    [
        ("margin_tv", 0.3, "dualalign misses the margins of the population (total variation 0.300"),
        ("margin_tv", 0.01, "dualalign meets the margins of the population (total variation 0.010"),
        ("domain_tv", 0.4, "misses the domain shares by stage (total variation 0.400 on average)"),
        ("onset_tau", 0.9, "symptoms first stated in the declared order (tau 0.90)"),
        ("onset_tau", 0.2, "symptoms first stated not quite in the declared order (tau 0.20)"),
        ("onset_tau", -0.2, "symptoms first stated not in the declared order"),
        ("onset_tau", None, "too few dated first mentions to put in order"),
        ("two_sample_auc", 0.93, "is easily told from gold by its words (AUROC 0.93"),
        ("two_sample_auc", 0.55, "is hard to tell from gold by its words"),
        ("near_gold_share", 0.0, "has no sentence too near to gold"),
        ("near_gold_share", 0.1, "4 of train gold and 4 of test gold"),
    ],
)
def test_the_summary_says_what_the_numbers_say(inputs: Inputs, measure: str, value: float | None, words: str) -> None:
    (sentence,) = [one for one in summary(changed(inputs, "dualalign", measure, value)) if one.startswith("dualalign")]
    assert words in sentence


def test_the_summary_says_whether_keywords_give_labels_away(inputs: Inputs) -> None:
    given = changed(changed(inputs, "unguided", "majority_macro_f1", 0.1), "unguided", "text_over_keywords", 0.05)
    said = {
        value: next(one for one in summary(changed(given, "unguided", "keyword_macro_f1", value)) if "unguided" in one)
        for value in (0.15, 0.8)
    }
    assert "keywords hardly give its labels away (macro-F1 0.15 from keywords alone" in said[0.15]
    assert "keywords give its labels away in part" in said[0.8] and "0.85 from the whole sentence" in said[0.8]


def test_marks_count_each_target_figure_once_however_many_arms_meet_it(inputs: Inputs) -> None:
    # published: two levels of sex, two onsets; derived: one prevalence; assumed: two stages, two domains in each of two
    assert mark_counts(inputs.fidelity) == [("published", 4), ("derived", 1), ("assumed", 6)]
    assert summary(inputs)[-1].startswith("The targets are 11 figures: 4 published, 1 derived, 6 assumed.")


def test_dots_stand_where_the_values_are_and_lines_where_the_targets_are(inputs: Inputs) -> None:
    plot = margin_plot(inputs, series_of(inputs))
    assert plot is not None
    sex = next(group for group in plot.groups if group.title == "Sex")
    assert [row.title for row in sex.rows] == ["Female", "Male"]  # the task's order
    assert [row.target for row in sex.rows] == ["0.600", "0.400"]
    assert sex.rows[0].target_x == plot.axis.x(0.6) and sex.rows[0].mark == "published"
    value = next(row["value"] for row in inputs.fidelity
                 if (row["arm"], row["measure"], row["level"]) == ("dualalign", "margin_share", "female"))  # fmt: skip
    dot = next(dot for dot in sex.rows[0].dots if dot.index == 3)
    assert dot.x == plot.axis.x(value)
    assert [dot.index for dot in sex.rows[0].dots] == [0, 1, 3]  # unguided shows no persona
    assert len({dot.y for dot in sex.rows[0].dots}) == 3  # lanes: no dot covers another


def test_onsets_are_in_the_order_of_the_target(inputs: Inputs) -> None:
    plot = onset_plot(inputs, series_of(inputs))
    assert plot is not None and [row.title for row in plot.groups[0].rows] == ["hands", "feet"]


def test_stages_are_in_the_tasks_order(inputs: Inputs) -> None:
    plot = domain_plot(replace(inputs, fidelity=list(inputs.fidelity)[::-1]), series_of(inputs))
    assert plot is not None and [group.title for group in plot.groups] == ["Mild", "Severe"]


def test_axes_hold_every_value() -> None:
    for values in ([0.03], [0.0, 0.66], [9.8, 1.5], [-0.2, 0.4], [0.0]):
        axis = value_axis(values)
        assert axis.low <= min(values) and axis.high >= max(values) and axis.low <= 0 < axis.high


def test_curves_run_over_all_bins_with_the_threshold_where_it_is(inputs: Inputs) -> None:
    curves = cosine_curves(inputs, series_of(inputs))
    assert curves is not None
    assert [line.series.name for line in curves.lines] == ["gold", "unguided", "dualalign"]
    assert {len(line.points.split()) for line in curves.lines} == {20}
    by_text = {text: position for position, text in curves.x_ticks}
    assert by_text["0.75"] < curves.threshold_x < by_text["1"]


def test_the_download_holds_every_row_and_the_files_agree(inputs: Inputs) -> None:
    section = fidelity_section(inputs)
    lines = unquote(section["download"].uri.split(",", 1)[1]).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 1 + len(inputs.fidelity)
    assert ordered(inputs.fidelity)[0]["measure"] == "margin_share"


def test_markdown_says_the_same_without_a_page(inputs: Inputs) -> None:
    text = fidelity_markdown(inputs)
    assert "| measure | target | gold | (plan) | unguided | dualalign |" in text
    assert all(sentence in text for sentence in summary(inputs))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {7}


def test_a_run_without_arms_has_nothing_to_be_faithful(make_run: Callable[..., Run]) -> None:
    inputs = read_inputs(make_run(arms=()))
    assert inputs.fidelity == () and fidelity_section(inputs)["plots"] == []
    assert "No mix of this recipe holds synthetic sentences." in fidelity_markdown(inputs)
