"""Metrics of sentences with several labels that look at a sentence's labels as a whole: are they all right, how many?

Like the counts per class they are made of sums by patient, so that resamples and permutations are matrix products.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.label_sets import Indicators
from harness.metrics.counts import Codes, Floats, ratio, sums_by_patient

UNIT = 1_000_000  # overlaps are resampled as whole millionths, which linear algebra adds exactly


class SetTallies(NamedTuple):
    """Sums over sentences; the three arrays broadcast against one another.

    Attributes:
        sentences: Number of them.
        exact: Those whose predicted labels are the true ones.
        overlap: Jaccard index of predicted and true labels, in whole millionths.
    """

    sentences: Floats
    exact: Floats
    overlap: Floats


def tally_sets_by_patient(truth: Indicators, predicted: Indicators, patient: Codes, *, n_patients: int) -> SetTallies:
    """Count whole sentences of every patient.

    Args:
        truth: Which labels each sentence shows, at least one, shape (n_sentences, n_labels).
        predicted: Which it was given, per run, shape (n_runs, n_sentences, n_labels); it may be none.
        patient: Patient of each sentence, 0 to n_patients - 1, shape (n_sentences,).
        n_patients: Length of the first axis of the result.

    Returns:
        Sentences of shape (n_patients, 1), exact and overlap of shape (n_patients, n_runs).
    """
    exact = (predicted == truth).all(axis=-1)  # (n_runs, n_sentences)
    both, either = (predicted & truth).sum(axis=-1), (predicted | truth).sum(axis=-1)
    overlap = np.rint(UNIT * both / either)
    sentences = np.bincount(patient, minlength=n_patients).astype(np.float64)[:, None]
    return SetTallies(sentences, *(sums_by_patient(one.T, patient, n_patients) for one in (exact, overlap)))


def exact_match(tallies: SetTallies) -> Floats:
    """Share of sentences whose labels are all right and none too many; undefined without sentences. Shape (...).

    Equals `sklearn.metrics.accuracy_score` of indicator matrices.
    """
    return ratio(tallies.exact, tallies.sentences)


def jaccard(tallies: SetTallies) -> Floats:
    """Mean over sentences of |predicted and true| / |predicted or true|; undefined without sentences. Shape (...).

    Equals `sklearn.metrics.jaccard_score(average="samples")` to a millionth. Source: Godbole and Sarawagi,
    Discriminative methods for multi-labeled classification, PAKDD 2004 (there: accuracy).
    """
    return ratio(tallies.overlap / UNIT, tallies.sentences)
