from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from harness.errors import DataError
from harness.label_sets import LabelSpace
from harness.schemas.tables import PREDICTIONS, TRAIN
from harness.scoring.baselines import majority_predictions, tfidf_predictions
from harness.store import write_table

SPACE = LabelSpace(("memory", "falls", "other"), "other")
SENTENCES = [
    ("keeps forgetting the names of her grandchildren", "memory"),
    ("could not recall the appointment, repeats questions", "memory"),
    ("forgets what she was told within minutes", "memory"),
    ("fell twice on the stairs last month", "falls"),
    ("unsteady, another fall in the bathroom", "falls"),
    ("blood pressure well controlled on lisinopril", "other"),
]


def train_table(shown: list[tuple[str, str]], *, origin: str = "gold") -> pa.Table:
    first: dict[tuple[str, str], int] = {}
    rows = []
    for place, one in enumerate(shown):
        number = first.setdefault(one, len(first))
        passes = sum(earlier == one for earlier in shown[:place])
        rows.append(
            {
                "example_id": f"{origin}/s{number}/{passes}",
                "origin": origin,
                "sentence_id": f"s{number}",
                "patient_id": "p1",
                "pass_index": passes,
                "text": one[0],
                "label": one[1],
                "prompt": "",
                "completion": "",
                "n_supervised_tokens": 1,
            }
        )
    return pa.Table.from_pylist(rows, schema=TRAIN.schema)


def held_out_table(sentences: list[tuple[str, str]]) -> pa.Table:
    return pa.table(
        {
            "sentence_id": pa.array([f"h{i}" for i in range(len(sentences))], pa.string()),
            "split": pa.array(["test"] * len(sentences), pa.string()),
            "text": pa.array([text for text, _ in sentences], pa.string()),
            "label": pa.array([label for _, label in sentences], pa.string()),
        }
    )


HELD_OUT = held_out_table([("forgetting appointments again", "memory"), ("a fall on the stairs", "falls")])


def column(table: pa.Table, name: str) -> np.ndarray:
    return np.array(table[name].to_pylist()).reshape(-1, len(SPACE.label_ids))


def test_tables_fit_the_contract_of_predictions(tmp_path: Path) -> None:
    for table in (
        tfidf_predictions(train_table(SENTENCES), HELD_OUT, SPACE, 1),
        majority_predictions(train_table(SENTENCES), HELD_OUT, SPACE),
    ):
        written = write_table(tmp_path / "predictions.parquet", table, PREDICTIONS)
        assert written.equals(table)
        assert table["log_likelihood"].null_count == 6
        np.testing.assert_allclose(column(table, "probability").sum(axis=1), 1, atol=1e-9)
        assert column(table, "is_predicted").sum(axis=1).tolist() == [1, 1]
        assert [row["label"] for row in table.to_pylist() if row["is_true"]] == ["memory", "falls"]


def test_tfidf_finds_the_label_whose_words_it_saw() -> None:
    rows = tfidf_predictions(train_table(SENTENCES), HELD_OUT, SPACE, 1).to_pylist()
    assert [row["label"] for row in rows if row["is_predicted"]] == ["memory", "falls"]


def test_tfidf_is_blind_to_order_and_to_the_number_of_passes() -> None:
    once = tfidf_predictions(train_table(SENTENCES), HELD_OUT, SPACE, 1)
    thrice = tfidf_predictions(train_table(SENTENCES * 3), HELD_OUT, SPACE, 1)
    assert once.equals(thrice)
    shown = train_table(SENTENCES)
    shuffled = shown.take(pa.array([4, 0, 5, 2, 1, 3]))
    assert once.equals(tfidf_predictions(shuffled, HELD_OUT, SPACE, 1))


def test_tfidf_gives_a_sentence_that_is_shown_more_often_more_say() -> None:
    plain = tfidf_predictions(train_table(SENTENCES), HELD_OUT, SPACE, 1)
    more = tfidf_predictions(train_table(SENTENCES + SENTENCES[3:5] * 9), HELD_OUT, SPACE, 1)
    falls = sorted(SPACE.label_ids).index("falls")
    assert (column(more, "probability")[:, falls] > column(plain, "probability")[:, falls]).all()


def test_labels_that_never_occur_in_train_get_probability_zero() -> None:
    no_falls = [one for one in SENTENCES if one[1] != "falls"]
    table = tfidf_predictions(train_table(no_falls), HELD_OUT, SPACE, 1)
    assert [row["probability"] for row in table.to_pylist() if row["label"] == "falls"] == [0.0, 0.0]
    np.testing.assert_allclose(column(table, "probability").sum(axis=1), 1, atol=1e-9)


def test_one_label_alone_gets_all_probability() -> None:
    table = tfidf_predictions(train_table(SENTENCES[:3]), HELD_OUT, SPACE, 1)
    assert {row["probability"] for row in table.to_pylist() if row["label"] == "memory"} == {1.0}


def test_sentences_of_marks_alone_are_no_reason_to_stop() -> None:
    marks = train_table([("?!", "memory"), ("...", "falls")])
    table = tfidf_predictions(marks, held_out_table([("...", "falls")]), SPACE, 1)
    assert [row["label"] for row in table.to_pylist() if row["is_predicted"]] == ["falls"]


def test_majority_gives_the_shares_of_what_is_shown() -> None:
    shown = [*SENTENCES, SENTENCES[3], SENTENCES[3]]  # memory 3, falls 4, other 1 of 8
    rows = majority_predictions(train_table(shown), HELD_OUT, SPACE).to_pylist()
    shares = {row["label"]: row["probability"] for row in rows}
    assert shares == {"memory": 3 / 8, "falls": 4 / 8, "other": 1 / 8}
    assert {row["label"] for row in rows if row["is_predicted"]} == {"falls"}


def test_majority_breaks_a_tie_by_the_order_of_labels() -> None:
    shown = [SENTENCES[3], SENTENCES[0]]  # one each of falls and memory
    rows = majority_predictions(train_table(shown), HELD_OUT, SPACE).to_pylist()
    assert {row["label"] for row in rows if row["is_predicted"]} == {"memory"}


def test_no_held_out_sentence_gives_an_empty_table() -> None:
    for table in (
        tfidf_predictions(train_table(SENTENCES), HELD_OUT.slice(0, 0), SPACE, 1),
        majority_predictions(train_table(SENTENCES), HELD_OUT.slice(0, 0), SPACE),
    ):
        assert table.num_rows == 0
        assert table.schema.equals(PREDICTIONS.schema)


def test_train_rows_that_cannot_be_learned_from_are_refused() -> None:
    with pytest.raises(DataError, match="train: no rows"):
        tfidf_predictions(train_table([]), HELD_OUT, SPACE, 1)
    with pytest.raises(DataError, match="train: found labels sleep; allowed: memory, falls, other"):
        majority_predictions(train_table([("sleeps badly", "sleep")]), HELD_OUT, SPACE)
