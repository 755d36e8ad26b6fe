"""Beyond single differences: do gains differ between subgroup levels, what could have been seen, and the 2 x 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.reports import wording
from harness.reports.ablation import CELL_NAMES, EFFECTS, SQUARE, alignment_cells
from harness.reports.forests import (
    CONTRAST_COLUMNS,
    ForestGroup,
    Slot,
    class_slots,
    difference_row,
    of_differences,
    size_note,
    subgroup_slots,
)
from harness.reports.inputs import MAIN_METRIC, Inputs, Row
from harness.reports.sections import download
from harness.reports.tips import contrast_tip, metric_tip
from harness.reports.verdict import INTERACTION, extreme_levels, interaction_words

SHORT_EFFECTS = dict(zip(EFFECTS, ("statistical alignment", "semantic alignment", "interaction"), strict=True))


def interaction_section(inputs: Inputs, learner: str) -> dict[str, Any] | None:
    """One line per mix and subgroup variable: the largest gain minus the smallest, tested. None without such rows."""
    found = [
        (variable, mix, row)
        for variable in inputs.subgroup_variables
        for mix in inputs.other_mixes
        if (row := inputs.contrast(mix, learner, variable=variable, level=INTERACTION))
    ]
    if not found:
        return None
    rows = [
        {
            "variable": variable,
            "title": wording.variable_title(inputs.recipe, variable),
            "mix": mix,
            "index": inputs.mixes.index(mix),
            "row": row,
            "verdict": interaction_words(inputs, row),
            "levels": extreme_levels(inputs, row),
            "tip": contrast_tip(row, wording.confidence(inputs.recipe)),
        }
        for variable, mix, row in found
    ]
    return {
        "rows": rows,
        "download": download(f"interactions_{learner}", CONTRAST_COLUMNS, [row for _, _, row in found]),
    }


def detectable_section(inputs: Inputs, learner: str) -> dict[str, Any] | None:
    """The smallest difference each comparison could have found. None where no row tells one."""
    places = [Slot("all test sentences", {"metric": MAIN_METRIC}), *class_slots(inputs)]
    for variable in inputs.subgroup_variables:
        places += subgroup_slots(inputs, variable)
    lines, used = [], []
    for slot in places:
        rows = [inputs.contrast(mix, learner, **slot.where) for mix in inputs.other_mixes]
        sizes = [row for mix in inputs.mixes if (row := inputs.metric(mix, learner, **slot.where))]
        used += [row for row in rows if row is not None]
        lines.append(
            {
                "title": slot.title,
                "group": _group(inputs, slot),
                "note": size_note(sizes, slot),
                "marks": slot.marks,
                "cells": [_detectable_cell(inputs, row) for row in rows],
            }
        )
    if not any(row["detectable"] is not None for row in used):
        return None
    return {"rows": lines, "download": download(f"detectable_{learner}", CONTRAST_COLUMNS, used)}


def _group(inputs: Inputs, slot: Slot) -> str:
    if "label" in slot.where:
        return "F1 of a class"
    return wording.variable_title(inputs.recipe, slot.where["variable"]) if "variable" in slot.where else "overall"


def _detectable_cell(inputs: Inputs, row: Row | None) -> dict[str, Any]:
    value = None if row is None or row["status"] != "ok" else row["detectable"]
    return {
        "value": value,
        "words": wording.status_words(row) or "no interval",
        "tip": contrast_tip(row, wording.confidence(inputs.recipe)),
    }


def square_section(inputs: Inputs, learner: str) -> dict[str, Any] | None:
    """Main effects of both alignments and their interaction, overall, by class and by level; None without a 2 x 2."""
    slots: Sequence[Slot] = [Slot("Macro-F1, all test sentences", {"metric": MAIN_METRIC}), *class_slots(inputs)]
    for variable in inputs.subgroup_variables:
        title = wording.variable_title(inputs.recipe, variable)
        slots = [*slots, *(Slot(f"{title}: {slot.title}", slot.where) for slot in subgroup_slots(inputs, variable))]
    groups, used = [], []
    for slot in slots:
        rows = {effect: inputs.contrast(effect, learner, against=SQUARE, **slot.where) for effect in EFFECTS}
        if not any(rows.values()):
            continue
        used += [row for row in rows.values() if row is not None]
        shown = tuple(
            difference_row(inputs, SHORT_EFFECTS[effect], index + 1, row)
            for index, (effect, row) in enumerate(rows.items())
        )
        sizes = [row for mix in inputs.mixes if (row := inputs.metric(mix, learner, **slot.where))]
        groups.append(ForestGroup(slot.title, size_note(sizes, slot), shown, slot.marks))
    if not groups:
        return None
    found = download(f"two_by_two_{learner}", CONTRAST_COLUMNS, used)
    in_levels = [group for group in groups if "variable" in group.marks]
    elsewhere = [group for group in groups if group not in in_levels]
    parts = ((elsewhere, "What each alignment adds, overall and by class (F1)"),
             (in_levels, "What each alignment adds, by subgroup level (macro-F1)"))  # fmt: skip
    return {
        "learner": learner,
        "name": wording.learner_name(inputs.recipe, learner),
        "is_main": learner == inputs.main_learner,
        "cells": square_cells(inputs, learner),
        "plots": [of_differences(caption, part, found, head="Effect") for part, caption in parts if part],
    }


def square_cells(inputs: Inputs, learner: str) -> list[dict[str, Any]]:
    """Macro-F1 of the four mixes of the 2 x 2, rows without and with statistical alignment."""
    cells = alignment_cells(inputs)
    if len(cells) < len(CELL_NAMES):
        return []
    level = wording.confidence(inputs.recipe)
    return [
        {
            "title": f"{'with' if statistical else 'without'} statistical alignment",
            "cells": [
                {"mix": mix, "index": inputs.mixes.index(mix), "row": row, "words": wording.status_words(row),
                 "tip": metric_tip(row, level)}
                for semantic in (False, True)
                for mix in (cells[statistical, semantic],)
                for row in (inputs.metric(mix, learner),)
            ],
        }
        for statistical in (False, True)
    ]  # fmt: skip
