"""What a synthetic sentence is worth in gold, in words: sentences, cells of tables, prices, lines of ablation.md."""

from __future__ import annotations

from typing import Any

from harness.metrics.exchange import break_even
from harness.metrics.learning_curve import DEFAULT_FIT, Fit
from harness.reports import wording
from harness.reports.inputs import LLM, Inputs, Row
from harness.reports.leaderboard import markdown_table, why_diverged
from harness.schemas.curve_mixes import mixes_of_exchange

CHECK_FIT: Fit = "monotone"  # beside the default
EXTRAPOLATED = "The number lies outside the amounts of gold that were tried, so it rests on the curve's formula."
NOT_TOLD = "The interval holds zero: that it is worth nothing is not ruled out."
INVERTED = {"": "", "at least ": "at most ", "at most ": "at least "}  # a price is one over a worth
BREAK_EVEN = (
    "Break-even: the price of an annotated sentence above which synthetic ones are the cheaper way to the same score, "
    "that is the price of a synthetic sentence over what one is worth."
)


def rows_of(inputs: Inputs, learner: str, fit: Fit = DEFAULT_FIT) -> list[Row]:
    """Of one learner and fit, in the order of the recipe's mixes; runs that diverged are worth nothing and say so."""
    found = [row for row in inputs.exchange if (row["learner"], row["fit"]) == (learner, fit)]
    if learner == LLM:
        found = [{**row, **_without_diverged(inputs, row)} for row in found]
    return sorted(found, key=lambda row: inputs.mixes.index(row["mix"]))


def _without_diverged(inputs: Inputs, row: Row) -> dict[str, Any]:
    """Cells of a row that rests on a run that diverged, of the mix itself or of a point of the curve."""
    on_curve = [mix.name for mix in mixes_of_exchange(inputs.recipe) if mix.regime == "TRTR"]
    diverged = [mix for mix in dict.fromkeys([row["mix"], *on_curve]) if why_diverged(inputs, mix)]
    if not diverged:
        return {}
    numbers = ("gold_equivalent", "per_sentence", "ci_low", "ci_high", "where")
    reason = f"a run of {' and one of '.join(diverged)} diverged"
    return dict.fromkeys(numbers) | {"status": "undefined", "reason": reason}


def worth_sentence(inputs: Inputs, row: Row) -> str:
    """One row in plain words: what a sentence is worth, with its interval and how far that can be believed."""
    arm = _arm_name(inputs, row["arm"])
    if row["n_gold"] is None:
        return f"What one {arm} sentence is worth in {row['mix']} is {wording.status_words(row)}."
    having = f"With {row['n_gold']:,} gold sentences" if row["n_gold"] else "Without gold"
    if row["per_sentence"] is None:
        return f"{having}, what one {arm} sentence is worth cannot be said: {row['reason']}."
    words = f"{having}, one {arm} sentence is worth {worth_words(row)} gold sentences."
    words += (f" {row['n_synthetic']:,} of them score what {bound_words(row)}{row['gold_equivalent']:,.0f} gold "
              "sentences alone would.")  # fmt: skip
    if row["where"] == "extrapolated":
        words += f" {EXTRAPOLATED}"
    return words + (f" {NOT_TOLD}" if _holds_zero(row) else "")


def _holds_zero(row: Row) -> bool:
    return row["ci_low"] is not None and row["ci_low"] <= 0 <= (0 if row["ci_high"] is None else row["ci_high"])


def bound_words(row: Row) -> str:
    """`at least ` or `at most ` where the score lies beyond what the curve can be read for."""
    if row["where"] != "bounded":
        return ""
    return "at most " if str(row["reason"]).startswith("at most") else "at least "


def worth_words(row: Row) -> str:
    """`at least 0.42 [0.10, no upper bound]`."""
    return f"{bound_words(row)}{wording.number(row['per_sentence'], 2)} {interval_words(row)}".strip()


def interval_words(row: Row) -> str:
    if row["ci_low"] is None:
        return "(no interval)"
    high = "no upper bound" if row["ci_high"] is None else wording.number(row["ci_high"], 2)
    return f"[{wording.number(row['ci_low'], 2)}, {high}]"


def _arm_name(inputs: Inputs, arm: str) -> str:
    return wording.SHORT_KINDS.get(wording.arm_kind(inputs.recipe.arms[arm]), arm)


def check_words(inputs: Inputs, row: Row) -> str:
    """The same by the other fit, or why it has none."""
    found = next((one for one in rows_of(inputs, row["learner"], CHECK_FIT) if one["mix"] == row["mix"]), None)
    if found is None or found["per_sentence"] is None:
        return wording.status_words(found)
    return worth_words(found)


# -- money -----------------------------------------------------------------------------------------


def synthetic_price(inputs: Inputs, arm: str) -> float | None:
    """What one kept sentence of an arm cost: as declared, else what servers were paid for it; None where unknown."""
    declared = inputs.recipe.file.evaluation.prices.synthetic_sentence
    if declared is not None:
        return declared
    spent, n_kept = inputs.spent_usd.get(arm), inputs.arms[arm].n_labelled
    return spent / n_kept if spent is not None and n_kept else None


def break_even_words(inputs: Inputs, row: Row) -> str:
    """Price of a gold sentence above which this arm's are the cheaper way; a formula where a price is missing."""
    rate = row["per_sentence"]
    if rate is None:
        return wording.NONE
    low, high = row["ci_low"], row["ci_high"]
    if rate <= 0:
        if low is not None and high is not None and high <= 0:
            return "none: not worth a gold sentence at any price"
        return "cannot be told: perhaps not worth a gold sentence at any price"
    price = synthetic_price(inputs, row["arm"])
    if price is None:
        return f"price of a synthetic sentence / {wording.number(rate, 2)}"
    found = break_even(price, rate, low=low, high=high)
    lowest = "0" if found.low is None else f"{found.low:.2g}"
    highest = "no upper bound" if found.high is None else f"{found.high:.2g}"
    prices = inputs.recipe.file.evaluation.prices
    words = f"{INVERTED[bound_words(row)]}{prices.currency} {found.price or 0:.2g}"
    words += f" [{lowest}, {highest}]" if low is not None else ""
    if prices.gold_sentence is None or low is None:
        return words
    return f"{words}; at {prices.gold_sentence:g}: {_cheaper(prices.gold_sentence, found.low, found.high)}"


def _cheaper(price: float, low: float | None, high: float | None) -> str:
    if high is not None and price > high:
        return "synthetic is cheaper"
    return "gold is cheaper" if low is not None and price < low else "cannot be told"


def price_words(inputs: Inputs) -> str:
    """How the break-even price comes about, and with which prices."""
    prices = inputs.recipe.file.evaluation.prices
    known = {arm: price for arm in inputs.arms if (price := synthetic_price(inputs, arm)) is not None}
    if not known:
        return f"{BREAK_EVEN} The recipe gives no price for them (evaluation.prices, or spending.prices for servers)."
    source = "declared" if prices.synthetic_sentence is not None else "paid to servers"
    told = ", ".join(f"{arm} {prices.currency} {price:.2g}" for arm, price in known.items())
    return f"{BREAK_EVEN} A synthetic sentence ({source}): {told}."


# -- tables ----------------------------------------------------------------------------------------


def table_row(inputs: Inputs, row: Row) -> dict[str, Any]:
    """Cells of one mix, for the page and for Markdown."""
    return {
        "index": inputs.mixes.index(row["mix"]),
        "row": row,
        "equivalent": wording.NONE
        if row["gold_equivalent"] is None
        else f"{bound_words(row)}{row['gold_equivalent']:,.0f}",
        "worth": f"{bound_words(row)}{wording.number(row['per_sentence'], 2)}",
        "bounds": interval_words(row) if row["per_sentence"] is not None else wording.status_words(row),
        "where": row["where"] or "",
        "check": check_words(inputs, row),
        "break_even": break_even_words(inputs, row),
        "tip": worth_sentence(inputs, row),
    }


def exchange_markdown(inputs: Inputs, learner: str) -> list[str]:
    """Lines for ablation.md; empty where the recipe has no learning curve."""
    found = rows_of(inputs, learner)
    if not found:
        return []
    head = ("mix", "gold", "synthetic", "macro-F1", "as good as gold of", "worth of one sentence",
            "by the monotone curve", "break-even price of a gold sentence")  # fmt: skip
    cells = [_markdown_cells(table_row(inputs, row)) for row in found]
    lines = ["### What one synthetic sentence is worth in gold", "", markdown_table(head, cells), ""]
    return [*lines, f"{price_words(inputs)} How this is computed: docs/exchange_rate.md.", ""]


def _markdown_cells(one: dict[str, Any]) -> list[str]:
    row = one["row"]
    sizes = [wording.count(row["n_gold"]), wording.count(row["n_synthetic"])]
    worth = one["bounds"] if row["per_sentence"] is None else f"{one['worth']} {one['bounds']}"
    where = f" ({one['where']})" if one["where"] not in ("", "inside") else ""
    return [f"`{row['mix']}`", *sizes, wording.number(row["score"]), one["equivalent"] + where, worth, one["check"],
            one["break_even"]]  # fmt: skip
