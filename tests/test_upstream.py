"""A cell is trained on a mix that was written for its recipe, or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import ConfigError
from harness.pipeline import run_recipe
from harness.schemas.recipe import load_recipe
from harness.schemas.shipped import shipped
from harness.store import MANIFEST, STAGE_FOLDERS, Run
from harness.training.stage import units
from harness.upstream import check_upstream

RECIPE = shipped("recipes") / "alignment_ablation.yaml"
GIVEN = ["mixes=[gold, gold_dualalign]", "gold.split={train: 0.5, validation: 0.1, test: 0.4}"]
SPLIT = "cohort: gold.split.test is 0.4 there, 0.5 here; cohort: gold.split.train is 0.5 there, 0.4 here"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    list(run_recipe(load_recipe(RECIPE, GIVEN), folder, until="mixes"))
    return folder


def check(folder: Path, overrides: Sequence[str]) -> None:
    run = Run(recipe=load_recipe(RECIPE, overrides), folder=folder)
    check_upstream(run, units(run))


def test_the_settings_that_the_mixes_were_written_for_are_taken(folder: Path) -> None:
    check(folder, GIVEN)
    check(folder, [*GIVEN, "training.sft.learning_rate=0.5", "evaluation.n_bootstrap=300", "training.train_seeds=5"])
    check(folder, ["mixes=[gold]", *GIVEN[1:]])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (GIVEN[:1], rf"training/gold/seed_0: its mix was not written for this recipe \({SPLIT}\)"),
        ([*GIVEN, "seed=7"], "cohort: seed is 20260101 there, 7 here"),
        ([*GIVEN, "training.budget.size=8"], "mixes/gold: budget.size is 96 there, 8 here"),
        ([*GIVEN, "gold.path={}"], "cohort: read demo_gold.jsonl, .* there, mine.jsonl, .* here"),
        ([*GIVEN, "arms.dualalign.path={}"], "generation/dualalign: read dualalign.jsonl there, mine.jsonl here"),
    ],
)
def test_a_stage_behind_a_mix_that_differs_is_named_with_what_differs(
    folder: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    (tmp_path / "mine.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=message):
        check(folder, [one.replace("{}", str(tmp_path / "mine.jsonl")) for one in overrides])


def test_what_is_not_at_hand_is_not_judged_and_what_was_written_again_or_not_to_its_end_is_named(
    tmp_path: Path,
) -> None:
    run, one = tmp_path / "run", GIVEN[1:]
    cohort = run / STAGE_FOLDERS["cohort"]
    list(run_recipe(load_recipe(RECIPE, ["mixes=[gold]"]), run, until="mixes"))
    cohort.rename(tmp_path / "left at home")
    check(run, ["mixes=[gold]", *one])
    list(run_recipe(load_recipe(RECIPE, ["mixes=[gold]", *one]), run, until="cohort"))
    with pytest.raises(ConfigError, match="mixes/gold: 00_cohort/gold.parquet has changed since"):
        check(run, ["mixes=[gold]", *one])
    (cohort / MANIFEST).unlink()
    with pytest.raises(ConfigError, match=r"cohort: is interrupted \(its files are not complete\)"):
        check(run, ["mixes=[gold]", *one])


def test_both_commands_refuse_and_train_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    from harness.train import main

    with mock.patch.dict(os.environ):  # it prepares its own process for training
        assert main([str(RECIPE), "--mix", "gold", "--run-dir", str(folder), "--set", GIVEN[0]]) == 2
    assert "give the same --set as when it was" in caplog.text
    told = CliRunner().invoke(app, ["train", str(RECIPE), "--run-dir", str(folder), "--set", GIVEN[0]])
    assert "give the same --set as when it was" in str(told.exception)
    assert not (folder / STAGE_FOLDERS["training"]).exists()
