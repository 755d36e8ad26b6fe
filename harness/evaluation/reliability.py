"""Calibration of each run: a temperature from its validation sentences, and how often its test sentences were right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from harness.evaluation.by_subgroup import Row
from harness.evaluation.panel import MixRuns, Panel
from harness.metrics.calibration import fit_temperature, log_loss, reliability, scale
from harness.metrics.counts import Codes

AS_SCORED, SCALED = "as_scored", "scaled"


def with_temperatures(test: MixRuns, validation: MixRuns, truth: Codes) -> tuple[MixRuns, list[Row]]:
    """The test answers with scaled probabilities beside them, and the TEMPERATURES rows.

    Args:
        test: Answers to test sentences; their truth is not looked at.
        validation: The same runs' answers to validation sentences.
        truth: True class of each validation sentence, at least one.
    """
    rows: list[Row] = []
    scaled = np.empty_like(test.probability)
    for seed, probability in enumerate(validation.probability):
        temperature = fit_temperature(truth, probability)
        scaled[seed] = scale(test.probability[seed], temperature)
        rows.append(
            {
                "mix": test.mix,
                "learner": test.learner,
                "train_seed": str(seed),
                "temperature": temperature,
                "n_validation": truth.size,
                "log_loss": log_loss(truth, probability),
                "log_loss_scaled": log_loss(truth, scale(probability, temperature)),
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
                chosen = run.predicted[seed, part.rows]
                bins = reliability(probability[part.rows, chosen], chosen == panel.truth[part.rows])
                place = {"mix": run.mix, "learner": run.learner, "train_seed": str(seed), "probability": kind,
                         "subgroup_variable": part.variable, "subgroup_level": part.level}  # fmt: skip
                for one, (n, confidence, right) in enumerate(zip(*bins, strict=True)):
                    yield place | {"bin": one, "n": int(n), "confidence": float(confidence), "right": float(right)}
