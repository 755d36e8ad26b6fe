"""The tables `ties` and `patient_counts` of an invented study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from toy_study import LABELS, Study, toy_predictions

from harness.evaluation.stage import units
from harness.metrics.counts import Tallies, macro_f1
from harness.schemas.tables import METRICS, PATIENT_COUNTS, PREDICTIONS, TIES
from harness.store import read_rows

MakeStudy = Callable[..., Study]


def evaluated(study: Study, spec: Any) -> list[dict[str, Any]]:
    folder = study.run.path("evaluation")
    path = folder / f"{spec.name}.parquet"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        units(study.run)[0].work(folder)
    return [dict(row) for row in read_rows(path, spec)]


def test_the_better_mix_is_first_and_those_of_small_skill_are_out(make_study: MakeStudy) -> None:
    rows = {(row["mix"], row["learner"]): row for row in evaluated(make_study(), TIES)}
    assert set(rows) == {(mix, learner) for mix in ("gold", "better") for learner in ("llm", "tfidf")}
    assert {row["n_compared"] for row in rows.values()} == {4}
    # both learners have skill 2.5 on `better` and 1.0 on `gold` (conftest.SKILL)
    assert {place: row["tied"] for place, row in rows.items()} == {
        ("better", "llm"): True,
        ("better", "tfidf"): True,
        ("gold", "llm"): False,
        ("gold", "tfidf"): False,
    }
    assert all(row["shortfall_high"] >= row["shortfall"] >= 0 for row in rows.values())


def test_values_are_those_of_the_metrics_table(make_study: MakeStudy) -> None:
    study = make_study()
    metrics = {
        (row["mix"], row["learner"]): row["value"]
        for row in evaluated(study, METRICS)
        if (row["metric"], row["split"], row["train_seed"], row["subgroup_variable"])
        == ("macro_f1", "test", "all", "overall")
    }
    ties = evaluated(study, TIES)
    assert ties
    assert {(row["mix"], row["learner"]): row["value"] for row in ties} == pytest.approx(
        {place: value for place, value in metrics.items() if place[1] != "majority"}
    )


def test_the_order_of_mixes_changes_no_tie(make_study: MakeStudy) -> None:
    one = evaluated(make_study("one", mixes=("gold", "better", "same"), train_seeds=3), TIES)
    other = evaluated(make_study("other", mixes=("same", "gold", "better"), train_seeds=3), TIES)
    assert one == other


def test_with_one_patient_nothing_is_said_of_ties_and_the_reason_is_given(make_study: MakeStudy) -> None:
    study = make_study(min_patients=1)
    alone = next(row["patient_id"] for row in study.gold if row["split"] == "test")
    kept = [row for row in study.gold if row["split"] != "test" or row["patient_id"] == alone]
    study.write_gold(kept)
    for mix in ("gold", "better"):
        for learner in ("seed_0", "seed_1", "tfidf", "majority"):
            study.write_predictions(mix, learner, toy_predictions(kept, 1.0, mix, learner))
    rows = evaluated(study, TIES)
    assert {(row["tied"], row["status"], row["reason"]) for row in rows} == {
        (None, "undefined", "one patient shows no spread between patients")
    }


def test_too_few_patients_have_no_standing(make_study: MakeStudy) -> None:
    rows = evaluated(make_study(min_patients=50), TIES)
    assert {(row["value"], row["status"]) for row in rows} == {(None, "insufficient")}
    assert rows[0]["reason"] == "18 patients; evaluation.min_patients is 50"


def test_counts_by_patient_add_up_to_the_score(make_study: MakeStudy) -> None:
    study = make_study()
    counts = [
        row
        for row in evaluated(study, PATIENT_COUNTS)
        if (row["mix"], row["learner"], row["train_seed"]) == ("better", "llm", "1")
    ]
    sums = {
        name: np.array([sum(row[name] for row in counts if row["label"] == label) for label in LABELS], dtype=float)
        for name in ("n_hits", "n_true", "n_predicted")
    }
    [metric] = [
        row["value"]
        for row in evaluated(study, METRICS)
        if (row["mix"], row["learner"], row["metric"], row["split"], row["train_seed"], row["subgroup_variable"])
        == ("better", "llm", "macro_f1", "test", "1", "overall")
    ]
    assert float(macro_f1(Tallies(*sums.values()))) == pytest.approx(metric)


def test_counts_stand_with_the_patients_they_are_of(make_study: MakeStudy) -> None:
    study = make_study()
    patient = {row["sentence_id"]: row["patient_id"] for row in study.gold if row["split"] == "test"}
    wanted: dict[tuple[str, str], list[int]] = {}
    for row in read_rows(study.predictions_path("better", "seed_0"), PREDICTIONS):
        if row["split"] == "test":
            cell = wanted.setdefault((patient[row["sentence_id"]], row["label"]), [0, 0, 0])
            cell[0] += row["is_true"] and row["is_predicted"]
            cell[1] += row["is_true"]
            cell[2] += row["is_predicted"]
    found = {
        (row["patient_id"], row["label"]): [row["n_hits"], row["n_true"], row["n_predicted"]]
        for row in evaluated(study, PATIENT_COUNTS)
        if (row["mix"], row["learner"], row["train_seed"]) == ("better", "llm", "0")
    }
    assert found == {place: cell for place, cell in wanted.items() if any(cell)}
