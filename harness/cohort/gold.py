"""Annotated sentences in, rows of the gold table out; every fault of the file is reported at once, and no text with it.

Text is kept as it is but for white space: runs of it, line breaks included, become one space, because the unit is one
sentence and a prompt holds it on one line.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import DataError, Faults, nearest
from harness.label_sets import SEPARATOR
from harness.records import Record, Records
from harness.schemas.recipe import SPLITS
from harness.schemas.recipe_parts import Gold
from harness.schemas.tables import SUBGROUP_COLUMNS
from harness.schemas.task import Task

REQUIRED = ("patient_id", "text", "label")
OPTIONAL = ("sentence_id", "note_id", "age_years")
AGE_BAND = "age_band"
MAX_AGE_YEARS = 130
# What people write into a cell that they cannot fill; a task's own level of that name comes first.
MISSING_WORDS = frozenset({"", "unknown", "unk", "missing", "na", "n/a", "nan", "none", "null", "not recorded"})
# A value longer than a label or level could be note text in the wrong column: messages give its length instead.
MAX_SHOWN_CHARACTERS = 32
MAX_SHOWN_WORDS = 4
ID_HASH_CHARACTERS = 16


@dataclass
class Import:
    """Outcome of an import: rows of the gold table, without a split unless the file has one, and what was dropped."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    ignored_columns: tuple[str, ...] = ()
    """Columns of the file that the import has no use for."""


class _FaultsByValue:
    """Gathers one fault per column and problem, with the first row and the number of further rows."""

    def __init__(self) -> None:
        self.first: dict[str, int] = {}
        self.count: Counter[str] = Counter()

    def add(self, record: Record, message: str) -> None:
        self.first.setdefault(message, record.row)
        self.count[message] += 1

    def render(self) -> Iterable[str]:
        for message, row in self.first.items():
            more = self.count[message] - 1
            yield f"row {row}{f' and {more} more' if more else ''}, {message}"


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
    by_value = _FaultsByValue()
    reader = _Reader(columns=columns, settings=settings, task=task, faults=by_value)
    found = Import(ignored_columns=tuple(name for name in records.columns if name not in columns.values()))
    occurrences: Counter[tuple[str, str]] = Counter()
    for record in records.rows:
        row = _read_row(record, reader)
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


# -- cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reader:
    """Reads the cells of one file."""

    columns: Mapping[str, str]
    settings: Gold
    task: Task
    faults: _FaultsByValue

    def cell(self, record: Record, ours: str) -> Any:
        return record.cells.get(self.columns[ours]) if ours in self.columns else None

    def fault(self, record: Record, ours: str, message: str) -> None:
        self.faults.add(record, f"column {self.columns.get(ours, ours)!r}: {message}")


def _read_row(record: Record, reader: _Reader) -> dict[str, Any]:
    row: dict[str, Any] = {
        "patient_id": _identifier(record, "patient_id", reader),
        "note_id": _word(reader.cell(record, "note_id")),
        "text": _text(record, reader),
        "label": _label(record, reader),
        "age_years": _age(record, reader),
    }
    if "sentence_id" in reader.columns:
        row["sentence_id"] = _identifier(record, "sentence_id", reader)
    if reader.settings.split == "column":
        row["split"] = _split(record, reader)
    for variable in dict.fromkeys([*SUBGROUP_COLUMNS, *reader.task.file.subgroups]):
        row[variable] = _level(record, variable, reader)
    _fill_age_band(record, row, reader)
    return row


def _word(value: Any) -> str | None:
    """A cell as text without outer space; None when it is empty. A whole float such as 3.0 is the number 3."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _looks_like_a_name(word: str) -> bool:
    return len(word) <= MAX_SHOWN_CHARACTERS and len(word.split()) <= MAX_SHOWN_WORDS


def shown(word: str) -> str:
    """A value as a message may show it: as it is when it looks like a name, else its length alone."""
    return repr(word) if _looks_like_a_name(word) else f"a value of {len(word)} characters"


def _found(word: str, known: Iterable[str]) -> str:
    return f"found {shown(word)}{nearest(word, known) if _looks_like_a_name(word) else ''}"


def _identifier(record: Record, ours: str, reader: _Reader) -> str:
    word = _word(reader.cell(record, ours))
    if word is None:
        reader.fault(record, ours, "empty; an id is required")
    return word or ""


def _text(record: Record, reader: _Reader) -> str:
    value = reader.cell(record, "text")
    if value is not None and not isinstance(value, str):
        reader.fault(record, "text", f"found {type(value).__name__}; must be text")
        return ""
    text = " ".join((value or "").split())
    if not text:
        reader.fault(record, "text", "empty text; a sentence is required")
    return text


def _label(record: Record, reader: _Reader) -> str:
    """Id of the label, or of the set of labels where the task has several a sentence; any order, or a list."""
    words, space = _label_words(reader.cell(record, "label"), reader), reader.task.label_space
    if not words or None in words:
        reader.fault(record, "label", "empty; a label is required")
        return ""
    found = [_known_label(record, word, reader) for word in words if word is not None]
    labels = [label for label in found if label is not None]
    if len(labels) == len(words):
        for message in space.faults_of(labels):
            reader.fault(record, "label", message)
    return space.id_of(labels)


def _label_words(cell: Any, reader: _Reader) -> list[str | None]:
    """What stands in a label cell, one or several; None for what is empty."""
    is_multi = reader.task.label_space.is_multi
    if is_multi and isinstance(cell, list):
        return [_word(one) for one in cell]
    word = _word(cell)
    if word is None:
        return []
    return [_word(one) for one in word.split(SEPARATOR)] if is_multi else [word]


def _known_label(record: Record, word: str, reader: _Reader) -> str | None:
    """The task's label behind a word of the file; None, with a fault, where there is none."""
    known, mapped = reader.task.label_ids, reader.settings.labels
    label = mapped.get(word, word)
    if label in known:
        return label
    allowed = ", ".join([*known, *(name for name in mapped if name not in known)])
    reader.fault(record, "label", f"{_found(word, known)}; allowed: {allowed}")
    return None


def _split(record: Record, reader: _Reader) -> str:
    word = _word(reader.cell(record, "split")) or ""
    if word not in SPLITS:
        reader.fault(record, "split", f"{_found(word, SPLITS)}; allowed: {', '.join(SPLITS)}")
    return word


def _age(record: Record, reader: _Reader) -> float | None:
    word = _word(reader.cell(record, "age_years"))
    if word is None or word.casefold() in MISSING_WORDS:
        return None
    try:
        age = float(word)
    except ValueError:
        age = math.nan
    if not 0 <= age <= MAX_AGE_YEARS:
        reader.fault(record, "age_years", f"found {shown(word)}; allowed: years from 0 to {MAX_AGE_YEARS}, or empty")
        return None
    return age


def _level(record: Record, variable: str, reader: _Reader) -> str | None:
    """A subgroup level by its id, or its report title in any case; variables the task lacks are taken as they are."""
    word = _word(reader.cell(record, variable))
    known = reader.task.file.subgroups.get(variable)
    if known is not None and word in known.levels:
        return word
    if word is None or word.casefold() in MISSING_WORDS:
        return None
    if known is None:
        return word
    titles = {title.casefold(): level for level, title in known.levels.items()}
    if word.casefold() in titles:
        return titles[word.casefold()]
    reader.fault(record, variable, f"{_found(word, known.levels)}; allowed: {', '.join(known.levels)}, or empty")
    return None


# -- age bands ---------------------------------------------------------------------------------------------------------


def parse_bands(levels: Iterable[str]) -> dict[str, tuple[float, float]] | None:
    """Age bands as [from, to) in years, from levels like 65-74, 85+ or <65; None when a level is not of that form."""
    bands: dict[str, tuple[float, float]] = {}
    for level in levels:
        if match := re.fullmatch(r"(\d+)\s*[-–]\s*(\d+)", level):  # noqa: RUF001 - people do type the en dash
            bands[level] = (float(match[1]), float(match[2]) + 1)
        elif match := re.fullmatch(r"(\d+)\s*\+", level):
            bands[level] = (float(match[1]), math.inf)
        elif match := re.fullmatch(r"<\s*(\d+)", level):
            bands[level] = (0.0, float(match[1]))
        else:
            return None
    return bands


def _fill_age_band(record: Record, row: dict[str, Any], reader: _Reader) -> None:
    """Derive the band from the age where it is missing; a band that contradicts the age is a fault."""
    known = reader.task.file.subgroups.get(AGE_BAND)
    bands = parse_bands(known.levels) if known is not None else None
    age = row["age_years"]
    if bands is None or age is None:
        return
    held = next((level for level, (low, high) in bands.items() if low <= age < high), None)
    if row[AGE_BAND] is None:
        row[AGE_BAND] = held
    elif row[AGE_BAND] != held:
        reader.fault(record, AGE_BAND, f"found {row[AGE_BAND]!r}, but the age is {age:g}; correct one of them")


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
    return Import(rows=rows, rejected=rejected, ignored_columns=found.ignored_columns)
