"""Risk factors of personas: prevalences within 1 / N, groups unequal as the ratios say, no impossible combinations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.alignment.rounding import scale_to, systematic
from harness.schemas.population import Population


def draw_risk_factors(
    population: Population, levels: Mapping[str, NDArray[np.object_]], rng: np.random.Generator
) -> dict[str, NDArray[np.bool_]]:
    """Who carries which factor.

    A factor's number of carriers is its prevalence times the number of people, rounded; who they are is a systematic
    sample, spread over the demographics, with probabilities in the proportions of `relative_risk`.

    Args:
        population: Prevalences, ratios and rules.
        levels: Variable to the level of each person, shape (n,) each.
        rng: One stream for all factors, used in their order.

    Returns:
        Factor to carriers, shape (n,) each.
    """
    n = len(next(iter(levels.values())))
    same_as = {rule.factor: rule for rule in population.risk_rules.same_as}
    carried: dict[str, NDArray[np.bool_]] = {}
    for factor in _parents_first(population):
        if factor in same_as:
            carried[factor] = levels[same_as[factor].variable] == same_as[factor].level
            continue
        weights = np.where(_eligible(factor, population, carried, n), relative_risk(population, factor, levels), 0.0)
        wanted = min(int(population.risk_factors[factor].v * n + 0.5), int(np.count_nonzero(weights)))
        carried[factor] = systematic(scale_to(weights, wanted), _spread(levels, rng), rng)
    return {factor: carried[factor] for factor in population.risk_factors}


def relative_risk(
    population: Population, factor: str, levels: Mapping[str, NDArray[np.object_]]
) -> NDArray[np.float64]:
    """Prevalence of a factor for each person before scaling to the target: base times ratios, clipped; shape (n,)."""
    n = len(next(iter(levels.values())))
    risk = np.full(n, population.risk_factors[factor].v)
    for variable, tables in population.risk_factor_ratios.items():
        if factor in tables:
            risk *= _look_up(levels[variable], tables[factor].values)
    for variable, reference in population.risk_factor_reference.items():
        if factor in reference.values:
            found = {level: reference.values[factor][theirs] for level, theirs in reference.levels.items()}
            mean = sum(share * found[level] for level, share in population.shares(variable).items())
            risk *= _look_up(levels[variable], {level: value / mean for level, value in found.items()})
    bounds = population.risk_factor_bounds
    return risk if bounds is None else np.clip(risk, bounds.low, bounds.high)


def _look_up(values: NDArray[np.object_], table: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array([table.get(value, 1.0) for value in values], dtype=np.float64)


def _parents_first(population: Population) -> list[str]:
    """Factors in the file's order, but each after those that it requires."""
    requires: dict[str, list[str]] = {}
    for rule in population.risk_rules.requires:
        requires.setdefault(rule.factor, []).append(rule.requires)
    order: list[str] = []

    def place(factor: str) -> None:
        for parent in requires.get(factor, ()):
            place(parent)
        if factor not in order:
            order.append(factor)

    for same in population.risk_rules.same_as:
        place(same.factor)
    for factor in population.risk_factors:
        place(factor)
    return order


def _eligible(
    factor: str, population: Population, carried: Mapping[str, NDArray[np.bool_]], n: int
) -> NDArray[np.bool_]:
    """People who can carry the factor, given what they carry already."""
    eligible = np.ones(n, dtype=np.bool_)
    for rule in population.risk_rules.requires:
        if rule.factor == factor:
            eligible &= carried[rule.requires]
    for group in population.risk_rules.exclusive:
        if factor in group:
            for other in group:
                if other in carried:
                    eligible &= ~carried[other]
    return eligible


def _spread(levels: Mapping[str, NDArray[np.object_]], rng: np.random.Generator) -> NDArray[np.int64]:
    """People sorted by their demographics, in random order inside a cell: carriers then spread over the cells."""
    codes = [np.unique(values.astype(str), return_inverse=True)[1] for values in levels.values()]
    return np.lexsort((rng.random(len(codes[0])), *reversed(codes)))
