"""`population.yaml`: the patients that synthetic text should be about, as margins, two-way shares and risk factors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.errors import ConfigError, collect_faults
from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.marks import SHARE_TOLERANCE, Marked, MarkedTable, Number, Source, mark_faults, normalised
from harness.schemas.population_checks import SEED_COUNT, demographic_faults
from harness.schemas.risk_checks import risk_faults
from harness.schemas.task import Task


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
    tolerance: float = Field(default=SHARE_TOLERANCE, ge=0, lt=0.5)
    """How far its sums may lie from the margins (rounded publications rarely agree exactly); the margins win."""


class JointSeed(Marked):
    """Where raking starts: relations between variables that no target speaks of are kept from here."""

    cells: tuple[dict[str, str | float], ...]
    """Counts by combination, e.g. {sex: female, age_band: 85+, n: 120}. All name the same variables; to the others a
    combination is indifferent. Combinations that are not listed have `rest`."""
    rest: float = Field(default=0.0, ge=0)
    """Count given to combinations that are not listed; 0 makes them impossible."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Variables of the first combination; `load_population` checks that all have the same."""
        return tuple(name for name in self.cells[0] if name != SEED_COUNT) if self.cells else ()


class ConditionalPrevalence(MarkedTable):
    """Prevalence of a risk factor in each level of a variable, as a target (a ratio only decides who has it)."""

    tolerance: float = Field(default=0.005, ge=0, lt=0.5)
    """How far their mixture may lie from the factor's overall prevalence, which wins."""


class RiskAssociation(Marked):
    """How two risk factors go together in one person."""

    factors: tuple[str, str]
    odds_ratio: float = Field(gt=0)
    """Odds of the one among carriers of the other over the odds among the rest; 1 is independence."""
    tolerance: float = Field(default=0.01, ge=0, lt=0.5)
    """How far the share of people who carry both may lie from what the odds ratio says, where targets contradict each
    other; the default is one percentage point."""


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
    prompt: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Variable to level to the words that a prompt shows, for variables that are no subgroup of the task."""
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
            to 1, prevalences outside [0, 1], levels that the task does not have, tables that contradict the margins,
            levels without people, rules that contradict the figures.
    """
    content = read_yaml(path)
    population = build(Population, content, str(path))
    with collect_faults(ConfigError, str(path)) as faults:
        faults.extend(mark_faults(content, not_facts=("schema_version", "as_of", "risk_rules")))
        levels = {name: list(variable.levels) for name, variable in task.file.subgroups.items()}
        faults.extend(demographic_faults(population, levels))
        faults.extend(risk_faults(population))
    return population
