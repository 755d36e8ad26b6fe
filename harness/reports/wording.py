"""How numbers, arms and learners are said: one place, so that page, Markdown and verdict say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from harness.label_sets import labels_of, spoken
from harness.schemas.arms import Arm
from harness.schemas.recipe import Recipe

MINUS = "\u2212"
EN_DASH = "\u2013"
NONE = "\u2014"
DAGGER = "\u2020"
SUPPRESSED = "suppressed"  # status of a value that rests on too few patients to be shown

PROXY = (
    "Proxy: nothing was fine-tuned. Cheap learners on words and sentence vectors stand in for the language model; how "
    "far they agree with it is in the report of a run that has both."
)

LEARNER_NAMES = {"tfidf": "TF-IDF + logistic regression", "minilm": "MiniLM + logistic regression",
                 "majority": "majority class"}  # fmt: skip
METRIC_NAMES = {
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "jaccard": "Jaccard index",
    "micro_f1": "micro-F1",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "auroc": "AUROC",
    "macro_f1_gap": "gap in macro-F1",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "ece_scaled": "calibration error after temperature scaling",
    "brier_scaled": "Brier score after temperature scaling",
}
ARM_KINDS = {
    (False, False): "unguided: sees the label alone",
    (True, False): "statistical alignment only",
    (False, True): "semantic alignment only",
    (True, True): "DualAlign: statistical and semantic alignment",
}
SHORT_KINDS = dict(
    zip(ARM_KINDS.values(), ("unguided", "statistically aligned", "semantically aligned", "DualAlign"), strict=True)
)
SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "test"}


def number(value: float | None, digits: int = 3) -> str:
    """A value with a true minus sign; a dash where there is none."""
    if value is None:
        return NONE
    # adding zero turns a rounded -0.0 into 0.0
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


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


def told(value: int | None) -> str:
    """A count of gold; one that is missing was withheld."""
    return SUPPRESSED if value is None else count(value)


def seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def confidence(recipe: Recipe) -> str:
    return f"{100 * recipe.file.evaluation.confidence:g}%"


def significance(recipe: Recipe) -> float:
    """Below which an adjusted p-value is called a difference; what the recipe's confidence leaves, 0.05 by default."""
    return round(1 - recipe.file.evaluation.confidence, 12)


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
    if arm.sight is None:
        return "read from a file"
    return ARM_KINDS["persona" in arm.sight, "trajectory" in arm.sight]


def mix_words(recipe: Recipe, mix: str) -> str:
    """What is in a mix, e.g. `gold + DualAlign`."""
    kinds = {name: SHORT_KINDS.get(arm_kind(arm), name) for name, arm in recipe.arms.items()}
    parts = [kinds.get(origin, origin) for origin in recipe.mix(mix).origins]
    return " + ".join(parts)


def variable_title(recipe: Recipe, variable: str) -> str:
    known = recipe.task.file.subgroups.get(variable)
    return known.title if known else variable.replace("_", " ")


def level_title(recipe: Recipe, variable: str, level: str) -> str:
    known = recipe.task.file.subgroups.get(variable)
    return known.levels.get(level, level) if known else level


def label_name(recipe: Recipe, label: str) -> str:
    """Name of a label, or the names of a set of them; what is neither is taken as it is."""
    names = recipe.task.label_names
    return spoken(label, {one: names.get(one, one) for one in labels_of(label)})


def status_words(row: Mapping[str, Any] | None) -> str:
    """Why a value is missing, in words; empty where there is a value."""
    if row is None:
        return "not computed"
    if row["status"] == "ok":
        return ""
    reason = row.get("reason")
    return f"{row['status']}: {reason}" if reason else str(row["status"])


PROCEDURES = {"holm": "Holm's procedure", "bh": "the procedure of Benjamini and Hochberg"}


def family_words(family: str) -> str:
    """`holm:macro_f1 overall, llm (2 tests)` as a sentence; other names stay as they are."""
    procedure, separator, tests = family.partition(":")
    if not separator or procedure not in PROCEDURES:
        return family
    for metric in sorted(METRIC_NAMES, key=len, reverse=True):
        if tests.startswith(metric):
            tests = METRIC_NAMES[metric] + tests.removeprefix(metric)
            break
    return f"{tests}: adjusted by {PROCEDURES[procedure]}"
