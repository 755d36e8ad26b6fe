"""Semantic alignment: the years before a diagnosis in, visits and their mentions out, persona by persona.

A persona's history depends on the trajectory, the lexicon and the persona's own random stream, and on no other persona.
Tables are built column by column: one persona has about a hundred visits and two thousand mentions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.alignment.mentions import Lexicon, Planned, choose_apart, plan_mentions, read_lexicon
from harness.alignment.onset import choose_together, follow
from harness.alignment.visits import DAYS_PER_YEAR, authors, note_types, note_years, stage_edges
from harness.schemas.onset import Onset
from harness.schemas.tables import MENTIONS, VISITS
from harness.schemas.task import Term
from harness.schemas.trajectory import Trajectory

ABSENT, PRESENT = "absent", "present"


def draw_visits(trajectory: Trajectory, persona_id: str, rng: np.random.Generator) -> pa.Table:
    """The notes of one persona over the trajectory's window, earliest first.

    Stage boundaries are jittered; every year has a number of notes drawn around the rate of the stages it holds; notes
    fall on random days, and their type follows the stage. Author and style are null where the trajectory has no
    `documentation`.

    Returns:
        The persona's rows of the visits table. `days_before_diagnosis` counts whole days to time 0: 0 is the
        last one before it, and what is negative comes after it.
    """
    edges = stage_edges(trajectory, rng)
    years = note_years(trajectory, edges, rng)
    stage = np.clip(np.searchsorted(edges, years, side="right") - 1, 0, len(trajectory.stages) - 1)
    types = note_types(trajectory, stage, rng)
    days = np.floor(-years * DAYS_PER_YEAR)  # to time 0, not to the window's end, which may lie years after it
    author_id = style = pa.nulls(len(years), pa.string())
    if trajectory.documentation is not None:
        author_id, style = authors(trajectory.documentation, persona_id, types, rng)
    return pa.table(
        {
            "persona_id": [persona_id] * len(years),
            "visit_index": np.arange(len(years), dtype=np.int64),
            "days_before_diagnosis": days.astype(np.int64),
            "stage": np.array(trajectory.stage_ids, dtype=object)[stage],
            "note_type": types,
            "author_id": author_id,
            "style": style,
        },
        schema=VISITS.schema,
    )


def draw_mentions(
    trajectory: Trajectory, terms: Sequence[Term], visits: pa.Table, *, negative: str | None, rng: np.random.Generator
) -> pa.Table:
    """What the notes of one persona mention.

    Each note has a number of mentions by its stage, spread over the domains by their shares; a share of them is denied
    and gets `negative`; of the others, some are reported by somebody else and get that label, the rest the label of
    their domain. Inside a domain, terms are taken by their frequency, none twice in a note; with the trajectory's
    `onset`, the notes of a persona hang together (see `onset.py`), else each stands alone and `course` is null.

    Args:
        trajectory: As loaded and checked against the task.
        terms: The lexicon.
        visits: The persona's rows of the visits table.
        negative: Label of denied mentions; None only for trajectories without any.
        rng: The persona's own stream.

    Returns:
        The persona's rows of the mentions table, notes in order.
    """
    lexicon = read_lexicon(trajectory, terms)
    stage_ids = {stage_id: index for index, stage_id in enumerate(trajectory.stage_ids)}
    stage = np.array([stage_ids[one] for one in visits["stage"].to_pylist()], dtype=np.int64)
    planned = plan_mentions(trajectory, lexicon, stage, rng)
    is_reported = rng.random(len(planned.note)) < lexicon.reported[stage[planned.note], planned.domain]
    label = lexicon.domain_label[planned.domain]
    if trajectory.reported_by_others is not None:
        label[is_reported] = trajectory.reported_by_others.label
    label[planned.is_absent] = negative
    term, course = _terms(trajectory.onset, lexicon, planned, _years(visits), rng)
    order = np.lexsort((rng.random(len(term)), planned.note))  # shuffled inside a note
    note = planned.note[order]
    return pa.table(
        {
            "persona_id": np.array(visits["persona_id"].to_pylist(), dtype=object)[note],
            "visit_index": visits["visit_index"].to_numpy()[note],
            "mention_index": np.arange(len(note)) - np.searchsorted(note, note),
            "domain": np.array(lexicon.domains, dtype=object)[planned.domain[order]],
            "term": lexicon.terms[term[order]],
            "label": label[order],
            "polarity": np.where(planned.is_absent, ABSENT, PRESENT).astype(object)[order],
            "course": course[order],
        },
        schema=MENTIONS.schema,
    )


def _terms(
    onset: Onset | None, lexicon: Lexicon, planned: Planned, years: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Term and course of each mention, shape (M,) both."""
    if onset is None:
        return choose_apart(lexicon, planned, rng), np.full(len(planned.note), None, dtype=object)
    course = follow(onset, lexicon, planned, years, rng)
    return choose_together(onset, lexicon, planned, course, rng)


def _years(visits: pa.Table) -> NDArray[np.float64]:
    """Moments of the notes in years relative to the diagnosis; a day's notes share its end."""
    days: NDArray[np.int64] = visits["days_before_diagnosis"].to_numpy()
    return -days / DAYS_PER_YEAR
