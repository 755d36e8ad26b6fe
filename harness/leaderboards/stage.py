"""Run folders in; one leaderboard out. The only place here that touches files."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harness.errors import ConfigError, DataError
from harness.leaderboards.boards import Board, Entry, compare, row_from_csv
from harness.leaderboards.text import board_csv, board_latex, board_markdown
from harness.leaderboards.ties import with_ties
from harness.reports.leaderboard import LeaderboardRow
from harness.schemas.tables import PATIENT_COUNTS
from harness.states import state_of
from harness.store import STAGE_FOLDERS, read_manifest, read_table, sha256_file, write_text

log = logging.getLogger(__name__)

LEADERBOARD = "leaderboard.csv"
COUNTS = f"{PATIENT_COUNTS.name}.parquet"


@dataclass(frozen=True)
class Leaderboard:
    """Entries of all runs, comparable ones first, and the folders that gave none, with the reason."""

    entries: Sequence[Entry]
    left_out: Mapping[str, str]


def leaderboard_over(folders: Sequence[Path], learners: Sequence[str] = ()) -> Leaderboard:
    """One leaderboard over several run folders.

    Args:
        folders: Run folders. One that holds no finished run is left out, with a warning and in what is written.
        learners: Only these; all where empty.

    Raises:
        ConfigError: No folder holds a finished run, or none of the learners is in any.
    """
    boards: dict[Path, tuple[tuple[LeaderboardRow, ...], Path]] = {}
    left_out: dict[str, str] = {}
    for folder in folders:
        place = folder.resolve()
        if place in boards:
            log.warning("%s is given twice and counted once", folder)
            continue
        try:
            boards[place] = (_rows(folder), folder)
        except DataError as error:
            left_out[str(folder)] = str(error)
            log.warning("%s is left out: %s", folder, error)
    if not boards:
        told = "\n".join(f"  - {folder}: {reason}" for folder, reason in left_out.items())
        raise ConfigError(
            f"no finished run among the {len(folders)} folders given; run a recipe first\n{told}".rstrip()
        )
    named = _names({place: folder for place, (_, folder) in boards.items()})
    entries = compare([Board(named[place], rows) for place, (rows, _) in boards.items()], learners)
    if not entries:
        known = sorted({row.learner for rows, _ in boards.values() for row in rows})
        raise ConfigError(f"--learner: found {', '.join(learners)}; the runs have {', '.join(known)}")
    counts = {named[place]: table for place in boards if (table := _counts(place)) is not None}
    return Leaderboard(with_ties(entries, counts), left_out)


def write_leaderboard(board: Leaderboard, outputs: Mapping[str, Path | None]) -> None:
    """Write what has a path: `csv`, `md`, `latex`, `html`."""
    # jinja2 is imported only where a page is asked for
    writers: dict[str, Callable[[], str]] = {
        "csv": lambda: board_csv(board.entries),
        "md": lambda: board_markdown(board.entries, board.left_out),
        "latex": lambda: board_latex(board.entries, board.left_out),
        "html": lambda: _page(board),
    }
    for kind, path in outputs.items():
        if path is not None:
            write_text(path, writers[kind]())


def _page(board: Leaderboard) -> str:
    from harness.leaderboards.page import board_page

    return board_page(board.entries, board.left_out)


def _rows(folder: Path) -> tuple[LeaderboardRow, ...]:
    """Rows of a finished run.

    Raises:
        DataError: Why there are none, without the folder's name.
    """
    reports = folder / STAGE_FOLDERS["reports"]
    if not folder.is_dir():
        raise DataError("there is no such folder")
    if not any((folder / name).is_dir() for name in STAGE_FOLDERS.values()):
        raise DataError("it is no run folder: it holds no stage's folder")
    if (manifest := read_manifest(reports)) is None:
        state = state_of(reports, finished=False)
        raise DataError(f"the run is not finished: its reports are {state.words}; run the recipe to its end")
    path = reports / LEADERBOARD
    if not path.is_file() or sha256_file(path) != manifest.outputs.get(LEADERBOARD):
        raise DataError(f"its {LEADERBOARD} is not the one that the run wrote; run the recipe again")
    for name, digest in manifest.inputs.items():
        if name.startswith(STAGE_FOLDERS["evaluation"]) and not _is_still(folder / name, digest):
            raise DataError(f"{name} has changed since its leaderboard was written; run the recipe to its end")
    with path.open(encoding="utf-8", newline="") as file:
        try:
            rows = tuple(row_from_csv(cells) for cells in csv.DictReader(file))
        except ValueError as error:
            raise DataError(f"its {LEADERBOARD} {error}") from error
    if not rows:
        raise DataError(f"its {LEADERBOARD} holds no rows")
    return rows


def _is_still(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_file(path) == digest


def _counts(folder: Path) -> pa.Table | None:
    path = folder / STAGE_FOLDERS["evaluation"] / COUNTS
    return read_table(path, PATIENT_COUNTS) if path.is_file() else None


def _names(folders: Mapping[Path, Path]) -> dict[Path, str]:
    """A run is called by its folder's name, or by the path as given where several folders have that name."""
    counted = Counter(place.name for place in folders)
    return {place: place.name if counted[place.name] == 1 else str(folder) for place, folder in folders.items()}
