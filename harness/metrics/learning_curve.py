"""Score against the number of gold sentences: a curve through a few points, and the number at which it has a score.

Points of one curve, or of thousands of replicates of it, go in; all are fitted at once. Two fits are there. `power` is
smooth and uses every point, so it can be read between and a little beyond them, at the price of a shape that is
assumed; it is the default, because in simulations it covered better where the assumption holds
(docs/exchange_rate.md). `monotone` assumes only that more gold does no harm; it says nothing beyond the points, and
stands beside the default to show what the assumption did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from harness.errors import DataError
from harness.metrics.counts import Floats
from harness.metrics.uncertainty import SAME

Fit = Literal["power", "monotone"]
DEFAULT_FIT: Fit = "power"
MIN_POINTS: Mapping[Fit, int] = {"power": 4, "monotone": 2}  # power: three numbers are fitted, and one is left to check
TOP_SCORE = 1.0  # of macro-F1; an asymptote above it would let a curve be read where no score can be
# Learning curves of text classifiers on small sets were fitted with exponents of 0 to 1 (Figueroa et al. 2012, below);
# towards 0 the curve becomes one that rises with log n, and past 2 one that is flat after its first point.
EXPONENTS = np.geomspace(0.05, 2.0, 75)
MAX_REACH = 4.0  # a convention of our own: a power curve is read up to 4 times its largest point, and down to a quarter
# of its smallest; four points say nothing of what lies beyond
CURVES_AT_ONCE = 1 << 13  # 5 MB per temporary of (curves, exponents)


class Curves(Protocol):
    """Fitted curves over the same points; every method is about all of them at once."""

    @property
    def rises(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether the curve gains anything from its first point to its last, shape (n_curves,)."""

    def at(self, n: Floats) -> Floats:
        """Scores at these numbers of gold sentences, shape (n_curves, n_numbers)."""

    def where(self, scores: Floats) -> Floats:
        """The smallest number of gold sentences at which each curve has its score, shape (n_curves,).

        Args:
            scores: One for each curve, shape (n_curves,).

        Returns:
            `inf` where the score lies above all that the curve can be read for, 0 where it lies below, NaN where the
            curve does not rise or the score is NaN.
        """


@dataclass(frozen=True)
class PowerCurves:
    """score(n) = top - short * (n / n_last) ** -exponent.

    Attributes:
        n: Gold sentences of the points, ascending, shape (n_points,).
        top: Asymptote, at most TOP_SCORE, shape (n_curves,).
        short: What is missing to it at the last point, at least 0, shape (n_curves,).
        exponent: Within EXPONENTS, shape (n_curves,).
    """

    n: Floats
    top: Floats
    short: Floats
    exponent: Floats

    @property
    def rises(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        ends = self.at(self.n[[0, -1]])
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = ends[:, 1] - ends[:, 0] > SAME
        return found

    def at(self, n: Floats) -> Floats:
        share = n[None] / self.n[-1]
        found: Floats = self.top[:, None] - self.short[:, None] * share ** -self.exponent[:, None]
        return found

    def where(self, scores: Floats) -> Floats:
        missing = self.top - scores
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            n = self.n[-1] * (missing / self.short) ** (-1 / self.exponent)
        n = np.where(missing > 0, n, np.inf)
        n = np.where(n > MAX_REACH * self.n[-1], np.inf, np.where(n < self.n[0] / MAX_REACH, 0.0, n))
        return np.where(self.rises & ~np.isnan(scores), n, np.nan)


@dataclass(frozen=True)
class MonotoneCurves:
    """The nearest curves that never fall, straight in log n between the points and not known beyond them.

    Attributes:
        n: Gold sentences of the points, ascending, shape (n_points,).
        values: Fitted score at each point, never falling, shape (n_curves, n_points).
    """

    n: Floats
    values: Floats

    @property
    def rises(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = self.values[:, -1] - self.values[:, 0] > SAME
        return found

    def at(self, n: Floats) -> Floats:
        """Beyond the points, the score of the nearest one."""
        place = np.interp(np.log(n), np.log(self.n), np.arange(self.n.size))
        before = np.minimum(place.astype(np.intp), self.n.size - 2)
        part = place - before
        found: Floats = self.values[:, before] * (1 - part) + self.values[:, before + 1] * part
        return found

    def where(self, scores: Floats) -> Floats:
        rows = np.arange(scores.size)
        after = np.clip((self.values < scores[:, None]).sum(axis=1), 1, self.n.size - 1)
        low, high = self.values[rows, after - 1], self.values[rows, after]
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.clip(np.where(scores <= low, 0.0, (scores - low) / (high - low)), 0.0, 1.0)
        log_n = np.log(self.n)
        n = np.exp(log_n[after - 1] + part * (log_n[after] - log_n[after - 1]))
        n = np.where(scores > self.values[:, -1], np.inf, np.where(scores < self.values[:, 0], 0.0, n))
        return np.where(self.rises & ~np.isnan(scores), n, np.nan)


def fit_power(n: Floats, scores: Floats) -> PowerCurves:
    """Least squares over top, short and exponent, with top at most TOP_SCORE and short at least 0.

    For a given exponent the best top and short are a straight-line fit, with its bounds where they bind; the exponent
    is the best of EXPONENTS, which are 5% apart. All curves are fitted by matrix products, exactly but for that step.

    Args:
        n: Gold sentences of the points, distinct and ascending, shape (n_points,).
        scores: Shape (n_curves, n_points); a curve with a NaN is NaN.

    Raises:
        DataError: Fewer than four points, or points that are not distinct and ascending.

    Source: inverse power laws for the accuracy of text classifiers by annotated samples, Figueroa et al., Predicting
    sample size required for classification performance, BMC Med. Inform. Decis. Mak. 12 (2012) 8; not weighted here.
    """
    _check_points("power", n)
    x = (n[None] / n[-1]) ** -EXPONENTS[:, None]  # (n_exponents, n_points)
    parts = [_fit_power_to(x, scores[k : k + CURVES_AT_ONCE]) for k in range(0, len(scores), CURVES_AT_ONCE)]
    top, short, exponent = (np.concatenate(one) for one in zip(*parts, strict=True))
    return PowerCurves(n, top, short, exponent)


def _fit_power_to(x: Floats, scores: Floats) -> tuple[Floats, Floats, Floats]:
    centred = x - x.mean(axis=1, keepdims=True)
    mean = scores.mean(axis=1, keepdims=True)
    short = -(scores @ centred.T) / np.square(centred).sum(axis=1)  # (n_curves, n_exponents)
    top = mean + short * x.mean(axis=1)
    over = top > TOP_SCORE
    short = np.where(over, ((TOP_SCORE - scores) @ x.T) / np.square(x).sum(axis=1), short)
    top = np.where(over, TOP_SCORE, top)
    falls = short <= 0
    short, top = np.where(falls, 0.0, short), np.where(falls, np.minimum(mean, TOP_SCORE), top)
    # Sum of squares of scores - top + short * x, each sum over points written out.
    squares = (
        np.square(scores).sum(axis=1, keepdims=True)
        - 2 * top * scores.sum(axis=1, keepdims=True)
        + 2 * short * (scores @ x.T)
        + top**2 * scores.shape[1]
        - 2 * top * short * x.sum(axis=1)
        + short**2 * np.square(x).sum(axis=1)
    )
    best = squares.argmin(axis=1)
    rows = np.arange(len(scores))
    return top[rows, best], short[rows, best], EXPONENTS[best]


def fit_monotone(n: Floats, scores: Floats) -> MonotoneCurves:
    """Isotonic regression with equal weights.

    Args:
        n: Gold sentences of the points, distinct and ascending, shape (n_points,).
        scores: Shape (n_curves, n_points).

    Raises:
        DataError: Fewer than two points, or points that are not distinct and ascending.

    Source: the max-min formula, Robertson, Wright and Dykstra, Order Restricted Statistical Inference (1988), ch. 1.
    """
    _check_points("monotone", n)
    n_points = n.size
    sums = np.concatenate([np.zeros((len(scores), 1)), np.cumsum(scores, axis=1)], axis=1)
    fitted = np.empty_like(scores)
    for i in range(n_points):
        lowest = [
            np.min([(sums[:, k + 1] - sums[:, j]) / (k + 1 - j) for k in range(i, n_points)], axis=0)
            for j in range(i + 1)
        ]
        fitted[:, i] = np.max(lowest, axis=0)
    return MonotoneCurves(n, fitted)


FITS: dict[Fit, Callable[[Floats, Floats], Curves]] = {"power": fit_power, "monotone": fit_monotone}


def _check_points(fit: Fit, n: Floats) -> None:
    if n.size < MIN_POINTS[fit] or (np.diff(n) <= 0).any() or n[0] <= 0:
        found = ", ".join(f"{one:g}" for one in n) or "none"
        raise DataError(f"a {fit} curve needs at least {MIN_POINTS[fit]} different numbers of gold sentences, "
                        f"ascending; found {found}")  # fmt: skip
