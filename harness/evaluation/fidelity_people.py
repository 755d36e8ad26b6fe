"""Who an arm's texts are about, against the target: margins, pairs of variables, risk factors.

People count once each, however many sentences are about them. Texts that name no person (a file without persona_id)
count as a person each. An arm that shows no persona has no margins: undefined, not a distance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from harness.evaluation.fidelity_rows import Goal, Rows
from harness.evaluation.fidelity_target import STAGE, PeopleTarget, Shares, computed
from harness.metrics.counts import Floats
from harness.metrics.distance import jensen_shannon, total_variation
from harness.metrics.estimate import known

RISK_FACTORS = "risk_factors"
PAIR_SIGN = " x "


@dataclass(frozen=True)
class Person:
    """One person that texts are about.

    Attributes:
        levels: Variable to level; variables that are not known are absent.
        risk_factors: Ids of the factors carried; None where nobody says.
        n_sentences: Sentences about this person.
    """

    levels: Mapping[str, str]
    risk_factors: frozenset[str] | None
    n_sentences: int


def gather_people(
    sentences: Sequence[Mapping[str, object]],
    owner: str,
    variables: Collection[str],
    personas: Mapping[str, Mapping[str, object]],
) -> list[Person]:
    """The people behind sentences, in the order of their first sentence.

    Args:
        sentences: Rows with the owner column and whatever variables the table has.
        owner: Column that names the person, `persona_id` or `patient_id`.
        variables: What to take of each person; the first sentence that knows a level decides.
        personas: Rows of the personas table by id, for what the sentences do not carry; empty where none are seen.
    """
    levels: dict[str, dict[str, str]] = {}
    counted: Counter[str] = Counter()
    for place, row in enumerate(sentences):
        name = str(row[owner]) if row.get(owner) is not None else f"\x00{place}"
        counted[name] += 1
        known_levels = levels.setdefault(name, {})
        for source in (row, personas.get(name, {})):
            for variable in variables:
                if variable not in known_levels and source.get(variable) is not None:
                    known_levels[variable] = str(source[variable])
    return [Person(own, _factors(personas.get(name)), counted[name]) for name, own in levels.items()]


def _factors(persona: Mapping[str, object] | None) -> frozenset[str] | None:
    carried = None if persona is None else persona.get(RISK_FACTORS)
    return None if carried is None else frozenset(str(one) for one in carried)  # type: ignore[attr-defined]


def people_rows(rows: Rows, people: Sequence[Person], target: PeopleTarget, *, why_none: str) -> None:
    """Add the rows of margins, pairs and prevalences.

    Args:
        rows: Of the arm.
        people: Those its texts are about.
        target: What they should be.
        why_none: Why no person may be known, e.g. `the arm shows no persona`.
    """
    for variable, shares in target.margins.items():
        _margin_rows(rows, people, variable, shares, why_none)
    for names in combinations(target.margins, 2):
        _pair_rows(rows, people, names, target, why_none)
    _prevalence_rows(rows, people, target, why_none)


def stage_rows(rows: Rows, stages: Sequence[str], target: Shares, why_none: str) -> None:
    """Add the margin of the disease's stage. It is one of sentences: a persona passes through all stages."""
    people = [Person({STAGE: stage}, None, 1) for stage in stages]
    _margin_rows(rows, people, STAGE, target, why_none)


def _margin_rows(rows: Rows, people: Sequence[Person], variable: str, target: Shares, why_none: str) -> None:
    shown = [person for person in people if variable in person.levels]
    at = (variable, "all")
    distance = Goal(0.0, target.mark)
    if not shown:
        for measure in ("margin_tv", "margin_js", "sentence_margin_tv"):
            rows.missing(measure, why_none, at=at, goal=distance)
        for level in target.values:
            rows.missing("margin_share", why_none, at=(variable, level), goal=target.goal(level))
        return
    levels = [*target.values, *sorted({person.levels[variable] for person in shown} - set(target.values))]
    wanted = np.array([target.values.get(level, 0.0) for level in levels])
    found = _mass(shown, variable, levels, by_sentence=False)
    rows.add("margin_tv", total_variation(found, wanted), at=at, n=len(shown), goal=distance)
    rows.add("margin_js", jensen_shannon(found, wanted), at=at, n=len(shown), goal=distance)
    by_sentence = _mass(shown, variable, levels, by_sentence=True)
    rows.add("sentence_margin_tv", total_variation(by_sentence, wanted), at=at, n=int(by_sentence.sum()), goal=distance)
    for level, share in zip(levels, found / found.sum(), strict=True):
        rows.add("margin_share", known(share), at=(variable, level), n=len(shown), goal=target.goal(level))


def _mass(people: Sequence[Person], variable: str, levels: Sequence[str], *, by_sentence: bool) -> Floats:
    counted: Counter[str] = Counter()
    for person in people:
        counted[person.levels[variable]] += person.n_sentences if by_sentence else 1
    return np.array([counted[level] for level in levels], dtype=np.float64)


def _pair_rows(
    rows: Rows, people: Sequence[Person], names: tuple[str, str], target: PeopleTarget, why_none: str
) -> None:
    at = (PAIR_SIGN.join(names), "all")
    wanted = target.pairs.get(names)
    if wanted is None:
        for measure in ("pair_tv", "pair_js"):
            rows.missing(measure, "no target: the population states no joint of the two", at=at)
        return
    goal = Goal(0.0, computed([wanted.mark]))
    shown = [person for person in people if all(name in person.levels for name in names)]
    if not shown:
        for measure in ("pair_tv", "pair_js"):
            rows.missing(measure, why_none, at=at, goal=goal)
        return
    found, padded = _cells(shown, names, target, wanted.shares)
    rows.add("pair_tv", total_variation(found, padded), at=at, n=len(shown), goal=goal)
    rows.add("pair_js", jensen_shannon(found, padded), at=at, n=len(shown), goal=goal)


def _cells(
    people: Sequence[Person], names: tuple[str, str], target: PeopleTarget, wanted: Floats
) -> tuple[Floats, Floats]:
    """People by combination, and the target on the same grid; levels it does not name come last, with share 0."""
    grid = []
    for name in names:
        levels = list(target.margins[name].values)
        grid.append([*levels, *sorted({person.levels[name] for person in people} - set(levels))])
    place = [{level: index for index, level in enumerate(levels)} for levels in grid]
    found = np.zeros((len(grid[0]), len(grid[1])))
    for person in people:
        found[place[0][person.levels[names[0]]], place[1][person.levels[names[1]]]] += 1
    padded = np.zeros_like(found)
    padded[: wanted.shape[0], : wanted.shape[1]] = wanted
    return found, padded


def _prevalence_rows(rows: Rows, people: Sequence[Person], target: PeopleTarget, why_none: str) -> None:
    if not target.prevalences:
        return
    mark = computed([goal.mark or "" for goal in target.prevalences.values()])
    carried = [person.risk_factors for person in people if person.risk_factors is not None]
    if not carried:
        for level in ("mean", "largest"):
            rows.missing("prevalence_error", why_none, at=(RISK_FACTORS, level), goal=Goal(0.0, mark))
        for factor, goal in target.prevalences.items():
            rows.missing("prevalence", why_none, at=(RISK_FACTORS, factor), goal=goal)
        return
    errors = []
    for factor, goal in target.prevalences.items():
        share = sum(factor in one for one in carried) / len(carried)
        errors.append(abs(share - (goal.value or 0.0)))
        rows.add("prevalence", known(share), at=(RISK_FACTORS, factor), n=len(carried), goal=goal)
    for level, value in (("mean", float(np.mean(errors))), ("largest", max(errors))):
        rows.add("prevalence_error", known(value), at=(RISK_FACTORS, level), n=len(carried), goal=Goal(0.0, mark))
