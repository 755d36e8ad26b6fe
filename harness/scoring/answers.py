"""What a learner says of some sentences, as the predictions table; whether they have one label or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.label_sets import LabelSpace
from harness.schemas.tables import PREDICTIONS

if TYPE_CHECKING:  # it loads torch, which baselines do without
    from harness.scoring.decide import Decided


@dataclass(frozen=True)
class Answers:
    """Arrays of shape (n_sentences, n_labels), in the order of the sentences and of the task's labels.

    Attributes:
        probability: Of each label. With one label a sentence they add up to 1.
        predicted: Whether the label is given.
        log_likelihood: Of each label, in nats; None for a learner that has none.
        parse_status: free or constrained, one a sentence; None where nothing was generated.
    """

    probability: NDArray[np.float64]
    predicted: NDArray[np.bool_]
    log_likelihood: NDArray[np.float64] | None = None
    parse_status: tuple[str, ...] | None = None


def of_likeliest(probability: NDArray[np.float64]) -> Answers:
    """Answers that give every sentence its most probable label, of equal ones the first."""
    n_sentences, n_labels = probability.shape
    chosen = probability.argmax(axis=1) if n_sentences else np.zeros(0, dtype=np.intp)
    return Answers(probability, np.arange(n_labels) == chosen[:, None])


def of_sets(decided: Decided, space: LabelSpace) -> Answers:
    """Marginals: a label is as probable as all sets that hold it together.

    They are exact, because every allowed set was scored. With one label a sentence they are what was decided.

    Args:
        decided: Over the sets of `space`, in its order.
        space: The task's labels.
    """
    members = space.membership  # (n_sets, n_labels)
    summed = [log_sum(decided.log_likelihood[:, members[:, k]]) for k in range(members.shape[1])]
    return Answers(
        probability=np.minimum(decided.probability @ members, 1.0),
        predicted=members[decided.predicted],
        log_likelihood=np.stack(summed, axis=1),
        parse_status=decided.parse_status,
    )


def log_sum(log_likelihoods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of the sum of likelihoods in each row, shape (n_rows,); exact where there is one."""
    highest = log_likelihoods.max(axis=1, keepdims=True)
    summed = np.log(np.exp(log_likelihoods - highest).sum(axis=1))
    return np.asarray(highest[:, 0] + summed, dtype=np.float64)


def prediction_rows(held_out: pa.Table, space: LabelSpace, answers: Answers) -> pa.Table:
    """PREDICTIONS rows sorted by key.

    Args:
        held_out: The GOLD rows that the answers are about, in their order.
        space: The task's labels.
        answers: What a learner says.
    """
    n_sentences, n_labels = answers.probability.shape
    sentence, label = np.repeat(np.arange(n_sentences), n_labels), np.tile(np.arange(n_labels), n_sentences)
    repeated = held_out.select(["sentence_id", "split"]).take(pa.array(sentence))
    found, status = answers.log_likelihood, answers.parse_status
    table = pa.table(
        {
            "sentence_id": repeated["sentence_id"],
            "label": pa.array(space.label_ids, pa.string()).take(pa.array(label)),
            "split": repeated["split"],
            "log_likelihood": pa.nulls(sentence.size, pa.float64()) if found is None else pa.array(found.ravel()),
            "probability": pa.array(answers.probability.ravel(), pa.float64()),
            "is_true": pa.array(space.indicators(held_out["label"].to_pylist()).ravel()),
            "is_predicted": pa.array(answers.predicted.ravel()),
            "parse_status": pa.array([None] * n_sentences if status is None else status, pa.string()).take(
                pa.array(sentence)
            ),
        },
        schema=PREDICTIONS.schema,
    )
    return table.sort_by([(name, "ascending") for name in PREDICTIONS.key])
