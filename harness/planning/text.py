"""A plan as lines of text for people."""

from __future__ import annotations

from collections.abc import Sequence

from harness.generation.forecast import BYTES_PER_TOKEN, Amount, Rate
from harness.planning.generation import Forecast, Plan
from harness.planning.training_facts import devices

COLUMNS = ("what", "model", "texts", "requests", "prompt tokens", "answer tokens", "US$", "time")
LEFT = 2  # leading columns that are words
NOT_KNOWN = "-"
NOTHING = "generation  nothing to ask: all that the mixes draw from is gold or a file"


def plan_lines(plan: Plan) -> list[str]:
    """The plan as a table with totals, then caps, then what the figures rest on; one line where nothing is asked."""
    if not plan.forecasts:
        return [NOTHING]
    rows = [cells for one in plan.forecasts for cells in _rows(one)]
    left = [one for one in plan.forecasts if not one.is_finished]
    if not left:
        return [*_table([COLUMNS, *rows]), "", *_caps(plan)]
    basis = ["these figures rest on:", *(_rests_on(one) for one in left)]
    return [*_table([COLUMNS, *rows, *_totals(left)]), "", *_caps(plan), "", *basis]


def training_hint() -> str:
    """How to have training planned too."""
    names = ", ".join(["cpu", *devices().devices])
    return f"training    add --device NAME for memory, updates and tokens, and for hours on a GPU; names: {names}"


def _rows(one: Forecast) -> list[tuple[str, ...]]:
    ask = one.ask
    if one.is_finished:
        return [(ask.title, ask.model, f"{ask.n_texts:,}", "finished", NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN)]
    n_texts = f"{ask.n_texts:,}"
    return [
        (ask.title, ask.model, n_texts, *_amounts(one.expected)),
        ("", "at most", "", *_amounts(one.at_most)),
    ]


def _totals(left: Sequence[Forecast]) -> list[tuple[str, ...]]:
    expected, most = _total([one.expected for one in left]), _total([one.at_most for one in left])
    return [("total", "", "", *_amounts(expected)), ("", "at most", "", *_amounts(most))]


def _total(amounts: Sequence[Amount]) -> Amount:
    """Sums; money and time are those of the parts that have them, one after another."""
    usd = [one.usd for one in amounts if one.usd is not None]
    seconds = [one.seconds for one in amounts if one.seconds is not None]
    return Amount(
        n_requests=sum(one.n_requests for one in amounts),
        n_prompt_tokens=sum(one.n_prompt_tokens for one in amounts),
        n_completion_tokens=sum(one.n_completion_tokens for one in amounts),
        usd=sum(usd) if usd else None,
        seconds=sum(seconds) if seconds else None,
    )


def _amounts(amount: Amount) -> tuple[str, ...]:
    return (
        f"{amount.n_requests:,.0f}",
        f"{amount.n_prompt_tokens:,.0f}",
        f"{amount.n_completion_tokens:,.0f}",
        NOT_KNOWN if amount.usd is None else f"{amount.usd:,.2f}",
        NOT_KNOWN if amount.seconds is None else duration(amount.seconds),
    )


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if place < LEFT else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _caps(plan: Plan) -> list[str]:
    """Each cap beside what was spent and what is still to come; servers alone are counted."""
    metered = [one for one in plan.forecasts if one.ask.is_metered and not one.is_finished]
    expected, most = _total([one.expected for one in metered]), _total([one.at_most for one in metered])
    n_spent = sum(one.n_tokens for one in plan.spent.values())
    lines = [_cap("max_tokens_total", plan.caps.max_tokens_total, n_spent, (expected.n_tokens, most.n_tokens))]
    usd = plan.caps.usd(plan.spent)
    lines.append(_cap("max_usd", plan.caps.max_usd, usd or 0.0, (expected.usd or 0.0, most.usd or 0.0)))
    unpriced = sorted({one.ask.model for one in metered if one.ask.price is None})
    if unpriced:
        lines.append(f"no price for {', '.join(unpriced)}: their money is not in the figures (spending.prices)")
    return lines


def _cap(name: str, cap: float | None, spent: float, to_come: tuple[float, float]) -> str:
    def shown(value: float) -> str:
        return f"${value:,.2f}" if name == "max_usd" else f"{value:,.0f} tokens"

    told = f"spending.{name}: {shown(spent)} spent, {shown(to_come[0])} expected, {shown(to_come[1])} at most"
    if cap is None:
        return f"{told}; no cap"
    left = cap - spent
    verdict = "enough" if to_come[1] <= left else "enough if as expected" if to_come[0] <= left else "NOT enough"
    return f"{told}; cap {shown(cap)}: {verdict}"


def _rests_on(one: Forecast) -> str:
    ask, rates = one.ask, one.rates
    counted = (
        "counted with the tokenizer" if ask.is_counted else f"taken at {BYTES_PER_TOKEN:g} bytes a token (assumed)"
    )
    parts = [
        f"{rates.acceptance.value:.0%} of answers kept ({rates.acceptance.basis}), at most {ask.max_attempts} tries",
        f"prompts {counted}",
        f"{_rate(rates.completion_tokens)} tokens an answer, at most {ask.max_new_tokens}",
        f"{_rate(rates.tokens_per_s)} tokens a second",
    ]
    if one.n_kept:
        parts.append(f"{one.n_kept:,} replies are kept from before and not asked for again")
    return f"  {ask.title}: {'; '.join(parts)}"


def _rate(rate: Rate) -> str:
    return f"{rate.value:.0f} ({rate.basis})"
