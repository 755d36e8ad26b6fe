"""METRICS rows of the gap between the levels of a subgroup variable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from harness.evaluation.by_subgroup import Measured, Resampling, Row
from harness.evaluation.combined import combine, noise_of
from harness.evaluation.panel import Panel
from harness.evaluation.rows import ALL_CLASSES, ALL_SEEDS, estimate_cells, one_mix, with_interval
from harness.metrics.disparity import Gap, gap_between
from harness.metrics.estimate import insufficient, known
from harness.metrics.utility import ALL, Column

GAP_LEVEL = "gap"
GAP_OF: Column = ("macro_f1", ALL)


def gap_rows(
    levels: Sequence[Measured], panel: Panel, *, learner: str, drawn: Resampling, confidence: float
) -> Iterator[Row]:
    """METRICS rows of `macro_f1_gap`: best minus worst level of one variable, per mix.

    The gap is never negative and grows with the number of small levels; the reason says how large a gap would come
    from chance alone. Levels in which different classes occur average over different classes.
    """
    for m, mix in enumerate(levels[0].mixes if levels else ()):
        usable = [level for level in levels if level.overall[m][GAP_OF].value is not None]
        row = _place(levels, usable, panel) | {"mix": mix, "learner": learner}
        if len(usable) < 2:
            few = insufficient(f"{len(usable)} of {len(levels)} levels have enough patients; a gap needs 2")
            yield row | estimate_cells(few)
            continue
        ordered = sorted(usable, key=lambda level: level.overall[m][GAP_OF].value or 0.0)
        value = (ordered[-1].overall[m][GAP_OF].value or 0.0) - (ordered[0].overall[m][GAP_OF].value or 0.0)
        gap = _gap(ordered, m, drawn=drawn, confidence=confidence)
        said = f"best: {ordered[-1].part.level}; worst: {ordered[0].part.level}"
        if gap.by_chance is not None:
            said += f"; by chance alone: {gap.by_chance:.3f}"
        yield with_interval(row | estimate_cells(known(value, said)), gap.interval)


def _place(levels: Sequence[Measured], usable: Sequence[Measured], panel: Panel) -> Row:
    rows = np.concatenate([np.zeros(0, dtype=np.intp), *(level.part.rows for level in usable)])
    return {
        "split": panel.split,
        "train_seed": ALL_SEEDS,
        "metric": f"{GAP_OF[0]}_gap",
        "class": ALL_CLASSES,
        "subgroup_variable": levels[0].part.variable,
        "subgroup_level": GAP_LEVEL,
        "n": rows.size,
        "n_positive": None,
        "n_patients": np.unique(panel.patient[rows]).size,
    }


def _gap(ordered: Sequence[Measured], m: int, *, drawn: Resampling, confidence: float) -> Gap:
    pairs = [
        combine([(better, one_mix(better, m)), (worse, [-one for one in one_mix(worse, m)])], GAP_OF)
        for worse, better in combinations(ordered, 2)
    ]
    return gap_between(
        np.array([one.value for one in pairs]),
        [one.spread for one in pairs],
        noise_of(pairs, drawn),
        confidence=confidence,
    )
