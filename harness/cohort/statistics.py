"""What the gold set holds, by split, subgroup and label; and the target population as flat rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.label_sets import labels_of
from harness.schemas.population import Population
from harness.schemas.recipe import SPLITS
from harness.schemas.task import Task

OVERALL, ALL, UNKNOWN = "overall", "all", "unknown"
RISK_FACTOR = "risk_factor"


def gold_statistics(rows: Sequence[Mapping[str, Any]], task: Task) -> list[dict[str, Any]]:
    """Sentences and patients of every split x subgroup level x label, empty ones included.

    `split` and `label` also take the value `all`; the variable `overall` has the one level `all`; sentences without a
    level count under `unknown`, which is listed only where there are some. A sentence with several labels counts under
    each of them.
    """
    sentences: dict[tuple[str, str, str, str], int] = {}
    patients: dict[tuple[str, str, str, str], set[str]] = {}
    for key in _empty_cells(task):
        sentences[key], patients[key] = 0, set()
    for row in rows:
        places = [(OVERALL, ALL), *((name, row.get(name) or UNKNOWN) for name in task.file.subgroups)]
        for split in (row["split"], ALL):
            for label in (*labels_of(row["label"]), ALL):
                for variable, level in places:
                    key = (split, variable, level, label)
                    sentences[key] = sentences.get(key, 0) + 1
                    patients.setdefault(key, set()).add(row["patient_id"])
    return [
        {
            "split": split,
            "variable": variable,
            "level": level,
            "label": label,
            "n_sentences": n,
            "n_patients": len(patients[(split, variable, level, label)]),
        }
        for (split, variable, level, label), n in sentences.items()
    ]


def _empty_cells(task: Task) -> list[tuple[str, str, str, str]]:
    places = [(OVERALL, ALL)]
    places += [(name, level) for name, variable in task.file.subgroups.items() for level in variable.levels]
    return [
        (split, variable, level, label)
        for split in (*SPLITS, ALL)
        for variable, level in places
        for label in (*task.label_ids, ALL)
    ]


def population_rows(population: Population) -> list[dict[str, Any]]:
    """Margins and risk-factor prevalences as rows of the population table; margins are normalised."""
    rows = [
        _population_row(
            variable, level, share, population.margins[variable][level].src, population.margins[variable][level].status
        )
        for variable in population.margins
        for level, share in population.shares(variable).items()
    ]
    rows += [
        _population_row(RISK_FACTOR, name, factor.v, factor.src, factor.status)
        for name, factor in population.risk_factors.items()
    ]
    return rows


def _population_row(variable: str, level: str, value: float, source_id: str, mark: str) -> dict[str, Any]:
    return {
        "variable": variable,
        "level": level,
        "value": value,
        "n": None,  # a published share, not a count
        "source_id": source_id,
        "mark": mark,
        "suppressed": False,
    }
