"""Gold with several labels a sentence: what a file may say, and what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.cohort.gold import import_gold
from harness.cohort.split import assign_splits
from harness.cohort.statistics import gold_statistics
from harness.errors import DataError
from harness.records import Record, Records
from harness.schemas.recipe_parts import Gold
from harness.schemas.task import Task


def imported(task: Task, *labels: object, **settings: Any) -> list[dict[str, Any]]:
    cells = [{"patient_id": f"p{i}", "text": f"Sentence {i}.", "label": one} for i, one in enumerate(labels)]
    records = Records(("patient_id", "text", "label"), tuple(Record(i, one) for i, one in enumerate(cells, start=1)))
    return import_gold(records, Gold(**settings), task, "gold.jsonl").rows


def test_a_set_is_read_in_any_order_with_blanks_or_as_a_list(multi_task: Task) -> None:
    rows = imported(multi_task, "memory;falls", " falls ; memory", ["falls", "memory"], ["other"], "falls")
    assert [row["label"] for row in rows] == ["memory;falls"] * 3 + ["other", "falls"]


def test_labels_of_the_file_are_mapped_one_by_one(multi_task: Task) -> None:
    rows = imported(multi_task, "FALL;MEM", labels={"MEM": "memory", "FALL": "falls"})
    assert rows[0]["label"] == "memory;falls"


def test_every_faulty_set_is_told_with_its_row(multi_task: Task) -> None:
    with pytest.raises(DataError) as raised:
        imported(multi_task, "memory;fals", "falls;falls", "falls;other", ["memory", "falls", "other"], "falls;", [])
    assert str(raised.value).splitlines() == [
        "gold.jsonl: 5 faults",
        "  - row 1, column 'label': found 'fals'; did you mean 'falls'?; allowed: memory, falls, other",
        "  - row 2, column 'label': falls given twice; each label stands once",
        "  - row 3, column 'label': other stands for none of the others; found it beside another label",
        "  - row 4, column 'label': found 3 labels; allowed: at most 2",
        "  - row 5 and 1 more, column 'label': empty; a label is required",
    ]


def test_a_set_is_an_unknown_label_where_sentences_have_one(toy_task: Task) -> None:
    with pytest.raises(DataError, match="found 'memory;falls'"):
        imported(toy_task, "memory;falls")


def test_a_sentence_counts_under_each_of_its_labels(multi_task: Task) -> None:
    rows = imported(multi_task, "memory;falls", "falls", "memory;falls", "other")
    split = assign_splits(rows, multi_task, {"train": 0.5, "validation": 0.0, "test": 0.5}, np.random.default_rng(0))
    counted = {
        row["label"]: row["n_sentences"]
        for row in gold_statistics(split, multi_task)
        if row["split"] == "all" and row["variable"] == "overall"
    }
    assert counted == {"memory": 2, "falls": 3, "other": 1, "all": 4}


def test_labels_joined_by_something_else_are_told_how(multi_task: Task) -> None:
    with pytest.raises(DataError, match="found 'falls|memory'; several labels are joined by ';', as in falls;memory;"):
        imported(multi_task, "falls|memory")
