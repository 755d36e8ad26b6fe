"""The leaderboard's rows: one per mix and learner, with everything a reader needs to judge or compare it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from harness.metrics import METRICS_VERSION
from harness.reports import wording
from harness.reports.costs import costs, of_units
from harness.reports.inputs import GAP_LEVEL, GAP_METRIC, LLM, MAIN_METRIC, OVERALL, Inputs, Row

# Two mixes count as equal in supervised tokens up to this relative difference: labels differ in length by a token or
# two, so equal updates cannot give exactly equal tokens.
TOKEN_TOLERANCE = 0.10
CSV_DIGITS = 6
EQUAL = "equal budget"
DIVERGED = "diverged"
LABEL_SEPARATOR = ","


@dataclass(frozen=True)
class LeaderboardRow:
    """One mix learned by one learner. None is a value that is undefined or does not apply, never zero."""

    recipe: str
    task: str
    task_version: int
    labels: str
    """Labels of the task in its order, joined by commas."""
    mix: str
    regime: str
    """TRTR, TSTR or augmented: learned from gold, from synthetic sentences, or from both; tested on gold always."""
    learner: str
    model: str
    split: str
    macro_f1: float | None
    macro_f1_ci_low: float | None
    macro_f1_ci_high: float | None
    weighted_f1: float | None
    weighted_f1_ci_low: float | None
    weighted_f1_ci_high: float | None
    accuracy: float | None
    accuracy_ci_low: float | None
    accuracy_ci_high: float | None
    exact_match: float | None
    """In place of accuracy where sentences have several labels; so are its bounds."""
    exact_match_ci_low: float | None
    exact_match_ci_high: float | None
    reference_mix: str
    difference: float | None
    difference_ci_low: float | None
    difference_ci_high: float | None
    p_value: float | None
    p_adjusted: float | None
    tied: bool | None
    """Whether it may be the best of the run: true for the first and for those that are statistically tied with it."""
    shortfall: float | None
    """How far the best of the others is ahead; 0 for the first."""
    shortfall_high: float | None
    worst_subgroup_variable: str | None
    worst_subgroup_level: str | None
    worst_subgroup_macro_f1: float | None
    worst_subgroup_macro_f1_ci_low: float | None
    worst_subgroup_macro_f1_ci_high: float | None
    worst_subgroup_n_patients: int | None
    widest_gap_variable: str | None
    widest_gap: float | None
    """Best minus worst level of the variable where that is largest; picked after looking, so too large on average."""
    widest_gap_ci_low: float | None
    widest_gap_ci_high: float | None
    ece: float | None
    ece_ci_low: float | None
    ece_ci_high: float | None
    brier: float | None
    brier_ci_low: float | None
    brier_ci_high: float | None
    ece_scaled: float | None
    ece_scaled_ci_low: float | None
    ece_scaled_ci_high: float | None
    brier_scaled: float | None
    brier_scaled_ci_low: float | None
    brier_scaled_ci_high: float | None
    budget_unit: str | None
    budget_size: int | None
    global_batch_size: int | None
    n_updates: int | None
    n_examples: int | None
    n_supervised_tokens: int | None
    n_train_sentences: int | None
    budget: str
    """Whether that equals the reference mix's budget, in words."""
    train_seconds: float | None
    """Of all train seeds together, loading and saving left out."""
    gpu_seconds: float | None
    """The same times GPUs; None without a GPU."""
    scoring_seconds: float | None
    n_generated_tokens: int | None
    """Written by the generators of the mix's arms, for texts kept and dropped."""
    spent_usd: float | None
    """Paid to servers for the mix's arms, where the recipe gives prices."""
    n_train_seeds: int
    n_test_sentences: int | None
    n_test_patients: int | None
    confidence: float
    status: str
    reason: str | None
    test_set_sha256: str
    metrics_version: int


CSV_COLUMNS = tuple(field.name for field in fields(LeaderboardRow))


def leaderboard_rows(inputs: Inputs) -> list[LeaderboardRow]:
    """Rows by macro-F1, best first; rows of diverged runs and rows without a value last, then by the recipe's order."""
    rows = [_row(inputs, mix, learner) for mix in inputs.mixes for learner in inputs.learners]
    if any(row.tied for row in rows if row.status == DIVERGED):  # ties with a run that does not count say nothing
        rows = [replace(row, tied=None, shortfall=None, shortfall_high=None) for row in rows]
    return sorted(rows, key=lambda row: (row.status == DIVERGED, row.macro_f1 is None, -(row.macro_f1 or 0.0)))


def why_diverged(inputs: Inputs, mix: str) -> str:
    """Train seeds of a mix that the training stage marked, each with its reason; empty where all are sound."""
    marked = [
        f"{manifest.unit.rpartition('/')[2]}: {manifest.counts.notes.get('reason')}"
        for manifest in of_units(inputs, "training", mix)
        if manifest.counts.notes.get("status", "finished") != "finished"
    ]
    return "; ".join(marked)


def _row(inputs: Inputs, mix: str, learner: str) -> LeaderboardRow:
    main = inputs.metric(mix, learner)
    contrast = inputs.contrast(mix, learner)
    is_llm = learner == LLM
    diverged = why_diverged(inputs, mix) if is_llm else ""
    status, reason = (main["status"], main["reason"]) if main else ("undefined", "evaluation wrote no value")
    return LeaderboardRow(
        recipe=inputs.recipe.name,
        task=inputs.recipe.task.id,
        task_version=inputs.recipe.task.file.version,
        labels=LABEL_SEPARATOR.join(inputs.recipe.task.label_ids),
        mix=mix,
        regime=inputs.recipe.mix(mix).regime,
        learner=learner,
        model=wording.learner_name(inputs.recipe, learner),
        split=inputs.split,
        **_metrics(inputs, mix, learner),
        reference_mix=inputs.reference,
        **_interval("difference", "difference", contrast),
        p_value=_value(contrast, "p_value"),
        p_adjusted=_value(contrast, "p_adjusted"),
        **_standing(inputs, mix, learner),
        **_subgroups(inputs, mix, learner),
        **_budget(inputs, mix, learner),
        **costs(inputs, mix, learner),
        n_train_seeds=max(1, len(inputs.train_seeds(mix, learner))) if main else 0,
        n_test_sentences=_value(main, "n"),
        n_test_patients=_value(main, "n_patients"),
        confidence=inputs.recipe.file.evaluation.confidence,
        status=DIVERGED if diverged else status,
        reason=diverged or reason,
        test_set_sha256=inputs.test_set_sha256,
        metrics_version=METRICS_VERSION,
    )


def _metrics(inputs: Inputs, mix: str, learner: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (MAIN_METRIC, "weighted_f1", "accuracy", "exact_match", "ece", "brier", "ece_scaled", "brier_scaled"):
        found |= _interval(name, "value", inputs.metric(mix, learner, metric=name))
    return found


def _standing(inputs: Inputs, mix: str, learner: str) -> dict[str, Any]:
    row = inputs.tie(mix, learner)
    return {name: _value(row, name) for name in ("tied", "shortfall", "shortfall_high")}


def _subgroups(inputs: Inputs, mix: str, learner: str) -> dict[str, Any]:
    worst, gap = worst_level(inputs, mix, learner), widest_gap(inputs, mix, learner)
    return {
        "worst_subgroup_variable": _value(worst, "subgroup_variable"),
        "worst_subgroup_level": _value(worst, "subgroup_level"),
        **_interval("worst_subgroup_macro_f1", "value", worst),
        "worst_subgroup_n_patients": _value(worst, "n_patients"),
        "widest_gap_variable": _value(gap, "subgroup_variable"),
        **_interval("widest_gap", "value", gap),
    }


def _budget(inputs: Inputs, mix: str, learner: str) -> dict[str, Any]:
    """What was trained on; a baseline sees the sentences once, so the units of fine-tuning do not apply to it."""
    composition = inputs.composition.get(mix)
    n_sentences = composition.n_sentences if composition else None
    if learner != LLM:
        names = ("budget_unit", "budget_size", "global_batch_size", "n_updates", "n_examples", "n_supervised_tokens")
        return dict.fromkeys(names) | {"n_train_sentences": n_sentences, "budget": ""}
    budget = inputs.recipe.budget(inputs.recipe.mix(mix))
    return {
        "budget_unit": budget.unit,
        "budget_size": budget.size,
        "global_batch_size": inputs.recipe.file.training.global_batch_size,
        "n_updates": n_updates(inputs, mix),
        "n_examples": composition.n_examples if composition else None,
        "n_supervised_tokens": composition.n_supervised_tokens if composition else None,
        "n_train_sentences": n_sentences,
        "budget": budget_words(inputs, mix),
    }


def _value(row: Row | None, column: str) -> Any:
    return None if row is None else row[column]


def _interval(prefix: str, column: str, row: Row | None) -> dict[str, Any]:
    """Value and interval of a row; a status other than ok has no value, whatever the row holds."""
    given = row if row is not None and row["status"] == "ok" else None
    return {
        prefix: _value(given, column),
        f"{prefix}_ci_low": _value(given, "ci_low"),
        f"{prefix}_ci_high": _value(given, "ci_high"),
    }


def worst_level(inputs: Inputs, mix: str, learner: str) -> Row | None:
    """The subgroup level with the lowest macro-F1 among those with enough patients; None where no level has."""
    rows = [
        row
        for variable in inputs.subgroup_variables
        for level in inputs.levels(variable)
        if (row := inputs.metric(mix, learner, metric=MAIN_METRIC, variable=variable, level=level))
        and row["subgroup_variable"] != OVERALL
        and row["status"] == "ok"
        and row["value"] is not None
    ]
    return min(rows, key=lambda row: row["value"], default=None)


def widest_gap(inputs: Inputs, mix: str, learner: str) -> Row | None:
    """The gap of the variable whose levels lie furthest apart; None where no variable has two levels to show."""
    rows = [
        row
        for variable in inputs.subgroup_variables
        if (row := inputs.metric(mix, learner, metric=GAP_METRIC, variable=variable, level=GAP_LEVEL))
        and row["status"] == "ok"
        and row["value"] is not None
    ]
    return max(rows, key=lambda row: row["value"], default=None)


def n_updates(inputs: Inputs, mix: str) -> int:
    """Optimizer updates of a run; at a budget in other units, those that the mix's examples make."""
    budget = inputs.recipe.budget(inputs.recipe.mix(mix))
    if budget.unit == "updates":
        return budget.size
    return inputs.composition[mix].n_examples // inputs.recipe.file.training.global_batch_size


def budget_words(inputs: Inputs, mix: str) -> str:
    """Whether a mix had the reference mix's budget: updates exactly, supervised tokens up to 10%.

    Where both budgets are counted in supervised tokens, updates may differ: that is what was asked for.
    """
    reference = inputs.reference
    if reference not in inputs.mixes:
        return ""
    own, theirs = n_updates(inputs, mix), n_updates(inputs, reference)
    units = {inputs.recipe.budget(inputs.recipe.mix(name)).unit for name in (mix, reference)}
    if own != theirs and units != {"supervised_tokens"}:
        return f"not at equal budget: {own:,} updates, {reference} {theirs:,}"
    ours, gold = inputs.composition.get(mix), inputs.composition.get(reference)
    if ours is None or gold is None or not gold.n_supervised_tokens:
        return EQUAL
    difference = ours.n_supervised_tokens - gold.n_supervised_tokens
    if abs(difference) > TOKEN_TOLERANCE * gold.n_supervised_tokens:
        share = difference / gold.n_supervised_tokens
        return f"not at equal budget: {share:+.0%} supervised tokens against {reference}"
    return EQUAL


def collapse_majority(rows: Sequence[LeaderboardRow]) -> list[tuple[LeaderboardRow, str]]:
    """Rows with the mix to show. The majority class usually scores the same for every mix: then one row, `any mix`."""
    floor = [row for row in rows if row.learner == "majority"]
    same = len(floor) > 1 and len({(row.macro_f1, row.accuracy, row.worst_subgroup_macro_f1) for row in floor}) == 1
    shown: list[tuple[LeaderboardRow, str]] = []
    for row in rows:
        if row.learner != "majority" or not same:
            shown.append((row, row.mix))
        elif row is floor[0]:
            shown.append((row, "any mix"))
    return shown


# -- CSV and Markdown ------------------------------------------------------------------------------


def cell(value: object) -> str:
    """A CSV cell: six decimals at most, empty for a missing value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{CSV_DIGITS}f}".rstrip("0").rstrip(".")
    return str(value)


def to_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return file.getvalue()


def leaderboard_csv(rows: Sequence[LeaderboardRow]) -> str:
    return to_csv(CSV_COLUMNS, [asdict(row) for row in rows])


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right_from: int = 1) -> str:
    """A GitHub table; columns from `right_from` on are right-aligned. Pipes inside cells are escaped."""
    rule = ["---" if index < right_from else "---:" for index in range(len(head))]
    lines = [head, rule, *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
