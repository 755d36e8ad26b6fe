"""Bytes of a JSONL, CSV or Parquet file in, numbered records out. Nothing here knows what a column means.

Messages never hold a cell's content: the file may hold notes of patients.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import DataError, collect_faults

BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
OTHER_SEPARATORS = (";", "\t", "|")  # that spreadsheets write into a .csv
MAX_CELL_CHARACTERS = 1 << 24  # Python's own limit for CSV cells, 131,072, is shorter than a long discharge summary


@dataclass(frozen=True)
class Record:
    row: int
    """JSONL: the line; CSV: the record, the header being 1; Parquet: the row, from 1."""
    cells: Mapping[str, Any]


@dataclass(frozen=True)
class Records:
    columns: tuple[str, ...]
    rows: tuple[Record, ...]


def require_columns(records: Records, needed: Sequence[str], where: str) -> None:
    """Raise a DataError that names the columns that are missing, those found and those needed."""
    missing = [name for name in needed if name not in records.columns]
    if missing:
        found = ", ".join(map(str, records.columns))
        raise DataError(f"{where}: missing column {', '.join(missing)}; found {found}; needed {', '.join(needed)}")


def stripped(record: Record, name: str) -> str:
    """The cell as text without spaces around it; empty where there is none."""
    value = record.cells.get(name)
    return "" if value is None else str(value).strip()


def parse_records(content: bytes, suffix: str, where: str) -> Records:
    """Records of a file by its suffix.

    Args:
        content: The whole file. A UTF-8 byte order mark is skipped.
        suffix: `.jsonl`, `.csv` or `.parquet`.
        where: The file, for messages.

    Raises:
        DataError: Another suffix, bytes that are not UTF-8 (with their position), malformed records (all of them, with
            row numbers), or no records at all.
    """
    parser = PARSERS.get(suffix.lower())
    if parser is None:
        raise DataError(f"{where}: cannot read {suffix or 'a file without a suffix'!r}; give {', '.join(PARSERS)}")
    records = parser(content, where)
    if not records.rows:
        raise DataError(f"{where}: holds no rows")
    return records


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = BYTE_ORDER_MARKS.get(content[:2])
        found = f"the file starts with the mark of {guess}" if guess else f"found 0x{content[error.start]:02x}"
        raise DataError(
            f"{where}: byte {error.start} (line {line}) is not UTF-8: {found}; save the file as UTF-8"
        ) from None


def _parse_jsonl(content: bytes, where: str) -> Records:
    columns: dict[str, None] = {}
    rows: list[Record] = []
    with collect_faults(DataError, where) as faults:
        for number, line in enumerate(_decode(content, where).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line)
            except json.JSONDecodeError as error:
                faults.add(f"row {number}: not JSON ({error.msg} at character {error.colno} of {len(line)})")
                continue
            except RecursionError:
                faults.add(f"row {number}: JSON nested too deeply")
                continue
            if not isinstance(cells, dict):
                faults.add(f"row {number}: found a JSON {type(cells).__name__}; each line must be an object")
                continue
            if not _is_unicode(line, cells):
                faults.add(f"row {number}: holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
                continue
            columns.update(dict.fromkeys(cells))
            rows.append(Record(number, cells))
    return Records(tuple(columns), tuple(rows))


def _is_unicode(line: str, cells: dict[str, Any]) -> bool:
    """JSON can escape half a character, which no UTF-8 file or table can hold."""
    if "\\ud" not in line.lower():
        return True
    try:
        json.dumps(cells, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_csv(content: bytes, where: str) -> Records:
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(_decode(content, where), newline=""), strict=True)
    rows: list[Record] = []
    columns: list[str] = []
    row = 0
    with collect_faults(DataError, where) as faults:
        try:
            for row, cells in enumerate(reader, start=1):
                if row == 1:
                    columns = [name.strip() for name in cells]
                    refuse_other_separator(columns, where)
                    twice = sorted({name for name in columns if columns.count(name) > 1})
                    faults.extend(f"row 1: column {name!r} is given twice" for name in twice)
                elif not cells:
                    continue
                elif len(cells) != len(columns):
                    faults.add(f"row {row}: found {len(cells)} cells; the header has {len(columns)}")
                else:
                    rows.append(Record(row, dict(zip(columns, cells, strict=True))))
        except csv.Error as error:
            faults.add(f"row {row + 1}, line {reader.line_num}: not CSV ({error}); is a quote left open?")
    return Records(tuple(columns), tuple(rows))


def refuse_other_separator(columns: Sequence[str], where: str) -> None:
    """At once, because every row would be a fault as well."""
    separator = next((one for one in OTHER_SEPARATORS if len(columns) == 1 and one in columns[0]), None)
    if separator is not None:
        raise DataError(f"{where}: found one column; is it separated by {separator!r}? save it with commas")


def _parse_parquet(content: bytes, where: str) -> Records:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a readable Parquet file ({error.__class__.__name__})") from None
    rows = tuple(Record(number, cells) for number, cells in enumerate(table.to_pylist(), start=1))
    return Records(tuple(table.column_names), rows)


PARSERS: dict[str, Callable[[bytes, str], Records]] = {
    ".jsonl": _parse_jsonl,
    ".csv": _parse_csv,
    ".parquet": _parse_parquet,
}
