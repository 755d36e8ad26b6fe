"""Values and differences with their intervals, as the Markdown reports say them."""

from __future__ import annotations

from harness.reports import wording
from harness.reports.inputs import Row


def difference_words(row: Row | None) -> str:
    """`+0.031 [-0.010, +0.072], p = 0.120`, or why there is no value."""
    if row is None or row["status"] != "ok" or row["difference"] is None:
        return wording.status_words(row) or "undefined"
    bounds = wording.interval(row["ci_low"], row["ci_high"])
    tested = f", {wording.p_equals(row['p_adjusted'])}" if row["p_adjusted"] is not None else ""
    return f"{wording.signed(row['difference'])} {bounds}{tested}".replace(" ,", ",")


def value_words(row: Row | None) -> str:
    if row is None or row["status"] != "ok" or row["value"] is None:
        return wording.status_words(row) or "undefined"
    return f"{wording.number(row['value'])} {wording.interval(row['ci_low'], row['ci_high'])}".strip()
