"""Notes and their mentions in, sums by patient out: everything the estimates need, so that patients can be resampled.

Legend: P patients, N notes, M mentions, B bins of time, Y years of the window, K note types, D domains, T terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.cohort.notes.read import Kept, years_of
from harness.cohort.notes.scan import Mentions
from harness.cohort.notes.timeline import Timeline, observed_days
from harness.schemas.task import Term
from harness.schemas.trajectory import Trajectory

Ints = NDArray[np.int64]
SCATTER = 2654435761  # Knuth's multiplier: different mentions get numbers far apart


@dataclass(frozen=True)
class Notes:
    """Notes that stay, sorted by patient and time, and their mentions in the order of the notes."""

    patients: tuple[str, ...]  # sorted
    patient: Ints  # (N,)
    days: Ints  # (N,), before the diagnosis
    note_type: Ints  # (N,), index into note_types; -1 where the row names none
    note_types: tuple[str, ...]
    note: Ints  # (M,)
    term: Ints  # (M,)
    is_absent: NDArray[np.bool_]  # (M,)

    @property
    def years(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = years_of(self.days)
        return found


@dataclass(frozen=True)
class Tally:
    """Sums by patient. The note that opens a record is in the term counts and in nothing else."""

    timeline: Timeline
    patients: tuple[str, ...]
    note_types: tuple[str, ...]
    domains: tuple[str, ...]
    days: Ints  # (P, B), observed
    notes: Ints  # (P, B)
    typed: Ints  # (P, B, K)
    mentions: Ints  # (P, B, D), stated or denied
    absent: Ints  # (P, B)
    squares: Ints  # (P, B), squared number of mentions, summed over notes
    years: Ints  # (P, Y, 3): whole years observed, their notes, their squared notes
    present_by_year: Ints  # (P, Y, 2): days observed, stated mentions
    terms: Ints  # (P, T, 2): notes that state the term, notes that deny it


def gather(kept: Kept, mentions: Mentions) -> Notes:
    """Sort notes by patient and time, so that the order of the file decides nothing."""
    patients = tuple(sorted(set(kept.patient_id)))
    index = {patient: number for number, patient in enumerate(patients)}
    types = tuple(sorted({one for one in kept.note_type if one is not None}))
    type_index = {name: number for number, name in enumerate(types)}
    patient = np.array([index[one] for one in kept.patient_id], dtype=np.int64)
    days = np.array(kept.days, dtype=np.int64)
    note_type = np.array([-1 if one is None else type_index[one] for one in kept.note_type], dtype=np.int64)
    order = np.lexsort((_signature(mentions, len(days)), note_type, -days, patient))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    rows = np.lexsort((mentions.term, place[mentions.note]))
    return Notes(patients, patient[order], days[order], note_type[order], types,
                 place[mentions.note][rows], mentions.term[rows], mentions.is_absent[rows])  # fmt: skip


def _signature(mentions: Mentions, n_notes: int) -> Ints:
    """A number that follows from what a note mentions, to order notes of one day by."""
    scattered = (mentions.term * 2 + mentions.is_absent + 1) * SCATTER % 2**31
    found: Ints = np.zeros(n_notes, dtype=np.int64)
    np.add.at(found, mentions.note, scattered)
    return found


def tally(notes: Notes, timeline: Timeline, trajectory: Trajectory, lexicon: Sequence[Term]) -> Tally:
    """Sums by patient over bins and years.

    Args:
        notes: As gathered; not empty.
        timeline: Bins of the trajectory.
        trajectory: Domains, in the order of `domain_to_label`.
        lexicon: The terms that mentions index.
    """
    domains = tuple(trajectory.domain_to_label.values)
    domain = np.array([domains.index(term.domain) for term in lexicon], dtype=np.int64)
    n_patients = len(notes.patients)
    ends_open = trajectory.time_axis.window[1] > 0
    starts = np.searchsorted(notes.patient, np.arange(n_patients))
    ends = np.searchsorted(notes.patient, np.arange(n_patients), side="right") - 1
    inner = np.ones(len(notes.patient), dtype=np.bool_)
    inner[starts] = False
    if ends_open:
        inner[ends] = False
    bins = timeline.bin_of(notes.years)
    n_bins = len(timeline.nominal)
    cell = (notes.patient * n_bins + bins)[inner]
    of_note = inner[notes.note]
    note = notes.note[of_note]
    mention_cell = (notes.patient * n_bins + bins)[note]
    per_note = np.bincount(notes.note, minlength=len(bins))
    typed = inner & (notes.note_type >= 0)
    observed = observed_days(timeline, notes.days[starts], notes.days[ends], ends_open=ends_open)
    return Tally(
        timeline=timeline,
        patients=notes.patients,
        note_types=notes.note_types,
        domains=domains,
        days=observed,
        notes=_count(cell, n_patients, n_bins),
        typed=_count((notes.patient * n_bins + bins)[typed] * len(notes.note_types) + notes.note_type[typed],
                     n_patients, n_bins, len(notes.note_types)),
        mentions=_count(mention_cell * len(domains) + domain[notes.term[of_note]], n_patients, n_bins, len(domains)),
        absent=_count(mention_cell[notes.is_absent[of_note]], n_patients, n_bins),
        squares=_sum(cell, per_note[inner] ** 2, n_patients, n_bins),
        years=_years(notes, inner, timeline, observed),
        present_by_year=_present_by_year(notes, inner, timeline, observed),
        terms=_count((notes.patient[notes.note] * len(lexicon) + notes.term) * 2 + notes.is_absent, n_patients,
                     len(lexicon), 2),
    )  # fmt: skip


def _count(cells: Ints, *shape: int) -> Ints:
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


def _sum(cells: Ints, values: Ints, *shape: int) -> Ints:
    total = np.bincount(cells, weights=values, minlength=int(np.prod(shape)))
    return total.astype(np.int64).reshape(shape)


def _year_of_bin(timeline: Timeline) -> tuple[Ints, int]:
    year = np.floor(timeline.edges[:-1] - timeline.edges[0]).astype(np.int64)
    return year, int(year[-1]) + 1


def _years(notes: Notes, inner: NDArray[np.bool_], timeline: Timeline, observed: Ints) -> Ints:
    """Whole years that a patient was observed through, their notes and their squared notes, shape (P, Y, 3)."""
    year_of_bin, n_years = _year_of_bin(timeline)
    n_patients = len(notes.patients)
    year = year_of_bin[timeline.bin_of(notes.years[inner])]
    n_notes = _count(notes.patient[inner] * n_years + year, n_patients, n_years)
    days = np.stack([observed[:, year_of_bin == one].sum(axis=1) for one in range(n_years)], axis=1)
    whole = days >= np.stack([_whole(timeline, year_of_bin == one) for one in range(n_years)])
    return np.stack([whole.astype(np.int64), n_notes * whole, n_notes**2 * whole], axis=2)


def _whole(timeline: Timeline, of_year: NDArray[np.bool_]) -> int:
    """Days of a year of the window that is observed from end to end; days are whole, so one may be missing."""
    return int(np.floor(np.diff(timeline.edges)[of_year].sum() * 365.25)) - 1


def _present_by_year(notes: Notes, inner: NDArray[np.bool_], timeline: Timeline, observed: Ints) -> Ints:
    year_of_bin, n_years = _year_of_bin(timeline)
    n_patients = len(notes.patients)
    stated = notes.note[~notes.is_absent & inner[notes.note]]
    year = year_of_bin[timeline.bin_of(notes.years[stated])]
    present = _count(notes.patient[stated] * n_years + year, n_patients, n_years)
    days = np.stack([observed[:, year_of_bin == one].sum(axis=1) for one in range(n_years)], axis=1)
    return np.stack([days, present], axis=2)
