"""How far plan and annotator agree: one row for all labels and one for each, with intervals that resample texts. Pure.

All sentences with both labels count, kept or not: what is dropped for its disagreement disagrees still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.annotation.decide import Labelled
from harness.metrics.agreement import Counts, cohen_kappa, cross_table, kappa_intervals, one_against_rest
from harness.metrics.uncertainty import Interval
from harness.schemas.recipe_parts import Evaluation

ALL = "all"


def agreement_rows(
    found: Sequence[Labelled], labels: Sequence[str], settings: Evaluation, *, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Rows of the agreement table.

    Args:
        found: Sentences of one arm.
        labels: Of the task.
        settings: Number of bootstrap draws and confidence.
        rng: Decides the draws.
    """
    tables = unit_tables(found, labels)
    total: Counts = tables.sum(axis=0)
    overall, by_label = kappa_intervals(
        tables, confidence=settings.confidence, n_replicates=settings.n_bootstrap, rng=rng
    )
    rows = [_row(ALL, total, overall, n_both=int(np.trace(total)))]
    for index, label in enumerate(labels):
        pair = one_against_rest(total, index)
        rows.append(_row(label, pair, by_label[index], n_both=int(pair[0, 0])))
    return rows


def unit_tables(found: Sequence[Labelled], labels: Sequence[str]) -> Counts:
    """Plan (rows) by annotator (columns) for each persona, or each text where there is none; (n_units, L, L)."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for one in found:
        if one.pair is not None:
            source = one.piece.source
            pairs.setdefault(source["persona_id"] or source["text_id"], []).append(one.pair)
    tables = [cross_table([a for a, _ in some], [b for _, b in some], labels) for _, some in sorted(pairs.items())]
    return np.array(tables, dtype=np.int64).reshape(len(tables), len(labels), len(labels))


def _row(name: str, table: Any, interval: Interval, *, n_both: int) -> dict[str, Any]:
    kappa = cohen_kappa(table)
    n = int(table.sum())
    is_known = kappa.value is not None
    return {
        "class": name,
        "n": n,
        "n_planned": n if name == ALL else int(table[0].sum()),
        "n_annotated": n if name == ALL else int(table[:, 0].sum()),
        "n_both": n_both,
        "kappa": kappa.value,
        "ci_low": interval.low if is_known else None,
        "ci_high": interval.high if is_known else None,
        "status": kappa.status,
        "reason": kappa.reason if not is_known else interval.reason,
    }
