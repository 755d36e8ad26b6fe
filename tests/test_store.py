from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import store
from harness.errors import DataError, DiskFullError
from harness.schemas.tables import MENTIONS, REJECTED, TableSpec
from harness.store import atomic_path, clear_unit, read_table, sha256_file, table_writer, write_table, write_text

SPEC = TableSpec("toy", ("id",), {"id": pa.string(), "n": pa.int64(), "note": pa.string()}, nullable=("note",))


def row(row_id: str, n: int = 1) -> dict[str, object]:
    return {"id": row_id, "n": n, "note": None}


def test_rows_come_back_sorted_by_key(tmp_path: Path) -> None:
    write_table(tmp_path / "toy.parquet", [row("b"), row("a")], SPEC)
    assert read_table(tmp_path / "toy.parquet", SPEC)["id"].to_pylist() == ["a", "b"]


def test_row_order_does_not_change_the_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "one.parquet", [row("b", 2), row("a", 1)], SPEC)
    write_table(tmp_path / "two.parquet", [row("a", 1), row("b", 2)], SPEC)
    assert sha256_file(tmp_path / "one.parquet") == sha256_file(tmp_path / "two.parquet")


def test_an_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    write_table(tmp_path / "rejected.parquet", [], REJECTED)
    assert read_table(tmp_path / "rejected.parquet", REJECTED).schema.names == ["row_id", "reason", "detail"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a"), row("a")], "1 rows repeat the key (id) of another row"),
        ([{"id": "a", "n": None, "note": None}], "column 'n' holds 1 nulls; none are allowed"),
        ([{"id": "a", "n": 1, "note": None, "extra": "x"}], "surplus columns extra; the toy table has id, n, note"),
        ([{"id": "a", "n": "many", "note": None}], "a value does not fit the toy table"),
    ],
)
def test_a_table_that_breaks_its_contract_is_refused(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        write_table(tmp_path / "toy.parquet", rows, SPEC)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_reading_another_table_names_the_missing_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "toy.parquet", [row("a")], SPEC)
    with pytest.raises(DataError, match="missing column persona_id"):
        read_table(tmp_path / "toy.parquet", MENTIONS)


def test_reading_what_is_no_table_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "toy.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_table(tmp_path / "toy.parquet", SPEC)
    with pytest.raises(DataError, match="no such table; run the stage that writes it first"):
        read_table(tmp_path / "absent.parquet", SPEC)


def test_a_failing_writer_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_clear_error_and_nothing_half_written(tmp_path: Path) -> None:
    mount = tmp_path / "tiny"
    mount.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a tiny file system can only be mounted by root")
    try:
        rows = [{"id": f"{i:06d}-{os.urandom(16).hex()}", "n": i, "note": os.urandom(64).hex()} for i in range(4000)]
        with pytest.raises(DiskFullError, match="no space left on the disk"):
            write_table(mount / "toy.parquet", rows, SPEC)
        assert list(mount.iterdir()) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def part(*row_ids: str) -> pa.Table:
    return pa.Table.from_pylist([row(one) for one in row_ids], schema=SPEC.schema)


def test_a_table_written_in_parts_is_the_table_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROW_GROUP_ROWS", 3)
    ids = [f"{index:02d}" for index in range(11)]
    with table_writer(tmp_path / "parts.parquet", SPEC) as add:
        for start in range(0, 11, 2):
            add(part(*reversed(ids[start : start + 2])))
    whole = write_table(tmp_path / "whole.parquet", part(*ids), SPEC)
    assert read_table(tmp_path / "parts.parquet", SPEC).equals(whole)
    assert pq.ParquetFile(tmp_path / "parts.parquet").num_row_groups == 3  # 4 + 4 + 3 rows


def test_a_table_without_parts_is_empty(tmp_path: Path) -> None:
    with table_writer(tmp_path / "none.parquet", SPEC) as add:
        add(part())
    assert read_table(tmp_path / "none.parquet", SPEC).num_rows == 0


@pytest.mark.parametrize("second", ["a", "b"])
def test_parts_out_of_order_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    monkeypatch.setattr(store, "ROW_GROUP_ROWS", 1)
    with (
        pytest.raises(DataError, match=f"key \\('{second}',\\) comes after \\('b',\\); give parts in order of key"),
        table_writer(tmp_path / "toy.parquet", SPEC) as add,
    ):
        add(part("b"))
        add(part(second))
    assert list(tmp_path.iterdir()) == []


def test_clearing_a_unit_keeps_its_cache_and_the_units_below_it(tmp_path: Path) -> None:
    for name in ("manifest.json", "old.parquet", "cache.sqlite", "arm/manifest.json", "arm/table.parquet", "litter/x"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    clear_unit(tmp_path, keep=("cache.sqlite",))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["arm/manifest.json", "arm/table.parquet", "cache.sqlite"]
