"""Every metric of every mix, overall and by subgroup, under one set of resampled patients.

A subgroup level is resampled with the whole split: replicates hold more or fewer of its patients, as another sample of
patients would, and levels stay comparable inside a replicate, which the gap and the interactions need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.panel import MixRuns, Panel, Slice
from harness.metrics.calibration import calibration_from_sums
from harness.metrics.counts import Floats, Tallies
from harness.metrics.estimate import Estimate, insufficient, undefined
from harness.metrics.ranking import MAX_EXACT_PATIENTS, auroc_by_pairs, auroc_from_sums, placements_by_patient
from harness.metrics.resampling import Multiplicities, resample_sums
from harness.metrics.utility import ALL, METRICS, Column, count_metric, mean_over_seeds
from harness.metrics.whole_sets import SetTallies
from harness.schemas.recipe_parts import Evaluation

Row = dict[str, Any]
NO_TEMPERATURE = "no temperature: it is fitted on validation and used on test sentences"


@dataclass(frozen=True)
class Resampling:
    """The random draws that all mixes of one split and learner share.

    Attributes:
        patients: How often each patient is drawn, shape (n_replicates, n_patients).
        seeds: Share of each train seed, shape (n_replicates, n_seeds).
        swaps: Whether a patient changes sides in a permutation, shape (n_replicates, n_patients).
    """

    patients: Multiplicities
    seeds: Floats
    swaps: Multiplicities


@dataclass(frozen=True)
class Measured:
    """All mixes of one learner on one slice.

    Attributes:
        part: The slice.
        mixes: Their names; the order of the mix axes below.
        by_seed: For each mix and train seed, every metric.
        overall: For each mix, the mean over train seeds.
        replicates: For each metric that may be shown, shape (n_replicates, n_mixes, n_seeds), NaN where undefined.
        tallies: Counts of each patient of the slice, shape (n_patients, n_mixes, n_seeds, n_classes); `true` has 1 for
            mixes and seeds.
        n_positive: True sentences of each class, shape (n_classes,).
        sets: Counts of whole sentences, shape (n_patients, n_mixes, n_seeds), `sentences` with 1 for mixes and seeds;
            None where sentences have one label.
    """

    part: Slice
    mixes: tuple[str, ...]
    by_seed: list[list[dict[Column, Estimate]]]
    overall: list[dict[Column, Estimate]]
    replicates: dict[Column, Floats]
    tallies: Tallies
    n_positive: NDArray[np.int64]
    sets: SetTallies | None = None

    @property
    def n_sentences(self) -> Floats:
        """Sentences of each patient of the slice."""
        counted = self.tallies.true.sum(axis=3) if self.sets is None else self.sets.sentences
        return np.asarray(counted.sum(axis=(1, 2)), dtype=np.float64)

    def holding(self, columns: Sequence[Column]) -> Measured:
        """The same without the replicates of other metrics, so that many levels can be held together."""
        return replace(self, replicates={one: self.replicates[one] for one in columns if one in self.replicates})


def measure(panel: Panel, part: Slice, runs: Sequence[MixRuns], *, drawn: Resampling, settings: Evaluation) -> Measured:
    """Point estimates and replicates of every metric on one slice.

    Args:
        panel: The split.
        part: One of its slices.
        runs: Mixes of one learner, all with the same number of train seeds.
        drawn: Draws that all mixes share.
        settings: For the smallest numbers of patients and positives that are shown.
    """
    classes = range(len(panel.label_ids))
    n_positive = np.array([panel.looking.is_of(panel.truth[part.rows], k).sum() for k in classes], dtype=np.int64)
    by_seed = [
        [
            _with_floors(_estimates(panel, part, run, seed), n_positive, part=part, panel=panel, settings=settings)
            for seed in range(run.predicted.shape[0])
        ]
        for run in runs
    ]
    overall = [{column: mean_over_seeds([seed[column] for seed in seeds]) for column in seeds[0]} for seeds in by_seed]
    shown = {column for estimates in overall for column, estimate in estimates.items() if estimate.value is not None}
    tallies, sets = _tallies(panel, part, runs)
    replicates: dict[Column, Floats] = {}
    if shown:
        multiplicities = drawn.patients[:, part.patients].astype(np.float32)
        replicates = {
            **_count_replicates(tallies, sets, multiplicities, shown),
            **_rank_replicates(panel, part, runs, multiplicities=multiplicities, shown=shown),
            **_calibration_replicates(panel, part, runs, multiplicities=multiplicities, shown=shown),
        }
    return Measured(part, tuple(run.mix for run in runs), by_seed, overall, replicates, tallies, n_positive, sets)


def _estimates(panel: Panel, part: Slice, run: MixRuns, seed: int) -> dict[Column, Estimate]:
    truth, predicted = panel.truth[part.rows], run.predicted[seed, part.rows]
    found = panel.looking.estimates(truth, predicted, run.probability[seed, part.rows])
    if run.scaled is None:
        return found | {(f"{name}_scaled", ALL): undefined(NO_TEMPERATURE) for name in ("ece", "brier")}
    scaled = panel.looking.calibration(truth, predicted, run.scaled[seed, part.rows])
    return found | {(f"{name}_scaled", ALL): estimate for name, estimate in scaled.items()}


def _with_floors(
    found: Mapping[Column, Estimate], n_positive: NDArray[np.int64], *, part: Slice, panel: Panel, settings: Evaluation
) -> dict[Column, Estimate]:
    """Withhold what rests on too few patients or positives, and say over which classes a mean was taken."""
    n_patients = part.patients.size
    if n_patients < settings.min_patients:
        few = insufficient(f"{n_patients} patients; evaluation.min_patients is {settings.min_patients}")
        return dict.fromkeys(found, few)
    absent = [label for label, n in zip(panel.label_ids, n_positive, strict=True) if n == 0]
    shown = dict(found)
    for (name, k), estimate in found.items():
        if k is not ALL and n_positive[k] < settings.min_positives:
            reason = f"{n_positive[k]} true sentences; evaluation.min_positives is {settings.min_positives}"
            shown[name, k] = insufficient(reason)
        elif name in ("macro_f1", "balanced_accuracy") and absent and estimate.value is not None:
            n_present = len(panel.label_ids) - len(absent)
            remark = f"mean over {n_present} of {len(panel.label_ids)} classes; no true sentence of {', '.join(absent)}"
            shown[name, k] = replace(estimate, reason=remark)
    return shown


def _tallies(panel: Panel, part: Slice, runs: Sequence[MixRuns]) -> tuple[Tallies, SetTallies | None]:
    size = (part.patients.size, len(panel.label_ids))
    predicted = np.concatenate([run.predicted[:, part.rows] for run in runs])  # (n_mixes * n_seeds, n_sentences, ...)
    truth = panel.truth[part.rows]
    flat = panel.looking.tally(truth, predicted, part.patient, size)
    whole = panel.looking.tally_sets(truth, predicted, part.patient, size)
    shape = (size[0], len(runs), runs[0].predicted.shape[0])
    tallies = Tallies(
        flat.hits.reshape(*shape, size[1]), flat.true[:, :, None], flat.predicted.reshape(*shape, size[1])
    )
    if whole is None:
        return tallies, None
    return tallies, SetTallies(whole.sentences[:, :, None], whole.exact.reshape(shape), whole.overlap.reshape(shape))


def _count_replicates(
    tallies: Tallies, sets: SetTallies | None, multiplicities: Multiplicities, shown: set[Column]
) -> dict[Column, Floats]:
    resampled = Tallies(*(resample_sums(one, multiplicities) for one in tallies))
    whole = None if sets is None else SetTallies(*(resample_sums(one, multiplicities) for one in sets))
    found: dict[Column, Floats] = {}
    for name in sorted({name for name, _ in shown if METRICS[name].source in ("counts", "sets")}):
        values = count_metric(name, resampled, whole)
        for column in (column for column in shown if column[0] == name):
            found[column] = values[..., column[1]] if METRICS[name].per_class else values
    return found


def _rank_replicates(
    panel: Panel, part: Slice, runs: Sequence[MixRuns], *, multiplicities: Multiplicities, shown: set[Column]
) -> dict[Column, Floats]:
    found: dict[Column, Floats] = {}
    n_patients = part.patients.size
    for column in (column for column in shown if METRICS[column[0]].source == "ranks"):
        k = column[1] or 0
        positive = panel.looking.is_of(panel.truth[part.rows], k)
        scores = [[seed[part.rows, k] for seed in run.probability] for run in runs]
        if n_patients <= MAX_EXACT_PATIENTS:
            values = [
                [auroc_by_pairs(score, positive, part.patient, multiplicities) for score in seeds] for seeds in scores
            ]
            found[column] = np.moveaxis(np.array(values), -1, 0)
            continue
        by_patient = [
            [placements_by_patient(score, positive, part.patient, n_patients) for score in seeds] for seeds in scores
        ]
        sums = np.moveaxis(np.array(by_patient), 2, 0)  # (n_patients, n_mixes, n_seeds, 4)
        found[column] = auroc_from_sums(resample_sums(sums, multiplicities), sums.sum(axis=0))
    return found


def _calibration_replicates(
    panel: Panel, part: Slice, runs: Sequence[MixRuns], *, multiplicities: Multiplicities, shown: set[Column]
) -> dict[Column, Floats]:
    truth, size = panel.truth[part.rows], (part.patients.size, len(panel.label_ids))
    found: dict[Column, Floats] = {}
    for suffix, probabilities in (
        ("", [run.probability for run in runs]),
        ("_scaled", [run.scaled for run in runs if run.scaled is not None]),
    ):
        if (f"ece{suffix}", ALL) not in shown:
            continue
        by_patient = [
            [
                panel.looking.calibration_sums(truth, chosen[part.rows], seed[part.rows], part.patient, size)
                for seed, chosen in zip(probability, run.predicted, strict=True)
            ]
            for run, probability in zip(runs, probabilities, strict=True)
        ]
        sums = resample_sums(np.moveaxis(np.array(by_patient), 2, 0), multiplicities)
        found[f"ece{suffix}", ALL], found[f"brier{suffix}", ALL] = calibration_from_sums(sums)
    return found
