"""Are probabilities worth their name? Expected calibration error, Brier score, and one temperature that mends them.

Bins hold equal numbers of sentences, because equal widths leave most bins of a confident model empty. Equal confidences
share a bin, so that the order of sentences moves nothing.

With one label a sentence, what is binned is the probability of the predicted label and whether it was right. With
several, every pair of sentence and label is: the label's probability, and whether the sentence shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.label_sets import Indicators
from harness.metrics.counts import Codes, Floats

# Source: Roelofs et al., Mitigating bias in calibration error estimation, AISTATS 2022: equal-mass bins have the
# smaller bias. Ten of them is a convention of our own for test sets of hundreds of sentences (they use 15 for 10,000).
N_BINS = 10
UNIT = 1_000_000  # confidences are resampled as whole millionths, which linear algebra adds exactly
TINY = 1e-12  # a probability of 0 has no logarithm
TEMPERATURES = (0.05, 20.0)  # searched between these; at either end probabilities are all but certain, or all but equal
GOLDEN = (np.sqrt(5) - 1) / 2


class Reliability(NamedTuple):
    """Bins from the least to the most confident; arrays of shape (n_bins,).

    Attributes:
        n: Sentences in the bin.
        confidence: Mean probability of the predicted class.
        right: Share of them that were predicted right.
    """

    n: NDArray[np.int64]
    confidence: Floats
    right: Floats


def reliability(confidence: Floats, right: NDArray[np.bool_], n_bins: int = N_BINS) -> Reliability:
    """How often predictions of about the same confidence were right.

    Args:
        confidence: Probability of the predicted class, shape (n_sentences,).
        right: Whether it was the true one, same shape.
        n_bins: At most this many; fewer where confidences are equal.
    """
    order = np.lexsort((right, confidence))  # sums do not depend on the order of sentences then
    confidence, right = confidence[order], right[order]
    place, n = _bins(confidence, n_bins)
    count = np.bincount(place, minlength=n)
    return Reliability(
        count.astype(np.int64),
        np.bincount(place, weights=confidence, minlength=n) / count,
        np.bincount(place, weights=right, minlength=n) / count,
    )


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_], n_bins: int = N_BINS) -> float:
    """Mean distance between confidence and share right over equal-mass bins; NaN without sentences.

    In [0, 1]. Never negative, so noise pushes it up: a perfectly calibrated model of 100 sentences shows about 0.1.

    Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015,
    with bins of equal mass as in Nixon et al., Measuring calibration in deep learning, CVPR workshops 2019.
    """
    if confidence.size == 0:
        return float("nan")
    bins = reliability(confidence, right, n_bins)
    return float((bins.n * np.abs(bins.confidence - bins.right)).sum() / bins.n.sum())


def ece_by_chance(confidence: Floats, n_bins: int = N_BINS) -> float:
    """About what a model with these confidences would show were it perfectly calibrated; NaN without sentences.

    In each bin the number of right answers would be off by sqrt(2 / pi) standard deviations on average, sentences being
    independent and the bin normal. An error that is not clearly larger says nothing against a model.

    Source: the bias that Roelofs et al. (above) and Broecker and Smith, Increasing the reliability of reliability
    diagrams, Weather and Forecasting 22 (2007) 651-661, describe; the mean of |Z| is sqrt(2 / pi).
    """
    if confidence.size == 0:
        return float("nan")
    place, n = _bins(np.sort(confidence), n_bins)
    variance = np.bincount(place, weights=np.sort(confidence) * (1 - np.sort(confidence)), minlength=n)
    return float(np.sqrt(2 / np.pi * variance).sum() / confidence.size)


def brier_by_sentence(truth: Codes, probability: Floats) -> Floats:
    """Squared distance of each sentence's probabilities to its truth, summed over classes, in [0, 2].

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950) 1-3.
    """
    aim = np.zeros_like(probability)
    aim[np.arange(truth.size), truth] = 1
    distances: Floats = np.square(probability - aim).sum(axis=1)
    return distances


def brier(truth: Codes, probability: Floats) -> float:
    """Mean of `brier_by_sentence`; NaN without sentences."""
    return float(np.sort(brier_by_sentence(truth, probability)).mean()) if truth.size else float("nan")


def label_brier(truth: Indicators, probability: Floats) -> float:
    """Mean over sentences and labels of the squared distance of a label's probability to its truth, in [0, 1].

    NaN without sentences. A label's own Brier score in its two-class form, averaged over labels.
    """
    return float(np.sort(np.square(probability - truth).ravel()).mean()) if truth.size else float("nan")


def calibration_by_patient(
    truth: Codes, predicted: Codes, probability: Floats, *, patient: Codes, n_patients: int
) -> Floats:
    """What calibration error and Brier score are made of, as sums that resampling can add; bins are those of everybody.

    Args:
        truth: True class, shape (n_sentences,).
        predicted: Predicted class, same shape.
        probability: Shape (n_sentences, n_classes).
        patient: Patient of each sentence, 0 to n_patients - 1.
        n_patients: Length of the first axis of the result.

    Returns:
        Shape (n_patients, 2 + N_BINS): sentences, squared distances, and confidence minus right answers by bin, the
        last two in whole millionths.
    """
    confidence = probability[np.arange(truth.size), predicted]
    distance = brier_by_sentence(truth, probability)
    return _sums(confidence, predicted == truth, distance, patient=patient, n_patients=n_patients)


def label_calibration_by_patient(truth: Indicators, probability: Floats, *, patient: Codes, n_patients: int) -> Floats:
    """The same where a sentence has several labels: sums over pairs of sentence and label.

    Args:
        truth: Which labels each sentence shows, shape (n_sentences, n_labels).
        probability: Of each label, same shape.
        patient: Patient of each sentence, 0 to n_patients - 1, shape (n_sentences,).
        n_patients: Length of the first axis of the result.
    """
    owner = np.repeat(patient, truth.shape[1])
    distance = np.square(probability - truth).ravel()
    return _sums(probability.ravel(), truth.ravel(), distance, patient=owner, n_patients=n_patients)


def _sums(confidence: Floats, right: NDArray[np.bool_], distance: Floats, *, patient: Codes, n_patients: int) -> Floats:
    place, _ = _bins(confidence, N_BINS)
    missed = np.rint(UNIT * (confidence - right))
    by_bin = np.bincount(patient * N_BINS + place, weights=missed, minlength=n_patients * N_BINS)
    distances = np.bincount(patient, weights=np.rint(UNIT * distance), minlength=n_patients)
    count = np.bincount(patient, minlength=n_patients)
    return np.column_stack([count, distances, by_bin.reshape(n_patients, N_BINS)])


def calibration_from_sums(sums: Floats) -> tuple[Floats, Floats]:
    """Calibration error and Brier score of sums of `calibration_by_patient`.

    Args:
        sums: Shape (..., 2 + N_BINS).

    Returns:
        Each of shape (...); NaN without sentences.
    """
    n = np.where(sums[..., 0] > 0, sums[..., 0], np.nan)
    return np.abs(sums[..., 2:]).sum(axis=-1) / n / UNIT, sums[..., 1] / n / UNIT


def log_loss(truth: Codes, probability: Floats) -> float:
    """Mean negative log probability of the truth, in nats."""
    return float(-np.log(np.maximum(probability[np.arange(truth.size), truth], TINY)).mean())


def scale(probability: Floats, temperature: float) -> Floats:
    """Probabilities to the power of 1 / temperature, made to add up to 1 again; their order stays.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, sec. 4.2 (temperature scaling).
    """
    logits = np.log(np.maximum(probability, TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scaled


def fit_temperature(truth: Codes, probability: Floats) -> float:
    """The temperature with the least log loss on these sentences, which must not be the test's.

    Log loss has one minimum in 1 / temperature, so that a golden-section search on its logarithm finds it.

    Args:
        truth: True class, shape (n_sentences,), at least one.
        probability: Shape (n_sentences, n_classes).

    Source: Kiefer, Sequential minimax search for a maximum, Proc. Am. Math. Soc. 4 (1953) 502-506.
    """
    return _search(lambda temperature: log_loss(truth, scale(probability, temperature)))


def label_log_loss(truth: Indicators, probability: Floats) -> float:
    """Mean over sentences and labels of the negative log probability of what is true of the label, in nats."""
    of_truth = np.where(truth, probability, 1 - probability)
    return float(-np.log(np.maximum(of_truth, TINY)).mean())


def scale_labels(probability: Floats, temperature: float) -> Floats:
    """Each label's log odds divided by the temperature: `scale` where labels do not exclude one another."""
    kept = np.clip(probability, TINY, 1 - TINY)
    odds = np.log(kept) - np.log1p(-kept)
    return np.asarray(1 / (1 + np.exp(-odds / temperature)), dtype=np.float64)


def fit_label_temperature(truth: Indicators, probability: Floats) -> float:
    """`fit_temperature` where a sentence has several labels: one temperature for all of them.

    Args:
        truth: Which labels each sentence shows, shape (n_sentences, n_labels), at least one sentence.
        probability: Of each label, same shape.
    """
    return _search(lambda temperature: label_log_loss(truth, scale_labels(probability, temperature)))


def _search(loss: Callable[[float], float]) -> float:
    low, high = np.log(TEMPERATURES)
    for _ in range(40):  # narrows log 400 to 3e-8
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if loss(float(np.exp(left))) <= loss(float(np.exp(right))) else (left, high)
    return float(np.exp((low + high) / 2))


def _bins(confidence: Floats, n_bins: int) -> tuple[Codes, int]:
    """Bin of each sentence, and how many bins there are."""
    if confidence.size == 0:
        return np.zeros(0, dtype=np.intp), 0
    edges = np.unique(np.sort(confidence)[np.arange(n_bins) * confidence.size // n_bins])
    return np.searchsorted(edges, confidence, side="right") - 1, edges.size
