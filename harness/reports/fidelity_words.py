"""The fidelity report in sentences: what was aligned and what was not, from the table's numbers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from harness.reports import wording
from harness.reports.inputs import Inputs, Row

# Conventions of this report, not published cut-offs: a distance up to the first is called met, up to the second roughly
# met. A quota draw of 40 people misses a margin of six levels by about 0.02.
MET, ROUGHLY = 0.05, 0.15
TOLD_APART = 0.65  # AUROC; 0.5 is chance
ORDERED = 0.7  # Kendall's tau
TARGET_FIGURES = ("margin_share", "prevalence", "mentions_per_note", "domain_share", "onset_years")
KEYWORD_GAIN = 0.1  # macro-F1 of keywords above the majority class, from which keywords are said to give labels away
MARK_WORDS = {
    "published": "published",
    "derived": "derived from published figures",
    "assumed": "assumed: an estimate of the task's authors",
}


def target_words(mark: str | None) -> str:
    return "" if mark is None else mark


def summary(inputs: Inputs) -> list[str]:
    """A few sentences for each arm, then what the targets rest on; empty without rows."""
    if not inputs.fidelity:
        return []
    sentences = []
    for arm in inputs.recipe.used_arms:
        rows = [row for row in inputs.fidelity if row["arm"] == arm]
        parts = [say(rows) for say in (_who, _when, _reading, _copying, _keywords)]
        sentences.append(f"{arm} {'; '.join(part for part in parts if part)}.")
    return sentences + _marks(inputs.fidelity)


def level_of(distance: float) -> str:
    return "meets" if distance <= MET else "roughly meets" if distance <= ROUGHLY else "misses"


def _values(rows: Sequence[Row], measure: str, keep: Callable[[Row], bool] = lambda _: True) -> list[Row]:
    return [row for row in rows if row["measure"] == measure and row["value"] is not None and keep(row)]


def _one(rows: Sequence[Row], measure: str, level: str = "all", variable: str | None = None) -> float | None:
    found = _values(rows, measure, lambda row: row["level"] == level and variable in (None, row["variable"]))
    return found[0]["value"] if found else None


def _who(rows: Sequence[Row]) -> str:
    margins = _values(rows, "margin_tv", lambda row: row["variable"] != "stage")
    if not margins:
        asked = [row for row in rows if row["measure"] == "margin_tv" and row["variable"] != "stage"]
        why = asked[0]["reason"] if asked else None
        return f"says nothing of who the patients are ({why})" if why else ""
    mean = sum(row["value"] for row in margins) / len(margins)
    worst = max(margins, key=lambda row: row["value"])
    most = f"{wording.number(worst['value'])}, {worst['variable'].replace('_', ' ')}"
    words = (f"{level_of(mean)} the margins of the population (total variation {wording.number(mean)} on average over "
             f"{len(margins)}, at most {most})")  # fmt: skip
    error = _one(rows, "prevalence_error", "mean")
    if error is not None:
        words += f" and is off by {100 * error:.1f} percentage points in the prevalence of a risk factor on average"
    return words


def _when(rows: Sequence[Row]) -> str:
    domains = _values(rows, "domain_tv")
    if not domains:
        return "shows no stage, so that nothing can be said of the course"
    mean = sum(row["value"] for row in domains) / len(domains)
    words = f"{level_of(mean)} the domain shares by stage (total variation {wording.number(mean)} on average)"
    tau = _one(rows, "onset_tau", "domain")
    if tau is None:
        return words + ", with too few dated first mentions to put in order"
    order = f"{'' if tau >= ORDERED else 'not quite ' if tau > 0 else 'not '}in the declared order"
    return f"{words}, with symptoms first stated {order} (tau {wording.number(tau, 2)})"


def _reading(rows: Sequence[Row]) -> str:
    auc = _one(rows, "two_sample_auc")
    if auc is None:
        return ""
    verdict = "is easily told from gold" if auc > TOLD_APART else "is hard to tell from gold"
    return f"{verdict} by its words (AUROC {wording.number(auc, 2)}; 0.5 is chance)"


def _copying(rows: Sequence[Row]) -> str:
    near = _values(rows, "near_gold_share")
    if not near:
        return ""
    n_near = {row["variable"]: round(row["value"] * row["n"]) for row in near}
    total = " and ".join(f"{n} of {split} gold" for split, n in sorted(n_near.items(), reverse=True))
    return f"has {total} sentences too near to its own" if any(n_near.values()) else "has no sentence too near to gold"


def _keywords(rows: Sequence[Row]) -> str:
    keyword, majority = _one(rows, "keyword_macro_f1"), _one(rows, "majority_macro_f1")
    gain = _one(rows, "text_over_keywords")
    if keyword is None or majority is None or gain is None:
        return ""
    gives = "give its labels away in part" if keyword - majority > KEYWORD_GAIN else "hardly give its labels away"
    scores = (
        f"{wording.number(keyword, 2)} from keywords alone",
        f"{wording.number(majority, 2)} without any",
        f"{wording.number(keyword + gain, 2)} from the whole sentence",
    )
    return f"keywords {gives} (macro-F1 {', '.join(scores)})"


def mark_counts(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Mark to number of different target figures that carry it; distances repeat the figures below them."""
    marks = {
        (row["measure"], row["variable"], row["level"]): row["mark"] for row in rows if row["measure"] in TARGET_FIGURES
    }
    counted = Counter(mark for mark in marks.values() if mark in MARK_WORDS)
    return [(mark, counted[mark]) for mark in MARK_WORDS if counted[mark]]


def _marks(rows: Sequence[Row]) -> list[str]:
    counted = dict(mark_counts(rows))
    total = sum(counted.values())
    if not total:
        return ["The task has neither population nor trajectory, so there is no target but gold."]
    words = ", ".join(f"{n} {mark}" for mark, n in counted.items())
    return [f"The targets are {total} figures: {words}. Meeting an assumed target proves the machinery, not realism."]
