"""An arm that is a file: somebody else's synthetic sentences, from any generator, valued like our own.

Sentences are taken whole; an empty text or one that repeats an earlier one is dropped with a reason, everything else
that does not fit is a fault of the file. Columns that `harness prompts` writes beside its prompts come back with the
answers: what a sentence was asked to say is kept like that of our own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import DataError, Faults, nearest
from harness.label_sets import labels_of, misjoined
from harness.records import Record, Records
from harness.schemas.tables import SUBGROUP_COLUMNS
from harness.schemas.task import Task
from harness.words import words

REQUIRED = ("text", "label")
OPTIONAL = ("text_id", "persona_id", "visit_index", "prompt", "prompt_sha256", "template", "style")
PLANNED = ("term", "domain", "polarity", "course")  # of the one mention that a sentence was asked for
ALLOWED = {"polarity": ("present", "absent"), "course": ("new", "stable", "worse")}
MISSING = frozenset({"", "unknown", "na", "n/a", "nan", "none", "null"})
MAX_SHOWN = 32  # a longer value might be text in the wrong column: only its length is told
MODEL = "model_id"


@dataclass(frozen=True)
class Imported:
    """Rows of the synthetic table, those dropped, and rows of the table of what was planned."""

    rows: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    planned: list[dict[str, Any]] = field(default_factory=list)


def import_sentences(records: Records, columns: Mapping[str, str], task: Task, *, arm: str, where: str) -> Imported:
    """Turn a file's records into rows of the synthetic table.

    Args:
        records: What the file holds.
        columns: Our column to the file's, as the recipe's `arms.<arm>.columns` has it.
        task: Labels and subgroup levels.
        arm: Name of the arm, for messages.
        where: The file, for messages.

    Raises:
        DataError: Every fault with row, column, what was found and what is allowed; never a text.
    """
    faults = Faults(where)
    ours = _map_columns(records, columns, task, arm, faults)
    if faults.messages:
        raise DataError(faults.render())
    by_value = _FaultsByValue()
    seen: set[str] = set()
    ids: Counter[str] = Counter()
    found = Imported([], [])
    for record in records.rows:
        row = _read_row(record, ours, task, by_value)
        ids[row["text_id"]] += 1
        normal = " ".join(words(row["text"])) or row["text"]
        reason = "empty" if not row["text"] else "duplicate" if normal in seen else None
        if reason is None:
            seen.add(normal)
            found.rows.append(row)
            found.planned.append({"text_id": row["text_id"], **_planned(record, ours, row, by_value)})
        else:
            found.rejected.append({"row_id": row["text_id"], "reason": reason, "detail": f"row {record.row}"})
    by_value.into(faults)
    n_repeated = sum(n > 1 for n in ids.values())
    if n_repeated:
        faults.add(f"column {ours['text_id']!r}: {n_repeated} ids stand in more than one row; each must be its own")
    if not found.rows and not faults.messages:
        faults.add("no row holds a text")
    if faults.messages:
        raise DataError(faults.render())
    return found


class _FaultsByValue:
    """One fault per column and value, with the first row and the number of further rows."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._n: Counter[str] = Counter()

    def add(self, record: Record, message: str) -> None:
        self._first.setdefault(message, record.row)
        self._n[message] += 1

    def into(self, faults: Faults) -> None:
        for message, row in self._first.items():
            more = f" and {self._n[message] - 1} more" if self._n[message] > 1 else ""
            faults.add(f"row {row}{more}, {message}")


def _map_columns(records: Records, columns: Mapping[str, str], task: Task, arm: str, faults: Faults) -> dict[str, str]:
    """Our columns to the file's, for those that it has."""
    known = list(dict.fromkeys([*REQUIRED, *OPTIONAL, *PLANNED, *SUBGROUP_COLUMNS, *task.file.subgroups, MODEL]))
    for name in columns:
        if name not in known:
            faults.add(f"arms.{arm}.columns: unknown column {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    found: dict[str, str] = {}
    for name in known:
        theirs = columns.get(name, name)
        if theirs in records.columns:
            found[name] = theirs
        elif name in REQUIRED or name in columns:
            hint = nearest(theirs, records.columns)
            faults.add(f"missing column {theirs!r} (for {name}){hint}; found: {', '.join(map(str, records.columns))}; "
                       f"name yours under arms.{arm}.columns, e.g. {{{name}: <your column>}}")  # fmt: skip
    return found


def _read_row(record: Record, ours: Mapping[str, str], task: Task, faults: _FaultsByValue) -> dict[str, Any]:
    def cell(name: str) -> Any:
        return record.cells.get(ours[name]) if name in ours else None

    text = cell("text")
    if text is not None and not isinstance(text, str):
        faults.add(record, f"column {ours['text']!r}: found a {type(text).__name__}; a text is required")
    label = _set_id(cell("label"), task) if task.label_space.is_multi else _word(cell("label"))
    if label not in task.label_space.set_ids:
        hint = "" if label is None else nearest(label, task.label_ids)
        if label is not None and task.label_space.is_multi:
            hint = misjoined(label, task.label_ids) or hint
        several = f", or up to {task.label_space.at_most} of them, as in a;b" if task.label_space.is_multi else ""
        faults.add(
            record,
            f"column {ours['label']!r}: found {_shown(label)}{hint}; allowed: {', '.join(task.label_ids)}{several}",
        )
    row: dict[str, Any] = {
        "text_id": _word(cell("text_id")) or f"{record.row:06d}",
        "unit": "sentence",
        "planned_label": label,
        "persona_id": _word(cell("persona_id")),
        "backend": "file",
        "model_id": _word(cell(MODEL)) or "unknown",
        "model_revision": "unknown",
        "text": " ".join(text.split()) if isinstance(text, str) else "",
        "n_attempts": 1,
    }
    kept = {"planned_term": "term", "style": "style", "template": "template", "prompt_sha256": "prompt_sha256"}
    row.update({column: _word(cell(name)) for column, name in kept.items() if name in ours})
    if "visit_index" in ours:
        row["visit_index"] = _whole(record, ours["visit_index"], faults)
    if "prompt" in ours:
        row["prompt_sha256"] = _prompt_hash(record, ours, row.get("prompt_sha256"), faults)
    for variable in dict.fromkeys([*SUBGROUP_COLUMNS, *task.file.subgroups]):
        if variable in ours:
            row[variable] = _level(record, variable, ours[variable], task, faults)
    return row


def _planned(record: Record, ours: Mapping[str, str], row: Mapping[str, Any], faults: _FaultsByValue) -> dict[str, Any]:
    """What the sentence was asked to say, as far as the file knows."""
    found = {name: _word(record.cells.get(ours[name])) if name in ours else None for name in PLANNED}
    for name, allowed in ALLOWED.items():
        if found[name] is not None and found[name] not in allowed:
            hint = nearest(found[name] or "", allowed)
            faults.add(
                record, f"column {ours[name]!r}: found {_shown(found[name])}{hint}; allowed: {', '.join(allowed)}"
            )
    return {"mention_index": 0, "label": row["planned_label"], **found}


def _whole(record: Record, theirs: str, faults: _FaultsByValue) -> int | None:
    value = record.cells.get(theirs)
    text = _word(value)
    if text is None or text.lower() in MISSING:
        return None
    number = text.removesuffix(".0")  # a column with gaps comes as decimals from some tools
    if not number.isdigit():
        faults.add(record, f"column {theirs!r}: found {_shown(text)}; allowed: a whole number of 0 or more, or nothing")
        return None
    return int(number)


def _prompt_hash(record: Record, ours: Mapping[str, str], given: str | None, faults: _FaultsByValue) -> str | None:
    """Hash of the prompt that stands beside its answer; the prompt itself is not kept."""
    prompt = record.cells.get(ours["prompt"])
    if not isinstance(prompt, str) or not prompt.strip():
        return given
    found = hashlib.sha256(prompt.encode()).hexdigest()
    if given is not None and given != found:
        faults.add(record, f"column {ours['prompt_sha256']!r}: is not the SHA-256 of column {ours['prompt']!r}; "
                           "one of the two was changed, remove it or restore it")  # fmt: skip
    return found


def _level(record: Record, variable: str, theirs: str, task: Task, faults: _FaultsByValue) -> str | None:
    level = _word(record.cells.get(theirs))
    known = task.file.subgroups.get(variable)
    if level is None or known is None or level in known.levels:
        return level
    if level.lower() in MISSING:
        return None
    allowed = ", ".join(known.levels)
    faults.add(record, f"column {theirs!r}: found {_shown(level)}{nearest(level, known.levels)}; allowed: {allowed}")
    return None


def _set_id(cell: object, task: Task) -> str | None:
    """Id of the labels in a cell, in any order or as a list; the cell as it is where they are no allowed set."""
    labels = [str(one).strip() for one in (cell if isinstance(cell, list) else labels_of(_word(cell) or ""))]
    if set(labels) - set(task.label_ids) or task.label_space.faults_of(labels):
        return _word(cell)
    return task.label_space.id_of(labels)


def _word(value: object) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None


def _shown(value: str | None) -> str:
    if value is None:
        return "nothing"
    return repr(value) if len(value) <= MAX_SHOWN else f"a value of {len(value)} characters"
