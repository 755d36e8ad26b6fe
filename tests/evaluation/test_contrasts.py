from __future__ import annotations

from typing import Any

import pytest

from harness.evaluation.contrasts import adjust


def row(
    p: float | None,
    *,
    metric: str = "macro_f1",
    label: str = "all",
    variable: str = "overall",
    level: str = "all",
    against: str = "gold",
) -> dict[str, Any]:
    return {"p_value": p, "metric": metric, "class": label, "subgroup_variable": variable, "subgroup_level": level,
            "mix_b": against, "learner": "llm"}  # fmt: skip


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
        row(0.01, variable="sex", level="(interaction)"),
        row(0.03, variable="site", level="(interaction)"),
        row(0.02, against="(2 x 2)"),
        row(0.02, against="(2 x 2)", variable="sex"),
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
        ("holm:macro_f1, whether the gain differs between subgroup levels, llm (2 tests)", 0.02),
        ("holm:macro_f1, whether the gain differs between subgroup levels, llm (2 tests)", 0.03),
        ("holm:macro_f1 effects of the 2 x 2 overall, llm (1 test)", 0.02),
        ("bh:macro_f1 effects of the 2 x 2 by subgroup, llm (1 test)", 0.02),
    ]


def test_rows_without_a_p_value_belong_to_no_family_and_are_not_counted() -> None:
    first, without = adjust([row(0.03), row(None)])
    assert first["family"] == "holm:macro_f1 overall, llm (1 test)"
    assert without["family"] is None and without["p_adjusted"] is None
