"""Statistical alignment: a target population in, personas out that match it as closely as their number allows.

The joint of the demographics is raked to every target; whole people are then given out by quota, one variable after the
other, so that each margin is within 1 / N of its target; risk factors follow by systematic sampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.alignment.raking import CONFLICT, Target, rake
from harness.alignment.risk import draw_risk_factors
from harness.alignment.rounding import close_columns, fit_table, largest_remainder, round_table
from harness.errors import ConfigError
from harness.schemas.population import AgeDistribution, ConditionalShare, Population
from harness.schemas.population_checks import AGE_VARIABLE

ID_WIDTH = 6
CELL_SEPARATOR = "|"


@dataclass(frozen=True)
class Joint:
    """The raked joint of the demographics.

    Attributes:
        levels: Variable to its levels, in the order of the axes of `probability`.
        probability: Shape (n_levels of variable 1, ..., n_levels of variable k), adding up to 1.
    """

    levels: Mapping[str, tuple[str, ...]]
    probability: NDArray[np.float64]

    def margin(self, *variables: str) -> NDArray[np.float64]:
        """Shares over some of the variables, axes in the order of the joint."""
        drop = tuple(axis for axis, name in enumerate(self.levels) if name not in variables)
        shares: NDArray[np.float64] = self.probability.sum(axis=drop)
        return shares


@dataclass(frozen=True)
class Persona:
    persona_id: str
    age_years: int
    demographics: Mapping[str, str]
    """Variable to level."""
    risk_factors: tuple[str, ...]
    """Ids of the factors carried, sorted."""

    @property
    def cell_id(self) -> str:
        return CELL_SEPARATOR.join(self.demographics.values())

    def row(self) -> dict[str, Any]:
        """As the personas table holds it."""
        return {
            "persona_id": self.persona_id,
            "age_years": self.age_years,
            **self.demographics,
            "risk_factors": list(self.risk_factors),
            "cell_id": self.cell_id,
        }


def persona_id(index: int) -> str:
    """The id of a persona does not depend on how many there are, and neither do the draws named after it."""
    return f"persona-{index + 1:0{ID_WIDTH}d}"


def draw_personas(population: Population, n: int, rng: np.random.Generator) -> list[Persona]:
    """Draw `n` personas whose margins are within 1 / n of the population's.

    The first k of them are near the margins too, so an arm that needs fewer can take the first ones.

    Args:
        population: Targets, as loaded and checked.
        n: At least 1.
        rng: Decides who gets which combination; the margins do not depend on it.

    Returns:
        Personas in the order of their ids.

    Raises:
        ConfigError: Targets that contradict each other.
    """
    joint = raked_joint(population)
    cells = _order_evenly(_quota_cells(joint, n, rng), joint, rng)
    levels = {
        variable: np.array(names, dtype=object)[cells[:, axis]]
        for axis, (variable, names) in enumerate(joint.levels.items())
    }
    ages = _draw_ages(levels[AGE_VARIABLE], population.age_years, rng)
    carried = draw_risk_factors(population, levels, rng)
    return [
        Persona(
            persona_id=persona_id(index),
            age_years=int(ages[index]),
            demographics={variable: str(values[index]) for variable, values in levels.items()},
            risk_factors=tuple(sorted(factor for factor, has in carried.items() if has[index])),
        )
        for index in range(n)
    ]


# -- the joint ---------------------------------------------------------------------------------------------------------


def raked_joint(population: Population) -> Joint:
    """The joint closest to independence times the associations that meets every margin and two-way share.

    Raises:
        ConfigError: Targets that contradict each other, by name.
    """
    levels = {variable: tuple(shares) for variable, shares in population.margins.items()}
    axes = {variable: axis for axis, variable in enumerate(levels)}
    shape = tuple(len(names) for names in levels.values())
    codes = np.indices(shape).reshape(len(shape), -1)  # (n_variables, n_cells)
    seed = np.ones(codes.shape[1])
    for association in population.associations.values():
        ratio = np.array([association.values.get(level, 1.0) for level in levels[association.given]])
        touched = codes[axes[association.variable]] == levels[association.variable].index(association.level)
        seed *= np.where(touched, ratio[codes[axes[association.given]]], 1.0)
    targets = [
        Target(
            f"margins.{variable}", codes[axis], np.array(list(population.shares(variable).values())), levels[variable]
        )
        for variable, axis in axes.items()
    ]
    for name, table in population.conditional_shares.items():
        targets.append(_two_way_target(f"conditional_shares.{name}", table, population, codes, levels))
    return Joint(levels=levels, probability=rake(seed, targets).reshape(shape))


def _two_way_target(
    name: str,
    table: ConditionalShare,
    population: Population,
    codes: NDArray[np.int64],
    levels: Mapping[str, tuple[str, ...]],
) -> Target:
    axes = list(levels)
    given = population.shares(table.given)
    share = _reconcile(name, table, population)
    inside = codes[axes.index(table.variable)] == levels[table.variable].index(table.level)
    group = codes[axes.index(table.given)] * 2 + inside
    wanted = np.array(
        [part for level in given for part in ((1 - share[level]) * given[level], share[level] * given[level])]
    )
    names = tuple(f"{label} in {level}" for level in given for label in (f"not {table.level}", table.level))
    return Target(name, group.astype(np.int64), wanted, names)


def _reconcile(name: str, table: ConditionalShare, population: Population) -> dict[str, float]:
    """Shares by level, moved by one factor on the odds (`tolerance` at most) so that their mixture is the margin."""
    given = population.shares(table.given)
    margin = population.shares(table.variable)[table.level]
    weights = np.array(list(given.values()))
    shares = np.array([table.values[level] for level in given])
    low, high = -20.0, 20.0  # log odds factor
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if float(weights @ _shift(shares, middle)) < margin else (low, middle)
    moved = _shift(shares, (low + high) / 2)
    mixture = float(weights @ shares)
    if abs(mixture - margin) <= CONFLICT:
        return dict(zip(given, shares.tolist(), strict=True))
    if abs(float(weights @ moved) - margin) > CONFLICT or float(np.abs(moved - shares).max()) > table.tolerance:
        raise ConfigError(
            f"targets contradict each other: {name} mixes to {mixture:.4f} of {table.level}, but "
            f"margins.{table.variable} wants {margin:.4f}; change one of them, or raise the tolerance of {name} "
            f"(now {table.tolerance:g})"
        )
    return dict(zip(given, moved.tolist(), strict=True))


def _shift(shares: NDArray[np.float64], log_odds: float) -> NDArray[np.float64]:
    factor = math.exp(log_odds)
    shifted: NDArray[np.float64] = shares * factor / (shares * factor + 1 - shares)
    return shifted


# -- whole people ------------------------------------------------------------------------------------------------------


def _quota_cells(joint: Joint, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Level codes of `n` people, shape (n, n_variables), unordered; every margin is its largest-remainder quota."""
    groups = np.zeros((1, 0), dtype=np.int64)  # combinations given out so far, (n_groups, n_variables so far)
    counts = np.array([n], dtype=np.int64)
    for axis, variable in enumerate(joint.levels):
        later = tuple(range(axis + 1, joint.probability.ndim))
        upto = joint.probability.sum(axis=later)
        within = upto[tuple(groups.T)] if axis else upto[None, :]  # (n_groups, n_levels)
        expected = within / within.sum(axis=1, keepdims=True) * counts[:, None]
        fitted = fit_table(expected, counts, largest_remainder(joint.margin(variable), n))
        # Where zeros of the joint forbid the quota, the expected column sums are rounded instead.
        whole = round_table(close_columns(expected) if fitted is None else fitted, rng)[: len(groups)]
        group, level = np.nonzero(whole)
        groups = np.column_stack([groups[group], level])
        counts = whole[group, level]
    return np.repeat(groups, counts, axis=0)


def _order_evenly(cells: NDArray[np.int64], joint: Joint, rng: np.random.Generator) -> NDArray[np.int64]:
    """The same people in an order in which every beginning is near the margins of all of them.

    Greedy: next comes the combination whose levels are furthest behind; chance breaks ties.
    """
    distinct, remaining = np.unique(cells, axis=0, return_counts=True)
    blocks = [np.eye(len(names))[distinct[:, axis]] for axis, names in enumerate(joint.levels.values())]
    member = np.concatenate(blocks, axis=1)  # (n_distinct, n_levels of all variables)
    share = remaining @ member / len(cells)
    given = np.zeros(member.shape[1])
    order = np.empty(len(cells), dtype=np.int64)
    ties = rng.random((len(cells), 1)) if len(cells) else np.empty((0, 1))
    jitter = rng.permutation(len(distinct)) / max(len(distinct), 1)
    for step in range(len(cells)):
        behind = member @ (share * (step + 1) - given) + 1e-6 * ((jitter + ties[step, 0]) % 1)
        behind[remaining == 0] = -np.inf
        chosen = int(behind.argmax())
        order[step] = chosen
        remaining[chosen] -= 1
        given += member[chosen]
    return distinct[order]


def _draw_ages(
    bands: NDArray[np.object_], distributions: Mapping[str, AgeDistribution], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Ages in whole years; inside a band they follow its distribution evenly, not by independent draws."""
    ages = np.zeros(len(bands), dtype=np.int64)
    for band, distribution in distributions.items():
        where = np.flatnonzero(bands == band)
        levels = (np.arange(len(where)) + rng.random()) / max(len(where), 1)  # one quantile per person
        years = np.arange(distribution.low, distribution.high + 1)
        share = np.ones(len(years)) if distribution.p is None else (1 - distribution.p) ** np.arange(len(years))
        quantile = np.searchsorted(np.cumsum(share / share.sum()), levels, side="right")
        ages[where] = rng.permutation(years[np.minimum(quantile, len(years) - 1)])
    return ages
