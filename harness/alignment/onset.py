"""Terms of one persona's notes that hang together: symptoms begin, are stated again, worsen, and are not denied after.

Every term of a persona has a moment at which it begins, and may never reach it. A note states terms that have begun;
where fewer have begun than it is to state, those with the earliest moments begin with this note, early. So the counts
stay as they are, and terms begin in about the declared order whatever the counts ask for. That is the trade-off: with
many mentions a note from the first day on, as many terms have begun by then, whatever their declared beginnings.

Pure. Legend: D domains, T lexicon terms, N notes of one persona, M mentions of one persona.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.alignment.mentions import Lexicon, Planned, largest_keys
from harness.schemas.onset import Onset

NEW, STABLE, WORSE = "new", "stable", "worse"
# Tiers of what a note denies, far beyond any log frequency plus noise (below 50): terms that have not begun go first.
BEGUN, STATED, TAKEN = 1e3, 1e4, 1e5


@dataclass(frozen=True)
class Course:
    """State of every term at every note, shape (N, T) each."""

    has_begun: NDArray[np.bool_]
    severity: NDArray[np.int64]  # whole steps since the term began; 0 where it has not


def follow(
    onset: Onset, lexicon: Lexicon, planned: Planned, years: NDArray[np.float64], rng: np.random.Generator
) -> Course:
    """Draw when each term begins in this persona, and follow it through the notes.

    Severity is the whole part of steps a year x years since the term began + a phase, uniform in [0, 1) for each term.

    Args:
        onset: Beginnings, and steps of worsening a year.
        lexicon: Terms and their domains.
        planned: For the number of mentions that each note states.
        years: Moment of each note relative to time 0, ascending, shape (N,).
        rng: The persona's own stream.
    """
    moment, begins = draw_beginnings(onset, lexicon, rng)
    phase = rng.random(len(moment))
    n_present = planned.counts(len(lexicon.domains), absent=False)
    has_begun = _begun(begins <= years[:, None], moment, n_present, lexicon)
    if len(years) == 0:
        return Course(has_begun=has_begun, severity=has_begun.astype(np.int64))
    first = years[has_begun.argmax(axis=0)]  # (T,), the first note at which the term has begun, if it ever has
    since = np.maximum(years[:, None] - np.minimum(begins, first), 0.0)  # (N, T)
    severity = np.floor(onset.worsening.steps_per_year.v * since + phase).astype(np.int64)
    return Course(has_begun=has_begun, severity=np.where(has_begun, severity, 0))


def draw_beginnings(
    onset: Onset, lexicon: Lexicon, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Moment of each term in one persona, in years relative to time 0, and the same with infinity where it never comes.

    Shape (T,) both.
    """
    of = np.array([onset.of(term) for term in lexicon.entries])  # (T, 3)
    moment = rng.normal(-of[:, 0], of[:, 1])
    return moment, np.where(rng.random(len(of)) < of[:, 2], moment, np.inf)


def _begun(
    by_itself: NDArray[np.bool_], moment: NDArray[np.float64], n_present: NDArray[np.int64], lexicon: Lexicon
) -> NDArray[np.bool_]:
    """Whether each term has begun at each note: by itself, or because this or an earlier note needed it; (N, T)."""
    member = np.eye(len(lexicon.domains), dtype=np.int64)[lexicon.term_domain]  # (T, D)
    has_begun = by_itself.copy()
    needed = np.zeros(len(moment), dtype=np.bool_)
    for note in range(len(has_begun)):
        has_begun[note] |= needed
        missing = np.maximum(n_present[note] - has_begun[note] @ member, 0)  # (D,)
        if missing.any():
            keys = np.where(has_begun[note], -TAKEN, -moment)
            needed |= largest_keys(keys[None], missing[None], lexicon.term_domain)[0]
            has_begun[note] |= needed
    return has_begun


def choose_together(
    onset: Onset, lexicon: Lexicon, planned: Planned, course: Course, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Term of each mention, and the course of the present ones; None for what is denied. Shape (M,) both.

    Present: terms that have begun, without replacement, by frequency x (1 + persistence) once an earlier note has
    stated the term x (1 + gain) ^ severity. Absent: terms that have not begun, by frequency; where a domain has too few
    of them, terms that no earlier note has stated, and only then terms that one has.

    Source: of drawing without replacement by the largest keys, see `mentions.choose_apart`.
    """
    shape = course.has_begun.shape
    n_present = planned.counts(len(lexicon.domains), absent=False)
    gain = np.log1p(onset.worsening.gain_per_step.v)
    keys = np.where(course.has_begun, lexicon.log_frequency + gain * course.severity + rng.gumbel(size=shape), -TAKEN)
    present, stated, word = _state(keys, n_present, course.severity, lexicon, np.log1p(onset.persistence.v))
    keys = lexicon.log_frequency + rng.gumbel(size=shape) - BEGUN * course.has_begun - STATED * stated - TAKEN * present
    absent = largest_keys(keys, planned.counts(len(lexicon.domains), absent=True), lexicon.term_domain)
    note, term = np.nonzero(present | absent)
    is_absent = absent[note, term]
    # Both lists in the order of note, domain and polarity: they have as many rows of each.
    rows = np.lexsort((planned.is_absent, planned.domain, planned.note))
    found = np.lexsort((rng.random(len(note)), is_absent, lexicon.term_domain[term], note))
    chosen, told = np.empty(len(note), dtype=np.int64), np.empty(len(note), dtype=object)
    chosen[rows] = term[found]
    told[rows] = word[note, term][found]
    return chosen, told


def _state(
    keys: NDArray[np.float64],
    n_present: NDArray[np.int64],
    severity: NDArray[np.int64],
    lexicon: Lexicon,
    persists: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.object_]]:
    """Note by note: the terms it states, those that earlier ones have stated, and the course of what it states.

    A note depends on those before it through persistence, hence the loop. All shapes (N, T).
    """
    present, stated_before = np.zeros(keys.shape, dtype=np.bool_), np.zeros(keys.shape, dtype=np.bool_)
    word = np.full(keys.shape, None, dtype=object)
    stated = np.zeros(keys.shape[1], dtype=np.bool_)
    last_severity = np.zeros(keys.shape[1], dtype=np.int64)
    for note in range(len(keys)):
        stated_before[note] = stated
        taken = largest_keys((keys[note] + persists * stated)[None], n_present[[note]], lexicon.term_domain)[0]
        present[note] = taken
        word[note, taken] = np.where(severity[note] > last_severity, WORSE, STABLE)[taken]
        word[note, taken & ~stated] = NEW
        last_severity[taken] = severity[note, taken]
        stated |= taken
    return present, stated_before, word
