"""What must not change, or must change in a known way, when a study is turned around."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from invented_panel import LABELS, invented_panel, invented_runs

from harness.evaluation.learners import evaluate
from harness.evaluation.panel import MixRuns, Panel
from harness.schemas.recipe_parts import Evaluation

SETTINGS = Evaluation(n_bootstrap=3000)


def tables(panel: Panel, runs: list[MixRuns]) -> tuple[dict[tuple[str, ...], Any], dict[tuple[str, ...], Any]]:
    metrics, contrasts = evaluate(panel, {"llm": runs}, settings=SETTINGS, root_seed=5)
    return (
        {(row["mix"], row["metric"], row["class"]): row for row in metrics if row["train_seed"] == "all"},
        {(row["mix_a"], row["metric"], row["class"]): row for row in contrasts},
    )


def test_every_patient_twice_leaves_values_and_shrinks_intervals_by_the_root_of_two() -> None:
    once, twice = (
        tables(panel, [invented_runs(panel, mix, skill, copies=copies) for mix, skill in (("gold", 1.0), ("more", 1.3))])
        for copies in (1, 2)
        for panel in [invented_panel(40, {}, copies=copies)]
    )  # fmt: skip
    compared = 0
    for place, row in once[0].items():
        if row["status"] == "ok":
            assert twice[0][place]["value"] == pytest.approx(row["value"], abs=1e-12)
    for place in [
        ("gold", "accuracy", "all"),
        ("more", "macro_f1", "all"),
        ("gold", "auroc", "falls"),
        ("gold", "brier", "all"),
    ]:
        first, second = once[0][place], twice[0][place]
        assert (first["ci_high"] - first["ci_low"]) / (second["ci_high"] - second["ci_low"]) == pytest.approx(
            2**0.5, rel=0.1
        )
        compared += 1
    for place in once[1]:
        assert once[1][place]["se_patients"] / twice[1][place]["se_patients"] == pytest.approx(2**0.5, rel=0.06)
        compared += 1
    assert compared == 4 + 6


def test_relabelled_classes_permute_the_table() -> None:
    panel = invented_panel(20, {})
    runs = [invented_runs(panel, mix, skill, n_seeds=2) for mix, skill in (("gold", 1.0), ("more", 1.5))]
    to = np.array([2, 0, 1])  # class k becomes to[k]
    names = [""] * 3
    for k, place in enumerate(to):
        names[place] = LABELS[k]
    turned = replace(panel, label_ids=tuple(names), truth=to[panel.truth])
    turned_runs = [
        replace(run, predicted=to[run.predicted], probability=run.probability[..., np.argsort(to)]) for run in runs
    ]
    for plain, permuted in zip(tables(panel, runs), tables(turned, turned_runs), strict=True):
        assert plain.keys() == permuted.keys()
        for place, row in plain.items():
            for name, cell in row.items():
                expected = pytest.approx(cell, abs=1e-9) if isinstance(cell, float) else cell
                assert permuted[place][name] == expected, (place, name)


def test_a_column_that_is_the_same_for_everybody_changes_nothing_overall_and_repeats_it() -> None:
    found = []
    for levels in ({"site": ("north", "south")}, {"site": ("north", "south"), "country": ("here",)}):
        panel = invented_panel(20, levels)
        runs = [invented_runs(panel, mix, skill) for mix, skill in (("gold", 1.0), ("more", 1.5))]
        found.append(evaluate(panel, {"llm": runs}, settings=Evaluation(n_bootstrap=300), root_seed=5))
    (metrics, contrasts), (more_metrics, more_contrasts) = found
    assert [row for row in more_metrics if row["subgroup_variable"] != "country"] == metrics
    assert [row for row in more_contrasts if row["subgroup_variable"] == "overall"] == [
        row for row in contrasts if row["subgroup_variable"] == "overall"
    ]
    of_all, of_country = (
        [row | {"subgroup_variable": "", "subgroup_level": ""} for row in more_metrics
         if (row["subgroup_variable"], row["subgroup_level"]) == place]
        for place in (("overall", "all"), ("country", "here"))
    )  # fmt: skip
    assert of_country == of_all and len(of_all) > 20
    [gap, _] = [row for row in more_metrics if (row["subgroup_variable"], row["subgroup_level"]) == ("country", "gap")]
    assert (gap["value"], gap["reason"]) == (None, "1 of 1 levels have enough patients; a gap needs 2")


def test_the_order_of_mixes_changes_nothing() -> None:
    panel = invented_panel(20, {"site": ("north", "south", "east")})
    runs = [invented_runs(panel, mix, skill, n_seeds=2) for mix, skill in (("gold", 1.0), ("more", 1.5), ("less", 0.5))]
    settings = Evaluation(n_bootstrap=300, reference_mix="gold")
    one, other = (evaluate(panel, {"llm": given}, settings=settings, root_seed=5) for given in (runs, runs[::-1]))
    for rows, turned in zip(one, other, strict=True):
        assert rows and {place(row) for row in rows} == {place(row) for row in turned}
        for row, same in zip(sorted(rows, key=place), sorted(turned, key=place), strict=True):
            assert {name: rounded(cell) for name, cell in row.items()} == {
                name: rounded(cell) for name, cell in same.items()
            }


def place(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("mix", "mix_a", "mix_b", "train_seed", "metric", "class", "subgroup_variable", "subgroup_level")
    return tuple(str(row.get(name)) for name in names)


def rounded(cell: Any) -> Any:
    """Sums over mixes add up in their order, so the last digits may differ."""
    return round(cell, 10) if isinstance(cell, float) else cell


def test_a_class_nobody_has_or_predicts_has_no_value_and_a_reason() -> None:
    panel = invented_panel(12, {}, labels=(*LABELS, "unseen"))
    run = invented_runs(panel, "gold", 1.0)
    never = np.where(run.predicted == 3, 0, run.predicted)
    metrics, _ = tables(panel, [replace(run, predicted=never)])
    for name in ("precision", "recall", "f1", "auroc"):
        row = metrics["gold", name, "unseen"]
        assert (row["status"], row["value"], row["ci_low"]) == ("insufficient", None, None)
        assert row["reason"] == "0 true sentences; evaluation.min_positives is 5"
    assert metrics["gold", "macro_f1", "all"]["reason"] == "mean over 3 of 4 classes; no true sentence of unseen"
