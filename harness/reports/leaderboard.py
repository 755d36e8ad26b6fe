"""The leaderboard: one row per mix and learner, as CSV for machines and Markdown for people; and across runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from harness.reports import wording
from harness.reports.inputs import LLM, MAIN_METRIC, OVERALL, Inputs, Row

# Two mixes count as equal in supervised tokens up to this relative difference: labels differ in length by a token or
# two, so equal updates cannot give exactly equal tokens.
TOKEN_TOLERANCE = 0.10
CSV_DIGITS = 6
EQUAL = "equal budget"
DIVERGED = "diverged"


@dataclass(frozen=True)
class LeaderboardRow:
    """One mix learned by one learner. None is a value that is undefined or does not apply, never zero."""

    recipe: str
    task: str
    task_version: int
    mix: str
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
    reference_mix: str
    difference: float | None
    difference_ci_low: float | None
    difference_ci_high: float | None
    p_value: float | None
    p_adjusted: float | None
    worst_subgroup_variable: str | None
    worst_subgroup_level: str | None
    worst_subgroup_macro_f1: float | None
    worst_subgroup_n_patients: int | None
    n_updates: int | None
    n_examples: int | None
    n_supervised_tokens: int | None
    n_train_sentences: int | None
    budget: str
    n_train_seeds: int
    n_test_sentences: int | None
    n_test_patients: int | None
    status: str
    reason: str | None
    test_set_sha256: str


CSV_COLUMNS = tuple(field.name for field in fields(LeaderboardRow))


def leaderboard_rows(inputs: Inputs) -> list[LeaderboardRow]:
    """Rows by macro-F1, best first; rows of diverged runs and rows without a value last, then by the recipe's order."""
    rows = [_row(inputs, mix, learner) for mix in inputs.mixes for learner in inputs.learners]
    return sorted(rows, key=lambda row: (row.status == DIVERGED, row.macro_f1 is None, -(row.macro_f1 or 0.0)))


def why_diverged(inputs: Inputs, mix: str) -> str:
    """Train seeds of a mix that the training stage marked, each with its reason; empty where all are sound."""
    marked = [
        f"{manifest.unit.rpartition('/')[2]}: {manifest.counts.notes.get('reason')}"
        for manifest in inputs.manifests
        if manifest.stage == "training"
        and manifest.unit.rpartition("/")[0] == mix
        and manifest.counts.notes.get("status", "finished") != "finished"
    ]
    return "; ".join(marked)


def _row(inputs: Inputs, mix: str, learner: str) -> LeaderboardRow:
    main = inputs.metric(mix, learner)
    weighted, accuracy = (inputs.metric(mix, learner, metric=name) for name in ("weighted_f1", "accuracy"))
    contrast = inputs.contrast(mix, learner)
    worst = worst_level(inputs, mix, learner)
    composition = inputs.composition.get(mix)
    is_llm = learner == LLM
    diverged = why_diverged(inputs, mix) if is_llm else ""
    status, reason = (main["status"], main["reason"]) if main else ("undefined", "evaluation wrote no value")
    return LeaderboardRow(
        recipe=inputs.recipe.name,
        task=inputs.recipe.task.id,
        task_version=inputs.recipe.task.file.version,
        mix=mix,
        learner=learner,
        model=wording.learner_name(inputs.recipe, learner),
        split=inputs.split,
        **_interval("macro_f1", "value", main),
        **_interval("weighted_f1", "value", weighted),
        **_interval("accuracy", "value", accuracy),
        reference_mix=inputs.reference,
        **_interval("difference", "difference", contrast),
        p_value=_value(contrast, "p_value"),
        p_adjusted=_value(contrast, "p_adjusted"),
        worst_subgroup_variable=_value(worst, "subgroup_variable"),
        worst_subgroup_level=_value(worst, "subgroup_level"),
        worst_subgroup_macro_f1=_value(worst, "value"),
        worst_subgroup_n_patients=_value(worst, "n_patients"),
        n_updates=n_updates(inputs, mix) if is_llm else None,
        n_examples=composition.n_examples if composition and is_llm else None,
        n_supervised_tokens=composition.n_supervised_tokens if composition and is_llm else None,
        n_train_sentences=composition.n_sentences if composition else None,
        budget=budget_words(inputs, mix) if is_llm else "",
        n_train_seeds=max(1, len(inputs.train_seeds(mix, learner))) if main else 0,
        n_test_sentences=_value(main, "n"),
        n_test_patients=_value(main, "n_patients"),
        status=DIVERGED if diverged else status,
        reason=diverged or reason,
        test_set_sha256=inputs.test_set_sha256,
    )


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


# -- CSV and Markdown ------------------------------------------------------------------------------


def cell(value: object) -> str:
    """A CSV cell: six decimals at most, empty for a missing value."""
    if value is None:
        return ""
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


MARKDOWN_HEAD = (
    "mix", "learner", "macro-F1", "weighted F1", "accuracy", "difference", "adjusted p", "worst subgroup",
    "updates", "examples", "supervised tokens", "train seeds", "test sentences / patients",
)  # fmt: skip


def leaderboard_markdown(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> str:
    """The leaderboard with its caution, budget remarks and what its numbers are."""
    recipe, sound = inputs.recipe, [row for row in rows if row.status != DIVERGED]
    lines = [f"# Leaderboard of `{recipe.name}`", ""]
    if recipe.task.file.caution:
        lines += [f"> **Caution.** {' '.join(recipe.task.file.caution.split())}", ""]
    lines += [
        f"Task `{recipe.task.id}`, version {recipe.task.file.version}; {wording.SPLIT_NAMES[inputs.split]} split; "
        f"{wording.confidence(recipe)} intervals that resample patients. "
        f"Differences are to `{inputs.reference}`, macro-F1, paired.",
        "",
        markdown_table(
            MARKDOWN_HEAD,
            [_markdown_cells(recipe_row, mix) for recipe_row, mix in collapse_majority(sound)],
            right_from=2,
        ),
        *_set_apart(inputs, [row for row in rows if row.status == DIVERGED]),
    ]
    remarks = sorted({f"- `{row.mix}`: {row.budget}" for row in rows if row.budget not in ("", EQUAL)})
    if remarks:
        lines += ["Not at equal budget, so differences are not down to the sentences alone:", "", *remarks, ""]
    lines += [f"Test set (SHA-256 of its sentence ids and labels): `{inputs.test_set_sha256}`", ""]
    return "\n".join(lines)


def _set_apart(inputs: Inputs, rows: Sequence[LeaderboardRow]) -> list[str]:
    """A table of its own for mixes with a run that diverged, and why; nothing where there is none."""
    if not rows:
        return []
    reasons = [f"- `{row.mix}`: {row.reason}" for row in rows]
    if any(row.mix == inputs.reference for row in rows):
        reasons.append(f"- every difference above is to `{inputs.reference}`, which is among them")
    cells = [_markdown_cells(row, row.mix) for row in rows]
    return [
        "Set apart, because a run of theirs diverged:",
        "",
        markdown_table(MARKDOWN_HEAD, cells, right_from=2),
        *reasons,
        "",
    ]


def _markdown_cells(row: LeaderboardRow, mix: str) -> list[str]:
    is_reference, is_floor = row.mix == row.reference_mix, mix != row.mix
    worst = wording.NONE
    if row.worst_subgroup_level is not None:
        worst = f"{wording.number(row.worst_subgroup_macro_f1)} ({row.worst_subgroup_level})"
    return [
        f"`{mix}`" if mix == row.mix else mix,
        row.model,
        _with_interval(row.macro_f1, row.macro_f1_ci_low, row.macro_f1_ci_high)
        if row.status in ("ok", DIVERGED) and row.macro_f1 is not None
        else row.status,
        wording.number(row.weighted_f1),
        wording.number(row.accuracy),
        wording.NONE if is_floor else "reference" if is_reference else _difference_cell(row),
        wording.NONE if is_floor or is_reference else wording.p_value(row.p_adjusted),
        worst,
        wording.count(row.n_updates),
        wording.count(row.n_examples),
        wording.count(row.n_supervised_tokens),
        str(row.n_train_seeds),
        f"{wording.count(row.n_test_sentences)} / {wording.count(row.n_test_patients)}",
    ]


def _difference_cell(row: LeaderboardRow) -> str:
    bounds = wording.interval(row.difference_ci_low, row.difference_ci_high)
    remark = "" if row.budget in ("", EQUAL) else "(not at equal budget)"
    return " ".join(part for part in (wording.signed(row.difference), bounds, remark) if part)


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return f"{wording.number(value)} {wording.interval(low, high)}".strip()
