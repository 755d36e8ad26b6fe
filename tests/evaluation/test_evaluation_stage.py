from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from toy_study import LABELS, Study, toy_gold, toy_predictions

from harness.errors import DataError
from harness.evaluation.stage import WRITTEN, units
from harness.schemas.manifest import Counts
from harness.schemas.tables import CONFUSION, CONTRASTS, METRICS, PATIENT_COUNTS, TableSpec
from harness.store import read_rows

MakeStudy = Callable[..., Study]


def work(study: Study) -> tuple[Path, Counts]:
    [unit] = units(study.run)
    folder = study.run.path("evaluation")
    folder.mkdir(parents=True, exist_ok=True)
    return folder, unit.work(folder)


def rows_of(study: Study, spec: TableSpec, **where: Any) -> list[dict[str, Any]]:
    rows = read_rows(study.run.path("evaluation", f"{spec.name}.parquet"), spec)
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


OVERALL = {"split": "test", "subgroup_variable": "overall"}


def test_units_need_no_files_and_have_settings_that_json_can_hold(make_study: MakeStudy) -> None:
    study = make_study()
    study.run.path("cohort", "gold.parquet").unlink()
    [unit] = units(study.run)
    assert json.loads(json.dumps(unit.settings)) == unit.settings
    assert len(unit.inputs) == 1 + 2 * (2 + 2)  # gold; two mixes x (two train seeds, tfidf, majority)
    assert all(path.is_file() for path in unit.inputs[1:])


def test_tables_are_complete_and_counted(make_study: MakeStudy) -> None:
    study = make_study()
    folder, counts = work(study)
    assert {path.stem for path in folder.iterdir()} == {spec.name for spec in WRITTEN}
    n_rows = sum(len(rows_of(study, spec)) for spec in WRITTEN)
    assert counts.rows_out == n_rows
    assert counts.rows_in == 24 * 8 * 2 * 4
    n_slices = 1 + 2 + 3 + 3  # overall, sex, age band (one level nobody has), site
    n_columns = 4 + 4 + 4 * 3  # four metrics of all classes, four of calibration, four of each class
    per_seed = rows_of(study, METRICS, split="test", mix="gold", learner="llm", train_seed="1")
    assert len(per_seed) == n_slices * n_columns
    assert (
        len(rows_of(study, METRICS, split="test", mix="gold", learner="llm", train_seed="all"))
        == n_slices * n_columns + 3
    )
    assert len(rows_of(study, METRICS, split="validation", mix="gold", learner="llm", train_seed="all")) == n_columns


def test_values_equal_scikit_learn_and_all_is_the_mean_of_the_seeds(make_study: MakeStudy) -> None:
    study = make_study()
    work(study)
    test = [row for row in study.gold if row["split"] == "test"]
    truth = [row["label"] for row in test]
    for seed in (0, 1):
        rows = toy_predictions(test, 2.5, "better", f"seed_{seed}")
        predicted = [row["label"] for row in rows if row["is_predicted"]]
        falls = [row["probability"] for row in rows if row["label"] == "falls"]
        expected = {
            ("macro_f1", "all"): sk.f1_score(truth, predicted, average="macro"),
            ("accuracy", "all"): sk.accuracy_score(truth, predicted),
            ("recall", "falls"): sk.recall_score(truth, predicted, labels=["falls"], average=None)[0],
            ("auroc", "falls"): sk.roc_auc_score([label == "falls" for label in truth], falls),
        }
        for (metric, label), value in expected.items():
            where = {**OVERALL, "mix": "better", "learner": "llm", "metric": metric, "class": label}
            [row] = rows_of(study, METRICS, **where, train_seed=str(seed))
            assert row["value"] == pytest.approx(value, abs=1e-12)
            assert row["ci_low"] is None
            [mean] = rows_of(study, METRICS, **where, train_seed="all")
            seeds = [rows_of(study, METRICS, **where, train_seed=str(k))[0]["value"] for k in (0, 1)]
            assert mean["value"] == pytest.approx(np.mean(seeds))
            assert mean["ci_low"] < mean["value"] < mean["ci_high"]


def test_few_patients_and_few_positives_leave_no_value_but_a_reason(make_study: MakeStudy) -> None:
    study = make_study(min_positives=20)
    work(study)
    where = {"split": "test", "mix": "gold", "learner": "llm", "train_seed": "all"}
    young = rows_of(study, METRICS, **where, subgroup_level="young")
    assert {(row["value"], row["status"], row["reason"], row["n_patients"]) for row in young} == {
        (None, "insufficient", "2 patients; evaluation.min_patients is 5", 2)
    }
    nobody = rows_of(study, METRICS, **where, subgroup_level="nobody")
    assert {(row["value"], row["status"], row["n"], row["n_patients"]) for row in nobody} == {
        (None, "insufficient", 0, 0)
    }
    rare = [row for row in rows_of(study, METRICS, **where, subgroup_level="north")
            if row["n_positive"] is not None and row["n_positive"] < 20]  # fmt: skip
    assert rare
    for row in rare:
        assert row["status"] == "insufficient"
        assert row["reason"] == f"{row['n_positive']} true sentences; evaluation.min_positives is 20"
    [macro] = rows_of(study, METRICS, **where, subgroup_level="north", metric="macro_f1")
    assert macro["status"] == "ok"


def test_two_runs_give_the_same_bytes(make_study: MakeStudy) -> None:
    first, second = make_study("first"), make_study("second")
    work(second)
    for path in sorted(work(first)[0].iterdir()):
        assert path.read_bytes() == (second.run.path("evaluation") / path.name).read_bytes()


def test_a_further_mix_changes_no_other_row(make_study: MakeStudy) -> None:
    two, three = make_study("two"), make_study("three", mixes=("gold", "better", "same"))
    work(two)
    work(three)
    for mix in ("gold", "better"):
        assert rows_of(two, METRICS, mix=mix) == rows_of(three, METRICS, mix=mix)
    adjusted = {
        "p_adjusted": None,
        "family": None,
        "detectable": None,
        "reason": None,
    }  # a further mix is a further test
    assert [row | adjusted for row in rows_of(two, CONTRASTS)] == [
        row | adjusted for row in rows_of(three, CONTRASTS, mix_a="better")
    ]


def test_names_of_patients_and_order_of_rows_change_nothing(make_study: MakeStudy) -> None:
    plain, renamed = make_study("plain"), make_study("renamed")
    rows = [row | {"patient_id": f"q{hash_free(row['patient_id'])}"} for row in reversed(renamed.gold)]
    renamed.write_gold(rows)
    work(plain)
    work(renamed)
    for spec in WRITTEN:
        if spec is not PATIENT_COUNTS:  # the one table that names patients
            assert rows_of(plain, spec) == rows_of(renamed, spec)


def hash_free(patient_id: str) -> int:
    """Another number for the same patient, in another order."""
    return 7 * int(patient_id[1:]) % 101


def test_sentences_of_unknown_level_stand_in_no_slice_and_are_counted(make_study: MakeStudy) -> None:
    study = make_study()
    _, counts = work(study)
    unknown = [row for row in study.gold if row["split"] == "test" and row["sex"] is None]
    assert unknown
    assert counts.notes["sentences_without_level"] == {"sex": len(unknown), "age_band": 0, "site": 0}
    where = {"split": "test", "mix": "gold", "learner": "llm", "train_seed": "all", "metric": "accuracy"}
    by_sex = rows_of(study, METRICS, **where, subgroup_variable="sex")
    assert sum(row["n"] for row in by_sex) == 18 * 8 - len(unknown)


def test_gap_is_best_minus_worst_and_names_both(make_study: MakeStudy) -> None:
    study = make_study()
    work(study)
    where = {"split": "test", "mix": "better", "learner": "llm", "train_seed": "all", "subgroup_variable": "site"}
    levels = {row["subgroup_level"]: row["value"] for row in rows_of(study, METRICS, **where, metric="macro_f1")}
    [gap] = rows_of(study, METRICS, **where, metric="macro_f1_gap")
    best, worst = max(levels, key=levels.__getitem__), min(levels, key=levels.__getitem__)
    assert gap["value"] == pytest.approx(levels[best] - levels[worst])
    assert gap["subgroup_level"] == "gap"
    assert re.fullmatch(rf"best: {best}; worst: {worst}; by chance alone: 0\.\d{{3}}", gap["reason"])
    assert gap["ci_low"] < gap["value"] < gap["ci_high"]
    [age] = rows_of(study, METRICS, **where | {"subgroup_variable": "age_band"}, metric="macro_f1_gap")
    assert (age["status"], age["reason"]) == ("insufficient", "1 of 3 levels have enough patients; a gap needs 2")


def test_confusion_counts_every_test_sentence_once_per_run(make_study: MakeStudy) -> None:
    study = make_study()
    work(study)
    rows = rows_of(study, CONFUSION)
    assert {row["split"] for row in rows} == {"test"}
    assert len(rows) == 2 * 4 * len(LABELS) ** 2
    one = rows_of(study, CONFUSION, mix="gold", learner="llm", train_seed="1")
    assert sum(row["n"] for row in one) == 18 * 8


def test_contrasts_are_differences_of_the_metrics(make_study: MakeStudy) -> None:
    study = make_study()
    work(study)
    rows = rows_of(study, CONTRASTS)
    assert {(row["mix_a"], row["mix_b"]) for row in rows} == {("better", "gold")}
    assert {row["learner"] for row in rows} == {"llm", "tfidf"}  # majority is a floor, not a competitor
    n_levels, n_variables, n_metrics = 8, 3, 2
    assert len(rows) == 2 * (3 + len(LABELS) + n_metrics * (n_levels + n_variables))
    for row in (row for row in rows if row["subgroup_level"] != "(interaction)"):
        where = {name: row[name] for name in ("learner", "metric", "class", "subgroup_variable", "subgroup_level")}
        a, b = (
            rows_of(study, METRICS, split="test", train_seed="all", mix=mix, **where)[0] for mix in ("better", "gold")
        )
        assert row["status"] == a["status"]
        assert row["n_train_seeds"] == (2 if row["learner"] == "llm" else 1)
        if row["status"] == "ok":
            assert row["difference"] == pytest.approx(a["value"] - b["value"])
            assert row["ci_low"] < row["ci_high"]
            assert 1 / 301 <= row["p_value"] <= row["p_adjusted"] <= 1
        else:
            assert row["difference"] is row["p_value"] is row["p_adjusted"] is row["family"] is None


def test_reference_falls_back_to_the_first_mix(make_study: MakeStudy) -> None:
    study = make_study(mixes=("same", "better"))
    work(study)
    assert {(row["mix_a"], row["mix_b"]) for row in rows_of(study, CONTRASTS)} == {("better", "same")}
    named = make_study("named", reference_mix="better")
    work(named)
    assert {(row["mix_a"], row["mix_b"]) for row in rows_of(named, CONTRASTS)} == {("gold", "better")}


def test_one_mix_alone_has_no_contrasts(make_study: MakeStudy) -> None:
    study = make_study(mixes=("gold",), train_seeds=1)
    work(study)
    assert rows_of(study, CONTRASTS) == []
    assert rows_of(study, METRICS, train_seed="all")


def test_validation_alone_gives_metrics_and_no_contrasts(make_study: MakeStudy) -> None:
    study = make_study(splits=("validation",))
    work(study)
    assert {row["split"] for row in rows_of(study, METRICS)} == {"validation"}
    assert rows_of(study, CONTRASTS) == rows_of(study, CONFUSION) == []


def test_a_gold_table_from_before_a_variable_is_refused_with_those_it_has(make_study: MakeStudy) -> None:
    study = make_study(subgroups=["sex", "site"])
    study.write_gold([{name: value for name, value in row.items() if name != "site"} for row in study.gold])
    message = "gold has no subgroup variable 'site'.*; known: sex, age_band, race_ethnicity, stage$"
    with pytest.raises(DataError, match=message):
        work(study)


def test_gold_without_test_sentences_is_refused(make_study: MakeStudy) -> None:
    study = make_study()
    study.write_gold([row | {"split": "train"} for row in study.gold])
    with pytest.raises(DataError, match=r"gold\.parquet: no test sentences"):
        work(study)


def test_a_subgroup_variable_that_nobody_has_gives_no_error(make_study: MakeStudy) -> None:
    study = make_study(subgroups=["race_ethnicity", "age_band"])
    work(study)
    assert rows_of(study, METRICS, subgroup_variable="race_ethnicity") == []


def test_one_test_patient_is_no_reason_to_stop_and_none_to_show_a_number(make_study: MakeStudy) -> None:
    gold = [row | {"split": "test" if row["patient_id"] == "p00" else "validation"} for row in toy_gold()]
    study = make_study(gold=gold)
    work(study)
    rows = rows_of(study, METRICS, split="test")
    assert rows and {row["status"] for row in rows} == {"insufficient"}
    assert {row["value"] for row in rows} == {row["ci_low"] for row in rows} == {None}
    assert {row["p_value"] for row in rows_of(study, CONTRASTS)} == {None}
    assert sum(row["n"] for row in rows_of(study, CONFUSION, mix="gold", learner="tfidf")) == 8  # counts stay


def test_a_variable_with_one_level_repeats_the_whole_and_has_no_gap(make_study: MakeStudy) -> None:
    study = make_study(gold=[row | {"site": "north"} for row in toy_gold()], subgroups=["site"])
    work(study)
    where = {"split": "test", "mix": "better", "learner": "llm", "train_seed": "all", "metric": "accuracy"}
    [whole] = rows_of(study, METRICS, **where, subgroup_variable="overall")
    [north] = rows_of(study, METRICS, **where, subgroup_level="north")
    assert (north["value"], north["ci_low"]) == (whole["value"], whole["ci_low"])
    [gap] = rows_of(study, METRICS, **where | {"metric": "macro_f1_gap"})
    assert (gap["value"], gap["reason"]) == (None, "1 of 1 levels have enough patients; a gap needs 2")


def changed(rows: list[dict[str, Any]], where: str, /, **change: Any) -> list[dict[str, Any]]:
    return [row | change if row["sentence_id"] == where else row for row in rows]


WRONG = {
    "not a number": (
        lambda rows: changed(rows, "s00_1", probability=float("nan")),
        "1 of 192 sentences have a probability that is no number in [0, 1], e.g. s00_1",
    ),
    "does not add up": (
        lambda rows: changed(rows, "s00_1", probability=0.3),
        "1 of 192 sentences have probabilities that do not add up to 1, e.g. s00_1",
    ),
    "no answer": (
        lambda rows: changed(rows, "s00_1", is_predicted=False),
        "1 of 192 sentences do not have exactly one predicted label, e.g. s00_1",
    ),
    "another truth": (
        lambda rows: changed(rows, "s00_1", is_true=False),
        "1 of 192 sentences have another true label than gold, e.g. s00_1",
    ),
    "another split": (
        lambda rows: changed(rows, "s00_1", split="validation"),
        "1 of 192 sentences have another split than gold, e.g. s00_1",
    ),
    "missing sentence": (
        lambda rows: [row for row in rows if row["sentence_id"] != "s00_1"],
        "held-out sentences without prediction: 1, e.g. s00_1",
    ),
    "foreign sentence": (
        lambda rows: changed(rows, "s00_1", sentence_id="s99_9"),
        "sentences that gold does not hold out: 1, e.g. s99_9",
    ),
    "missing pair": (
        lambda rows: [row for row in rows if (row["sentence_id"], row["label"]) != ("s00_1", "falls")],
        "pairs of sentence and label without prediction: 1, e.g. of sentence s00_1",
    ),
    "missing label": (
        lambda rows: [row for row in rows if row["label"] != "falls"],
        "found labels memory, other; the task has memory, falls, other",
    ),
    "foreign label": (
        lambda rows: [*rows, rows[0] | {"label": "gait"}],
        "found labels falls, gait, memory, other; the task has memory, falls, other",
    ),
    "no rows": (lambda _: [], "no predictions; run the scoring of this mix again"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_predictions_are_refused_with_file_and_sentence(make_study: MakeStudy, fault: str) -> None:
    change, message = WRONG[fault]
    study = make_study()
    study.write_predictions("better", "tfidf", change(toy_predictions(study.gold, 1.0, "any")))
    with pytest.raises(DataError) as error:
        work(study)
    assert f"better/tfidf/predictions.parquet: {message}" in str(error.value)


def test_faults_of_several_files_come_together(make_study: MakeStudy) -> None:
    study = make_study()
    study.write_predictions("better", "tfidf", [])
    study.write_predictions("gold", "seed_1", changed(toy_predictions(study.gold, 1.0), "s03_0", probability=-0.1))
    with pytest.raises(DataError, match="2 faults") as error:
        work(study)
    assert "gold/seed_1/predictions.parquet" in str(error.value)
    assert "better/tfidf/predictions.parquet" in str(error.value)


def test_a_run_without_predictions_is_refused(make_study: MakeStudy) -> None:
    study = make_study()
    study.predictions_path("gold", "seed_1").unlink()
    with pytest.raises(DataError, match=r"gold/seed_1/predictions\.parquet: no such table"):
        work(study)
