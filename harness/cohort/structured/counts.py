"""People in, counts out: margins and all pairs of the demographics, risk factors by demographics and by one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.cohort.structured.people import People

Pair = tuple[str, str]


@dataclass(frozen=True)
class Counts:
    """Tables of numbers of people, all over the same people. Private counts are not whole numbers.

    Attributes:
        n: All of them.
        levels: Variable to its levels.
        margins: Variable to counts, shape (n_levels,).
        pairs: Two variables to counts, shape (n_levels of the first, n_levels of the second).
        carriers: Risk factor to who carries it.
        carriers_by: (factor, variable) to carriers in each level, shape (n_levels,); empty where it was not counted.
        carriers_both: Two factors to who carries both; empty where it was not counted.
    """

    n: float
    levels: Mapping[str, tuple[str, ...]]
    margins: Mapping[str, NDArray[np.float64]]
    pairs: Mapping[Pair, NDArray[np.float64]]
    carriers: Mapping[str, float]
    carriers_by: Mapping[Pair, NDArray[np.float64]]
    carriers_both: Mapping[Pair, float]


def count(people: People) -> Counts:
    """Count complete people; one pass over each pair of columns, one matrix product for all pairs of factors."""
    sizes = {name: len(levels) for name, levels in people.levels.items()}
    pairs = {}
    for a, b in combinations(people.levels, 2):
        flat = np.bincount(people.codes[a] * sizes[b] + people.codes[b], minlength=sizes[a] * sizes[b])
        pairs[a, b] = flat.reshape(sizes[a], sizes[b]).astype(np.float64)
    margins = {
        name: np.bincount(column, minlength=sizes[name]).astype(np.float64) for name, column in people.codes.items()
    }
    factors = list(people.factors)
    carried = np.column_stack([people.factors[name] for name in factors]) if factors else np.zeros((len(people), 0))
    both = carried.T.astype(np.float64) @ carried.astype(np.float64)  # (n_factors, n_factors)
    return Counts(
        n=float(len(people)),
        levels=people.levels,
        margins=margins,
        pairs=pairs,
        carriers={name: float(both[index, index]) for index, name in enumerate(factors)},
        carriers_by={
            (factor, name): np.bincount(column, people.factors[factor].astype(np.float64), sizes[name]).astype(
                np.float64
            )
            for factor in factors
            for name, column in people.codes.items()
        },
        carriers_both={(factors[i], factors[j]): float(both[i, j]) for i, j in combinations(range(len(factors)), 2)},
    )
