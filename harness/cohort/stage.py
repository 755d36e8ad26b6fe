"""Annotated sentences in, the gold table out, split by patient before anything else looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cohort.gold import Import, import_gold
from harness.cohort.notes.unit import trajectory_units
from harness.cohort.split import split_patients
from harness.cohort.statistics import gold_statistics, population_rows
from harness.cohort.structured.unit import population_units
from harness.errors import DataError
from harness.label_sets import labels_of
from harness.records import parse_records
from harness.schemas.manifest import Counts
from harness.schemas.population import load_population
from harness.schemas.recipe import SPLITS
from harness.schemas.tables import GOLD, GOLD_STATISTICS, POPULATION, REJECTED
from harness.schemas.task import Task
from harness.seeds import generator
from harness.store import Run, Unit, write_table

STAGE = "cohort"
VERSION = 1  # raised when the import or the split changes although task and recipe do not
SEED_PATH = (STAGE, "split")


def units(run: Run) -> list[Unit]:
    """Gold first, because it says who is held out; then what the recipe's own patients say, where it names some."""
    return [_gold_unit(run), *population_units(run), *trajectory_units(run)]


def _gold_unit(run: Run) -> Unit:
    """Import, split, statistics, and the task's population as a table."""
    task = run.task
    population = task.path(task.file.population)
    gold_path = _gold_path(run)

    def work(folder: Path) -> Counts:
        return _write_cohort(run, gold_path, folder)

    return Unit(
        stage=STAGE,
        name="",
        inputs=[gold_path, *([population] if population is not None else [])],
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


def _gold_path(run: Run) -> Path:
    """The recipe's gold file, or the task's demo gold; loading the recipe has checked that one of them is given."""
    path = run.recipe.file.gold.path or run.task.path(run.task.file.demo_gold)
    if path is None:
        raise DataError(f"{run.recipe.path}: no gold.path, and the task {run.task.id!r} has no demo gold")
    return path


def _write_cohort(run: Run, gold_path: Path, folder: Path) -> Counts:
    settings, task = run.recipe.file.gold, run.task
    records = parse_records(gold_path.read_bytes(), gold_path.suffix, str(gold_path))
    found = import_gold(records, settings, task, str(gold_path))
    rows = found.rows
    if settings.split != "column":
        rows = assign_splits(rows, task, settings.split.model_dump(), generator(run.seed, *SEED_PATH))
    population_path = task.path(task.file.population)
    population = [] if population_path is None else population_rows(load_population(population_path, task))
    write_table(folder / "gold.parquet", rows, GOLD)
    write_table(folder / "gold_statistics.parquet", gold_statistics(rows, task), GOLD_STATISTICS)
    write_table(folder / "population.parquet", population, POPULATION)
    write_table(folder / "rejected.parquet", found.rejected, REJECTED)
    return Counts(
        rows_in=len(records.rows), rows_out=len(rows), rejected=len(found.rejected), notes=_notes(found, rows)
    )


def assign_splits(
    rows: Sequence[Mapping[str, Any]], task: Task, shares: Mapping[str, float], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The rows with a `split`, by patient; the order of the rows does not matter."""
    patients = sorted({row["patient_id"] for row in rows})
    label_counts, level_counts = _patient_vectors(rows, patients, task)
    split = dict(zip(patients, split_patients(label_counts, level_counts, shares, rng), strict=True))
    return [{**row, "split": split[row["patient_id"]]} for row in rows]


def _patient_vectors(
    rows: Sequence[Mapping[str, Any]], patients: Sequence[str], task: Task
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sentences by label, and membership by subgroup level, of each patient."""
    index = {patient: number for number, patient in enumerate(patients)}
    labels = {label: number for number, label in enumerate(task.label_ids)}
    places = [(name, level) for name, variable in task.file.subgroups.items() for level in variable.levels]
    levels = {place: number for number, place in enumerate(places)}
    label_counts = np.zeros((len(patients), len(labels)), dtype=np.int64)
    level_counts = np.zeros((len(patients), len(levels)), dtype=np.int64)
    for row in rows:
        patient = index[row["patient_id"]]
        for label in labels_of(row["label"]):
            label_counts[patient, labels[label]] += 1
        for name in task.file.subgroups:
            if (name, row[name]) in levels:
                level_counts[patient, levels[(name, row[name])]] = 1
    return label_counts, level_counts


def _notes(found: Import, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts for the manifest: sizes of the splits, and columns that were not used."""
    patients = {name: {row["patient_id"] for row in rows if row["split"] == name} for name in SPLITS}
    return {
        "patients": {name: len(one) for name, one in patients.items()},
        "sentences": {name: sum(row["split"] == name for row in rows) for name in SPLITS},
        "ignored_columns": list(found.ignored_columns),
    }
