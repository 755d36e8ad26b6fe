"""The fidelity section: the table `fidelity` in, rows at a glance, plots, summary and downloads out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics.fidelity import GOLD, MEASURES, PARTS, PLAN, Measure
from harness.reports import suppression, wording
from harness.reports.fidelity_plots import (
    Series,
    cosine_curves,
    domain_plot,
    label_plot,
    margin_plot,
    onset_plot,
    prevalence_plot,
)
from harness.reports.fidelity_words import MARK_WORDS, mark_counts, summary
from harness.reports.inputs import Inputs, Row
from harness.reports.sections import Download, download
from harness.schemas.tables import FIDELITY

COLUMNS = tuple(FIDELITY.columns)
DIRECTIONS = {
    "lower": "lower is better",
    "higher": "higher is better",
    "target": "nearer to the target is better",
}
ALL = "all"
STAGE = "stage"  # a margin of sentences, not of people: it stands in a row of its own
# What the table at a glance shows: measure, variable, level; a level or variable of None averages over all there are.
GLANCE: tuple[tuple[str, str | None, str | None], ...] = (
    ("margin_tv", None, ALL), ("margin_tv", STAGE, ALL), ("pair_tv", None, ALL),
    ("prevalence_error", "risk_factors", "mean"), ("mentions_per_note", None, None), ("domain_tv", None, ALL),
    ("onset_tau", "onset", "domain"), ("onset_tau", "onset", "term"), ("co_occurrence_tv", GOLD, ALL),
    ("co_occurrence_tv", PLAN, ALL), ("term_coverage", ALL, ALL), ("label_tv", "label", "gold"),
    ("label_tv", "label", "trajectory"), ("words_mean", ALL, ALL), ("words_sd", ALL, ALL), ("length_ks", ALL, ALL),
    ("distinct", "n-gram", "1"), ("distinct", "n-gram", "2"), ("distinct", "n-gram", "3"), ("self_bleu", ALL, ALL),
    ("vendi", ALL, ALL), ("two_sample_auc", ALL, ALL), ("nearest_gold", "train", ALL), ("nearest_gold", "test", ALL),
    ("near_gold_share", "train", ALL), ("near_gold_share", "test", ALL), ("majority_macro_f1", ALL, ALL),
    ("keyword_macro_f1", ALL, ALL), ("text_macro_f1", ALL, ALL), ("text_over_keywords", ALL, ALL),
)  # fmt: skip
WHERE_WORDS = {
    ("margin_tv", STAGE): "of the stage, over sentences",
    ("onset_tau", "domain"): "of domains",
    ("onset_tau", "term"): "of terms",
    ("co_occurrence_tv", GOLD): "against gold",
    ("co_occurrence_tv", PLAN): "of notes, against the plan",
    ("label_tv", "gold"): "against training gold",
    ("label_tv", "trajectory"): "against the trajectory",
    ("distinct", "1"): "single words",
    ("distinct", "2"): "pairs",
    ("distinct", "3"): "triples",
    ("nearest_gold", "train"): "training gold",
    ("nearest_gold", "test"): "test gold",
    ("near_gold_share", "train"): "training gold",
    ("near_gold_share", "test"): "test gold",
    ("prevalence_error", "mean"): "mean over factors",
}


@dataclass(frozen=True)
class Cell:
    """One arm's value in the table at a glance, or why there is none."""

    figure: str
    detail: str
    reason: str


@dataclass(frozen=True)
class GlanceRow:
    measure: Measure
    title: str
    target: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class GlancePart:
    title: str
    rows: tuple[GlanceRow, ...]


def fidelity_section(inputs: Inputs) -> dict[str, Any]:
    """What the template shows; without rows (a recipe without arms) nothing but the empty list of series."""
    rows = inputs.fidelity
    series = series_of(inputs)
    plots = [
        plot
        for build in (margin_plot, prevalence_plot, domain_plot, onset_plot, label_plot)
        if (plot := build(inputs, series)) is not None
    ]
    return {
        "series": series,
        "summary": summary(inputs),
        "marks": [(n, MARK_WORDS[mark]) for mark, n in mark_counts(rows)],
        "parts": glance(inputs, series),
        "plots": plots,
        "curves": cosine_curves(inputs, series),
        "measures": [(PARTS[measure.part], measure, bound_words(measure)) for measure in MEASURES.values()],
        "directions": DIRECTIONS,
        "undefined": undefined_words(rows),
        "download": fidelity_download(rows),
    }


def series_of(inputs: Inputs) -> list[Series]:
    """Gold, the plan and the arms, each with its marker; gold has the marker of the mix `gold`, the first."""
    found = {row["arm"] for row in inputs.fidelity}
    names = [name for name in (GOLD, PLAN, *inputs.recipe.used_arms) if name in found]
    titles = {GOLD: "training gold", PLAN: "the drawn plan, before any text"}
    return [Series(name, index, titles.get(name, name)) for index, name in enumerate(names)]


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Rows by measure in the catalogue's order, then by variable, level and arm."""
    place = {name: index for index, name in enumerate(MEASURES)}
    return sorted(rows, key=lambda row: (place[row["measure"]], row["variable"], row["level"], row["arm"]))


def fidelity_download(rows: Sequence[Row]) -> Download:
    return download("fidelity", COLUMNS, ordered(rows))


def bound_words(measure: Measure) -> str:
    """`0 to 1`, `0 or more`, `any number`."""
    low, high = measure.bounds
    if math.isinf(low):
        return "any number"
    return (
        f"{wording.number(low, 0)} or more"
        if math.isinf(high)
        else f"{wording.number(low, 0)} to {wording.number(high, 0)}"
    )


# -- at a glance -------------------------------------------------------------------------------------------------------


def glance(inputs: Inputs, series: Sequence[Series]) -> list[GlancePart]:
    """The headline rows by part; a row that no series has a value or a reason for is left out."""
    parts: dict[str, list[GlanceRow]] = {}
    for name, variable, level in GLANCE:
        found = [row for row in inputs.fidelity if row["measure"] == name and _fits(row, variable, level)]
        if found:
            measure = MEASURES[name]
            cells = tuple(_cell([row for row in found if row["arm"] == one.name]) for one in series)
            row = GlanceRow(measure, _title(measure, variable, level), _target(found), cells)
            parts.setdefault(measure.part, []).append(row)
    return [GlancePart(PARTS[part], tuple(parts[part])) for part in PARTS if part in parts]


def _fits(row: Row, variable: str | None, level: str | None) -> bool:
    if variable is None and row["measure"] == "margin_tv" and row["variable"] == STAGE:
        return False
    return (variable is None or row["variable"] == variable) and (level is None or row["level"] == level)


def _title(measure: Measure, variable: str | None, level: str | None) -> str:
    for place in (level, variable):
        if place is not None and (measure.name, place) in WHERE_WORDS:
            return f"{measure.title}: {WHERE_WORDS[measure.name, place]}"
    return measure.title


def _target(rows: Sequence[Row]) -> str:
    """The target, where all rows have the same."""
    targets = {row["target"] for row in rows if row["target"] is not None}
    return figure(targets.pop()) if len(targets) == 1 else ""


def _cell(rows: Sequence[Row]) -> Cell:
    """A value with its interval; of several rows their mean."""
    if not rows:
        return Cell("", "", "")
    valued = [row for row in rows if row["value"] is not None]
    if not valued:
        return Cell("", "", wording.status_words(rows[0]))
    if len(rows) == 1:
        row = rows[0]
        bounds = wording.interval(row["ci_low"], row["ci_high"], 3)
        return Cell(figure(row["value"]), bounds, "")
    mean = sum(row["value"] for row in valued) / len(valued)
    what = f"mean of {len(valued)}" + (f" of {len(rows)}" if len(valued) < len(rows) else "")
    return Cell(figure(mean), what, "")


def figure(value: float) -> str:
    """Three decimals for shares and distances, one for larger numbers."""
    return wording.number(value, 3 if abs(value) <= 1 else 1)


def undefined_words(rows: Sequence[Row]) -> list[str]:
    """Why values are missing: one line per arm and reason, with the number of values."""
    counted = Counter((row["arm"], wording.status_words(row)) for row in rows if row["status"] != "ok")
    return [f"{arm}: {n} value{'s' if n != 1 else ''} {reason}" for (arm, reason), n in sorted(counted.items())]


def fidelity_markdown(inputs: Inputs) -> str:
    """The summary and the table at a glance, for reading without the page."""
    series = series_of(inputs)
    if not series:
        return "# Fidelity\n\nNo mix of this recipe holds synthetic sentences.\n"
    lines = ["# Fidelity", "", *suppression.markdown(inputs), *(f"- {sentence}" for sentence in summary(inputs)), ""]
    head = ["measure", "target", *(one.name for one in series)]
    for part in glance(inputs, series):
        lines += [f"## {part.title}", "", _line(head), _line(["---"] * len(head))]
        for row in part.rows:
            cells = [cell.figure or wording.NONE if not cell.reason else "undefined" for cell in row.cells]
            lines.append(_line([f"{row.title} ({row.measure.direction})", row.target or wording.NONE, *cells]))
        lines.append("")
    lines += ["Why values are missing:", "", *(f"- {line}" for line in undefined_words(inputs.fidelity)), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
