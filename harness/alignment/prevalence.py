"""How common each risk factor is in each demographic cell: ratios and conditional prevalences, inside what rules allow.

Nothing is drawn here. The overall prevalence always holds; ratios decide how it is spread over the cells; conditional
prevalences then change the spread until they hold too, keeping the odds ratios that no target speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.alignment.rounding import scale_to
from harness.errors import ConfigError
from harness.joint import Joint, reconcile
from harness.raking import Target, rake
from harness.schemas.population import Population, RiskAssociation


def cell_prevalences(population: Population, joint: Joint) -> dict[str, NDArray[np.float64]]:
    """Prevalence of every factor in every cell of the flat joint.

    Returns:
        Factor to prevalences in [0, 1], shape (n_cells,) each; parents first, so each after what it requires. No factor
        is commoner in a cell than what it requires, and factors that exclude each other add up to 1 at most.

    Raises:
        ConfigError: Conditional prevalences that contradict each other or the rules, by name.
    """
    labels, mass = joint.labels(), joint.probability.ravel()
    same_as = {rule.factor: rule for rule in population.risk_rules.same_as}
    found: dict[str, NDArray[np.float64]] = {
        factor: (labels[rule.variable] == rule.level).astype(np.float64) for factor, rule in same_as.items()
    }
    for factor in parents_first(population):
        if factor in same_as:
            continue
        room = _room(population, factor, found)
        weights = mass * room * relative_risk(population, factor, labels)
        carriers = scale_to(weights, population.risk_factors[factor].v, limit=mass * room)
        prevalence = np.divide(carriers, mass, out=np.zeros_like(mass), where=mass > 0)
        targets = _targets(population, factor, labels, found)
        found[factor] = _meet(prevalence, room, mass, targets) if targets else prevalence
    return {factor: found[factor] for factor in parents_first(population)}


def relative_risk(
    population: Population, factor: str, levels: Mapping[str, NDArray[np.object_]]
) -> NDArray[np.float64]:
    """Prevalence of a factor in each cell before scaling to the target: base times ratios, clipped.

    Returns:
        Shape (n_cells,).
    """
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


def parents_first(population: Population) -> list[str]:
    """Factors in the file's order, demographic levels first and each after what it requires."""
    requires = {rule.factor: rule.requires for rule in population.risk_rules.requires}
    order: dict[str, None] = {}

    def place(factor: str) -> None:
        if factor in requires:
            place(requires[factor])
        order[factor] = None

    for same in population.risk_rules.same_as:
        place(same.factor)
    for factor in population.risk_factors:
        place(factor)
    return list(order)


def exclusive_with(population: Population, factor: str) -> tuple[str, ...]:
    """The group of factors, this one included, of which a person carries at most one; empty where it is in none."""
    return next((group for group in population.risk_rules.exclusive if factor in group), ())


def _room(population: Population, factor: str, found: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64] | float:
    """Share of each cell that can carry the factor, given the factors that have been placed."""
    requires = {rule.factor: rule.requires for rule in population.risk_rules.requires}
    room: NDArray[np.float64] | float = found[requires[factor]] if factor in requires else 1.0
    for other in exclusive_with(population, factor):
        if other in found:
            room = np.clip(room - found[other], 0.0, 1.0)
    return room


# -- conditional prevalences -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Prevalences:
    """Wanted prevalence in every group of cells."""

    name: str
    group: NDArray[np.int64]  # (n_cells,)
    wanted: NDArray[np.float64]  # (n_groups,)
    names: tuple[str, ...]


def _targets(
    population: Population,
    factor: str,
    labels: Mapping[str, NDArray[np.object_]],
    found: Mapping[str, NDArray[np.float64]],
) -> list[_Prevalences]:
    overall = population.risk_factors[factor].v
    targets = []
    for variable, tables in population.risk_factor_prevalence.items():
        if factor not in tables:
            continue
        given = population.shares(variable)
        name = f"risk_factor_prevalence.{variable}.{factor}"
        wants = (f"risk_factors.{factor} is", overall)
        table = tables[factor]
        # The mixture is within the tolerance (checked on load); a single level may then move a little further.
        share = reconcile(name, factor, table.values, given, overall=wants, tolerance=1.0)
        group = np.searchsorted(sorted(given), labels[variable].astype(str))
        targets.append(
            _Prevalences(name, group, np.array([share[level] for level in sorted(given)]), tuple(sorted(given)))
        )
    for association in population.risk_factor_associations:
        target = _demographic_target(population, association, factor, found)
        targets += [target] if target is not None else []
    return targets


def _demographic_target(
    population: Population, association: RiskAssociation, factor: str, found: Mapping[str, NDArray[np.float64]]
) -> _Prevalences | None:
    """An association with a factor that is a demographic level says how common this one is inside and outside it.

    Conditional prevalences by the variable of that level say it already, and more of it: they then stand alone.
    """
    first, second = association.factors
    other = second if first == factor else first
    rule = next((rule for rule in population.risk_rules.same_as if rule.factor == other), None)
    if factor not in association.factors or rule is None:
        return None
    if factor in population.risk_factor_prevalence.get(rule.variable, {}):
        return None
    share, overall = population.shares(rule.variable)[rule.level], population.risk_factors[factor].v
    both = joint_prevalence(overall, share, association.odds_ratio)
    inside = both / share if share else 0.0
    outside = (overall - both) / (1 - share) if share < 1 else 0.0
    name = f"risk_factor_associations: {factor} and {other}"
    return _Prevalences(name, found[other].astype(np.int64), np.array([outside, inside]), (f"not {other}", other))


def joint_prevalence(first: float, second: float, odds_ratio: float) -> float:
    """Share of people who carry both of two factors, given both prevalences and their odds ratio.

    Source: Plackett, JASA 60 (1965) 516: the root of (psi - 1) x^2 - S x + psi p q = 0 with S = 1 + (p + q)(psi - 1).
    """
    excess = odds_ratio - 1
    if abs(excess) < 1e-9:
        return first * second
    total = 1 + (first + second) * excess
    root = np.sqrt(max(total * total - 4 * odds_ratio * excess * first * second, 0.0))
    return float((total - root) / (2 * excess))


def _meet(
    prevalence: NDArray[np.float64],
    room: NDArray[np.float64] | float,
    mass: NDArray[np.float64],
    targets: list[_Prevalences],
) -> NDArray[np.float64]:
    """Rake the table of carriers and of others who could carry it, cell by cell, to the wanted prevalences.

    People who cannot carry the factor are left out of the table, so no prevalence can outgrow its room.
    """
    n = len(mass)
    could = mass * room
    table = np.concatenate([mass * prevalence, np.clip(could - mass * prevalence, 0.0, None)])
    scale = table.sum()
    cells = Target("cells", np.tile(np.arange(n), 2), could / scale, tuple(str(cell) for cell in range(n)))
    raked = [cells]
    for target in targets:
        inside = np.bincount(target.group, could, minlength=len(target.wanted))
        carriers = np.bincount(target.group, mass, minlength=len(target.wanted)) * target.wanted
        short = np.flatnonzero(carriers > inside + 1e-9)
        if short.size:
            names = ", ".join(target.names[index] for index in short)
            raise ConfigError(f"{target.name}: the risk rules leave too few people who could carry it in {names}")
        group = np.concatenate([target.group * 2 + 1, target.group * 2])
        wanted = np.stack([inside - carriers, carriers], axis=1).ravel() / scale
        names_of = tuple(f"{label} {name}" for name in target.names for label in ("others in", "carriers in"))
        raked.append(Target(target.name, group, np.clip(wanted, 0.0, None), names_of))
    fitted = rake(table, raked)[:n] * scale
    met: NDArray[np.float64] = np.divide(fitted, mass, out=np.zeros_like(mass), where=mass > 0)
    return met
