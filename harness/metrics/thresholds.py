"""From which probability on a label is given to a sentence that may show several: chosen on validation sentences.

The threshold with the best F1 is a draw of the validation sentences like any other estimate. With few positives it says
more about them than about the label, so there it is 0.5. Source: Yang, A study of thresholding strategies for text
categorization, SIGIR 2001 (SCut, and what becomes of it for rare categories).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.label_sets import Indicators
from harness.metrics.counts import Floats

DEFAULT = 0.5
MIN_POSITIVES = 5  # as evaluation.min_positives: below, an F1 is not shown, and should decide nothing either


@dataclass(frozen=True)
class Threshold:
    """What decides whether a label is given.

    Attributes:
        value: Probabilities of at least this give the label.
        f1: At it, on the sentences it was chosen on; None where it was not chosen.
        n_positive: Of those sentences, the ones with the label.
        status: ok, or insufficient where the value is the default.
        reason: Why it is the default.
    """

    value: float
    f1: float | None
    n_positive: int
    status: Literal["ok", "insufficient"]
    reason: str | None = None


def choose_thresholds(truth: Indicators, probability: Floats) -> list[Threshold]:
    """One threshold a label.

    Args:
        truth: Which labels validation sentences show, shape (n_sentences, n_labels); there may be no sentence.
        probability: Of each label, same shape.
    """
    return [choose_threshold(truth[:, k], probability[:, k]) for k in range(truth.shape[1])]


def choose_threshold(truth: NDArray[np.bool_], probability: Floats) -> Threshold:
    """The threshold with the largest F1; of several the one nearest 0.5.

    Between two neighbouring probabilities all thresholds decide alike; their middle stands for them, or 0.5 itself
    where it lies there. Below the smallest probability every sentence gets the label: for a label that a model cannot
    tell, that is the best F1 (Lipton, Elkan and Narayanaswamy, ECML PKDD 2014, sec. 4).
    """
    n_positive = int(truth.sum())
    if truth.size == 0:
        return Threshold(DEFAULT, None, 0, "insufficient", "no validation sentence")
    if n_positive < MIN_POSITIVES:
        few = f"{n_positive} validation sentences with the label; choosing needs {MIN_POSITIVES}"
        return Threshold(DEFAULT, None, n_positive, "insufficient", few)
    candidates = _candidates(probability)
    f1 = _f1_at(candidates, truth, probability)
    best = candidates[f1 == f1.max()]
    chosen = float(best[np.abs(best - DEFAULT).argmin()])
    return Threshold(chosen, float(f1.max()), n_positive, "ok")


def _candidates(probability: Floats) -> Floats:
    """One threshold for each way to part the sentences that gives somebody the label, ascending, and the default."""
    distinct = np.unique(probability)
    below = np.concatenate([[0.0], distinct[:-1]])
    return np.unique(np.concatenate([(below + distinct) / 2, [DEFAULT]]))


def _f1_at(thresholds: Floats, truth: NDArray[np.bool_], probability: Floats) -> Floats:
    """F1 of giving the label from each threshold on, shape (n_thresholds,); rounded, so that equal ones are equal."""
    given = truth.size - np.searchsorted(np.sort(probability), thresholds, side="left")
    hits = int(truth.sum()) - np.searchsorted(np.sort(probability[truth]), thresholds, side="left")
    return np.asarray(np.round(2 * hits / (given + truth.sum()), 12), dtype=np.float64)
