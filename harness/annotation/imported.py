"""Labels that people gave, by sentence_id, from a CSV, JSONL or Parquet. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from harness.errors import DataError, collect_faults, nearest
from harness.records import Record, Records, require_columns, stripped
from harness.schemas.task import Task

REQUIRED = ("sentence_id", "label")
MAX_SHOWN = 60  # a longer value might be a text in the wrong column


def read_labels(records: Records, sentence_ids: Collection[str], task: Task, *, arm: str, where: str) -> dict[str, str]:
    """Sentence to label for one arm; rows of other arms are passed over.

    Args:
        records: What the file holds.
        sentence_ids: Of this arm's sentences.
        task: Its labels, by id or by name.
        arm: Name of the arm: ids begin with it.
        where: The file, for messages.

    Raises:
        DataError: A missing column, unknown sentences or labels, a sentence with two rows; all of them with their rows.
    """
    require_columns(records, REQUIRED, where)
    known = {name.lower(): one.id for one in task.labels for name in (one.id, one.name)}
    labels: dict[str, str] = {}
    first_row: dict[str, int] = {}
    with collect_faults(DataError, where) as faults:
        for record in records.rows:
            sentence_id = stripped(record, "sentence_id")
            if not sentence_id.startswith(f"{arm}/"):
                continue
            if sentence_id not in sentence_ids:
                faults.add(f"row {record.row}: sentence_id {_shown(sentence_id)} is no sentence of arm {arm!r}"
                           f"{nearest(sentence_id, sentence_ids)}")  # fmt: skip
            elif sentence_id in first_row:
                faults.add(f"row {record.row}: sentence_id {_shown(sentence_id)} stands in row "
                           f"{first_row[sentence_id]} already")  # fmt: skip
            first_row.setdefault(sentence_id, record.row)
            label = _label(record, known, faults.add, task)
            if label is not None:
                labels[sentence_id] = label
    return labels


def check_arms(records: Records, arms: Collection[str], where: str) -> None:
    """Rows of no arm at all would be passed over by every arm.

    Raises:
        DataError: Sentences that belong to none of these arms, with their rows.
    """
    with collect_faults(DataError, where) as faults:
        for record in records.rows:
            sentence_id = stripped(record, "sentence_id")
            if sentence_id.split("/", 1)[0] not in arms:
                faults.add(f"row {record.row}: sentence_id {_shown(sentence_id)} is of no arm; ids are "
                           f"<arm>/<text_id>/<number>, arms are {', '.join(arms)}")  # fmt: skip


def _label(record: Record, known: Mapping[str, str], fault: Callable[[str], None], task: Task) -> str | None:
    given = stripped(record, "label")
    label = known.get(given.lower())
    if label is None:
        hint = nearest(given, task.label_ids)
        fault(f"row {record.row}: label {_shown(given)}{hint}; allowed: {', '.join(task.label_ids)}")
    return label


def _shown(value: str) -> str:
    if not value:
        return "nothing"
    return repr(value) if len(value) <= MAX_SHOWN else f"(a value of {len(value)} characters)"
