"""What an arm's texts mention, and when, against the trajectory: domains, onsets, co-occurrence, coverage.

The drawn plan is counted from its tables. Of texts, what counts is what they hold: lexicon terms found by the stems of
their words, the same rule for every arm and for gold, whatever a text was asked to mention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.evaluation.fidelity_rows import EVERYTHING, Goal, Resampled, Rows, codes
from harness.evaluation.fidelity_target import STAGE, CourseTarget, Shares, computed
from harness.metrics.counts import Floats
from harness.metrics.distance import kendall_tau, pair_counts, total_variation
from harness.metrics.estimate import Estimate, known, undefined
from harness.schemas.task import Term

DAYS_PER_YEAR = 365.25
PRESENT = "present"
MIN_PERSONAS = 5  # an onset that fewer show says when those few were written about, not when it comes
ONSET = "onset"
DOMAIN, TERM = "domain", "term"
NO_TERMS = "no lexicon term is mentioned at this stage"
NO_TEXTS = "no text is said to be of this stage"
BLOCK = 4096  # texts whose mentions are counted at once


@dataclass(frozen=True)
class Mentions:
    """Mentions of some texts, one entry for each.

    Attributes:
        text: Number of the text it stands in, shape (n,), 0 to n_texts - 1.
        term: Place in the lexicon, same shape.
        present: Whether it is stated rather than denied, same shape.
        n_texts: Texts, with or without mentions.
    """

    text: np.ndarray[tuple[int], np.dtype[np.intp]]
    term: np.ndarray[tuple[int], np.dtype[np.intp]]
    present: np.ndarray[tuple[int], np.dtype[np.bool_]]
    n_texts: int


@dataclass(frozen=True)
class Setting:
    """When and about whom each text is, all of length n_texts; None where it is not known."""

    stages: Sequence[str | None]
    persons: Sequence[str | None]
    years: Sequence[float | None]
    """Before the diagnosis."""


def plan_mentions(visits: pa.Table, mentions: pa.Table, lexicon: Sequence[Term]) -> tuple[Mentions, Setting]:
    """The drawn plan as mentions of notes: a visit is a text."""
    place = {term.term: index for index, term in enumerate(lexicon)}
    visits = visits.append_column("text", pa.array(np.arange(visits.num_rows)))
    key = ["persona_id", "visit_index"]
    joined = mentions.select([*key, "term", "polarity"]).join(visits.select([*key, "text"]), keys=key)
    known_term = pc.is_in(joined["term"], pa.array(list(place), pa.string()))
    joined = joined.filter(known_term)
    numbers = pc.index_in(joined["term"], pa.array(list(place), pa.string()))
    found = Mentions(
        text=joined["text"].to_numpy().astype(np.intp),
        term=numbers.to_numpy().astype(np.intp),
        present=np.asarray(pc.equal(joined["polarity"], PRESENT).to_pylist(), dtype=np.bool_),
        n_texts=visits.num_rows,
    )
    years = visits["days_before_diagnosis"].to_numpy() / DAYS_PER_YEAR
    return found, Setting(visits["stage"].to_pylist(), visits["persona_id"].to_pylist(), years.tolist())


def course_rows(
    rows: Rows, found: Mentions, setting: Setting, *, target: CourseTarget, lexicon: Sequence[Term]
) -> None:
    """Add domain shares by stage and overall, and the order of onsets."""
    domains = list(dict.fromkeys(term.domain for term in lexicon))
    domain_of = np.array([domains.index(term.domain) for term in lexicon], dtype=np.intp)
    stages = np.array([stage or "" for stage in setting.stages], dtype=object)
    for stage, shares in target.domains.items():
        inside = stages[found.text] == stage if found.text.size else np.zeros(0, dtype=np.bool_)
        counted = np.bincount(domain_of[found.term[inside]], minlength=len(domains)).astype(np.float64)
        why_none = NO_TERMS if (stages == stage).any() else NO_TEXTS
        _domain_rows(rows, dict(zip(domains, counted, strict=True)), shares, stage=stage, why_none=why_none)
    _onset_rows(rows, found, setting, target=target, lexicon=lexicon)


def _domain_rows(rows: Rows, counted: Mapping[str, float], target: Shares, *, stage: str, why_none: str) -> None:
    n = int(sum(counted.values()))
    levels = list(counted)
    goal = Goal(0.0, target.mark)
    if n == 0:
        rows.missing("domain_tv", why_none, at=(stage, "all"), goal=goal)
        for domain in levels:
            rows.missing("domain_share", why_none, at=(stage, domain), goal=target.goal(domain))
        return
    mass = np.array([counted[domain] for domain in levels])
    wanted = np.array([target.values.get(domain, 0.0) for domain in levels])
    rows.add("domain_tv", total_variation(mass, wanted), at=(stage, "all"), n=n, goal=goal)
    for domain, share in zip(levels, mass / n, strict=True):
        rows.add("domain_share", known(share), at=(stage, domain), n=n, goal=target.goal(domain))


def mention_count_rows(
    rows: Rows, per_note: Sequence[int], setting: Setting, *, target: CourseTarget, resampled: Resampled
) -> None:
    """Add mentions per note by stage.

    Args:
        rows: Of the plan or of an arm of notes.
        per_note: Mentions that each note carries.
        setting: Stage and person of each note.
        target: Mean by stage.
        resampled: Draws of the persons, in the order of their first note.
    """
    values = np.array(per_note, dtype=np.float64)
    stages = np.array([stage or "" for stage in setting.stages], dtype=object)
    person = codes([one or "" for one in setting.persons])
    for stage, goal in target.mentions_per_note.items():
        inside = stages == stage
        if not inside.any():
            rows.missing("mentions_per_note", "no note of this stage", at=(STAGE, stage), goal=goal)
            continue
        interval = resampled.interval_of_mean(values[inside], person[inside])
        rows.add("mentions_per_note", known(float(values[inside].mean())), at=(STAGE, stage), n=int(inside.sum()),
                 goal=goal, interval=interval)  # fmt: skip


def _onset_rows(
    rows: Rows, found: Mentions, setting: Setting, *, target: CourseTarget, lexicon: Sequence[Term]
) -> None:
    if not target.domain_onsets:
        return
    names = {DOMAIN: [term.domain for term in lexicon], TERM: [term.term for term in lexicon]}
    goals = {DOMAIN: target.domain_onsets, TERM: target.term_onsets}
    for kind in (DOMAIN, TERM):
        first = first_mentions(found, setting, names[kind])
        medians = {name: float(np.median(years)) for name, years in first.items() if len(years) >= MIN_PERSONAS}
        ordered = [name for name in goals[kind] if name in medians]
        tau = _tau([medians[name] for name in ordered], [goals[kind][name].value or 0.0 for name in ordered])
        mark = computed(goal.mark or "assumed" for goal in goals[kind].values())
        rows.add("onset_tau", tau, at=(ONSET, kind), n=len(ordered), goal=Goal(1.0, mark))
        if kind == DOMAIN:
            _onset_years(rows, first, goals[kind])


def _tau(found: Sequence[float], target: Sequence[float]) -> Estimate:
    estimate = kendall_tau(np.array(found), np.array(target))
    if estimate.status == "ok":
        return estimate
    return undefined(f"{estimate.reason}, each first stated in the texts about {MIN_PERSONAS} personas or more")


def _onset_years(rows: Rows, first: Mapping[str, Sequence[float]], goals: Mapping[str, Goal]) -> None:
    for domain, goal in goals.items():
        years = first.get(domain, ())
        if len(years) < MIN_PERSONAS:
            reason = f"stated in dated texts about {len(years)} personas; at least {MIN_PERSONAS} are needed"
            rows.missing("onset_years", reason, at=(ONSET, domain), goal=goal)
        else:
            rows.add("onset_years", known(float(np.median(years))), at=(ONSET, domain), n=len(years), goal=goal)


def first_mentions(found: Mentions, setting: Setting, names: Sequence[str]) -> dict[str, list[float]]:
    """Years before the diagnosis at which each persona's texts first state a thing.

    Args:
        found: Mentions; denied ones begin nothing.
        setting: Persons and moments of the texts; texts without either are left out.
        names: What the term at each place of the lexicon counts as: itself, or its domain.

    Returns:
        Name to one value per persona whose texts state it; empty for what no dated text states.
    """
    years = np.array([np.nan if one is None else one for one in setting.years], dtype=np.float64)
    has_person = np.array([one is not None for one in setting.persons], dtype=np.bool_)
    used = np.flatnonzero(found.present & np.isfinite(years[found.text]) & has_person[found.text])
    person = codes([one or "" for one in setting.persons])[found.text[used]]
    kinds = list(dict.fromkeys(names))
    kind = np.array([kinds.index(name) for name in names], dtype=np.intp)[found.term[used]]
    n_persons = int(person.max(initial=-1)) + 1
    earliest = np.full(len(kinds) * n_persons, -np.inf)
    np.maximum.at(earliest, kind * n_persons + person, years[found.text[used]])
    by_kind = earliest.reshape(len(kinds), n_persons)
    return {name: row[np.isfinite(row)].tolist() for name, row in zip(kinds, by_kind, strict=True)}


def domain_pairs(found: Mentions, lexicon: Sequence[Term]) -> Floats:
    """Pairs of different terms in one text by their domains, shape (n_domains, n_domains), domains in lexicon order."""
    domains = list(dict.fromkeys(term.domain for term in lexicon))
    domain_of = np.array([domains.index(term.domain) for term in lexicon], dtype=np.intp)
    total = np.zeros((len(domains), len(domains)))
    cell = found.text * len(domains) + domain_of[found.term]
    # a block of texts at a time: a plan of 100,000 notes would else need a matrix of its own
    order = np.argsort(cell, kind="stable")
    edges = np.searchsorted(cell[order], np.arange(0, found.n_texts + BLOCK, BLOCK) * len(domains))
    for number, (start, stop) in enumerate(pairwise(edges)):
        local = cell[order[start:stop]] - number * BLOCK * len(domains)
        counts = np.bincount(local, minlength=BLOCK * len(domains)).reshape(BLOCK, len(domains))
        total += pair_counts(counts.astype(np.float64))
    return total


def co_occurrence_row(rows: Rows, pairs: Floats, reference: Floats, against: str) -> None:
    """Add the distance of the pairs of domains in one text, arm against `against`."""
    n = int(pairs.sum())
    if n == 0 or reference.sum() == 0:
        which = "the texts" if n == 0 else against
        rows.missing("co_occurrence_tv", f"no two terms stand in one text of {which}", at=(against, "all"))
        return
    rows.add("co_occurrence_tv", total_variation(pairs, reference), at=(against, "all"), n=n, goal=Goal(0.0, None))


def coverage_row(rows: Rows, found: Mentions, chosen: Sequence[int], lexicon: Sequence[Term]) -> None:
    """Add the share of the lexicon's terms found in the chosen texts."""
    if not lexicon or not chosen:
        rows.missing("term_coverage", "the task has no lexicon" if not lexicon else "no sentences")
        return
    inside = np.isin(found.text, np.array(chosen))
    share = np.unique(found.term[inside]).size / len(lexicon)
    rows.add("term_coverage", known(share), at=EVERYTHING, n=len(chosen))
