"""Sections of the page on what a synthetic sentence is worth in gold: plain values for the template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.metrics.learning_curve import DEFAULT_FIT
from harness.reports import wording
from harness.reports.exchange_plot import CurvePlot, Point, Read, curve_plot
from harness.reports.exchange_words import CHECK_FIT, price_words, rows_of, table_row, worth_sentence
from harness.reports.inputs import Inputs
from harness.reports.sections import download
from harness.schemas.curve_mixes import mixes_of_exchange
from harness.schemas.mix import GOLD_ORIGIN

COLUMNS = ("mix", "arm", "learner", "fit", "n_gold", "n_synthetic", "score", "gold_equivalent", "per_sentence",
           "ci_low", "ci_high", "where", "share_undefined", "status", "reason")  # fmt: skip
POINT_COLUMNS = ("learner", "mix", "n_gold", "score", "ci_low", "ci_high")


def exchange_section(inputs: Inputs) -> dict[str, Any] | None:
    """What the page shows of worth; None for a recipe without a learning curve."""
    learners = [one for one in inputs.learners if any(row["learner"] == one for row in inputs.exchange)]
    if not learners:
        return None
    points = {learner: curve_points(inputs, learner) for learner in learners}
    return {
        "learners": [
            {
                "learner": learner,
                "name": wording.learner_name(inputs.recipe, learner),
                "is_main": learner == inputs.main_learner,
                "sentences": [worth_sentence(inputs, row) for row in rows_of(inputs, learner)],
                "plot": _plot(inputs, learner, points[learner]),
                "rows": [table_row(inputs, row) for row in rows_of(inputs, learner)],
            }
            for learner in learners
        ],
        "prices": price_words(inputs),
        "download": download("exchange", COLUMNS, inputs.exchange),
        "points_download": download(
            "learning_curve",
            POINT_COLUMNS,
            [
                {"learner": learner, "mix": one.mix, "n_gold": one.n_gold, "score": one.score, "ci_low": one.low,
                 "ci_high": one.high}
                for learner, found in points.items() for one in found
            ],
        ),
    }  # fmt: skip


def curve_points(inputs: Inputs, learner: str) -> list[Point]:
    """Gold alone at each amount, with its score; those without a number or a score are left out."""
    found = []
    for mix in mixes_of_exchange(inputs.recipe):
        row = inputs.metric(mix.name, learner)
        n_gold = inputs.composition[mix.name].by_origin.get(GOLD_ORIGIN, (None, 0))[0]
        if mix.regime == "TRTR" and n_gold and row is not None and row["value"] is not None:
            index = inputs.mixes.index(mix.name)
            found.append(Point(index, mix.name, n_gold, row["value"], row["ci_low"], row["ci_high"]))
    return found


def _plot(inputs: Inputs, learner: str, points: Sequence[Point]) -> CurvePlot | None:
    for fit in (DEFAULT_FIT, CHECK_FIT):
        reads = [
            Read(inputs.mixes.index(row["mix"]), row["mix"], row["n_gold"], row["score"], row["gold_equivalent"],
                 worth_sentence(inputs, row))
            for row in rows_of(inputs, learner, fit) if row["gold_equivalent"] is not None
        ]  # fmt: skip
        plot = curve_plot(points, reads, fit)
        if plot is not None:
            return plot
    return None
