"""Each mix against the reference mix: the same patients, the same train seeds, so that what they share cancels.

The interval resamples patients and train seeds. The p-value asks a narrower question: given these trained models, could
the difference arise if, patient by patient, it did not matter which mix had answered?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from harness.evaluation.by_subgroup import ALL_CLASSES, Measured, Resampling, Row, with_interval
from harness.evaluation.panel import OVERALL, Panel
from harness.metrics.counts import Floats, Tallies
from harness.metrics.significance import benjamini_hochberg, holm, permutation_p, swapped_sums
from harness.metrics.utility import ALL, FORMULAS, Column

OVERALL_METRICS = ("macro_f1", "weighted_f1", "accuracy")


def contrast_rows(
    measured: Measured, panel: Panel, *, learner: str, reference: str, drawn: Resampling, confidence: float
) -> Iterator[Row]:
    """CONTRASTS rows of one slice, without `p_adjusted`: every other mix minus the reference.

    Overall these are macro_f1, weighted_f1, accuracy and f1 of each class; by subgroup level macro_f1 alone.
    """
    part = measured.part
    columns: list[Column] = [("macro_f1", ALL)]
    if part.variable == OVERALL:
        columns = [*((name, ALL) for name in OVERALL_METRICS), *(("f1", k) for k in range(len(panel.label_ids)))]
    b = measured.mixes.index(reference)
    any_value = any(estimate.value is not None for estimate in measured.overall[b].values())
    permuted = _permuted(measured, b, drawn, columns) if any_value else {}
    for a, mix in enumerate(measured.mixes):
        if a == b:
            continue
        place = {"mix_a": mix, "mix_b": reference, "learner": learner, "subgroup_variable": part.variable,
                 "subgroup_level": part.level, "n_patients": part.patients.size,
                 "n_train_seeds": len(measured.by_seed[a])}  # fmt: skip
        for column in columns:
            name, k = column
            row = place | {"metric": name, "class": ALL_CLASSES if k is None else panel.label_ids[k]}
            yield row | _difference(measured, column, a=a, b=b, permuted=permuted, confidence=confidence)


def adjust(rows: Sequence[Row]) -> list[Row]:
    """Fill `family` and `p_adjusted` in the rows of one learner.

    Overall, each metric is a family of its own over mixes (f1: over mixes and classes) under Holm's procedure; the one
    that was declared first is macro_f1, the others are secondary. All by-subgroup rows together are a screen under
    Benjamini and Hochberg. Rows without a p-value belong to no family and are not counted.
    """
    adjusted = [row | {"p_adjusted": None, "family": None} for row in rows]
    families: dict[str, list[Row]] = {}
    for row in adjusted:
        if row["p_value"] is not None:
            families.setdefault(_family(row), []).append(row)
    for name, members in families.items():
        procedure: Callable[[list[float]], list[float]] = holm if name.startswith("holm:") else benjamini_hochberg
        n = len(members)
        for row, p in zip(members, procedure([row["p_value"] for row in members]), strict=True):
            row |= {"p_adjusted": p, "family": f"{name} ({n} test{'s' if n != 1 else ''})"}
    return adjusted


def _family(row: Row) -> str:
    if row["subgroup_variable"] != OVERALL:
        return f"bh:{row['metric']} by subgroup, {row['learner']}"
    per_class = "" if row["class"] == ALL_CLASSES else " per class"
    return f"holm:{row['metric']}{per_class} overall, {row['learner']}"


def _exchanged(measured: Measured, b: int, drawn: Resampling) -> tuple[Tallies, Tallies]:
    """Tallies of every mix and of mix b after random patients changed sides between the two.

    Returns:
        For the mixes and for b, each of shape (n_permutations, n_mixes, n_seeds, n_classes).
    """
    swaps = drawn.swaps[:, measured.part.patients].astype(np.float32)
    hits, true, predicted = measured.tallies
    hits_a, hits_b = swapped_sums(hits, hits[:, b : b + 1], swaps)
    predicted_a, predicted_b = swapped_sums(predicted, predicted[:, b : b + 1], swaps)
    same = true.sum(axis=0)  # (1, 1, n_classes): the truth is the same on both sides
    return Tallies(hits_a, same, predicted_a), Tallies(hits_b, same, predicted_b)


def _permuted(measured: Measured, b: int, drawn: Resampling, columns: Sequence[Column]) -> dict[Column, Floats]:
    """Difference of every mix to mix b under each permutation, shape (n_permutations, n_mixes)."""
    first, second = _exchanged(measured, b, drawn)
    return {column: _over_seeds(first, column) - _over_seeds(second, column) for column in columns}


def _over_seeds(tallies: Tallies, column: Column) -> Floats:
    name, k = column
    values = FORMULAS[name](tallies)  # (n_permutations, n_mixes, n_seeds), then classes where the metric is per class
    return np.asarray((values if k is ALL else values[..., k]).mean(axis=-1))


def _difference(
    measured: Measured, column: Column, *, a: int, b: int, permuted: Mapping[Column, Floats], confidence: float
) -> Row:
    cells: Row = {"difference": None, "ci_low": None, "ci_high": None, "p_value": None}
    first, second = measured.overall[a][column], measured.overall[b][column]
    if first.value is None or second.value is None:
        without = first if first.value is None else second
        return cells | {"status": without.status, "reason": without.reason}
    difference = first.value - second.value
    replicates = measured.replicates[column][:, a : a + 1] - measured.replicates[column][:, b : b + 1]
    p_value = permutation_p(difference, permuted[column][:, a])
    cells |= {"difference": difference, "p_value": p_value, "status": "ok", "reason": first.reason}
    return with_interval(cells, replicates, 0, confidence=confidence)
