"""A panel made in memory: answers of known skill, for patients of known levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from harness import seeds
from harness.evaluation.panel import MixRuns, Panel, build_panel

LABELS = ("memory", "falls", "other")


def invented_panel(
    n_patients: int, levels: Mapping[str, Sequence[str]], *, n_sentences: int = 8, copies: int = 1, labels: Sequence[str] = LABELS
) -> Panel:  # fmt: skip
    """Patients take the levels of each variable in turn; with `copies` every patient is there so often."""
    rng = seeds.generator(4, "invented_panel")
    truth = rng.choice(LABELS, p=[0.5, 0.3, 0.2], size=(n_patients, n_sentences))
    rows = [
        {
            "sentence_id": f"s{copy}_{p:03d}_{i}",
            "patient_id": f"p{copy}_{p:03d}",
            "split": "test",
            "label": truth[p, i],
            **{variable: names[p % len(names)] for variable, names in levels.items()},
        }
        for copy in range(copies)
        for p in range(n_patients)
        for i in range(n_sentences)
    ]
    return build_panel(pa.Table.from_pylist(rows), "test", label_ids=labels, levels=levels)


def invented_runs(
    panel: Panel, mix: str, skill: float | np.ndarray, *, n_seeds: int = 1, copies: int = 1, name: str = ""
) -> MixRuns:
    """Answers that favour the truth by `skill` (one number, or one a sentence); copied patients get the same answers."""
    n_classes, n = len(panel.label_ids), panel.truth.size
    rng = seeds.generator(4, "invented_runs", mix, name)
    logits = np.tile(rng.normal(size=(n_seeds, n // copies, n_classes)), (1, copies, 1))
    logits[:, np.arange(n), panel.truth] += skill
    probability = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return MixRuns(mix, "llm", probability.argmax(axis=-1), probability)
