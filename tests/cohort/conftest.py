from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.task import Task, load_task

TASK: dict[str, Any] = {
    "id": "toy",
    "version": 1,
    "title": "Toy",
    "disease": "a toy disease",
    "labels": {
        "negative": "other",
        "values": [{"id": name, "name": name, "definition": f"about {name}"} for name in ("memory", "falls", "other")],
    },
    "subgroups": {
        "sex": {"title": "Sex", "levels": {"female": "Woman", "male": "Man"}},
        "age_band": {"title": "Age", "levels": {"<65": "under 65", "65-74": "65 to 74", "75+": "75 and over"}},
        "site": {"title": "Site", "levels": {"north": "North", "south": "South"}},
    },
}


def write_task(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder


@pytest.fixture
def toy_task(tmp_path: Path) -> Task:
    return load_task(str(write_task(tmp_path / "toy", TASK)), base=tmp_path)


@pytest.fixture
def multi_task(tmp_path: Path) -> Task:
    """The same with up to two labels a sentence."""
    content = {**TASK, "labels": {**TASK["labels"], "kind": "multi", "at_most": 2}}
    return load_task(str(write_task(tmp_path / "toy", content)), base=tmp_path)


@pytest.fixture
def make_recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe on a YAML-only task: `make_recipe(gold_path, task=..., **gold settings)`."""

    def make(gold: Path, *, task: dict[str, Any] | None = None, seed: int = 7, **settings: Any) -> Recipe:
        content = task or TASK
        write_task(tmp_path / content["id"], content)
        recipe = {"task": content["id"], "seed": seed, "gold": {"path": str(gold), **settings}, "mixes": ["gold"]}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        return load_recipe(path)

    return make
