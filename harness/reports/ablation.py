"""The ablation: what each alignment adds, as Markdown. The 2 x 2 of arms is read off what each arm sees."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.reports import suppression, wording
from harness.reports.ablation_words import difference_words, value_words
from harness.reports.exchange_words import exchange_markdown
from harness.reports.inputs import CLASS_METRIC, Inputs
from harness.reports.leaderboard import markdown_table
from harness.reports.proxy_words import proxy_markdown
from harness.reports.regimes import regimes_markdown
from harness.reports.verdict import judge
from harness.schemas.mix import Mix
from harness.schemas.square import Cell, arms_of, cell_of, find_square

CELL_NAMES: dict[Cell, str] = {
    (False, False): "unguided",
    (True, False): "statistical alignment only",
    (False, True): "semantic alignment only",
    (True, True): "DualAlign (both)",
}


def alignment_cells(inputs: Inputs) -> dict[Cell, str]:
    """The mixes of the 2 x 2 that evaluation found, by cell; empty where there are no such four."""
    return find_square(inputs.recipe) or {}


def added_words(inputs: Inputs, mix: Mix) -> str:
    """What a mix holds: for one arm of the 2 x 2 its cell, otherwise the origins."""
    arms = arms_of(inputs.recipe, mix)
    cell = cell_of(inputs.recipe.arms[arms[0]]) if len(arms) == 1 else None
    return ", ".join(mix.origins) if cell is None else CELL_NAMES[cell]


# Rows of the contrasts table, and how they read.
SQUARE = "(2 x 2)"
EFFECTS = {
    "(statistical)": "mean effect of statistical alignment",
    "(semantic)": "mean effect of semantic alignment",
    "(interaction)": "interaction (how much more semantic alignment adds where statistical alignment is there)",
}


def ablation_markdown(inputs: Inputs) -> str:
    recipe = inputs.recipe
    lines = [f"# What each alignment adds: `{recipe.name}`", ""]
    if recipe.task.file.caution:
        lines += [f"> **Caution.** {' '.join(recipe.task.file.caution.split())}", ""]
    if recipe.proxy:
        lines += [f"> **{wording.PROXY.replace(':', ':**', 1)}", ""]
    lines += suppression.markdown(inputs)
    lines += [
        f"Every difference is in macro-F1 (F1 of a class) on the {wording.SPLIT_NAMES[inputs.split]} split, "
        f"mix minus `{inputs.reference}`, paired over the same patients, with {wording.confidence(recipe)} intervals. "
        "`insufficient` and `undefined` are not zero: there is no value.",
        "",
    ]
    for learner in inputs.learners:
        if learner != "majority":
            lines += _learner_part(inputs, learner)
    lines += proxy_markdown(inputs)
    lines += ["## Sentences asked for, kept and dropped", "", arms_table(inputs), ""]
    lines += ["## Audit of the mixes", ""]
    if any(mix.draws_patients for mix in recipe.mixes):
        lines += ["Where train seeds draw patients of their own: the draw in which most was found.", ""]
    lines += [audit_table(inputs), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _learner_part(inputs: Inputs, learner: str) -> list[str]:
    lines = [f"## {wording.learner_name(inputs.recipe, learner)}", "", overall_table(inputs, learner), ""]
    square = two_by_two(inputs, learner)
    if square:
        lines += ["### The 2 x 2 of alignments", "", square, ""]
    lines += [*regimes_markdown(inputs, learner), *exchange_markdown(inputs, learner)]
    lines += ["### By class (F1)", "", class_table(inputs, learner), ""]
    for variable in inputs.subgroup_variables:
        title = wording.variable_title(inputs.recipe, variable)
        lines += [
            f"### By {title[:1].lower()}{title[1:]} (macro-F1)",
            "",
            subgroup_table(inputs, learner, variable),
            "",
        ]
    return lines


def overall_table(inputs: Inputs, learner: str) -> str:
    rows = [[f"`{inputs.reference}`", "reference", value_words(inputs.metric(inputs.reference, learner)), "", ""]]
    rows += [
        [
            f"`{mix}`",
            added_words(inputs, inputs.recipe.mix(mix)),
            value_words(inputs.metric(mix, learner)),
            difference_words(inputs.contrast(mix, learner)),
            judge(inputs, mix, learner).kind,
        ]
        for mix in inputs.other_mixes
    ]
    head = ("mix", "what is added", "macro-F1", f"difference to {inputs.reference}", "verdict")
    return markdown_table(head, rows, right_from=2)


def two_by_two(inputs: Inputs, learner: str) -> str:
    """Macro-F1 in the four cells, and what each alignment adds; empty unless all four mixes are there.

    Main effects are means of the two simple differences, and the interaction is their difference; evaluation has put an
    interval and a p-value beside each.
    """
    cells = alignment_cells(inputs)
    values: dict[Cell, float] = {}
    for cell, mix in cells.items():
        row = inputs.metric(mix, learner)
        if row is not None and row["status"] == "ok" and row["value"] is not None:
            values[cell] = row["value"]
    if len(values) < len(CELL_NAMES):
        return ""
    table = markdown_table(
        ("", "without semantic alignment", "with semantic alignment", "semantic alignment adds"),
        [
            [
                f"{'with' if persona else 'without'} statistical alignment",
                _cell_words(inputs, cells, learner, (persona, False)),
                _cell_words(inputs, cells, learner, (persona, True)),
                wording.signed(values[persona, True] - values[persona, False]),
            ]
            for persona in (False, True)
        ]
        + [
            [
                "statistical alignment adds",
                wording.signed(values[True, False] - values[False, False]),
                wording.signed(values[True, True] - values[False, True]),
                "",
            ]
        ],
    )
    effects = "; ".join(
        f"{words} {difference_words(inputs.contrast(effect, learner, against=SQUARE))}"
        for effect, words in EFFECTS.items()
    )
    return table + f"\n{effects[:1].upper()}{effects[1:]}.\n"


def _cell_words(inputs: Inputs, cells: Mapping[Cell, str], learner: str, cell: Cell) -> str:
    return f"{value_words(inputs.metric(cells[cell], learner))} (`{cells[cell]}`)"


def class_table(inputs: Inputs, learner: str) -> str:
    rows = []
    for label in inputs.recipe.task.labels:
        reference = inputs.metric(inputs.reference, learner, metric=CLASS_METRIC, label=label.id)
        differences = [
            difference_words(inputs.contrast(mix, learner, metric=CLASS_METRIC, label=label.id))
            for mix in inputs.other_mixes
        ]
        n = wording.count(reference["n_positive"]) if reference else wording.NONE
        rows.append([label.name, n, value_words(reference), *differences])
    return markdown_table(("class", "sentences", f"`{inputs.reference}`", *_difference_heads(inputs)), rows)


def subgroup_table(inputs: Inputs, learner: str, variable: str) -> str:
    rows = []
    for level in inputs.levels(variable):
        reference = inputs.metric(inputs.reference, learner, variable=variable, level=level)
        differences = [
            difference_words(inputs.contrast(mix, learner, variable=variable, level=level))
            for mix in inputs.other_mixes
        ]
        n = f"{wording.count(reference['n'])} / {wording.count(reference['n_patients'])}" if reference else wording.NONE
        rows.append([wording.level_title(inputs.recipe, variable, level), n, value_words(reference), *differences])
    head = ("level", "sentences / patients", f"`{inputs.reference}`", *_difference_heads(inputs))
    return markdown_table(head, rows)


def _difference_heads(inputs: Inputs) -> list[str]:
    return [f"`{mix}` minus `{inputs.reference}`" for mix in inputs.other_mixes]


def arms_table(inputs: Inputs) -> str:
    rows = []
    for name, counts in inputs.arms.items():
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.rejected.items()) or "none"
        rows.append(
            [
                f"`{name}`",
                wording.arm_kind(inputs.recipe.arms[name]),
                wording.count(counts.n_asked),
                wording.count(counts.n_attempts),
                wording.count(counts.n_accepted),
                acceptance_words(counts.n_accepted, counts.n_attempts),
                wording.count(counts.n_labelled),
                reasons,
            ]
        )
    head = (
        "arm",
        "what it is",
        "asked for",
        "candidates tried",
        "kept",
        "acceptance",
        "labelled",
        "dropped, by reason",
    )
    return markdown_table(head, rows, right_from=2)


def acceptance_words(n_accepted: int, n_attempts: int | None) -> str:
    """Kept texts per candidate tried; a dash where no candidate was counted."""
    return wording.NONE if not n_attempts else f"{n_accepted / n_attempts:.0%}"


def audit_table(inputs: Inputs) -> str:
    rows = [
        [f"`{mix}`", row["check"].replace("_", " "), row["origin"], row["against"], wording.count(row["n_checked"]),
         wording.count(row["n_found"]), wording.count(row["n_removed"])]
        for mix, found in inputs.audit.items()
        for row in found
    ]  # fmt: skip
    return markdown_table(("mix", "check", "in", "against", "checked", "found", "removed"), rows, right_from=4)
