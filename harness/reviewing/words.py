"""`review.md`: the results of a review for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.schemas.task import Task

INTRODUCTION = """# Review by people

Recipe `{recipe}`, task `{task}`. Brackets hold {confidence:g}% intervals: realism and kappa resample patients and
personas, shares are exact (Clopper-Pearson). A value that is undefined says why.
"""
HEAD = """| origin | realism, 1 to 5 | taken for real | told from gold | kappa with our label |
| --- | --- | --- | --- | --- |"""
NOTE = """
`told from gold` is the share of right guesses among gold and the arm's sentences: 0.5 where they cannot be told apart
and both are equally many, 1 where they always are. `taken for real` is read beside gold's own line, which a doubting
rater does not bring to 1 either.
"""


def results_markdown(results: Mapping[str, Any], task: Task) -> str:
    parts = [
        INTRODUCTION.format(recipe=results["recipe"], task=task.id, confidence=100 * results["confidence"]),
        *(_rater(name, one) for name, one in results["raters"].items()),
        *(_pair(one) for one in results["between_raters"]),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _rater(name: str, found: Mapping[str, Any]) -> str:
    lines = [f"## Rater {name}\n", f"{found['n_rated']} of {found['n_items']} sentences rated.\n", HEAD]
    for origin, realism in found["realism"].items():
        apart = found["told_apart"].get(origin)
        cells = [measured(realism, 2), measured(found["called_real"][origin]),
                 "-" if apart is None else measured(apart), measured(found["labels"][origin])]  # fmt: skip
        lines.append(f"| {origin} | {' | '.join(cells)} |")
    lines.append(f"| all | | | | {measured(found['labels']['all'])} |")
    return "\n".join(lines) + "\n" + NOTE


def _pair(found: Mapping[str, Any]) -> str:
    first, second = found["raters"]
    return (
        f"## {first} and {second}\n\nKappa of their labels: {measured(found['labels'])}. Kappa of their guesses of the "
        f"source: {measured(found['sources'])}.\n"
    )


def measured(one: Mapping[str, Any], digits: int = 3) -> str:
    """E.g. `0.612 [0.480, 0.731], n = 60`, or why there is no value."""
    if one["value"] is None:
        return f"undefined: {one['reason']}"
    bounds = "" if one["low"] is None else f" [{one['low']:.{digits}f}, {one['high']:.{digits}f}]"
    return f"{one['value']:.{digits}f}{bounds}, n = {one['n']}"
