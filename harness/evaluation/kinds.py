"""What sentences with one label and sentences with several need done differently; the rest of the stage knows neither.

With one label, truth and answers are classes: shapes (n_sentences,) and (n_runs, n_sentences). With several they are
indicators of labels, with one more axis at the end: (n_sentences, n_labels) and (n_runs, n_sentences, n_labels).
Probabilities have that axis in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.label_sets import labels_of
from harness.metrics import calibration as of_probabilities
from harness.metrics.counts import Codes, Floats, Tallies, tally_by_patient, tally_labels_by_patient
from harness.metrics.estimate import Estimate
from harness.metrics.utility import ALL, Column, Kind, calibration, label_calibration, label_utility, utility
from harness.metrics.whole_sets import SetTallies, tally_sets_by_patient

Labels = NDArray[Any]  # classes or indicators, as above
Size = tuple[int, int]  # patients and classes


@dataclass(frozen=True)
class Looking:
    """How answers of one kind are compared with the truth.

    Attributes:
        overall_metrics: What mixes are compared by on all sentences, beside the F1 of each class.
        held: What they are compared by in a subgroup level, and levels among themselves.
        truth_of: (column `label` of gold, label ids) to the truth.
        is_of: (truth, class) to whether each sentence is of it.
        estimates: (truth, one run's answers, its probabilities) to every metric.
        calibration: The same to ECE and Brier score.
        confidence: The same to what a reliability diagram bins: probabilities, and whether each came true.
        tally: (truth, answers of all runs, patient of each sentence, size) to counts by patient.
        tally_sets: The same to counts of whole sentences by patient; None where a sentence is its one label.
        calibration_sums: (truth, one run's answers, its probabilities, patient, size) to what calibration is made of.
        fit_temperature: (truth, probabilities) to a temperature.
        scale: (probabilities, temperature) to probabilities.
        log_loss: (truth, probabilities) to nats.
    """

    overall_metrics: tuple[str, ...]
    held: tuple[Column, ...]
    truth_of: Callable[[pa.ChunkedArray, Sequence[str]], Labels]
    is_of: Callable[[Labels, int], NDArray[np.bool_]]
    estimates: Callable[[Labels, Labels, Floats], dict[Column, Estimate]]
    calibration: Callable[[Labels, Labels, Floats], dict[str, Estimate]]
    confidence: Callable[[Labels, Labels, Floats], tuple[Floats, NDArray[np.bool_]]]
    tally: Callable[[Labels, Labels, Codes, Size], Tallies]
    tally_sets: Callable[[Labels, Labels, Codes, Size], SetTallies | None]
    calibration_sums: Callable[[Labels, Labels, Floats, Codes, Size], Floats]
    fit_temperature: Callable[[Labels, Floats], float]
    scale: Callable[[Floats, float], Floats]
    log_loss: Callable[[Labels, Floats], float]


def _classes(labels: pa.ChunkedArray, label_ids: Sequence[str]) -> Labels:
    return np.asarray(pc.index_in(labels, pa.array(label_ids, pa.string())).to_numpy().astype(np.intp))


def _indicators(set_ids: pa.ChunkedArray, label_ids: Sequence[str]) -> Labels:
    held = [set(labels_of(one)) for one in set_ids.to_pylist()]
    found = np.array([[label in one for label in label_ids] for one in held], dtype=np.bool_)
    return found.reshape(len(held), len(label_ids))


KINDS: Mapping[Kind, Looking] = {
    "single": Looking(
        overall_metrics=("macro_f1", "weighted_f1", "accuracy"),
        held=(("macro_f1", ALL), ("accuracy", ALL)),
        truth_of=_classes,
        is_of=lambda truth, k: truth == k,
        estimates=lambda truth, predicted, probability: utility(truth, predicted, probability, probability.shape[1]),
        calibration=calibration,
        confidence=lambda truth, predicted, probability: (
            probability[np.arange(truth.size), predicted],
            predicted == truth,
        ),
        tally=lambda truth, predicted, patient, size: tally_by_patient(
            truth, predicted, patient, n_patients=size[0], n_classes=size[1]
        ),
        tally_sets=lambda *_: None,
        calibration_sums=lambda truth, predicted, probability, patient, size: of_probabilities.calibration_by_patient(
            truth, predicted, probability, patient=patient, n_patients=size[0]
        ),
        fit_temperature=of_probabilities.fit_temperature,
        scale=of_probabilities.scale,
        log_loss=of_probabilities.log_loss,
    ),
    "multi": Looking(
        overall_metrics=("macro_f1", "weighted_f1", "micro_f1", "exact_match", "jaccard"),
        held=(("macro_f1", ALL), ("exact_match", ALL)),
        truth_of=_indicators,
        is_of=lambda truth, k: truth[:, k],
        estimates=label_utility,
        calibration=lambda truth, _, probability: label_calibration(truth, probability),
        confidence=lambda truth, _, probability: (probability.ravel(), truth.ravel()),
        tally=lambda truth, predicted, patient, size: tally_labels_by_patient(
            truth, predicted, patient, n_patients=size[0]
        ),
        tally_sets=lambda truth, predicted, patient, size: tally_sets_by_patient(
            truth, predicted, patient, n_patients=size[0]
        ),
        calibration_sums=lambda truth, _, probability, patient, size: of_probabilities.label_calibration_by_patient(
            truth, probability, patient=patient, n_patients=size[0]
        ),
        fit_temperature=of_probabilities.fit_label_temperature,
        scale=of_probabilities.scale_labels,
        log_loss=of_probabilities.label_log_loss,
    ),
}
