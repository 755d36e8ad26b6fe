"""Faults of a population's risk factors: prevalences, ratios, associations, and rules that contradict the figures.

Each function returns messages; `load_population` raises all of them together with the file's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.schemas.marks import SHARE_TOLERANCE, proportion_faults, unknown_names
from harness.schemas.population_checks import missing_levels, ratio_faults

if TYPE_CHECKING:
    from harness.schemas.population import Population


def risk_faults(population: Population) -> list[str]:
    """Everything that can be wrong with what the people carry."""
    factors = population.risk_factors
    faults = proportion_faults("risk_factors", {name: factor.v for name, factor in factors.items()})
    bounds = population.risk_factor_bounds
    if bounds is not None and not 0 <= bounds.low < bounds.high <= 1:
        faults.append(f"risk_factor_bounds: found [{bounds.low:g}, {bounds.high:g}]; must be low < high in [0, 1]")
    faults += _ratio_table_faults(population) + _reference_faults(population)
    rules = _unknown_in_rules(population) or [*_shape_faults(population), *_rule_faults(population)]
    return faults + _prevalence_faults(population) + rules + _association_faults(population)


def _ratio_table_faults(population: Population) -> list[str]:
    faults: list[str] = []
    for variable, tables in population.risk_factor_ratios.items():
        place = f"risk_factor_ratios.{variable}"
        faults += unknown_names(place, (variable,), list(population.margins), "variable")
        faults += unknown_names(place, tables, list(population.risk_factors), "risk factor")
        levels = list(population.margins.get(variable, ()))
        for name, table in tables.items():
            faults += unknown_names(f"{place}.{name}", table.values, levels, f"level of {variable}")
            faults += ratio_faults(f"{place}.{name}", table.values)
    return faults


def _reference_faults(population: Population) -> list[str]:
    faults: list[str] = []
    for variable, reference in population.risk_factor_reference.items():
        place = f"risk_factor_reference.{variable}"
        faults += unknown_names(place, (variable,), list(population.margins), "variable")
        faults += unknown_names(f"{place}.values", reference.values, list(population.risk_factors), "risk factor")
        faults += missing_levels(f"{place}.levels", reference.levels, list(population.margins.get(variable, ())))
        for name, values in reference.values.items():
            faults += proportion_faults(f"{place}.values.{name}", values)
            wanted = tuple(dict.fromkeys(reference.levels.values()))
            faults += unknown_names(f"{place}.levels", wanted, list(values), f"level of {name}")
    return faults


# -- conditional prevalences -------------------------------------------------------------------------------------------


def _prevalence_faults(population: Population) -> list[str]:
    faults: list[str] = []
    for variable, tables in population.risk_factor_prevalence.items():
        place = f"risk_factor_prevalence.{variable}"
        unknown = unknown_names(place, (variable,), list(population.margins), "variable")
        unknown += unknown_names(place, tables, list(population.risk_factors), "risk factor")
        faults += unknown
        if not unknown:
            for factor in tables:
                faults += _one_prevalence_faults(population, variable, factor)
    return faults


def _one_prevalence_faults(population: Population, variable: str, factor: str) -> list[str]:
    table = population.risk_factor_prevalence[variable][factor]
    place = f"risk_factor_prevalence.{variable}.{factor}"
    levels = list(population.margins[variable])
    faults = unknown_names(place, table.values, levels, f"level of {variable}")
    faults += missing_levels(place, table.values, levels) + proportion_faults(place, table.values)
    faults += [
        f"{place}: {kind}.{variable} has {factor} too; give prevalences or ratios for a variable, not both"
        for kind, given in (
            ("risk_factor_ratios", population.risk_factor_ratios.get(variable, {})),
            ("risk_factor_reference", _referenced(population, variable)),
        )
        if factor in given
    ]
    if factor in _same_as(population):
        faults.append(f"{place}: risk_rules.same_as makes {factor} a demographic level; give a two_way table instead")
    if faults:
        return faults
    mixture = sum(share * table.values[level] for level, share in population.shares(variable).items())
    overall = population.risk_factors[factor].v
    if abs(mixture - overall) > table.tolerance:
        faults.append(f"{place}: mixes to {mixture:.4f}, but risk_factors.{factor} is {overall:.4f}; change one of "
                      f"them, or raise the tolerance (now {table.tolerance:g})")  # fmt: skip
    return faults


def _referenced(population: Population, variable: str) -> dict[str, dict[str, float]]:
    reference = population.risk_factor_reference.get(variable)
    return {} if reference is None else reference.values


def _same_as(population: Population) -> set[str]:
    return {rule.factor for rule in population.risk_rules.same_as}


# -- associations ------------------------------------------------------------------------------------------------------


def _association_faults(population: Population) -> list[str]:
    faults: list[str] = []
    seen: set[frozenset[str]] = set()
    for index, association in enumerate(population.risk_factor_associations):
        first, second = association.factors
        place = f"risk_factor_associations.{index}"
        unknown = unknown_names(place, association.factors, list(population.risk_factors), "risk factor")
        if unknown:
            faults += unknown
        elif first == second:
            faults.append(f"{place}: found {first!r} twice; name two risk factors")
        elif {first, second} <= _same_as(population):
            faults.append(f"{place}: {first} and {second} are demographic levels; give a two_way table instead")
        elif _ruled(population, first, second):
            faults.append(f"{place}: risk_rules say already how {first} and {second} go together; leave it out")
        if frozenset(association.factors) in seen:
            faults.append(f"{place}: {first} and {second} are listed twice")
        seen.add(frozenset(association.factors))
    return faults


def _ruled(population: Population, first: str, second: str) -> bool:
    rules = population.risk_rules
    pair = {first, second}
    return any(pair <= set(group) for group in rules.exclusive) or any(
        pair == {need.factor, need.requires} for need in rules.requires
    )


# -- rules -------------------------------------------------------------------------------------------------------------


def _unknown_in_rules(population: Population) -> list[str]:
    rules = population.risk_rules
    named = [rule.factor for rule in rules.same_as]
    named += [name for rule in rules.requires for name in (rule.factor, rule.requires)]
    named += [name for group in rules.exclusive for name in group]
    return unknown_names("risk_rules", tuple(dict.fromkeys(named)), list(population.risk_factors), "risk factor")


def _shape_faults(population: Population) -> list[str]:
    """Rules that intervals of one latent variable cannot show: each factor has one requirement and one group."""
    rules = population.risk_rules
    faults = []
    for kind, names in (
        ("requires", [need.factor for need in rules.requires]),
        ("exclusive", [name for group in rules.exclusive for name in group]),
    ):
        faults += [
            f"risk_rules.{kind}: {name} stands there {names.count(name)} times; once is allowed"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
    requires = {need.factor: need.requires for need in rules.requires}
    for group in rules.exclusive:
        if len({requires.get(name) for name in group}) > 1:
            faults.append(f"risk_rules.exclusive: {', '.join(group)} require different factors; factors that exclude "
                          "each other must require the same one, or none")  # fmt: skip
    if _has_cycle(requires):
        faults.append("risk_rules.requires: goes in a circle")
    return faults


def _rule_faults(population: Population) -> list[str]:
    faults: list[str] = []
    rules, factors = population.risk_rules, population.risk_factors
    for rule in rules.same_as:
        share = population.margins.get(rule.variable, {}).get(rule.level)
        if share is None:
            faults.append(f"risk_rules.same_as: no level {rule.level!r} of {rule.variable!r} in margins")
        elif abs(share.v - factors[rule.factor].v) > SHARE_TOLERANCE:
            faults.append(f"risk_rules.same_as: {rule.factor} is {factors[rule.factor].v:g}, but {rule.variable} "
                          f"{rule.level} is {share.v:g}; they name the same people")  # fmt: skip
    faults += [
        f"risk_rules.requires: {need.factor} ({factors[need.factor].v:g}) is commoner than {need.requires} "
        f"({factors[need.requires].v:g}), which it requires"
        for need in rules.requires
        if factors[need.factor].v > factors[need.requires].v
    ]
    for group in rules.exclusive:
        total = sum(factors[name].v for name in group)
        if total > 1:
            faults.append(
                f"risk_rules.exclusive: {', '.join(group)} add up to {total:g}; at most 1 can exclude each other"
            )
    return faults


def _has_cycle(requires: dict[str, str]) -> bool:
    for start in requires:
        seen, current = {start}, start
        while current in requires:
            current = requires[current]
            if current in seen:
                return True
            seen.add(current)
    return False
