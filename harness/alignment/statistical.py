"""Statistical alignment: a target population in, personas out that match it as closely as their number allows.

The joint of the demographics is raked to every target; whole people are then given out by quota, one variable after the
other, so that each margin is within 1 / N of its target; correlated risk factors follow, by quota too. The table is
built column by column: a hundred thousand personas are no list of objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.alignment.carriers import draw_carriers
from harness.alignment.risk import RiskModel, fit_risk_model
from harness.alignment.rounding import close_columns, fit_table, largest_remainder, round_table
from harness.joint import Joint, raked_joint
from harness.schemas.population import AgeDistribution, Population
from harness.schemas.population_checks import AGE_VARIABLE
from harness.schemas.tables import PERSONAS

ID_WIDTH = 6
CELL_SEPARATOR = "|"


@dataclass(frozen=True)
class PersonaModel:
    """A population ready to be drawn from."""

    joint: Joint
    risk: RiskModel
    ages: Mapping[str, AgeDistribution]


def persona_id(index: int) -> str:
    """The id of a persona does not depend on how many there are, and neither do the draws named after it."""
    return f"persona-{index + 1:0{ID_WIDTH}d}"


def fit_personas(population: Population) -> PersonaModel:
    """Reconcile all targets of a population.

    Raises:
        ConfigError: Targets that contradict each other, by name.
    """
    joint = raked_joint(population)
    return PersonaModel(joint=joint, risk=fit_risk_model(population, joint), ages=population.age_years)


def draw_personas(model: PersonaModel, n: int, rng: np.random.Generator) -> pa.Table:
    """Draw `n` personas whose margins and prevalences are within 1 / n of the population's.

    The first k of them are near the margins too, so an arm that needs fewer can take the first ones.

    Args:
        model: As fitted.
        n: At least 1.
        rng: Decides who gets which combination; the margins do not depend on it.

    Returns:
        Rows of the personas table in the order of their ids, with a column for each variable of the population.
    """
    joint = model.joint
    codes = _order_evenly(_quota_cells(joint, n, rng), joint, rng)  # (n, n_variables)
    levels = {
        variable: np.array(names, dtype=object)[codes[:, axis]]
        for axis, (variable, names) in enumerate(joint.levels.items())
    }
    ages = _draw_ages(levels[AGE_VARIABLE], model.ages, rng)
    cells = np.ravel_multi_index(tuple(codes.T), joint.probability.shape)
    carried = draw_carriers(model.risk, cells, list(codes.T), rng)
    nowhere = {name: pa.nulls(n, pa.string()) for name in PERSONAS.nullable if name not in levels}
    return pa.table(
        {
            "persona_id": [persona_id(index) for index in range(n)],
            "age_years": ages,
            **{variable: pa.array(values, pa.string()) for variable, values in levels.items()},
            **nowhere,
            "risk_factors": _risk_lists(carried, n),
            "cell_id": _cell_ids(joint, cells),
        }
    )


def _risk_lists(carried: Mapping[str, NDArray[np.bool_]], n: int) -> pa.ListArray:
    """Ids of the factors that each person carries, sorted."""
    names = sorted(carried)
    has = np.stack([carried[name] for name in names], axis=1) if names else np.zeros((n, 0), dtype=np.bool_)
    offsets = np.concatenate([[0], np.cumsum(has.sum(axis=1))]).astype(np.int32)
    factor = np.nonzero(has)[1]  # row by row
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.array(names, dtype=object)[factor], pa.string()))


def _cell_ids(joint: Joint, cells: NDArray[np.int64]) -> pa.Array:
    labels = list(joint.labels().values())
    names = np.array([CELL_SEPARATOR.join(parts) for parts in zip(*labels, strict=True)], dtype=object)
    return pa.array(names[cells], pa.string())


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
