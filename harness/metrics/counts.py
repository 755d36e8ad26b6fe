"""Metrics of hard decisions, from three counts per class: hits, true, predicted.

The counts may carry any leading axes (replicates, mixes, train seeds), and every formula works on all of them at once,
so that the bootstrap and the point estimate share one definition. NaN stands for undefined in here;
`utility.py` turns it into an `Estimate` with a reason.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.label_sets import Indicators

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


class Tallies(NamedTuple):
    """Sentences per class; the three arrays broadcast against one another, last axis n_classes.

    Attributes:
        hits: Of this class and predicted as it (TP).
        true: Of this class (TP + FN).
        predicted: Predicted as it (TP + FP).
    """

    hits: Floats
    true: Floats
    predicted: Floats


def confusion(truth: Codes, predicted: Codes, n_classes: int) -> NDArray[np.int64]:
    """Number of sentences by true class (rows) and predicted class (columns), shape (n_classes, n_classes)."""
    cells = np.bincount(truth * n_classes + predicted, minlength=n_classes * n_classes)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def tally_by_patient(truth: Codes, predicted: Codes, patient: Codes, *, n_patients: int, n_classes: int) -> Tallies:
    """Count hits, true and predicted of every patient and class.

    Args:
        truth: True class of each sentence, shape (n_sentences,).
        predicted: Predicted class per run, shape (n_runs, n_sentences).
        patient: Patient of each sentence, 0 to n_patients - 1, shape (n_sentences,).
        n_patients: Length of the first axis of the result.
        n_classes: Length of the last axis of the result.

    Returns:
        Hits and predicted of shape (n_patients, n_runs, n_classes), true of shape (n_patients, 1, n_classes).
    """
    n_runs = predicted.shape[0]
    run = np.arange(n_runs)[:, None]
    cell = (patient * n_runs + run) * n_classes + predicted  # (n_runs, n_sentences)
    size, shape = n_patients * n_runs * n_classes, (n_patients, n_runs, n_classes)
    hit = predicted == truth
    hits = np.bincount(cell[hit], minlength=size).reshape(shape)
    called = np.bincount(cell.ravel(), minlength=size).reshape(shape)
    true = np.bincount(patient * n_classes + truth, minlength=n_patients * n_classes).reshape(n_patients, 1, n_classes)
    return Tallies(hits.astype(np.float64), true.astype(np.float64), called.astype(np.float64))


def tally_labels_by_patient(truth: Indicators, predicted: Indicators, patient: Codes, *, n_patients: int) -> Tallies:
    """The same where a sentence has several labels: each label counts by itself, so classes are labels.

    Args:
        truth: Which labels each sentence shows, shape (n_sentences, n_labels).
        predicted: Which it was given, per run, shape (n_runs, n_sentences, n_labels).
        patient: Patient of each sentence, 0 to n_patients - 1, shape (n_sentences,).
        n_patients: Length of the first axis of the result.

    Returns:
        Shapes as those of `tally_by_patient`.
    """
    hits = np.moveaxis(predicted & truth, 1, 0)  # (n_sentences, n_runs, n_labels)
    shown = (hits, truth[:, None], np.moveaxis(predicted, 1, 0))
    return Tallies(*(sums_by_patient(one, patient, n_patients) for one in shown))


def sums_by_patient(values: NDArray[Any], patient: Codes, n_patients: int) -> Floats:
    """Sums over each patient's sentences, which are the first axis of `values`; zero for a patient without."""
    order = np.argsort(patient, kind="stable")
    found, starts = np.unique(patient[order], return_index=True)
    sums = np.zeros((n_patients, *values.shape[1:]))
    if found.size:
        sums[found] = np.add.reduceat(values[order], starts, axis=0, dtype=np.float64)
    return sums


def accuracy(tallies: Tallies) -> Floats:
    """Share of sentences whose class was predicted; undefined without sentences. Shape (...)."""
    return ratio(tallies.hits.sum(axis=-1), tallies.true.sum(axis=-1))


def precision(tallies: Tallies) -> Floats:
    """TP / (TP + FP) per class, shape (..., n_classes); undefined where the class was never predicted.

    Source: van Rijsbergen, Information Retrieval, 2nd ed. (1979), ch. 7; so are recall and F1 (his 1 - E, alpha 1/2).
    """
    return ratio(tallies.hits, tallies.predicted)


def recall(tallies: Tallies) -> Floats:
    """TP / (TP + FN) per class, shape (..., n_classes); undefined where no sentence is of the class."""
    return ratio(tallies.hits, tallies.true)


def f1(tallies: Tallies) -> Floats:
    """2 TP / (2 TP + FP + FN) per class, shape (..., n_classes); undefined where no sentence is of the class.

    With true sentences and no prediction the formula gives 0, and 0 it is. Without true sentences it would give 0 for
    any false alarm; what such a number says lies in precision, so there is no F1.
    """
    both = tallies.true + tallies.predicted
    return np.where(tallies.true > 0, ratio(2 * tallies.hits, both), np.nan)


def macro_f1(tallies: Tallies) -> Floats:
    """Mean F1 over the classes that occur in the truth, shape (...); undefined without sentences.

    Equals `sklearn.metrics.f1_score(average="macro", labels=<classes in y_true>, zero_division=0)`. scikit-learn's own
    default also averages in, as 0, classes that were predicted but never occur.
    """
    return _mean_over_present(f1(tallies), tallies.true)


def micro_f1(tallies: Tallies) -> Floats:
    """F1 of all labels counted together, shape (...); undefined without sentences.

    Equals `sklearn.metrics.f1_score(average="micro")`. With one label a sentence it is accuracy. A frequent label
    weighs more than a rare one; `macro_f1` weighs them alike.
    """
    return ratio(2 * tallies.hits.sum(axis=-1), tallies.true.sum(axis=-1) + tallies.predicted.sum(axis=-1))


def weighted_f1(tallies: Tallies) -> Floats:
    """Mean F1 over classes by their number of true sentences, shape (...); undefined without sentences.

    Equals `sklearn.metrics.f1_score(average="weighted", zero_division=0)`.
    """
    present = np.where(tallies.true > 0, f1(tallies), 0.0)
    return ratio((present * tallies.true).sum(axis=-1), tallies.true.sum(axis=-1))


def balanced_accuracy(tallies: Tallies) -> Floats:
    """Mean recall over the classes that occur in the truth, shape (...); undefined without sentences.

    Source: Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010 (there for two classes).
    """
    return _mean_over_present(recall(tallies), tallies.true)


def _mean_over_present(values: Floats, true: Floats) -> Floats:
    present = true > 0
    return ratio(np.where(present, values, 0.0).sum(axis=-1), np.broadcast_to(present, values.shape).sum(axis=-1))


def ratio(part: Floats, whole: NDArray[Any]) -> Floats:
    """Part by whole, NaN where the whole is nothing."""
    defined = whole > 0
    return np.where(defined, part / np.where(defined, whole, 1), np.nan)
