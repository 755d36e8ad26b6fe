"""A Gaussian copula in parts: bivariate probabilities, the correlation a target asks for, the nearest valid matrix.

A yes/no variable is an interval of a standard normal latent variable, written on the uniform scale: who lies in
[start, end) carries it. Two latent variables with correlation rho make two such variables go together.

Source of the model: Emrich and Piedmonte, The American Statistician 45 (1991) 302.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

N_NODES = 32  # of the quadrature below: errors under 1e-6 up to MAX_CORRELATION
MAX_CORRELATION = 0.98
EDGE = 38.0  # standard normal quantile beyond which nothing lies in double precision
GRID = 25  # correlations tried before the best one is refined
LOSS_SCALE = 1e6  # squared gaps of a thousandth count as 1, so that the search does not stop early
FLOOR = 1e-3  # smallest eigenvalue: variables that nearly determine each other are no use to anybody
KEPT = 1e-6  # an entry this close to its target is met
MAX_PROJECTIONS = 2000
MAX_SWEEPS = 500


@dataclass(frozen=True)
class Pair:
    """Two intervals of two latent variables, by group of people, and the share that should lie in both.

    Attributes:
        mass: Share of all people in each group, shape (n_groups,).
        first: Start and end of the one interval, uniform scale, shape (2, n_groups).
        second: Of the other.
        wanted: Share of all people who lie in both.
    """

    mass: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    wanted: float

    @property
    def is_monotone(self) -> bool:
        """Whether more correlation always means more people in both: both intervals start where nobody lies below."""
        return not (self.first[0].any() or self.second[0].any())

    def gap(self, correlation: float) -> float:
        """Share of all people who lie in both intervals, less the wanted one."""
        return float(self.mass @ rectangle(self.first, self.second, correlation)) - self.wanted


def bivariate_cdf(h: NDArray[np.float64], k: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    """P(X < h, Y < k) of a standard bivariate normal, element by element.

    The derivative by the correlation is the bivariate density, so the probability is that of independence plus an
    integral over the correlation, taken by Gauss-Legendre quadrature over its arc sine.

    Source: Plackett, Biometrika 41 (1954) 351; Drezner and Wesolowsky, J. Stat. Comput. Simul. 35 (1990) 101.
    """
    from scipy.special import ndtr

    nodes, weights = _quadrature()
    half = np.arcsin(correlation) / 2
    angle = half * (nodes + 1)  # (n_nodes,)
    h, k = np.clip(h, -EDGE, EDGE)[..., None], np.clip(k, -EDGE, EDGE)[..., None]
    exponent = -(h * h + k * k - 2 * h * k * np.sin(angle)) / (2 * np.cos(angle) ** 2)
    integral = half * (np.exp(exponent) @ weights) / (2 * np.pi)
    probability: NDArray[np.float64] = ndtr(h[..., 0]) * ndtr(k[..., 0]) + integral
    return probability


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    return nodes, weights


def rectangle(first: NDArray[np.float64], second: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    """P(first variable in its interval and second in its), intervals on the uniform scale, shape (2, n) -> (n,)."""
    from scipy.special import ndtri

    share = np.zeros(first.shape[1])
    for edge, sign in ((1, 1.0), (0, -1.0)):
        for other, other_sign in ((1, 1.0), (0, -1.0)):
            # Most intervals start at 0, where nothing lies below.
            if first[edge].any() and second[other].any():
                share += sign * other_sign * bivariate_cdf(ndtri(first[edge]), ndtri(second[other]), correlation)
    return np.clip(share, 0.0, 1.0)


def calibrate(pairs: Sequence[Pair]) -> float:
    """The correlation of two latent variables at which the pairs of intervals on them hold the wanted shares.

    Several pairs (current and former smoking with the same disease) ask for one correlation: the sum of squared gaps is
    least there. A single pair is met exactly wherever any correlation up to MAX_CORRELATION meets it.
    """
    from scipy.optimize import brentq, minimize_scalar

    if len(pairs) == 1 and pairs[0].is_monotone:
        gap = pairs[0].gap
        if gap(-MAX_CORRELATION) >= 0:
            return -MAX_CORRELATION
        if gap(MAX_CORRELATION) <= 0:
            return MAX_CORRELATION
        return float(brentq(gap, -MAX_CORRELATION, MAX_CORRELATION, xtol=1e-7))

    def loss(correlation: float) -> float:
        return sum(pair.gap(correlation) ** 2 for pair in pairs) * LOSS_SCALE

    grid = np.linspace(-MAX_CORRELATION, MAX_CORRELATION, GRID)
    best = int(np.argmin([loss(float(correlation)) for correlation in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)])
    return float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)


# -- the matrix --------------------------------------------------------------------------------------------------------


def complete(wanted: NDArray[np.float64], fixed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The correlation matrix that says nothing but its `fixed` entries.

    Where a positive definite matrix keeps them, it is the one of largest determinant: two variables without an entry
    are independent given all others. Where none does, it is the matrix nearest to the entries.

    Args:
        wanted: Symmetric, ones on the diagonal, 0 where there is no target, shape (n, n).
        fixed: Which entries are targets, the diagonal among them, symmetric, same shape.

    Returns:
        Positive definite, ones on the diagonal.

    Source: Dempster, Biometrics 28 (1972) 157 (covariance selection).
    """
    found = _project(wanted, fixed)
    if np.abs(found - wanted)[fixed].max(initial=0.0) < KEPT:
        return _most_independent(np.where(fixed, wanted, found), fixed)
    found = _project(wanted, np.eye(len(wanted), dtype=np.bool_))
    scale = 1 / np.sqrt(np.diag(found))
    nearest: NDArray[np.float64] = found * scale[:, None] * scale
    return nearest


def _project(wanted: NDArray[np.float64], keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Alternate between matrices with eigenvalues above the floor and those that keep the entries; ends on the former.

    Source: Higham, IMA J. Numer. Anal. 22 (2002) 329, with Dykstra's correction; fixed entries: Higham and Strabic,
    Numer. Algorithms 72 (2016) 1021.
    """
    current, correction = wanted.copy(), np.zeros_like(wanted)
    for _ in range(MAX_PROJECTIONS):
        shifted = current - correction
        values, vectors = np.linalg.eigh(shifted)
        definite: NDArray[np.float64] = (vectors * np.maximum(values, FLOOR)) @ vectors.T
        correction = definite - shifted
        current = np.where(keep, wanted, definite)
        if np.abs(current - definite).max(initial=0.0) < KEPT / 10:
            break
    return definite


def _most_independent(start: NDArray[np.float64], fixed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Raise the determinant of a positive definite matrix as far as its free entries allow, row by row.

    Source: Hastie, Tibshirani and Friedman, Elements of Statistical Learning, 2nd ed. (2009), algorithm 17.1.
    """
    matrix = start.copy()
    for _ in range(MAX_SWEEPS):
        before = matrix.copy()
        for row in range(len(matrix)):
            near = np.flatnonzero(fixed[row] & (np.arange(len(matrix)) != row))
            far = np.flatnonzero(~fixed[row])
            slope = np.linalg.solve(matrix[np.ix_(near, near)], start[near, row])
            matrix[far, row] = matrix[row, far] = matrix[np.ix_(far, near)] @ slope
        if np.abs(matrix - before).max(initial=0.0) < KEPT:
            break
    return matrix
