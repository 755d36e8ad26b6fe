"""How good the predictions are: the registry of metrics, and one call that computes all of them with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import DataError
from harness.metrics import counts
from harness.metrics.calibration import brier, expected_calibration_error
from harness.metrics.counts import Codes, Floats, Tallies
from harness.metrics.estimate import Estimate, known, undefined
from harness.metrics.ranking import auroc

ALL = None  # the class of a metric that is not per class
Column = tuple[str, int | None]  # metric and class


@dataclass(frozen=True)
class Metric:
    """What a reader must know of a metric to compare two values.

    Attributes:
        name: As tables spell it.
        maximise: Whether more is better.
        bounds: Smallest and largest possible value.
        per_class: One value per class, or one for all.
        source: `counts` of hard decisions, `ranks` of probabilities, the `probabilities` themselves, the same `scaled`
            by a temperature that validation chose, or the `levels` of a subgroup variable.
    """

    name: str
    maximise: bool
    bounds: tuple[float, float]
    per_class: bool
    source: Literal["counts", "ranks", "probabilities", "scaled", "levels"]


METRICS = {
    "accuracy": Metric("accuracy", True, (0, 1), False, "counts"),
    "balanced_accuracy": Metric("balanced_accuracy", True, (0, 1), False, "counts"),
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

FORMULAS = {
    "accuracy": counts.accuracy,
    "balanced_accuracy": counts.balanced_accuracy,
    "macro_f1": counts.macro_f1,
    "weighted_f1": counts.weighted_f1,
    "precision": counts.precision,
    "recall": counts.recall,
    "f1": counts.f1,
}


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
    found: dict[Column, Estimate] = {}
    for name, metric in METRICS.items():
        if metric.source == "counts" and metric.per_class:
            values = FORMULAS[name](tallies)
            found.update({(name, k): _per_class(name, values[k], tallies, k) for k in range(n_classes)})
        elif metric.source == "counts":
            value = float(FORMULAS[name](tallies))
            found[name, ALL] = undefined("no sentence") if np.isnan(value) else known(value)
        elif metric.source == "ranks":
            values = np.array([auroc(probability[:, k], truth == k) for k in range(n_classes)])
            found.update({(name, k): _per_class(name, values[k], tallies, k) for k in range(n_classes)})
        elif metric.source == "probabilities":
            found[name, ALL] = calibration(truth, predicted, probability)[name]
    return found


def calibration(truth: Codes, predicted: Codes, probability: Floats) -> dict[str, Estimate]:
    """Calibration error and Brier score by name; arguments as those of `utility`."""
    if truth.size == 0:
        return dict.fromkeys(("ece", "brier"), undefined("no sentence"))
    confidence = probability[np.arange(truth.size), predicted]
    return {
        "ece": known(expected_calibration_error(confidence, predicted == truth)),
        "brier": known(brier(truth, probability)),
    }


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
