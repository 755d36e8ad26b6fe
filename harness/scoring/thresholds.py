"""Which labels a sentence with several is given: those above a threshold that its validation sentences chose.

A label decides by itself, so a sentence may be given no label, or the negative one beside another; both count as wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.metrics.thresholds import choose_threshold

VALIDATION_SPLIT = "validation"


def with_thresholds(predictions: pa.Table, label_ids: tuple[str, ...]) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The predictions under thresholds, and the THRESHOLDS rows. The truth of test sentences is not looked at.

    Args:
        predictions: PREDICTIONS rows; what they predict is replaced.
        label_ids: Labels of the task.
    """
    rows, lowest = [], {}
    for label in label_ids:
        of_label = pc.and_(pc.equal(predictions["label"], label), pc.equal(predictions["split"], VALIDATION_SPLIT))
        validation = predictions.filter(of_label)
        truth = np.array(validation["is_true"].to_pylist(), dtype=np.bool_)
        chosen = choose_threshold(truth, validation["probability"].to_numpy())
        lowest[label] = chosen.value
        rows.append({"label": label, "threshold": chosen.value, "f1": chosen.f1, "n": truth.size,
                     "n_positive": chosen.n_positive, "status": chosen.status, "reason": chosen.reason})  # fmt: skip
    limits = pa.array([lowest[label] for label in predictions["label"].to_pylist()], pa.float64())
    given = pc.greater_equal(predictions["probability"].combine_chunks(), limits)
    place = predictions.column_names.index("is_predicted")
    return predictions.set_column(place, "is_predicted", given), rows
