"""Sentences with several labels: resampling and permutation give what a direct computation gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness import seeds
from harness.errors import DataError, collect_faults
from harness.evaluation.by_subgroup import Measured, Resampling, measure
from harness.evaluation.contrasts import contrast_rows
from harness.evaluation.learners import evaluate
from harness.evaluation.panel import MixRuns, Panel, build_panel
from harness.evaluation.predictions import check_predictions, held_out_sentences
from harness.evaluation.reliability import reliability_rows, with_temperatures
from harness.label_sets import LabelSpace
from harness.metrics.calibration import expected_calibration_error, label_log_loss
from harness.metrics.counts import Floats
from harness.metrics.resampling import draw_patients, draw_seeds, draw_swaps
from harness.metrics.significance import permutation_p
from harness.metrics.utility import ALL, METRICS, label_utility
from harness.schemas.recipe_parts import Evaluation

SPACE = LabelSpace(("memory", "falls", "other", "pain"), "other", 2)
SETTINGS = Evaluation(n_bootstrap=100, min_patients=3, min_positives=1)


def gold_rows(n_patients: int = 12, n_sentences: int = 6, split: str = "test") -> list[dict[str, Any]]:
    rng = seeds.generator(3, "several_labels")
    return [
        {
            "sentence_id": f"s{p:02d}_{i}",
            "patient_id": f"p{p:02d}",
            "split": split,
            "label": str(rng.choice(SPACE.set_ids)),
            "sex": ("female", "male")[p % 2],
        }
        for p in range(n_patients)
        for i in range(n_sentences)
    ]


def invented_panel(levels: dict[str, list[str]] | None = None) -> Panel:
    return build_panel(
        pa.Table.from_pylist(gold_rows()), "test", label_ids=SPACE.label_ids, levels=levels or {}, kind="multi"
    )


def invented_run(panel: Panel, mix: str, skill: float, n_seeds: int = 2) -> MixRuns:
    rng = seeds.generator(3, "several_labels", mix)
    odds = rng.normal(-1, 1, size=(n_seeds, *panel.truth.shape)) + skill * panel.truth
    probability: Floats = 1 / (1 + np.exp(-odds))
    return MixRuns(mix, "llm", probability >= 0.5, probability)


def measured(panel: Panel, runs: list[MixRuns]) -> tuple[Measured, Resampling]:
    n, rng = panel.n_patients, seeds.generator(3, "several_labels", "draws")
    drawn = Resampling(draw_patients(n, 100, rng=rng), draw_seeds(2, 100, rng=rng), draw_swaps(n, 100, rng=rng))
    return measure(panel, panel.slices[0], runs, drawn=drawn, settings=SETTINGS), drawn


def test_a_replicate_is_the_metric_of_the_drawn_patients_sentences() -> None:
    panel = invented_panel()
    runs = [invented_run(panel, "gold", 1.0), invented_run(panel, "more", 3.0)]
    found, drawn = measured(panel, runs)
    compared = set()
    for replicate in range(5):
        rows = np.repeat(np.arange(panel.patient.size), drawn.patients[replicate][panel.patient])
        for m, run in enumerate(runs):
            direct = label_utility(panel.truth[rows], run.predicted[1, rows], run.probability[1, rows])
            for column, values in found.replicates.items():
                if METRICS[column[0]].source in ("counts", "sets", "ranks") or column[0] == "brier":
                    expected = direct[column].value
                    given = values[replicate, m, 1]
                    assert np.isnan(given) if expected is None else given == pytest.approx(expected, abs=2e-6)
                    compared.add(column[0])
    assert compared == {"micro_f1", "macro_f1", "weighted_f1", "exact_match", "jaccard", "precision", "recall", "f1",
                        "auroc", "brier"}  # fmt: skip


def test_the_p_value_is_that_of_patients_changing_sides() -> None:
    panel = invented_panel()
    runs = [invented_run(panel, "gold", 1.0, 1), invented_run(panel, "more", 1.6, 1)]
    found, drawn = measured(panel, runs)
    rows = contrast_rows(found, panel, learner="llm", reference="gold", drawn=drawn, confidence=0.95)
    given = {row["metric"]: row for row in rows if row["class"] == "all"}
    assert set(given) == {"macro_f1", "weighted_f1", "micro_f1", "exact_match", "jaccard"}
    a, b = (run.predicted[0] for run in (runs[1], runs[0]))
    permuted: dict[str, list[float]] = {name: [] for name in given}
    for swaps in drawn.swaps:
        swapped = swaps[panel.patient].astype(bool)[:, None]
        sides = [
            label_utility(panel.truth, np.where(swapped, *pair), runs[0].probability[0]) for pair in ((b, a), (a, b))
        ]
        for name in given:
            one, other = (side[name, ALL].value for side in sides)
            assert one is not None and other is not None
            permuted[name].append(one - other)
    for name, row in given.items():
        assert row["p_value"] == permutation_p(row["difference"], np.array(permuted[name])), name


def test_every_label_of_a_subgroup_has_its_row_and_levels_are_compared_by_exact_match() -> None:
    panel = invented_panel({"sex": ["female", "male"]})
    runs = [invented_run(panel, "gold", 1.0), invented_run(panel, "more", 2.0)]
    metrics, contrasts = evaluate(panel, {"llm": runs}, settings=SETTINGS, root_seed=5)
    places = {(row["metric"], row["class"], row["subgroup_level"]) for row in metrics}
    assert {("f1", label, "male") for label in SPACE.label_ids} < places
    assert not {name for name, _, _ in places} & {"accuracy", "balanced_accuracy"}
    levels = {row["metric"] for row in contrasts if row["subgroup_level"] in ("male", "(interaction)")}
    assert levels == {"macro_f1", "exact_match"}
    falls = next(
        row for row in metrics if (row["metric"], row["class"], row["subgroup_level"]) == ("f1", "falls", "all")
    )
    assert falls["n_positive"] == panel.truth[:, 1].sum() and falls["n"] == 72


def test_every_patient_counts_by_sentences_not_by_labels() -> None:
    panel = invented_panel()
    found, _ = measured(panel, [invented_run(panel, "gold", 1.0)])
    assert found.n_sentences.tolist() == [6.0] * 12
    assert found.tallies.true.sum() > 72  # labels are more than sentences


def test_a_temperature_is_fitted_to_labels_and_pairs_are_binned() -> None:
    panel = invented_panel()
    run = invented_run(panel, "gold", 2.0)
    scaled, rows = with_temperatures(run, run, panel.truth, looking=panel.looking)
    assert scaled.scaled is not None
    for seed, row in enumerate(rows):
        assert row["n_validation"] == 72
        assert row["log_loss"] == pytest.approx(label_log_loss(panel.truth, run.probability[seed]))
        assert row["log_loss_scaled"] <= row["log_loss"]
        assert row["log_loss_scaled"] == pytest.approx(label_log_loss(panel.truth, scaled.scaled[seed]))
    bins = [row for row in reliability_rows(panel, scaled, min_patients=3)
            if row["probability"] == "as_scored" and row["train_seed"] == "1"]  # fmt: skip
    assert sum(row["n"] for row in bins) == 72 * 4
    off = sum(row["n"] * abs(row["confidence"] - row["right"]) for row in bins) / (72 * 4)
    assert off == pytest.approx(expected_calibration_error(run.probability[1].ravel(), panel.truth.ravel()))


def prediction_table(rows: list[dict[str, Any]], **changed: Any) -> pa.Table:
    cells = [(row, label, label in row["label"].split(";")) for row in rows for label in SPACE.label_ids]
    found = [
        {
            "sentence_id": row["sentence_id"],
            "label": label,
            "split": row["split"],
            "probability": 0.9 if is_shown else 0.4,
            "is_true": is_shown,
            "is_predicted": is_shown,
        }
        for row, label, is_shown in cells
    ]
    found[0] |= changed
    return pa.Table.from_pylist(found)


def test_probabilities_of_labels_need_not_add_up_and_any_number_may_be_predicted() -> None:
    rows = gold_rows()
    held_out = held_out_sentences(pa.Table.from_pylist(rows), ["test"], SPACE.label_ids, "multi")
    with collect_faults(DataError, "scoring") as faults:
        found = check_predictions(prediction_table(rows), held_out, faults, "x")
    assert found is not None
    np.testing.assert_array_equal(found.chosen, held_out.truth)
    assert found.chosen.sum(axis=1).max() == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"probability": float("nan")}, "1 of 72 sentences have a probability that is no number in [0, 1]"),
        ({"is_true": None}, "1 of 72 sentences have another true label than gold"),
    ],
)
def test_labels_are_checked_against_gold_and_probabilities_for_their_range(
    changed: dict[str, Any], message: str
) -> None:
    rows = gold_rows()
    held_out = held_out_sentences(pa.Table.from_pylist(rows), ["test"], SPACE.label_ids, "multi")
    table = prediction_table(rows)
    if "is_true" in changed:
        changed = {"is_true": not table["is_true"][0].as_py()}
    with pytest.raises(DataError) as raised, collect_faults(DataError, "scoring") as faults:
        assert check_predictions(prediction_table(rows, **changed), held_out, faults, "x") is None
    assert message in str(raised.value) and "s00_0" in str(raised.value)
