"""From sets of labels to labels: marginals, thresholds and baselines, from numbers small enough to follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.label_sets import LabelSpace
from harness.schemas.recipe_parts import Scoring
from harness.schemas.tables import PREDICTIONS, THRESHOLDS, TRAIN
from harness.scoring.answers import of_sets, prediction_rows
from harness.scoring.baselines import majority_predictions, tfidf_predictions
from harness.scoring.decide import decide
from harness.scoring.label_likelihood import LabelScores
from harness.scoring.thresholds import with_thresholds
from harness.store import write_table

SPACE = LabelSpace(("memory", "falls", "other"), "other", 2)  # sets: memory, falls, other, memory;falls
PHRASES = {"memory": "keeps forgetting names", "falls": "fell on the stairs", "other": "blood pressure controlled"}


def scores(log_likelihood: Any, written: Any = (3, 0)) -> LabelScores:
    found = np.array(log_likelihood)
    return LabelScores(found, np.ones(found.shape, np.int64), np.array(written), np.ones(len(found), np.bool_))


def held_out(*set_ids: str, split: str = "test") -> pa.Table:
    n = len(set_ids)
    texts = [" and ".join(PHRASES[label] for label in one.split(";")) for one in set_ids]
    return pa.table({"sentence_id": [f"h{i:02d}" for i in range(n)], "split": [split] * n, "text": texts,
                     "label": list(set_ids)})  # fmt: skip


def cells(table: pa.Table, column: str) -> dict[tuple[str, str], Any]:
    return {(row["sentence_id"], row["label"]): row[column] for row in table.to_pylist()}


def test_a_label_is_as_probable_as_the_sets_that_hold_it() -> None:
    """Likelihoods 0.2, 0.1, 0.1, 0.4 add up to 0.8: memory (0.2 + 0.4) / 0.8, falls (0.1 + 0.4) / 0.8, other 0.1 / 0.8."""
    decided = decide(scores(np.log([[0.2, 0.1, 0.1, 0.4], [0.01, 0.01, 0.97, 0.01]])), SPACE.set_ids, Scoring())
    answers = of_sets(decided, SPACE)
    np.testing.assert_allclose(answers.probability, [[0.75, 0.625, 0.125], [0.02, 0.02, 0.97]])
    assert answers.log_likelihood is not None
    np.testing.assert_allclose(np.exp(answers.log_likelihood), [[0.6, 0.5, 0.1], [0.02, 0.02, 0.97]])
    np.testing.assert_array_equal(answers.predicted, [[True, True, False], [False, False, True]])


def test_likelihoods_too_small_for_a_number_are_still_summed() -> None:
    answers = of_sets(decide(scores([[-2000.0, -2000.0, -2010.0, -2000.0]], [0]), SPACE.set_ids, Scoring()), SPACE)
    assert answers.log_likelihood is not None
    assert answers.log_likelihood[0, 0] == pytest.approx(-2000 + np.log(2))
    assert answers.probability[0, 1] == pytest.approx(2 / 3, abs=1e-4)


def test_a_written_set_gives_all_of_its_labels() -> None:
    decided = decide(scores(np.zeros((2, 4))), SPACE.set_ids, Scoring(method="generate"))
    rows = prediction_rows(held_out("memory", "memory;falls"), SPACE, of_sets(decided, SPACE))
    assert [one for one, given in cells(rows, "is_predicted").items() if given] == [
        ("h00", "falls"), ("h00", "memory"), ("h01", "memory")]  # fmt: skip
    assert [one for one, true in cells(rows, "is_true").items() if true] == [
        ("h00", "memory"), ("h01", "falls"), ("h01", "memory")]  # fmt: skip
    assert set(rows["parse_status"].to_pylist()) == {"free"}


def test_of_one_label_a_sentence_nothing_changes() -> None:
    single = LabelSpace(SPACE.label_ids, "other")
    rng = np.random.default_rng(0)
    decided = decide(scores(rng.normal(-5, 3, size=(20, 3)), np.zeros(20, int)), single.set_ids, Scoring())
    answers = of_sets(decided, single)
    np.testing.assert_array_equal(answers.probability, decided.probability)
    np.testing.assert_array_equal(answers.log_likelihood, decided.log_likelihood)
    np.testing.assert_array_equal(answers.predicted.argmax(axis=1), decided.predicted)


def test_thresholds_come_from_validation_and_decide_all_sentences(tmp_path: Path) -> None:
    """Memory is true from 0.3 on in validation, so a test sentence at 0.31 gets it; falls has too few to choose by."""
    rows = [
        {"sentence_id": f"{split}{i:02d}", "label": label, "split": split, "log_likelihood": None,
         "probability": p if label == "memory" else 1 - p, "is_true": label == "memory" and truth, "is_predicted": False,
         "parse_status": None}
        for split, sentences in (("validation", [(0.9, True)] * 5 + [(0.3, True)] * 3 + [(0.2, False)] * 4),
                                 ("test", [(0.31, False), (0.2, True)]))
        for i, (p, truth) in enumerate(sentences) for label in ("memory", "falls")
    ]  # fmt: skip
    predictions = pa.Table.from_pylist(rows, schema=PREDICTIONS.schema)
    decided, thresholds = with_thresholds(predictions, ("memory", "falls"))
    assert [(row["label"], row["threshold"], row["status"], row["n"], row["n_positive"]) for row in thresholds] == [
        ("memory", pytest.approx(0.25), "ok", 12, 8), ("falls", 0.5, "insufficient", 12, 0)]  # fmt: skip
    given = cells(decided, "is_predicted")
    assert given["test00", "memory"] and not given["test01", "memory"] and given["test01", "falls"]
    assert decided.drop_columns("is_predicted").equals(predictions.drop_columns("is_predicted"))
    turned = predictions.set_column(
        5, "is_true", pa.array([one["is_true"] != (one["split"] == "test") for one in rows])
    )
    assert with_thresholds(turned, ("memory", "falls"))[1] == thresholds  # the truth of test is not looked at
    write_table(tmp_path / "thresholds.parquet", thresholds, THRESHOLDS)


def train_table(*set_ids: str) -> pa.Table:
    sentences = held_out(*set_ids).to_pylist()
    rows = [{"example_id": one["sentence_id"], "origin": "gold", "sentence_id": one["sentence_id"], "patient_id": "p",
             "pass_index": 0, "text": one["text"], "label": one["label"], "prompt": "", "completion": "",
             "n_supervised_tokens": 1} for one in sentences]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TRAIN.schema)


def test_tfidf_learns_each_label_by_itself(tmp_path: Path) -> None:
    train = train_table(*["memory", "falls", "other"] * 4)  # no sentence with two labels
    found = tfidf_predictions(train, held_out("memory;falls", "other"), SPACE, 1)
    probability = cells(found, "probability")
    assert probability["h00", "memory"] + probability["h00", "falls"] > 1  # as one of three classes they could not
    assert probability["h01", "other"] > 0.8 > 0.2 > probability["h01", "memory"]
    write_table(tmp_path / "predictions.parquet", found, PREDICTIONS)


def test_a_label_that_is_never_or_always_shown_has_probability_0_or_1() -> None:
    found = cells(tfidf_predictions(train_table("memory", "memory;falls"), held_out("falls"), SPACE, 1), "probability")
    assert (found["h00", "memory"], found["h00", "other"]) == (1.0, 0.0) and 0 < found["h00", "falls"] < 1


def test_the_floor_says_the_same_of_every_sentence() -> None:
    train = train_table("memory;falls", "memory;falls", "memory", "other")
    found = majority_predictions(train, held_out("other"), SPACE)
    assert cells(found, "probability") == {("h00", "falls"): 0.5, ("h00", "memory"): 0.75, ("h00", "other"): 0.25}
    validation = held_out(*["memory"] * 6, *["falls"] * 4, split="validation")
    _, (memory, falls, other) = with_thresholds(majority_predictions(train, validation, SPACE), SPACE.label_ids)
    assert memory["threshold"] <= 0.75 and memory["f1"] == pytest.approx(2 * 0.6 / (1 + 0.6))  # all or none: all
    assert (falls["status"], other["status"]) == ("insufficient", "insufficient")
