"""How far apart are the levels of a subgroup variable, and how far apart would they seem if they were not?

The gap is the best level minus the worst one. Which two these are is seen in the same answers, so an interval of their
difference alone is too narrow, the more so the more levels there are: with four equal ones it holds the truth, 0, in
four of five studies. Here all pairs of levels are held by one interval at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from harness import seeds
from harness.metrics.counts import Floats
from harness.metrics.significance import NORMAL_QUANTILE, wald_p
from harness.metrics.uncertainty import SAME, Interval, Spread, half_width

N_NORMAL = 20_000


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
    """Do any two levels differ? The smallest p-value of all pairs, as one among so many that depend on one another.

    Each pair's p-value is that of its own interval (`wald_p`), whose tails know how few patients and train seeds there
    are. The chance that the smallest of such p-values falls so low comes from normal numbers that depend on one another
    as the pairs' noise does. Replicates cannot give it: three seeds drawn again have no tail, and Holm's procedure over
    24 such tests claimed something in a third of studies without any difference.

    Differences of levels are formed seed by seed, so what a train seed does to all levels alike is in none of them.

    Args:
        differences: As in `gap_between`, each with a spread that has no reason.
        spreads: Of each.
        noise: Of each in replicates; those in which some pair is undefined (NaN) are left out.

    Returns:
        At least the smallest p-value of a pair, at most that times the number of pairs; 1 where nothing differs.

    Source: single-step minP, Westfall and Young, Resampling-Based Multiple Testing (1993), ch. 2, with normal
    dependence as in Hothorn, Bretz and Westfall, Biometrical J. 50 (2008) 346-363.
    """
    told = [place for place, one in enumerate(spreads) if one.total > SAME]
    found = [wald_p(float(differences[place]), spreads[place]) for place in told]
    smallest = min((p for p in found if p is not None), default=1.0)
    if len(told) < 2:
        return smallest
    reached = ndtri(1 - smallest / 2)
    n_beyond = int((np.abs(_normal_like(noise[:, told])).max(axis=1) >= reached).sum())
    return min(1.0, max(smallest, min((1 + n_beyond) / (1 + N_NORMAL), smallest * len(told))))


def _normal_like(noise: Floats) -> Floats:
    """Normal numbers of variance 1 that depend on one another as the columns do, shape (N_NORMAL, n_columns)."""
    kept = noise[~np.isnan(noise).any(axis=1)]
    values, vectors = np.linalg.eigh(np.nan_to_num(np.atleast_2d(np.corrcoef(kept, rowvar=False)), nan=0.0))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = seeds.generator(0, "metrics", "disparity")  # an integral: it needs no seed of the recipe's
    return np.asarray(rng.standard_normal((N_NORMAL, values.size)) @ root.T)


def _common_factor(noise: Floats, widths: Floats, confidence: float) -> float:
    if widths.size == 1 or not (widths > SAME).any():
        return 1.0
    moved = np.abs(noise[:, widths > SAME]) / widths[widths > SAME]
    return max(1.0, float(np.quantile(_largest(moved), confidence)))


def _largest(moved: Floats) -> Floats:
    """The largest over pairs of every replicate in which some pair is defined."""
    largest: Floats = np.fmax.reduce(moved[~np.isnan(moved).all(axis=1)], axis=1)
    return largest
