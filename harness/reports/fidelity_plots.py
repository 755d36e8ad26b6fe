"""Plots of the fidelity section: dots of every arm beside a line at the target, and curves of nearest cosines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.reports import wording
from harness.reports.fidelity_words import target_words
from harness.reports.inputs import Inputs, Row
from harness.reports.plots import Axis, nice_step

LANE = 9.0  # height of one series in a dot cell, in SVG user units: markers of neighbours just touch
EDGE = 3.0
CURVE_WIDTH, CURVE_HEIGHT = 360.0, 190.0
CURVE_LEFT, CURVE_RIGHT, CURVE_TOP, CURVE_BOTTOM = 34.0, 10.0, 10.0, 30.0
BIN = 0.05

Levels = tuple[str, Sequence[tuple[str, Sequence[Row]]]]
"""A heading, and below it the name and rows of each level."""


@dataclass(frozen=True)
class Series:
    """Gold, the plan or an arm, with the number of its marker."""

    name: str
    index: int
    title: str


@dataclass(frozen=True)
class Dot:
    index: int
    x: float
    y: float
    words: str


@dataclass(frozen=True)
class DotRow:
    """One level: dots of the series that have a value, a line at the target."""

    title: str
    target_x: float | None
    target: str
    mark: str
    dots: tuple[Dot, ...]
    height: float
    words: str
    """All values in one line, for who cannot see the dots."""


@dataclass(frozen=True)
class DotGroup:
    title: str
    rows: tuple[DotRow, ...]


@dataclass(frozen=True)
class DotPlot:
    caption: str
    note: str
    axis: Axis
    groups: tuple[DotGroup, ...]


def margin_plot(inputs: Inputs, series: Sequence[Series]) -> DotPlot | None:
    """Shares of every level of every variable."""
    groups: list[Levels] = []
    for variable, rows in _by(_rows_of(inputs, "margin_share"), "variable").items():
        levels = _by(rows, "level")
        known = inputs.recipe.task.file.subgroups.get(variable)
        order = [level for level in known.levels if level in levels] if known else []
        order += [level for level in levels if level not in order]
        named = [(_plain(wording.level_title(inputs.recipe, variable, level)), levels[level]) for level in order]
        groups.append((_capital(wording.variable_title(inputs.recipe, variable)), named))
    return _plot("Who: shares of people (of sentences, for the stage)", "", groups, series)


def prevalence_plot(inputs: Inputs, series: Sequence[Series]) -> DotPlot | None:
    """Prevalences of the risk factors, the most common by the target first."""
    levels = _by_target(_rows_of(inputs, "prevalence"))
    return _plot("Who: prevalence of risk factors", "", [("Risk factors", levels)], series)


def domain_plot(inputs: Inputs, series: Sequence[Series]) -> DotPlot | None:
    """Domain shares of the mentions, stage by stage."""
    known = inputs.recipe.task.file.subgroups.get("stage")
    order = list(known.levels) if known else []
    by_stage = _by(_rows_of(inputs, "domain_share"), "variable")
    groups: list[Levels] = []
    for stage in sorted(by_stage, key=lambda one: (order.index(one) if one in order else len(order), one)):
        levels = [(_plain(domain), rows) for domain, rows in _by(by_stage[stage], "level").items()]
        groups.append((wording.level_title(inputs.recipe, "stage", stage), levels))
    note = (
        "Of gold and arms: lexicon terms found in the sentences. Where labels are asked for by gold's quotas, domains "
        "cannot follow the trajectory all the way."
    )
    return _plot("When: share of each domain among the mentions of a stage", note, groups, series)


def onset_plot(inputs: Inputs, series: Sequence[Series]) -> DotPlot | None:
    """First mentions of the domains, the earliest by the target first."""
    levels = _by_target(_rows_of(inputs, "onset_years"))
    note = (
        "The line is the declared onset of a symptom of the domain; the first mention of any of its symptoms comes "
        "earlier. What should agree is the order."
    )
    groups: list[Levels] = [("Years before the diagnosis", levels)]
    return _plot("When: first mention of each domain, median over personas", note, groups, series, digits=1)


def label_plot(inputs: Inputs, series: Sequence[Series]) -> DotPlot | None:
    """Label shares."""
    by_label = _by(_rows_of(inputs, "label_share"), "level")
    levels = [(label.name, by_label.get(label.id, [])) for label in inputs.recipe.task.labels]
    return _plot("How: label distribution", "The line is training gold.", [("Labels", levels)], series)


def _rows_of(inputs: Inputs, measure: str) -> list[Row]:
    return [row for row in inputs.fidelity if row["measure"] == measure]


def _by(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    """Rows by a column's value, values in the order of their first row."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def _by_target(rows: Sequence[Row]) -> list[tuple[str, Sequence[Row]]]:
    """Levels in words with their rows, the largest target first."""
    levels = _by(rows, "level")
    order = sorted(levels, key=lambda level: (-(levels[level][0]["target"] or 0.0), level))
    return [(_plain(level), levels[level]) for level in order]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _plot(
    caption: str,
    note: str,
    groups: Sequence[Levels],
    series: Sequence[Series],
    *,
    digits: int = 3,
) -> DotPlot | None:
    """None where no series has a value."""
    rows = [row for _, levels in groups for _, found in levels for row in found]
    shown = {row["arm"] for row in rows if row["value"] is not None}
    used = [one for one in series if one.name in shown]
    if not used:
        return None
    axis = value_axis([value for row in rows for value in (row["value"], row["target"]) if value is not None])
    drawn = tuple(
        DotGroup(title, tuple(_dot_row(level, found, axis, used, digits=digits) for level, found in levels))
        for title, levels in groups
    )
    return DotPlot(caption, note, axis, drawn)


def value_axis(values: Sequence[float]) -> Axis:
    """From zero (or below, where a value is) to the next tick above the largest value."""
    low, high = min(0.0, *values), max(values) or 1.0
    step = nice_step(high - low)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(first * step, last * step, tuple(round(index * step, 10) for index in range(first, last + 1)))


def _dot_row(title: str, rows: Sequence[Row], axis: Axis, series: Sequence[Series], *, digits: int) -> DotRow:
    by_arm = {row["arm"]: row for row in rows}
    target = next((row["target"] for row in rows if row["target"] is not None), None)
    mark = next((row["mark"] for row in rows if row["mark"] is not None), None)
    dots = []
    for lane, one in enumerate(series):
        row = by_arm.get(one.name)
        if row is not None and row["value"] is not None:
            words = f"{one.title}: {wording.number(row['value'], digits)} (n = {row['n']:,})"
            dots.append(Dot(one.index, axis.x(row["value"]), EDGE + LANE * (lane + 0.5), words))
    aim = "" if target is None else wording.number(target, digits)
    words = "; ".join([f"target {aim}" if aim else "no target", *(dot.words for dot in dots)])
    return DotRow(
        title=title,
        target_x=None if target is None else axis.x(target),
        target=aim,
        mark=target_words(mark),
        dots=tuple(dots),
        height=2 * EDGE + LANE * len(series),
        words=f"{title}: {words}",
    )


# -- nearest cosines ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    series: Series
    points: str
    words: str


@dataclass(frozen=True)
class Curves:
    lines: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    threshold_x: float
    threshold: float


def cosine_curves(inputs: Inputs, series: Sequence[Series]) -> Curves | None:
    """Distribution of the cosine to the nearest training sentence, one line per series; None without values."""
    rows = [row for row in inputs.fidelity if row["measure"] == "nearest_gold_share" and row["value"] is not None]
    if not rows:
        return None
    highest = float(max(row["value"] for row in rows))
    step = nice_step(highest, 3)
    top = math.ceil(highest / step - 1e-9) * step

    def x(cosine: float) -> float:
        return round(CURVE_LEFT + cosine * (CURVE_WIDTH - CURVE_LEFT - CURVE_RIGHT), 1)

    def y(share: float) -> float:
        return round(CURVE_HEIGHT - CURVE_BOTTOM - share / top * (CURVE_HEIGHT - CURVE_TOP - CURVE_BOTTOM), 1)

    lines = []
    for one in series:
        own = sorted((float(row["level"]), row["value"]) for row in rows if row["arm"] == one.name)
        if own:
            points = " ".join(f"{x(low + BIN / 2)},{y(share)}" for low, share in own)
            peak = max(own, key=lambda pair: pair[1])[0]
            lines.append(Curve(one, points, f"{one.title}: most between {peak:.2f} and {peak + BIN:.2f}"))
    threshold = inputs.recipe.file.fidelity.near_gold
    return Curves(
        lines=tuple(lines),
        x_ticks=tuple((x(tick / 4), f"{tick / 4:g}") for tick in range(5)),
        y_ticks=tuple((y(index * step), f"{index * step:g}") for index in range(round(top / step) + 1)),
        threshold_x=x(threshold),
        threshold=threshold,
    )
