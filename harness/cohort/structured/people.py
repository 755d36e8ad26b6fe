"""The one shape that every adapter brings structured patients into: coded levels and yes/no factors, column by column.

Columns rather than objects, so that a million patients cost a few bytes each per variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.errors import ConfigError, DataError, collect_faults, nearest
from harness.schemas.cohorts import Cohort
from harness.schemas.population import Population
from harness.schemas.population_checks import AGE_VARIABLE
from harness.schemas.tables import REJECTED
from harness.schemas.task import Task

UNKNOWN = -1
REQUIRED_VARIABLES = (AGE_VARIABLE, "sex")
STAGE_VARIABLE = "stage"  # belongs to a visit, not to a person
HELD_OUT = "held_out_patient"
NO_AGE_BAND = "age_unknown_or_outside_the_bands"


@dataclass(frozen=True)
class Wanted:
    """What a cohort may be asked for.

    Attributes:
        variables: Demographic variable to its levels, in the task's order.
        titles: Variable to the report's words for a level, in lower case, to the level.
        factors: Risk factors of the task's population, without those that are another word for a level; None where the
            task has no population, and any name will do.
        exclusive: Groups of factors of which a person carries one at most.
        requires: (factor, what who carries it also carries).
    """

    variables: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, Mapping[str, str]]
    factors: tuple[str, ...] | None
    exclusive: tuple[tuple[str, ...], ...] = ()
    requires: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class People:
    """Patients as columns.

    Attributes:
        ids: Shape (n,), distinct.
        levels: Variable to its levels.
        codes: Variable to the index of each person's level, shape (n,); `UNKNOWN` where there is none.
        factors: Risk factor to 1 (yes), 0 (no) or `UNKNOWN`, shape (n,).
    """

    ids: NDArray[np.object_]
    levels: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, NDArray[np.int64]]
    factors: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, chosen: NDArray[np.bool_]) -> People:
        return People(
            ids=self.ids[chosen],
            levels=self.levels,
            codes={name: column[chosen] for name, column in self.codes.items()},
            factors={name: column[chosen] for name, column in self.factors.items()},
        )


@dataclass(frozen=True)
class Reading:
    """What an adapter made of its files.

    Attributes:
        people: Everyone who has the disease and is not held out, complete or not.
        left_out: Reason to the ids of those who were left out for it.
        n_read: Persons in the files.
        last_year: Year of the latest first diagnosis, where the files have dates.
        matched: Rows of the table of matched concepts; empty for plain tables.
        n_held_out_found: Held-out patients that the files hold.
    """

    people: People
    left_out: Mapping[str, Sequence[str]]
    n_read: int
    last_year: int | None = None
    matched: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    n_held_out_found: int = 0


def wanted(task: Task, population: Population | None) -> Wanted:
    """Variables and factors that a cohort can fill: those of the task's population, else the task's subgroups.

    Raises:
        ConfigError: A task without age bands or sex, which personas need.
    """
    subgroups = task.file.subgroups
    names = list(population.margins) if population is not None else [one for one in subgroups if one != STAGE_VARIABLE]
    missing = [name for name in REQUIRED_VARIABLES if name not in names]
    if missing:
        raise ConfigError(
            f"{task.folder / 'task.yaml'}: a cohort needs the subgroup variables {', '.join(REQUIRED_VARIABLES)}; "
            f"missing {', '.join(missing)}"
        )
    levels = {}
    for name in names:
        known = subgroups.get(name)
        levels[name] = tuple(known.levels) if known is not None else tuple(population.margins[name])  # type: ignore[union-attr]
    return Wanted(
        variables=levels,
        titles={
            name: {title.casefold(): level for level, title in subgroups[name].levels.items()}
            for name in names
            if name in subgroups
        },
        factors=None if population is None else _countable(population),
        exclusive=() if population is None else population.risk_rules.exclusive,
        requires=()
        if population is None
        else tuple((need.factor, need.requires) for need in population.risk_rules.requires),
    )


def _countable(population: Population) -> tuple[str, ...]:
    """Factors with a count of their own; those that are another word for a demographic level follow the level."""
    words = {rule.factor for rule in population.risk_rules.same_as}
    return tuple(name for name in population.risk_factors if name not in words)


def complete(people: People) -> tuple[People, dict[str, list[str]]]:
    """People with a level of every variable and a yes or no for every factor, and the others by what they lack first.

    Complete cases, so that all tables count the same people: tables over different people would give small counts
    away by subtraction.
    """
    left: NDArray[np.bool_] = np.zeros(len(people), dtype=np.bool_)
    left_out: dict[str, list[str]] = {}
    for name, column in (*people.codes.items(), *people.factors.items()):
        lacking = (column == UNKNOWN) & ~left
        if lacking.any():
            left_out[NO_AGE_BAND if name == AGE_VARIABLE else f"unknown_{name}"] = people.ids[lacking].tolist()
        left |= lacking
    return people.where(~left), left_out


def check(
    people: People, settings: Cohort, wanted: Wanted, *, left_out: Mapping[str, Sequence[str]], where: str
) -> None:
    """Refuse a cohort that is too small, that the task's rules exclude, or that lacks a level without saying so.

    A private release skips the last check: whether one person exists is what it must not tell.

    Raises:
        DataError: All of these at once.
    """
    if not len(people):
        reasons = ", ".join(f"{len(ids)} for {reason}" for reason, ids in left_out.items())
        raise DataError(
            f"{where}: no patients are left to count; left out: {reasons or 'nobody'}; patients need the disease and a "
            "known level of every variable, and must not be held out by gold's split"
        )
    with collect_faults(DataError, where) as faults:
        if len(people) < settings.min_cell:
            faults.add(
                f"holds fewer than cohort.min_cell = {settings.min_cell} patients to count; give more patients, or "
                "lower min_cell if your data may be shown"
            )
        for variable, levels in people.levels.items():
            n = np.bincount(people.codes[variable], minlength=len(levels))
            absent = settings.absent.get(variable, ())
            empty = [level for level, found in zip(levels, n, strict=True) if not found and level not in absent]
            if empty and settings.privacy is None:
                mapped = f"under cohort.levels.{variable}" if settings.kind == "table" else "in the concept sets"
                faults.add(
                    f"variable {variable!r}: no patients in {', '.join(empty)}; map their codes {mapped}, or say that "
                    f"there are none: cohort.absent: {{{variable}: [{', '.join(empty)}]}}"
                )
            faults.extend(
                f"variable {variable!r}: level {level!r} is listed under cohort.absent, but has patients"
                for level, found in zip(levels, n, strict=True)
                if found and level in absent
            )
        faults.extend(_absent_faults(people, settings))
        faults.extend(_rule_faults(people, wanted))


def _absent_faults(people: People, settings: Cohort) -> list[str]:
    faults = []
    for variable, levels in settings.absent.items():
        known = people.levels.get(variable, ())
        if not known:
            faults.append(f"cohort.absent: unknown variable {variable!r}{nearest(variable, people.levels)}; known: "
                          f"{', '.join(people.levels)}")  # fmt: skip
        faults += [
            f"cohort.absent.{variable}: unknown level {level!r}{nearest(level, known)}; known: {', '.join(known)}"
            for level in levels
            if known and level not in known
        ]
    return faults


def _rule_faults(people: People, wanted: Wanted) -> list[str]:
    """People who carry what the task says nobody carries together."""
    faults = []
    for group in wanted.exclusive:
        carried = [people.factors[name] == 1 for name in group if name in people.factors]
        n = int((np.sum(carried, axis=0) > 1).sum()) if carried else 0
        if n:
            faults.append(f"{n} people carry several of {', '.join(group)}, which exclude each other in the task; "
                          "correct the columns, or the task's risk_rules")  # fmt: skip
    for factor, required in wanted.requires:
        if {factor, required} <= people.factors.keys():
            n = int(((people.factors[factor] == 1) & (people.factors[required] == 0)).sum())
            if n:
                faults.append(f"{n} people carry {factor} but not {required}, which it requires in the task; correct "
                              "the columns, or the task's risk_rules")  # fmt: skip
    return faults


def without_absent(people: People, absent: Mapping[str, Sequence[str]]) -> People:
    """The same people with the levels that nobody has taken out of the lists; codes are renumbered."""
    levels, codes = {}, {}
    for variable, names in people.levels.items():
        kept = [index for index, name in enumerate(names) if name not in absent.get(variable, ())]
        number = np.full(len(names), UNKNOWN, dtype=np.int64)
        number[kept] = np.arange(len(kept))
        levels[variable] = tuple(names[index] for index in kept)
        codes[variable] = number[people.codes[variable]]
    return People(ids=people.ids, levels=levels, codes=codes, factors=people.factors)


def rejected_table(left_out: Mapping[str, Sequence[str]]) -> pa.Table:
    """`REJECTED` rows, one per person left out."""
    ids = [one for group in left_out.values() for one in group]
    reasons = [reason for reason, group in left_out.items() for _ in group]
    return pa.table({"row_id": ids, "reason": reasons, "detail": [None] * len(ids)}, schema=REJECTED.schema)
