"""Plan against annotator, as the section on synthetic sentences shows it: kappa by arm and label, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reports import wording
from harness.reports.inputs import ALL, Inputs, Row
from harness.reports.sections import download
from harness.schemas.arms import Annotation

COLUMNS = ("arm", "class", "n", "n_planned", "n_annotated", "n_both", "kappa", "ci_low", "ci_high", "status", "reason")
# Words for a kappa are a convention, and the source says so itself; they are shown beside the number, never alone.
# Source: Landis and Koch, Biometrics 33 (1977) 159, table 2.
BANDS = ((0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"), (1.0, "almost perfect"))
BELOW_CHANCE = "poor"


@dataclass(frozen=True)
class Cell:
    """One kappa in words: the value and interval, or why there is none."""

    figure: str
    bounds: str
    note: str


def agreement_section(inputs: Inputs) -> dict[str, Any]:
    """Arms whose sentences an annotator or people labelled; none where every label is the plan's."""
    labels = inputs.recipe.task.labels
    rows = []
    for arm, found in inputs.agreement.items():
        by_class = {row["class"]: row for row in found}
        rules = inputs.recipe.arms[arm].annotation or inputs.recipe.file.annotation
        rows.append(
            {
                "arm": arm,
                "who": who_labels(rules),
                "overall": cell(by_class[ALL]),
                "agreed": f"{by_class[ALL]['n_both']:,} of {by_class[ALL]['n']:,}",
                "cells": [cell(by_class[label.id]) for label in labels],
            }
        )
    return {
        "rows": rows,
        "labels": [label.name for label in labels],
        "download": download("agreement", COLUMNS, flat(inputs.agreement)),
    }


def who_labels(rules: Annotation) -> str:
    if rules.labels == "file":
        return "people"
    model = "" if rules.backend is None else getattr(rules.backend, "model", "the embedded model")
    votes = "one answer" if rules.votes == 1 else f"{rules.votes} votes"
    return f"{model}, {votes} a sentence"


def cell(row: Row) -> Cell:
    if row["kappa"] is None:
        return Cell(wording.NONE, "", str(row["reason"]))
    return Cell(wording.number(row["kappa"], 2), wording.interval(row["ci_low"], row["ci_high"], 2), band(row["kappa"]))


def band(kappa: float) -> str:
    """The customary word for a kappa."""
    if kappa < 0:
        return BELOW_CHANCE
    return next(word for top, word in BANDS if round(kappa, 9) <= top)


def flat(agreement: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    return [{"arm": arm, **row} for arm, rows in agreement.items() for row in rows]
