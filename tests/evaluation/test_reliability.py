from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from invented_panel import invented_panel, invented_runs
from toy_study import Study, toy_predictions

from harness.evaluation.reliability import reliability_rows, with_temperatures
from harness.evaluation.stage import units
from harness.metrics.calibration import expected_calibration_error, scale
from harness.schemas.tables import METRICS, RELIABILITY, TEMPERATURES
from harness.store import read_rows


def test_bins_of_a_level_add_up_to_its_calibration_error() -> None:
    panel = invented_panel(20, {"sex": ("female", "male"), "site": ("nowhere",)})
    run = invented_runs(panel, "gold", 1.0, n_seeds=2)
    rows = list(reliability_rows(panel, run, min_patients=5))
    female = panel.slices[1].rows
    chosen = run.predicted[1, female]
    expected = expected_calibration_error(run.probability[1, female, chosen], chosen == panel.truth[female])
    bins = [row for row in rows if (row["subgroup_level"], row["train_seed"]) == ("female", "1")]
    n = sum(row["n"] for row in bins)
    assert n == female.size
    assert sum(row["n"] * abs(row["confidence"] - row["right"]) for row in bins) / n == pytest.approx(expected)
    assert {row["probability"] for row in rows} == {"as_scored"}
    assert not list(reliability_rows(panel, run, min_patients=21))


def test_temperatures_come_from_validation_whatever_the_truth_of_test() -> None:
    validation, test = invented_panel(30, {}), invented_panel(12, {})
    fitted_on, answered = invented_runs(validation, "gold", 1.0), invented_runs(test, "gold", 1.0, name="test")
    sharp = replace(fitted_on, probability=scale(fitted_on.probability, 0.4))
    scaled, [row] = with_temperatures(answered, sharp, validation.truth)
    assert row["log_loss_scaled"] < row["log_loss"]
    assert row["n_validation"] == validation.truth.size
    assert scaled.scaled is not None
    np.testing.assert_allclose(scaled.scaled[0], scale(answered.probability[0], row["temperature"]))
    np.testing.assert_array_equal(scaled.scaled.argmax(axis=-1), answered.probability.argmax(axis=-1))


def test_the_stage_never_fits_a_temperature_on_test(make_study: Callable[..., Study]) -> None:
    plain, other = make_study("plain"), make_study("other")
    worse = [row for row in other.gold if row["split"] == "test"]
    same = [row for row in other.gold if row["split"] == "validation"]
    mixed = toy_predictions(worse, -2.0, "gold", "seed_0") + toy_predictions(same, 1.0, "gold", "seed_0")
    other.write_predictions("gold", "seed_0", mixed)
    found = []
    for study in (plain, other):
        [unit] = units(study.run)
        folder = study.run.path("evaluation")
        folder.mkdir(parents=True)
        unit.work(folder)
        found.append(read_rows(folder / "temperatures.parquet", TEMPERATURES))
        metrics = read_rows(folder / "metrics.parquet", METRICS)
        in_validation = {
            row["reason"] for row in metrics if row["metric"] == "ece_scaled" and row["split"] == "validation"
        }
        assert in_validation == {"no temperature: it is fitted on validation and used on test sentences"}
        assert all(row["value"] is not None for row in metrics if row["metric"] == "ece_scaled"
                   and row["split"] == "test" and row["subgroup_variable"] == "overall")  # fmt: skip
        reliability = read_rows(folder / "reliability.parquet", RELIABILITY)
        assert {row["probability"] for row in reliability} == {"as_scored", "scaled"}
    assert found[0] == found[1]
    assert len(found[0]) == 2 * (2 + 2)  # two mixes x (two train seeds, tfidf, majority)


def test_without_validation_there_are_no_temperatures(make_study: Callable[..., Study]) -> None:
    study = make_study(splits=("test",))
    [unit] = units(study.run)
    folder = study.run.path("evaluation")
    folder.mkdir(parents=True)
    unit.work(folder)
    assert read_rows(folder / "temperatures.parquet", TEMPERATURES) == []
    metrics = read_rows(folder / "metrics.parquet", METRICS)
    assert {row["status"] for row in metrics if row["metric"] == "brier_scaled" and row["n_patients"] >= 5} == {
        "undefined"
    }
