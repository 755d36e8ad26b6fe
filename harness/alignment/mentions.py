"""How many mentions a note has, of which domains, denied or not; and their terms where each note stands alone.

Counts come first and terms after, so that the model of onset (`onset.py`) can choose other terms and no other number.
Pure. Legend: S stages, D domains, T lexicon terms, N notes of one persona, M mentions of one persona.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.alignment.visits import by_stage, draw_counts
from harness.schemas.task import Term
from harness.schemas.trajectory import Trajectory, reported_probability


@dataclass(frozen=True)
class Lexicon:
    """A trajectory's domains and their terms as arrays, stages in rows."""

    entries: tuple[Term, ...]
    domains: tuple[str, ...]
    terms: NDArray[np.object_]  # (T,)
    term_domain: NDArray[np.int64]  # (T,), index into domains
    log_frequency: NDArray[np.float64]  # (T,)
    domain_share: NDArray[np.float64]  # (S, D)
    reported: NDArray[np.float64]  # (S, D), probability that somebody else reports a present mention
    absent: NDArray[np.float64]  # (S,)
    domain_label: NDArray[np.object_]  # (D,)


@dataclass(frozen=True)
class Planned:
    """Mentions before their terms are chosen, sorted by note and domain, shape (M,) each."""

    n_notes: int
    note: NDArray[np.int64]
    domain: NDArray[np.int64]
    is_absent: NDArray[np.bool_]

    def counts(self, n_domains: int, *, absent: bool) -> NDArray[np.int64]:
        """Present or absent mentions of each note by domain, shape (N, D)."""
        where = self.is_absent == absent
        flat = np.bincount(self.note[where] * n_domains + self.domain[where], minlength=self.n_notes * n_domains)
        return flat.reshape(self.n_notes, n_domains)


def read_lexicon(trajectory: Trajectory, terms: Sequence[Term]) -> Lexicon:
    """The lexicon with the trajectory's shares, in the order of `domain_to_label`."""
    domains = tuple(trajectory.domain_to_label.values)
    stages = trajectory.stage_ids
    reported = [reported_probability(trajectory, stage) for stage in stages]
    shares = [trajectory.domain_share[stage].values for stage in stages]
    fitted = trajectory.term_frequency.values if trajectory.term_frequency is not None else {}
    return Lexicon(
        entries=tuple(terms),
        domains=domains,
        terms=np.array([term.term for term in terms], dtype=object),
        term_domain=np.array([domains.index(term.domain) for term in terms], dtype=np.int64),
        log_frequency=np.log([fitted.get(term.term, term.frequency) for term in terms]),
        domain_share=np.array([[share.get(domain, 0.0) for domain in domains] for share in shares]),
        reported=np.array([[one.get(domain, 0.0) for domain in domains] for one in reported]),
        absent=np.array([trajectory.absent_share[one].v if one in trajectory.absent_share else 0.0 for one in stages]),
        domain_label=np.array([trajectory.domain_to_label.values[domain] for domain in domains], dtype=object),
    )


def plan_mentions(
    trajectory: Trajectory, lexicon: Lexicon, stage: NDArray[np.int64], rng: np.random.Generator
) -> Planned:
    """Number of mentions of each note by its stage, spread over the domains by their shares, some of them denied.

    Args:
        trajectory: Counts by stage and their multiplier.
        lexicon: Shares by stage and the size of each domain.
        stage: Of each note, shape (N,).
        rng: The persona's own stream.
    """
    mean = by_stage(trajectory, trajectory.mentions_per_note)[stage]
    n_mentions = draw_counts(
        trajectory.mentions_per_note, mean * trajectory.mentions_per_note.density_multiplier.v, rng
    )
    counts = _domain_counts(lexicon, stage, n_mentions, rng)  # (N, D)
    note, domain = np.nonzero(counts)
    times = counts[note, domain]
    note, domain = np.repeat(note, times), np.repeat(domain, times)
    return Planned(
        n_notes=len(stage),
        note=note,
        domain=domain,
        is_absent=rng.random(len(note)) < lexicon.absent[stage[note]],
    )


def choose_apart(lexicon: Lexicon, planned: Planned, rng: np.random.Generator) -> NDArray[np.int64]:
    """Term of each mention, shape (M,), drawn by frequency and without repetition inside a note, each note on its own.

    Terms are drawn without replacement with probabilities proportional to frequency: the ones with the largest
    log frequency plus Gumbel noise.

    Source: Efraimidis and Spirakis, Information Processing Letters 97 (2006) 181, in its Gumbel form.
    """
    keys = lexicon.log_frequency + rng.gumbel(size=(planned.n_notes, len(lexicon.terms)))  # (N, T)
    n_domains = len(lexicon.domains)
    wanted = planned.counts(n_domains, absent=False) + planned.counts(n_domains, absent=True)
    note, term = np.nonzero(largest_keys(keys, wanted, lexicon.term_domain))
    # Which of a note's terms are denied is independent of their keys: both lists are sorted by note and domain alone.
    return term[np.lexsort((lexicon.term_domain[term], note))].astype(np.int64)


def largest_keys(
    keys: NDArray[np.float64], wanted: NDArray[np.int64], term_domain: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the terms with the largest keys of each domain.

    Args:
        keys: Shape (n, T).
        wanted: How many of each domain, shape (n, D), none above the domain's size.
        term_domain: Shape (T,).

    Returns:
        Shape (n, T), with `wanted` marks in each row and domain.
    """
    order = np.lexsort((-keys, np.broadcast_to(term_domain, keys.shape)), axis=-1)  # (n, T), domain by domain
    sorted_domain = np.sort(term_domain)
    place = np.arange(len(term_domain)) - np.searchsorted(sorted_domain, sorted_domain)  # (T,), inside its domain
    marks = np.zeros(keys.shape, dtype=np.bool_)
    np.put_along_axis(marks, order, place < wanted[:, sorted_domain], axis=-1)
    return marks


def _domain_counts(
    lexicon: Lexicon, stage: NDArray[np.int64], n_mentions: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Mentions of each note by domain, shape (N, D); no domain gives more than its terms.

    What a small domain cannot give is drawn from the domains that still have terms; a note that asks for more than all
    domains hold gets every term once.
    """
    shares = lexicon.domain_share[stage]
    room = np.bincount(lexicon.term_domain, minlength=len(lexicon.domains))
    counts = rng.multinomial(n_mentions, shares / shares.sum(axis=1, keepdims=True))
    for note in np.flatnonzero((counts > room).any(axis=1)):
        counts[note] = np.minimum(counts[note], room)
        while (missing := n_mentions[note] - counts[note].sum()) > 0:
            open_share = np.where(counts[note] < room, shares[note], 0.0)
            if open_share.sum() == 0:
                break
            counts[note] = np.minimum(counts[note] + rng.multinomial(missing, open_share / open_share.sum()), room)
    return counts.astype(np.int64)
