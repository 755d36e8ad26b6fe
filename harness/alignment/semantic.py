"""Semantic alignment: the years before a diagnosis in, visits and their mentions out, persona by persona.

A persona's history depends on the trajectory, the lexicon and the persona's own random stream, and on no other persona.
Tables are built column by column: one persona has about a hundred visits and two thousand mentions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.schemas.tables import MENTIONS, VISITS
from harness.schemas.task import Term
from harness.schemas.trajectory import Counts, Trajectory, reported_probability

DAYS_PER_YEAR = 365.25
ABSENT, PRESENT = "absent", "present"


@dataclass(frozen=True)
class _Plan:
    """A trajectory as arrays, stages in rows.

    Legend: S stages, D domains, T terms.
    """

    domains: tuple[str, ...]
    terms: NDArray[np.object_]  # (T,)
    term_domain: NDArray[np.int64]  # (T,), index into domains
    log_frequency: NDArray[np.float64]  # (T,)
    domain_share: NDArray[np.float64]  # (S, D)
    reported: NDArray[np.float64]  # (S, D), probability that somebody else reports a present mention
    absent: NDArray[np.float64]  # (S,)
    domain_label: NDArray[np.object_]  # (D,)


def draw_visits(trajectory: Trajectory, persona_id: str, rng: np.random.Generator) -> pa.Table:
    """The notes of one persona over the trajectory's window, earliest first.

    Stage boundaries are jittered; every year has a number of notes drawn around the rate of the stages it holds; notes
    fall on random days, and their type follows the stage.

    Returns:
        The persona's rows of the visits table. `days_before_diagnosis` counts whole days, 0 is the last one.
    """
    edges = _stage_edges(trajectory, rng)
    years = _note_years(trajectory, edges, rng)
    stage = np.clip(np.searchsorted(edges, years, side="right") - 1, 0, len(trajectory.stages) - 1)
    end = trajectory.time_axis.window[1]
    note_type = np.empty(len(years), dtype=object)
    for index, stage_id in enumerate(trajectory.stage_ids):
        shares = trajectory.note_type_share[stage_id].values
        where = np.flatnonzero(stage == index)
        note_type[where] = _choose(list(shares), np.array(list(shares.values())), len(where), rng)
    return pa.table(
        {
            "persona_id": [persona_id] * len(years),
            "visit_index": np.arange(len(years), dtype=np.int64),
            "days_before_diagnosis": np.floor((end - years) * DAYS_PER_YEAR).astype(np.int64),
            "stage": np.array(trajectory.stage_ids, dtype=object)[stage],
            "note_type": note_type,
            "author_id": pa.nulls(len(years), pa.string()),
            "style": pa.nulls(len(years), pa.string()),
        },
        schema=VISITS.schema,
    )


def draw_mentions(
    trajectory: Trajectory, lexicon: Sequence[Term], visits: pa.Table, *, negative: str | None, rng: np.random.Generator
) -> pa.Table:
    """What the notes of one persona mention.

    Each note has a number of mentions by its stage, spread over the domains by their shares; inside a domain, terms are
    taken by their frequency, none twice in a note. A share of mentions is denied and gets `negative`; of the others,
    some are reported by somebody else and get that label, the rest the label of their domain.

    Args:
        trajectory: As loaded and checked against the task.
        lexicon: Terms of the domains.
        visits: The persona's rows of the visits table.
        negative: Label of denied mentions; None only for trajectories without any.
        rng: The persona's own stream.

    Returns:
        The persona's rows of the mentions table, notes in order.
    """
    plan = _plan(trajectory, lexicon)
    stage_ids = {stage_id: index for index, stage_id in enumerate(trajectory.stage_ids)}
    stage = np.array([stage_ids[one] for one in visits["stage"].to_pylist()], dtype=np.int64)
    multiplier = trajectory.mentions_per_note.density_multiplier.v
    n_mentions = _draw_counts(trajectory.mentions_per_note, _by_stage(trajectory, trajectory.mentions_per_note)[stage]
                              * multiplier, rng)  # fmt: skip
    note, term = _draw_terms(plan, _domain_counts(plan, stage, n_mentions, rng), rng)
    domain = plan.term_domain[term]
    is_absent = rng.random(len(term)) < plan.absent[stage[note]]
    is_reported = rng.random(len(term)) < plan.reported[stage[note], domain]
    label = plan.domain_label[domain]
    if trajectory.reported_by_others is not None:
        label[is_reported] = trajectory.reported_by_others.label
    label[is_absent] = negative
    starts = np.searchsorted(note, np.arange(visits.num_rows))
    return pa.table(
        {
            "persona_id": np.array(visits["persona_id"].to_pylist(), dtype=object)[note],
            "visit_index": visits["visit_index"].to_numpy()[note],
            "mention_index": np.arange(len(note)) - starts[note],
            "domain": np.array(plan.domains, dtype=object)[domain],
            "term": plan.terms[term],
            "label": label,
            "polarity": np.where(is_absent, ABSENT, PRESENT).astype(object),
            "course": pa.nulls(len(note), pa.string()),
        },
        schema=MENTIONS.schema,
    )


# -- visits ------------------------------------------------------------------------------------------------------------


def _stage_edges(trajectory: Trajectory, rng: np.random.Generator) -> NDArray[np.float64]:
    """Start of every stage and the end of the last, shape (S + 1,), in order and inside the window."""
    start, end = trajectory.time_axis.window
    inner = np.array(trajectory.boundaries, dtype=np.float64)
    inner = np.sort(inner + rng.normal(0.0, trajectory.stage_jitter_years.v, size=len(inner)))
    return np.concatenate([[start], np.clip(inner, start, end), [end]])


def _note_years(trajectory: Trajectory, edges: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Moments of the notes in years relative to the diagnosis, sorted, before the window's end."""
    start, end = trajectory.time_axis.window
    rate = _by_stage(trajectory, trajectory.notes_per_year)
    moments: list[NDArray[np.float64]] = []
    for year in np.arange(start, end):
        inside = np.clip(edges, year, min(year + 1, end))  # (S + 1,), the year cut into its stages
        expected = rate * np.diff(inside)  # notes of this year by stage, (S,)
        n_notes = int(_draw_counts(trajectory.notes_per_year, np.array([expected.sum()]), rng)[0])
        stage = _choose(list(range(len(rate))), expected, n_notes, rng).astype(np.int64)
        moments.append(inside[stage] + rng.random(n_notes) * np.diff(inside)[stage])
    return np.sort(np.concatenate(moments)) if moments else np.empty(0)


def _by_stage(trajectory: Trajectory, counts: Counts) -> NDArray[np.float64]:
    return np.array([counts.by_stage[stage].v for stage in trajectory.stage_ids])


def _draw_counts(counts: Counts, mean: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Poisson or negative binomial counts around `mean`; the latter as a Poisson with gamma-distributed rate."""
    if counts.dispersion is not None:
        size = counts.dispersion.v
        mean = rng.gamma(size, mean / size)
    return rng.poisson(mean).astype(np.int64)


def _choose(
    options: list[int] | list[str], shares: NDArray[np.float64], n: int, rng: np.random.Generator
) -> NDArray[np.object_]:
    chosen: NDArray[np.object_] = np.array(options, dtype=object)
    if n == 0:
        return chosen[:0]
    return chosen[rng.choice(len(options), size=n, p=shares / shares.sum())]


# -- mentions ----------------------------------------------------------------------------------------------------------


def _plan(trajectory: Trajectory, lexicon: Sequence[Term]) -> _Plan:
    domains = tuple(trajectory.domain_to_label.values)
    stages = trajectory.stage_ids
    reported = [reported_probability(trajectory, stage) for stage in stages]
    shares = [trajectory.domain_share[stage].values for stage in stages]
    return _Plan(
        domains=domains,
        terms=np.array([term.term for term in lexicon], dtype=object),
        term_domain=np.array([domains.index(term.domain) for term in lexicon], dtype=np.int64),
        log_frequency=np.log([term.frequency for term in lexicon]),
        domain_share=np.array([[share.get(domain, 0.0) for domain in domains] for share in shares]),
        reported=np.array([[one.get(domain, 0.0) for domain in domains] for one in reported]),
        absent=np.array([trajectory.absent_share[one].v if one in trajectory.absent_share else 0.0 for one in stages]),
        domain_label=np.array([trajectory.domain_to_label.values[domain] for domain in domains], dtype=object),
    )


def _domain_counts(
    plan: _Plan, stage: NDArray[np.int64], n_mentions: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Mentions of each note by domain, shape (n_notes, D); no domain gives more than its terms.

    What a small domain cannot give is drawn from the domains that still have terms; a note that asks for more than all
    domains hold gets every term once.
    """
    shares = plan.domain_share[stage]
    room = np.bincount(plan.term_domain, minlength=len(plan.domains))
    counts = rng.multinomial(n_mentions, shares / shares.sum(axis=1, keepdims=True))
    for note in np.flatnonzero((counts > room).any(axis=1)):
        counts[note] = np.minimum(counts[note], room)
        while (missing := n_mentions[note] - counts[note].sum()) > 0:
            open_share = np.where(counts[note] < room, shares[note], 0.0)
            if open_share.sum() == 0:
                break
            counts[note] = np.minimum(counts[note] + rng.multinomial(missing, open_share / open_share.sum()), room)
    return counts.astype(np.int64)


def _draw_terms(
    plan: _Plan, counts: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Note and term of every mention, both shape (n_mentions,), notes in order and terms shuffled inside a note.

    Terms are drawn without replacement with probabilities proportional to frequency: the ones with the largest
    log frequency plus Gumbel noise.

    Source: Efraimidis and Spirakis, Information Processing Letters 97 (2006) 181, in its Gumbel form.
    """
    keys = plan.log_frequency + rng.gumbel(size=(len(counts), len(plan.terms)))  # (n_notes, T)
    taken = np.zeros(keys.shape, dtype=np.bool_)
    for domain in range(len(plan.domains)):
        columns = np.flatnonzero(plan.term_domain == domain)
        rank = np.argsort(np.argsort(-keys[:, columns], axis=1, kind="stable"), axis=1, kind="stable")
        taken[:, columns] = rank < counts[:, [domain]]
    note, term = np.nonzero(taken)
    order = np.lexsort((rng.random(len(note)), note))
    return note[order], term[order]
