"""Which entries of a table may be the best one? Simultaneous comparison of every entry with the best of the others.

Sorting by score and calling the first one the winner forgets that the first of many equal entries is first by luck. For
each entry in turn, taken as if it were the best, all others are compared with it at once; it is out only where some
other entry is better beyond what patients and train seeds explain. So the truly best entry stays in with probability
`confidence`, however many entries there are, and the price of a wrong choice (`shortfall_high`) is bounded for all
entries by the same event.

Source: Hsu, Multiple Comparisons: Theory and Methods (1996), ch. 4; with unequal variances, one critical value for
each entry, Edwards and Hsu, Multiple comparisons with the best treatment, J. Am. Stat. Assoc. 78 (1983) 965-971. The
critical values come from resampled patients instead of a table of the multivariate t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.metrics.counts import Floats
from harness.metrics.uncertainty import MAX_UNDEFINED_SHARE, SAME, t_quantile

ONE_ENTRY = "one entry alone has nothing to be compared with"


@dataclass(frozen=True)
class Scores:
    """The same metric of several entries, on the same patients.

    Attributes:
        by_seed: The metric, more is better, shape (n_entries, n_seeds).
        replicates: Under each replicate of patients, the same patients for all entries, shape (n_replicates, n_entries,
            n_seeds), NaN where undefined.
        n_patients: Patients that were resampled.
        n_effective: For how many equal patients these stand (`effective_patients`).
    """

    by_seed: Floats
    replicates: Floats
    n_patients: int
    n_effective: float


@dataclass(frozen=True)
class Standing:
    """Where one entry stands.

    Attributes:
        value: Mean over train seeds.
        shortfall: How far the best of the others is ahead; 0 for the first.
        shortfall_high: Upper bound of the true one, simultaneous for all entries; 0 for an entry that is best beyond
            doubt. None with a reason.
        tied: Whether the entry may be the best; true for the first. None with a reason.
        reason: Why nothing can be said, or None.
    """

    value: float
    shortfall: float
    shortfall_high: float | None
    tied: bool | None
    reason: str | None = None


def compare_with_best(scores: Scores, confidence: float, *, rng: np.random.Generator) -> list[Standing]:
    """The standing of every entry, in the given order.

    Args:
        scores: At least one entry.
        confidence: Probability that the best entry is among the tied and that every `shortfall_high` holds.
        rng: Draws how train seeds could have come out.
    """
    value = scores.by_seed.mean(axis=1)
    reasons = _without_spread(scores)
    usable = [i for i, reason in enumerate(reasons) if reason is None]
    standings = [
        Standing(float(value[i]), _shortfall(value, i), None, None, reason) for i, reason in enumerate(reasons)
    ]
    if len(usable) < 2:
        return [Standing(one.value, one.shortfall, None, None, one.reason or ONE_ENTRY) for one in standings]
    behind = value[usable][:, None] - value[usable]  # (n_usable, n_usable): row minus column
    width = _widths(scores, usable, confidence, rng=rng)
    reach = behind + width
    np.fill_diagonal(reach, np.inf)
    tied = reach.min(axis=1) >= -SAME
    # How far another entry may be ahead, were it the best: its own critical value counts, not this entry's.
    ahead = np.where(tied, -behind + width.T, -np.inf)
    np.fill_diagonal(ahead, -np.inf)
    highest = np.maximum(ahead.max(axis=1), 0.0)
    for place, i in enumerate(usable):
        standings[i] = Standing(float(value[i]), _shortfall(value, i), float(highest[place]), bool(tied[place]))
    return standings


def _shortfall(value: Floats, i: int) -> float:
    return float(max(0.0, value.max() - value[i]))


def _without_spread(scores: Scores) -> list[str | None]:
    """For each entry, why it cannot be compared; None where it can."""
    if scores.n_patients < 2:
        return ["one patient shows no spread between patients"] * len(scores.by_seed)
    undefined = np.isnan(scores.replicates).any(axis=2).mean(axis=0)  # (n_entries,)
    return [
        f"undefined in {share:.0%} of the replicates" if share > MAX_UNDEFINED_SHARE else None for share in undefined
    ]


def _widths(scores: Scores, usable: list[int], confidence: float, *, rng: np.random.Generator) -> Floats:
    """How far the difference of each two entries may be off, shape (n_usable, n_usable).

    Row i holds for all columns at once: the true difference of i to every other entry lies above what was found minus
    the width, with probability `confidence`. Patients' and seeds' parts are joined as in `uncertainty.half_width`.
    """
    kept = scores.replicates[:, usable]
    kept = kept[~np.isnan(kept).any(axis=(1, 2))]
    moved = kept.mean(axis=2)  # (n_replicates, n_usable)
    correction = scores.n_patients / (scores.n_patients - 1)
    seeds, df_seeds = _seed_variance(scores.by_seed[usable], kept, correction)
    patients = np.sqrt(np.maximum(_of_differences(correction * np.atleast_2d(np.cov(moved.T, bias=True))), 0.0))
    trained = np.sqrt(seeds[:, None] + seeds)
    noise = correction**0.5 * (moved - moved.mean(axis=0)) + np.sqrt(seeds) * rng.standard_normal(moved.shape)
    width = np.empty_like(patients)
    for i in range(len(usable)):
        total = np.hypot(patients[i], trained[i])
        compared = total > SAME  # not itself, nor what never differs from it
        fallen = (noise[:, compared] - noise[:, i : i + 1]) / total[compared]
        alpha = _level(fallen, 1 - confidence, n_others=len(usable) - 1)
        width[i] = t_quantile(1 - 2 * alpha, max(1.0, scores.n_effective - 1)) * patients[i]
        if df_seeds:
            width[i] = np.hypot(width[i], t_quantile(1 - 2 * alpha, df_seeds) * trained[i])
    return width


def _seed_variance(by_seed: Floats, kept: Floats, correction: float) -> tuple[Floats, int]:
    """Variance of each entry's mean from train seeds beyond what patients explain, and its degrees of freedom.

    Pooled, because two or three seeds of one entry say next to nothing of its scatter; an entry that scatters more than
    the pool keeps its own. (Simulated, 7 entries, 3 seeds: an own variance for each pair, with its own t quantile,
    keeps the best in 88% of studies; the pool alone in 95%, but in 86% where the best scatters three times as much as
    the others; the larger of the two in 97%, and there in 91 to 94%.) Entries that no seed moves (baselines) have none.
    The part that patients and seeds share is taken off as in `spread_of`.
    """
    n_seeds = by_seed.shape[1]
    is_trained = np.ptp(kept, axis=2).max(axis=0) > SAME
    if n_seeds == 1 or not is_trained.any():
        return np.zeros(len(by_seed)), 0
    apart = kept - kept.mean(axis=2, keepdims=True)
    shared = correction * apart.var(axis=0).sum(axis=1) / (n_seeds * (n_seeds - 1))
    found = by_seed.var(axis=1, ddof=1) / n_seeds - shared
    pooled = max(0.0, float(found[is_trained].mean()))
    return np.where(is_trained, np.maximum(pooled, found), 0.0), int(is_trained.sum()) * (n_seeds - 1)


def _of_differences(covariance: Floats) -> Floats:
    """Variance of the difference of each two, from their covariances."""
    own = np.diag(covariance)
    return np.asarray(own[:, None] + own - 2 * covariance)


def _level(fallen: Floats, alpha: float, *, n_others: int) -> float:
    """One-sided level of each single comparison at which all together have level `alpha`.

    The quantile of the largest chance deviation, read as that of a normal, so that t quantiles can widen it for few
    patients and seeds. It lies between Bonferroni's level and `alpha` itself, whatever the replicates say.
    """
    from scipy.special import ndtr

    if not fallen.shape[1]:
        return alpha
    critical = float(np.quantile(fallen.max(axis=1), 1 - alpha))
    return float(np.clip(ndtr(-critical), alpha / n_others, alpha))
