"""One record of a gold file in, one row out: what stands in a cell, and what a fault may show of it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import nearest
from harness.label_sets import SEPARATOR, misjoined
from harness.records import Record
from harness.schemas.recipe import SPLITS
from harness.schemas.recipe_parts import Gold
from harness.schemas.tables import SUBGROUP_COLUMNS
from harness.schemas.task import Task

AGE_BAND = "age_band"
MAX_AGE_YEARS = 130
# What people write into a cell that they cannot fill; a task's own level of that name comes first.
MISSING_WORDS = frozenset({"", "unknown", "unk", "missing", "na", "n/a", "nan", "none", "null", "not recorded"})
# A value longer than a label or level could be note text in the wrong column: messages give its length instead.
MAX_SHOWN_CHARACTERS = 32
MAX_SHOWN_WORDS = 4


class FaultsByValue:
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


@dataclass(frozen=True)
class Reader:
    """Reads the cells of one file."""

    columns: Mapping[str, str]
    settings: Gold
    task: Task
    faults: FaultsByValue

    def cell(self, record: Record, ours: str) -> Any:
        return record.cells.get(self.columns[ours]) if ours in self.columns else None

    def fault(self, record: Record, ours: str, message: str) -> None:
        self.faults.add(record, f"column {self.columns.get(ours, ours)!r}: {message}")


def read_row(record: Record, reader: Reader) -> dict[str, Any]:
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


def _identifier(record: Record, ours: str, reader: Reader) -> str:
    word = _word(reader.cell(record, ours))
    if word is None:
        reader.fault(record, ours, "empty; an id is required")
    return word or ""


def _text(record: Record, reader: Reader) -> str:
    value = reader.cell(record, "text")
    if value is not None and not isinstance(value, str):
        reader.fault(record, "text", f"found {type(value).__name__}; must be text")
        return ""
    text = " ".join((value or "").split())
    if not text:
        reader.fault(record, "text", "empty text; a sentence is required")
    return text


def _label(record: Record, reader: Reader) -> str:
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


def _label_words(cell: Any, reader: Reader) -> list[str | None]:
    """What stands in a label cell, one or several; None for what is empty."""
    is_multi = reader.task.label_space.is_multi
    if is_multi and isinstance(cell, list):
        return [_word(one) for one in cell]
    word = _word(cell)
    if word is None:
        return []
    return [_word(one) for one in word.split(SEPARATOR)] if is_multi else [word]


def _known_label(record: Record, word: str, reader: Reader) -> str | None:
    """The task's label behind a word of the file; None, with a fault, where there is none."""
    known, mapped = reader.task.label_ids, reader.settings.labels
    label = mapped.get(word, word)
    if label in known:
        return label
    allowed = ", ".join([*known, *(name for name in mapped if name not in known)])
    joined = misjoined(word, [*known, *mapped]) if reader.task.label_space.is_multi else ""
    reader.fault(record, "label", f"{f'found {shown(word)}{joined}' if joined else _found(word, known)}; "
                 f"allowed: {allowed}")  # fmt: skip
    return None


def _split(record: Record, reader: Reader) -> str:
    word = _word(reader.cell(record, "split")) or ""
    if word not in SPLITS:
        reader.fault(record, "split", f"{_found(word, SPLITS)}; allowed: {', '.join(SPLITS)}")
    return word


def _age(record: Record, reader: Reader) -> float | None:
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


def _level(record: Record, variable: str, reader: Reader) -> str | None:
    """A level as the recipe maps it, by its id, or by its report title in any case.

    Variables the task lacks are taken as they are.
    """
    word = _word(reader.cell(record, variable))
    word = reader.settings.levels.get(variable, {}).get(word or "", word)
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
    theirs = word if _looks_like_a_name(word) else "<your level>"
    reader.fault(record, variable, f"{_found(word, known.levels)}; allowed: {', '.join(known.levels)}, or empty; map "
                 f"yours under gold.levels, e.g. {{{variable}: {{{theirs}: <ours>}}}}")  # fmt: skip
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


def _fill_age_band(record: Record, row: dict[str, Any], reader: Reader) -> None:
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
