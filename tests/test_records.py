import io
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import DataError
from harness.records import parse_records


def test_three_formats_hold_the_same_records() -> None:
    cells = [{"patient_id": "p1", "text": "Forgets names."}, {"patient_id": "p2", "text": "Fell, twice."}]
    jsonl = "\n\n".join(json.dumps(one) for one in cells).encode()
    csv = b'patient_id,text\r\np1,Forgets names.\r\np2,"Fell, twice."\r\n'
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(cells), sink)
    for content, suffix in ((jsonl, ".jsonl"), (csv, ".CSV"), (sink.getvalue(), ".parquet")):
        records = parse_records(content, suffix, "gold")
        assert records.columns == ("patient_id", "text")
        assert [dict(record.cells) for record in records.rows] == cells


def test_rows_are_numbered_as_people_count_them() -> None:
    jsonl = parse_records(b'{"a": 1}\n\n{"a": 2}\n', ".jsonl", "gold")
    assert [record.row for record in jsonl.rows] == [1, 3]
    csv = parse_records(b'a\n"x\ny"\nz\n', ".csv", "gold")
    assert [record.row for record in csv.rows] == [2, 3]


def test_byte_order_mark_and_quoted_newlines_are_read() -> None:
    content = '\ufefftext,label\r\n"First line\r\nsecond, line",falls\r\n'.encode()
    records = parse_records(content, ".csv", "gold")
    assert records.columns == ("text", "label")
    assert records.rows[0].cells["text"] == "First line\r\nsecond, line"


def test_long_cells_are_read() -> None:
    records = parse_records(f"text\n{'x' * 200_000}\n".encode(), ".csv", "gold")
    assert len(records.rows[0].cells["text"]) == 200_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"text": "caf\xe9"}', "gold: byte 22 (line 2) is not UTF-8: found 0xe9; save the file as UTF-8"),
        (
            '{"text": "x"}'.encode("utf-16"),
            "gold: byte 0 (line 1) is not UTF-8: the file starts with the mark of UTF-16; save the file as UTF-8",
        ),
        (b"\n \n", "gold: holds no rows"),
    ],
)
def test_bad_jsonl_bytes_name_their_place(content: bytes, message: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_records(content, ".jsonl", "gold")
    assert str(raised.value) == message


def test_malformed_lines_are_reported_together_and_without_their_content() -> None:
    with pytest.raises(DataError) as raised:
        parse_records(b'{"text": "secret note"\n["secret"]\n{"text": "fine"}\n7', ".jsonl", "gold")
    message = str(raised.value)
    assert "3 faults" in message
    assert "row 1: not JSON" in message
    assert "row 2: found a JSON list; each line must be an object" in message
    assert "row 4: found a JSON int" in message
    assert "secret" not in message


def test_half_a_character_is_refused_and_a_whole_one_is_not() -> None:
    with pytest.raises(DataError, match="row 1: holds half of a surrogate pair"):
        parse_records(rb'{"text": "broken \ud83d emoji"}', ".jsonl", "gold")
    whole = parse_records(rb'{"text": "\ud83d\ude00"}', ".jsonl", "gold")
    assert whole.rows[0].cells["text"] == "\U0001f600"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n1\n1,2,3\n", "row 3: found 1 cells; the header has 2\n  - row 4: found 3 cells; the header has 2"),
        (b"a,a\n1,2\n", "row 1: column 'a' is given twice"),
        (b'a\n"open\n', "is a quote left open?"),
        (b"a,b\n", "gold: holds no rows"),
    ],
)
def test_malformed_csv_is_refused_with_its_place(content: bytes, message: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_records(content, ".csv", "gold")
    assert message in str(raised.value)


def test_other_files_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(DataError) as raised:
        parse_records(b"x", ".xlsx", "gold.xlsx")
    assert str(raised.value) == "gold.xlsx: cannot read '.xlsx'; give .jsonl, .csv, .parquet"
    with pytest.raises(DataError, match="not a readable Parquet file"):
        parse_records(b"x", ".parquet", "gold.parquet")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_csv_with_another_separator_is_named_as_such(separator: str) -> None:
    content = f"patient_id{separator}text{separator}label\np1{separator}Fell, twice.{separator}falls\n".encode()
    with pytest.raises(
        DataError, match=f"^gold.csv: found one column; is it separated by {re.escape(repr(separator))}"
    ):
        parse_records(content, ".csv", "gold.csv")
