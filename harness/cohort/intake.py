"""A recipe's gold file in, its rows with their splits out, and what to know of them before anything is trained.

Apart from the stage so that `harness validate` can read the rows without the libraries of the stage's other units.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.cohort.cells import AGE_BAND
from harness.cohort.gold import Import, import_gold
from harness.cohort.split import assign_splits
from harness.errors import DataError
from harness.records import parse_records
from harness.schemas.recipe import Recipe
from harness.schemas.recipe_parts import Evaluation
from harness.schemas.task import Task
from harness.seeds import generator

STAGE = "cohort"
SEED_PATH = (STAGE, "split")


def gold_path(recipe: Recipe) -> Path:
    """The recipe's gold file, or the task's demo gold; loading the recipe has checked that one of them is given."""
    path = recipe.file.gold.path or recipe.task.path(recipe.task.file.demo_gold)
    if path is None:
        raise DataError(f"{recipe.path}: no gold.path, and the task {recipe.task.id!r} has no demo gold")
    return path


def read_gold(recipe: Recipe) -> Import:
    """Rows of the recipe's gold file, each with its split.

    Raises:
        DataError: Every fault of the file, or fewer patients than splits.
    """
    path, settings = gold_path(recipe), recipe.file.gold
    records = parse_records(path.read_bytes(), path.suffix, str(path))
    found = import_gold(records, settings, recipe.task, str(path))
    if settings.split == "column":
        return found
    rng = generator(recipe.seed, *SEED_PATH)
    return replace(found, rows=assign_splits(found.rows, recipe.task, settings.split.model_dump(), rng))


def gold_cautions(found: Import, settings: Evaluation, task: Task) -> list[str]:
    """What would leave the report empty, in whole or for a subgroup: no fault, and found out too late otherwise."""
    asked = settings.subgroups if "subgroups" in settings.model_fields_set else task.file.subgroups
    cautions = []
    for name in asked:
        if name in found.without_column:
            age = "; age_years would do" if name == AGE_BAND else ""
            cautions.append(f"gold: no column for subgroup {name!r} (columns: {', '.join(map(str, found.columns))}); "
                            f"name it under gold.columns, e.g. {{{name}: <your column>}}{age}")  # fmt: skip
    n_test = len({row["patient_id"] for row in found.rows if row["split"] == "test"})
    if n_test < settings.min_patients:
        cautions.append(f"gold: {n_test} test patients, but evaluation.min_patients is {settings.min_patients}, so the "
                        "report will have no number; annotate more patients, raise gold.split.test, or lower "
                        "evaluation.min_patients")  # fmt: skip
    return cautions
