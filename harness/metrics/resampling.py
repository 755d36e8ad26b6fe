"""Draws of patients and train seeds, and sums under all of them at once.

Sentences of one patient resemble each other, so patients are what is drawn. A replicate is a vector of multiplicities
(how often each patient was drawn); whatever is a sum over sentences is, for all replicates at once, one matrix product
of multiplicities and per-patient sums. All mixes meet the same multiplicities: that makes their contrasts paired.

Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), sec. 3.8 (drawing whole clusters).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Floats

Multiplicities = NDArray[Any]  # integers of any dtype, shape (n_replicates, n_patients)

CHUNK_VALUES = 1 << 23  # values per temporary: 32 MB of float32, 64 MB of float64


def draw_patients(n_patients: int, n_replicates: int, *, rng: np.random.Generator) -> NDArray[np.uint8]:
    """How often each patient is drawn when n_patients are drawn with replacement.

    Returns:
        Shape (n_replicates, n_patients); every row adds up to n_patients.
    """
    drawn = np.empty((n_replicates, n_patients), dtype=np.uint8)  # a multiplicity past 255 has probability below 1e-500
    step = max(1, CHUNK_VALUES // max(1, n_patients))
    for start in range(0, n_replicates, step):
        n_rows = min(step, n_replicates - start)
        picked = rng.integers(n_patients, size=(n_rows, n_patients))
        picked += np.arange(n_rows)[:, None] * n_patients
        counted = np.bincount(picked.ravel(), minlength=n_rows * n_patients)
        drawn[start : start + n_rows] = counted.reshape(n_rows, n_patients)
    return drawn


def draw_seeds(n_seeds: int, n_replicates: int, *, rng: np.random.Generator) -> Floats:
    """Share of each train seed when n_seeds are drawn with replacement, shape (n_replicates, n_seeds).

    With one seed every share is 1. With few seeds the spread between them is underestimated, by a factor of
    (n_seeds - 1) / n_seeds in the variance; `significance.two_level_noise` scales that away.
    """
    return rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_replicates) / n_seeds


def draw_swaps(n_patients: int, n_permutations: int, *, rng: np.random.Generator) -> NDArray[np.uint8]:
    """1 where a patient's predictions change sides, by a fair coin; shape (n_permutations, n_patients)."""
    return rng.integers(2, size=(n_permutations, n_patients), dtype=np.uint8)


def resample_sums(per_patient: NDArray[Any], multiplicities: Multiplicities) -> Floats:
    """Sums over patients under each replicate.

    The sums are of integers and exact, so they do not depend on the order in which a machine's linear algebra adds.

    Args:
        per_patient: Integer counts, shape (n_patients, ...).
        multiplicities: Shape (n_replicates, n_patients); give float32 where it is used many times.

    Returns:
        Shape (n_replicates, ...); replicates lie innermost, so that sums over the few classes run over long rows.
    """
    n_replicates, n_patients = multiplicities.shape
    flat = per_patient.reshape(n_patients, -1)
    # Multiplicities add up to n_patients, so this bounds every sum; float32 holds integers exactly up to 2**24.
    bound = np.abs(flat).max(initial=0) * n_patients
    dtype: type[np.float32 | np.float64] = np.float32 if bound < 2**24 else np.float64
    columns = np.ascontiguousarray(flat.T, dtype=dtype)
    sums = np.empty((flat.shape[1], n_replicates))
    step = max(1, CHUNK_VALUES // max(1, n_patients))
    for start in range(0, n_replicates, step):
        drawn = multiplicities[start : start + step].astype(dtype, copy=False)
        sums[:, start : start + step] = np.matmul(columns, drawn.T)
    return np.moveaxis(sums.reshape(*per_patient.shape[1:], n_replicates), -1, 0)
