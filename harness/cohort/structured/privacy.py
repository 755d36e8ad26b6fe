"""Differentially private counts: noise from OpenDP, budget split over the queries, and what is made of the answers.

What is protected is one person: two cohorts that differ in one person are to be told apart by a factor of exp(epsilon)
at most (pure differential privacy, add or remove one person).

* Inside one two-way table one person is in one cell, so noise of scale 1 / epsilon in every cell costs epsilon once
  (parallel composition).
* The same person is in every two-way table and in the list of risk factors, so the budgets of the queries add up
  (sequential composition): they are parts of the recipe's epsilon, never epsilon each.
* In the list of risk factors one person may carry all of them, so its sensitivity is their number.

Margins, totals and the joint are read off the noisy two-way tables: post-processing, which costs nothing. Prevalences
by level and odds ratios are not asked for, because they would thin the budget to noise; the task's own stand.
What is private is `population.yaml` and `cells.parquet`. Manifest, ledger and rejected.parquet (input hashes, patient
ids) belong to whoever holds the cohort.

Sources: Dwork and Roth, The Algorithmic Foundations of Differential Privacy (2014), theorems 3.6, 3.16 (Laplace,
composition) and proposition 2.1 (post-processing); McSherry, SIGMOD 2009 (parallel composition) - both recalled;
OpenDP's `make_laplace` (discrete Laplace), whose own accounting is checked below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.cohort.structured.counts import Counts, Pair
from harness.cohort.structured.extras import optional
from harness.cohort.structured.joint import fit_joint, pair_of
from harness.errors import DataError

DEMOGRAPHICS_PART = 0.6  # of epsilon; our own choice: everything else is scaled to the demographics
FACTORS = "risk_factors"
SLACK = 1e-9


@dataclass(frozen=True)
class Query:
    """One noisy list of counts.

    Attributes:
        name: The two variables of a table, or `risk_factors`.
        epsilon: What it costs.
        sensitivity: Counts that one person can change, each by one.
        n_counts: Length of the answer.
    """

    name: str
    epsilon: float
    sensitivity: int
    n_counts: int

    @property
    def scale(self) -> float:
        """Of the Laplace noise, in people."""
        return self.sensitivity / self.epsilon


def plan(epsilon: float, levels: Mapping[str, Sequence[str]], factors: Sequence[str]) -> tuple[Query, ...]:
    """Split a budget: 0.6 of it evenly over the two-way tables, the rest to the risk factors, all where there are none.

    Args:
        epsilon: Of all queries together.
        levels: Variable to its levels; two variables at least.
        factors: Risk factors that are asked for.
    """
    pairs = list(combinations(levels, 2))
    part = DEMOGRAPHICS_PART if factors else 1.0
    queries = [
        Query(_pair_name((a, b)), part * epsilon / len(pairs), 1, len(levels[a]) * len(levels[b])) for a, b in pairs
    ]
    if factors:
        queries.append(Query(FACTORS, (1 - part) * epsilon, len(factors), len(factors)))
    return tuple(queries)


def _pair_name(pair: Pair) -> str:
    return " x ".join(pair)


def draw(counts: Counts, queries: Sequence[Query]) -> dict[str, list[int]]:
    """Noisy answers, once. OpenDP takes no seed, on purpose: noise that can be drawn again is no noise.

    Raises:
        ConfigError: OpenDP is not installed.
        DataError: OpenDP's own accounting gives a query more than its part of the budget.
    """
    dp = optional("opendp.prelude", "cohort.privacy")
    dp.enable_features("contrib")
    answers = {}
    for query in queries:
        exact = _exact(counts, query)
        space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
        measurement = dp.m.make_laplace(*space, scale=query.scale)
        spent = float(measurement.map(query.sensitivity))
        if spent > query.epsilon * (1 + SLACK):
            raise DataError(f"cohort.privacy: {query.name!r} would spend {spent:g}; its part is {query.epsilon:g}")
        answers[query.name] = [int(value) for value in measurement(exact)]
    return answers


def _exact(counts: Counts, query: Query) -> list[int]:
    if query.name == FACTORS:
        return [round(n) for n in counts.carriers.values()]
    table = next(table for pair, table in counts.pairs.items() if _pair_name(pair) == query.name)
    return [round(n) for n in table.ravel()]


def from_answers(
    answers: Mapping[str, Sequence[int]], levels: Mapping[str, tuple[str, ...]], factors: Sequence[str]
) -> Counts:
    """Counts that belong to some population, from noisy ones: clamped at 0, averaged, fitted to one joint.

    Args:
        answers: Query to noisy counts.
        levels: Variable to its levels.
        factors: In the order of their answer.

    Raises:
        DataError: Noise drowned the counts.
    """
    names = list(levels)
    tables = {
        (a, b): np.array(answers[_pair_name((a, b))], dtype=np.float64).reshape(len(levels[a]), len(levels[b]))
        for a, b in combinations(names, 2)
    }
    n = _average([(float(table.sum()), 1 / table.size) for table in tables.values()])
    margins = [_margin(name, tables) for name in names]
    shares = {(names.index(a), names.index(b)): np.clip(table, 0, None) for (a, b), table in tables.items()}
    if n < 1 or any(part.sum() <= 0 for part in (*margins, *shares.values())):
        raise DataError("cohort.privacy: the noise drowned the counts; found no people left in a table; use a larger "
                        "epsilon, or a larger cohort")  # fmt: skip
    joint, _ = fit_joint(
        [margin / margin.sum() for margin in margins], {axes: table / table.sum() for axes, table in shares.items()}
    )
    carriers = dict(zip(factors, answers.get(FACTORS, ()), strict=True))
    return Counts(
        n=n,
        levels=levels,
        margins={name: n * pair_of(joint, (axis,)) for axis, name in enumerate(names)},
        pairs={(a, b): n * pair_of(joint, (names.index(a), names.index(b))) for a, b in tables},
        carriers={factor: float(np.clip(found, 0, n)) for factor, found in carriers.items()},
        carriers_by={},
        carriers_both={},
    )


def _average(found: Sequence[tuple[float, float]]) -> float:
    """Mean with the given weights (one over the number of noisy cells behind each, hence over its variance)."""
    values, weights = zip(*found, strict=True)
    return float(np.average(values, weights=weights))


def _margin(name: str, tables: Mapping[Pair, NDArray[np.float64]]) -> NDArray[np.float64]:
    """A variable's counts averaged over the tables it is in, clamped at 0, shape (n_levels,)."""
    sums, weights = [], []
    for pair, table in tables.items():
        if name in pair:
            across = 1 - pair.index(name)
            sums.append(table.sum(axis=across))
            weights.append(1 / table.shape[across])
    margin: NDArray[np.float64] = np.clip(np.average(sums, axis=0, weights=weights), 0, None)
    return margin
