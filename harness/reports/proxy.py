"""Section of the page on whether the cheap learners would have given the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.reports.inputs import Inputs
from harness.reports.proxy_words import WHERE, cells, compared, gains_at, proxy_words
from harness.reports.sections import Download, download

PAIR_COLUMNS = ("learner", "mix", "class", "subgroup_variable", "subgroup_level", "gain", "gain_fine_tuned")


def proxy_section(inputs: Inputs) -> dict[str, Any] | None:
    """What the page shows; None where nothing can be compared."""
    found = compared(inputs)
    if not found:
        return None
    return {
        "rows": [
            {"learner": one.learner, "name": one.name, "words": proxy_words(one), "cells": cells(one)} for one in found
        ],
        "download": _download(inputs, [one.learner for one in found]),
    }


def _download(inputs: Inputs, learners: Sequence[str]) -> Download:
    rows = [
        {"learner": learner, "mix": row["mix_a"], "class": row["class"], "subgroup_variable": row["subgroup_variable"],
         "subgroup_level": row["subgroup_level"], "gain": own, "gain_fine_tuned": other}
        for learner in learners for place in WHERE for row, own, other in gains_at(inputs, learner, place)
    ]  # fmt: skip
    return download("proxy_agreement", PAIR_COLUMNS, rows)
