"""Each mix against the reference mix: the same patients, the same train seeds, so that what they share cancels.

The p-value comes from exchanging the two mixes' answers patient by patient. By itself that asks whether these trained
models differ; where there are several train seeds it is widened to ask whether the mixes do (`p_with_seeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.evaluation.by_subgroup import Measured, Resampling, Row
from harness.evaluation.combined import Combined, combine, without_value
from harness.evaluation.panel import OVERALL, Panel
from harness.evaluation.rows import ALL_CLASSES, one_mix, with_interval
from harness.metrics.counts import Floats, Tallies
from harness.metrics.estimate import Estimate
from harness.metrics.power import detectable
from harness.metrics.significance import (
    benjamini_hochberg,
    holm,
    p_with_seeds,
    permutation_p,
    smallest_permutation_p,
    swapped_sums,
)
from harness.metrics.uncertainty import Spread, plain_interval
from harness.metrics.utility import ALL, Column, count_metric
from harness.metrics.whole_sets import SetTallies

INTERACTION = "(interaction)"  # no mix and no level has such a name
TWO_BY_TWO = "(2 x 2)"


def contrast_columns(variable: str, panel: Panel) -> list[Column]:
    """Overall macro_f1, weighted_f1, accuracy and f1 of each class; by subgroup level macro_f1 and accuracy.

    Where sentences have several labels, exact match stands for accuracy, and micro-F1 and Jaccard are there overall.
    """
    if variable != OVERALL:
        return list(panel.looking.held)
    of_all = [(name, ALL) for name in panel.looking.overall_metrics]
    return [*of_all, *(("f1", k) for k in range(len(panel.label_ids)))]


def contrast_rows(
    measured: Measured, panel: Panel, *, learner: str, reference: str, drawn: Resampling, confidence: float
) -> Iterator[Row]:
    """CONTRASTS rows of one slice, without `p_adjusted`: every other mix minus the reference."""
    columns = contrast_columns(measured.part.variable, panel)
    b = measured.mixes.index(reference)
    any_value = any(estimate.value is not None for estimate in measured.overall[b].values())
    permuted = _permuted(measured, b, drawn, columns) if any_value else {}
    for a, mix in enumerate(measured.mixes):
        if a == b:
            continue
        for column in columns:
            row = place(measured, panel, column, learner=learner) | {"mix_a": mix, "mix_b": reference}
            yield row | _difference(measured, column, a=a, b=b, permuted=permuted, confidence=confidence)


def place(measured: Measured, panel: Panel, column: Column, *, learner: str) -> Row:
    """What a row is about, but for the two mixes."""
    name, k = column
    return {
        "learner": learner,
        "metric": name,
        "class": ALL_CLASSES if k is None else panel.label_ids[k],
        "subgroup_variable": measured.part.variable,
        "subgroup_level": measured.part.level,
        "n_patients": measured.part.patients.size,
        "n_train_seeds": len(measured.by_seed[0]),
    }


def adjust(rows: Sequence[Row], *, confidence: float) -> list[Row]:
    """Fill `family`, `p_adjusted` and `detectable` in the rows of one learner.

    Holm's procedure controls each question that is asked on purpose: overall, each metric over mixes (f1: over mixes
    and classes), the one declared first being macro_f1; the three effects of the 2 x 2; and whether gains differ
    between the levels of a variable. What is left, every mix or effect at every level, is a screen under Benjamini and
    Hochberg. Rows without a p-value belong to no family and are not counted.

    A difference is detectable if its family finds it where it is the only one: at 1 - confidence over the number of
    tests. Where no outcome at all would give so small a p-value there is none, and the reason says so.
    """
    adjusted = [row | {"p_adjusted": None, "family": None, "detectable": None} for row in rows]
    families: dict[str, list[Row]] = {}
    for row in adjusted:
        if row["p_value"] is not None:
            families.setdefault(_family(row), []).append(row)
    for name, members in families.items():
        procedure: Callable[[list[float]], list[float]] = holm if name.startswith("holm:") else benjamini_hochberg
        n = len(members)
        for row, p in zip(members, procedure([row["p_value"] for row in members]), strict=True):
            row.update(p_adjusted=p, family=f"{name} ({n} test{'s' if n != 1 else ''})")
            row.update(_detectable(row, n, (1 - confidence) / n))
    return adjusted


def _detectable(row: Row, n_tests: int, level: float) -> Row:
    if row["se_patients"] is None:
        return {}
    smallest = row["smallest_p"]
    if smallest is not None and min(smallest, row["p_value"]) >= level:
        asks = "tests ask" if n_tests != 1 else "test asks"
        out_of_reach = (f"no difference can be significant: p is at least {smallest:.2g} with {row['n_patients']} "
                        f"patients, and {n_tests} {asks} for less than {level:.2g}")  # fmt: skip
        return {"reason": "; ".join(one for one in (row["reason"], out_of_reach) if one)}
    return {"detectable": detectable(spread_of_row(row), confidence=1 - level)}


def spread_of_row(row: Mapping[str, Any]) -> Spread:
    """The spread of a difference as CONTRASTS holds it, where it has one."""
    return Spread(
        row["se_patients"],
        row["se_seeds"],
        row["df_patients"],
        row["n_train_seeds"] - 1,
        taken_off=row["seeds_taken_off"],
    )


def _family(row: Row) -> str:
    if row["subgroup_level"] == INTERACTION:
        return f"holm:{row['metric']}, whether the gain differs between subgroup levels, {row['learner']}"
    of_square = " effects of the 2 x 2" if row["mix_b"] == TWO_BY_TWO else ""
    if row["subgroup_variable"] != OVERALL:
        return f"bh:{row['metric']}{of_square} by subgroup, {row['learner']}"
    per_class = "" if row["class"] == ALL_CLASSES else " per class"
    return f"holm:{row['metric']}{per_class}{of_square} overall, {row['learner']}"


def valueless(without: Estimate) -> Row:
    """Cells of a row that has no difference, with the reason."""
    cells: Row = dict.fromkeys(
        ("difference", "ci_low", "ci_high", "se_patients", "se_seeds", "seeds_taken_off", "df_patients", "p_value",
         "smallest_p")
    )  # fmt: skip
    return cells | {"status": without.status, "reason": without.reason}


def valued(found: Combined, *, p_value: float | None, reason: str | None, confidence: float) -> Row:
    """Cells of a row that has a difference: interval and standard errors."""
    spread = found.spread
    cells: Row = {"difference": found.value, "p_value": p_value, "smallest_p": None, "status": "ok", "reason": reason}
    told = spread.reason is None
    cells |= {
        "se_patients": spread.patients if told else None,
        "se_seeds": spread.seeds if told else None,
        "seeds_taken_off": spread.taken_off if told else None,
        "df_patients": spread.df_patients if told else None,
    }
    bounds = (-found.largest, found.largest)
    return with_interval(cells, plain_interval(found.value, spread, confidence=confidence, bounds=bounds))


def _difference(
    measured: Measured, column: Column, *, a: int, b: int, permuted: Mapping[Column, Floats], confidence: float
) -> Row:
    terms = [(measured, gain(measured, a, b))]
    without = without_value(terms, column)
    if without is not None:
        return valueless(without)
    found = combine(terms, column)
    moved = permuted[column][:, a]
    smallest = smallest_permutation_p(measured.part.patients.size, moved.size)
    p_value, smallest_p = (
        p_with_seeds(p, found.value, found.spread) for p in (permutation_p(found.value, moved), smallest)
    )
    reason = measured.overall[a][column].reason
    return valued(found, p_value=p_value, reason=reason, confidence=confidence) | {"smallest_p": smallest_p}


def gain(measured: Measured, a: int, b: int) -> list[float]:
    """Coefficients of mix `a` minus mix `b`."""
    return [first - second for first, second in zip(one_mix(measured, a), one_mix(measured, b), strict=True)]


Side = tuple[Tallies, SetTallies | None]


def _exchanged(measured: Measured, b: int, drawn: Resampling) -> tuple[Side, Side]:
    """Counts of every mix and of mix b after random patients changed sides between the two.

    Returns:
        For the mixes and for b, each of shape (n_permutations, n_mixes, n_seeds, n_classes), without the classes for
        whole sentences.
    """
    swaps = drawn.swaps[:, measured.part.patients].astype(np.float32)

    def swapped(counts: Floats) -> tuple[Floats, Floats]:
        return swapped_sums(counts, counts[:, b : b + 1], swaps)

    hits, true, predicted = measured.tallies
    same = true.sum(axis=0)  # (1, 1, n_classes): the truth is the same on both sides
    (hits_a, hits_b), (predicted_a, predicted_b) = swapped(hits), swapped(predicted)
    tallies = Tallies(hits_a, same, predicted_a), Tallies(hits_b, same, predicted_b)
    if measured.sets is None:
        return (tallies[0], None), (tallies[1], None)
    sentences, exact, overlap = measured.sets
    whole = [SetTallies(sentences.sum(axis=0), *side) for side in zip(swapped(exact), swapped(overlap), strict=True)]
    return (tallies[0], whole[0]), (tallies[1], whole[1])


def _permuted(measured: Measured, b: int, drawn: Resampling, columns: Sequence[Column]) -> dict[Column, Floats]:
    """Difference of every mix to mix b under each permutation, shape (n_permutations, n_mixes)."""
    first, second = _exchanged(measured, b, drawn)
    found: dict[Column, Floats] = {}
    for name in dict.fromkeys(name for name, _ in columns):
        moved = (count_metric(name, *first) - count_metric(name, *second)).mean(axis=2)  # train seeds
        found.update({(name, k): moved if k is ALL else moved[..., k] for one, k in columns if one == name})
    return found
