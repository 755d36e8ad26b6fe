from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from invented_panel import invented_panel, invented_runs

from harness.evaluation.learners import evaluate
from harness.schemas.recipe_parts import Evaluation

SITES = ("north", "south", "east")


def interactions(gain_of_first: float, *, n_seeds: int = 1, name: str = "", n_patients: int = 60) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Rows by variable for a mix that gains 1 everywhere, and `gain_of_first` more with the first level of both."""
    panel = invented_panel(n_patients, {"site": SITES, "sex": ("female", "male")})
    skill = np.ones(panel.truth.size)
    for part in panel.slices:
        if part.level in ("north", "female"):
            skill[part.rows] += gain_of_first
    runs = [
        invented_runs(panel, "gold", 0.5, n_seeds=n_seeds, name=name),
        invented_runs(panel, "better", skill, n_seeds=n_seeds, name=name),
    ]
    _, contrasts = evaluate(panel, {"llm": runs}, settings=Evaluation(n_bootstrap=300), root_seed=3)
    return {
        row["subgroup_variable"]: row
        for row in contrasts
        if row["subgroup_level"] == "(interaction)" and row["metric"] == "accuracy"
    }


def test_two_levels_have_an_interval_that_agrees_with_the_test() -> None:
    row = interactions(1.5, n_seeds=2)["sex"]
    assert row["reason"] == "largest gain: female; smallest: male"
    assert row["ci_low"] < row["difference"] < row["ci_high"]
    assert (row["p_value"] < 0.05) == (row["ci_low"] > 0)
    assert row["n_patients"] == 60


def test_more_levels_have_a_test_of_all_and_no_interval() -> None:
    row = interactions(1.5)["site"]
    assert row["reason"].startswith("largest gain: north; smallest: ")
    assert row["ci_low"] is row["se_patients"] is row["detectable"] is None
    assert row["difference"] > 0 and row["p_value"] < 0.03
    assert row["family"] == "holm:accuracy, whether the gain differs between subgroup levels, llm (2 tests)"


def test_the_difference_is_that_of_the_largest_and_the_smallest_gain() -> None:
    panel = invented_panel(30, {"site": (*SITES, "west")})
    runs = [invented_runs(panel, mix, skill) for mix, skill in (("gold", 0.5), ("better", 1.0))]
    _, contrasts = evaluate(panel, {"llm": runs}, settings=Evaluation(n_bootstrap=100), root_seed=3)
    gains = {row["subgroup_level"]: row["difference"] for row in contrasts
             if row["metric"] == "accuracy" and row["subgroup_variable"] == "site"}  # fmt: skip
    of_all = gains.pop("(interaction)")
    assert len(gains) == 4
    assert of_all == pytest.approx(max(gains.values()) - min(gains.values()))


def test_equal_gains_are_called_different_in_about_one_study_of_twenty() -> None:
    p_values = [row["p_value"] for k in range(40) for row in interactions(0.0, name=str(k), n_patients=30).values()]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 80)
    assert 0.25 < np.mean(p_values) < 0.75


def test_one_level_with_patients_is_compared_with_nothing() -> None:
    panel = invented_panel(12, {"site": ("north",)})
    runs = [invented_runs(panel, mix, 1.0) for mix in ("gold", "better")]
    metrics, contrasts = evaluate(panel, {"llm": runs}, settings=Evaluation(n_bootstrap=100), root_seed=3)
    rows = [row for row in contrasts if row["subgroup_level"] == "(interaction)"]
    assert {(row["status"], row["reason"], row["p_value"]) for row in rows} == {
        ("insufficient", "1 of 1 levels have enough patients; a comparison needs 2", None)
    }
    [gap] = [row for row in metrics if row["metric"] == "macro_f1_gap" and row["mix"] == "gold"]
    assert gap["status"] == "insufficient"


@pytest.mark.parametrize("copies", [1, 2])
def test_one_patient_in_all_has_values_but_no_intervals(copies: int) -> None:
    panel = invented_panel(1, {"site": ("north",)}, n_sentences=30, copies=copies)
    runs = [invented_runs(panel, mix, 1.0, copies=copies) for mix in ("gold", "better")]
    settings = Evaluation(n_bootstrap=100, min_patients=1)
    metrics, contrasts = evaluate(panel, {"llm": runs}, settings=settings, root_seed=3)
    [row] = [row for row in metrics if (row["mix"], row["metric"], row["subgroup_level"], row["train_seed"])
             == ("gold", "accuracy", "all", "all")]  # fmt: skip
    [contrast] = [row for row in contrasts if (row["metric"], row["subgroup_level"]) == ("accuracy", "all")]
    reasons = {
        1: "no interval: one patient shows no spread between patients",
        2: "no interval: every patient shows the same",
    }
    assert row["status"] == "ok" and row["ci_low"] is None and row["reason"] == reasons[copies]
    assert contrast["status"] == "ok" and contrast["p_value"] >= 0.5
