"""What a file of notes may hold, and what is said of what it may not."""

import csv
import json
import logging
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cohort.notes.read import Kept, Source, read_diagnoses, text_batches
from harness.errors import DataError
from harness.schemas.cohorts import Notes

SECRET = "Zebulon fell down the cellar stairs"
ROWS: list[dict[str, Any]] = [
    {
        "note_id": "a1",
        "patient_id": "a",
        "date": "2015-03-01",
        "text": SECRET,
        "note_type": "PCP",
        "diagnosis_date": "2020-01-01",
    },
    {
        "note_id": "a2",
        "patient_id": "a",
        "date": "2020-01-01T09:30:00",
        "text": "On the day.",
        "note_type": "",
        "diagnosis_date": "2020-01-01",
    },
    {
        "note_id": "b1",
        "patient_id": "b",
        "date": "2019-06-01",
        "text": "Another.",
        "note_type": "neurology",
        "diagnosis_date": "2021-01-01",
    },
]


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, held_out: frozenset[str] = frozenset(), **settings: Any) -> tuple[Kept, list[str]]:
    notes = Notes(path=path, **settings)
    kept = Kept()
    source = Source(notes, held_out, read_diagnoses(notes, held_out), (-10.0, 0.0))
    return kept, [text for batch in text_batches(source, kept) for text in batch]


def changed(index: int, **cells: Any) -> list[dict[str, Any]]:
    return [{**row, **cells} if place == index else row for place, row in enumerate(ROWS)]


def test_jsonl_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    files = [jsonl(tmp_path / "n.jsonl", ROWS), tmp_path / "n.csv", tmp_path / "n.parquet", tmp_path / "dates.parquet"]
    with files[1].open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    pq.write_table(pa.Table.from_pylist(ROWS), files[2])
    days = [date.fromisoformat(row["date"][:10]) for row in ROWS]
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table.set_column(table.column_names.index("date"), "date", pa.array(days)), files[3])
    found = [read(path, note_types={"PCP": "primary_care"}) for path in files]
    assert found[0][0].days == [1767, 0, 580]
    assert found[0][0].note_type == ["primary_care", None, "neurology"]
    assert all((kept, texts) == found[0] for kept, texts in found[1:])


def test_diagnoses_may_stand_in_a_file_of_their_own_and_the_first_one_counts(tmp_path: Path) -> None:
    dates = jsonl(tmp_path / "dx.jsonl", [{"mrn": "a", "diagnosis_date": "2021-01-01"}, {"mrn": "a", "diagnosis_date": "2020-01-01"},
                                          {"mrn": "b", "diagnosis_date": "2021-01-01"}])  # fmt: skip
    rows = [
        {"mrn" if name == "patient_id" else name: value for name, value in row.items() if name != "diagnosis_date"}
        for row in ROWS
    ]
    kept, _ = read(jsonl(tmp_path / "n.jsonl", rows), diagnoses=dates, columns={"patient_id": "mrn"})
    assert kept.days == [1767, 0, 580]


@pytest.mark.parametrize(
    ("cells", "reason", "detail"),
    [
        ({"date": "2020-03-04"}, "after_diagnosis", "63 days after the diagnosis"),
        ({"date": "2009-12-31"}, "before_window", "3653 days before the diagnosis"),
        ({"date": ""}, "no_date", None),
        ({"date": None}, "no_date", None),
        ({"text": "  "}, "no_text", None),
        ({"patient_id": "stranger", "diagnosis_date": None}, "no_diagnosis_date", None),
    ],
)
def test_a_note_that_cannot_be_used_is_kept_apart_with_the_reason(
    tmp_path: Path, cells: dict[str, Any], reason: str, detail: str | None
) -> None:
    kept, texts = read(jsonl(tmp_path / "n.jsonl", changed(0, **cells)))
    assert kept.rejected == [{"row_id": "a1", "reason": reason, "detail": detail}]
    assert len(texts) == len(kept.days) == 2
    assert kept.first_row == {reason: 1}


def test_the_first_day_of_the_window_is_inside(tmp_path: Path) -> None:
    kept, _ = read(jsonl(tmp_path / "n.jsonl", changed(0, date="2010-01-01")))
    assert kept.days[0] == 3652
    assert not kept.rejected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"date": "spring of 2015"}, "row 1, column 'date': found a value of 14 characters that is no date; allowed: YYYY-MM-DD, a time may follow"),
        ({"date": "2015-02-30"}, "row 1, column 'date': found a value of 10 characters that is no date"),
        ({"diagnosis_date": "01/02/2020"}, "row 1, column 'diagnosis_date': found a value of 10 characters"),
        ({"patient_id": ""}, "row 1, column 'patient_id': empty; an id is required"),
        ({"text": 7}, "row 1, column 'text': found int; must be text"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_named_and_its_content_is_not(tmp_path: Path, cells: dict[str, Any], message: str) -> None:
    path = jsonl(tmp_path / "n.jsonl", changed(0, **cells))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "Zebulon" not in str(caught.value)
    assert not any(word in str(caught.value) for word in ("spring", "2015-02-30", "01/02"))


def test_all_faults_come_together(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "n.jsonl", [*changed(0, date="x"), {**ROWS[1], "patient_id": None}, [1]])
    with pytest.raises(DataError, match="2 faults"):  # those that the diagnosis dates rest on come first
        read(path)
    with pytest.raises(DataError, match="3 faults"):
        notes = Notes(path=path)
        list(text_batches(Source(notes, frozenset(), {"a": date(2020, 1, 1)}, (-10.0, 0.0)), Kept()))


def test_lines_that_are_no_json_and_csv_rows_of_another_width_are_named(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n{" + SECRET + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 2: is not JSON") as caught:
        read(path)
    assert "Zebulon" not in str(caught.value)
    path = tmp_path / "n.csv"
    path.write_text("patient_id,date,text,diagnosis_date\na,2015-01-01,x\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 2: found 3 cells; the header has 4"):
        read(path)


def test_a_missing_column_is_named_with_the_nearest_and_what_to_write(tmp_path: Path) -> None:
    rows = [{"pat_id" if name == "patient_id" else name: value for name, value in row.items()} for row in ROWS]
    with pytest.raises(DataError, match="an id is required|missing column 'patient_id'") as caught:
        read(jsonl(tmp_path / "n.jsonl", rows))
    assert "missing column 'patient_id' (for patient_id); did you mean 'pat_id'?" in str(caught.value)
    assert "notes.columns" in str(caught.value)
    rows = [{name: value for name, value in row.items() if name != "text"} for row in ROWS]
    with pytest.raises(DataError, match="missing column 'text'"):
        read(jsonl(tmp_path / "n.jsonl", rows))


def test_an_unreadable_file_is_one_message(tmp_path: Path) -> None:
    for name, content, message in (
        ("n.txt", b"x", "cannot read '.txt'; give .jsonl, .csv, .parquet"),
        ("n.parquet", b"x", "not a readable Parquet file"),
        ("n.jsonl", b"", "holds no rows"),
        ("n.csv", b"patient_id,date,text\n\xff\xfe,,\n", "not UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            read(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.jsonl")


def test_nothing_about_a_held_out_patient_is_looked_at(tmp_path: Path) -> None:
    poison = {"note_id": 3, "patient_id": "b", "date": "never", "text": 9, "note_type": ["x"], "diagnosis_date": "no"}
    clean, texts = read(jsonl(tmp_path / "n.jsonl", ROWS), frozenset({"b"}))
    poisoned, same = read(jsonl(tmp_path / "n.jsonl", [*ROWS[:2], poison]), frozenset({"b"}))
    assert (clean, texts) == (poisoned, same)
    assert clean.n_held_out == 1
    assert SECRET in texts


def test_reading_logs_no_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        read(jsonl(tmp_path / "n.jsonl", ROWS))
    assert "Zebulon" not in caplog.text


@pytest.mark.parametrize("package", ["spacy", "negspacy", "ahocorasick"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package: str) -> None:
    code = (f"import sys; sys.modules[{package!r}] = None\n"
            "from harness.cohort.notes.scan import scan_batches\nfrom harness.errors import ConfigError\n"
            "try: scan_batches(['falls'], [['No falls.']], n_processes=1)\n"
            "except ConfigError as error: print(error)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "is needed to read notes; in the clone: pip install -e '.[cohort]'" in done.stdout
