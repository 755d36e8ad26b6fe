"""What stands behind a value, in a line: shown where a reader points at it, taps it or moves to it by keyboard."""

from __future__ import annotations

from harness.reports import wording
from harness.reports.inputs import Row


def metric_tip(row: Row | None, confidence: str) -> str:
    """Sentences, patients, interval, and the reason where something is missing.

    Args:
        row: Of METRICS, or None where evaluation wrote none.
        confidence: Of the interval, e.g. `95%`.
    """
    if row is None:
        return "Evaluation wrote no value."
    return _line(_sizes(row), _interval(row, "value", confidence), _reason(row))


def contrast_tip(row: Row | None, confidence: str) -> str:
    """Patients, train seeds, interval, p, and the smallest difference that could have been found."""
    if row is None:
        return "Evaluation made no such comparison."
    return _line(_sizes(row), _interval(row, "difference", confidence), _tested(row), _detectable(row), _reason(row))


def plural(n: int | None, noun: str) -> str:
    """`1 patient`, `12 patients`; a dash for a number that is not told."""
    return f"{wording.count(n)} {noun}{'' if n == 1 else 's'}"


def _line(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _sizes(row: Row) -> str:
    sizes = [plural(row["n"], "sentence")] if "n" in row else []
    if row.get("n_positive") is not None:
        sizes.append(f"{wording.count(row['n_positive'])} of the class")
    sizes.append(plural(row["n_patients"], "patient"))
    if "n_train_seeds" in row:
        sizes.append(plural(row["n_train_seeds"], "train seed"))
    return f"{', '.join(sizes)}."


def _interval(row: Row, column: str, confidence: str) -> str:
    if row["status"] != "ok" or row[column] is None:
        return "No value."
    if row["ci_low"] is None or row["ci_high"] is None:
        return "No interval."
    say = wording.signed if column == "difference" else wording.number
    return f"{confidence} interval {say(row['ci_low'])} to {say(row['ci_high'])}."


def _tested(row: Row) -> str:
    if row["p_value"] is None:
        return ""
    adjusted = f", adjusted {wording.p_equals(row['p_adjusted'])}" if row["p_adjusted"] is not None else ""
    return f"{wording.p_equals(row['p_value'])}{adjusted}."


def _detectable(row: Row) -> str:
    found = row.get("detectable")
    return "" if found is None else f"Could have been found: {wording.number(found)} or more."


def _reason(row: Row) -> str:
    """Status where it is not ok, and whatever reason or remark evaluation left."""
    words = wording.status_words(row) if row["status"] != "ok" else row["reason"] or ""
    return f"{words[:1].upper()}{words[1:]}." if words else ""
