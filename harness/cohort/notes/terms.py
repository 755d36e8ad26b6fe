"""How often each term is taken inside its domain, and which terms and domains stand in the same notes. Pure.

Legend: R replicates (the first is the cohort itself), P patients, N notes, M mentions, T terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cohort.notes.rates import N_REPLICATES, Rate, described
from harness.cohort.notes.tally import Notes, Tally
from harness.metrics.resampling import draw_patients, resample_sums
from harness.schemas.task import Term

CYCLES = 200
BISECTIONS = 60
ARRIVED = 1e-9
HIGHEST_LOG_TIME = 50.0


def term_rates(
    tally: Tally, notes: Notes, lexicon: Sequence[Term], *, min_patients: int, rng: np.random.Generator
) -> list[Rate]:
    """Relative frequency of each term inside its domain, adding up to 1, with intervals; and terms never found.

    A note takes the terms of a domain without repetition, so frequent terms fill fewer of a note's places than their
    frequency asks for. The share of mentions is corrected for that; the interval's ends are moved by the same factor.
    A term of fewer than `min_patients` patients has no value of its own.
    """
    drawn = draw_patients(len(tally.patients), N_REPLICATES, rng=rng)
    multiplicities = np.vstack([np.ones((1, len(tally.patients)), np.uint8), drawn])
    found = tally.terms.sum(axis=2)  # (P, T), stated or denied
    sums = resample_sums(found, multiplicities)  # (R, T)
    n_patients = (found > 0).sum(axis=0)
    rates: list[Rate] = []
    for domain, members in _members(lexicon):
        total = sums[:, members].sum(axis=1, keepdims=True)
        shares = np.divide(sums[:, members], total, out=np.full((len(sums), len(members)), np.nan), where=total > 0)
        factor = np.ones(len(members))
        if total[0, 0] > 0:
            frequency = frequencies(sums[0, members], _places(notes, members))
            factor = np.divide(frequency, shares[0], out=factor, where=shares[0] > 0)
        for column, term in enumerate(members):
            n = int(sums[0, term])
            if n_patients[term] < min_patients:
                reason = f"in notes of fewer than {min_patients} patients"
                rates.append(Rate("term_frequency", domain, lexicon[term].term, None, None, None, None, n,
                                  int(n_patients[term]), "insufficient", reason))  # fmt: skip
            else:
                rates.append(described("term_frequency", domain, lexicon[term].term, shares[:, column] * factor[column],
                                       n=n, n_patients=int(n_patients[term])))  # fmt: skip
    return rates


def _members(lexicon: Sequence[Term]) -> Iterator[tuple[str, list[int]]]:
    for domain in dict.fromkeys(term.domain for term in lexicon):
        yield domain, [index for index, term in enumerate(lexicon) if term.domain == domain]


def _places(notes: Notes, members: Sequence[int]) -> NDArray[np.int64]:
    """Number of notes that hold 0, 1, 2, ... terms of a domain."""
    inside = np.isin(notes.term, members)
    return np.bincount(np.bincount(notes.note[inside])).astype(np.int64)


def frequencies(found: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Relative frequencies under which drawing without replacement gives each term as often as it was found.

    Terms arrive at exponential times whose rates are the frequencies f; a note with k places takes the first k. A term
    is among them with probability close to 1 - exp(-f t), where t makes those probabilities add up to k.

    Args:
        found: Notes that hold each term, shape (T,), not all 0.
        places: Notes with 0, 1, 2, ... terms.

    Returns:
        Adding up to 1, shape (T,); 0 for a term that was never found.

    Source: Rosen, J. Stat. Plann. Inference 62 (1997) 135 and 159 (order sampling; inclusion probabilities).
    """
    sizes = np.arange(len(places))
    used = (places > 0) & (sizes > 0) & (sizes < (found > 0).sum())  # a note that takes every term says nothing
    frequency: NDArray[np.float64] = found / found.sum()
    if not used.any():
        return frequency
    full = places[~used & (sizes > 0)].sum() * (found > 0)  # those notes hold each term once
    for _ in range(CYCLES):
        expected = full + places[used] @ _inclusion(frequency, sizes[used])
        new: NDArray[np.float64] = frequency * np.divide(
            found, expected, out=np.zeros_like(frequency), where=expected > 0
        )
        new /= new.sum()
        if np.abs(new - frequency).max() < ARRIVED:
            return new
        frequency = new
    return frequency


def _inclusion(frequency: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of each term among the first of each size, shape (n_sizes, T).

    Exact for one and two places, which is most notes: f, and f (1 + sum over the others of f' / (1 - f')). For more, t
    is found by bisection.
    """
    low, high = np.full(len(sizes), -HIGHEST_LOG_TIME), np.full(len(sizes), HIGHEST_LOG_TIME)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        total = -np.expm1(-np.exp(middle)[:, None] * frequency).sum(axis=1)
        low, high = np.where(total < sizes, middle, low), np.where(total < sizes, high, middle)
    inclusion: NDArray[np.float64] = -np.expm1(-np.exp((low + high) / 2)[:, None] * frequency)
    inclusion[sizes == 1] = frequency
    left = np.divide(frequency, 1 - frequency, out=np.zeros_like(frequency), where=frequency < 1)
    inclusion[sizes == 2] = frequency * (1 + left.sum() - left)
    return inclusion


# -- together ----------------------------------------------------------------------------------------------------------


def co_occurrence(notes: Notes, lexicon: Sequence[Term], *, min_patients: int) -> list[dict[str, Any]]:
    """Pairs of domains, and of terms, in the same notes; only what notes state.

    Returns:
        Rows of the co-occurrence table. `lift` is the number of notes with both, over the number expected if the two
        were independent; a pair of fewer than `min_patients` patients has neither number.
    """
    stated = ~notes.is_absent
    note, term = notes.note[stated], notes.term[stated]
    domains = list(dict.fromkeys(one.domain for one in lexicon))
    domain = np.array([domains.index(one.domain) for one in lexicon], dtype=np.int64)
    names = [one.term for one in lexicon]
    rows = _pairs("domain", domains, note, domain[term], notes, min_patients)
    return rows + _pairs("term", names, note, term, notes, min_patients)


def _pairs(  # noqa: PLR0917
    kind: str, names: Sequence[str], note: NDArray[np.int64], item: NDArray[np.int64], notes: Notes, min_patients: int
) -> list[dict[str, Any]]:
    held = np.unique(note * len(names) + item)  # a domain once a note
    of_item = [np.array([], dtype=np.int64) for _ in names]
    note_of, item_of = held // len(names), held % len(names)
    for index in range(len(names)):
        of_item[index] = note_of[item_of == index]
    rows = []
    for first, second in combinations(range(len(names)), 2):
        if not (len(of_item[first]) and len(of_item[second])):
            continue
        both = np.intersect1d(of_item[first], of_item[second], assume_unique=True)
        n_patients = len(np.unique(notes.patient[both]))
        enough = n_patients >= min_patients
        expected = len(of_item[first]) * len(of_item[second]) / len(notes.patient)
        reason = None if enough else f"fewer than {min_patients} patients"
        row: dict[str, Any] = {"kind": kind, "first": names[first], "second": names[second]}
        row |= {"n_first": None, "n_second": None, "n_both": None, "lift": None}
        row |= {"status": "insufficient", "reason": reason}
        if enough:
            row |= {"n_first": len(of_item[first]), "n_second": len(of_item[second]), "n_both": len(both),
                    "lift": len(both) / expected, "status": "ok"}  # fmt: skip
        rows.append(row)
    return rows


def never_found(rates: Sequence[Rate]) -> list[str]:
    """Terms of the lexicon in no note at all, to be reworded or removed."""
    return [rate.level for rate in rates if rate.parameter == "term_frequency" and rate.n == 0]
