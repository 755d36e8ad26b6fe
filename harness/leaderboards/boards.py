"""Rows of several runs, and which of them may stand in one table.

A difference of two scores means something where test set, labels, task, metrics and budget are the same. What most runs
share is taken as the common case (of several, the first given); everything else is set apart with the reason in words.
No row's own numbers depend on which other runs are there; only ties do, and they are computed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from harness.reports.leaderboard import CSV_COLUMNS, DIVERGED, LABEL_SEPARATOR, LeaderboardRow

SHORT_HASH = 12
KnownT = TypeVar("KnownT", bound=Hashable)


@dataclass(frozen=True)
class Board:
    """The leaderboard of one run."""

    run: str
    rows: tuple[LeaderboardRow, ...]


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard over runs.

    Attributes:
        run: Name of its run.
        row: Its numbers; ties are told over the comparable entries of all runs.
        why_apart: Why it is not comparable; empty where it is.
        why_no_tie: Why nothing is known of its ties; empty where something is.
    """

    run: str
    row: LeaderboardRow
    why_apart: str = ""
    why_no_tie: str = ""


def row_from_csv(cells: Mapping[str, str]) -> LeaderboardRow:
    """A row of a run's leaderboard.csv; an empty cell is None where the column allows it.

    Raises:
        ValueError: A missing column, or a cell that is not what its column holds.
    """
    missing = [name for name in CSV_COLUMNS if cells.get(name) is None]
    if missing:
        raise ValueError(f"lacks the columns {', '.join(missing)}; another version of the harness wrote it")
    values: dict[str, Any] = {}
    for field in fields(LeaderboardRow):
        values[field.name] = _parsed(cells[field.name], str(field.type), field.name)
    return LeaderboardRow(**values)


READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": {"yes": True, "no": False}.__getitem__,
}


def _parsed(cell: str, kind: str, column: str) -> Any:
    if cell == "" and kind.endswith("None"):
        return None
    try:
        return READERS[kind.partition(" ")[0]](cell)
    except (ValueError, KeyError):
        raise ValueError(f"holds {cell!r} in column {column}; expected {kind}") from None


def compare(boards: Sequence[Board], learners: Sequence[str] = ()) -> list[Entry]:
    """Every row with the reason why it stands apart, comparable ones first, then by score.

    Args:
        boards: At least one.
        learners: Only these; all where empty.
    """
    common = _most_common(identity(board.rows[0]) for board in boards)
    reasons = {board.run: why_run_apart(board.rows[0], common) for board in boards}
    wanted = [
        Entry(board.run, row, reasons[board.run] or why_row_apart(row))
        for board in boards
        for row in board.rows
        if not learners or row.learner in learners
    ]
    budgets = [budget(entry.row) for entry in wanted if not entry.why_apart and entry.row.budget_unit]
    if budgets:
        usual = _most_common(budgets)
        wanted = [
            entry if entry.why_apart else Entry(entry.run, entry.row, why_budget_apart(entry.row, usual))
            for entry in wanted
        ]
    return sorted(wanted, key=_order)


def _order(entry: Entry) -> tuple[bool, str, bool, float]:
    score = entry.row.macro_f1
    return bool(entry.why_apart), entry.why_apart, score is None, -(score or 0.0)


def _most_common(values: Iterable[KnownT]) -> KnownT:
    """Of several that are equally common, the first."""
    return Counter(values).most_common(1)[0][0]


Identity = tuple[str, int, str, str, str, int]
Budget = tuple[str | None, int | None, int | None]


def identity(row: LeaderboardRow) -> Identity:
    """What all rows of a run share, and what two runs must share to be compared."""
    return row.task, row.task_version, row.labels, row.split, row.test_set_sha256, row.metrics_version


def why_run_apart(row: LeaderboardRow, common: Identity) -> str:
    """The first thing in which a run differs from the common case; empty where nothing does."""
    task, version, labels, split, test_set, metrics = common
    differs = (
        (row.task, task, f"another task ({row.task} instead of {task})"),
        (row.task_version, version, f"another version of the task ({row.task_version} instead of {version})"),
        (row.labels, labels, f"another label set ({_label_words(row.labels, labels)})"),
        (row.split, split, f"another split ({row.split} instead of {split})"),
        (
            row.test_set_sha256,
            test_set,
            f"another test set ({row.test_set_sha256[:SHORT_HASH]} instead of {test_set[:SHORT_HASH]})",
        ),
        (row.metrics_version, metrics, f"another version of the metrics ({row.metrics_version} instead of {metrics})"),
    )
    return next((reason for own, usual, reason in differs if own != usual), "")


def _label_words(labels: str, common: str) -> str:
    own, usual = (dict.fromkeys(text.split(LABEL_SEPARATOR)) for text in (labels, common))
    more, fewer = [one for one in own if one not in usual], [one for one in usual if one not in own]
    parts = [f"with {', '.join(more)}"] if more else []
    parts += [f"without {', '.join(fewer)}"] if fewer else []
    return " and ".join(parts) or "in another order"


def why_row_apart(row: LeaderboardRow) -> str:
    """Why one row of a comparable run stands apart: the training stage marked one of its runs."""
    return f"{DIVERGED} in training ({row.reason})" if row.status == DIVERGED else ""


def budget(row: LeaderboardRow) -> Budget:
    return row.budget_unit, row.budget_size, row.global_batch_size


def why_budget_apart(row: LeaderboardRow, usual: Budget) -> str:
    """Empty for the usual budget, and for a baseline, which is not trained by updates."""
    if row.budget_unit is None or budget(row) == usual:
        return ""
    return f"another budget ({budget_words(budget(row))} instead of {budget_words(usual)})"


def budget_words(one: Budget) -> str:
    unit, size, batch = one
    return f"{size:,} {str(unit).replace('_', ' ')} in batches of {batch}"
