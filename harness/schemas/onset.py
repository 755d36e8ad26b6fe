"""Part of `trajectory.yaml`: when symptoms begin in a patient, how they persist and how they worsen.

The section decides which term of a domain a note takes, never how many: counts and shares by stage stay as declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from harness.schemas.base import Settings
from harness.schemas.marks import Number, unknown_names
from harness.schemas.task import Term


class DomainOnset(Settings):
    """When the terms of a domain begin, each drawn on its own for every patient."""

    median_years_before: Number
    """Median of the beginning in years before time 0; negative is after it."""
    spread_years: Number
    """Standard deviation between patients and terms."""
    share: Number
    """Share of patients in whom a term of the domain begins at all, in (0, 1]."""


class TermOnset(Settings):
    """Terms that begin at a time of their own; what is null is as in their domain."""

    terms: tuple[str, ...] = Field(min_length=1)
    median_years_before: Number | None = None
    spread_years: Number | None = None
    share: Number | None = None


class Worsening(Settings):
    """Severity of a symptom in whole steps since it began."""

    steps_per_year: Number
    """Mean number of steps a year. A mention is `worse` where a step lies between it and the one before."""
    gain_per_step: Number
    """How much likelier, beyond once, a term is taken for each step: its frequency counts (1 + gain) ^ steps times."""


class OnsetOf(NamedTuple):
    """Beginning of one term: years before time 0 (median and standard deviation), and the share of patients."""

    median_years_before: float
    spread_years: float
    share: float


class Onset(Settings):
    dist: Literal["normal"]
    """Of the beginning, in years."""
    domains: dict[str, DomainOnset]
    """Every lexicon domain."""
    terms: tuple[TermOnset, ...] = ()
    persistence: Number
    """How much likelier, beyond once, a term is taken after an earlier note has stated it: its frequency counts
    1 + persistence times. 0: no memory of earlier notes."""
    worsening: Worsening

    def of(self, term: Term) -> OnsetOf:
        """What holds for one lexicon term: its own values where it has any, else its domain's."""
        domain = self.domains[term.domain]
        own = next((one for one in self.terms if term.term in one.terms), None)
        return OnsetOf(
            median_years_before=((own and own.median_years_before) or domain.median_years_before).v,
            spread_years=((own and own.spread_years) or domain.spread_years).v,
            share=((own and own.share) or domain.share).v,
        )


def onset_faults(onset: Onset, lexicon: Sequence[Term]) -> list[str]:
    """Unknown or missing domains, unknown terms or terms given twice, and numbers out of range."""
    domains = list(dict.fromkeys(term.domain for term in lexicon))
    faults = unknown_names("onset.domains", onset.domains, domains, "domain of the lexicon")
    faults += [f"onset.domains: missing domain {name!r}" for name in domains if name not in onset.domains]
    known = [term.term for term in lexicon]
    seen: set[str] = set()
    for index, group in enumerate(onset.terms):
        place = f"onset.terms.{index}"
        faults += unknown_names(f"{place}.terms", group.terms, known, "term of the lexicon")
        for name in group.terms:
            if name in seen:
                faults.append(f"{place}.terms: {name!r} is given twice; a term begins at one time")
            seen.add(name)
        faults += _range_faults(place, {"spread_years": group.spread_years, "share": group.share})
    for name, domain in onset.domains.items():
        faults += _range_faults(f"onset.domains.{name}", {"spread_years": domain.spread_years, "share": domain.share})
    at_least_zero = {"persistence": onset.persistence, "worsening.steps_per_year": onset.worsening.steps_per_year,
                     "worsening.gain_per_step": onset.worsening.gain_per_step}  # fmt: skip
    faults += [f"onset.{name}: found {number.v:g}; must be 0 or more"
               for name, number in at_least_zero.items() if number.v < 0]  # fmt: skip
    return faults


def _range_faults(place: str, numbers: Mapping[str, Number | None]) -> list[str]:
    faults: list[str] = []
    spread, share = numbers["spread_years"], numbers["share"]
    if spread is not None and spread.v <= 0:
        faults.append(f"{place}.spread_years: found {spread.v:g}; must be above 0")
    if share is not None and not 0 < share.v <= 1:
        faults.append(f"{place}.share: found {share.v:g}; must lie in (0, 1]")
    return faults
