"""How far a cheap learner agrees with the one it stands in for: on the order of mixes, and on what each mix gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.estimate import Estimate, insufficient, known, undefined

MIN_PAIRS = 3


@dataclass(frozen=True)
class Agreement:
    """Gains of the same comparisons by two learners.

    Attributes:
        n: Comparisons that both have.
        n_up: Those in which the first sees a gain above 0.
        n_up_in_both: Those of `n_up` in which the second does too.
        n_same_direction: Those in which both lie on the same side of 0 (or both on it).
        mean_distance: Mean absolute difference of the two gains.
        concordance: Lin's coefficient: 1 where the gains are equal, lower where they scatter, shift or stretch.
    """

    n: int
    n_up: int
    n_up_in_both: int
    n_same_direction: int
    mean_distance: Estimate
    concordance: Estimate


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement:
    """Compare gains, shape (n,) each, in the same order."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return Agreement(
        n=a.size,
        n_up=int((a > 0).sum()),
        n_up_in_both=int(((a > 0) & (b > 0)).sum()),
        n_same_direction=int((np.sign(a) == np.sign(b)).sum()),
        mean_distance=known(float(np.abs(a - b).mean())) if a.size else undefined("no comparison that both have"),
        concordance=_concordance(a, b),
    )


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Kendall's tau-b of two scores of the same mixes, shape (n,) each (Kendall, Biometrika 33 (1945) 239-251)."""
    if len(first) < MIN_PAIRS:
        return insufficient(f"{len(first)} mixes; an order needs {MIN_PAIRS}")
    from scipy.stats import kendalltau

    found = float(kendalltau(first, second).statistic)
    return known(found) if np.isfinite(found) else undefined("all mixes score the same")


def _concordance(a: NDArray[np.float64], b: NDArray[np.float64]) -> Estimate:
    """2 cov / (var + var + (difference of means)^2) (Lin, Biometrics 45 (1989) 255-268)."""
    if a.size < MIN_PAIRS:
        return insufficient(f"{a.size} comparisons; a concordance needs {MIN_PAIRS}")
    if np.ptp(np.concatenate([a, b])) == 0:
        return undefined("all gains are the same")
    spread = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    return known(2 * float(((a - a.mean()) * (b - b.mean())).mean()) / spread)
