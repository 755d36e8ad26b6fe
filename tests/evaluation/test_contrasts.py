from __future__ import annotations

from typing import Any

import pytest

from harness.evaluation.contrasts import adjust
from harness.metrics.power import detectable
from harness.metrics.significance import smallest_permutation_p
from harness.metrics.uncertainty import Spread


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
            "mix_b": against, "learner": "llm", "se_patients": 0.02, "se_seeds": 0.01, "seeds_taken_off": 0.0,
            "df_patients": 30.0, "n_train_seeds": 3, "n_patients": 31, "smallest_p": None, "reason": None}  # fmt: skip


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
    adjusted = [(one["family"], pytest.approx(one["p_adjusted"])) for one in adjust(rows, confidence=0.95)]
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
    first, without = adjust([row(0.03), row(None)], confidence=0.95)
    assert first["family"] == "holm:macro_f1 overall, llm (1 test)"
    assert without["family"] is None and without["p_adjusted"] is None


def test_what_is_detectable_pays_for_the_size_of_its_family() -> None:
    spread = Spread(0.02, 0.01, 30.0, 2)
    alone, *four = adjust([row(0.9), *(row(0.9, metric="accuracy") for _ in range(4))], confidence=0.95)
    assert alone["detectable"] == pytest.approx(detectable(spread, confidence=0.95))
    assert {one["detectable"] for one in four} == {detectable(spread, confidence=1 - 0.05 / 4)}
    assert four[0]["detectable"] > alone["detectable"]


def test_where_no_outcome_would_be_significant_nothing_is_detectable_and_the_reason_says_so() -> None:
    # Five patients change sides in 32 ways, two of which are what was seen: 2 / 32, above 0.05
    smallest = smallest_permutation_p(5, 2000)
    assert smallest == pytest.approx(2 / 32, abs=0.001)
    [few] = adjust([row(0.07) | {"smallest_p": smallest, "n_patients": 5}], confidence=0.95)
    assert few["detectable"] is None
    assert few["reason"] == (
        "no difference can be significant: p is at least 0.063 with 5 patients, and 1 test asks for less than 0.05"
    )
    [enough] = adjust([row(0.07) | {"smallest_p": smallest_permutation_p(6, 2000)}], confidence=0.95)
    assert enough["detectable"] is not None and enough["reason"] is None  # 2 / 64
