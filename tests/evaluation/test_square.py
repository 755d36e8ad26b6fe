from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from invented_panel import invented_panel, invented_runs
from toy_study import TASK

from harness.evaluation.learners import evaluate
from harness.evaluation.square import EFFECTS
from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe, RecipeFile
from harness.schemas.recipe_parts import Evaluation
from harness.schemas.square import CELLS, find_square
from harness.schemas.task import Task, TaskFile

SIGHT = {
    "unguided": ["label"],
    "statistical": ["label", "persona"],
    "semantic": ["label", "trajectory"],
    "dualalign": ["label", "persona", "trajectory"],
}
SQUARE = {(False, False): "none", (True, False): "people", (False, True): "course", (True, True): "both"}


def recipe_of(mixes: Mapping[str, Sequence[dict[str, Any]]], folder: Path) -> Recipe:
    arms = {name: {"sees": seen, "n_sentences": 4, "backend": {"kind": "embedded"}} for name, seen in SIGHT.items()}
    file = {"task": "toy", "seed": 1, "arms": arms, "mixes": list(mixes)}
    return Recipe(
        name="toy",
        path=folder / "toy.yaml",
        file=RecipeFile.model_validate(file),
        task=Task(file=TaskFile.model_validate(TASK), folder=folder),
        mixes=tuple(Mix.model_validate({"name": name, "sources": sources}) for name, sources in mixes.items()),
    )


def with_gold(arm: str, share: float = 0.5) -> list[dict[str, Any]]:
    return [{"origin": "gold", "share": 1 - share}, {"origin": arm, "share": share}]


def alone(arm: str) -> list[dict[str, Any]]:
    return [{"origin": arm, "repeat": 1}]


def test_the_square_is_four_mixes_that_differ_in_their_arm_alone(tmp_path: Path) -> None:
    mixes = {
        "gold": alone("gold"),
        **{arm: alone(arm) for arm in SIGHT},
        **{f"g_{arm}": with_gold(arm) for arm in SIGHT},
    }
    assert find_square(recipe_of(mixes, tmp_path)) == {
        (False, False): "g_unguided",
        (True, False): "g_statistical",
        (False, True): "g_semantic",
        (True, True): "g_dualalign",
    }
    three = {name: sources for name, sources in mixes.items() if name != "g_semantic"}
    assert (find_square(recipe_of(three, tmp_path)) or {}).get((True, True)) == "dualalign"  # the arms alone are four


def test_gold_of_fewer_patients_is_another_frame(tmp_path: Path) -> None:
    fewer = {arm: [{"origin": "gold", "share": 0.5, "patients": 0.1}, {"origin": arm, "share": 0.5}] for arm in SIGHT}
    mixes = {f"f_{arm}": sources for arm, sources in list(fewer.items())[:2]}
    mixes |= {arm: with_gold(arm) for arm in list(SIGHT)[2:]}
    assert find_square(recipe_of(mixes, tmp_path)) is None


def test_mixes_of_other_shares_make_no_square(tmp_path: Path) -> None:
    mixes = {arm: with_gold(arm, 0.5 if arm != "semantic" else 0.3) for arm in SIGHT}
    assert find_square(recipe_of(mixes, tmp_path)) is None


def test_effects_are_contrasts_that_hand_computation_gives() -> None:
    values = dict(zip(CELLS, (0.50, 0.54, 0.53, 0.63), strict=True))  # none, statistical, semantic, both
    found = {name: sum(weights[cell] * values[cell] for cell in CELLS) for name, weights in EFFECTS.items()}
    # statistical: (0.04 + 0.10) / 2; semantic: (0.03 + 0.09) / 2; interaction: 0.10 - 0.04
    assert found == pytest.approx({"(statistical)": 0.07, "(semantic)": 0.06, "(interaction)": 0.06})


def test_effects_have_intervals_overall_by_class_and_by_level() -> None:
    panel = invented_panel(30, {"sex": ("female", "male")})
    runs = [invented_runs(panel, mix, 1.0 + statistical, n_seeds=2) for (statistical, _), mix in SQUARE.items()]
    metrics, contrasts = evaluate(
        panel, {"llm": runs}, settings=Evaluation(n_bootstrap=300, reference_mix="none"), root_seed=1, square=SQUARE
    )
    rows = {
        (row["mix_a"], row["metric"], row["class"], row["subgroup_level"]): row
        for row in contrasts
        if row["mix_b"] == "(2 x 2)"
    }
    assert {place[1:] for place in rows} == {
        *((name, "all", "all") for name in ("macro_f1", "weighted_f1", "accuracy")),
        *(("f1", label, "all") for label in panel.label_ids),
        *((name, "all", level) for name in ("macro_f1", "accuracy") for level in ("female", "male")),
    }
    value = {
        row["mix"]: row["value"]
        for row in metrics
        if (row["metric"], row["subgroup_level"], row["train_seed"]) == ("macro_f1", "female", "all")
    }
    expected = (value["people"] + value["both"] - value["none"] - value["course"]) / 2
    row = rows["(statistical)", "macro_f1", "all", "female"]
    assert row["difference"] == pytest.approx(expected)
    assert row["ci_low"] < row["difference"] < row["ci_high"]
    strong, weak = (rows[effect, "macro_f1", "all", "all"] for effect in ("(statistical)", "(semantic)"))
    assert strong["p_adjusted"] < 0.01 < weak["p_adjusted"]
    assert strong["family"] == "holm:macro_f1 effects of the 2 x 2 overall, llm (3 tests)"
