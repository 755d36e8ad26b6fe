"""Tables of the W&B record, as columns and rows. None of them holds a text or a patient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reports.inputs import ALL, CLASS_METRIC, LLM, OVERALL, Inputs, LossCurve, Row

# What W&B allows a table in an artifact (wandb.Table.MAX_ARTIFACT_ROWS); of one that a run logs it keeps 10,000 unless
# told otherwise.
MAX_ROWS = 200_000
CALIBRATION_METRICS = ("ece", "brier", "ece_scaled", "brier_scaled")
CLASS_METRICS = ("precision", "recall", "f1", "auroc")

VALUE_COLUMNS = ("value", "ci_low", "ci_high", "n", "n_positive", "n_patients", "status", "reason")
WHO_COLUMNS = ("mix", "learner", "metric")
CLASS_COLUMNS = (*WHO_COLUMNS, "class", *VALUE_COLUMNS)
SUBGROUP_COLUMNS = (*WHO_COLUMNS, "subgroup_variable", "subgroup_level", *VALUE_COLUMNS)
CROSSED_COLUMNS = (*WHO_COLUMNS, "class", "subgroup_variable", "subgroup_level", *VALUE_COLUMNS)
CONTRAST_COLUMNS = (
    "mix_a", "mix_b", "learner", "metric", "class", "subgroup_variable", "subgroup_level", "difference", "ci_low",
    "ci_high", "p_value", "p_adjusted", "family", "n_patients", "n_train_seeds", "status", "reason",
)  # fmt: skip
RELIABILITY_COLUMNS = (
    "mix", "learner", "train_seed", "probability", "subgroup_variable", "subgroup_level", "bin", "n", "confidence",
    "right",
)  # fmt: skip
TEMPERATURE_COLUMNS = ("mix", "learner", "train_seed", "temperature", "n_validation", "log_loss", "log_loss_scaled")
CONFUSION_COLUMNS = ("mix", "learner", "train_seed", "true_label", "predicted_label", "n")
CELL_CLASS_COLUMNS = (
    "class", *CLASS_METRICS, "f1_all_seeds", "ci_low", "ci_high", "n_positive", "status", "reason",
)  # fmt: skip
CELL_SUBGROUP_COLUMNS = (
    "variable", "level", "macro_f1", "macro_f1_all_seeds", "ci_low", "ci_high", "n", "n_patients", "status", "reason",
)  # fmt: skip
PREDICTION_COLUMNS = ("sentence_id", "true_label", "predicted_label", "right", "p_predicted", "p_true")
LABEL_SEPARATOR = ", "


@dataclass(frozen=True)
class Table:
    """Columns and rows of one table, with how many rows did not fit."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    n_left_out: int = 0


def table(columns: Sequence[str], rows: Iterable[Row]) -> Table:
    found = [[row[name] for name in columns] for row in rows]
    return Table(tuple(columns), found[:MAX_ROWS], max(0, len(found) - MAX_ROWS))


# -- of the whole recipe ---------------------------------------------------------------------------


def evaluation_tables(inputs: Inputs) -> dict[str, Table]:
    """Every mix and learner, over all train seeds: by class, by subgroup, contrasts, calibration, confusion."""
    every = [row for row in inputs.metrics if row["train_seed"] == ALL]
    overall = [row for row in every if row["subgroup_variable"] == OVERALL]
    by_level = [row for row in every if row["subgroup_variable"] != OVERALL]
    found = {
        "per_class": table(CLASS_COLUMNS, (row for row in overall if row["class"] != ALL)),
        "per_subgroup": table(SUBGROUP_COLUMNS, (row for row in by_level if row["class"] == ALL)),
        "per_class_and_subgroup": table(CROSSED_COLUMNS, (row for row in by_level if row["metric"] == CLASS_METRIC)),
        "contrasts": table(CONTRAST_COLUMNS, inputs.contrasts),
        "calibration": table(SUBGROUP_COLUMNS, (row for row in every if row["metric"] in CALIBRATION_METRICS)),
        "reliability": table(RELIABILITY_COLUMNS, inputs.reliability),
        "temperatures": table(TEMPERATURE_COLUMNS, inputs.temperatures),
        "confusion": table(CONFUSION_COLUMNS, inputs.confusion),
    }
    return {name: one for name, one in found.items() if one.rows}


# -- of one mix and train seed ---------------------------------------------------------------------


def cell_tables(inputs: Inputs, curve: LossCurve) -> dict[str, Table]:
    """By class, by subgroup and confusion of one fine-tuned model, beside the values over all seeds."""
    seed = str(curve.seed)
    confusion = (
        row for row in inputs.confusion if (row["mix"], row["learner"], row["train_seed"]) == (curve.mix, LLM, seed)
    )
    found = {
        "per_class": Table(CELL_CLASS_COLUMNS, _per_class(inputs, curve)),
        "per_subgroup": Table(CELL_SUBGROUP_COLUMNS, _per_subgroup(inputs, curve)),
        "confusion": table(CONFUSION_COLUMNS, confusion),
    }
    return {name: one for name, one in found.items() if one.rows}


def _per_class(inputs: Inputs, curve: LossCurve) -> list[list[Any]]:
    rows = []
    for label in inputs.recipe.task.label_ids:
        own = [
            inputs.metric(curve.mix, LLM, metric=metric, label=label, train_seed=str(curve.seed))
            for metric in CLASS_METRICS
        ]
        every = inputs.metric(curve.mix, LLM, metric=CLASS_METRIC, label=label)
        shown = ("value", "ci_low", "ci_high", "n_positive", "status", "reason")
        rows.append([label, *(_value(row, "value") for row in own), *(_value(every, name) for name in shown)])
    return rows


def _per_subgroup(inputs: Inputs, curve: LossCurve) -> list[list[Any]]:
    rows = []
    for variable in inputs.subgroup_variables:
        for level in inputs.levels(variable):
            own = inputs.metric(curve.mix, LLM, variable=variable, level=level, train_seed=str(curve.seed))
            every = inputs.metric(curve.mix, LLM, variable=variable, level=level)
            shown = ("value", "ci_low", "ci_high", "n", "n_patients", "status", "reason")
            rows.append([variable, level, _value(own, "value"), *(_value(every, name) for name in shown)])
    return rows


def _value(row: Row | None, column: str) -> Any:
    return None if row is None else row[column]


def prediction_table(rows: Iterable[Row], split: str) -> Table:
    """One row per held-out sentence, by its id: what is true, what was predicted, and how sure the model was.

    Args:
        rows: Rows of `predictions`, one per sentence and label, in any order.
        split: The split that is shown.
    """
    by_sentence: dict[str, list[Row]] = {}
    for row in rows:
        if row["split"] == split:
            by_sentence.setdefault(row["sentence_id"], []).append(row)
    return table(PREDICTION_COLUMNS, [_prediction(one, found) for one, found in sorted(by_sentence.items())])


def _prediction(sentence_id: str, rows: Sequence[Row]) -> dict[str, Any]:
    ordered = sorted(rows, key=lambda row: row["label"])
    true, predicted = ([row for row in ordered if row[name]] for name in ("is_true", "is_predicted"))
    return {
        "sentence_id": sentence_id,
        "true_label": LABEL_SEPARATOR.join(row["label"] for row in true),
        "predicted_label": LABEL_SEPARATOR.join(row["label"] for row in predicted),
        "right": true == predicted,
        "p_predicted": predicted[0]["probability"] if len(predicted) == 1 else None,
        "p_true": true[0]["probability"] if len(true) == 1 else None,
    }
