"""How far apart two distributions, two samples or two orders are. Values in, an estimate out.

Shares need not add up to 1: every function normalises what it is given, and says `undefined` where there is nothing to
normalise. An empty arm is no arm that matches its target perfectly.
"""

from __future__ import annotations

import numpy as np

from harness.metrics.counts import Floats
from harness.metrics.estimate import Estimate, known, undefined

EMPTY = "one of the two distributions is empty"
MIN_RANKED = 3  # two things have an order by chance half of the time


def total_variation(found: Floats, target: Floats) -> Estimate:
    """Half the sum of absolute differences of two distributions: the share that would have to move.

    Args:
        found: Non-negative masses, any shape.
        target: The same shape.

    Returns:
        Value in [0, 1], 0 for equal distributions; undefined where either has no mass.

    Source: Levin, Peres and Wilmer, Markov Chains and Mixing Times (2009), prop. 4.2.
    """
    if found.sum() <= 0 or target.sum() <= 0:
        return undefined(EMPTY)
    return known(float(np.abs(found / found.sum() - target / target.sum()).sum() / 2))


def jensen_shannon(found: Floats, target: Floats) -> Estimate:
    """Square root of the Jensen-Shannon divergence in bits, a metric.

    Args:
        found: Non-negative masses, any shape.
        target: The same shape.

    Returns:
        Value in [0, 1], 0 for equal distributions, 1 for disjoint ones; undefined where either has no mass.

    Source: Lin, IEEE Transactions on Information Theory 37 (1991) 145; its root is a metric: Endres and Schindelin,
    same journal 49 (2003) 1858.
    """
    if found.sum() <= 0 or target.sum() <= 0:
        return undefined(EMPTY)
    p, q = found.ravel() / found.sum(), target.ravel() / target.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return known(float(np.sqrt(min(max(divergence, 0.0), 1.0))))  # rounding may step over either end


def _relative_entropy(p: Floats, q: Floats) -> float:
    """Kullback-Leibler divergence in bits; q is positive wherever p is."""
    held = p > 0
    return float((p[held] * np.log2(p[held] / q[held])).sum())


def kolmogorov_smirnov(found: Floats, reference: Floats) -> Estimate:
    """Largest gap between the cumulative distributions of two samples.

    Args:
        found: Values, shape (n,).
        reference: Values, shape (m,).

    Returns:
        Value in [0, 1]; undefined where either sample is empty.

    Source: Smirnov, Annals of Mathematical Statistics 19 (1948) 279.
    """
    if not found.size or not reference.size:
        return undefined("one of the two samples is empty")
    at = np.concatenate([found, reference])
    below = np.searchsorted(np.sort(found), at, side="right") / found.size
    reference_below = np.searchsorted(np.sort(reference), at, side="right") / reference.size
    return known(float(np.abs(below - reference_below).max()))


def kendall_tau(found: Floats, target: Floats) -> Estimate:
    """Rank correlation of two orders, tau-b: pairs in the same order minus pairs in the opposite one, ties allowed for.

    Args:
        found: One value for each thing, shape (n,).
        target: The same things, same shape.

    Returns:
        Value in [-1, 1], 1 for the same order; undefined for fewer than three things, or where one order is all ties.

    Source: Kendall, Biometrika 33 (1945) 239 (the treatment of ties).
    """
    if found.size < MIN_RANKED:
        return undefined(f"{found.size} things to put in order; at least {MIN_RANKED} are needed")
    above = np.triu_indices(found.size, 1)
    a = np.sign(found[:, None] - found[None, :])[above]
    b = np.sign(target[:, None] - target[None, :])[above]
    untied = float((a != 0).sum()) * float((b != 0).sum())
    if untied == 0:
        return undefined("one of the two orders is all ties")
    return known(float((a * b).sum()) / float(np.sqrt(untied)))


def pair_counts(counts: Floats) -> Floats:
    """How often kinds of things stand together in one text, as unordered pairs of different things.

    Args:
        counts: Different things of each kind in each text, shape (n_texts, n_kinds).

    Returns:
        Shape (n_kinds, n_kinds), symmetric; a pair of one kind counts on the diagonal, a pair of two kinds half on
        either side, so that all cells add up to the number of pairs.
    """
    together = counts.T @ counts
    return (together - np.diag(counts.sum(axis=0))) / 2
