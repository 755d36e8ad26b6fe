"""How good the predictions are: the registry of metrics, and one call that computes all of them with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.label_sets import Indicators
from harness.metrics import counts, whole_sets
from harness.metrics.calibration import brier, ece_by_chance, expected_calibration_error, label_brier
from harness.metrics.counts import Codes, Floats, Tallies
from harness.metrics.estimate import Estimate, known, undefined
from harness.metrics.ranking import auroc
from harness.metrics.whole_sets import SetTallies

ALL = None  # the class of a metric that is not per class
Column = tuple[str, int | None]  # metric and class
Kind = Literal["single", "multi"]  # one label a sentence, or several
BOTH: tuple[Kind, ...] = ("single", "multi")
SINGLE: tuple[Kind, ...] = ("single",)
MULTI: tuple[Kind, ...] = ("multi",)


@dataclass(frozen=True)
class Metric:
    """What a reader must know of a metric to compare two values.

    Attributes:
        name: As tables spell it.
        maximise: Whether more is better.
        bounds: Smallest and largest possible value where a sentence has one label (`bounds_of`).
        per_class: One value per class, or one for all.
        source: `counts` of hard decisions by class, or of whole `sets` of labels; `ranks` of probabilities, the
            `probabilities` themselves, the same `scaled` by a temperature that validation chose, or the `levels` of a
            subgroup variable.
        kinds: Whether it is of sentences with one label, with several, or of both.
    """

    name: str
    maximise: bool
    bounds: tuple[float, float]
    per_class: bool
    source: Literal["counts", "sets", "ranks", "probabilities", "scaled", "levels"]
    kinds: tuple[Kind, ...] = BOTH


METRICS = {
    "accuracy": Metric("accuracy", True, (0, 1), False, "counts", SINGLE),
    "exact_match": Metric("exact_match", True, (0, 1), False, "sets", MULTI),
    "jaccard": Metric("jaccard", True, (0, 1), False, "sets", MULTI),
    "balanced_accuracy": Metric("balanced_accuracy", True, (0, 1), False, "counts", SINGLE),
    "micro_f1": Metric("micro_f1", True, (0, 1), False, "counts", MULTI),
    "macro_f1": Metric("macro_f1", True, (0, 1), False, "counts"),
    "weighted_f1": Metric("weighted_f1", True, (0, 1), False, "counts"),
    "precision": Metric("precision", True, (0, 1), True, "counts"),
    "recall": Metric("recall", True, (0, 1), True, "counts"),
    "f1": Metric("f1", True, (0, 1), True, "counts"),
    "auroc": Metric("auroc", True, (0, 1), True, "ranks"),
    "ece": Metric("ece", False, (0, 1), False, "probabilities"),
    "brier": Metric("brier", False, (0, 2), False, "probabilities"),
    "ece_scaled": Metric("ece_scaled", False, (0, 1), False, "scaled"),
    "brier_scaled": Metric("brier_scaled", False, (0, 2), False, "scaled"),
    "macro_f1_gap": Metric("macro_f1_gap", False, (0, 1), False, "levels"),
}


def bounds_of(name: str, kind: Kind) -> tuple[float, float]:
    """Smallest and largest possible value; a Brier score over pairs of sentence and label is at most 1."""
    return (0, 1) if kind == "multi" else METRICS[name].bounds


FORMULAS = {
    "accuracy": counts.accuracy,
    "balanced_accuracy": counts.balanced_accuracy,
    "micro_f1": counts.micro_f1,
    "macro_f1": counts.macro_f1,
    "weighted_f1": counts.weighted_f1,
    "precision": counts.precision,
    "recall": counts.recall,
    "f1": counts.f1,
}
SET_FORMULAS = {
    "exact_match": whole_sets.exact_match,
    "jaccard": whole_sets.jaccard,
}


def count_metric(name: str, tallies: Tallies, sets: SetTallies | None) -> Floats:
    """A metric of hard decisions, of all replicates at once; `sets` where sentences have several labels."""
    if name in FORMULAS:
        return FORMULAS[name](tallies)
    if sets is None:
        raise ValueError(f"{name} is a metric of sentences with several labels")
    return SET_FORMULAS[name](sets)


def utility(truth: Codes, predicted: Codes, probability: Floats, n_classes: int) -> dict[Column, Estimate]:
    """Every metric of one run on one set of sentences.

    Args:
        truth: True class of each sentence, 0 to n_classes - 1, shape (n_sentences,).
        predicted: Predicted class, same shape.
        probability: Probability of each class, shape (n_sentences, n_classes).
        n_classes: Number of classes of the task, whether they occur or not.

    Returns:
        By metric and class (None for metrics that are not per class), in the order of METRICS.

    Raises:
        DataError: If shapes differ or a class is out of range.
    """
    _check(truth, predicted, probability, n_classes)
    nobody = np.zeros(truth.size, dtype=np.intp)
    per_run = counts.tally_by_patient(truth, predicted[None], nobody, n_patients=1, n_classes=n_classes)
    tallies = Tallies(*(one[0, 0] for one in per_run))
    ranks = np.array([auroc(probability[:, k], truth == k) for k in range(n_classes)])
    return _in_order("single", tallies, None, ranks) | _of_all(calibration(truth, predicted, probability))


def label_utility(truth: Indicators, predicted: Indicators, probability: Floats) -> dict[Column, Estimate]:
    """`utility` where a sentence has several labels: every label is a class of its own.

    Args:
        truth: Which labels each sentence shows, at least one, shape (n_sentences, n_labels).
        predicted: Which it was given, same shape.
        probability: Of each label, same shape; labels do not exclude one another.

    Raises:
        DataError: If shapes differ, or a sentence shows no label.
    """
    _check_labels(truth, predicted, probability)
    nobody = np.zeros(truth.shape[0], dtype=np.intp)
    per_run = counts.tally_labels_by_patient(truth, predicted[None], nobody, n_patients=1)
    tallies = Tallies(*(one[0, 0] for one in per_run))
    whole = whole_sets.tally_sets_by_patient(truth, predicted[None], nobody, n_patients=1)
    ranks = np.array([auroc(probability[:, k], truth[:, k]) for k in range(truth.shape[1])])
    sets = SetTallies(*(one[0, 0] for one in whole))
    return _in_order("multi", tallies, sets, ranks) | _of_all(label_calibration(truth, probability))


def _in_order(kind: Kind, tallies: Tallies, sets: SetTallies | None, ranks: Floats) -> dict[Column, Estimate]:
    """Metrics of decisions and ranks, in the order of METRICS."""
    found: dict[Column, Estimate] = {}
    for name, metric in METRICS.items():
        if kind not in metric.kinds or metric.source not in ("counts", "sets", "ranks"):
            continue
        values = ranks if metric.source == "ranks" else count_metric(name, tallies, sets)
        if metric.per_class:
            found.update({(name, k): _per_class(name, value, tallies, k) for k, value in enumerate(values)})
        else:
            found[name, ALL] = undefined("no sentence") if np.isnan(values) else known(float(values))
    return found


def _of_all(found: dict[str, Estimate]) -> dict[Column, Estimate]:
    return {(name, ALL): estimate for name, estimate in found.items()}


def calibration(truth: Codes, predicted: Codes, probability: Floats) -> dict[str, Estimate]:
    """Calibration error and Brier score by name; arguments as those of `utility`."""
    if truth.size == 0:
        return dict.fromkeys(("ece", "brier"), undefined("no sentence"))
    confidence = probability[np.arange(truth.size), predicted]
    return {
        "ece": _ece(confidence, predicted == truth),
        "brier": known(brier(truth, probability)),
    }


def label_calibration(truth: Indicators, probability: Floats) -> dict[str, Estimate]:
    """`calibration` where a sentence has several labels, over pairs of sentence and label; as `label_utility`."""
    if truth.size == 0:
        return dict.fromkeys(("ece", "brier"), undefined("no sentence"))
    return {
        "ece": _ece(probability.ravel(), truth.ravel()),
        "brier": known(label_brier(truth, probability)),
    }


def _ece(confidence: Floats, right: NDArray[np.bool_]) -> Estimate:
    chance = f"by chance alone: {ece_by_chance(confidence):.3f}"
    return known(expected_calibration_error(confidence, right), chance)


def mean_over_seeds(estimates: list[Estimate]) -> Estimate:
    """The mean of one metric over train seeds; undefined as soon as one seed is: a mean of the rest would flatter."""
    without = [one for one in estimates if one.value is None]
    if without:
        place = "" if len(without) == len(estimates) else f" in {len(without)} of {len(estimates)} train seeds"
        return Estimate(None, without[0].status, f"{without[0].reason}{place}")
    return known(float(np.mean([one.value for one in estimates if one.value is not None])), estimates[0].reason)


def _per_class(name: str, value: float, tallies: Tallies, k: int) -> Estimate:
    if not np.isnan(value):
        return known(value)
    if tallies.true.sum() == 0:
        return undefined("no sentence")
    if name == "precision":
        return undefined("the class was never predicted")
    if tallies.true[k] == 0:
        return undefined("no true sentence of the class")
    return undefined("every sentence is of the class")


def _check(truth: Codes, predicted: Codes, probability: Floats, n_classes: int) -> None:
    if truth.ndim != 1 or predicted.shape != truth.shape or probability.shape != (truth.size, n_classes):
        raise DataError(
            f"found truth {truth.shape}, predicted {predicted.shape} and probability {probability.shape}; "
            f"expected (n,), (n,) and (n, {n_classes})"
        )
    for name, codes in (("truth", truth), ("predicted", predicted)):
        if codes.size and not (codes.min() >= 0 and codes.max() < n_classes):
            raise DataError(f"{name}: found class {codes.min()} to {codes.max()}; allowed: 0 to {n_classes - 1}")


def _check_labels(truth: Indicators, predicted: Indicators, probability: Floats) -> None:
    if truth.ndim != 2 or predicted.shape != truth.shape or probability.shape != truth.shape:
        raise DataError(
            f"found truth {truth.shape}, predicted {predicted.shape} and probability {probability.shape}; "
            f"expected three times (n, n_labels)"
        )
    bare = int((~truth.any(axis=1)).sum())
    if bare:
        raise DataError(f"truth: {bare} of {truth.shape[0]} sentences show no label; each shows at least one")
