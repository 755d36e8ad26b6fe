"""All rows of one split: every learner's mixes measured, compared with the reference and with one another.

All random draws depend on the recipe's seed, the split and the number of train seeds alone, never on the list of mixes:
adding a mix changes no other mix's interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from harness import seeds
from harness.evaluation.by_subgroup import Measured, Resampling, Row, measure
from harness.evaluation.contrasts import adjust, contrast_rows
from harness.evaluation.gaps import gap_rows
from harness.evaluation.interactions import interaction_rows
from harness.evaluation.panel import OVERALL, MixRuns, Panel
from harness.evaluation.rows import metric_rows
from harness.evaluation.square import effect_rows
from harness.metrics.resampling import draw_patients, draw_seeds, draw_swaps
from harness.schemas.recipe_parts import Evaluation
from harness.schemas.square import Cell

WITHOUT_CONTRASTS = ("majority",)  # a floor, not a competitor: it learns nothing from a mix but its label shares
# Thousands of small products: on a busy machine their threads wait for one another (4 ms instead of 0.2 ms each).
BLAS_THREADS = 1


def evaluate(
    panel: Panel,
    runs: Mapping[str, Sequence[MixRuns]],
    *,
    settings: Evaluation,
    root_seed: int,
    square: Mapping[Cell, str] | None = None,
) -> tuple[list[Row], list[Row]]:
    """METRICS and CONTRASTS rows of one split.

    Args:
        panel: The split's sentences and slices.
        runs: Learner to its mixes; all mixes of a learner have the same number of train seeds.
        settings: What the recipe says of evaluation.
        root_seed: The recipe's seed.
        square: The four mixes of the 2 x 2 of alignments, where there are four.
    """
    found = look_at_learners(panel, runs, settings=settings, root_seed=root_seed, square=square)
    metrics = [row for one in found.values() for row in one.metrics]
    return metrics, [row for one in found.values() for row in one.contrasts]


def look_at_learners(
    panel: Panel,
    runs: Mapping[str, Sequence[MixRuns]],
    *,
    settings: Evaluation,
    root_seed: int,
    square: Mapping[Cell, str] | None = None,
) -> dict[str, LearnerRows]:
    """What `evaluate` returns, by learner and with the measurements of all sentences; its arguments."""
    looked_at: dict[str, LearnerRows] = {}
    patients = draw_patients(panel.n_patients, settings.n_bootstrap, rng=stream(root_seed, "patients", panel.split))
    swaps = draw_swaps(panel.n_patients, settings.n_bootstrap, rng=stream(root_seed, "swaps", panel.split))
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        for learner, mixes in runs.items():
            n_seeds = mixes[0].predicted.shape[0]
            rng = stream(root_seed, "train_seeds", str(n_seeds))
            drawn = Resampling(patients, draw_seeds(n_seeds, settings.n_bootstrap, rng=rng), swaps)
            found = LearnerRows(panel, learner, drawn, settings, settings.reference_among([one.mix for one in mixes]))
            found.look(mixes, square)
            looked_at[learner] = found
    return looked_at


@dataclass
class LearnerRows:
    """Rows of one learner as its slices are looked at; `overall` is what was measured on all sentences."""

    panel: Panel
    learner: str
    drawn: Resampling
    settings: Evaluation
    reference: str
    metrics: list[Row] = field(default_factory=list)
    contrasts: list[Row] = field(default_factory=list)
    overall: Measured = field(init=False)

    def look(self, mixes: Sequence[MixRuns], square: Mapping[Cell, str] | None) -> None:
        said: dict[str, Any] = {"learner": self.learner, "confidence": self.settings.confidence}
        compared = said | {"reference": self.reference, "drawn": self.drawn}
        competes = self.learner not in WITHOUT_CONTRASTS
        by_variable: dict[str, list[Measured]] = {}
        for part in self.panel.slices:
            measured = measure(self.panel, part, mixes, drawn=self.drawn, settings=self.settings)
            self.metrics += metric_rows(measured, self.panel, **said)
            if competes:
                self.contrasts += contrast_rows(measured, self.panel, **compared)
            if competes and square:
                self.contrasts += effect_rows(measured, self.panel, square, **said)
            by_variable.setdefault(part.variable, []).append(measured.holding(self.panel.looking.held))
        [self.overall] = by_variable.pop(OVERALL)
        for levels in by_variable.values():
            self.metrics += gap_rows(levels, self.panel, drawn=self.drawn, **said)
            if competes:
                self.contrasts += interaction_rows(levels, self.panel, **compared)
        self.contrasts = adjust(self.contrasts, confidence=self.settings.confidence)


def stream(root_seed: int, *names: str) -> np.random.Generator:
    return seeds.generator(root_seed, "evaluation", *names)
