"""Could the difference between two mixes be chance? Permutation tests by patient, and corrections for many tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Floats
from harness.metrics.resampling import Multiplicities, resample_sums

TIE_TOLERANCE = 1e-12  # two ways of adding the same counts differ by less; equal differences must count as equal


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
