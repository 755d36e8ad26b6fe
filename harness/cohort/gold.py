"""Annotated sentences in, rows of the gold table out; every fault of the file is reported at once, and no text with it.

Text is kept as it is but for white space: runs of it, line breaks included, become one space, because the unit is one
sentence and a prompt holds it on one line.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.cohort.cells import AGE_BAND, FaultsByValue, Reader, parse_bands, read_row, shown
from harness.errors import DataError, Faults, nearest
from harness.records import Records
from harness.schemas.recipe import SPLITS
from harness.schemas.recipe_parts import Gold
from harness.schemas.tables import SUBGROUP_COLUMNS
from harness.schemas.task import Task

REQUIRED = ("patient_id", "text", "label")
OPTIONAL = ("sentence_id", "note_id", "age_years")
ID_HASH_CHARACTERS = 16


@dataclass
class Import:
    """Outcome of an import: rows of the gold table, without a split unless the file has one, and what was dropped."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    ignored_columns: tuple[str, ...] = ()
    """Columns of the file that the import has no use for."""
    columns: tuple[str, ...] = ()
    """All columns of the file."""
    without_column: tuple[str, ...] = ()
    """Subgroup variables that no column of the file says anything of."""


def import_gold(records: Records, settings: Gold, task: Task, where: str) -> Import:
    """Turn a file's records into gold rows.

    Columns: patient_id, text and label are required, `split` too when the recipe takes it from the file; sentence_id,
    note_id, age_years and the task's subgroup variables are taken where they are. A subgroup value that is missing,
    blank or `unknown` is null. A missing sentence_id column is filled with hashes of patient, text and occurrence; a
    missing age band with the band that holds age_years, where the task's levels are bands (65-74, 85+, <65).

    Args:
        records: What the file holds.
        settings: Column map, label map, split and deduplication of the recipe.
        task: Labels and subgroup levels.
        where: The file, for messages.

    Returns:
        Rows in file order, without a split unless the file gives it.

    Raises:
        DataError: Every fault with row, column, what was found and what is allowed; never note text.
    """
    faults = Faults(where)
    columns = _map_columns(records, settings, task, faults)
    if faults.messages:
        raise DataError(faults.render())
    by_value = FaultsByValue()
    reader = Reader(columns=columns, settings=settings, task=task, faults=by_value)
    found = Import(
        ignored_columns=tuple(name for name in records.columns if name not in columns.values()),
        columns=records.columns,
        without_column=_without_column(columns, task),
    )
    occurrences: Counter[tuple[str, str]] = Counter()
    for record in records.rows:
        row = read_row(record, reader)
        if "sentence_id" not in columns:
            key = (row["patient_id"], row["text"])
            row["sentence_id"] = _sentence_id(*key, occurrences[key])
            occurrences[key] += 1
        found.rows.append(row)
    faults.extend(by_value.render())
    numbers = [record.row for record in records.rows]
    _check_ids(found.rows, numbers, faults)
    if settings.split == "column":
        _check_split(found.rows, numbers, faults)
    if faults.messages:
        raise DataError(faults.render())
    return _deduplicate(found) if settings.deduplicate else found


# -- columns -----------------------------------------------------------------------------------------------------------


def _map_columns(records: Records, settings: Gold, task: Task, faults: Faults) -> dict[str, str]:
    """Our columns to the file's, for those that it has; faults for what is missing or mistyped."""
    required = (*REQUIRED, "split") if settings.split == "column" else REQUIRED
    known = list(dict.fromkeys([*required, *OPTIONAL, "split", *SUBGROUP_COLUMNS, *task.file.subgroups]))
    for ours in settings.columns:
        if ours not in known:
            faults.add(f"gold.columns: unknown column {ours!r}{nearest(ours, known)}; known: {', '.join(known)}")
    columns: dict[str, str] = {}
    for ours in known:
        theirs = settings.columns.get(ours, ours)
        if theirs in records.columns:
            columns[ours] = theirs
        elif ours in required or ours in settings.columns:
            hint = nearest(theirs, records.columns)
            mapped = f" (for {ours})" if theirs != ours else ""
            faults.add(f"missing column {theirs!r}{mapped}{hint}; found: {', '.join(map(str, records.columns))}; "
                       f"name yours under gold.columns, e.g. {{{ours}: <your column>}}")  # fmt: skip
    for mapped in sorted({name for name in settings.labels.values() if name not in task.label_ids}):
        faults.add(f"gold.labels: {mapped!r} is no label of the task{nearest(mapped, task.label_ids)}; "
                   f"allowed: {', '.join(task.label_ids)}")  # fmt: skip
    return columns


def _without_column(columns: Mapping[str, str], task: Task) -> tuple[str, ...]:
    """An age band that the age gives needs no column of its own."""
    bands = task.file.subgroups.get(AGE_BAND)
    derived = {AGE_BAND} if bands is not None and "age_years" in columns and parse_bands(bands.levels) else set()
    known = dict.fromkeys([*SUBGROUP_COLUMNS, *task.file.subgroups])
    return tuple(name for name in known if name not in columns and name not in derived)


# -- rows together -----------------------------------------------------------------------------------------------------


def _sentence_id(patient_id: str, text: str, occurrence: int) -> str:
    digest = hashlib.sha256("\x1f".join((patient_id, text, str(occurrence))).encode()).hexdigest()
    return f"s-{digest[:ID_HASH_CHARACTERS]}"


def _check_ids(rows: list[dict[str, Any]], numbers: list[int], faults: Faults) -> None:
    rows_of: dict[str, list[int]] = {}
    for row, number in zip(rows, numbers, strict=True):
        if row["sentence_id"]:
            rows_of.setdefault(row["sentence_id"], []).append(number)
    for sentence_id, found in rows_of.items():
        if len(found) > 1:
            faults.add(f"row {found[1]}, column 'sentence_id': {shown(sentence_id)} is already in row {found[0]}; "
                       f"ids must be unique (found {len(found)} times)")  # fmt: skip


def _check_split(rows: list[dict[str, Any]], numbers: list[int], faults: Faults) -> None:
    """A patient in two splits would be trained on and tested on."""
    first: dict[str, tuple[str, int]] = {}
    reported: set[str] = set()
    for row, number in zip(rows, numbers, strict=True):
        patient, split = row["patient_id"], row["split"]
        if not patient or split not in SPLITS:
            continue
        before, at = first.setdefault(patient, (split, number))
        if before != split and patient not in reported:
            reported.add(patient)
            faults.add(f"row {number}, column 'split': patient {shown(patient)} is in {split!r} here and in {before!r} "
                       f"in row {at}; a patient belongs to one split")  # fmt: skip
    missing = [name for name in ("train", "test") if name not in {split for split, _ in first.values()}]
    faults.extend(f"column 'split': no row is in {name!r}; it must not be empty" for name in missing)


def _deduplicate(found: Import) -> Import:
    """Drop rows whose text and label repeat an earlier row of the same patient, with the id of the row that stays."""
    kept: dict[tuple[str, str, str], str] = {}
    rows: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for row in found.rows:
        key = (row["patient_id"], row["text"], row["label"])
        if key in kept:
            rejected.append({"row_id": row["sentence_id"], "reason": "duplicate", "detail": f"repeats {kept[key]}"})
        else:
            kept[key] = row["sentence_id"]
            rows.append(row)
    return replace(found, rows=rows, rejected=rejected)
