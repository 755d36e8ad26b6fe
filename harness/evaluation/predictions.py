"""Predictions in, checked before any number is made of them: every sentence, every label, probabilities that add up.

Where sentences have several labels, each label has a probability of its own, and any number of them may be predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.errors import Faults
from harness.evaluation.kinds import KINDS, Labels
from harness.metrics.counts import Floats
from harness.metrics.utility import Kind

SUM_TOLERANCE = 1e-6  # how far the probabilities of one sentence may be from adding up to 1
MAX_IDS_SHOWN = 3


@dataclass(frozen=True)
class HeldOut:
    """The gold sentences that predictions must cover, sorted by id."""

    sentence_ids: pa.Array
    split: pa.Array
    truth: Labels
    label_ids: tuple[str, ...]
    kind: Kind = "single"


@dataclass(frozen=True)
class Predicted:
    """One run's answers in the order of `HeldOut`: classes or labels, and probability (n_sentences, n_classes)."""

    chosen: Labels
    probability: Floats


def held_out_sentences(
    gold: pa.Table, splits: Sequence[str], label_ids: Sequence[str], kind: Kind = "single"
) -> HeldOut:
    """The rows of `gold` in these splits; `label_ids` gives the classes their order, `kind` says what `label` holds."""
    rows = gold.filter(pc.is_in(gold["split"], pa.array(splits, pa.string()))).sort_by("sentence_id").combine_chunks()
    truth = KINDS[kind].truth_of(rows["label"], label_ids)
    return HeldOut(_one_array(rows["sentence_id"]), _one_array(rows["split"]), truth, tuple(label_ids), kind)


def check_predictions(table: pa.Table, held_out: HeldOut, faults: Faults, where: str) -> Predicted | None:
    """Bring one run's PREDICTIONS rows into the order of the held-out sentences.

    Args:
        table: Rows with their key already known to be unique.
        held_out: The sentences and labels that must be there, no fewer and no others.
        faults: Takes every fault found.
        where: The file, for messages.

    Returns:
        None where a fault was added.
    """
    found = [*_wrong_labels(table, held_out), *_wrong_sentences(table, held_out)]
    if not found:
        cell = _cells(table, held_out)
        found = _missing_cells(cell, held_out)
    if not found:
        order = np.argsort(cell, kind="stable")
        predicted, found = _in_order(table.take(pa.array(order)), held_out)
    if found:
        faults.extend(f"{where}: {message}" for message in found)
        return None
    return predicted


def _wrong_labels(table: pa.Table, held_out: HeldOut) -> list[str]:
    if table.num_rows == 0:
        return ["no predictions; run the scoring of this mix again"]
    labels = set(table["label"].unique().to_pylist())
    if labels == set(held_out.label_ids):
        return []
    return [f"found labels {', '.join(sorted(labels))}; the task has {', '.join(held_out.label_ids)}"]


def _wrong_sentences(table: pa.Table, held_out: HeldOut) -> list[str]:
    given = table["sentence_id"].unique()
    missing = held_out.sentence_ids.filter(pc.invert(pc.is_in(held_out.sentence_ids, given)))
    foreign = given.filter(pc.invert(pc.is_in(given, held_out.sentence_ids)))
    if table.num_rows == 0:
        return []
    return [
        f"{what}: {len(ids)}, e.g. {', '.join(sorted(ids.to_pylist())[:MAX_IDS_SHOWN])}"
        for what, ids in (
            ("held-out sentences without prediction", missing),
            ("sentences that gold does not hold out", foreign),
        )
        if len(ids)
    ]


def _cells(table: pa.Table, held_out: HeldOut) -> NDArray[np.int64]:
    """Place of each row in the sentences x labels table that is wanted."""
    sentence = pc.index_in(table["sentence_id"], held_out.sentence_ids).to_numpy().astype(np.int64)
    label = pc.index_in(table["label"], pa.array(held_out.label_ids, pa.string())).to_numpy().astype(np.int64)
    return np.asarray(sentence * len(held_out.label_ids) + label, dtype=np.int64)


def _missing_cells(cell: NDArray[np.int64], held_out: HeldOut) -> list[str]:
    n_labels = len(held_out.label_ids)
    absent = np.setdiff1d(np.arange(len(held_out.sentence_ids) * n_labels), cell)
    if not absent.size:
        return []
    names = _ids(np.unique(absent // n_labels), held_out)
    return [f"pairs of sentence and label without prediction: {absent.size}, e.g. of sentence {names}"]


def _in_order(table: pa.Table, held_out: HeldOut) -> tuple[Predicted, list[str]]:
    shape = (len(held_out.sentence_ids), len(held_out.label_ids))
    probability = table["probability"].to_numpy().reshape(shape)
    is_true = np.asarray(table["is_true"].to_numpy(zero_copy_only=False), dtype=np.bool_).reshape(shape)
    is_predicted = np.asarray(table["is_predicted"].to_numpy(zero_copy_only=False), dtype=np.bool_).reshape(shape)
    split = _one_array(table["split"]).to_numpy(zero_copy_only=False).reshape(shape)
    expected_split = held_out.split.to_numpy(zero_copy_only=False)
    outside = ~((probability >= 0) & (probability <= 1 + SUM_TOLERANCE)).all(axis=1)  # NaN is outside too
    checks = (
        (outside, "have a probability that is no number in [0, 1]"),
        *(_exclusive(probability, is_predicted, outside) if held_out.kind == "single" else ()),
        (~(is_true == _indicators(held_out)).all(axis=1), "have another true label than gold"),
        ((split != expected_split[:, None]).any(axis=1), "have another split than gold"),
    )
    found = [
        f"{int(bad.sum())} of {bad.size} sentences {what}, e.g. {_ids(np.flatnonzero(bad), held_out)}"
        for bad, what in checks
        if bad.any()
    ]
    chosen = is_predicted.argmax(axis=1).astype(np.intp) if held_out.kind == "single" else is_predicted
    return Predicted(chosen, probability), found


def _exclusive(
    probability: Floats, is_predicted: NDArray[np.bool_], outside: NDArray[np.bool_]
) -> tuple[tuple[NDArray[np.bool_], str], ...]:
    """What holds where a sentence has one label alone."""
    apart = ~outside & ~(np.abs(probability.sum(axis=1) - 1) <= SUM_TOLERANCE)
    return (
        (apart, "have probabilities that do not add up to 1"),
        (is_predicted.sum(axis=1) != 1, "do not have exactly one predicted label"),
    )


def _indicators(held_out: HeldOut) -> NDArray[np.bool_]:
    """Whether each sentence shows each label, shape (n_sentences, n_labels)."""
    shows = KINDS[held_out.kind].is_of
    return np.stack([shows(held_out.truth, k) for k in range(len(held_out.label_ids))], axis=1)


def _ids(rows: NDArray[np.int64], held_out: HeldOut) -> str:
    return ", ".join(held_out.sentence_ids.take(pa.array(rows[:MAX_IDS_SHOWN])).to_pylist())


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
