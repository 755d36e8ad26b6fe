"""The verdict: what the numbers allow one to say, in two plain sentences, and no more than that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from harness.reports import wording
from harness.reports.inputs import LLM, Inputs, Row
from harness.reports.leaderboard import EQUAL, budget_words, why_diverged
from harness.schemas.square import arms_of, frame_of

INTERACTION = "(interaction)"  # the level of the rows that ask whether a gain differs between levels
Kind = Literal["better", "worse", "no evidence", "too small", "not computed"]
BASELINES = {
    "minilm": "logistic regression on MiniLM vectors of the same mix",
    "tfidf": "TF-IDF with logistic regression on the same mix",
    "majority": "the majority class",
}


@dataclass(frozen=True)
class MixVerdict:
    """One mix against the reference mix."""

    mix: str
    kind: Kind
    words: str
    """What can be said, as the end of "gold_dualalign: ..."."""


@dataclass(frozen=True)
class Verdict:
    kind: Kind
    """Of the main mix; colours the box."""
    sentences: tuple[str, str]
    mixes: tuple[MixVerdict, ...]
    remarks: tuple[str, ...]
    """What a reader must know beside the verdict: one seed, unequal budgets, the test that was used."""


def judge(inputs: Inputs, mix: str, learner: str | None = None) -> MixVerdict:
    """Read one contrast (macro-F1, overall) of the main learner, or of another, as a verdict.

    A run that diverged, of the mix or of the reference, is no ground for any verdict.

    Without a difference that is significant, `no evidence` says that one that matters (`relevant_difference` of the
    recipe) would have been found with probability 0.8, and `too small` that it would not. The difference that was
    observed has no part in that: it is nearly always below the detectable one where it is not significant (Hoenig and
    Heisey, The American Statistician 55 (2001) 19-24).
    """
    learner = learner or inputs.main_learner
    diverged = [one for one in (mix, inputs.reference) if learner == LLM and why_diverged(inputs, one)]
    if diverged:
        return MixVerdict(mix, "not computed", f"not been compared: a run of {' and one of '.join(diverged)} diverged")
    row = inputs.contrast(mix, learner)
    if row is None:
        return MixVerdict(mix, "not computed", "not been compared")
    if row["status"] == wording.SUPPRESSED:
        return MixVerdict(mix, "not computed", f"been withheld ({row['reason']})")
    if row["status"] != "ok" or row["difference"] is None or row["ci_low"] is None or row["ci_high"] is None:
        return MixVerdict(mix, "too small", f"too small to tell ({row['reason'] or row['status']})")
    level = wording.confidence(inputs.recipe)
    bounds = f"{wording.signed(row['ci_low'])} to {wording.signed(row['ci_high'])}"
    p = row["p_adjusted"]
    if p is not None and p < wording.significance(inputs.recipe) and row["difference"] != 0:
        kind: Kind = "better" if row["difference"] > 0 else "worse"
        size = wording.number(abs(row["difference"]))
        words = f"{kind} by {size} ({level} interval {bounds}, adjusted {wording.p_equals(p)})"
        return MixVerdict(mix, kind, words)
    tested = f"adjusted {wording.p_equals(p)}" if p is not None else "no test"
    seen = f"{wording.signed(row['difference'])}, and the {level} interval runs from {bounds} ({tested})"
    return _without_difference(inputs, mix, row, seen)


def _without_difference(inputs: Inputs, mix: str, row: Row, seen: str) -> MixVerdict:
    """Whether a test set that found nothing could have found what matters; `seen` is what it saw, in words."""
    detectable = row["detectable"]
    if detectable is None:
        return MixVerdict(mix, "too small", f"too small to tell: {seen}; {row['reason'] or 'nothing could be tested'}")
    matters = inputs.recipe.file.evaluation.relevant_difference
    could = f"could have found {wording.number(detectable)} or more"
    if detectable > matters:
        return MixVerdict(mix, "too small", f"too small to tell: {seen}; it {could}, and {matters:g} would matter")
    return MixVerdict(mix, "no evidence", f"no evidence of a difference: {seen}; this test set {could}")


def main_mix(inputs: Inputs) -> str | None:
    """The mix the verdict is about: the one whose arms see most (DualAlign where there is one), then the last named."""
    best: tuple[int, int] | None = None
    chosen: str | None = None
    for position, mix in enumerate(inputs.recipe.mixes):
        if mix.name == inputs.reference:
            continue
        seen = {sight for origin in mix.origins if origin in inputs.recipe.arms
                for sight in inputs.recipe.arms[origin].sight or ()}  # fmt: skip
        has_reference = inputs.reference in mix.origins
        rank = (2 * len(seen) + has_reference, position)
        if best is None or rank > best:
            best, chosen = rank, mix.name
    return chosen


def _distance(inputs: Inputs, mix: str, main: str | None) -> int:
    """How far a mix is from the main one: itself, the same with another arm, other synthetic sentences, gold alone."""
    recipe, found = inputs.recipe, inputs.recipe.mix(mix)
    if mix == main:
        return 0
    frame = frame_of(recipe, found)
    if main is not None and frame is not None and frame == frame_of(recipe, recipe.mix(main)):
        return 1
    return 2 if arms_of(recipe, found) else 3


def verdict(inputs: Inputs) -> Verdict:
    """Two sentences: the mixes against the reference, and the fine-tuned model against the baselines."""
    main = main_mix(inputs)
    judged = tuple(judge(inputs, mix) for mix in inputs.other_mixes)
    ordered = sorted(judged, key=lambda one: _distance(inputs, one.mix, main))
    kind = ordered[0].kind if ordered else "not computed"
    return Verdict(
        kind=kind,
        sentences=(_first(inputs, ordered), _second(inputs, main or inputs.reference)),
        mixes=judged,
        remarks=tuple(_remarks(inputs)),
    )


OPENINGS: dict[Kind, str] = {
    "better": "{mix} is",
    "worse": "{mix} is",
    "no evidence": "{mix} shows",
    "too small": "for {mix} this test set is",
    "not computed": "{mix} has",
}
COUNTED: dict[Kind, str] = {
    "better": "better",
    "worse": "worse",
    "no evidence": "without evidence of a difference",
    "too small": "too small to tell",
    "not computed": "not compared",
}


def _first(inputs: Inputs, ordered: Sequence[MixVerdict]) -> str:
    if not ordered:
        return f"Only {inputs.reference} was trained on, so there is nothing to compare it with."
    opening = (
        f"Macro-F1 of {_main_words(inputs)} on the "
        f"{wording.SPLIT_NAMES[inputs.split]} patients, against training on {inputs.reference}: "
    )
    clauses = [f"{OPENINGS[one.kind].format(mix=one.mix)} {one.words}" for one in ordered[:2]]
    rest = ordered[2:]
    if rest:
        counts = {kind: sum(one.kind == kind for one in rest) for kind in COUNTED}
        listed = ", ".join(f"{n} {COUNTED[kind]}" for kind, n in counts.items() if n)
        clauses.append(f"among the other mixes ({len(rest)}): {listed}")
    return opening + "; ".join(clauses) + "."


def _main_words(inputs: Inputs) -> str:
    if inputs.main_learner == LLM:
        return f"the fine-tuned {wording.base_model_name(inputs.recipe)}"
    return wording.learner_name(inputs.recipe, inputs.main_learner)


def _second(inputs: Inputs, mix: str) -> str:
    main = inputs.main_learner
    own = inputs.metric(mix, main)
    name = _main_words(inputs)
    if own is None or not _has_value(own):
        return f"The score of {name} on {mix} is missing ({wording.status_words(own)})."
    others = {what: inputs.metric(mix, learner) for learner, what in BASELINES.items() if learner != main}
    scored = {what: row for what, row in others.items() if _has_value(row)}
    reached = f"Trained on {mix}, {name} reaches {wording.number(own['value'])}"
    if not scored:
        return f"{reached}; no baseline was scored beside it."
    parts = [f"{_beside(own, row)} {what} at {wording.number(row['value'])}" for what, row in scored.items() if row]
    return f"{reached}, {' and '.join(parts)}."


def _has_value(row: Row | None) -> bool:
    return row is not None and row["status"] == "ok" and row["value"] is not None


def _beside(own: Row, other: Row) -> str:
    """Above, below or level with; and whether the two intervals share a value."""
    gap = round(own["value"], 3) - round(other["value"], 3)
    if gap == 0:
        return "level with"
    word = "above" if gap > 0 else "below"
    bounds = (own["ci_low"], own["ci_high"], other["ci_low"], other["ci_high"])
    if None in bounds:
        return f"{word} (one of the two without an interval)"
    if own["ci_low"] > other["ci_high"] or other["ci_low"] > own["ci_high"]:
        return word
    return f"{word} (with overlapping intervals)"


def _remarks(inputs: Inputs) -> list[str]:
    remarks = []
    if not inputs.recipe.proxy and {len(inputs.train_seeds(mix, LLM)) for mix in inputs.mixes} <= {0, 1}:
        remarks.append("One train seed per mix: how much a second training would differ is in none of these intervals.")
    remarks += [
        f"{mix}: {words}." for mix in inputs.other_mixes if (words := budget_words(inputs, mix)) not in ("", EQUAL)
    ]
    remarks += _interval_remark(inputs)
    main = main_mix(inputs)
    remarks += _level_remarks(inputs, main) if main else []
    if "tfidf" in inputs.learners[1:]:
        remarks += _tfidf_remark(inputs)
    remarks.append("Models are compared with the baselines by their intervals only; no test was made between learners.")
    return remarks


def _interval_remark(inputs: Inputs) -> list[str]:
    """Why a verdict may not be what its interval suggests, where that happens."""
    judged = [
        (one, inputs.contrast(one.mix, inputs.main_learner)) for one in map(partial(judge, inputs), inputs.other_mixes)
    ]
    apart = [
        one.mix
        for one, row in judged
        if row is not None
        and one.kind != "not computed"
        and row["ci_low"] is not None
        and row["ci_high"] is not None
        and (one.kind in ("better", "worse")) == (row["ci_low"] <= 0 <= row["ci_high"])
    ]
    if not apart:
        return []
    return [f"{', '.join(apart)}: verdict and interval differ, because the verdict follows the adjusted p-value (the "
            "two mixes' answers exchanged patient by patient, and a price paid for the number of comparisons), while "
            "an interval is about one difference alone."]  # fmt: skip


def _tfidf_remark(inputs: Inputs) -> list[str]:
    """What the same mixes do for the baseline: a gain that shows in one learner only says something."""
    said = []
    for mix in inputs.other_mixes:
        row, kind = inputs.contrast(mix, "tfidf"), judge(inputs, mix, "tfidf").kind
        if row is not None:
            said.append(f"{mix} {wording.signed(row['difference'])} ({COUNTED[kind]})")
    learner = wording.learner_name(inputs.recipe, "tfidf")
    return [f"Against {inputs.reference} when {learner} learns the same mixes: {', '.join(said)}."] if said else []


def _level_remarks(inputs: Inputs, mix: str) -> list[str]:
    """For whom: the subgroup variables between whose levels the gain of a mix differs, and those where it was asked."""
    rows = [
        row
        for variable in inputs.subgroup_variables
        if (row := inputs.contrast(mix, inputs.main_learner, variable=variable, level=INTERACTION))
        and row["p_adjusted"] is not None
    ]
    titles = {row["subgroup_variable"]: wording.variable_title(inputs.recipe, row["subgroup_variable"]) for row in rows}
    level = wording.significance(inputs.recipe)
    differing = [row for row in rows if row["p_adjusted"] < level]
    said = [
        f"The gain of {mix} differs by {titles[row['subgroup_variable']].lower()} "
        f"({extreme_levels(inputs, row)}; adjusted {wording.p_equals(row['p_adjusted'])})."
        for row in differing
    ]
    others = [titles[row["subgroup_variable"]].lower() for row in rows if row not in differing]
    if others:
        said.append(f"No evidence that the gain of {mix} differs by {', '.join(others)}.")
    return said


def interaction_words(inputs: Inputs, row: Row) -> str:
    """What one test of "does the gain differ between levels" allows one to say."""
    if row["status"] != "ok" or row["difference"] is None:
        return wording.status_words(row) or "undefined"
    p = row["p_adjusted"]
    if p is None:
        return "not tested"
    if p < wording.significance(inputs.recipe):
        return "the gain differs between levels"
    return "no evidence that the gain differs"


def extreme_levels(inputs: Inputs, row: Row) -> str:
    """The row's reason, `largest gain: a; smallest: b`, with the levels' titles for their ids."""
    parts = (row["reason"] or "").split("; ")
    titles = {level: wording.level_title(inputs.recipe, row["subgroup_variable"], level)
              for level in inputs.levels(row["subgroup_variable"])}  # fmt: skip
    said = [part.rpartition(": ") for part in parts if row["difference"] is not None]
    return "; ".join(f"{before}{separator}{titles.get(level, level)}" for before, separator, level in said)
