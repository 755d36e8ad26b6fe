"""Files of notes and diagnosis dates in, batches of texts and a few numbers a note out. Texts are held batch by batch.

Held-out patients are dropped before anything else is looked at, so nothing about their notes, faults included, can
change a result. A message names file, row and column, never a text and never a date.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import DataError, Faults, nearest
from harness.records import MAX_CELL_CHARACTERS, refuse_other_separator
from harness.schemas.cohorts import Notes

BATCH_NOTES = 1000
DAYS_PER_YEAR = 365.25
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].*)?")
DATE_FORM = "YYYY-MM-DD, a time may follow"
NOTE_COLUMNS = ("patient_id", "date", "text")
OPTIONAL_COLUMNS = ("note_id", "note_type")
DIAGNOSIS_COLUMNS = ("patient_id", "diagnosis_date")

Row = tuple[int, Mapping[str, Any]]  # number in the file, as in harness/records.py; cells


@dataclass
class Kept:
    """What is known of the notes that stay, a row each in file order, and of those that do not."""

    patient_id: list[str] = field(default_factory=list)
    days: list[int] = field(default_factory=list)
    """Before the diagnosis; negative after it."""
    note_type: list[str | None] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    first_row: dict[str, int] = field(default_factory=dict)
    """Reason to the first row that was left out for it."""
    n_rows: int = 0
    n_held_out: int = 0

    def reject(self, row: int, note_id: str | None, reason: str, detail: str | None = None) -> None:
        name = note_id or f"row {row}"
        self.rejected.append({"row_id": name, "reason": reason, "detail": detail})
        self.reasons[reason] += 1
        self.first_row.setdefault(reason, row)


@dataclass(frozen=True)
class Source:
    """Everything that decides which notes stay.

    Attributes:
        settings: Of the recipe.
        held_out: Patients in validation and test.
        diagnosed: Patient to the day of the first recorded diagnosis.
        window: First and last moment in years relative to it.
    """

    settings: Notes
    held_out: Collection[str]
    diagnosed: Mapping[str, date]
    window: tuple[float, float]


def read_diagnoses(settings: Notes, held_out: Collection[str]) -> dict[str, date]:
    """Patient to the earliest diagnosis date on record; patients without one are absent.

    Raises:
        DataError: A column is missing, a row malformed, or a date not of the allowed form; all with their rows.
    """
    path = settings.diagnoses or settings.path
    names = {ours: settings.columns.get(ours, ours) for ours in DIAGNOSIS_COLUMNS}
    faults = Faults(str(path))
    found: dict[str, date] = {}
    for row, cells in _rows(path, names, faults):
        patient = _patient(row, cells, names, faults, held_out)
        if patient is None:
            continue
        day = _day(row, cells.get(names["diagnosis_date"]), names["diagnosis_date"], faults)
        if day is not None:
            found[patient] = min(day, found.get(patient, day))
    _raise(faults)
    return found


def text_batches(source: Source, kept: Kept) -> Iterator[list[str]]:
    """Texts of the notes that stay, batch by batch; `kept` gets their other columns in the same order.

    Raises:
        DataError: At the end, with every fault of the file: a missing column, malformed rows, rows without a patient,
            texts that are no text, dates not of the allowed form.
    """
    settings = source.settings
    names = {ours: settings.columns.get(ours, ours) for ours in (*NOTE_COLUMNS, *OPTIONAL_COLUMNS)}
    faults = Faults(str(settings.path))
    batch: list[str] = []
    optional = [names[one] for one in OPTIONAL_COLUMNS if one not in settings.columns]
    for row in _rows(settings.path, names, faults, optional=optional):
        kept.n_rows += 1
        text = _read_note(row, names, source, kept, faults)
        if text is not None:
            batch.append(text)
        if len(batch) == BATCH_NOTES:
            yield batch
            batch = []
    _raise(faults)
    if batch:
        yield batch


def _read_note(row: Row, names: Mapping[str, str], source: Source, kept: Kept, faults: Faults) -> str | None:
    """The text of a note that stays; its other columns go to `kept`."""
    number, cells = row
    patient = _patient(number, cells, names, faults, source.held_out)
    if patient is None:
        kept.n_held_out += _word(cells.get(names["patient_id"])) in source.held_out
        return None
    note_id = _word(cells.get(names["note_id"]))
    text = cells.get(names["text"])
    if text is not None and not isinstance(text, str):
        faults.add(f"row {number}, column {names['text']!r}: found {type(text).__name__}; must be text")
        return None
    day = _day(number, cells.get(names["date"]), names["date"], faults)
    reason, detail = _reason(text, day, source.diagnosed.get(patient), source.window)
    if reason is not None:
        kept.reject(number, note_id, reason, detail)
        return None
    kept.patient_id.append(patient)
    kept.days.append((source.diagnosed[patient] - day).days if day is not None else 0)
    note_type = _word(cells.get(names["note_type"]))
    kept.note_type.append(source.settings.note_types.get(note_type, note_type) if note_type else None)
    return text


def _reason(
    text: str | None, day: date | None, diagnosed: date | None, window: tuple[float, float]
) -> tuple[str | None, str | None]:
    """Why a note is left out, and by how much; None for one that stays."""
    if day is None:
        return "no_date", None
    if diagnosed is None:
        return "no_diagnosis_date", None
    days = (diagnosed - day).days
    year = years_of(days)
    if year >= window[1]:
        return ("after_diagnosis" if window[1] <= 0 else "after_window"), f"{-days} days after the diagnosis"
    if year < window[0]:
        return "before_window", f"{days} days before the diagnosis"
    if not (text or "").strip():
        return "no_text", None
    return None, None


def years_of(days: Any) -> Any:
    """Moment in years relative to the diagnosis, the middle of the day; the day itself is the last one before it."""
    return -(days + 0.5) / DAYS_PER_YEAR


# -- cells -------------------------------------------------------------------------------------------------------------


def _word(value: Any) -> str | None:
    """A cell as text without outer space; a whole float is its whole number."""
    if value is None or value != value:  # noqa: PLR0124 - NaN, which a Parquet column holds for nothing
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _patient(
    row: int, cells: Mapping[str, Any], names: Mapping[str, str], faults: Faults, held_out: Collection[str]
) -> str | None:
    """The patient of a row; None for one that is held out, and for none at all, which is a fault."""
    patient = _word(cells.get(names["patient_id"]))
    if patient is None:
        faults.add(f"row {row}, column {names['patient_id']!r}: empty; an id is required")
    return None if patient in held_out else patient


def _day(row: int, value: Any, column: str, faults: Faults) -> date | None:
    """A date; None where there is none, and for one that cannot be read, which is a fault."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    word = _word(value)
    if word is None:
        return None
    try:
        if ISO_DATE.fullmatch(word):
            return date.fromisoformat(word[:10])
    except ValueError:
        pass
    faults.add(f"row {row}, column {column!r}: found a value of {len(word)} characters that is no date; "
               f"allowed: {DATE_FORM}")  # fmt: skip
    return None


def _raise(faults: Faults) -> None:
    if faults.messages:
        raise DataError(faults.render())


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows(path: Path, names: Mapping[str, str], faults: Faults, *, optional: Sequence[str] = ()) -> Iterator[Row]:
    """Rows of a file, one by one; what is malformed becomes a fault.

    Raises:
        DataError: No such file, a suffix that cannot be read, a file that is not what its suffix says, or no rows.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: cannot read {path.suffix or 'a file without a suffix'!r}; give {', '.join(READERS)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    columns: dict[str, None] = {}
    n_rows = 0
    for row, cells in reader(path, list(names.values()), faults):
        columns.update(dict.fromkeys(cells))
        n_rows += 1
        yield row, cells
    if n_rows == 0 and not faults.messages:
        raise DataError(f"{path}: holds no rows")
    if n_rows == 0:
        return
    missing = [f"missing column {theirs!r} (for {ours}){nearest(theirs, columns)}; found: {', '.join(columns)}; name "
               f"yours under notes.columns, e.g. {{{ours}: <your column>}}"
               for ours, theirs in names.items() if theirs not in columns and theirs not in optional]  # fmt: skip
    faults.messages[:0] = missing  # ahead of what every row then lacks


def _jsonl(path: Path, names: Sequence[str], faults: Faults) -> Iterator[Row]:  # noqa: ARG001 - one shape for all
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                faults.add(f"row {number}: is not UTF-8")
                continue
            except (json.JSONDecodeError, RecursionError):
                faults.add(f"row {number}: is not JSON")
                continue
            if isinstance(cells, dict):
                yield number, cells
            else:
                faults.add(f"row {number}: found a JSON {type(cells).__name__}; each line must be an object")


def _csv(path: Path, names: Sequence[str], faults: Faults) -> Iterator[Row]:  # noqa: ARG001
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header: list[str] = []
        try:
            for number, cells in enumerate(reader, start=1):
                if number == 1:
                    header = [name.strip() for name in cells]
                    refuse_other_separator(header, str(path))
                elif cells and len(cells) != len(header):
                    faults.add(f"row {number}: found {len(cells)} cells; the header has {len(header)}")
                elif cells:
                    yield number, dict(zip(header, cells, strict=True))
        except csv.Error as error:
            faults.add(f"line {reader.line_num}: not CSV ({error}); is a quote left open?")
        except UnicodeDecodeError:
            raise DataError(f"{path}: after line {reader.line_num}, not UTF-8; save the file as UTF-8") from None


def _parquet(path: Path, names: Sequence[str], faults: Faults) -> Iterator[Row]:  # noqa: ARG001
    try:
        with pq.ParquetFile(path) as file:
            held = file.schema_arrow.names
            number = 0
            for batch in file.iter_batches(batch_size=BATCH_NOTES, columns=[one for one in held if one in names]):
                for cells in batch.to_pylist():
                    number += 1
                    yield number, cells
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error.__class__.__name__})") from None


READERS: dict[str, Callable[[Path, Sequence[str], Faults], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
