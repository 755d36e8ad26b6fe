"""Mixes of a recipe become points of a curve and readings off it; the table is written where there is a curve."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from invented_panel import invented_panel, invented_runs
from toy_study import TASK, Study, toy_gold, toy_predictions

from harness.evaluation.exchange import MixSize, exchange_rows, size_of
from harness.evaluation.learners import look_at_learners
from harness.evaluation.stage import units
from harness.schemas.curve_mixes import mixes_of_exchange
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.recipe_parts import Evaluation
from harness.schemas.tables import EXCHANGE, TRAIN
from harness.store import Run, read_rows, write_table

GOLD_SIZES = {"gold_10": 20, "gold_25": 50, "gold_50": 100, "gold": 200}
SKILL = {"gold_10": 0.6, "gold_25": 1.2, "gold_50": 1.8, "gold": 2.4, "gold_25_arm": 1.5, "gold_arm": 6.0}
SIZES = {name: MixSize(None, n, 0) for name, n in GOLD_SIZES.items()} | {
    "gold_25_arm": MixSize("arm", 50, 40),
    "gold_arm": MixSize("arm", 200, 40),
}
Rows = dict[tuple[str, str], dict[str, Any]]


def rows_of(skill: Mapping[str, float], sizes: Mapping[str, MixSize] = SIZES, *, min_patients: int = 5) -> Rows:
    panel = invented_panel(60, {}, n_sentences=12)
    runs = {"llm": [invented_runs(panel, mix, one, n_seeds=2) for mix, one in skill.items()]}
    settings = Evaluation(n_bootstrap=300, reference_mix="gold", min_patients=min_patients, subgroups=())
    overall = look_at_learners(panel, runs, settings=settings, root_seed=3)["llm"].overall
    return {(row["mix"], row["fit"]): row for row in exchange_rows(overall, sizes, learner="llm", confidence=0.95)}


def test_every_mix_with_the_arm_is_read_off_both_fits() -> None:
    rows = rows_of(SKILL)
    assert set(rows) == {(mix, fit) for mix in ("gold_25_arm", "gold_arm") for fit in ("power", "monotone")}
    for fit in ("power", "monotone"):
        row = rows["gold_25_arm", fit]
        assert (row["arm"], row["n_gold"], row["n_synthetic"], row["where"]) == ("arm", 50, 40, "inside")
        assert 50 < row["gold_equivalent"] < 110
        assert row["per_sentence"] == pytest.approx((row["gold_equivalent"] - 50) / 40)
        assert row["ci_low"] < row["per_sentence"] < row["ci_high"]
        assert row["status"] == "ok"


def test_the_monotone_reading_is_that_of_the_scores_in_the_table() -> None:
    """Scores rise here, so the curve goes through them and the reading can be had by hand."""
    panel = invented_panel(60, {}, n_sentences=12)
    runs = {"llm": [invented_runs(panel, mix, one, n_seeds=2) for mix, one in SKILL.items()]}
    found = look_at_learners(panel, runs, settings=Evaluation(n_bootstrap=300, subgroups=()), root_seed=3)["llm"]
    score = {
        row["mix"]: row["value"] for row in found.metrics if row["metric"] == "macro_f1" and row["train_seed"] == "all"
    }
    low, high = score["gold_25"], score["gold_50"]
    assert low < score["gold_25_arm"] < high
    part = (score["gold_25_arm"] - low) / (high - low)
    expected = 50 * (100 / 50) ** part
    [row] = [
        row for row in exchange_rows(found.overall, SIZES, learner="llm", confidence=0.95)
        if (row["mix"], row["fit"]) == ("gold_25_arm", "monotone")
    ]  # fmt: skip
    assert row["score"] == pytest.approx(score["gold_25_arm"])
    assert row["gold_equivalent"] == pytest.approx(expected)


def test_a_score_above_all_gold_is_a_bound_and_says_so() -> None:
    row = rows_of(SKILL)["gold_arm", "monotone"]
    assert (row["where"], row["gold_equivalent"], row["per_sentence"]) == ("bounded", 200, 0)
    assert row["ci_high"] is None
    assert row["reason"].startswith("at least: the score lies beyond what the curve can be read for; no upper bound")


def test_an_arm_that_does_harm_is_worth_less_than_nothing() -> None:
    row = rows_of(SKILL | {"gold_25_arm": 0.9})["gold_25_arm", "power"]
    assert row["per_sentence"] < 0


def test_three_points_are_too_few_for_the_power_curve_and_it_says_so() -> None:
    skill = {mix: one for mix, one in SKILL.items() if mix != "gold_50"}
    rows = rows_of(skill, {mix: size for mix, size in SIZES.items() if mix != "gold_50"})
    row = rows["gold_25_arm", "power"]
    assert (row["status"], row.get("per_sentence")) == ("undefined", None)
    assert row["reason"] == (
        "a power curve needs 4 mixes of gold alone with different numbers of sentences; found 20, 50, 200"
    )
    assert rows["gold_25_arm", "monotone"]["status"] == "ok"


def test_a_curve_that_falls_leaves_no_worth_but_a_reason() -> None:
    row = rows_of(SKILL | dict(zip(GOLD_SIZES, (2.4, 1.8, 1.2, 0.6), strict=True)))["gold_25_arm", "power"]
    assert (row["status"], row.get("per_sentence"), row["share_undefined"]) == ("undefined", None, 1.0)
    assert row["reason"].startswith("the curve of gold alone does not rise")


def test_scores_that_may_not_be_shown_give_no_worth() -> None:
    row = rows_of(SKILL, min_patients=61)["gold_25_arm", "power"]
    assert (row["status"], row.get("score")) == ("undefined", None)
    assert row["reason"] == "60 patients; evaluation.min_patients is 61"


def test_two_mixes_of_as_much_gold_are_one_point_at_their_mean() -> None:
    twice = SKILL | {"gold_again": 1.6}
    row = rows_of(twice, SIZES | {"gold_again": MixSize(None, 50, 0)})["gold_25_arm", "monotone"]
    alone = rows_of(SKILL)["gold_25_arm", "monotone"]
    assert row["gold_equivalent"] < alone["gold_equivalent"]  # the point at 50 went up


def test_sizes_count_distinct_sentences() -> None:
    shown = [("gold", "a"), ("gold", "a"), ("gold", "b"), ("arm", "a"), ("arm", "c"), ("arm", "d"), ("arm", "d")]
    table = pa.Table.from_pylist([{"origin": origin, "sentence_id": one} for origin, one in shown])
    assert size_of([table]) == MixSize("arm", 2, 3)
    assert size_of([table.slice(0, 3)]) == MixSize(None, 2, 0)
    assert size_of([table.slice(3)]) == MixSize("arm", 0, 3)


def test_sizes_are_means_over_draws_of_patients() -> None:
    shown = [("gold", "a"), ("gold", "b"), ("gold", "c"), ("arm", "a"), ("arm", "b")]
    table = pa.Table.from_pylist([{"origin": origin, "sentence_id": one} for origin, one in shown])
    # gold (3 + 3 + 1) / 3 = 2.33, arm (2 + 1 + 2) / 3 = 1.67
    assert size_of([table, table.slice(0, 4), table.slice(2)]) == MixSize("arm", 2, 2)


# -- from the recipe to the table ---------------------------------------------------------------------------------------

FILES: dict[str, dict[str, Any]] = {
    "gold": {"sources": [{"origin": "gold", "share": 1}]},
    "gold_half": {"sources": [{"origin": "gold", "share": 1, "patients": 0.5}]},
    "gold_arm": {"sources": [{"origin": "gold", "share": 0.5}, {"origin": "arm", "share": 0.5}]},
    "arm": {"sources": [{"origin": "arm", "share": 1}]},
    "two_arms": {"sources": [{"origin": "arm", "share": 0.5}, {"origin": "other_arm", "share": 0.5}]},
    "longer": {"sources": [{"origin": "gold", "share": 1, "patients": 0.3}], "budget": {"size": 500}},
}


@pytest.fixture
def recipe_of(tmp_path: Path) -> Callable[..., Recipe]:
    def make(*mixes: str) -> Recipe:
        (tmp_path / "toy").mkdir(exist_ok=True)
        (tmp_path / "toy" / "task.yaml").write_text(yaml.safe_dump(TASK, sort_keys=False))
        for name in ("gold", "arm", "other_arm"):
            (tmp_path / f"{name}.jsonl").touch()
        for name in mixes:
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(FILES[name]))
        content = {"task": "toy", "seed": 3, "gold": {"path": "gold.jsonl"}, "mixes": list(mixes),
                   "arms": {name: {"path": f"{name}.jsonl"} for name in ("arm", "other_arm")},
                   "scoring": {"splits": ["test"]}, "evaluation": {"subgroups": [], "n_bootstrap": 100}}  # fmt: skip
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(content))
        return load_recipe(path)

    return make


def test_mixes_of_one_budget_and_at_most_one_arm_take_part(recipe_of: Callable[..., Recipe]) -> None:
    taking_part = mixes_of_exchange(recipe_of(*FILES))
    assert [mix.name for mix in taking_part] == ["gold", "gold_half", "gold_arm", "arm"]


def test_without_a_second_amount_of_gold_there_is_no_curve(recipe_of: Callable[..., Recipe]) -> None:
    assert mixes_of_exchange(recipe_of("gold", "gold_arm", "arm", "longer")) == ()


def test_the_stage_writes_the_table_from_the_mixes_tables(recipe_of: Callable[..., Recipe], tmp_path: Path) -> None:
    mixes = ("gold", "gold_half", "gold_arm")
    study = Study(Run(recipe=recipe_of(*mixes), folder=tmp_path / "run"), gold := toy_gold())
    study.write_gold(gold)
    sizes = {"gold": (60, 0), "gold_half": (30, 0), "gold_arm": (60, 25)}
    for mix, (n_gold, n_arm) in sizes.items():
        [table] = study.run.mix_tables(study.run.recipe.mix(mix))
        write_train(table, n_gold, n_arm)
        for learner in ("seed_0", "tfidf", "majority"):
            skill = {"gold": 2.5, "gold_half": 1.0, "gold_arm": 2.0}[mix]
            wanted = [row for row in gold if row["split"] == "test"]
            study.write_predictions(mix, learner, toy_predictions(wanted, skill, mix, learner))
    [unit] = [unit for unit in units(study.run) if unit.name == ""]
    tables = ("gold/train.parquet", "gold_half/seed_0/train.parquet", "gold_arm/train.parquet")
    assert {study.run.path("mixes", table) for table in tables} <= set(unit.inputs)
    unit.work(tmp_path / "out")
    rows = read_rows(tmp_path / "out" / "exchange.parquet", EXCHANGE)
    assert {(row["mix"], row["learner"], row["fit"]) for row in rows} == {
        ("gold_arm", learner, fit) for learner in ("llm", "tfidf") for fit in ("power", "monotone")
    }
    assert {(row["n_gold"], row["n_synthetic"]) for row in rows} == {(60, 25)}
    assert {row["status"] for row in rows if row["fit"] == "monotone"} == {"ok"}


def write_train(path: Path, n_gold: int, n_arm: int) -> None:
    rows = [
        {"example_id": f"{origin}/{k}/{turn}", "origin": origin, "sentence_id": f"{k}", "patient_id": None,
         "pass_index": turn, "text": "t", "label": "memory", "prompt": "p", "completion": "c", "n_supervised_tokens": 1}
        for origin, n in (("gold", n_gold), ("arm", n_arm)) for k in range(n) for turn in (0, 1)
    ]  # fmt: skip
    write_table(path, rows, TRAIN)
