"""METRICS rows: values with their intervals."""

from __future__ import annotations

from collections.abc import Iterator

from harness.evaluation.by_subgroup import Measured, Row
from harness.evaluation.combined import combine
from harness.evaluation.panel import Panel
from harness.metrics.estimate import Estimate
from harness.metrics.uncertainty import Interval, bounded_interval
from harness.metrics.utility import METRICS, Column, bounds_of

ALL_SEEDS = "all"
ALL_CLASSES = "all"
IN_SAMPLE = "in-sample: the thresholds of labels were chosen on these sentences"


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
                bounds = bounds_of(column[0], panel.kind)
                row = with_interval(
                    row, bounded_interval(found.value, found.spread, confidence=confidence, bounds=bounds)
                )
            yield place | {"train_seed": ALL_SEEDS} | row


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
        **estimate_cells(estimate),
    }


def remarked(row: Row) -> Row:
    """A METRICS row of sentences with several labels on which the thresholds themselves were chosen."""
    if row["value"] is None or METRICS[row["metric"]].source not in ("counts", "sets"):
        return row
    return row | {"reason": "; ".join(one for one in (row["reason"], IN_SAMPLE) if one)}


def estimate_cells(estimate: Estimate) -> Row:
    """An estimate as cells of a row, without interval."""
    return {
        "value": estimate.value,
        "ci_low": None,
        "ci_high": None,
        "status": estimate.status,
        "reason": estimate.reason,
    }
