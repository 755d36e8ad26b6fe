"""Files of patients in, text columns out, with the row number of each record as an editor counts them.

A file is read for the columns that are wanted and for no others, as text: what a cell means is decided by the caller,
after rows that it must not look at are gone.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.errors import DataError, Faults, collect_faults
from harness.records import refuse_other_separator


@dataclass(frozen=True)
class Columns:
    """Text columns of a file, and the row number of each record as an editor counts them."""

    cells: Mapping[str, pa.Array]
    rows: NDArray[np.int64]


def _csv_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = [name.strip() for name in next(csv.reader(file), [])]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    refuse_other_separator(columns, str(path))
    return columns


def _read_csv(path: Path, names: list[str]) -> Columns:
    broken: list[str] = []

    def note(row: Any) -> str:
        broken.append(f"row {row.number}: found {row.actual_columns} cells; the header has {row.expected_columns}")
        return "skip"

    header = _csv_header(path)
    try:
        table = pa_csv.read_csv(
            path,
            # one thread: rows then carry their numbers
            read_options=pa_csv.ReadOptions(use_threads=False, column_names=header, skip_rows=1),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            convert_options=pa_csv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        raise DataError(f"{path}: not a CSV file in UTF-8; is a quote left open, or another encoding used?") from None
    with collect_faults(DataError, str(path)) as faults:
        faults.extend(broken)
    cells = {name: _flat(table[name]) for name in names}
    return Columns(cells, np.arange(2, table.num_rows + 2))  # the header is row 1


def _jsonl_objects(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    faults = Faults(str(path))
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError):
                faults.add(f"row {number}: not JSON")
                continue
            if isinstance(cells, dict):
                yield number, cells
            else:
                faults.add(f"row {number}: found a JSON {type(cells).__name__}; each line must be an object")
    if faults.messages:
        raise DataError(faults.render())


def _jsonl_header(path: Path) -> list[str]:
    names: dict[str, None] = {}
    for _, cells in _jsonl_objects(path):
        names.update(dict.fromkeys(cells))
    return list(names)


def _read_jsonl(path: Path, names: list[str]) -> Columns:
    rows: list[int] = []
    columns: dict[str, list[str | None]] = {name: [] for name in names}
    for number, cells in _jsonl_objects(path):
        rows.append(number)
        for name in names:
            columns[name].append(_plain(cells.get(name)))
    return Columns({name: pa.array(cells, pa.string()) for name, cells in columns.items()}, np.array(rows, np.int64))


def _plain(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _parquet_header(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error.__class__.__name__})") from None


def _read_parquet(path: Path, names: list[str]) -> Columns:
    table = pq.read_table(path, columns=names)
    cells = {name: _flat(table[name].cast(pa.string())) for name in names}
    return Columns(cells, np.arange(1, table.num_rows + 1))


def _flat(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


HEADERS: dict[str, Callable[[Path], list[str]]] = {
    ".csv": _csv_header,
    ".jsonl": _jsonl_header,
    ".parquet": _parquet_header,
}
READERS: dict[str, Callable[[Path, list[str]], Columns]] = {
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
