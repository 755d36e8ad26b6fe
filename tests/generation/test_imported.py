import hashlib
from pathlib import Path
from typing import Any

import pytest
from toy_arms import TASK

from harness.errors import DataError
from harness.generation.imported import Imported, import_sentences
from harness.records import Record, Records
from harness.schemas.task import Task, TaskFile


def run(rows: list[dict[str, Any]], columns: dict[str, str] | None = None) -> Imported:
    task = Task(file=TaskFile.model_validate(TASK), folder=Path("/nowhere"))
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    records = Records(names, tuple(Record(number, row) for number, row in enumerate(rows, start=2)))
    return import_sentences(records, columns or {}, task, arm="theirs", where="mine.csv")


def test_rows_become_synthetic_rows() -> None:
    found = run([{"text": " Gets  lost.\n", "label": "memory", "sex": "female", "persona_id": 7}])
    assert found.rejected == []
    assert found.rows == [
        {"text_id": "000002", "unit": "sentence", "planned_label": "memory", "persona_id": "7", "backend": "file", "model_id": "unknown",
         "model_revision": "unknown", "text": "Gets lost.", "n_attempts": 1, "sex": "female"}
    ]  # fmt: skip


def test_columns_are_mapped() -> None:
    found = run([{"s": "Gets lost.", "y": "memory", "k": "a1"}], {"text": "s", "label": "y", "text_id": "k"})
    assert (found.rows[0]["text"], found.rows[0]["text_id"]) == ("Gets lost.", "a1")


def test_empty_and_repeated_texts_are_dropped_with_a_reason() -> None:
    rows = [{"text": text, "label": "mood"} for text in ("Cries a lot.", "", None, "cries a lot", "Sleeps.")]
    found = run(rows)
    assert [row["text"] for row in found.rows] == ["Cries a lot.", "Sleeps."]
    assert [(row["reason"], row["detail"]) for row in found.rejected] == [
        ("empty", "row 3"), ("empty", "row 4"), ("duplicate", "row 5"),
    ]  # fmt: skip


def test_all_faults_come_together_and_no_text_with_them() -> None:
    secret = "A very private sentence about somebody real."
    rows = [
        {"text": "One.", "label": "memry", "sex": "female", "text_id": "a"},
        {"text": "Two.", "label": None, "sex": "femal", "text_id": "a"},
        {"text": 5, "label": "mood", "sex": "unknown", "text_id": "b"},
        {"text": "Four.", "label": secret, "sex": None, "text_id": "c"},
        {"text": "Five.", "label": "memry", "sex": None, "text_id": "d"},
    ]
    with pytest.raises(DataError) as caught:
        run(rows)
    message = str(caught.value)
    assert "mine.csv: 6 faults" in message
    for part in (
        "row 2 and 1 more, column 'label': found 'memry'; did you mean 'memory'?; allowed: memory, mood, other",
        "row 3, column 'label': found nothing",
        "row 3, column 'sex': found 'femal'; did you mean 'female'?; allowed: female, male",
        "row 4, column 'text': found a int",
        f"row 5, column 'label': found a value of {len(secret)} characters",
        "column 'text_id': 1 ids stand in more than one row",
    ):
        assert part in message
    assert "private" not in message


def test_missing_and_unknown_columns_are_named() -> None:
    with pytest.raises(DataError) as caught:
        run([{"sentence": "One.", "label": "mood"}], {"lable": "label"})
    assert "unknown column 'lable'; did you mean 'label'?" in str(caught.value)
    assert "missing column 'text' (for text)" in str(caught.value)


def test_a_file_without_any_text_is_an_error() -> None:
    with pytest.raises(DataError, match="no row holds a text"):
        run([{"text": "", "label": "mood"}])


def test_what_a_sentence_was_asked_to_say_is_kept() -> None:
    row = {"text": "Gets lost.", "label": "memory", "term": "gets lost", "domain": "memory", "polarity": "present",
           "course": "new", "style": "terse", "visit_index": "3", "prompt": "Write.", "note_type": "clinic"}  # fmt: skip
    found = run([row])
    assert found.planned == [
        {"text_id": "000002", "mention_index": 0, "label": "memory", "term": "gets lost", "domain": "memory",
         "polarity": "present", "course": "new"}
    ]  # fmt: skip
    kept = found.rows[0]
    assert (kept["planned_term"], kept["style"], kept["visit_index"]) == ("gets lost", "terse", 3)
    assert kept["prompt_sha256"] == hashlib.sha256(b"Write.").hexdigest()
    assert "prompt" not in kept


def test_faults_of_what_was_planned_name_row_and_allowed_values() -> None:
    rows = [
        {"text": "A b c.", "label": "mood", "polarity": "presnt", "course": "new", "visit_index": "3.0", "prompt": "p",
         "prompt_sha256": hashlib.sha256(b"p").hexdigest()},
        {"text": "D e f.", "label": "mood", "polarity": None, "course": "bad", "visit_index": "third", "prompt": "q",
         "prompt_sha256": hashlib.sha256(b"p").hexdigest()},
    ]  # fmt: skip
    with pytest.raises(DataError) as caught:
        run(rows)
    message = str(caught.value)
    for part in (
        "4 faults",
        "row 2, column 'polarity': found 'presnt'; did you mean 'present'?; allowed: present, absent",
        "row 3, column 'course': found 'bad'; allowed: new, stable, worse",
        "row 3, column 'visit_index': found 'third'; allowed: a whole number",
        "row 3, column 'prompt_sha256': is not the SHA-256 of column 'prompt'",
    ):
        assert part in message


def of_several(*labels: object) -> Imported:
    several = {**TASK, "labels": {**TASK["labels"], "kind": "multi", "at_most": 2}}
    task = Task(file=TaskFile.model_validate(several), folder=Path("/nowhere"))
    cells = [{"text": f"Sentence {i}.", "label": label} for i, label in enumerate(labels)]
    records = Records(("text", "label"), tuple(Record(number, row) for number, row in enumerate(cells, start=2)))
    return import_sentences(records, {}, task, arm="theirs", where="mine.jsonl")


def test_labels_of_a_sentence_with_several_come_in_any_order_or_as_a_list() -> None:
    found = of_several("mood ; memory", ["mood", "memory"], "mood")
    assert [row["planned_label"] for row in found.rows] == ["memory;mood", "memory;mood", "mood"]


def test_labels_that_are_no_allowed_set_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(DataError) as caught:
        of_several("mood;mood", ["mood", "other"], "sleep", None)
    message = str(caught.value)
    assert message.startswith("mine.jsonl: 4 faults")
    assert "row 2, column 'label': found 'mood;mood'" in message
    assert "allowed: memory, mood, other, or up to 2 of them, as in a;b" in message


def test_labels_joined_by_something_else_are_told_how() -> None:
    with pytest.raises(DataError, match=r"found 'mood\|memory'; several labels are joined by ';', as in mood;memory;"):
        of_several("mood|memory")
