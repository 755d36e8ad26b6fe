"""Tables of a mix in; what reports say of it out. A mix that draws patients has tables for each draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.compute as pc

from harness.reports.inputs import Composition, Row
from harness.schemas.mix import GOLD_ORIGIN
from harness.schemas.tables import AUDIT, TRAIN
from harness.store import read_rows, read_table


def mean_composition(draws: Sequence[Path]) -> Composition:
    """What a run of a mix shows: the mean over its draws, in whole sentences and examples.

    Args:
        draws: The `train` table of each draw.
    """
    shown = [_composition(path) for path in draws]
    by_origin = {
        origin: (
            _mean(one.by_origin[origin][0] or 0 for one in shown),
            _mean(one.by_origin[origin][1] for one in shown),
        )
        for origin in shown[0].by_origin
    }
    return Composition(
        n_examples=_mean(one.n_examples for one in shown),
        n_sentences=sum(distinct for distinct, _ in by_origin.values()),
        n_supervised_tokens=_mean(one.n_supervised_tokens for one in shown),
        by_origin=by_origin,
        # the draw of the fewest decides whether numbers may be shown
        n_gold_patients=min(one.n_gold_patients for one in shown),
    )


def worst_audit(draws: Sequence[Path]) -> list[Row]:
    """Of each check the row of the draw that found most: draws share patients, so their sum counts a sentence twice.

    Args:
        draws: The `audit` table of each draw.
    """
    worst: dict[tuple[str, str, str], Row] = {}
    for path in draws:
        for row in read_rows(path, AUDIT):
            key = (row["check"], row["origin"], row["against"])
            if key not in worst or row["n_found"] > worst[key]["n_found"]:
                worst[key] = row
    return list(worst.values())


def _mean(counts: Iterable[int]) -> int:
    given = list(counts)
    return round(sum(given) / len(given))


def _composition(path: Path) -> Composition:
    table = read_table(path, TRAIN, columns=["origin", "sentence_id", "patient_id", "n_supervised_tokens"])
    grouped = table.group_by("origin").aggregate([("sentence_id", "count_distinct"), ("sentence_id", "count")])
    by_origin = {
        row["origin"]: (row["sentence_id_count_distinct"], row["sentence_id_count"])
        for row in sorted(grouped.to_pylist(), key=lambda row: (row["origin"] != GOLD_ORIGIN, row["origin"]))
    }
    return Composition(
        n_examples=table.num_rows,
        n_sentences=sum(distinct for distinct, _ in by_origin.values()),
        n_supervised_tokens=pc.sum(table["n_supervised_tokens"]).as_py() or 0,
        by_origin=by_origin,
        n_gold_patients=pc.count_distinct(table.filter(pc.equal(table["origin"], GOLD_ORIGIN))["patient_id"]).as_py(),
    )
