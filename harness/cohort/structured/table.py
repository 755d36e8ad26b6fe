"""A plain table of patients in (CSV, JSONL or Parquet, one patient a row), people out.

Read column by column, never as row dictionaries: the cost is a pass over the file and memory for the mapped columns
alone. Messages show values that look like codes, never longer ones: a mistaken column may hold note text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.cohort.cells import MAX_AGE_YEARS, MISSING_WORDS, parse_bands, shown
from harness.cohort.structured.columns import HEADERS, READERS, Columns
from harness.cohort.structured.people import HELD_OUT, UNKNOWN, People, Reading, Wanted
from harness.errors import DataError, Faults, collect_faults, nearest
from harness.schemas.cohorts import Cohort
from harness.schemas.population_checks import AGE_VARIABLE

PATIENT, AGE_YEARS = "patient_id", "age_years"
YES_WORDS = frozenset({"1", "1.0", "true", "t", "yes", "y"})
NO_WORDS = frozenset({"0", "0.0", "false", "f", "no", "n"})
YES_NO = {"yes": 1, "no": 0}


def read_table(path: Path, settings: Cohort, wanted: Wanted, held_out: frozenset[str]) -> Reading:
    """People of a table; rows of held-out patients are gone before any other column is looked at.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.
        settings: Column map, level maps, risk factor columns.
        wanted: Variables, levels and factors of the task.
        held_out: Patient ids that nothing may be learnt from.

    Raises:
        DataError: Every missing column at once; or every unknown code, bad age and repeated patient at once, each with
            column, first row, what was found and what is allowed.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: cannot read {path.suffix or 'a file without a suffix'!r}; give {', '.join(READERS)}")
    columns = _map_columns(HEADERS[path.suffix.lower()](path), settings, wanted, str(path))
    read = reader(path, sorted(set(columns.values())))
    words = pc.utf8_trim_whitespace(pc.fill_null(read.cells[columns[PATIENT]], ""))
    out = pc.is_in(words, value_set=pa.array(sorted(held_out), pa.string())).to_numpy(zero_copy_only=False)
    ids = words.to_numpy(zero_copy_only=False).astype(object)
    kept = np.flatnonzero(~out)
    read = Columns({name: cells.take(pa.array(kept)) for name, cells in read.cells.items()}, read.rows[kept])
    with collect_faults(DataError, str(path)) as faults:
        people = _people(read, ids[kept], columns, settings=settings, wanted=wanted, faults=faults)
    return Reading(
        people=people,
        left_out={HELD_OUT: list(dict.fromkeys(ids[out].tolist()))} if out.any() else {},
        n_read=len(ids),
        n_held_out_found=len(set(ids[out].tolist())),
    )


def _map_columns(header: Sequence[str], settings: Cohort, wanted: Wanted, where: str) -> dict[str, str]:
    """Ours to the file's, for what the file has; faults for what is missing, given twice or mistyped."""
    known = [PATIENT, AGE_YEARS, *wanted.variables]
    columns: dict[str, str] = {}
    with collect_faults(DataError, where) as faults:
        faults.extend(f"column {name!r} is given twice" for name in sorted({n for n in header if header.count(n) > 1}))
        faults.extend(
            f"cohort.columns: unknown column {ours!r}{nearest(ours, known)}; known: {', '.join(known)}"
            for ours in settings.columns
            if ours not in known
        )
        for ours in known:
            theirs = settings.columns.get(ours, ours)
            if theirs in header:
                columns[ours] = theirs
            elif ours in settings.columns or ours in (PATIENT, "sex"):
                faults.add(_missing(ours, theirs, header, "columns"))
        if (
            AGE_YEARS not in columns
            and AGE_VARIABLE not in columns
            and not {AGE_YEARS, AGE_VARIABLE} & set(settings.columns)
        ):
            faults.add(_missing(AGE_YEARS, AGE_YEARS, header, "columns"))
        for factor, theirs in settings.risk_factors.items():
            if wanted.factors is not None and factor not in wanted.factors:
                faults.add(f"cohort.risk_factors: unknown factor {factor!r}{nearest(factor, wanted.factors)}; known: "
                           f"{', '.join(wanted.factors)}")  # fmt: skip
            elif theirs not in header:
                faults.add(_missing(factor, theirs, header, "risk_factors"))
            else:
                columns[factor] = theirs
    return columns


def _missing(ours: str, theirs: str, header: Sequence[str], key: str) -> str:
    mapped = f" (for {ours})" if theirs != ours else ""
    return (
        f"missing column {theirs!r}{mapped}{nearest(theirs, header)}; found: {', '.join(header)}; "
        f"name yours under cohort.{key}, e.g. {{{ours}: <your column>}}"
    )


# -- cells -------------------------------------------------------------------------------------------------------------


def _people(
    read: Columns,
    ids: NDArray[np.object_],
    columns: Mapping[str, str],
    *,
    settings: Cohort,
    wanted: Wanted,
    faults: Faults,
) -> People:
    _check_ids(ids, read.rows, columns[PATIENT], faults)
    words = _level_words(settings, wanted, columns, faults)
    codes = {
        variable: _encode(read, columns[variable], words[variable], faults)
        for variable in wanted.variables
        if variable in columns
    }
    if AGE_YEARS in columns:
        codes[AGE_VARIABLE] = _bands(read, columns, wanted.variables[AGE_VARIABLE], codes.get(AGE_VARIABLE), faults)
    ordered = {variable: codes[variable] for variable in wanted.variables if variable in codes}
    return People(
        ids=ids,
        levels={variable: wanted.variables[variable] for variable in ordered},
        codes=ordered,
        factors={
            factor: _encode(read, columns[factor], words[factor], faults)
            for factor in settings.risk_factors
            if factor in columns
        },
    )


def _check_ids(ids: NDArray[np.object_], rows: NDArray[np.int64], column: str, faults: Faults) -> None:
    empty = np.flatnonzero(ids == "")
    if empty.size:
        faults.add(f"row {rows[empty[0]]}{_more(empty.size)}, column {column!r}: empty; an id is required")
    counts = pc.value_counts(pa.array(ids, pa.string()))
    twice = [one["values"] for one in counts.filter(pc.greater(counts.field("counts"), 1)).to_pylist() if one["values"]]
    if twice:
        first, again = np.flatnonzero(ids == twice[0])[:2]
        faults.add(f"row {rows[again]}, column {column!r}: the patient of row {rows[first]} again"
                   f"{f', and {len(twice) - 1} more patients repeat' if len(twice) > 1 else ''}; give one row a "
                   "patient")  # fmt: skip


def _more(n: int) -> str:
    return f" and {n - 1} more" if n > 1 else ""


@dataclass(frozen=True)
class _Words:
    """How the words of one column become codes."""

    given: Mapping[str, int]
    """The user's words, as they are."""
    known: Mapping[str, int]
    """Ours, in lower case."""
    allowed: tuple[str, ...]
    place: str
    """Where the recipe maps further words."""


def _level_words(settings: Cohort, wanted: Wanted, columns: Mapping[str, str], faults: Faults) -> dict[str, _Words]:
    words: dict[str, _Words] = {}
    factors = dict.fromkeys(settings.risk_factors, ("no", "yes"))
    for name in settings.levels:
        if name not in wanted.variables and name not in factors:
            known = [*wanted.variables, *factors]
            faults.add(f"cohort.levels: unknown variable {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    for name, levels in {**wanted.variables, **factors}.items():
        if name not in columns:
            continue
        given: dict[str, int] = {}
        for word, level in settings.levels.get(name, {}).items():
            if level in levels:
                given[word] = levels.index(level)
            else:
                faults.add(f"cohort.levels.{name}: unknown level {level!r}{nearest(level, levels)}; allowed: "
                           f"{', '.join(levels)}")  # fmt: skip
        if name in factors:
            known_words = {**dict.fromkeys(YES_WORDS, 1), **dict.fromkeys(NO_WORDS, 0)}
        else:
            known_words = {title: levels.index(level) for title, level in wanted.titles.get(name, {}).items()}
            known_words |= {level.casefold(): index for index, level in enumerate(levels)}
        words[name] = _Words(given, known_words, tuple(dict.fromkeys([*levels, *given])), f"cohort.levels.{name}")
    return words


def _encode(read: Columns, column: str, words: _Words, faults: Faults) -> NDArray[np.int64]:
    """Codes of a column by its distinct values; a value that is no word of it is a fault."""
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(pc.fill_null(read.cells[column], "")))
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    codes = np.empty(len(encoded.dictionary), dtype=np.int64)
    for index, word in enumerate(encoded.dictionary.to_pylist()):
        if word in words.given:
            codes[index] = words.given[word]
        elif word.casefold() in words.known:
            codes[index] = words.known[word.casefold()]
        else:
            codes[index] = UNKNOWN
            if word.casefold() not in MISSING_WORDS:
                at = np.flatnonzero(indices == index)
                faults.add(f"row {read.rows[at[0]]}{_more(at.size)}, column {column!r}: found {shown(word)}; allowed: "
                           f"{', '.join(words.allowed)}, or empty; map it under {words.place}")  # fmt: skip
    return codes[indices] if len(indices) else np.empty(0, dtype=np.int64)


def _bands(
    read: Columns,
    columns: Mapping[str, str],
    levels: tuple[str, ...],
    given: NDArray[np.int64] | None,
    faults: Faults,
) -> NDArray[np.int64]:
    """Band of each age; a band column, where there is one, fills in for missing ages and must agree with the others."""
    column = columns[AGE_YEARS]
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(pc.fill_null(read.cells[column], "")))
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    bands = parse_bands(levels)
    if bands is None:
        faults.add(f"column {column!r}: the task's age bands ({', '.join(levels)}) cannot be read as years; give an "
                   f"{AGE_VARIABLE} column")  # fmt: skip
        return np.full(len(indices), UNKNOWN, dtype=np.int64)
    codes = np.full(len(encoded.dictionary), UNKNOWN, dtype=np.int64)
    for index, word in enumerate(encoded.dictionary.to_pylist()):
        if word.casefold() in MISSING_WORDS:
            continue
        age = _age(word)
        if age is None:
            at = np.flatnonzero(indices == index)
            faults.add(f"row {read.rows[at[0]]}{_more(at.size)}, column {column!r}: found {shown(word)}; allowed: "
                       f"years from 0 to {MAX_AGE_YEARS}, or empty")  # fmt: skip
            continue
        codes[index] = band_of(age, bands)
    held = codes[indices] if len(indices) else np.empty(0, dtype=np.int64)
    if given is None:
        return held
    clash = np.flatnonzero((held != UNKNOWN) & (given != UNKNOWN) & (held != given))
    if clash.size:
        faults.add(f"row {read.rows[clash[0]]}{_more(clash.size)}, column {columns[AGE_VARIABLE]!r}: the band does not "
                   f"hold the age of column {column!r}; correct one of them")  # fmt: skip
    merged: NDArray[np.int64] = np.where(held == UNKNOWN, given, held)
    return merged


def _age(word: str) -> float | None:
    try:
        age = float(word)
    except ValueError:
        return None
    return age if 0 <= age <= MAX_AGE_YEARS else None


def band_of(age: float, bands: Mapping[str, tuple[float, float]]) -> int:
    """Index of the band that holds an age; `UNKNOWN` outside all of them."""
    held = (index for index, (low, high) in enumerate(bands.values()) if low <= age < high)
    return next(held, UNKNOWN)
