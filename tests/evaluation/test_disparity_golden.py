"""Values by level and the gap between levels against fairlearn, which computes them another way."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from invented_panel import LABELS, invented_panel
from sklearn.metrics import accuracy_score, f1_score

from harness import seeds
from harness.evaluation.learners import evaluate
from harness.evaluation.panel import MixRuns, Panel
from harness.schemas.recipe_parts import Evaluation

SITES = ("north", "south", "east")
SETTINGS = Evaluation(n_bootstrap=100, min_patients=1, min_positives=1)


def chosen(panel: Panel, kind: str) -> np.ndarray:
    """Predicted classes of one run."""
    random = seeds.generator(0, "test_disparity_golden", kind).integers(len(LABELS), size=panel.truth.size)
    north = np.isin(np.arange(panel.truth.size), panel.slices[1].rows)
    return {
        "random": random,
        "all right": panel.truth,
        "one level never right": np.where(north, (panel.truth + 1) % len(LABELS), panel.truth),
        "one class for everybody": np.zeros_like(panel.truth),
        "one level is always called by one class": np.where(north, 2, random),
    }[kind]


def macro_over_present(truth: np.ndarray, predicted: np.ndarray) -> float:
    """A level averages over the classes it has."""
    return float(f1_score(truth, predicted, average="macro", zero_division=0, labels=np.unique(truth)))


@pytest.mark.parametrize(
    "kind",
    [
        "random",
        "all right",
        "one level never right",
        "one class for everybody",
        "one level is always called by one class",
    ],
)
@pytest.mark.parametrize("n_patients", [3, 31])  # three: one patient in every level
def test_levels_and_gap_equal_fairlearns(kind: str, n_patients: int) -> None:
    panel = invented_panel(n_patients, {"site": SITES})
    predicted = chosen(panel, kind)
    run = MixRuns("gold", "llm", predicted[None], np.eye(len(LABELS))[predicted][None])
    rows, _ = evaluate(panel, {"llm": [run]}, settings=SETTINGS, root_seed=1)
    site = np.empty(panel.truth.size, dtype=object)
    for part in panel.slices[1:]:
        site[part.rows] = part.level
    frame = MetricFrame(
        metrics={"accuracy": accuracy_score, "macro_f1": macro_over_present},
        y_true=panel.truth,
        y_pred=predicted,
        sensitive_features=site,
    )
    found = {
        (row["metric"], row["subgroup_level"]): row["value"]
        for row in rows
        if row["train_seed"] == "all" and row["class"] == "all" and row["subgroup_variable"] == "site"
    }
    for metric in ("accuracy", "macro_f1"):
        assert [found[metric, one] for one in SITES] == pytest.approx(list(frame.by_group[metric].loc[list(SITES)]))
    assert found["macro_f1_gap", "gap"] == pytest.approx(frame.difference(method="between_groups")["macro_f1"])


def test_a_level_without_a_class_is_averaged_over_those_it_has_where_fairlearn_counts_zero() -> None:
    panel = invented_panel(12, {"site": SITES})
    north = panel.slices[1].rows
    truth = panel.truth.copy()
    truth[north] = np.where(truth[north] == 2, 1, truth[north])
    right = MixRuns("gold", "llm", truth[None], np.eye(len(LABELS))[truth][None])
    without = Panel(**{**vars(panel), "truth": truth})
    rows, _ = evaluate(without, {"llm": [right]}, settings=SETTINGS, root_seed=1)
    [of_north] = [row for row in rows if (row["metric"], row["subgroup_level"], row["train_seed"])
                  == ("macro_f1", "north", "all")]  # fmt: skip
    assert of_north["value"] == 1.0
    assert of_north["reason"].startswith("mean over 2 of 3 classes; no true sentence of other")
    assert f1_score(truth[north], truth[north], average="macro", labels=range(3), zero_division=0) == pytest.approx(
        2 / 3
    )
