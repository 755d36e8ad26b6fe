"""What the arms are aimed at: shares, pairs, prevalences, mentions and onsets of the two target files, with marks.

Values of a population and a trajectory come in; nothing is drawn here. A number computed from several has the weakest
mark of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from harness.evaluation.fidelity_rows import Goal
from harness.joint import raked_joint
from harness.metrics.counts import Floats
from harness.schemas.marks import normalised
from harness.schemas.population import Population
from harness.schemas.task import Term
from harness.schemas.trajectory import Trajectory, reported_probability

STAGE = "stage"
MARKS = ("published", "derived", "assumed")  # strongest first
DERIVED = "derived"


@dataclass(frozen=True)
class Shares:
    """Level to share, adding up to 1, and the mark of each."""

    values: Mapping[str, float]
    marks: Mapping[str, str]

    @property
    def mark(self) -> str:
        return weakest(self.marks.values())

    def goal(self, level: str) -> Goal:
        """A level that the target does not name has share 0 by the target's word."""
        return Goal(self.values.get(level, 0.0), self.marks.get(level, self.mark))


@dataclass(frozen=True)
class Pair:
    """Joint shares of two variables, shape (levels of the first, levels of the second)."""

    shares: Floats
    mark: str


@dataclass(frozen=True)
class PeopleTarget:
    """Who the patients should be. Empty where the task has no population."""

    margins: Mapping[str, Shares] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], Pair] = field(default_factory=dict)
    prevalences: Mapping[str, Goal] = field(default_factory=dict)


@dataclass(frozen=True)
class CourseTarget:
    """What should be mentioned, and when. Empty where the task has no trajectory."""

    stages: Shares | None = None
    """Of the mentions."""
    mentions_per_note: Mapping[str, Goal] = field(default_factory=dict)
    domains: Mapping[str, Shares] = field(default_factory=dict)
    """Stage to the shares of its mentions."""
    labels: Shares | None = None
    """Of the mentions, where the plan alone decides labels."""
    domain_onsets: Mapping[str, Goal] = field(default_factory=dict)
    """Years before the diagnosis."""
    term_onsets: Mapping[str, Goal] = field(default_factory=dict)


def weakest(marks: Iterable[str]) -> str:
    given = list(marks)
    return max(given, key=MARKS.index) if given else MARKS[-1]


def computed(marks: Iterable[str]) -> str:
    """Mark of a number that was computed from marked ones: derived at best."""
    return weakest([*marks, DERIVED])


# -- people ------------------------------------------------------------------------------------------------------------


def people_target(population: Population) -> PeopleTarget:
    """Margins and prevalences as the population states them, and the pairs of the joint that personas are drawn from.

    A pair's shares are those of the raked joint. Its mark is that of a two-way table or of conditional shares, where
    the population states them for these two variables; derived where a joint seed speaks of both; else assumed, since
    that two variables are independent but for what is stated is an assumption.
    """
    margins = {
        variable: Shares(population.shares(variable), {level: number.status for level, number in levels.items()})
        for variable, levels in population.margins.items()
    }
    joint = raked_joint(population)
    pairs = {
        names: Pair(
            joint.margin(*names), computed([_pair_mark(population, names), *(margins[one].mark for one in names)])
        )
        for names in combinations(margins, 2)
    }
    prevalences = {name: Goal(factor.v, factor.status) for name, factor in population.risk_factors.items()}
    return PeopleTarget(margins=margins, pairs=pairs, prevalences=prevalences)


def _pair_mark(population: Population, names: tuple[str, str]) -> str:
    for table in population.two_way.values():
        if set(table.variables) == set(names):
            return table.status
    for shares in population.conditional_shares.values():
        if {shares.variable, shares.given} == set(names):
            return shares.status
    seed = population.joint_seed
    return DERIVED if seed is not None and set(names) <= set(seed.variables) else MARKS[-1]


# -- course ------------------------------------------------------------------------------------------------------------


def course_target(trajectory: Trajectory, lexicon: Sequence[Term], negative: str | None) -> CourseTarget:
    """What the trajectory says a note mentions, stage by stage, and what follows from it for stages and labels."""
    multiplier = trajectory.mentions_per_note.density_multiplier
    mentions = {
        stage: Goal(number.v * multiplier.v, computed([number.status, multiplier.status]))
        for stage, number in trajectory.mentions_per_note.by_stage.items()
    }
    stages = _stage_shares(trajectory)
    return CourseTarget(
        stages=stages,
        mentions_per_note=mentions,
        domains={
            stage: Shares(normalised(table.values), dict.fromkeys(table.values, table.status))
            for stage, table in trajectory.domain_share.items()
        },
        labels=_label_shares(trajectory, stages, negative),
        **_onsets(trajectory, lexicon),
    )


def _stage_shares(trajectory: Trajectory) -> Shares:
    """Share of each stage among all mentions: its years times notes a year times mentions per note."""
    mass = {}
    marks = {}
    for stage in trajectory.stages:
        notes, mentions = trajectory.notes_per_year.by_stage[stage.id], trajectory.mentions_per_note.by_stage[stage.id]
        mass[stage.id] = (stage.years[1] - stage.years[0]) * notes.v * mentions.v
        marks[stage.id] = computed([stage.status, notes.status, mentions.status])
    return Shares(normalised(mass), marks)


def _label_shares(trajectory: Trajectory, stages: Shares, negative: str | None) -> Shares:
    """Label shares of all mentions: denied ones get the negative label, reported ones the label of reports."""
    mass: dict[str, float] = {}
    marks = [stages.mark, trajectory.domain_to_label.status]
    others = trajectory.reported_by_others
    for stage, table in trajectory.domain_share.items():
        absent = trajectory.absent_share.get(stage)
        denied = 0.0 if absent is None else absent.v
        marks += [table.status, *([] if absent is None else [absent.status])]
        reported = reported_probability(trajectory, stage)
        for domain, share in normalised(table.values).items():
            present = stages.values[stage] * share * (1 - denied)
            label = trajectory.domain_to_label.values[domain]
            mass[label] = mass.get(label, 0.0) + present * (1 - reported[domain])
            if others is not None:
                mass[others.label] = mass.get(others.label, 0.0) + present * reported[domain]
        if negative is not None:
            mass[negative] = mass.get(negative, 0.0) + stages.values[stage] * denied
    if others is not None:
        marks += [others.propensity.status, *(number.status for number in others.share.values())]
    return Shares(normalised(mass), dict.fromkeys(mass, computed(marks)))


def _onsets(trajectory: Trajectory, lexicon: Sequence[Term]) -> dict[str, dict[str, Goal]]:
    onset = trajectory.onset
    if onset is None:
        return {}
    own = {term: one.median_years_before for one in onset.terms for term in one.terms}
    terms = {}
    for term in lexicon:
        number = own.get(term.term) or onset.domains[term.domain].median_years_before
        terms[term.term] = Goal(number.v, number.status)
    domains = {
        name: Goal(one.median_years_before.v, one.median_years_before.status) for name, one in onset.domains.items()
    }
    return {"domain_onsets": domains, "term_onsets": terms}
