"""A small invented study: fictional patients, and answers of known skill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness import seeds
from harness.schemas.tables import GOLD, PREDICTIONS
from harness.store import Run, write_table

LABELS = ("memory", "falls", "other")
TASK = {
    "id": "toy",
    "version": 1,
    "title": "Toy",
    "disease": "a toy disease",
    "labels": {"negative": "other", "values": [{"id": one, "name": one, "definition": one} for one in LABELS]},
    "subgroups": {
        "sex": {"title": "Sex", "levels": {"female": "Woman", "male": "Man"}},
        "age_band": {"title": "Age", "levels": {"young": "young", "old": "old", "nobody": "nobody"}},
        "site": {"title": "Site", "levels": {"north": "north"}},  # gold has levels beyond it
    },
}


def toy_gold(n_patients: int = 24, n_sentences: int = 8) -> list[dict[str, Any]]:
    """Fictional patients; the last quarter is validation. Two patients are young, and every fifth has no known sex."""
    rng = seeds.generator(5, "toy_gold")
    return [
        {
            "sentence_id": f"s{p:02d}_{i}",
            "patient_id": f"p{p:02d}",
            "note_id": None,
            "split": "validation" if p >= 0.75 * n_patients else "test",
            "text": f"sentence {p} {i}",
            "label": str(rng.choice(LABELS, p=[0.5, 0.3, 0.2])),
            "age_years": None,
            "sex": None if p % 5 == 4 else ("female", "male")[p % 2],
            "age_band": "young" if p < 2 else "old",
            "race_ethnicity": None,
            "stage": None,
            "site": ("north", "south", "east")[p % 3],
        }
        for p in range(n_patients)
        for i in range(n_sentences)
    ]


def toy_predictions(gold: Sequence[dict[str, Any]], skill: float, *names: str) -> list[dict[str, Any]]:
    """PREDICTIONS rows of a run that favours the true label by `skill`; its draws depend on `names` alone."""
    rows = []
    for one in gold:
        rng = seeds.generator(9, "toy_predictions", *names, one["sentence_id"])
        logits = rng.normal(size=len(LABELS)) + skill * np.array([label == one["label"] for label in LABELS])
        probability = np.exp(logits) / np.exp(logits).sum()
        for k, label in enumerate(LABELS):
            rows.append(
                {
                    "sentence_id": one["sentence_id"],
                    "label": label,
                    "split": one["split"],
                    "log_likelihood": None,
                    "probability": float(probability[k]),
                    "is_true": label == one["label"],
                    "is_predicted": k == int(probability.argmax()),
                }
            )
    return rows


@dataclass
class Study:
    """A run folder with gold and the predictions of every mix, learner and train seed."""

    run: Run
    gold: list[dict[str, Any]]

    def predictions_path(self, mix: str, learner: str) -> Path:
        return self.run.path("scoring", mix, learner, "predictions.parquet")

    def write_gold(self, rows: Sequence[dict[str, Any]]) -> None:
        write_table(self.run.path("cohort", "gold.parquet"), rows, GOLD)

    def write_predictions(self, mix: str, learner: str, rows: Sequence[dict[str, Any]]) -> None:
        write_table(self.predictions_path(mix, learner), rows, PREDICTIONS)


def gold_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows])
