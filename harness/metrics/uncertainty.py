"""Intervals from the replicates that `resampling.py` makes possible.

Two ways lead from replicates to an interval. `percentile_interval` reads off their central share: it fits any
statistic, and with 20 to 50 patients it is too narrow. What a study concludes from (metrics of mixes and their
differences) goes through a `Spread` instead: standard errors from the replicates, t quantiles for how few patients and
train seeds there are. The choice was made by simulation (`benchmarks/coverage.py`; figures in docs/statistics.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.metrics.counts import Floats

# An interval over the defined replicates alone is one given that the metric is defined; past this share of undefined
# ones that condition is no longer a footnote. A class that only two patients have is missed by 13% of the replicates,
# one that three have by just under 5%.
MAX_UNDEFINED_SHARE = 0.05
# Levels stricter than this put back up to STRICT_SHARE of what `spread_of` takes off the scatter of seeds.
USUAL_LEVEL = 0.05
STRICT_SHARE = 0.3
# Of replicates that differ by no more than this nothing but rounding differs.
SAME = 1e-12


class Interval(NamedTuple):
    """Both bounds, or none and the reason."""

    low: float | None
    high: float | None
    reason: str | None


@dataclass(frozen=True)
class Spread:
    """How far one number would move with other patients, and with other train seeds.

    Attributes:
        patients: Standard error from patients, the seeds as they are; NaN where it cannot be told.
        seeds: Standard error from train seeds beyond what they share with `patients`; 0 with one seed.
        df_patients: Degrees of freedom behind `patients`.
        df_seeds: Train seeds minus one.
        reason: Why there is no standard error, or None.
        taken_off: Variance that `seeds` lacks because patients explain it; strict levels put some back (`half_width`).
    """

    patients: float
    seeds: float
    df_patients: float
    df_seeds: int
    reason: str | None = None
    taken_off: float = 0.0

    @property
    def total(self) -> float:
        """Standard error from both."""
        return float(np.hypot(self.patients, self.seeds))


def percentile_interval(replicates: Floats, confidence: float) -> Interval:
    """The central share of the replicates, ends interpolated linearly between neighbours.

    Args:
        replicates: One metric under each replicate, shape (n_replicates,), NaN where undefined. Undefined ones are left
            out; where they are more than MAX_UNDEFINED_SHARE there is no interval.
        confidence: Share inside, e.g. 0.95.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    ordered = np.sort(replicates)  # NaN last
    n_defined = ordered.size - int(np.isnan(ordered).sum())
    n_undefined = ordered.size - n_defined
    if n_undefined > MAX_UNDEFINED_SHARE * ordered.size or n_defined == 0:
        return Interval(None, None, f"no interval: undefined in {n_undefined} of {ordered.size} replicates")
    ends = np.array([(1 - confidence) / 2, (1 + confidence) / 2]) * (n_defined - 1)
    low, high = np.interp(ends, np.arange(n_defined), ordered[:n_defined])
    return Interval(float(low), float(high), None)


def spread_of(replicates: Floats, by_seed: Floats, *, n_patients: int, n_effective: float) -> Spread:
    """Standard errors of a mean over train seeds, from the same replicates of patients for every seed.

    With d(p, s) = patient + seed + patient x seed as random effects, replicates of the mean over seeds hold the first
    and third; the scatter of seeds holds the second and third. What both hold is seen in how the seeds of one replicate
    differ from one another, and is taken off the seeds' part (`_share_taken_off`).

    Args:
        replicates: The number under each replicate of patients, shape (n_replicates, n_seeds), NaN where undefined.
        by_seed: The number itself, shape (n_seeds,).
        n_patients: Patients that were resampled; the bootstrap's variance is too small by (n - 1) / n.
        n_effective: Patients that carry the number (`effective_patients`); degrees of freedom are one less.

    Source: two-way random effects by moments, Searle, Casella and McCulloch, Variance Components (1992), ch. 4;
    Davison and Hinkley, Bootstrap Methods and their Application (1997), sec. 2.3 for the factor n / (n - 1).
    """
    n_seeds = by_seed.size
    df = (max(1.0, n_effective - 1), n_seeds - 1)
    undefined = np.isnan(replicates).any(axis=1)
    n_undefined = int(undefined.sum())
    if n_undefined > MAX_UNDEFINED_SHARE * undefined.size:
        reason = f"no interval: undefined in {n_undefined} of {undefined.size} replicates"
        return Spread(float("nan"), 0.0, *df, reason)
    if n_patients < 2:
        return Spread(float("nan"), 0.0, *df, "no interval: one patient shows no spread between patients")
    kept = replicates[~undefined] if n_undefined else replicates
    correction = n_patients / (n_patients - 1)
    mean = kept.mean(axis=1)
    of_patients = correction * mean.var()
    if n_seeds == 1:
        return Spread(_root(of_patients), 0.0, *df)
    shared = correction * (kept - mean[:, None]).var(axis=0).sum() / (n_seeds * (n_seeds - 1))
    scatter = float(by_seed.var(ddof=1)) / n_seeds
    taken_off = min(scatter, _share_taken_off(*df) * float(shared))
    return Spread(_root(of_patients), _root(scatter - taken_off), *df, taken_off=taken_off)


def _share_taken_off(df_patients: float, df_seeds: int) -> float:
    """Share of what seeds and patients have in common that is taken off the scatter of seeds, in (0, 1].

    In an interval the scatter of seeds counts t(df_seeds) squared, what patients explain t(df_patients) squared. Taking
    the shared part off at the seeds' rate is too much with few seeds (0.91 of nominal 95% with two or three), at the
    patients' rate too little (0.99). With df / (df + 2) between the two rates coverage is 0.93 to 0.98; the form is our
    own, chosen by simulation. With many seeds it is all of it.
    """
    ratio = min(1.0, (t_quantile(0.95, df_patients) / t_quantile(0.95, df_seeds)) ** 2)
    return ratio + (1 - ratio) * df_seeds / (df_seeds + 2)


def effective_patients(sizes: Floats, n_carrying: int) -> float:
    """For how many equal patients these stand.

    Args:
        sizes: Sentences of each patient, shape (n_patients,).
        n_carrying: Patients with something in them that the number is made of, e.g. the class of an F1.

    Source: Kish, Survey Sampling (1965), sec. 11.7 for unequal sizes; the lesser of the two is a convention of our own,
    chosen by simulation.
    """
    squares = float(np.square(sizes).sum())
    return min(float(n_carrying), float(sizes.sum()) ** 2 / squares) if squares > 0 else 0.0


def half_width(spread: Spread, confidence: float) -> float:
    """Half of an interval on the scale of the number.

    Patients' and seeds' own half widths, each with its t quantile, are joined as the root of their squares. A common t
    with Satterthwaite's degrees of freedom is too narrow when three seeds carry most of the variance (simulated).

    Source: Howe, Approximate confidence limits on the mean of X + Y where X and Y are two tabled independent random
    variables, J. Am. Stat. Assoc. 69 (1974) 789-794.
    """
    width = t_quantile(confidence, spread.df_patients) * spread.patients
    of_seeds = _seeds_at(spread, confidence)
    if of_seeds > 0:
        width = float(np.hypot(width, t_quantile(confidence, spread.df_seeds) * of_seeds))
    return width


def _seeds_at(spread: Spread, confidence: float) -> float:
    """Standard error from train seeds that an interval at this level is made with.

    Up to 95%, the level for which `_share_taken_off` was chosen, it is the one of the spread. A few seeds lie close
    together by chance in some studies; their t quantile covers that for the scatter as it is, not for what is left of
    it, and those are the studies that claim too much in the tail: Holm's procedure over 36 tests claimed something in
    8.1% of studies at nominal 5% (200 patients, 3 seeds). So the stricter the level, the more of STRICT_SHARE of what
    was taken off is put back: 0.5% then, and 2.9% over 6 tests (6.1% before). The share was chosen by simulation.
    """
    strictness = max(0.0, 1 - (1 - confidence) / USUAL_LEVEL)
    return _root(spread.seeds**2 + STRICT_SHARE * strictness * spread.taken_off)


def bounded_interval(value: float, spread: Spread, *, confidence: float, bounds: tuple[float, float]) -> Interval:
    """Interval of a metric with bounds: the values from which this one is not too far.

    A standard error near a bound is small because the value is near it. So it is taken to be that of the value asked
    about: of theta, at which it is larger or smaller by the root of theta (1 - theta) over value (1 - value). That is
    Wilson's interval with as many trials as would give the standard error. It stays inside the bounds.

    At a bound itself patients cannot differ; there the interval is the exact binomial one with patients (the effective
    number) in the place of trials.

    Args:
        value: The number, within `bounds`.
        spread: Of the number.
        confidence: Share of studies whose interval is to hold the truth.
        bounds: Smallest and largest possible value.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212; with an effective number of trials for clustered samples:
    Franco et al., Comparative study of confidence intervals for proportions in complex sample surveys, J. Surv. Stat.
    Methodol. 7 (2019) 334-364; at a bound Clopper and Pearson, Biometrika 26 (1934) 404-413.
    """
    if spread.reason:
        return Interval(None, None, spread.reason)
    low, high = bounds
    place = (value - low) / (high - low)
    width = half_width(spread, confidence) / (high - low)
    if min(place, 1 - place) <= SAME:
        reach = (high - low) * (1 - ((1 - confidence) / 2) ** (1 / (spread.df_patients + 1)))
        return Interval(low, low + reach, None) if place < 0.5 else Interval(high - reach, high, None)
    if width <= SAME:
        return Interval(None, None, "no interval: every patient shows the same")
    # |place - theta| <= width sqrt(theta (1 - theta) / variance), solved for theta
    variance = place * (1 - place)
    scale = width**2 / variance
    reach = float(np.sqrt(scale**2 + 4 * scale * variance))
    ends = [low + (high - low) * (2 * place + scale + side * reach) / (2 + 2 * scale) for side in (-1, 1)]
    return Interval(max(low, ends[0]), min(high, ends[1]), None)


def plain_interval(value: float, spread: Spread, *, confidence: float, bounds: tuple[float, float]) -> Interval:
    """Interval of a difference: as far to either side, cut off at the bounds. No width where nothing differs."""
    if spread.reason:
        return Interval(None, None, spread.reason)
    width = half_width(spread, confidence)
    return Interval(max(bounds[0], value - width), min(bounds[1], value + width), None)


def t_quantile(confidence: float, df: float) -> float:
    """What |t| stays below with this probability."""
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + confidence) / 2))


def _root(variance: float) -> float:
    return float(np.sqrt(max(variance, 0.0)))
