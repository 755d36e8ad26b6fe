"""Annotated sentences in, the gold table out, split by patient before anything else looks at it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cohort.gold import Import
from harness.cohort.intake import SEED_PATH, STAGE, gold_cautions, gold_path, read_gold
from harness.cohort.notes.unit import trajectory_units
from harness.cohort.statistics import gold_statistics, population_rows
from harness.cohort.structured.unit import population_units
from harness.schemas.manifest import Counts
from harness.schemas.population import load_population
from harness.schemas.recipe import SPLITS
from harness.schemas.tables import GOLD, GOLD_STATISTICS, POPULATION, REJECTED
from harness.store import Run, Unit, write_table

log = logging.getLogger(__name__)

VERSION = 1  # raised when the import or the split changes although task and recipe do not


def units(run: Run) -> list[Unit]:
    """Gold first, because it says who is held out; then what the recipe's own patients say, where it names some."""
    return [_gold_unit(run), *population_units(run), *trajectory_units(run)]


def _gold_unit(run: Run) -> Unit:
    """Import, split, statistics, and the task's population as a table."""
    task = run.task
    population = _population_path(run)

    def work(folder: Path) -> Counts:
        return _write_cohort(run, folder)

    return Unit(
        stage=STAGE,
        name="",
        inputs=[gold_path(run.recipe), *([population] if population is not None else [])],
        settings={
            "version": VERSION,
            "gold": run.recipe.file.gold.model_dump(mode="json", exclude={"path"}),
            "labels": list(task.label_space.set_ids),
            "levels": {name: dict(variable.levels) for name, variable in task.file.subgroups.items()},
        },
        seed_path=SEED_PATH,
        work=work,
        outputs=("gold.parquet", "gold_statistics.parquet", "population.parquet", "rejected.parquet"),
    )


def _population_path(run: Run) -> Path | None:
    """The task's own population, where an arm was shown personas: what no arm needs may be out of date."""
    return run.task.path(run.task.file.population) if run.recipe.shows("persona") else None


def _write_cohort(run: Run, folder: Path) -> Counts:
    task = run.task
    found = read_gold(run.recipe)
    for caution in gold_cautions(found, run.recipe.file.evaluation, task):
        log.warning("%s", caution)
    rows = found.rows
    population_path = _population_path(run)
    population = [] if population_path is None else population_rows(load_population(population_path, task))
    write_table(folder / "gold.parquet", rows, GOLD)
    write_table(folder / "gold_statistics.parquet", gold_statistics(rows, task), GOLD_STATISTICS)
    write_table(folder / "population.parquet", population, POPULATION)
    write_table(folder / "rejected.parquet", found.rejected, REJECTED)
    n_rejected = len(found.rejected)
    return Counts(rows_in=len(rows) + n_rejected, rows_out=len(rows), rejected=n_rejected, notes=_notes(found, rows))


def _notes(found: Import, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts for the manifest: sizes of the splits, and columns that were not used."""
    patients = {name: {row["patient_id"] for row in rows if row["split"] == name} for name in SPLITS}
    return {
        "patients": {name: len(one) for name, one in patients.items()},
        "sentences": {name: sum(row["split"] == name for row in rows) for name in SPLITS},
        "ignored_columns": list(found.ignored_columns),
    }
