"""Regimes side by side: what a mix learns from, real sentences, synthetic ones or both; tested on real ones always."""

from __future__ import annotations

from typing import Any

from harness.reports import wording
from harness.reports.ablation_words import difference_words, value_words
from harness.reports.inputs import Inputs
from harness.reports.leaderboard import markdown_table
from harness.reports.tips import contrast_tip, metric_tip

REGIMES = {
    "TRTR": "trained on real, tested on real",
    "TSTR": "trained on synthetic, tested on real",
    "augmented": "trained on both, tested on real",
}


def regimes(inputs: Inputs, learner: str) -> list[dict[str, Any]]:
    """Every mix under what it learns from; empty where the recipe has one regime only."""
    if len({mix.regime for mix in inputs.recipe.mixes}) < 2:
        return []
    return [
        _row(inputs, learner, mix.name, regime)
        for regime in REGIMES
        for mix in inputs.recipe.mixes
        if mix.regime == regime
    ]


def _row(inputs: Inputs, learner: str, mix: str, regime: str) -> dict[str, Any]:
    score, gain, level = inputs.metric(mix, learner), inputs.contrast(mix, learner), wording.confidence(inputs.recipe)
    return {
        "regime": regime,
        "mix": mix,
        "index": inputs.mixes.index(mix),
        "is_reference": mix == inputs.reference,
        "score": score,
        "score_words": value_words(score),
        "score_tip": metric_tip(score, level),
        "gain": gain,
        "gain_words": difference_words(gain),
        "gain_tip": contrast_tip(gain, level),
    }


def regimes_section(inputs: Inputs) -> list[dict[str, Any]]:
    """Of every learner that competes; empty where the recipe has one regime only."""
    return [
        {
            "learner": one,
            "name": wording.learner_name(inputs.recipe, one),
            "is_main": one == inputs.main_learner,
            "rows": rows,
        }
        for one in inputs.learners
        if one != "majority" and (rows := regimes(inputs, one))
    ]


def regimes_markdown(inputs: Inputs, learner: str) -> list[str]:
    """Lines for ablation.md; empty where the recipe has one regime only."""
    found = regimes(inputs, learner)
    if not found:
        return []
    rows = [
        [f"{one['regime']}: {REGIMES[one['regime']]}", f"`{one['mix']}`", one["score_words"],
         "reference" if one["is_reference"] else one["gain_words"]]
        for one in found
    ]  # fmt: skip
    head = ("regime", "mix", "macro-F1", f"difference to `{inputs.reference}`")
    return ["### By regime", "", markdown_table(head, rows, right_from=2), ""]
