"""Forest plots: the tables' values and differences as rows with a mark, an interval and what stands behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.reports import plots, wording
from harness.reports.inputs import CLASS_METRIC, GAP_LEVEL, GAP_METRIC, Inputs, Row
from harness.reports.sections import Download, download
from harness.reports.tips import contrast_tip, metric_tip, plural

METRIC_COLUMNS = ("mix", "learner", "metric", "class", "subgroup_variable", "subgroup_level", "value", "ci_low",
                  "ci_high", "n", "n_positive", "n_patients", "status", "reason")  # fmt: skip
CONTRAST_COLUMNS = ("mix_a", "mix_b", "learner", "metric", "class", "subgroup_variable", "subgroup_level", "difference",
                    "ci_low", "ci_high", "detectable", "p_value", "p_adjusted", "family", "n_patients", "n_train_seeds",
                    "status", "reason")  # fmt: skip


@dataclass(frozen=True)
class ForestRow:
    title: str
    """The mix, or the effect."""
    index: int
    """Of its colour and shape."""
    value: float | None
    low: float | None
    high: float | None
    words: str
    """Value and interval, or why there is none."""
    figure: str = ""
    bounds: str = ""
    detail: str = ""
    tip: str = ""


@dataclass(frozen=True)
class ForestGroup:
    title: str
    note: str
    rows: tuple[ForestRow, ...]
    marks: Mapping[str, str] = field(default_factory=dict)
    """What the page's filter may hide it by: `class` or `variable` to its id."""


@dataclass(frozen=True)
class Forest:
    """One forest plot, drawn as a table with a small SVG in each row."""

    caption: str
    is_difference: bool
    axis: plots.Axis
    groups: tuple[ForestGroup, ...]
    download: Download
    head: str = "Mix"


@dataclass(frozen=True)
class Slot:
    """A group of a forest: where its rows are found in metrics and contrasts."""

    title: str
    where: Mapping[str, str]

    @property
    def marks(self) -> dict[str, str]:
        return {name: self.where[key] for name, key in (("class", "label"), ("variable", "variable"))
                if key in self.where}  # fmt: skip


def class_slots(inputs: Inputs) -> list[Slot]:
    return [Slot(label.name, {"metric": CLASS_METRIC, "label": label.id}) for label in inputs.recipe.task.labels]


def subgroup_slots(inputs: Inputs, variable: str) -> list[Slot]:
    return [
        Slot(wording.level_title(inputs.recipe, variable, level), {"variable": variable, "level": level})
        for level in inputs.levels(variable)
    ]


def gap_slots(inputs: Inputs, variable: str) -> list[Slot]:
    """The gap between the best and the worst level of a variable, where evaluation wrote one."""
    where = {"metric": GAP_METRIC, "variable": variable, "level": GAP_LEVEL}
    any_gap = any(inputs.metric(mix, inputs.main_learner, **where) for mix in inputs.mixes)
    return [Slot("Gap: best level minus worst (drawn from 0 on)", where)] if any_gap else []


def value_forest(inputs: Inputs, learner: str, slots: Sequence[Slot], *, name: str, caption: str) -> Forest:
    """Scores of every mix in every slot, on an axis from 0 to 1."""
    groups, used = [], []
    for slot in slots:
        rows = [(mix, inputs.metric(mix, learner, **slot.where)) for mix in inputs.mixes]
        used += [row for _, row in rows if row is not None]
        shown = tuple(value_row(inputs, mix, row) for mix, row in rows)
        groups.append(ForestGroup(slot.title, size_note([row for _, row in rows if row], slot), shown, slot.marks))
    return Forest(caption, False, plots.share_axis(), tuple(groups), download(name, METRIC_COLUMNS, used))


def difference_forest(inputs: Inputs, learner: str, slots: Sequence[Slot], *, name: str, caption: str) -> Forest:
    """Differences of every other mix to the reference mix in every slot, on an axis that is symmetric about zero."""
    groups, used = [], []
    for slot in slots:
        rows = [(mix, inputs.contrast(mix, learner, **slot.where)) for mix in inputs.other_mixes]
        used += [row for _, row in rows if row is not None]
        sizes = [row for mix in inputs.mixes if (row := inputs.metric(mix, learner, **slot.where))]
        shown = tuple(difference_row(inputs, mix, inputs.mixes.index(mix), row) for mix, row in rows)
        groups.append(ForestGroup(slot.title, size_note(sizes, slot), shown, slot.marks))
    return of_differences(caption, groups, download(name, CONTRAST_COLUMNS, used))


def of_differences(caption: str, groups: Sequence[ForestGroup], found: Download, *, head: str = "Mix") -> Forest:
    """A forest whose axis is symmetric about zero and holds every bound."""
    bounds = [bound for group in groups for row in group.rows for bound in (row.value, row.low, row.high)
              if bound is not None]  # fmt: skip
    return Forest(caption, True, plots.difference_axis(bounds), tuple(groups), found, head)


def value_row(inputs: Inputs, mix: str, row: Row | None) -> ForestRow:
    tip = metric_tip(row, wording.confidence(inputs.recipe))
    return _forest_row(mix, inputs.mixes.index(mix), row, "value", tip)


def difference_row(inputs: Inputs, title: str, index: int, row: Row | None) -> ForestRow:
    return _forest_row(title, index, row, "difference", contrast_tip(row, wording.confidence(inputs.recipe)))


def _forest_row(title: str, index: int, row: Row | None, column: str, tip: str) -> ForestRow:
    if row is None or row["status"] != "ok" or row[column] is None:
        return ForestRow(title, index, None, None, None, wording.status_words(row) or "undefined", tip=tip)
    say: Callable[[float | None], str] = wording.signed if column == "difference" else wording.number
    figure, bounds = say(row[column]), wording.interval(row["ci_low"], row["ci_high"])
    p = row.get("p_adjusted")
    remarks = [f"adjusted {wording.p_equals(p)}" if p is not None else "", row["reason"] or ""]
    detail = "; ".join(remark for remark in remarks if remark)
    words = f"{figure} {bounds}".strip()
    return ForestRow(title, index, row[column], row["ci_low"], row["ci_high"], words, figure, bounds, detail, tip)


def size_note(rows: Sequence[Row], slot: Slot) -> str:
    """How much a group rests on: positives for a class, sentences for a level; and patients."""
    if not rows:
        return ""
    n = rows[0]["n_positive"] if "label" in slot.where else rows[0]["n"]
    return f"{plural(n, 'sentence')}, {plural(rows[0]['n_patients'], 'patient')}"


def forests(inputs: Inputs, learner: str) -> dict[str, Any]:
    """Forest plots of one learner: by class, and by each subgroup variable."""
    slots = class_slots(inputs)
    by_class = {
        "difference": difference_forest(inputs, learner, slots, name=f"class_difference_{learner}",
                                        caption=f"Difference in F1 to {inputs.reference}, by class"),
        "value": value_forest(inputs, learner, slots, name=f"class_f1_{learner}", caption="F1 of every mix, by class"),
    }  # fmt: skip
    return {
        "learner": learner,
        "name": wording.learner_name(inputs.recipe, learner),
        "is_main": learner == inputs.main_learner,
        "by_class": by_class,
        "by_subgroup": [_by_variable(inputs, learner, variable) for variable in inputs.subgroup_variables],
    }


def _by_variable(inputs: Inputs, learner: str, variable: str) -> dict[str, Any]:
    title = wording.variable_title(inputs.recipe, variable)
    slots = subgroup_slots(inputs, variable)
    of = f"by {title[:1].lower()}{title[1:]}"
    return {
        "variable": variable,
        "title": title,
        "difference": difference_forest(inputs, learner, slots, name=f"{variable}_difference_{learner}",
                                        caption=f"Difference in macro-F1 to {inputs.reference}, {of}"),
        "value": value_forest(inputs, learner, [*slots, *gap_slots(inputs, variable)],
                              name=f"{variable}_macro_f1_{learner}", caption=f"Macro-F1 of every mix, {of}"),
    }  # fmt: skip
