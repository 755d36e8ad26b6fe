"""The rows of a recipe's gold and of its arms that are files, read before anything runs; all faults at once.

Only small files: `harness validate` answers in a second, and the stages read every file anyway.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.cohort.intake import gold_cautions, gold_path, read_gold
from harness.errors import DataError
from harness.generation.imported import import_sentences
from harness.records import parse_records
from harness.schemas.recipe import SPLITS, Recipe

MAX_BYTES = 2_000_000  # of one file: some 5,000 sentences, a third of a second


@dataclass(frozen=True)
class RowsFound:
    """What was read.

    Attributes:
        lines: File by file, name and what it holds.
        cautions: What leaves a report empty without being a fault.
        unread: Files that are too large to be read here, with the command that reads them.
    """

    lines: list[tuple[str, str]]
    cautions: list[str]
    unread: list[tuple[Path, str]]


def check_rows(recipe: Recipe) -> RowsFound:
    """Read what the cohort and generation stages will import.

    Raises:
        DataError: The faults of all files together, each with file and row.
    """
    found = RowsFound([], [], [])
    faults: list[str] = []
    gold = gold_path(recipe)
    files = {"gold": gold, **{name: path for name in recipe.used_arms if (path := recipe.arms[name].path) is not None}}
    for name, path in files.items():
        if path.stat().st_size > MAX_BYTES:
            found.unread.append((path, "cohort" if path is gold else "generate"))
            continue
        try:
            if name == "gold":
                _check_gold(recipe, found)
            else:
                _check_arm(recipe, name, path, found)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))
    return found


def _check_gold(recipe: Recipe, found: RowsFound) -> None:
    rows = read_gold(recipe)
    patients = Counter({row["patient_id"]: row["split"] for row in rows.rows}.values())
    splits = ", ".join(f"{patients[name]} {name}" for name in SPLITS)
    found.lines.append(("gold", f"{len(rows.rows)} sentences of {patients.total()} patients ({splits})"))
    found.cautions.extend(gold_cautions(rows, recipe.file.evaluation, recipe.task))


def _check_arm(recipe: Recipe, name: str, path: Path, found: RowsFound) -> None:
    records = parse_records(path.read_bytes(), path.suffix, str(path))
    imported = import_sentences(records, recipe.arms[name].columns, recipe.task, arm=name, where=str(path))
    found.lines.append((name, f"{len(imported.rows)} sentences from {path.name}"))
