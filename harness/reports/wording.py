"""How numbers, arms and learners are said: one place, so that page, Markdown and verdict say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from harness.schemas.recipe import Arm, Recipe

MINUS = "\u2212"
EN_DASH = "\u2013"
NONE = "\u2014"

LEARNER_NAMES = {"tfidf": "TF-IDF + logistic regression", "majority": "majority class"}
METRIC_NAMES = {
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "auroc": "AUROC",
}
SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "test"}


def number(value: float | None, digits: int = 3) -> str:
    """A value with a true minus sign; a dash where there is none."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    if value is None:
        return NONE
    text = number(value, digits)
    return text if value < 0 or not any(character in "123456789" for character in text) else f"+{text}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    return "" if low is None or high is None else f"[{number(low, digits)}, {number(high, digits)}]"


def p_value(value: float | None) -> str:
    """APA style without the leading p: `0.012`, `< 0.001`."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float | None) -> str:
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def confidence(recipe: Recipe) -> str:
    return f"{100 * recipe.file.evaluation.confidence:g}%"


def base_model_name(recipe: Recipe) -> str:
    """The base model without scheme or folder; a local path shows its last part only."""
    name = recipe.file.training.base_model.removeprefix("embedded:")
    path = PurePath(name)
    return path.name if path.is_absolute() or name.startswith((".", "~")) else name


def learner_name(recipe: Recipe, learner: str) -> str:
    if learner == "llm":
        return f"{base_model_name(recipe)}, fine-tuned"
    return LEARNER_NAMES.get(learner, learner)


def metric_name(metric: str) -> str:
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def arm_kind(arm: Arm) -> str:
    """What an arm is in the 2 x 2 of statistical and semantic alignment."""
    if arm.sees is None:
        return "read from a file"
    persona, trajectory = "persona" in arm.sees, "trajectory" in arm.sees
    if persona and trajectory:
        return "DualAlign: statistical and semantic alignment"
    if persona:
        return "statistical alignment only"
    return "semantic alignment only" if trajectory else "unguided: sees the label alone"


def variable_title(recipe: Recipe, variable: str) -> str:
    known = recipe.task.file.subgroups.get(variable)
    return known.title if known else variable.replace("_", " ")


def level_title(recipe: Recipe, variable: str, level: str) -> str:
    known = recipe.task.file.subgroups.get(variable)
    return known.levels.get(level, level) if known else level


def label_name(recipe: Recipe, label: str) -> str:
    return next((one.name for one in recipe.task.labels if one.id == label), label)


def status_words(row: Mapping[str, Any] | None) -> str:
    """Why a value is missing, in words; empty where there is a value."""
    if row is None:
        return "not computed"
    if row["status"] == "ok":
        return ""
    reason = row.get("reason")
    return f"{row['status']}: {reason}" if reason else str(row["status"])
