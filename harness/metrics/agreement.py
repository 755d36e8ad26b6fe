"""How far two labellings agree beyond chance, and a share with its exact interval. Pure, on counts.

A table of counts holds one labelling in its rows and the other in its columns; both have the same labels in the same
order. Kappa of one label is kappa of the 2 x 2 table of that label against all others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Floats
from harness.metrics.estimate import Estimate, known, undefined
from harness.metrics.resampling import draw_patients, resample_sums
from harness.metrics.uncertainty import Interval, percentile_interval

Counts = NDArray[np.int64]


def cross_table(first: Sequence[str], second: Sequence[str], labels: Sequence[str]) -> Counts:
    """How often each pair of labels was given, shape (n_labels, n_labels); `first` in rows."""
    place = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for a, b in zip(first, second, strict=True):
        table[place[a], place[b]] += 1
    return table


def one_against_rest(table: NDArray[np.int64] | Floats, label: int) -> NDArray[np.int64] | Floats:
    """The 2 x 2 table of one label; works on stacked tables.

    Args:
        table: Shape (..., n_labels, n_labels).
        label: Index of the label.

    Returns:
        Shape (..., 2, 2), the label first and all others second.
    """
    both = table[..., label, label]
    first_only = table[..., label, :].sum(axis=-1) - both
    second_only = table[..., :, label].sum(axis=-1) - both
    neither = table.sum(axis=(-2, -1)) - both - first_only - second_only
    rows = [np.stack([both, first_only], axis=-1), np.stack([second_only, neither], axis=-1)]
    return np.stack(rows, axis=-2)


def cohen_kappa(table: NDArray[np.int64] | Floats) -> Estimate:
    """Agreement beyond chance: (observed - expected) / (1 - expected).

    Args:
        table: Counts, shape (n_labels, n_labels).

    Returns:
        A value in [-1, 1]: 1 for full agreement, 0 for what chance gives. Undefined without items, and where both
        labellings give one and the same label throughout: then chance alone agrees fully, and 0 / 0 has no value.

    Source: Cohen, Educational and Psychological Measurement 20 (1960) 37.
    """
    if table.sum() == 0:
        return undefined("no item was labelled twice")
    value = float(kappa_values(table))
    if np.isnan(value):
        return undefined("both labellings give one and the same label throughout")
    return known(value)


def kappa_values(tables: NDArray[np.int64] | Floats) -> Floats:
    """Kappa of stacked tables, shape (..., n_labels, n_labels) to (...,); NaN where undefined."""
    n = tables.sum(axis=(-2, -1)).astype(np.float64)
    agreed = np.trace(tables, axis1=-2, axis2=-1).astype(np.float64)
    by_chance = (tables.sum(axis=-1).astype(np.float64) * tables.sum(axis=-2)).sum(axis=-1)
    # both sides times n^2, so that 1 - expected is exactly zero where it should be
    room = n * n - by_chance
    with np.errstate(invalid="ignore", divide="ignore"):
        values: Floats = np.where(room > 0, (n * agreed - by_chance) / room, np.nan)
    return values


def kappa_intervals(
    tables: Counts, *, confidence: float, n_replicates: int, rng: np.random.Generator
) -> tuple[Interval, list[Interval]]:
    """Bootstrap intervals of kappa over all labels and of each label against the rest.

    Args:
        tables: One table per unit that is drawn as a whole (a persona, a patient, a text), shape (n_units, n_labels,
            n_labels): sentences of one of them resemble each other.
        confidence: Share inside, e.g. 0.95.
        n_replicates: Draws of units with replacement.
        rng: Decides the draws.

    Returns:
        The interval of all labels, and one for each label.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), sec. 3.8 (drawing whole clusters).
    """
    n_units, n_labels = tables.shape[:2]
    if n_units < 2:
        none = Interval(None, None, "no interval: fewer than two units to draw from")
        return none, [none] * n_labels
    drawn = draw_patients(n_units, n_replicates, rng=rng).astype(np.float32)
    sums = resample_sums(tables, drawn)  # (n_replicates, n_labels, n_labels)
    by_label = [percentile_interval(kappa_values(one_against_rest(sums, k)), confidence) for k in range(n_labels)]
    return percentile_interval(kappa_values(sums), confidence), by_label


def exact_interval(n_hits: int, n: int, confidence: float) -> Interval:
    """The exact (Clopper-Pearson) interval of a share; it holds the truth at least as often as it says.

    Args:
        n_hits: Items that count.
        n: All items; each by itself, so that items of one text make it somewhat too narrow.
        confidence: E.g. 0.95.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404, by quantiles of the beta distribution.
    """
    from scipy.stats import beta

    if n == 0:
        return Interval(None, None, "no interval: no items")
    tail = (1 - confidence) / 2
    low = 0.0 if n_hits == 0 else float(beta.ppf(tail, n_hits, n - n_hits + 1))
    high = 1.0 if n_hits == n else float(beta.ppf(1 - tail, n_hits + 1, n - n_hits))
    return Interval(low, high, None)
