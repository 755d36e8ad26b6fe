"""Coded records to people: what OMOP and FHIR have in common once each has found who matches which concept set.

Who has the disease is a patient. Age is taken at the first record of the disease, or at `as_of`. A risk factor is any
record of its set up to `as_of`, before or after the diagnosis; nobody's records say "no", so a factor without a record
is a no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from harness.cohort.cells import MAX_AGE_YEARS, parse_bands
from harness.cohort.structured.concepts import DISEASE, LEVEL_MARK, ConceptSets
from harness.cohort.structured.people import UNKNOWN, People, Reading, Wanted
from harness.cohort.structured.table import band_of
from harness.errors import ConfigError
from harness.schemas.cohorts import Cohort
from harness.schemas.population_checks import AGE_VARIABLE

NO_DISEASE, BORN_LATER = "no_disease_record", "impossible_age"
DAYS_A_YEAR = 365.2425  # Gregorian mean


@dataclass
class Coded:
    """One person's records, as far as they matter.

    Attributes:
        born: Date of birth; the middle of the year or month where the rest is unknown, None where nothing is.
        found: Concept set to the first and last date of its records; None for records without a date (demographics).
    """

    person_id: str
    born: date | None
    found: dict[str, tuple[date | None, date | None]] = field(default_factory=dict)

    def add(self, name: str, day: date | None, last: date | None = None) -> None:
        first_before, last_before = self.found.get(name, (day, last or day))
        days = [one for one in (first_before, day) if one is not None]
        lasts = [one for one in (last_before, last or day) if one is not None]
        self.found[name] = (min(days, default=None), max(lasts, default=None))


def as_of_date(settings: Cohort) -> date | None:
    return None if settings.as_of is None else date.fromisoformat(settings.as_of)


def reading(
    persons: Sequence[Coded],
    sets: ConceptSets,
    settings: Cohort,
    wanted: Wanted,
    *,
    matched: Sequence[Mapping[str, Any]] = (),
) -> Reading:
    """People of coded records; those without the disease, or with an age that cannot be, are left out.

    Args:
        persons: Everyone in the files who is not held out.
        sets: The concept sets.
        settings: `as_of`.
        wanted: Variables, levels and exclusive factors of the task.
        matched: Rows of the matched concepts, passed on.

    Raises:
        ConfigError: The task's age bands cannot be read as years.
    """
    bands = parse_bands(wanted.variables[AGE_VARIABLE])
    if bands is None:
        raise ConfigError(
            f"cohort: the task's age bands ({', '.join(wanted.variables[AGE_VARIABLE])}) cannot be read as years; "
            "ages from codes need levels like 65-74, 85+ or <65"
        )
    left_out: dict[str, list[str]] = {NO_DISEASE: [], BORN_LATER: []}
    kept: list[tuple[Coded, int]] = []
    years: list[int] = []
    moment = as_of_date(settings)
    for person in sorted(persons, key=lambda one: one.person_id):
        if DISEASE not in person.found:
            left_out[NO_DISEASE].append(person.person_id)
            continue
        first = person.found[DISEASE][0]
        band = _band(person, moment or first, bands)
        if band is None:
            left_out[BORN_LATER].append(person.person_id)
        else:
            kept.append((person, band))
            years += [] if first is None else [first.year]
    return Reading(
        people=_people(kept, sets, wanted),
        left_out={reason: ids for reason, ids in left_out.items() if ids},
        n_read=len(persons),
        last_year=max(years, default=None),
        matched=matched,
    )


def _band(person: Coded, moment: date | None, bands: Mapping[str, tuple[float, float]]) -> int | None:
    """Band of the age at a date; unknown without birth or date, None for an age below 0 or beyond belief."""
    if person.born is None or moment is None:
        return UNKNOWN
    age = int((moment - person.born).days / DAYS_A_YEAR)
    return band_of(age, bands) if moment >= person.born and age <= MAX_AGE_YEARS else None


def _people(kept: Sequence[tuple[Coded, int]], sets: ConceptSets, wanted: Wanted) -> People:
    codes = {AGE_VARIABLE: np.array([band for _, band in kept], dtype=np.int64)}
    for variable, levels in wanted.variables.items():
        if variable != AGE_VARIABLE and sets.levels(variable):
            index = {level: levels.index(level) for level in sets.levels(variable)}
            codes[variable] = np.array([_level(one, variable, index) for one, _ in kept], dtype=np.int64)
    ordered = {variable: codes[variable] for variable in wanted.variables if variable in codes}
    carried = [_carried(person, sets.factors, wanted) for person, _ in kept]
    return People(
        ids=np.array([person.person_id for person, _ in kept], dtype=object),
        levels={variable: wanted.variables[variable] for variable in ordered},
        codes=ordered,
        factors={name: np.array([name in one for one in carried], dtype=np.int64) for name in sets.factors},
    )


def _level(person: Coded, variable: str, index: Mapping[str, int]) -> int:
    return next((at for level, at in index.items() if f"{variable}{LEVEL_MARK}{level}" in person.found), UNKNOWN)


def _carried(person: Coded, factors: Sequence[str], wanted: Wanted) -> set[str]:
    """Factors on record, with what they require (two APOE e4 alleles are one too).

    Of those that exclude each other (current and former smoking) the latest one stays.
    """
    carried = {name for name in factors if name in person.found}
    for factor, required in wanted.requires:
        carried |= {required} & set(factors) if factor in carried else set()
    for group in wanted.exclusive:
        both = [name for name in group if name in carried]
        if len(both) > 1:
            latest = max(both, key=lambda name: person.found[name][1] or date.min)
            carried -= {name for name in both if name != latest}
    return carried
