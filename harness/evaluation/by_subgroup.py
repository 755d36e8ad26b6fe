"""Every metric of every mix, overall and by subgroup, with intervals under one set of resampled patients.

A subgroup level is resampled with the whole split: replicates hold more or fewer of its patients, as another sample of
patients would, and levels stay comparable inside a replicate, which the gap needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.panel import MixRuns, Panel, Slice
from harness.metrics.counts import Floats, Tallies, tally_by_patient
from harness.metrics.estimate import Estimate, insufficient, known
from harness.metrics.ranking import resampled_auroc
from harness.metrics.resampling import Multiplicities, average_seeds, resample_sums
from harness.metrics.uncertainty import percentile_interval
from harness.metrics.utility import ALL, FORMULAS, METRICS, Column, mean_over_seeds, utility
from harness.schemas.recipe import Evaluation

ALL_SEEDS = "all"
ALL_CLASSES = "all"
GAP_LEVEL = "gap"
Row = dict[str, Any]


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
        replicates: For each metric that may be shown, shape (n_replicates, n_mixes), NaN where undefined.
        tallies: Counts of each patient of the slice, shape (n_patients, n_mixes, n_seeds, n_classes); `true` has 1 for
            mixes and seeds.
        n_positive: True sentences of each class, shape (n_classes,).
    """

    part: Slice
    mixes: tuple[str, ...]
    by_seed: list[list[dict[Column, Estimate]]]
    overall: list[dict[Column, Estimate]]
    replicates: dict[Column, Floats]
    tallies: Tallies
    n_positive: NDArray[np.int64]

    def for_gap(self) -> Measured:
        """The same without what a gap does not need, so that the levels of a variable can be held together."""
        column: Column = ("macro_f1", ALL)
        return replace(self, replicates={one: self.replicates[one] for one in (column,) if one in self.replicates})


def measure(panel: Panel, part: Slice, runs: Sequence[MixRuns], *, drawn: Resampling, settings: Evaluation) -> Measured:
    """Point estimates and replicates of every metric on one slice.

    Args:
        panel: The split.
        part: One of its slices.
        runs: Mixes of one learner, all with the same number of train seeds.
        drawn: Draws that all mixes share.
        settings: For the smallest numbers of patients and positives that are shown.
    """
    truth, n_classes = panel.truth[part.rows], len(panel.label_ids)
    n_positive = np.bincount(truth, minlength=n_classes)
    by_seed = [
        [
            _with_floors(
                utility(truth, run.predicted[seed, part.rows], run.probability[seed, part.rows], n_classes),
                n_positive,
                part=part,
                panel=panel,
                settings=settings,
            )
            for seed in range(run.predicted.shape[0])
        ]
        for run in runs
    ]
    overall = [{column: mean_over_seeds([seed[column] for seed in seeds]) for column in seeds[0]} for seeds in by_seed]
    predicted = np.concatenate([run.predicted[:, part.rows] for run in runs])  # (n_mixes * n_seeds, n_sentences)
    flat = tally_by_patient(truth, predicted, part.patient, n_patients=part.patients.size, n_classes=n_classes)
    shape = (part.patients.size, len(runs), len(by_seed[0]), n_classes)
    tallies = Tallies(flat.hits.reshape(shape), flat.true[:, :, None], flat.predicted.reshape(shape))
    shown = {column for estimates in overall for column, estimate in estimates.items() if estimate.value is not None}
    replicates = _replicates(panel, part, runs, tallies=tallies, drawn=drawn, shown=shown)
    return Measured(part, tuple(run.mix for run in runs), by_seed, overall, replicates, tallies, n_positive)


def metric_rows(measured: Measured, panel: Panel, *, learner: str, confidence: float) -> Iterator[Row]:
    """METRICS rows of one slice: each train seed without interval, and the mean over seeds with one."""
    for m, mix in enumerate(measured.mixes):
        place = {"mix": mix, "learner": learner, "split": panel.split}
        for seed, estimates in enumerate(measured.by_seed[m]):
            for column, estimate in estimates.items():
                yield place | {"train_seed": str(seed)} | _describe(column, estimate, measured, panel)
        for column, estimate in measured.overall[m].items():
            replicates = measured.replicates.get(column)
            row = _describe(column, estimate, measured, panel)
            yield place | {"train_seed": ALL_SEEDS} | with_interval(row, replicates, m, confidence=confidence)


def gap_rows(levels: Sequence[Measured], panel: Panel, *, learner: str, confidence: float) -> Iterator[Row]:
    """METRICS rows of `macro_f1_gap`: best minus worst level of one variable, per mix.

    Best and worst are chosen by the point estimate and then held fixed in the replicates, so that the interval can
    reach below 0; the gap itself is never negative and grows with the number of small levels. Levels in which different
    classes occur average over different classes.
    """
    column: Column = ("macro_f1", ALL)
    for m, mix in enumerate(levels[0].mixes if levels else ()):
        valued = [(level.overall[m][column].value, level) for level in levels]
        usable = sorted(((value, level) for value, level in valued if value is not None), key=lambda pair: pair[0])
        place = {"mix": mix, "learner": learner, "split": panel.split, "train_seed": ALL_SEEDS}
        rows = np.concatenate([np.zeros(0, dtype=np.intp), *(level.part.rows for _, level in usable)])
        row: Row = {
            **place,
            "metric": "macro_f1_gap",
            "class": ALL_CLASSES,
            "subgroup_variable": levels[0].part.variable,
            "subgroup_level": GAP_LEVEL,
            "n": rows.size,
            "n_positive": None,
            "n_patients": np.unique(panel.patient[rows]).size,
        }
        if len(usable) < 2:  # a gap needs two levels
            estimate = insufficient(f"{len(usable)} of {len(levels)} levels have enough patients; a gap needs 2")
            yield row | _estimate_cells(estimate)
            continue
        (low, worst), (high, best) = usable[0], usable[-1]
        difference = best.replicates[column][:, m : m + 1] - worst.replicates[column][:, m : m + 1]
        row |= _estimate_cells(known(high - low, f"best: {best.part.level}; worst: {worst.part.level}"))
        yield with_interval(row, difference, 0, confidence=confidence)


def with_interval(row: Row, replicates: Floats | None, m: int, *, confidence: float) -> Row:
    """The row with its bounds, or with the reason why it has none; rows without a value stay as they are."""
    if row["status"] != "ok" or replicates is None:
        return row
    interval = percentile_interval(replicates[:, m], confidence)
    reasons = [reason for reason in (row["reason"], interval.reason) if reason]
    return row | {"ci_low": interval.low, "ci_high": interval.high, "reason": "; ".join(reasons) or None}


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


def _replicates(
    panel: Panel, part: Slice, runs: Sequence[MixRuns], *, tallies: Tallies, drawn: Resampling, shown: set[Column]
) -> dict[Column, Floats]:
    """Each shown metric under each replicate, averaged over the train seeds drawn: shape (n_replicates, n_mixes)."""
    if not shown:
        return {}
    multiplicities = drawn.patients[:, part.patients].astype(np.float32)
    resampled = Tallies(
        *(resample_sums(one, multiplicities) for one in tallies)
    )  # (n_replicates, mixes, seeds, classes)
    found: dict[Column, Floats] = {}
    for name, formula in FORMULAS.items():
        columns = [column for column in shown if column[0] == name]
        values = formula(resampled) if columns else np.zeros(0)
        for column in columns:
            one = values[..., column[1]] if METRICS[name].per_class else values
            found[column] = average_seeds(one, drawn.seeds)
    for column in shown:
        if METRICS[column[0]].source == "ranks":
            found[column] = _rank_replicates(
                panel, part, runs, k=column[1] or 0, multiplicities=multiplicities, drawn=drawn
            )
    return found


def _rank_replicates(
    panel: Panel, part: Slice, runs: Sequence[MixRuns], *, k: int, multiplicities: Multiplicities, drawn: Resampling
) -> Floats:
    positive = panel.truth[part.rows] == k
    values = [
        [resampled_auroc(seed[part.rows, k], positive, part.patient, multiplicities) for seed in run.probability]
        for run in runs
    ]  # (n_mixes, n_seeds, n_replicates)
    return average_seeds(np.moveaxis(np.array(values), -1, 0), drawn.seeds)


def _describe(column: Column, estimate: Estimate, measured: Measured, panel: Panel) -> Row:
    name, k = column
    return {
        "metric": name,
        "class": ALL_CLASSES if k is None else panel.label_ids[k],
        "subgroup_variable": measured.part.variable,
        "subgroup_level": measured.part.level,
        "n": measured.part.rows.size,
        "n_positive": None if k is None else int(measured.n_positive[k]),
        "n_patients": measured.part.patients.size,
        **_estimate_cells(estimate),
    }


def _estimate_cells(estimate: Estimate) -> Row:
    return {
        "value": estimate.value,
        "ci_low": None,
        "ci_high": None,
        "status": estimate.status,
        "reason": estimate.reason,
    }
