"""A rater's CSV in, ratings out; every fault with its row. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.errors import DataError, Faults, collect_faults, nearest
from harness.records import Record, Records, require_columns, stripped
from harness.reviewing.sheet import REAL, REALISM, SYNTHETIC
from harness.schemas.task import Task

NEEDED = ("item_id", "realism", "source", "label")
MAX_SHOWN = 24  # a longer value might be a text in the wrong column


@dataclass(frozen=True)
class Rating:
    """What a rater says of one item; None where a cell was left empty.

    Attributes:
        realism: 1 (no clinician wrote this) to 5 (could stand in any record).
        source: `real` or `synthetic`, as guessed.
        label: A label's id.
    """

    realism: int | None
    source: str | None
    label: str | None


def read_ratings(records: Records, items: Collection[str], task: Task, *, where: str) -> dict[str, Rating]:
    """Item to rating; items that were left out or left empty are absent.

    Args:
        records: The rater's file.
        items: Ids on the sheet.
        task: Labels, by id or by name.
        where: The file, for messages.

    Raises:
        DataError: Missing columns, unknown or repeated items, values that the sheet does not offer; all of them with
            their rows. Or a file in which nothing is rated.
    """
    require_columns(records, NEEDED, where)
    labels = {name.lower(): one.id for one in task.labels for name in (one.id, one.name)}
    offered = {
        "realism": {value: value for value in REALISM},
        "source": {value: value for value in (REAL, SYNTHETIC)},
        "label": labels,
    }
    ratings: dict[str, Rating] = {}
    rows: dict[str, int] = {}
    with collect_faults(DataError, where) as faults:
        for record in records.rows:
            item_id = stripped(record, "item_id")
            if item_id not in items:
                faults.add(f"row {record.row}: item_id {_shown(item_id)} is not on the sheet of this run")
            elif item_id in rows:
                faults.add(f"row {record.row}: item_id {item_id!r} stands in row {rows[item_id]} already")
            rows.setdefault(item_id, record.row)
            given = {name: _value(record, name, offered[name], faults) for name in offered}
            if any(value is not None for value in given.values()):
                realism = given["realism"]
                ratings[item_id] = Rating(None if realism is None else int(realism), given["source"], given["label"])
    if not ratings:
        raise DataError(f"{where}: nothing is rated: realism, source and label are empty in all rows")
    return ratings


def _value(record: Record, name: str, offered: Mapping[str, str], faults: Faults) -> str | None:
    given = stripped(record, name)
    if not given:
        return None
    value = offered.get(given.lower())
    if value is None:
        allowed = ", ".join(dict.fromkeys(offered.values()))
        faults.add(f"row {record.row}: {name} {_shown(given)}{nearest(given, offered)}; allowed: {allowed}, or empty")
    return value


def _shown(value: str) -> str:
    if not value:
        return "is missing and"
    return repr(value) if len(value) <= MAX_SHOWN else f"(a value of {len(value)} characters)"
