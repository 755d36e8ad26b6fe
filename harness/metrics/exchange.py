"""What a synthetic sentence is worth in gold: a mix's score read off the learning curve of gold alone.

Scores of gold-only points and of one mix go in, with their replicates of patients and by train seed; the number of gold
sentences that would score the same comes out, with an interval. The interval holds the numbers at which the curve's
score is not told apart from the mix's: their difference is a plain difference of scores, and its interval is made as
everywhere in the harness (`uncertainty.Spread`). The other way would be quantiles of what replicates read off; a
reading is far from normal, infinite where a replicate's curve is flat, and knows neither how few patients nor how few
train seeds there are (figures of both in docs/exchange_rate.md).

Source: Fieller, Some problems in interval estimation, J. R. Statist. Soc. B 16 (1954) 175-185, for a ratio; inverse
regression by inverting a test, Seber and Wild, Nonlinear Regression (1989), sec. 5.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.metrics.counts import Floats
from harness.metrics.learning_curve import FITS, MAX_REACH, Curves, Fit
from harness.metrics.uncertainty import half_width, spread_of

Where = Literal["inside", "extrapolated", "bounded"]
N_GRID = 96  # numbers of gold sentences at which curve and mix are compared; between them ends are interpolated


@dataclass(frozen=True)
class Scores:
    """A score as it was found and under replicates of patients.

    Attributes:
        by_seed: Shape (n_seeds,).
        replicates: Shape (n_replicates, n_seeds); the patients of replicate r are the same for all scores.
    """

    by_seed: Floats
    replicates: Floats


@dataclass(frozen=True)
class Reading:
    """Gold sentences that would score the same.

    Attributes:
        value: Their number; where `bounded`, the end of the curve that the score lies beyond. None where the curve does
            not rise.
        low: At least so many, 0 where there is no telling.
        high: At most so many; infinite where there is no telling.
        where: Between the points of the curve; beyond them, by its formula; or beyond what it can be read for.
        is_above: Where `bounded`: whether `value` is too small rather than too large.
        share_undefined: Share of replicates of patients whose curve does not rise.
        reason: Why there is no value or no interval, or None.
    """

    value: float | None
    low: float
    high: float
    where: Where | None
    is_above: bool
    share_undefined: float
    reason: str | None = None


@dataclass(frozen=True)
class FittedCurve:
    """A learning curve with all its replicates fitted once, to be read for any number of mixes.

    Attributes:
        n: Gold sentences of the points, shape (n_points,).
        whole: The curve through the means over train seeds.
        grid: Numbers of gold sentences, ascending, shape (N_GRID,).
        by_seed: Curve of each train seed on the grid, shape (n_seeds, N_GRID).
        replicates: Shape (n_replicates, n_seeds, N_GRID).
        share_undefined: Share of replicates, mean over train seeds, whose curve does not rise.
        reaches: Whether the curve says something of numbers beyond its points.
    """

    n: Floats
    whole: Curves
    grid: Floats
    by_seed: Floats
    replicates: Floats
    share_undefined: float
    reaches: bool


def fit_curve(fit: Fit, n: Floats, points: list[Scores]) -> FittedCurve:
    """Fit the curve as found, by train seed, and under every replicate.

    Args:
        fit: `power` or `monotone`.
        n: Gold sentences of the points, distinct and ascending, shape (n_points,).
        points: Scores of gold alone at these.

    Raises:
        DataError: Too few points for this fit.
    """
    make = FITS[fit]
    by_seed = np.stack([point.by_seed for point in points], axis=1)  # (n_seeds, n_points)
    replicates = np.stack([point.replicates for point in points], axis=2)  # (n_replicates, n_seeds, n_points)
    reaches = fit == "power"
    reach = MAX_REACH if reaches else 1.0
    grid = np.geomspace(n[0] / reach, n[-1] * reach, N_GRID)
    flat = make(n, replicates.reshape(-1, n.size)).at(grid)
    return FittedCurve(
        n=n,
        whole=make(n, by_seed.mean(axis=0, keepdims=True)),
        grid=grid,
        by_seed=make(n, by_seed).at(grid),
        replicates=flat.reshape(*replicates.shape[:2], N_GRID),
        share_undefined=1 - float(make(n, replicates.mean(axis=1)).rises.mean()),
        reaches=reaches,
    )


def read_curve(curve: FittedCurve, mix: Scores, *, n_patients: int, n_effective: float, confidence: float) -> Reading:
    """How many gold sentences alone would score what a mix scores.

    Args:
        curve: From `fit_curve`.
        mix: The mix's scores, under the same replicates and train seeds.
        n_patients: Patients that were resampled.
        n_effective: Patients that carry the score (`uncertainty.effective_patients`).
        confidence: Share of studies whose interval is to hold the number.
    """
    score = float(mix.by_seed.mean())
    n = float(curve.whole.where(np.array([score]))[0])
    if np.isnan(n):
        flat = "the curve of gold alone does not rise, so no number of gold sentences stands for a score"
        return Reading(None, 0.0, float("inf"), None, False, curve.share_undefined, flat)
    low, high, reason = _interval(
        curve, mix, score, n_patients=n_patients, n_effective=n_effective, confidence=confidence
    )
    if np.isinf(n) or n == 0:
        end = curve.grid[-1] if np.isinf(n) else curve.grid[0]
        return Reading(float(end), low, high, "bounded", bool(np.isinf(n)), curve.share_undefined, reason)
    low, high = min(low, n), max(high, n)  # ends are interpolated, and n is not: an interval of no width could miss it
    inside = curve.n[0] <= n <= curve.n[-1]
    return Reading(n, low, high, "inside" if inside else "extrapolated", False, curve.share_undefined, reason)


class BreakEven(NamedTuple):
    """Price of a gold sentence above which synthetic ones are the cheaper way to the same score.

    Attributes:
        price: None where there is none: a sentence that is worth nothing is dear at any price of gold.
        low: The smallest that cannot be ruled out; None where none can be shown.
        high: The largest; None where no price is high enough to be sure.
    """

    price: float | None
    low: float | None
    high: float | None


def break_even(price: float, rate: float, *, low: float | None, high: float | None) -> BreakEven:
    """What a gold sentence costs where it and the synthetic sentences that replace it cost the same.

    One synthetic sentence replaces `rate` gold sentences, so that they cost the same at price / rate.

    Args:
        price: Of a synthetic sentence, at least 0.
        rate: Gold sentences that one synthetic sentence is worth.
        low: Lower bound of the rate.
        high: Upper bound of the rate; None where there is none.
    """

    def at(one: float | None) -> float | None:
        return None if one is None or one <= 0 else price / one

    return BreakEven(at(rate), 0.0 if high is None else at(high), at(low))


def _interval(
    curve: FittedCurve, mix: Scores, score: float, *, n_patients: int, n_effective: float, confidence: float
) -> tuple[float, float, str | None]:
    """Numbers of gold sentences at which curve minus mix is not told apart from zero."""
    found = curve.whole.at(curve.grid)[0] - score
    by_seed = curve.by_seed - mix.by_seed[:, None]
    replicates = curve.replicates - mix.replicates[..., None]
    width = np.empty(N_GRID)
    for k in range(N_GRID):
        spread = spread_of(replicates[..., k], by_seed[:, k], n_patients=n_patients, n_effective=n_effective)
        if spread.reason:
            return 0.0, float("inf"), spread.reason
        width[k] = half_width(spread, confidence)
    return *_ends(curve.grid, found - width, found + width), None


def _ends(grid: Floats, lower: Floats, upper: Floats) -> tuple[float, float]:
    """Last number where `upper` is below 0, and first where `lower` is above; 0 and infinity where there is none.

    A curve of gold rises, so a number that scores too little rules out all smaller ones too, even where the fit itself
    is too loose to do so.
    """
    below, above = np.flatnonzero(upper < 0), np.flatnonzero(lower > 0)
    low = _crossing(grid, upper, int(below[-1])) if below.size else 0.0
    high = _crossing(grid, lower, int(above[0]) - 1) if above.size else float("inf")
    return low, high


def _crossing(grid: Floats, values: Floats, k: int) -> float:
    """Where `values`, straight in log n between grid numbers k and k + 1, is zero; past the grid, its end."""
    if k < 0 or k + 1 >= grid.size:
        return float(grid[max(k, 0)])
    part = values[k] / (values[k] - values[k + 1])
    return float(grid[k] * (grid[k + 1] / grid[k]) ** part)
