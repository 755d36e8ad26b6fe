"""docs/your_own_task.md is true: its files are valid and complete, and its table states the defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.pipeline import run_recipe
from harness.schemas.recipe import RecipeFile, load_recipe
from harness.schemas.tables import GOLD
from harness.store import read_rows

DOC = (Path(__file__).parents[2] / "docs" / "your_own_task.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(my_study\S+)`[^`]*:\n\n```(?:yaml|csv)\n(.*?)^```", DOC, re.M | re.S))
DEFAULTS = dict(re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", DOC.split("## Keys of a recipe")[1], re.M))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert len(FILES) == 7
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def test_the_recipe_is_valid_and_nothing_is_warned_of(folder: Path) -> None:
    done = CliRunner().invoke(app, ["validate", str(folder / "my_study" / "recipe.yaml")])
    assert done.exit_code == 0, done.output
    assert "gold: 24 sentences of 24 patients (6 train, 3 validation, 15 test)" in done.stdout
    assert "ours: 6 sentences from ours.csv" in done.stdout
    assert "warning" not in done.stdout


def test_the_cohort_has_every_level(folder: Path) -> None:
    recipe = load_recipe(folder / "my_study" / "recipe.yaml")
    list(run_recipe(recipe, folder / "run", until="cohort"))
    rows = read_rows(folder / "run" / "00_cohort" / "gold.parquet", GOLD)
    assert {row["sex"] for row in rows} == {"female", "male"}
    for label in recipe.task.label_ids:
        n_test = sum(row["split"] == "test" and row["label"] == label for row in rows)
        assert n_test >= recipe.file.evaluation.min_positives


def test_the_task_with_several_labels_takes_its_gold(folder: Path) -> None:
    for name in ("recipe.yaml", "ours.csv", "gold_ours.yaml"):
        (folder / "my_study_multi" / name).write_text(FILES[f"my_study/{name}"], encoding="utf-8")
    done = CliRunner().invoke(app, ["validate", str(folder / "my_study_multi" / "recipe.yaml")])
    assert done.exit_code == 0, done.output
    assert "gold: 4 sentences of 4 patients" in done.stdout


@pytest.mark.parametrize(("key", "stated"), sorted(DEFAULTS.items()))
def test_a_default_is_as_stated(key: str, stated: str) -> None:
    found: Any = RecipeFile(task="any", seed=1, mixes=("gold",)).model_dump(mode="json")
    for part in key.split("."):
        found = found[part]
    assert found == yaml.safe_load(stated)


def test_the_table_names_keys_with_defaults() -> None:
    assert len(DEFAULTS) >= 14
