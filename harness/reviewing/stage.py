"""The review sheet on disk: tables of a run in; a sheet for raters, the key and the results out.

No stage of the pipeline: people stand between writing the sheet and reading it back. The sheet holds note text of
training gold; it stays in its folder, and nothing of it goes to a log or a tracker.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import ConfigError, DataError
from harness.records import parse_records
from harness.reviewing.page import review_page
from harness.reviewing.ratings import Rating, read_ratings
from harness.reviewing.results import Settings, between, of_rater
from harness.reviewing.sheet import KEY_COLUMNS, SHEET_COLUMNS, Item, draw_items, key_rows, read_key, sheet_rows
from harness.reviewing.words import results_markdown
from harness.schemas.mix import GOLD_ORIGIN
from harness.schemas.tables import GOLD, SENTENCES
from harness.seeds import generator
from harness.store import Run, read_table, write_json, write_text

log = logging.getLogger(__name__)

STAGE = "review"
RATERS_FOLDER = "for_raters"  # all that a rater is given; the key lies outside it
SHEET, PAGE, KEY = "review.csv", "review.html", "review_key.csv"
RESULTS_JSON, RESULTS_MARKDOWN = "review.json", "review.md"
SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_sheet(run: Run, out: Path, n_each: int) -> list[Item]:
    """Write the sheet as CSV and as a page, and the key apart from both.

    Args:
        run: Its cohort and annotation stages must have run.
        out: Folder; `for_raters` inside it is what raters get.
        n_each: Sentences of gold and of each arm.

    Raises:
        ConfigError: Sentences of the task have several labels; a sheet asks for one.
        DataError: A stage has not run, an origin has no sentences, or ratings lie there already for another sheet.
    """
    if run.task.label_space.is_multi:
        raise ConfigError(
            f"task {run.task.id!r}: a review sheet asks for one label a sentence, and labels.kind is multi"
        )
    items = draw_items(_sources(run), n_each, rng=generator(run.seed, STAGE, "items"))
    key = _csv(KEY_COLUMNS, key_rows(items))
    if (out / KEY).is_file() and (out / KEY).read_text(encoding="utf-8") != key:
        raise DataError(f"{out / KEY}: belongs to another sheet (other sentences, seed or --n), whose ratings could no "
                        "longer be read; use another --out or remove it")  # fmt: skip
    folder = out / RATERS_FOLDER
    write_text(folder / SHEET, _csv(SHEET_COLUMNS, [_harmless(row) for row in sheet_rows(items)]))
    write_text(folder / PAGE, review_page(items, run.task))
    write_text(out / KEY, key)
    log.info("%s: %d sentences of %d origins", STAGE, len(items), len({item.origin for item in items}))
    return items


def _sources(run: Run) -> dict[str, list[Mapping[str, str]]]:
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD)
    gold = gold.filter(pc.equal(gold["split"], "train"))  # raters' labels and impressions must not touch held-out text
    found = {GOLD_ORIGIN: _rows(gold, gold["patient_id"])}
    for arm in run.recipe.used_arms:
        table = read_table(run.path("annotation", arm, "sentences.parquet"), SENTENCES)
        found[arm] = _rows(table, pc.coalesce(table["persona_id"], table["text_id"]))
    return found


def _rows(table: pa.Table, groups: pa.ChunkedArray) -> list[Mapping[str, str]]:
    rows: list[Mapping[str, str]] = (
        table.select(["sentence_id", "label", "text"]).append_column("group_id", groups).to_pylist()
    )
    return rows


def read_back(run: Run, out: Path, files: Sequence[Path]) -> dict[str, Any]:
    """Ratings of one or more raters; writes review.json and review.md beside the key.

    Raises:
        DataError: No sheet was written here, or a file of ratings that cannot be used, with every fault and its row.
    """
    if not (out / KEY).is_file():
        raise DataError(f"{out / KEY}: no such file; write the sheet first (harness review RECIPE) or name its --out")
    key = read_key([record.cells for record in parse_records((out / KEY).read_bytes(), ".csv", str(out / KEY)).rows])
    raters: dict[str, dict[str, Rating]] = {}
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        name = path.stem if path.stem not in raters else str(path)
        records = parse_records(path.read_bytes(), path.suffix, str(path))
        raters[name] = read_ratings(records, key.keys(), run.task, where=str(path))
    results = _results(run, raters, key)
    write_json(out / RESULTS_JSON, results)
    write_text(out / RESULTS_MARKDOWN, results_markdown(results, run.task))
    return results


def _results(run: Run, raters: Mapping[str, Mapping[str, Rating]], key: Mapping[str, Item]) -> dict[str, Any]:
    chosen = run.recipe.file.evaluation
    settings = Settings(confidence=chosen.confidence, n_replicates=chosen.n_bootstrap)
    labels = run.task.label_ids
    return {
        "recipe": run.recipe.name,
        "confidence": settings.confidence,
        "raters": {
            name: of_rater(ratings, key, labels, settings, rng=generator(run.seed, STAGE, "rater", name))
            for name, ratings in raters.items()
        },
        "between_raters": [
            {"raters": [a, b], **between(raters[a], raters[b], key, labels, settings,
                                         rng=generator(run.seed, STAGE, "between", a, b))}
            for a, b in combinations(raters, 2)
        ],
    }  # fmt: skip


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _harmless(row: Mapping[str, str]) -> dict[str, str]:
    """A text that a spreadsheet would run as a formula is shown with an apostrophe before it.

    Source: OWASP, CSV injection.
    """
    return {name: f"'{value}" if value.startswith(SPREADSHEET_FORMULA) else value for name, value in row.items()}
