"""Estimates in, the content of a `population.yaml` out: readable, editable, every number with its marks.

What the cohort says replaces the task's own; what it does not say is carried over from the task with the task's marks,
so that the file is whole and one can see which number is whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from harness.cohort.cells import parse_bands
from harness.cohort.structured.estimate import SOURCE_ID, Estimates
from harness.schemas.marks import Source, source_keys
from harness.schemas.population import Population
from harness.schemas.population_checks import AGE_VARIABLE

READ = {"status": "derived", "check": "read", "src": SOURCE_ID}
ASSUMED = {"status": "assumed", "check": "none", "src": SOURCE_ID}
OPEN_BAND_YEARS = 10  # ages given to a band without an end, where the task says nothing better
SIGNIFICANT_DIGITS = 6
# How far pairs of factors may be missed: a copula cannot meet all odds ratios of factors that exclude each other (they
# share one latent variable), and the task's own were written for other prevalences than the cohort's. What is missed
# is measured in the fidelity report; refusing the cohort would help nobody.
ASSOCIATION_TOLERANCE = 0.05
FIGURES_FIRST = ("v", "values", "factors", "odds_ratio", "tolerance", "dist", "low", "high", "p")
MAX_LINE_CHARACTERS = 1 << 20  # one entry a line; a figure and its marks are read together
NEW_FACTOR_GROUP = "cohort"
HEADER = """\
# Who the personas are: estimated from the recipe's cohort by `harness cohort`. Shares and prevalences are proportions.
# Numbers with `src: cohort` were counted; all others are the task's own and keep its marks. Counts of fewer than
# {min_cell} people are suppressed: such levels share one figure with others (see their notes), and what is missing in a
# two-way table follows the joint of the rest. To edit: copy the file, change it, name it as your task's `population`.
"""


@dataclass(frozen=True)
class About:
    """What the file says of the cohort as a whole.

    Attributes:
        name: Of the population, e.g. the recipe's.
        title: For readers.
        as_of: Year that the figures describe.
        min_cell: Smallest count shown.
        privacy: Query to its part of epsilon; None where counts are exact.
        spent: Epsilon of all releases in the ledger.
    """

    name: str
    title: str
    as_of: int
    min_cell: int
    privacy: Mapping[str, float] | None = None
    spent: float = 0.0


def render(content: Mapping[str, Any], min_cell: int) -> str:
    body = yaml.safe_dump(
        dict(content), sort_keys=False, default_flow_style=None, width=MAX_LINE_CHARACTERS, allow_unicode=True
    )
    return HEADER.format(min_cell=min_cell) + body


def population_content(found: Estimates, base: Population | None, about: About) -> dict[str, Any]:
    """The file as nested dictionaries.

    Args:
        found: What the cohort says.
        base: The task's own population, for what the cohort does not say; None where it has none.
        about: Name, year and rules of the release.
    """
    margins = {name: _margin(name, found, about) for name in found.shares}
    carried = {} if base is None else {name: one for name, one in base.margins.items() if name not in margins}
    margins |= {name: {level: _dump(number) for level, number in levels.items()} for name, levels in carried.items()}
    factors, left_out = _factors(found, base, margins)
    content: dict[str, Any] = {
        "schema_version": 1,
        "name": about.name,
        "title": about.title,
        "as_of": about.as_of,
        "sources": {},
        "margins": margins,
        "two_way": _two_way(found),
        **_carried_tables(base, found, margins),
        "age_years": _ages(margins[AGE_VARIABLE], base),
        "risk_factors": factors,
        "risk_factor_prevalence": _prevalences(found, factors, about),
        **_carried_risks(base, found, factors, margins),
        "risk_factor_associations": _associations(found, base, factors),
        **_rules(base, factors),
        "acceptance": {} if base is None else {name: _dump(one) for name, one in base.acceptance.items()},
        "evidence": _evidence(found, about, left_out),
    }
    content = {key: part for key, part in content.items() if part not in ({}, [], None) or key == "sources"}
    content["sources"] = _sources(content, base, about)
    return content


def _dump(part: BaseModel) -> dict[str, Any]:
    """A part of the task's population as it was written, figures first."""
    found = part.model_dump(mode="json", exclude_none=True)
    return {name: found[name] for name in sorted(found, key=lambda name: name not in FIGURES_FIRST)}


def _number(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _sources(content: Mapping[str, Any], base: Population | None, about: About) -> dict[str, Any]:
    used = {key for _, key in source_keys(content)}
    known = {} if base is None else {name: _dump(source) for name, source in base.sources.items() if name in used}
    how = "counted" if about.privacy is None else "counted with differential privacy"
    return {SOURCE_ID: _dump(Source(title=about.title, ref=f"{how} by harness cohort")), **known}


# -- demographics ------------------------------------------------------------------------------------------------------


def _margin(name: str, found: Estimates, about: About) -> dict[str, Any]:
    pool = found.pooled[name]
    note = (
        f"fewer than {about.min_cell} people, or hides such a level: {', '.join(pool)} share one count, divided as in "
        "the task's population, else evenly"
    )
    return {
        level: {"v": _number(share), **({**ASSUMED, "note": note} if level in pool else READ)}
        for level, share in found.shares[name].items()
    }


def _two_way(found: Estimates) -> dict[str, Any]:
    tables = {}
    for (a, b), shares in found.pairs.items():
        rows, columns = list(found.shares[a]), list(found.shares[b])
        values = {
            row: {column: _number(float(shares[i, j])) for j, column in enumerate(columns)}
            for i, row in enumerate(rows)
        }
        n = found.hidden[a, b]
        note = {"note": f"{n} cells are suppressed and follow the joint of the rest"} if n else {}
        tables[f"{a}_by_{b}"] = {"variables": [a, b], "values": values, **READ, **note}
    return tables


def _carried_tables(base: Population | None, found: Estimates, margins: Mapping[str, Any]) -> dict[str, Any]:
    """The task's relations between variables, of those that the cohort does not replace."""
    if base is None:
        return {}
    shares = {
        name: _dump(table)
        for name, table in base.conditional_shares.items()
        if not {table.variable, table.given} & found.shares.keys()
    }
    associations = {}
    for name, table in base.associations.items():
        values = {level: ratio for level, ratio in table.values.items() if level in margins.get(table.given, {})}
        if not {table.variable, table.given} <= found.shares.keys() and table.level in margins[table.variable]:
            associations[name] = {**_dump(table), "values": values}
    return {"conditional_shares": shares, "associations": associations}


def _ages(bands: Mapping[str, Any], base: Population | None) -> dict[str, Any]:
    """Ages inside the bands: the task's own, else evenly spread (assumed)."""
    limits = parse_bands(bands) or {}
    ages: dict[str, Any] = {}
    for band in bands:
        if base is not None and band in base.age_years:
            ages[band] = _dump(base.age_years[band])
            continue
        low, end = limits[band]
        if end == float("inf"):
            end = low + OPEN_BAND_YEARS
        elif low == 0:
            low = max(0.0, end - OPEN_BAND_YEARS)
        ages[band] = {"dist": "uniform_int", "low": int(low), "high": int(end) - 1, **ASSUMED}
    return ages


# -- risk factors ------------------------------------------------------------------------------------------------------


def _factors(found: Estimates, base: Population | None, margins: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Factors with their prevalence, the cohort's before the task's; and those that the rules then have no room for."""
    known = {} if base is None else base.risk_factors
    same_as = {} if base is None else {rule.factor: rule for rule in base.risk_rules.same_as}
    factors: dict[str, Any] = {}
    left_out: list[str] = []
    for name in dict.fromkeys([*known, *found.prevalences]):
        named = known.get(name)
        words = {"group": NEW_FACTOR_GROUP if named is None else named.group}
        words |= {} if named is None or named.name is None else {"name": named.name}
        if name in same_as:
            level = margins.get(same_as[name].variable, {}).get(same_as[name].level)
            if level is None:
                left_out.append(name)
            else:
                factors[name] = {**level, **words} if same_as[name].variable in found.shares else _dump(known[name])
        elif name in found.prevalences:
            factors[name] = {"v": _number(found.prevalences[name]), **READ, **words}
        elif named is not None:
            factors[name] = _dump(named)
    return _within_rules(factors, base, found, left_out)


def _within_rules(
    factors: dict[str, Any], base: Population | None, found: Estimates, left_out: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Leave out factors of the task that the cohort's figures have no room for.

    These are commoner than what they require, or add up to more than 1 with those that they exclude.
    """
    if base is None:
        return factors, left_out
    left_out += [
        need.factor if need.factor not in found.prevalences else need.requires
        for need in base.risk_rules.requires
        if {need.factor, need.requires} <= factors.keys() and factors[need.factor]["v"] > factors[need.requires]["v"]
    ]
    for group in base.risk_rules.exclusive:
        members = [name for name in group if name in factors]
        if sum(factors[name]["v"] for name in members) > 1:
            left_out += [name for name in members if name not in found.prevalences]
    return {name: one for name, one in factors.items() if name not in left_out}, left_out


def _prevalences(found: Estimates, factors: Mapping[str, Any], about: About) -> dict[str, Any]:
    tables: dict[str, dict[str, Any]] = {}
    for (factor, variable), values in found.conditional.items():
        if factor not in factors:
            continue
        pool = found.conditional_pooled[factor, variable]
        few = f"fewer than {about.min_cell} carriers or others, or hiding such a level"
        tables.setdefault(variable, {})[factor] = {
            "values": {level: _number(share) for level, share in values.items()},
            **READ,
            **({"note": f"{', '.join(pool)} share one figure: {few}"} if pool else {}),
        }
    return tables


def _carried_risks(
    base: Population | None, found: Estimates, factors: Mapping[str, Any], margins: Mapping[str, Any]
) -> dict[str, Any]:
    """The task's ratios, for every factor and variable of which the cohort has no prevalences."""
    if base is None:
        return {}
    counted = found.conditional.keys()
    ratios: dict[str, dict[str, Any]] = {}
    for variable, tables in base.risk_factor_ratios.items():
        for factor, table in tables.items():
            values = {level: ratio for level, ratio in table.values.items() if level in margins.get(variable, {})}
            if values and factor in factors and (factor, variable) not in counted:
                ratios.setdefault(variable, {})[factor] = {**_dump(table), "values": values}
    references = {}
    for variable, reference in base.risk_factor_reference.items():
        theirs = {
            factor: one
            for factor, one in reference.values.items()
            if factor in factors and (factor, variable) not in counted
        }
        levels = {level: one for level, one in reference.levels.items() if level in margins.get(variable, {})}
        if theirs and levels:
            references[variable] = {**_dump(reference), "levels": levels, "values": theirs}
    bounds = base.risk_factor_bounds
    return {
        "risk_factor_bounds": None if bounds is None or not (ratios or references) else _dump(bounds),
        "risk_factor_ratios": ratios,
        "risk_factor_reference": references,
    }


def _associations(found: Estimates, base: Population | None, factors: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Odds ratios: the cohort's, and the task's for the other pairs; none where a rule says it all."""
    ruled: set[frozenset[str]] = set()
    if base is not None:
        ruled = {frozenset((need.factor, need.requires)) for need in base.risk_rules.requires}
        ruled |= {frozenset((a, b)) for group in base.risk_rules.exclusive for a in group for b in group if a != b}
    rows = [
        {"factors": [a, b], "odds_ratio": _number(ratio), "tolerance": ASSOCIATION_TOLERANCE, **READ}
        for (a, b), ratio in found.odds_ratios.items()
        if {a, b} <= factors.keys() and frozenset((a, b)) not in ruled
    ]
    counted = {frozenset(pair) for pair in found.odds_ratios}
    rows += [
        {**_dump(one), "tolerance": max(one.tolerance, ASSOCIATION_TOLERANCE)}
        for one in (() if base is None else base.risk_factor_associations)
        if set(one.factors) <= factors.keys() and frozenset(one.factors) not in counted
    ]
    return rows


def _rules(base: Population | None, factors: Mapping[str, Any]) -> dict[str, Any]:
    if base is None:
        return {}
    rules = base.risk_rules
    groups = [[name for name in group if name in factors] for group in rules.exclusive]
    found = {
        "same_as": [_dump(rule) for rule in rules.same_as if rule.factor in factors],
        "requires": [_dump(rule) for rule in rules.requires if {rule.factor, rule.requires} <= factors.keys()],
        "exclusive": [group for group in groups if len(group) > 1],
    }
    return {"risk_rules": {name: rows for name, rows in found.items() if rows}}


def _evidence(found: Estimates, about: About, left_out: Sequence[str]) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "cohort": {
            "n_people": round(found.n),
            "min_cell": about.min_cell,
            "cells_suppressed": sum(bool(row["suppressed"]) for row in found.cells),
            "cells_shown": sum(not row["suppressed"] for row in found.cells),
            **({"factors_left_out": list(left_out)} if left_out else {}),
            **READ,
        }
    }
    if about.privacy is not None:
        evidence["privacy"] = {
            "epsilon": _number(sum(about.privacy.values())),
            "epsilon_by_query": {name: _number(part) for name, part in about.privacy.items()},
            "epsilon_spent_in_all": _number(about.spent),
            **READ,
            "note": "pure differential privacy, add or remove one person; discrete Laplace noise from OpenDP",
        }
    return evidence
