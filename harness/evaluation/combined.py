"""One number made of several: a mean over train seeds, a difference of mixes, of levels, or of differences.

All of them are sums of the same metric over mixes and slices with coefficients, so their value, their replicates and
their standard errors are the same sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.evaluation.by_subgroup import Measured, Resampling
from harness.metrics.counts import Floats
from harness.metrics.estimate import Estimate
from harness.metrics.significance import two_level_noise
from harness.metrics.uncertainty import Spread, effective_patients, spread_of
from harness.metrics.utility import Column

Term = tuple[Measured, Sequence[float]]  # a slice, and a coefficient for each of its mixes


@dataclass(frozen=True)
class Combined:
    """A sum of one metric over mixes and slices.

    Attributes:
        value: Mean over train seeds.
        by_seed: Shape (n_seeds,).
        replicates: Under each replicate of patients, shape (n_replicates, n_seeds), NaN where undefined.
        spread: Standard errors.
        largest: How large a sum of coefficients that add up to 0 can be where the metric lies between 0 and 1.
    """

    value: float
    by_seed: Floats
    replicates: Floats
    spread: Spread
    largest: float


def without_value(terms: Sequence[Term], column: Column) -> Estimate | None:
    """The first estimate with a coefficient that has no value, or None where the sum can be made."""
    for measured, coefficients in terms:
        for estimates, coefficient in zip(measured.overall, coefficients, strict=True):
            if coefficient and estimates[column].value is None:
                return estimates[column]
    return None


def combine(terms: Sequence[Term], column: Column) -> Combined:
    """The sum over `terms`; every estimate with a coefficient has a value (`without_value`).

    Where slices differ, the number of patients is that of the smallest.
    """
    by_seed: Floats = np.zeros(0)
    replicates: Floats = np.zeros(0)
    n_patients, n_effective, largest = [], [], 0.0
    for measured, coefficients in terms:
        used = [m for m, coefficient in enumerate(coefficients) if coefficient]
        for m in used:
            values = np.array([seed[column].value for seed in measured.by_seed[m]], dtype=np.float64)
            drawn = measured.replicates[column][:, m]
            largest += abs(coefficients[m]) / 2
            by_seed = coefficients[m] * values + (by_seed if by_seed.size else 0.0)
            replicates = coefficients[m] * drawn + (replicates if replicates.size else 0.0)
        n_patients.append(measured.part.patients.size)
        n_effective.append(_effective(measured, column, used))
    spread = spread_of(replicates, by_seed, n_patients=min(n_patients), n_effective=min(n_effective))
    return Combined(float(by_seed.mean()), by_seed, replicates, spread, largest)


def noise_of(found: Sequence[Combined], drawn: Resampling) -> Floats:
    """How far numbers move with other patients and train seeds, shape (n_replicates, n_numbers).

    Numbers without a standard error are left out.
    """
    told = [one for one in found if one.spread.reason is None]
    noise = [two_level_noise(one.replicates, one.by_seed, drawn.seeds, one.spread) for one in told]
    return np.stack(noise, axis=1) if noise else np.zeros((0, 0))


def _effective(measured: Measured, column: Column, mixes: Sequence[int]) -> float:
    """Effective patients: those who have the class where the metric is of one, and by how unequal their numbers are."""
    name, k = column
    _, true, predicted = measured.tallies
    sizes = measured.n_sentences
    if k is None:
        return effective_patients(sizes, sizes.size)
    has_it, was_given_it = true[:, 0, 0, k] > 0, (predicted[..., k][:, mixes] > 0).any(axis=(1, 2))
    carrying = {"precision": was_given_it, "f1": has_it | was_given_it}.get(name, has_it)
    return effective_patients(sizes, int(carrying.sum()))
