"""Tables, manifests and the units of work that the pipeline runs. Files are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from harness.errors import DataError, DiskFullError
from harness.schemas.manifest import Counts, Manifest
from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe
from harness.schemas.tables import TableSpec
from harness.schemas.task import Task
from harness.stage_names import STAGE_OF
from harness.states import state_of

MANIFEST = "manifest.json"
STAGE_FOLDERS = {
    "cohort": "00_cohort",
    "alignment": "01_alignment",
    "generation": "02_generation",
    "annotation": "03_annotation",
    "mixes": "04_mixes",
    "training": "05_training",
    "scoring": "06_scoring",
    "evaluation": "07_evaluation",
    "reports": "08_reports",
}
HASH_CHUNK = 1 << 20
ROW_GROUP_ROWS = 1 << 17  # about 10 MB of mentions


# -- files


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well and vanishes when it does not.

    Raises:
        DiskFullError: No space left; nothing half-written remains.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"{path}: no space left on the disk; free some and run the same command again"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_json(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


# -- tables


def write_table(path: Path, rows: Sequence[Mapping[str, Any]] | pa.Table, spec: TableSpec) -> pa.Table:
    """Check `rows` against `spec`, sort them by key where the spec says so, and write Parquet atomically.

    Args:
        path: A `.parquet` file.
        rows: Row dictionaries, or an Arrow table with the same columns.
        spec: Columns, types and key. Columns beyond the spec are kept only where it allows extra strings.

    Returns:
        The table as written.

    Raises:
        DataError: A missing or surplus column, a wrong type, a null or a duplicate key; with file and column.
    """
    table = rows if isinstance(rows, pa.Table) else _from_rows(rows, spec, path)
    table = _conform(table, spec, path)
    if spec.sort and table.num_rows:
        table = table.sort_by([(name, "ascending") for name in spec.key])
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table


@contextmanager
def table_writer(path: Path, spec: TableSpec) -> Iterator[Callable[[pa.Table], None]]:
    """Write a table that is too long for memory: call what this yields with one part after another, in order of key.

    Parts are gathered into row groups of about `ROW_GROUP_ROWS` rows; no more than one of them is held at a time. Like
    `write_table`, all of the file appears at the end of the block or nothing does.

    Raises:
        DataError: What `write_table` refuses, or a row group that does not come after the one before it.
    """
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, spec.schema, compression="zstd") as writer:
        groups = _RowGroups(path, spec, writer)
        yield groups.add
        groups.flush()


class _RowGroups:
    """Gathers parts of a table until they are a row group, and writes that."""

    def __init__(self, path: Path, spec: TableSpec, writer: pq.ParquetWriter) -> None:
        self._path, self._spec, self._writer = path, spec, writer
        self._waiting: list[pa.Table] = []
        self._last_key: tuple[Any, ...] | None = None

    def add(self, part: pa.Table) -> None:
        self._waiting.append(part)
        if sum(one.num_rows for one in self._waiting) >= ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        group = pa.concat_tables([self._spec.schema.empty_table(), *self._waiting])
        self._waiting.clear()
        if group.num_rows == 0:
            return
        group = _conform(group, self._spec, self._path)
        group = group.sort_by([(name, "ascending") for name in self._spec.key])
        first, last = (tuple(group[name][place].as_py() for name in self._spec.key) for place in (0, -1))
        if self._last_key is not None and first <= self._last_key:
            raise DataError(f"{self._path}: key {first} comes after {self._last_key}; give parts in order of key")
        self._writer.write_table(group)
        self._last_key = last


def read_table(path: Path, spec: TableSpec, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table and check it against its contract.

    Raises:
        DataError: No such file, not Parquet, or columns and types other than the spec's.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such table; {_writer(path)} first")
    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error.__class__.__name__})") from error
    if columns is None:
        table = _conform(table, spec, path)
    return table


def read_rows(path: Path, spec: TableSpec) -> list[dict[str, Any]]:
    """`read_table` as row dictionaries, for tables that are small by nature."""
    rows: list[dict[str, Any]] = read_table(path, spec).to_pylist()
    return rows


def _from_rows(rows: Sequence[Mapping[str, Any]], spec: TableSpec, path: Path) -> pa.Table:
    extras = sorted({name for row in rows for name in row} - set(spec.columns)) if spec.extra_strings else []
    schema = pa.schema([*spec.columns.items(), *((name, pa.string()) for name in extras)])
    surplus = sorted({name for row in rows for name in row} - set(schema.names))
    if surplus:
        raise DataError(
            f"{path}: surplus columns {', '.join(surplus)}; the {spec.name} table has {', '.join(spec.columns)}"
        )
    try:
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{path}: a value does not fit the {spec.name} table: {error}") from error


def _conform(table: pa.Table, spec: TableSpec, path: Path) -> pa.Table:
    missing = [name for name in spec.columns if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: missing column {', '.join(missing)}; found {', '.join(table.column_names)}")
    extras = sorted(set(table.column_names) - set(spec.columns))
    if extras and not spec.extra_strings:
        raise DataError(
            f"{path}: surplus columns {', '.join(extras)}; the {spec.name} table has {', '.join(spec.columns)}"
        )
    schema = pa.schema([*spec.columns.items(), *((name, pa.string()) for name in extras)])
    try:
        table = table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(f"{path}: a column does not fit the {spec.name} table: {error}") from error
    for name in spec.columns:
        if name not in spec.nullable and table[name].null_count:
            raise DataError(f"{path}: column {name!r} holds {table[name].null_count} nulls; none are allowed")
    if table.num_rows:
        n_distinct = table.group_by(list(spec.key), use_threads=False).aggregate([]).num_rows
        if n_distinct != table.num_rows:
            raise DataError(
                f"{path}: {table.num_rows - n_distinct} rows repeat the key ({', '.join(spec.key)}) of another row"
            )
    return table.combine_chunks()


def count_values(table: pa.Table, column: str) -> dict[str, int]:
    """Value to number of rows, sorted by value."""
    counted = pc.value_counts(table[column]).to_pylist()
    return {str(item["values"]): item["counts"] for item in sorted(counted, key=lambda item: str(item["values"]))}


# -- units of work


@dataclass(frozen=True)
class Run:
    """One recipe's run folder: where every stage finds its tables."""

    recipe: Recipe
    folder: Path

    @property
    def task(self) -> Task:
        return self.recipe.task

    @property
    def seed(self) -> int:
        return self.recipe.seed

    @property
    def population_file(self) -> Path | None:
        """The target of statistical alignment: estimated from the recipe's cohort, else the task's, if it has one."""
        if self.recipe.file.cohort is not None:
            return self.path("cohort", "population", "population.yaml")
        return self.task.path(self.task.file.population)

    @property
    def trajectory_file(self) -> Path | None:
        """The target of semantic alignment: fitted to the recipe's notes, else the task's, if it has one."""
        if self.recipe.file.notes is not None:
            return self.path("cohort", "trajectory", "trajectory.yaml")
        return self.task.path(self.task.file.trajectory)

    def path(self, stage: str, *parts: str) -> Path:
        """E.g. `run.path("scoring", "gold", "tfidf")` -> `runs/<recipe>/06_scoring/gold/tfidf`."""
        return self.folder.joinpath(STAGE_FOLDERS[stage], *parts)

    def mix_table(self, mix: Mix, seed_index: int, name: str = "train") -> Path:
        """Where a table of what this train seed learns from lies."""
        return self.path("mixes", mix.unit_name(seed_index), f"{name}.parquet")

    def mix_tables(self, mix: Mix, name: str = "train") -> list[Path]:
        """The same table of every draw of a mix's patients; one where it draws none."""
        return [self.mix_table(mix, k, name) for k in self.recipe.draws(mix)]


@dataclass(frozen=True)
class Unit:
    """A piece of a stage that is done or not done as a whole: one folder, one manifest.

    Attributes:
        stage: Name of the stage.
        name: Path below the stage's folder, e.g. `dualalign` or `gold/seed_0`; empty where the stage is one unit.
        inputs: Files whose content decides the output; they must exist when the unit runs.
        settings: The part of recipe and task that decides the output, as JSON-able values.
        seed_path: Names of the seeds this unit draws from (below the recipe's root seed).
        work: Writes the unit's files into the folder it is given and returns its counts. Files that are there when it
            starts are its own, left by an interrupted attempt (a request cache, a checkpoint).
        outputs: Files that must exist afterwards, relative to the unit's folder.
        resumable: Names inside the folder that outlive an interruption or a change of settings (caches, checkpoints).
    """

    stage: str
    name: str
    inputs: Sequence[Path]
    settings: Mapping[str, Any]
    seed_path: tuple[str, ...]
    work: Callable[[Path], Counts]
    outputs: Sequence[str] = ()
    resumable: Sequence[str] = field(default_factory=tuple)

    @property
    def title(self) -> str:
        return f"{self.stage}/{self.name}" if self.name else self.stage


def unit_folder(run: Run, unit: Unit) -> Path:
    return run.path(unit.stage, unit.name) if unit.name else run.path(unit.stage)


def fingerprint(run: Run, unit: Unit, input_hashes: Mapping[str, str]) -> str:
    return sha256_json(
        {
            "stage": unit.stage,
            "unit": unit.name,
            "settings": dict(unit.settings),
            "inputs": dict(input_hashes),
            "root_seed": run.seed,
            "seed_path": list(unit.seed_path),
        }
    )


def hash_inputs(run: Run, paths: Iterable[Path]) -> dict[str, str]:
    """File name to hash; names are relative to the run folder so that a moved run keeps its fingerprints.

    Raises:
        DataError: An input is missing: the stage that writes it has not run.
    """
    hashes: dict[str, str] = {}
    for path in paths:
        if not path.is_file():
            began = _unfinished_folder(run, path)
            why = f"{_writer(path)} first" if began is None else (
                f"{began} is {state_of(began, finished=False).words}; run it again first"
            )  # fmt: skip
            raise DataError(f"{path}: missing; {why}")
        inside = path.is_relative_to(run.folder)
        hashes[str(path.relative_to(run.folder)) if inside else path.name] = sha256_file(path)
    return hashes


def _writer(path: Path) -> str:
    """What to do for a file of a run: the command of the stage whose folder it lies in."""
    command = next((name for name, stage in STAGE_OF.items() if STAGE_FOLDERS[stage] in path.parts), None)
    return "run the stage that writes it" if command is None else f"run `harness {command} RECIPE`"


def _unfinished_folder(run: Run, path: Path) -> Path | None:
    """The folder of the unit that was to write `path`, if it holds something and no manifest says that it ended."""
    folder = next(one for one in path.parents if one.is_dir() or one == run.folder)
    is_unit = run.folder in folder.parents and folder.parent != run.folder
    return folder if is_unit and not (folder / MANIFEST).is_file() and any(folder.iterdir()) else None


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder; None where there is none or it is not one of ours (the unit then runs again)."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def is_finished(run: Run, unit: Unit, input_hashes: Mapping[str, str]) -> bool:
    """Whether the manifest matches these settings and inputs, and the outputs are the files it names."""
    folder = unit_folder(run, unit)
    manifest = read_manifest(folder)
    if manifest is None or manifest.fingerprint != fingerprint(run, unit, input_hashes):
        return False
    return all(
        (folder / name).is_file() and sha256_file(folder / name) == expected
        for name, expected in manifest.outputs.items()
    )


def clear_unit(folder: Path, keep: Sequence[str]) -> None:
    """Remove what an earlier attempt left, except the resumable parts named in `keep`."""
    if not folder.is_dir():
        return
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir():
            # Folders below a unit that hold a manifest are other units (e.g. arms below their stage).
            if not any(path.rglob(MANIFEST)):
                shutil.rmtree(path)
        else:
            path.unlink()


def hash_outputs(folder: Path, skip: Sequence[str]) -> dict[str, str]:
    """Every file of the unit except its manifest and its resumable parts."""
    hashes: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_dir() or relative.parts[0] in skip or path.name == MANIFEST or path.name.startswith("."):
            continue
        if any(
            (folder / Path(*relative.parts[:depth]) / MANIFEST).is_file() for depth in range(1, len(relative.parts))
        ):
            continue  # belongs to another unit below this folder
        hashes[str(relative)] = sha256_file(path)
    return hashes
