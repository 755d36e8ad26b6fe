"""METRICS rows: values with their intervals, and the gap between the levels of a variable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.evaluation.by_subgroup import Measured, Row
from harness.evaluation.combined import combine
from harness.evaluation.panel import Panel
from harness.metrics.estimate import Estimate, insufficient, known
from harness.metrics.uncertainty import Interval, bounded_interval, plain_interval
from harness.metrics.utility import ALL, METRICS, Column

ALL_SEEDS = "all"
ALL_CLASSES = "all"
GAP_LEVEL = "gap"
OF_DIFFERENCES = (-1.0, 1.0)  # bounds of a difference of two metrics between 0 and 1


def metric_rows(measured: Measured, panel: Panel, *, learner: str, confidence: float) -> Iterator[Row]:
    """METRICS rows of one slice: each train seed without interval, and the mean over seeds with one."""
    for m, mix in enumerate(measured.mixes):
        place = {"mix": mix, "learner": learner, "split": panel.split}
        for seed, estimates in enumerate(measured.by_seed[m]):
            for column, estimate in estimates.items():
                yield place | {"train_seed": str(seed)} | _describe(column, estimate, measured, panel)
        for column, estimate in measured.overall[m].items():
            row = _describe(column, estimate, measured, panel)
            if estimate.value is not None:
                found = combine([(measured, one_mix(measured, m))], column)
                bounds = METRICS[column[0]].bounds
                row = with_interval(
                    row, bounded_interval(found.value, found.spread, confidence=confidence, bounds=bounds)
                )
            yield place | {"train_seed": ALL_SEEDS} | row


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
        found = combine([(best, one_mix(best, m)), (worst, [-one for one in one_mix(worst, m)])], column)
        row |= _estimate_cells(known(high - low, f"best: {best.part.level}; worst: {worst.part.level}"))
        yield with_interval(
            row, plain_interval(found.value, found.spread, confidence=confidence, bounds=OF_DIFFERENCES)
        )


def with_interval(row: Row, interval: Interval) -> Row:
    """The row with its bounds, or with the reason why it has none."""
    reasons = [reason for reason in (row["reason"], interval.reason) if reason]
    return row | {"ci_low": interval.low, "ci_high": interval.high, "reason": "; ".join(reasons) or None}


def one_mix(measured: Measured, m: int) -> list[float]:
    """Coefficients that pick mix number `m`."""
    return [float(one == m) for one in range(len(measured.mixes))]


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
