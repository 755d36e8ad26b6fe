"""Whether the cheap learners would have given the same answer: they against the fine-tuned model, on the same mixes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.metrics.estimate import Estimate
from harness.metrics.rank_agreement import Agreement, agreement, rank_correlation
from harness.reports import wording
from harness.reports.inputs import ALL, CLASS_METRIC, LLM, MAIN_METRIC, OVERALL, Inputs, Row
from harness.reports.leaderboard import markdown_table, why_diverged

FEW = (
    10  # comparisons below which agreement may well be chance: 8 of 8 alike have p = 0.008 by a fair coin, 5 of 5 0.06
)
WHERE = {"overall": "macro-F1, all sentences", "class": "F1 of each class", "level": "macro-F1 of each subgroup level"}


@dataclass(frozen=True)
class Stood:
    """How one cheap learner stood in for the fine-tuned model."""

    learner: str
    name: str
    tau: Estimate
    n_mixes: int
    by_place: dict[str, Agreement]


def compared(inputs: Inputs) -> list[Stood]:
    """Every cheap learner that has a gain beside one of the fine-tuned model; empty where there is none."""
    if LLM not in inputs.learners:
        return []
    found = []
    for learner in inputs.learners:
        if learner not in (LLM, "majority"):
            pairs = {place: gains_at(inputs, learner, place) for place in WHERE}
            scores = _scores(inputs, learner)
            tau = rank_correlation([one for one, _ in scores], [other for _, other in scores])
            by_place = {place: agreement([a for *_, a, _ in rows], [b for *_, b in rows])
                        for place, rows in pairs.items()}  # fmt: skip
            found.append(Stood(learner, wording.learner_name(inputs.recipe, learner), tau, len(scores), by_place))
    return [one for one in found if one.by_place["overall"].n]


def proxy_markdown(inputs: Inputs) -> list[str]:
    """Lines for ablation.md; empty where nothing can be compared."""
    found = compared(inputs)
    if not found:
        return []
    head = ("learner", "where", "same direction", "mean distance of gains", "concordance")
    table = markdown_table(head, [[one.name, *cell] for one in found for cell in cells(one)], right_from=2)
    words = [f"- {proxy_words(one)}" for one in found]
    return ["## Would a cheap learner have said the same?", "", *words, "", table, ""]


def proxy_words(stood: Stood) -> str:
    """The finding in a sentence or two, with the warning that small numbers need."""
    overall = stood.by_place["overall"]
    order = f"Kendall's tau of the order of {stood.n_mixes} mixes is {wording.number(stood.tau.value, 2)}"
    if stood.tau.value is None:
        order = f"the order of mixes was not compared ({stood.tau.reason})"
    up = f"When {stood.name} saw a gain, the fine-tuned model did in {overall.n_up_in_both} of {overall.n_up}"
    if not overall.n_up:
        up = f"{stood.name} saw no gain in any of {overall.n} mixes"
    few = f" {overall.n} comparisons on the same patients prove nothing by themselves." if overall.n < FEW else ""
    return f"{up}; {order}.{few}"


def cells(stood: Stood) -> list[tuple[str, str, str, str]]:
    """Rows of the table: where, same direction, mean distance, concordance."""
    return [
        (
            WHERE[place],
            f"{one.n_same_direction} of {one.n}",
            _words(one.mean_distance),
            _words(one.concordance),
        )
        for place, one in stood.by_place.items()
    ]


def _words(estimate: Estimate) -> str:
    return wording.number(estimate.value) if estimate.value is not None else f"{estimate.status}: {estimate.reason}"


def _scores(inputs: Inputs, learner: str) -> list[tuple[float, float]]:
    sound = [mix for mix in inputs.mixes if not why_diverged(inputs, mix)]
    rows = [(inputs.metric(mix, learner), inputs.metric(mix, LLM)) for mix in sound]
    return [(own["value"], other["value"]) for own, other in rows if _ok(own) and _ok(other) and own and other]


def gains_at(inputs: Inputs, learner: str, place: str) -> list[tuple[Row, float, float]]:
    """Contrast of each comparison with the cheap learner's gain and the fine-tuned model's; no runs that diverged."""
    found: list[tuple[Row, float, float]] = []
    if why_diverged(inputs, inputs.reference):
        return found
    for row in inputs.contrasts:
        if row["learner"] != learner or row["mix_b"] != inputs.reference or _place(row) != place:
            continue
        other = inputs.contrast(row["mix_a"], LLM, metric=row["metric"], label=row["class"],
                                variable=row["subgroup_variable"], level=row["subgroup_level"])  # fmt: skip
        if _ok(row) and other is not None and _ok(other) and not why_diverged(inputs, row["mix_a"]):
            found.append((row, float(row["difference"]), float(other["difference"])))
    return found


def _place(row: Row) -> str | None:
    """Where a contrast was made; None for one that is no gain, or of another metric."""
    overall = row["subgroup_variable"] == OVERALL
    if row["metric"] == CLASS_METRIC and overall and row["class"] != ALL:
        return "class"
    if row["metric"] != MAIN_METRIC or row["class"] != ALL:
        return None
    return "overall" if overall else None if row["subgroup_level"].startswith("(") else "level"


def _ok(row: Row | None) -> bool:
    return row is not None and row["status"] == "ok" and row.get("value", row.get("difference")) is not None
