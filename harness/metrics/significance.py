"""Could the difference between two mixes be chance? Permutation tests by patient, and corrections for many tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Floats
from harness.metrics.resampling import Multiplicities, resample_sums
from harness.metrics.uncertainty import SAME, Spread, half_width, t_quantile

TIE_TOLERANCE = 1e-12  # two ways of adding the same counts differ by less; equal differences must count as equal
NORMAL_QUANTILE = 1.959964  # |z| stays below it with probability 0.95


def swapped_sums(first: Floats, second: Floats, swaps: Multiplicities) -> tuple[Floats, Floats]:
    """Sums of both sides after the patients in `swaps` have changed sides.

    Args:
        first: Counts of one mix by patient, shape (n_patients, ...).
        second: The other's; broadcasts against `first`.
        swaps: From `draw_swaps`, shape (n_permutations, n_patients).

    Returns:
        Sums of the first and of the second side, each of shape (n_permutations, ...).
    """
    gained = resample_sums(second - first, swaps)
    return first.sum(axis=0) + gained, second.sum(axis=0) - gained


def permutation_p(observed: float, permuted: Floats) -> float:
    """Two-sided p-value of a difference under random exchange of the two sides.

    Args:
        observed: The difference as it was found.
        permuted: Differences after random exchanges, shape (n_permutations,); an undefined one (NaN) counts as extreme.

    Returns:
        (1 + number at least as extreme) / (1 + number of permutations): never 0, and valid however few they are.

    Source: Phipson and Smyth, Permutation p-values should never be zero, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39; the
    exchange of two systems' outputs: Noreen, Computer Intensive Methods for Testing Hypotheses (1989), and Yeh, More
    accurate tests for the statistical significance of result differences, COLING 2000; here patients change sides,
    not sentences.
    """
    n_extreme = int((~(np.abs(permuted) < abs(observed) - TIE_TOLERANCE)).sum())
    return (1 + n_extreme) / (1 + permuted.size)


def smallest_permutation_p(n_patients: int, n_permutations: int) -> float:
    """What `permutation_p` is expected to be at its least: one way of changing sides and its mirror are what was seen.

    With five patients these are 2 of 32 ways: nothing they could show would be significant at 5%.
    """
    return float((1 + n_permutations * 2.0 ** (1 - n_patients)) / (1 + n_permutations))


def p_with_seeds(p_value: float, difference: float, spread: Spread) -> float:
    """A p-value about these trained models, widened to one about mixes: other train seeds could have come.

    The p-value asked for is the level at which the interval of `half_width` would just touch zero, with the patients'
    part of that interval taken from the permutations: their p-value is turned into a number of standard errors.
    Unchanged with one train seed, or with seeds that add nothing to what patients explain.

    Args:
        p_value: From `permutation_p`.
        difference: The difference as it was found.
        spread: Of the difference.
    """
    if spread.reason or spread.seeds == spread.taken_off == 0:
        return p_value
    reached = abs(difference)
    if spread.patients > SAME:
        reached = t_quantile(1 - p_value, spread.df_patients) * spread.patients
    return _level_where(reached, spread)


def wald_p(difference: float, spread: Spread) -> float | None:
    """Two-sided p-value that agrees with the interval: below 1 - confidence exactly where that leaves out zero."""
    if spread.reason:
        return None
    if spread.total <= SAME:
        return 1.0 if abs(difference) <= SAME else None
    return _level_where(abs(difference), spread)


def _level_where(reached: float, spread: Spread) -> float:
    """The level whose half width equals `reached`, by bisection on its logarithm."""
    low, high = np.log(1e-12), 0.0
    for _ in range(50):  # 27.6 / 2**50: finer than a float
        middle = (low + high) / 2
        low, high = (middle, high) if half_width(spread, 1 - float(np.exp(middle))) > reached else (low, middle)
    return float(np.exp(high))


def two_level_noise(replicates: Floats, by_seed: Floats, shares: Floats, spread: Spread) -> Floats:
    """What a number moves by when patients and train seeds are drawn again, widened for how few they are.

    Args:
        replicates: Of patients, shape (n_replicates, n_seeds).
        by_seed: The number itself, shape (n_seeds,).
        shares: From `draw_seeds`, shape (n_replicates, n_seeds).
        spread: Of the number; scales either part to its standard error times the ratio of a t to a normal quantile at
            95%, so that a test at 5% is right and those nearby nearly so.

    Returns:
        Shape (n_replicates,), centred on 0.
    """
    noise = _scaled(replicates.mean(axis=1), spread.patients, spread.df_patients)
    if spread.seeds > 0:
        noise = noise + _scaled(shares @ by_seed, spread.seeds, spread.df_seeds)
    return noise


def _scaled(moved: Floats, standard_error: float, df: float) -> Floats:
    centred = moved - np.nanmean(moved)
    sd = float(np.sqrt(np.nanmean(np.square(centred))))
    return centred * (standard_error / sd * t_quantile(0.95, df) / NORMAL_QUANTILE if sd > SAME else 0.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the chance of any false claim in the family.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979) 65-70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    return _in_given_order(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the expected share of false claims among the claims.

    Source: Benjamini and Hochberg, Controlling the false discovery rate, J. R. Statist. Soc. B 57 (1995) 289-300.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum.accumulate((p[order] * p.size / np.arange(1, p.size + 1))[::-1])[::-1]
    return _in_given_order(np.minimum(stepped, 1.0), order)


def _in_given_order(ordered: Floats, order: NDArray[np.intp]) -> list[float]:
    adjusted = np.empty_like(ordered)
    adjusted[order] = ordered
    return [float(value) for value in adjusted]
