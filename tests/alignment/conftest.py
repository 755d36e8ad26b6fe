import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.schemas.population import Population, load_population
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task
from harness.schemas.trajectory import Trajectory, load_trajectory

BACKEND = {"kind": "embedded"}


@pytest.fixture
def task_folder(tmp_path: Path) -> Path:
    """A copy of the shipped task without what this stage has no use for."""
    folder = tmp_path / "alzheimers"
    shutil.copytree(shipped("tasks") / "alzheimers", folder)
    content = yaml.safe_load((folder / "task.yaml").read_text(encoding="utf-8"))
    content["sources"] = None
    content["prompts"]["exemplars"] = None
    (folder / "task.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder


@pytest.fixture
def task(task_folder: Path) -> Task:
    return load_task(str(task_folder), base=task_folder)


@pytest.fixture
def population(task: Task) -> Population:
    return load_population(task.folder / "population.yaml", task)


@pytest.fixture
def trajectory(task: Task) -> Trajectory:
    return load_trajectory(task.folder / "trajectory.yaml", task)


@pytest.fixture
def make_recipe(tmp_path: Path, task_folder: Path) -> Callable[..., Recipe]:
    """`make_recipe({"dualalign": {"sees": [...], "n_sentences": 80}})` on the copied task."""

    def make(arms: dict[str, dict[str, Any]], *, seed: int = 7, **keys: Any) -> Recipe:
        arms = {name: {"backend": BACKEND, **arm} for name, arm in arms.items()}
        content = {"task": str(task_folder), "seed": seed, "arms": arms, "mixes": ["gold"], **keys}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return load_recipe(path)

    return make
