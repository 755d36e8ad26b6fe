"""Calibration: reliability diagrams and how far confidence can be believed, as scored and after temperature scaling.

A diagram sets the share of sentences that were right against how sure the model was, in bins of equally many sentences.
Every train seed has its own line: bins of two seeds hold different sentences and are not pooled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reports import wording
from harness.reports.forests import METRIC_COLUMNS
from harness.reports.inputs import ALL, OVERALL, Inputs, Row
from harness.reports.sections import download
from harness.reports.tips import metric_tip, plural
from harness.schemas.tables import RELIABILITY, TEMPERATURES

# A square panel in SVG user units; the page scales it to the width it gets.
SIDE, LEFT, BOTTOM, MARGIN = 200.0, 30.0, 26.0, 8.0
KINDS = {"as_scored": "as scored", "scaled": "after temperature scaling"}
MEASURES = ("ece", "ece_scaled", "brier", "brier_scaled")
Place = tuple[str, str, str, str]  # mix, learner, subgroup variable, subgroup level


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Curve:
    """One train seed, one kind of probability."""

    kind: str
    points: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Diagram:
    mix: str
    mix_index: int
    curves: tuple[Curve, ...]
    counts: str
    """How many sentences a bin holds."""
    words: str
    """ECE as scored and scaled, or why there is none."""


def x_position(confidence: float) -> float:
    return round(LEFT + confidence * (SIDE - LEFT - MARGIN), 2)


def y_position(right: float) -> float:
    return round(SIDE - BOTTOM - right * (SIDE - BOTTOM - MARGIN), 2)


def calibration_section(inputs: Inputs) -> dict[str, Any]:
    """Tables, diagrams and downloads; `learners` is empty where evaluation wrote no bins and no calibration metric."""
    found: dict[Place, list[Row]] = defaultdict(list)
    for row in inputs.reliability:
        found[row["mix"], row["learner"], row["subgroup_variable"], row["subgroup_level"]].append(row)
    learners = [learner for learner in inputs.learners if learner != "majority"]
    metrics = [row for row in inputs.metrics if row["metric"] in MEASURES and row["train_seed"] == ALL]
    return {
        "learners": [_learner(inputs, learner, found) for learner in learners] if found or metrics else [],
        "download": download("reliability", tuple(RELIABILITY.columns), inputs.reliability),
        "metrics_download": download("calibration", METRIC_COLUMNS, metrics),
        "temperatures_download": download("temperatures", tuple(TEMPERATURES.columns), inputs.temperatures),
        "kinds": KINDS,
    }


def _learner(inputs: Inputs, learner: str, found: Mapping[Place, Sequence[Row]]) -> dict[str, Any]:
    """Diagrams by subgroup level are drawn of the fine-tuned model alone; the download holds them of every learner."""
    by_level = [
        {
            "variable": variable,
            "title": wording.variable_title(inputs.recipe, variable),
            "levels": [
                {"title": wording.level_title(inputs.recipe, variable, level), "diagrams": diagrams}
                for level in inputs.levels(variable)
                if (diagrams := _diagrams(inputs, learner, found, (variable, level)))
            ],
        }
        for variable in (inputs.subgroup_variables if learner == inputs.main_learner else ())
    ]
    return {
        "learner": learner,
        "name": wording.learner_name(inputs.recipe, learner),
        "is_main": learner == inputs.main_learner,
        "rows": [_table_row(inputs, mix, learner) for mix in inputs.mixes],
        "diagrams": _diagrams(inputs, learner, found, (OVERALL, ALL)),
        "by_level": [part for part in by_level if part["levels"]],
    }


def _table_row(inputs: Inputs, mix: str, learner: str) -> dict[str, Any]:
    level = wording.confidence(inputs.recipe)
    rows = {name: inputs.metric(mix, learner, metric=name) for name in MEASURES}
    fitted = [row for row in inputs.temperatures if (row["mix"], row["learner"]) == (mix, learner)]
    return {
        "mix": mix,
        "index": inputs.mixes.index(mix),
        "cells": [{"row": row, "words": wording.status_words(row), "tip": metric_tip(row, level)}
                  for row in rows.values()],
        "temperatures": [row["temperature"] for row in fitted],
        "n_validation": fitted[0]["n_validation"] if fitted else None,
    }  # fmt: skip


def _diagrams(
    inputs: Inputs, learner: str, found: Mapping[Place, Sequence[Row]], slot: tuple[str, str]
) -> list[Diagram]:
    """One diagram per mix that has bins there."""
    return [
        diagram(mix, index, rows, words=_ece_words(inputs, mix, learner, slot))
        for index, mix in enumerate(inputs.mixes)
        if (rows := found.get((mix, learner, *slot)))
    ]


def diagram(mix: str, index: int, rows: Sequence[Row], *, words: str) -> Diagram:
    """A reliability diagram of RELIABILITY rows of one mix, learner and slice."""
    curves: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        curves[row["probability"], row["train_seed"]].append(row)
    ordered = sorted(curves.items(), key=lambda item: (list(KINDS).index(item[0][0]), item[0][1]))
    sizes = [row["n"] for row in rows]
    low, high = min(sizes), max(sizes)
    bins = max(len(points) for points in curves.values())
    counts = f"{plural(bins, 'bin')} of {low if low == high else f'{low} to {high}'} sentences"
    return Diagram(mix, index, tuple(_curve(kind, seed, points) for (kind, seed), points in ordered), counts, words)


def _curve(kind: str, seed: str, rows: Sequence[Row]) -> Curve:
    ordered = sorted(rows, key=lambda row: row["bin"])
    dots = tuple(
        Dot(
            x_position(row["confidence"]),
            y_position(row["right"]),
            f"{KINDS[kind]}, seed {seed}: {wording.number(row['confidence'], 2)} sure, "
            f"{wording.number(row['right'], 2)} right, {plural(row['n'], 'sentence')}",
        )
        for row in ordered
    )
    return Curve(kind, " ".join(f"{dot.x},{dot.y}" for dot in dots), dots)


def _ece_words(inputs: Inputs, mix: str, learner: str, slot: tuple[str, str]) -> str:
    variable, level = slot
    before, after = (inputs.metric(mix, learner, metric=name, variable=variable, level=level)
                     for name in ("ece", "ece_scaled"))  # fmt: skip
    if before is None or before["value"] is None:
        return f"ECE {wording.status_words(before)}"
    scaled = f", scaled {wording.number(after['value'])}" if after is not None and after["value"] is not None else ""
    return f"ECE {wording.number(before['value'])}{scaled}"
