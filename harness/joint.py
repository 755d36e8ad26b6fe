"""The joint of the demographics: margins, two-way tables and a seed in, one probability for every combination out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigError
from harness.raking import CONFLICT, Target, rake
from harness.schemas.population import ConditionalShare, Population, TwoWay
from harness.schemas.population_checks import SEED_COUNT


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

    def codes(self) -> NDArray[np.int64]:
        """Level of every variable in every cell of the flat joint, shape (n_variables, n_cells)."""
        return np.indices(self.probability.shape).reshape(self.probability.ndim, -1).astype(np.int64)

    def labels(self) -> dict[str, NDArray[np.object_]]:
        """Variable to the level of every cell of the flat joint, shape (n_cells,) each."""
        return {
            variable: np.array(names, dtype=object)[codes]
            for (variable, names), codes in zip(self.levels.items(), self.codes(), strict=True)
        }


def raked_joint(population: Population) -> Joint:
    """The joint closest to the seed times the associations that meets every margin, two-way table and share.

    Closest in the sense of raking: it has the seed's odds ratios wherever no target speaks of them.

    Raises:
        ConfigError: Targets that contradict each other, by name.
    """
    levels = {variable: tuple(shares) for variable, shares in population.margins.items()}
    shape = tuple(len(names) for names in levels.values())
    blank = Joint(levels=levels, probability=np.ones(shape))
    codes = dict(zip(levels, blank.codes(), strict=True))
    targets = [
        Target(
            f"margins.{variable}",
            codes[variable],
            np.array(list(population.shares(variable).values())),
            levels[variable],
        )
        for variable in levels
    ]
    for name, table in population.two_way.items():
        targets.append(_two_way_target(f"two_way.{name}", table, population, codes))
    for name, shares in population.conditional_shares.items():
        targets.append(_share_target(f"conditional_shares.{name}", shares, population, codes))
    return Joint(levels=levels, probability=rake(_seed(population, codes), targets).reshape(shape))


def _seed(population: Population, codes: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """Where raking starts, shape (n_cells,): counts or independence, times the associations."""
    levels = {variable: list(shares) for variable, shares in population.margins.items()}
    seed = np.ones(len(next(iter(codes.values()))))
    if population.joint_seed is not None:
        variables = population.joint_seed.variables
        counts = np.full([len(levels[name]) for name in variables], population.joint_seed.rest)
        for cell in population.joint_seed.cells:
            counts[tuple(levels[name].index(str(cell[name])) for name in variables)] = float(cell[SEED_COUNT])
        seed = counts[tuple(codes[name] for name in variables)]
    for association in population.associations.values():
        ratio = np.array([association.values.get(level, 1.0) for level in levels[association.given]])
        touched = codes[association.variable] == levels[association.variable].index(association.level)
        seed = seed * np.where(touched, ratio[codes[association.given]], 1.0)
    return seed


# -- targets -----------------------------------------------------------------------------------------------------------


def _two_way_target(name: str, table: TwoWay, population: Population, codes: Mapping[str, NDArray[np.int64]]) -> Target:
    """The table raked to the margins, which it gives within its tolerance (checked on load)."""
    rows, columns = (population.shares(variable) for variable in table.variables)
    first, second = np.indices((len(rows), len(columns))).reshape(2, -1)
    wanted = np.array([table.values[row][column] for row in rows for column in columns])
    margins = [
        Target(f"margins.{variable}", group, np.array(list(shares.values())), tuple(shares))
        for variable, group, shares in zip(table.variables, (first, second), (rows, columns), strict=True)
    ]
    try:
        fitted = rake(wanted, margins)
    except ConfigError as error:
        raise ConfigError(f"{name}: its empty combinations do not allow the margins: {error}") from None
    group = codes[table.variables[0]] * len(columns) + codes[table.variables[1]]
    return Target(name, group, fitted, tuple(f"{row} and {column}" for row in rows for column in columns))


def _share_target(
    name: str, table: ConditionalShare, population: Population, codes: Mapping[str, NDArray[np.int64]]
) -> Target:
    given = population.shares(table.given)
    margin = population.shares(table.variable)[table.level]
    where = f"margins.{table.variable} wants"
    share = reconcile(name, table.level, table.values, given, overall=(where, margin), tolerance=table.tolerance)
    inside = codes[table.variable] == list(population.margins[table.variable]).index(table.level)
    group = codes[table.given] * 2 + inside
    wanted = np.array(
        [part for level in given for part in ((1 - share[level]) * given[level], share[level] * given[level])]
    )
    names = tuple(f"{label} in {level}" for level in given for label in (f"not {table.level}", table.level))
    return Target(name, group.astype(np.int64), wanted, names)


def reconcile(
    name: str,
    level: str,
    values: Mapping[str, float],
    given: Mapping[str, float],
    *,
    overall: tuple[str, float],
    tolerance: float,
) -> dict[str, float]:
    """Shares inside groups, moved by one factor on the odds so that their mixture is the overall share.

    Args:
        name: Of the table, for messages.
        level: What has the share, for messages.
        values: Group to share inside it.
        given: Group to its share of all people.
        overall: Who wants what, e.g. ("margins.sex wants", 0.61).
        tolerance: How far a share may be moved.

    Raises:
        ConfigError: Further than the tolerance.
    """
    where, margin = overall
    weights = np.array(list(given.values()))
    shares = np.array([values[group] for group in given])
    mixture = float(weights @ shares)
    moved = shift_to(shares, weights, margin)
    too_far = abs(float(weights @ moved) - margin) > CONFLICT or float(np.abs(moved - shares).max()) > tolerance
    if abs(mixture - margin) > CONFLICT and too_far:
        raise ConfigError(
            f"targets contradict each other: {name} mixes to {mixture:.4f} of {level}, but {where} {margin:.4f}; "
            f"change one of them, or raise the tolerance of {name} (now {tolerance:g})"
        )
    return dict(zip(given, moved.tolist(), strict=True))


def shift_to(shares: NDArray[np.float64], weights: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Multiply the odds of all shares by the one factor that makes their weighted mean `mean`; 0 and 1 stay."""
    low, high = -20.0, 20.0  # log of the factor
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if float(weights @ _shift(shares, middle)) < mean else (low, middle)
    return _shift(shares, (low + high) / 2)


def _shift(shares: NDArray[np.float64], log_odds: float) -> NDArray[np.float64]:
    factor = math.exp(log_odds)
    shifted: NDArray[np.float64] = shares * factor / (shares * factor + 1 - shares)
    return shifted
