"""`trajectory.yaml`: what is written about a patient, and when: stages, notes, mentions and their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.errors import ConfigError, collect_faults
from harness.schemas.base import Settings, build, read_yaml
from harness.schemas.documentation import Documentation, documentation_faults
from harness.schemas.marks import (
    Marked,
    MarkedTable,
    Number,
    Source,
    mark_faults,
    proportion_faults,
    share_faults,
    unknown_names,
)
from harness.schemas.onset import Onset, onset_faults
from harness.schemas.task import Task

STAGE_VARIABLE = "stage"


class TimeAxis(Marked):
    unit: Literal["year"]
    zero: str
    """The event at time 0."""
    window: tuple[float, float]
    """First and last moment, relative to the event; negative is before."""


class Stage(Marked):
    id: str
    years: tuple[float, float]
    """From and to, relative to time 0."""
    scale: str | None = None
    """The stage on a clinical scale, for people."""


class Counts(Settings):
    """How many of something there are, by stage."""

    by_stage: dict[str, Number]
    dist: Literal["poisson", "negative_binomial"]
    dispersion: Number | None = None
    """Size r of the negative binomial, variance mean + mean^2 / r; absent for the Poisson."""


class Mentions(Counts):
    density_multiplier: Number
    """Factor on the counts, domain shares kept."""


class DomainLabels(Marked):
    values: dict[str, str]
    """Lexicon domain to label."""


class ReportedByOthers(Settings):
    """A label that no domain feeds: it arises from who is speaking."""

    label: str
    share: dict[str, Number]
    """Stage to share of present mentions that somebody else reports."""
    propensity: MarkedTable
    """Domain to how readily others report it, relative to the other domains; 0 never."""


class Trajectory(Settings):
    schema_version: Literal[1]
    sources: dict[str, Source]
    time_axis: TimeAxis
    stages: tuple[Stage, ...] = Field(min_length=1)
    """In order of time, without gaps."""
    stage_jitter_years: Number
    """Standard deviation of each inner boundary between patients."""
    notes_per_year: Counts
    note_type_share: dict[str, MarkedTable]
    """Stage to note type to share."""
    mentions_per_note: Mentions
    domain_share: dict[str, MarkedTable]
    """Stage to lexicon domain to share."""
    domain_to_label: DomainLabels
    term_frequency: MarkedTable | None = None
    """Lexicon term to its relative frequency inside its domain; terms that are not listed keep the lexicon's own, which
    should then be on the same scale. null: the lexicon's."""
    reported_by_others: ReportedByOthers | None = None
    absent_share: dict[str, Number] = Field(default_factory=dict)
    """Stage to share of mentions that the note denies; they get the task's negative label. A missing stage has none."""
    onset: Onset | None = None
    """null: every note takes its terms on its own, whatever earlier notes said."""
    documentation: Documentation | None = None
    """null: visits have neither author nor style."""
    expected: dict[str, Any] = Field(default_factory=dict)
    """Published or assumed shapes that a drawn cohort is compared with."""
    evidence: dict[str, Any] = Field(default_factory=dict)
    """Figures behind the targets that no draw uses."""

    @property
    def stage_ids(self) -> tuple[str, ...]:
        return tuple(stage.id for stage in self.stages)

    @property
    def note_types(self) -> tuple[str, ...]:
        """Every note type of any stage, in the order of the file."""
        return tuple(dict.fromkeys(name for table in self.note_type_share.values() for name in table.values))

    @property
    def boundaries(self) -> tuple[float, ...]:
        """Moments at which one stage ends and the next begins, without the window's ends."""
        return tuple(stage.years[0] for stage in self.stages[1:])


def load_trajectory(path: Path, task: Task) -> Trajectory:
    """Read a trajectory and check it against the task's labels, lexicon and stages.

    Raises:
        ConfigError: Every fault at once: unknown keys; or unmarked numbers, unknown sources, stages out of order,
            shares that do not add up to 1, domains or terms that the lexicon does not have, labels or stages outside
            the task, unknown styles.
    """
    content = read_yaml(path)
    trajectory = build(Trajectory, content, str(path))
    with collect_faults(ConfigError, str(path)) as faults:
        faults.extend(mark_faults(content, not_facts=("schema_version",)))
        faults.extend(_stage_faults(trajectory, task))
        faults.extend(_count_faults(trajectory))
        faults.extend(_share_faults(trajectory))
        faults.extend(_domain_faults(trajectory, task))
        faults.extend(_label_faults(trajectory, task))
        if trajectory.onset is not None:
            faults.extend(onset_faults(trajectory.onset, task.lexicon))
        if trajectory.documentation is not None:
            faults.extend(documentation_faults(trajectory.documentation, trajectory.note_types))
    return trajectory


def _stage_faults(trajectory: Trajectory, task: Task) -> list[str]:
    faults: list[str] = []
    start, end = trajectory.time_axis.window
    if not start < end:
        faults.append(f"time_axis.window: found [{start:g}, {end:g}]; the first must be before the last")
    ids = trajectory.stage_ids
    faults += [f"stages: {name!r} is given twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
    expected = start
    for stage in trajectory.stages:
        first, last = stage.years
        if first != expected or not first < last:
            faults.append(f"stages.{stage.id}: found [{first:g}, {last:g}]; stages are in order of time, each starting "
                          f"where the one before ends (here {expected:g})")  # fmt: skip
        expected = last
    if expected != end:
        faults.append(f"stages: the last one ends at {expected:g}; the window ends at {end:g}")
    known = task.file.subgroups.get(STAGE_VARIABLE)
    if known is not None:
        faults += unknown_names("stages", ids, list(known.levels), "stage of the task")
    if trajectory.stage_jitter_years.v < 0:
        faults.append(f"stage_jitter_years: found {trajectory.stage_jitter_years.v:g}; must be 0 or more")
    return faults


def _count_faults(trajectory: Trajectory) -> list[str]:
    faults: list[str] = []
    named: dict[str, Counts] = {
        "notes_per_year": trajectory.notes_per_year,
        "mentions_per_note": trajectory.mentions_per_note,
    }
    for place, counts in named.items():
        faults += _by_stage_faults(f"{place}.by_stage", counts.by_stage, trajectory)
        faults += [f"{place}.by_stage.{stage}: found {number.v:g}; must be 0 or more"
                   for stage, number in counts.by_stage.items() if number.v < 0]  # fmt: skip
        if (counts.dispersion is None) != (counts.dist == "poisson"):
            faults.append(f"{place}.dispersion: give it for negative_binomial and for nothing else")
        elif counts.dispersion is not None and counts.dispersion.v <= 0:
            faults.append(f"{place}.dispersion: found {counts.dispersion.v:g}; must be above 0")
    if trajectory.mentions_per_note.density_multiplier.v <= 0:
        faults.append("mentions_per_note.density_multiplier: must be above 0")
    return faults


def _by_stage_faults(place: str, found: dict[str, Any], trajectory: Trajectory) -> list[str]:
    known = list(trajectory.stage_ids)
    missing = [f"{place}: missing stage {stage!r}" for stage in known if stage not in found]
    return unknown_names(place, found, known, "stage") + missing


def _share_faults(trajectory: Trajectory) -> list[str]:
    faults: list[str] = []
    named = {"note_type_share": trajectory.note_type_share, "domain_share": trajectory.domain_share}
    for place, tables in named.items():
        faults += _by_stage_faults(place, tables, trajectory)
        for stage, table in tables.items():
            faults += share_faults(f"{place}.{stage}", table.values)
    absent = {stage: number.v for stage, number in trajectory.absent_share.items()}
    faults += unknown_names("absent_share", absent, list(trajectory.stage_ids), "stage")
    faults += proportion_faults("absent_share", absent)
    return faults


def _domain_faults(trajectory: Trajectory, task: Task) -> list[str]:
    known = list(dict.fromkeys(term.domain for term in task.lexicon))
    faults: list[str] = []
    for stage, table in trajectory.domain_share.items():
        faults += unknown_names(f"domain_share.{stage}", table.values, known, "domain of the lexicon")
    faults += unknown_names("domain_to_label", trajectory.domain_to_label.values, known, "domain of the lexicon")
    if trajectory.term_frequency is not None:
        frequency = trajectory.term_frequency.values
        faults += unknown_names(
            "term_frequency", frequency, [term.term for term in task.lexicon], "term of the lexicon"
        )
        faults += [f"term_frequency.{name}: found {value:g}; must be above 0"
                   for name, value in frequency.items() if value <= 0]  # fmt: skip
    faults += [f"domain_to_label: missing domain {name!r}" for name in known
               if name not in trajectory.domain_to_label.values]  # fmt: skip
    for domain, label in trajectory.domain_to_label.values.items():
        faults += unknown_names(f"domain_to_label.{domain}", (label,), list(task.label_ids), "label")
    return faults


def _label_faults(trajectory: Trajectory, task: Task) -> list[str]:
    faults: list[str] = []
    if any(number.v > 0 for number in trajectory.absent_share.values()) and task.negative is None:
        faults.append("absent_share: the task has no negative label for mentions that a note denies")
    reported = trajectory.reported_by_others
    if reported is None:
        return faults
    faults += unknown_names("reported_by_others.label", (reported.label,), list(task.label_ids), "label")
    faults += _by_stage_faults("reported_by_others.share", reported.share, trajectory)
    faults += proportion_faults("reported_by_others.share", {stage: one.v for stage, one in reported.share.items()})
    domains = list(trajectory.domain_to_label.values)
    faults += unknown_names("reported_by_others.propensity", reported.propensity.values, domains, "domain")
    faults += [f"reported_by_others.propensity.{name}: found {value:g}; must be 0 or more"
               for name, value in reported.propensity.values.items() if value < 0]  # fmt: skip
    if not faults:
        faults += [f"reported_by_others.share.{stage}: needs a probability of {highest:.3g} in one domain; at most 1"
                   for stage in reported.share
                   if (highest := max(reported_probability(trajectory, stage).values(), default=0)) > 1]  # fmt: skip
    return faults


def reported_probability(trajectory: Trajectory, stage: str) -> dict[str, float]:
    """Domain to the probability that somebody else reports a present mention of it.

    Proportional to the domain's propensity, scaled so that over the stage's domain shares it averages to the stage's
    `reported_by_others.share`. All zeros where the trajectory has no such label or every propensity is 0.
    """
    shares = trajectory.domain_share[stage].values
    reported = trajectory.reported_by_others
    if reported is None:
        return dict.fromkeys(shares, 0.0)
    propensity = reported.propensity.values
    mean = sum(share * propensity.get(domain, 0.0) for domain, share in shares.items())
    if mean == 0:
        return dict.fromkeys(shares, 0.0)
    return {domain: reported.share[stage].v * propensity.get(domain, 0.0) / mean for domain in shares}
