"""How far apart are the levels of a subgroup variable, and how far apart would they seem if they were not?

The gap is the best level minus the worst one. Which two these are is seen in the same answers, so an interval of their
difference alone is too narrow, the more so the more levels there are: with four equal ones it holds the truth, 0, in
four of five studies. Here all pairs of levels are held by one interval at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.metrics.counts import Floats
from harness.metrics.significance import NORMAL_QUANTILE
from harness.metrics.uncertainty import SAME, Interval, Spread, half_width


class Gap(NamedTuple):
    """What is known of a gap besides its value.

    Attributes:
        interval: Of the largest true difference between two levels.
        by_chance: The gap that levels without any difference would show on average in a study like this, or None.
    """

    interval: Interval
    by_chance: float | None


def gap_between(differences: Floats, spreads: Sequence[Spread], noise: Floats, *, confidence: float) -> Gap:
    """Interval of the largest difference between levels, from all pairs of them.

    The half width of every pair is made larger by one factor, so that all pairs hold their truth at once; the largest
    difference is then at least the largest lower end and at most the largest upper end. It holds the truth in at least
    `confidence` of studies: in about so many where all levels are equal, in more where they are far apart. With two
    levels the factor is 1. A gap is never negative, so an interval ends at 0.

    Args:
        differences: One level minus another, each pair once, shape (n_pairs,).
        spreads: Of each.
        noise: How far each difference moves in replicates of patients and train seeds (`two_level_noise`), shape
            (n_replicates, n_pairs), NaN where undefined.
        confidence: Share of studies whose interval is to hold the truth.

    Source: the studentized range, Tukey, The problem of multiple comparisons (1953), with its distribution from
    replicates, as in Westfall and Young, Resampling-Based Multiple Testing (1993), ch. 2.
    """
    unknown = next((one.reason for one in spreads if one.reason), None)
    if unknown is not None:
        return Gap(Interval(None, None, unknown), None)
    widths = np.array([half_width(one, confidence) for one in spreads])
    errors = np.array([one.total for one in spreads])
    factor = _common_factor(noise, widths, confidence)
    low = max(0.0, float((np.abs(differences) - factor * widths).max()))
    high = min(1.0, float((np.abs(differences) + factor * widths).max()))
    # The noise is widened for few patients and seeds; what is seen on average is not.
    widened = np.array([half_width(one, 0.95) for one in spreads]) / NORMAL_QUANTILE
    seen = np.abs(noise) * np.divide(errors, widened, out=np.zeros_like(errors), where=widened > SAME)
    return Gap(Interval(low, high, None), float(_largest(seen).mean()))


def range_p(differences: Floats, spreads: Sequence[Spread], noise: Floats) -> float:
    """Do any two levels differ? The largest difference, in its own half width, against what noise alone reaches.

    Differences of levels are formed seed by seed, so what a train seed does to all levels alike is in none of them.

    Args:
        differences: As in `gap_between`, each with a spread that has no reason.
        spreads: Of each.
        noise: Of each in replicates; undefined ones (NaN) count as extreme.

    Returns:
        (1 + replicates that reach as far) / (1 + replicates); 1 where nothing differs.

    Source: as `gap_between`.
    """
    widths = np.array([half_width(one, 0.95) for one in spreads])
    told = widths > SAME
    if not told.any():
        return 1.0
    reached = float((np.abs(differences[told]) / widths[told]).max())
    moved = np.abs(noise[:, told]) / widths[told]
    n_extreme = int((~(moved.max(axis=1) < reached - SAME)).sum())
    return (1 + n_extreme) / (1 + len(noise))


def _common_factor(noise: Floats, widths: Floats, confidence: float) -> float:
    if widths.size == 1 or not (widths > SAME).any():
        return 1.0
    moved = np.abs(noise[:, widths > SAME]) / widths[widths > SAME]
    return max(1.0, float(np.quantile(_largest(moved), confidence)))


def _largest(moved: Floats) -> Floats:
    """The largest over pairs of every replicate in which some pair is defined."""
    largest: Floats = np.fmax.reduce(moved[~np.isnan(moved).all(axis=1)], axis=1)
    return largest
