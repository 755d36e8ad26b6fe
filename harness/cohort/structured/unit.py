"""The `population` unit of stage cohort: a recipe's structured patients in, the target of statistical alignment out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cohort.structured.concepts import DEMOGRAPHICS, read_concept_sets
from harness.cohort.structured.counts import Counts as Tables
from harness.cohort.structured.counts import count
from harness.cohort.structured.document import About, population_content, render
from harness.cohort.structured.estimate import Estimates, estimate
from harness.cohort.structured.fhir import fhir_files, read_fhir
from harness.cohort.structured.ledger import Ledger, Release, draw_once
from harness.cohort.structured.omop import omop_files, read_omop
from harness.cohort.structured.people import (
    People,
    Reading,
    Wanted,
    check,
    complete,
    rejected_table,
    wanted,
    without_absent,
)
from harness.cohort.structured.privacy import draw, from_answers, plan
from harness.cohort.structured.table import read_table
from harness.errors import ConfigError, DataError
from harness.schemas.cohorts import Cohort
from harness.schemas.manifest import Counts
from harness.schemas.population import Population, load_population
from harness.schemas.tables import GOLD, MATCHED_CONCEPTS, POPULATION, REJECTED
from harness.store import Run, Unit, atomic_path, sha256_json, write_table
from harness.store import read_table as read_stored

log = logging.getLogger(__name__)

STAGE, UNIT = "cohort", "population"
VERSION = 1  # raised when an estimate changes although task, recipe and cohort do not
HELD_OUT_SPLITS = ("validation", "test")
LEDGER = "privacy_ledger.json"


def population_units(run: Run) -> list[Unit]:
    """The unit, where the recipe names a cohort."""
    settings = run.recipe.file.cohort
    if settings is None:
        return []
    task_files = [run.task.path(run.task.file.population)]
    task_files += [_concept_sets(run, settings), DEMOGRAPHICS] if settings.kind != "table" else []

    def work(folder: Path) -> Counts:
        return _write(run, settings, folder)

    outputs = ("population.yaml", "cells.parquet", "matched.parquet", "rejected.parquet")
    return [
        Unit(
            stage=STAGE,
            name=UNIT,
            inputs=[
                run.path(STAGE, "gold.parquet"),
                *_files(settings),
                *(one for one in task_files if one is not None),
            ],
            settings={
                "version": VERSION,
                "cohort": settings.model_dump(mode="json", exclude={"path", "concept_sets"}),
                "levels": {name: dict(one.levels) for name, one in run.task.file.subgroups.items()},
                "name": run.recipe.name,
            },
            seed_path=(),  # nothing is drawn but private noise, which has no seed
            work=work,
            outputs=outputs,
        )
    ]


def _files(settings: Cohort) -> list[Path]:
    if settings.kind == "table":
        return [settings.path]
    return list(omop_files(settings.path).values()) if settings.kind == "omop" else fhir_files(settings.path)


def _concept_sets(run: Run, settings: Cohort) -> Path:
    """The CSV that codes are looked up in.

    Raises:
        ConfigError: Neither the recipe nor the task has one.
    """
    path = settings.concept_sets or run.task.path(run.task.file.concept_sets)
    if path is None:
        raise ConfigError(
            f"{run.recipe.path}: cohort.kind is {settings.kind}, but neither cohort.concept_sets nor the task "
            f"{run.task.id!r} names a CSV of concept sets"
        )
    return path


def _write(run: Run, settings: Cohort, folder: Path) -> Counts:
    """Read, leave out, count, suppress or add noise, write; the order is the protection."""
    where = str(settings.path)
    base = _own_population(run)
    asked = wanted(run.task, base)
    reading = _read(run, settings, asked, held_out_patients(run))
    people, incomplete = complete(reading.people)
    left_out = {**reading.left_out, **incomplete}
    check(people, settings, asked, left_out=left_out, where=where)
    people = without_absent(people, settings.absent)
    tables, private = _released(run, settings, people)
    if tables.n < max(settings.min_cell, 1):
        raise DataError(f"{where}: fewer than cohort.min_cell = {settings.min_cell} people after noise; nothing can be "
                        "shown; use a larger epsilon or a smaller min_cell")  # fmt: skip
    found = estimate(tables, settings.min_cell, _reference(base))
    about = _about(run, settings, reading, found=found, base=base, private=private)
    content = population_content(found, base, about)
    with atomic_path(folder / "population.yaml") as temporary:
        temporary.write_text(render(content, settings.min_cell), encoding="utf-8")
        load_population(temporary, run.task)  # only what alignment can read takes its place
    write_table(folder / "cells.parquet", list(found.cells), POPULATION)
    write_table(folder / "matched.parquet", _matched(reading, settings), MATCHED_CONCEPTS)
    write_table(folder / "rejected.parquet", rejected_table(left_out), REJECTED)
    _warn(run, reading, where)
    return Counts(
        rows_in=reading.n_read,
        rows_out=len(people),
        rejected=sum(len(ids) for ids in left_out.values()),
        notes=_notes(left_out, found, about),
    )


def held_out_patients(run: Run) -> frozenset[str]:
    """Patients of gold's validation and test splits: nothing may be learnt from them."""
    gold = read_stored(run.path(STAGE, "gold.parquet"), GOLD, columns=["patient_id", "split"])
    pairs = zip(gold["patient_id"].to_pylist(), gold["split"].to_pylist(), strict=True)
    return frozenset(str(patient) for patient, split in pairs if split in HELD_OUT_SPLITS)


def _own_population(run: Run) -> Population | None:
    path = run.task.path(run.task.file.population)
    return None if path is None else load_population(path, run.task)


def _read(run: Run, settings: Cohort, asked: Wanted, held_out: frozenset[str]) -> Reading:
    if settings.kind == "table":
        return read_table(settings.path, settings, asked, held_out)
    sets = read_concept_sets(_concept_sets(run, settings), asked)
    read = read_omop if settings.kind == "omop" else read_fhir
    return read(settings.path, settings, asked, sets=sets, held_out=held_out)


def _reference(base: Population | None) -> dict[str, dict[str, float]]:
    return {} if base is None else {name: base.shares(name) for name in base.margins}


# -- privacy -----------------------------------------------------------------------------------------------------------


def _released(run: Run, settings: Cohort, people: People) -> tuple[Tables, tuple[Release, Ledger] | None]:
    """Exact counts; or noisy ones, drawn once and charged to the ledger."""
    exact = count(people)
    if settings.privacy is None:
        return exact, None
    factors = list(exact.carriers)
    queries = plan(settings.privacy.epsilon, exact.levels, factors)
    release, ledger = draw_once(
        settings.privacy.ledger or run.folder / LEDGER,
        release_id=_release_id(exact, {query.name: query.epsilon for query in queries}),
        queries={query.name: query.epsilon for query in queries},
        total_epsilon=settings.privacy.total_epsilon or settings.privacy.epsilon,
        draw=lambda: draw(exact, queries),
    )
    return from_answers(release.answers, exact.levels, factors), (release, ledger)


def _release_id(exact: Tables, queries: Mapping[str, float]) -> str:
    return sha256_json(
        {
            "queries": dict(queries),
            "levels": {name: list(levels) for name, levels in exact.levels.items()},
            "pairs": {" x ".join(pair): table.tolist() for pair, table in exact.pairs.items()},
            "carriers": dict(exact.carriers),
        }
    )


# -- what is said of it ------------------------------------------------------------------------------------------------


def _about(
    run: Run,
    settings: Cohort,
    reading: Reading,
    *,
    found: Estimates,
    base: Population | None,
    private: tuple[Release, Ledger] | None,
) -> About:
    kind = {"table": "table", "omop": "OMOP CDM", "fhir": "FHIR export"}[settings.kind]
    return About(
        name=f"cohort_of_{run.recipe.name}",
        title=f"{round(found.n)} patients of the recipe's cohort ({kind})",
        as_of=_year(run, settings, reading, base),
        min_cell=settings.min_cell,
        privacy=None if private is None else dict(sorted(private[0].queries.items())),
        spent=0.0 if private is None else private[1].spent,
    )


def _year(run: Run, settings: Cohort, reading: Reading, base: Population | None) -> int:
    """Year that the figures describe: `as_of`, else that of the last diagnosis, else the task's.

    A private release does not tell the last diagnosis.

    Raises:
        ConfigError: None of them is known.
    """
    if settings.as_of is not None:
        return int(settings.as_of[:4])
    if reading.last_year is not None and settings.privacy is None:
        return reading.last_year
    if base is not None:
        return base.as_of
    raise ConfigError(
        f"{run.recipe.path}: cohort.as_of is missing; give the date (YYYY-MM-DD) that the cohort describes"
    )


def _matched(reading: Reading, settings: Cohort) -> list[dict[str, Any]]:
    """Concepts that records matched; numbers of people only where they may be shown, and none of a private release."""
    if settings.privacy is not None:
        return []
    return [
        {**row, "n": row["n"] if row["n"] >= settings.min_cell else None, "suppressed": row["n"] < settings.min_cell}
        for row in reading.matched
    ]


def _notes(left_out: Mapping[str, Any], found: Estimates, about: About) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "left_out": {reason: len(ids) for reason, ids in left_out.items()},
        "min_cell": about.min_cell,
        "cells_shown": sum(not row["suppressed"] for row in found.cells),
        "cells_suppressed": sum(bool(row["suppressed"]) for row in found.cells),
        "largest_gap_of_joint": found.gap,
    }
    if about.privacy is not None:
        notes["epsilon"] = sum(about.privacy.values())
        notes["epsilon_by_query"] = dict(about.privacy)
        notes["epsilon_spent_in_all"] = about.spent
    return notes


def _warn(run: Run, reading: Reading, where: str) -> None:
    if reading.n_held_out_found == 0 and run.recipe.file.gold.path is not None:
        log.warning(
            "%s: holds none of gold's held-out patients; if they are there under other ids, they were counted: use the "
            "same ids in both",
            where,
        )
