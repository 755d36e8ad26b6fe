"""Calibration of each run: a temperature from its validation sentences, and how often its test sentences were right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from harness.evaluation.by_subgroup import Row
from harness.evaluation.kinds import KINDS, Labels, Looking
from harness.evaluation.panel import MixRuns, Panel
from harness.metrics.calibration import reliability

AS_SCORED, SCALED = "as_scored", "scaled"


def with_temperatures(
    test: MixRuns, validation: MixRuns, truth: Labels, *, looking: Looking = KINDS["single"]
) -> tuple[MixRuns, list[Row]]:
    """The test answers with scaled probabilities beside them, and the TEMPERATURES rows.

    Args:
        test: Answers to test sentences; their truth is not looked at.
        validation: The same runs' answers to validation sentences.
        truth: True class of each validation sentence, or which labels it shows; at least one sentence.
        looking: How the kind of sentences is looked at.
    """
    rows: list[Row] = []
    scaled = np.empty_like(test.probability)
    for seed, probability in enumerate(validation.probability):
        temperature = looking.fit_temperature(truth, probability)
        scaled[seed] = looking.scale(test.probability[seed], temperature)
        rows.append(
            {
                "mix": test.mix,
                "learner": test.learner,
                "train_seed": str(seed),
                "temperature": temperature,
                "n_validation": len(truth),
                "log_loss": looking.log_loss(truth, probability),
                "log_loss_scaled": looking.log_loss(truth, looking.scale(probability, temperature)),
            }
        )
    return replace(test, scaled=scaled), rows


def reliability_rows(panel: Panel, run: MixRuns, *, min_patients: int) -> Iterator[Row]:
    """RELIABILITY rows of one mix and learner: every slice with enough patients, every train seed."""
    kinds = {AS_SCORED: run.probability} | ({} if run.scaled is None else {SCALED: run.scaled})
    for part in panel.slices:
        if part.patients.size < min_patients:
            continue
        for kind, probabilities in kinds.items():
            for seed, probability in enumerate(probabilities):
                answers = (panel.truth[part.rows], run.predicted[seed, part.rows], probability[part.rows])
                bins = reliability(*panel.looking.confidence(*answers))
                place = {"mix": run.mix, "learner": run.learner, "train_seed": str(seed), "probability": kind,
                         "subgroup_variable": part.variable, "subgroup_level": part.level}  # fmt: skip
                for one, (n, confidence, right) in enumerate(zip(*bins, strict=True)):
                    yield place | {"bin": one, "n": int(n), "confidence": float(confidence), "right": float(right)}
