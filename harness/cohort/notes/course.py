"""When each domain's terms are first stated, and how much more often once they have been. Pure.

Both describe the notes. A first statement comes later than the beginning that the trajectory's onset section draws by,
and terms that are stated more often anyway look as if they persisted, so neither replaces a number there; they stand
beside it, and in the rates table.

Legend: R replicates (the first is the cohort itself), P patients, N notes, T terms, D domains, Q pairs of a patient and
a term that some note of that patient states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.cohort.notes.rates import ALL, N_REPLICATES, Rate, described
from harness.cohort.notes.tally import Ints, Notes
from harness.metrics.resampling import draw_patients, resample_sums
from harness.schemas.task import Term


@dataclass(frozen=True)
class _Pairs:
    """Shape (Q,) each."""

    patient: Ints
    term: Ints
    first: Ints  # the first note that states the term, counted from the patient's first note
    n_stated: Ints  # notes that state it
    years_before: NDArray[np.float64]  # the first statement


def course_rates(notes: Notes, lexicon: Sequence[Term], *, min_patients: int, rng: np.random.Generator) -> list[Rate]:
    """Median first statement by domain, and the restated ratio by domain and over all.

    The ratio is the share of notes that state a term among those after its first statement, over the share that state
    it for the first time among those up to then, terms that are never stated included. Notes that took their terms
    anew each time, all equally often, would give 1.
    """
    drawn = draw_patients(len(notes.patients), N_REPLICATES, rng=rng)
    multiplicities = np.vstack([np.ones((1, len(notes.patients)), np.uint8), drawn])
    pairs = _pairs(notes, len(lexicon))
    domains = list(dict.fromkeys(term.domain for term in lexicon))
    domain = np.array([domains.index(term.domain) for term in lexicon], dtype=np.int64)
    sums = _opportunities(notes, pairs, domain)  # (P, D, 4)
    drawn_sums = resample_sums(sums, multiplicities)
    rates = []
    for index, name in enumerate(domains):
        inside = domain[pairs.term] == index
        n_patients = len(np.unique(pairs.patient[inside]))
        if n_patients < min_patients:
            reason = f"stated in notes of fewer than {min_patients} patients"
            rates += [Rate(parameter, ALL, name, None, None, None, None, int(inside.sum()), n_patients, "insufficient",
                           reason) for parameter in ("first_stated_years_before", "restated_ratio")]  # fmt: skip
            continue
        medians = _medians(pairs.years_before[inside], pairs.patient[inside], multiplicities)
        counted = {"n": int(inside.sum()), "n_patients": n_patients}
        rates.append(described("first_stated_years_before", ALL, name, medians, **counted))
        rates.append(described("restated_ratio", ALL, name, _ratio(drawn_sums[:, index]), **counted))
    rates.append(described("restated_ratio", ALL, ALL, _ratio(drawn_sums.sum(axis=1)), n=len(pairs.term),
                           n_patients=len(np.unique(pairs.patient))))  # fmt: skip
    return rates


def _pairs(notes: Notes, n_terms: int) -> _Pairs:
    stated = ~notes.is_absent
    note, term = notes.note[stated], notes.term[stated]  # notes in order of patient and time
    pair, at, n_stated = np.unique(notes.patient[note] * n_terms + term, return_index=True, return_counts=True)
    patient = pair // n_terms
    opening = np.searchsorted(notes.patient, np.arange(len(notes.patients)))
    first = note[at]
    return _Pairs(patient, pair % n_terms, first - opening[patient], n_stated, -notes.years[first])


def _opportunities(notes: Notes, pairs: _Pairs, domain: Ints) -> Ints:
    """By patient and domain: later statements, notes after the first, first statements, notes up to the first."""
    n_patients, n_domains = len(notes.patients), int(domain.max()) + 1
    n_notes = np.bincount(notes.patient, minlength=n_patients)
    columns = (pairs.n_stated - 1, n_notes[pairs.patient] - 1 - pairs.first, np.ones_like(pairs.first), pairs.first + 1)
    sums = np.zeros((n_patients, n_domains, len(columns)), dtype=np.int64)
    for column, values in enumerate(columns):
        np.add.at(sums[:, :, column], (pairs.patient, domain[pairs.term]), values)
    never = np.bincount(domain, minlength=n_domains) - sums[:, :, 2]  # terms without a statement
    sums[:, :, 3] += never * n_notes[:, None]
    return sums


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (R,); NaN where there was nothing to count."""
    again, after, first, until = np.moveaxis(sums, -1, 0)
    defined = (after > 0) & (first > 0) & (until > 0)
    found: NDArray[np.float64] = np.where(defined, again * until, np.nan)
    ratio: NDArray[np.float64] = np.divide(found, after * first, out=np.full_like(found, np.nan), where=defined)
    return ratio


def _medians(values: NDArray[np.float64], patient: Ints, multiplicities: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Median of the pairs under each replicate, a pair as often as its patient; the lower one of two. Shape (R,)."""
    order = np.argsort(values, kind="stable")
    values, patient = values[order], patient[order]
    medians = np.full(len(multiplicities), np.nan)
    for replicate, drawn in enumerate(multiplicities):
        reached = np.cumsum(drawn[patient], dtype=np.int64)
        if reached[-1]:
            medians[replicate] = values[np.searchsorted(reached, (reached[-1] + 1) // 2)]
    return medians
