"""`population.yaml`: the patients that synthetic text should be about, as margins, two-way shares and risk factors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.errors import ConfigError, collect_faults
from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.marks import (
    SHARE_TOLERANCE,
    Marked,
    MarkedTable,
    Number,
    Source,
    mark_faults,
    normalised,
    proportion_faults,
    share_faults,
    unknown_names,
)
from harness.schemas.task import Task

AGE_VARIABLE = "age_band"
REQUIRED_MARGINS = (AGE_VARIABLE, "sex")  # columns of the personas table that may not be empty


class ConditionalShare(MarkedTable):
    """Share of one level of a variable inside each level of another, e.g. of women by age band."""

    variable: str
    level: str
    given: str
    tolerance: float = Field(default=0.0, ge=0, lt=0.5)
    """How far a share may be moved (one common factor on the odds) so that the mixture gives the margin; half of the
    last digit given is a fair choice."""


class TwoWay(Marked):
    """Joint shares of two variables, e.g. of every sex in every age band; all of them add up to 1."""

    variables: tuple[str, str]
    values: dict[str, dict[str, float]]
    """Level of the first variable to level of the second to share."""
    tolerance: float = Field(default=0.0, ge=0, lt=0.5)
    """How far its sums may lie from the margins (rounded publications rarely agree exactly); the margins win."""


class JointSeed(Marked):
    """Where raking starts: relations between variables that no target speaks of are kept from here."""

    cells: tuple[dict[str, str | float], ...]
    """Counts by combination, e.g. {sex: female, age_band: 85+, n: 120}; combinations not listed have `rest`."""
    rest: float = Field(default=0.0, ge=0)
    """Count given to combinations that are not listed; 0 makes them impossible."""


class ConditionalPrevalence(MarkedTable):
    """Prevalence of a risk factor in each level of a variable, as a target (a ratio only decides who has it)."""

    tolerance: float = Field(default=0.005, ge=0, lt=0.5)
    """How far their mixture may lie from the factor's overall prevalence, which wins."""


class RiskAssociation(Marked):
    """How two risk factors go together in one person."""

    factors: tuple[str, str]
    odds_ratio: float = Field(gt=0)
    """Odds of the one among carriers of the other over the odds among the rest; 1 is independence."""


class Association(MarkedTable):
    """How much likelier one level of a variable is in each level of another; margins are met whatever it says."""

    variable: str
    level: str
    given: str


class AgeDistribution(Marked):
    """Age in whole years inside a band."""

    dist: Literal["uniform_int", "truncated_geometric"]
    low: int = Field(ge=0)
    high: int = Field(le=130)
    p: float | None = Field(default=None, gt=0, lt=1)
    """Yearly drop of the truncated geometric; absent for the uniform."""


class RiskFactor(Number):
    group: str
    """Kind of factor, e.g. `cardiometabolic`."""
    name: str | None = None
    """How a prompt says it; the id with spaces where null."""


class ReferencePrevalence(Marked):
    """Prevalences by level in another population; only their ratios are used."""

    levels: dict[str, str]
    """Our level to theirs, e.g. {85+: 75+}."""
    values: dict[str, dict[str, float]]
    """Factor to their level to prevalence."""


class Bounds(Marked):
    low: float
    high: float


class SameAsLevel(Settings):
    """A risk factor that is another word for a demographic level."""

    factor: str
    variable: str
    level: str


class Requirement(Settings):
    """Who carries `factor` also carries `requires`."""

    factor: str
    requires: str


class RiskRules(Settings):
    """Combinations that cannot be."""

    same_as: tuple[SameAsLevel, ...] = ()
    requires: tuple[Requirement, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()
    """Groups of factors of which a person carries at most one."""


class Population(Settings):
    schema_version: Literal[1]
    name: str
    title: str
    as_of: int
    """Year that the margins describe."""
    sources: dict[str, Source]
    margins: dict[str, dict[str, Number]] = Field(min_length=1)
    """Variable to level to share; shares add up to 1."""
    conditional_shares: dict[str, ConditionalShare] = Field(default_factory=dict)
    two_way: dict[str, TwoWay] = Field(default_factory=dict)
    associations: dict[str, Association] = Field(default_factory=dict)
    joint_seed: JointSeed | None = None
    """null: independence."""
    age_years: dict[str, AgeDistribution]
    """Age band to the ages inside it."""
    risk_factors: dict[str, RiskFactor] = Field(default_factory=dict)
    risk_factor_prevalence: dict[str, dict[str, ConditionalPrevalence]] = Field(default_factory=dict)
    """Variable to factor to level to prevalence; a factor has one of these or ratios for a variable, not both."""
    risk_factor_associations: tuple[RiskAssociation, ...] = ()
    risk_factor_ratios: dict[str, dict[str, MarkedTable]] = Field(default_factory=dict)
    """Variable to factor to level to ratio: a level that is not listed has 1."""
    risk_factor_reference: dict[str, ReferencePrevalence] = Field(default_factory=dict)
    """Variable to prevalences elsewhere, taken as further ratios."""
    risk_factor_bounds: Bounds | None = None
    """Base times ratios is clipped to these before it is scaled to the base."""
    risk_rules: RiskRules = RiskRules()
    acceptance: dict[str, Number] = Field(default_factory=dict)
    """Gaps between cohort and target that still pass."""
    evidence: dict[str, Any] = Field(default_factory=dict)
    """Figures behind the targets that no draw uses."""

    def shares(self, variable: str) -> dict[str, float]:
        """Level to share, normalised to add up to exactly 1."""
        return normalised({level: number.v for level, number in self.margins[variable].items()})


def load_population(path: Path, task: Task) -> Population:
    """Read a population and check it against the task.

    Raises:
        ConfigError: Every fault at once: unknown keys; or unmarked numbers, unknown sources, shares that do not add up
            to 1, prevalences outside [0, 1], levels that the task does not have, rules that contradict the figures.
    """
    content = read_yaml(path)
    population = build(Population, content, str(path))
    with collect_faults(ConfigError, str(path)) as faults:
        faults.extend(mark_faults(content, not_facts=("schema_version", "as_of", "risk_rules")))
        faults.extend(_margin_faults(population, task))
        faults.extend(_two_way_faults(population))
        faults.extend(_age_faults(population))
        faults.extend(_risk_faults(population))
        faults.extend(_rule_faults(population))
    return population


def _margin_faults(population: Population, task: Task) -> list[str]:
    faults = [
        f"margins.{name}: missing; personas need it" for name in REQUIRED_MARGINS if name not in population.margins
    ]
    for variable, levels in population.margins.items():
        faults += share_faults(f"margins.{variable}", {level: number.v for level, number in levels.items()})
        known = task.file.subgroups.get(variable)
        if known is not None:
            faults += unknown_names(f"margins.{variable}", levels, list(known.levels), "level of the task")
    return faults


def _two_way_faults(population: Population) -> list[str]:
    faults: list[str] = []
    tables: dict[str, ConditionalShare | Association] = {
        **{f"conditional_shares.{name}": table for name, table in population.conditional_shares.items()},
        **{f"associations.{name}": table for name, table in population.associations.items()},
    }
    for place, table in tables.items():
        unknown = unknown_names(place, (table.variable, table.given), list(population.margins), "variable")
        if unknown:
            faults += unknown
            continue
        given = list(population.margins[table.given])
        faults += unknown_names(f"{place}.level", (table.level,), list(population.margins[table.variable]), "level")
        faults += unknown_names(f"{place}.values", table.values, given, f"level of {table.given}")
        if isinstance(table, ConditionalShare):
            faults += proportion_faults(f"{place}.values", table.values)
            faults += [f"{place}.values: missing level {level!r}" for level in given if level not in table.values]
        else:
            faults += _ratio_faults(f"{place}.values", table.values)
    return faults


def _ratio_faults(place: str, ratios: dict[str, float]) -> list[str]:
    return [
        f"{place}.{level}: found {ratio:g}; a ratio must be above 0" for level, ratio in ratios.items() if ratio <= 0
    ]


def _age_faults(population: Population) -> list[str]:
    bands = list(population.margins.get(AGE_VARIABLE, ()))
    faults = unknown_names("age_years", population.age_years, bands, AGE_VARIABLE)
    faults += [f"age_years: missing band {band!r}" for band in bands if band not in population.age_years]
    for band, ages in population.age_years.items():
        if ages.low > ages.high:
            faults.append(f"age_years.{band}: low {ages.low} is above high {ages.high}")
        if (ages.p is None) != (ages.dist == "uniform_int"):
            faults.append(f"age_years.{band}.p: give it for truncated_geometric and for nothing else")
    return faults


def _risk_faults(population: Population) -> list[str]:
    factors = list(population.risk_factors)
    faults = proportion_faults("risk_factors", {name: factor.v for name, factor in population.risk_factors.items()})
    bounds = population.risk_factor_bounds
    if bounds is not None and not 0 <= bounds.low < bounds.high <= 1:
        faults.append(f"risk_factor_bounds: found [{bounds.low:g}, {bounds.high:g}]; must be low < high in [0, 1]")
    for variable, tables in population.risk_factor_ratios.items():
        place = f"risk_factor_ratios.{variable}"
        faults += unknown_names(place, (variable,), list(population.margins), "variable")
        faults += unknown_names(place, tables, factors, "risk factor")
        levels = list(population.margins.get(variable, ()))
        for name, table in tables.items():
            faults += unknown_names(f"{place}.{name}", table.values, levels, f"level of {variable}")
            faults += _ratio_faults(f"{place}.{name}", table.values)
    for variable, reference in population.risk_factor_reference.items():
        place = f"risk_factor_reference.{variable}"
        faults += unknown_names(place, (variable,), list(population.margins), "variable")
        faults += unknown_names(f"{place}.values", reference.values, factors, "risk factor")
        levels = list(population.margins.get(variable, ()))
        faults += [f"{place}.levels: missing level {level!r}" for level in levels if level not in reference.levels]
        for name, values in reference.values.items():
            faults += proportion_faults(f"{place}.values.{name}", values)
            wanted = tuple(dict.fromkeys(reference.levels.values()))
            faults += unknown_names(f"{place}.levels", wanted, list(values), f"level of {name}")
    return faults


def _rule_faults(population: Population) -> list[str]:
    faults: list[str] = []
    rules, factors = population.risk_rules, population.risk_factors
    named = [rule.factor for rule in rules.same_as]
    named += [name for rule in rules.requires for name in (rule.factor, rule.requires)]
    named += [name for group in rules.exclusive for name in group]
    unknown = unknown_names("risk_rules", tuple(dict.fromkeys(named)), list(factors), "risk factor")
    if unknown:
        return unknown
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
    if _has_cycle({need.factor: need.requires for need in rules.requires}):
        faults.append("risk_rules.requires: goes in a circle")
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
