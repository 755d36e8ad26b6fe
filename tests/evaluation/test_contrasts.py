from __future__ import annotations

from typing import Any

import pytest

from harness.evaluation.contrasts import adjust


def row(p: float | None, *, metric: str = "macro_f1", label: str = "all", variable: str = "overall") -> dict[str, Any]:
    return {"p_value": p, "metric": metric, "class": label, "subgroup_variable": variable, "learner": "llm"}


def test_families_say_what_they_control_and_over_how_many_tests() -> None:
    rows = [
        row(0.01),
        row(0.04),
        row(0.02, metric="accuracy"),
        row(0.01, metric="f1", label="falls"),
        row(0.02, metric="f1", label="memory"),
        row(0.03, metric="f1", label="other"),
        row(0.01, variable="sex"),
        row(0.03, variable="site"),
    ]
    adjusted = [(one["family"], pytest.approx(one["p_adjusted"])) for one in adjust(rows)]
    assert adjusted == [
        ("holm:macro_f1 overall, llm (2 tests)", 0.02),
        ("holm:macro_f1 overall, llm (2 tests)", 0.04),
        ("holm:accuracy overall, llm (1 test)", 0.02),
        ("holm:f1 per class overall, llm (3 tests)", 0.03),
        ("holm:f1 per class overall, llm (3 tests)", 0.04),
        ("holm:f1 per class overall, llm (3 tests)", 0.04),
        ("bh:macro_f1 by subgroup, llm (2 tests)", 0.02),
        ("bh:macro_f1 by subgroup, llm (2 tests)", 0.03),
    ]


def test_rows_without_a_p_value_belong_to_no_family_and_are_not_counted() -> None:
    first, without = adjust([row(0.03), row(None)])
    assert first["family"] == "holm:macro_f1 overall, llm (1 test)"
    assert without["family"] is None and without["p_adjusted"] is None
