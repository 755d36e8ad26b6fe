from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_study import TASK, Study, toy_gold, toy_predictions

from harness.schemas.recipe import load_recipe
from harness.store import Run

SKILL = {"gold": 1.0, "better": 2.5, "same": 1.0}


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Study]:
    def make(
        name: str = "toy_run",
        *,
        mixes: Sequence[str] = ("gold", "better"),
        train_seeds: int = 2,
        gold: list[dict[str, Any]] | None = None,
        splits: Sequence[str] = ("validation", "test"),
        **evaluation: Any,
    ) -> Study:
        task = tmp_path / "toy"
        task.mkdir(exist_ok=True)
        (task / "task.yaml").write_text(yaml.safe_dump(TASK, sort_keys=False), encoding="utf-8")
        rows = toy_gold() if gold is None else gold
        (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for mix in mixes:
            content = {"sources": [{"origin": "gold", "repeat": 1}]}
            (tmp_path / f"{mix}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        recipe = {
            "task": "toy",
            "seed": 3,
            "gold": {"path": "gold.jsonl"},
            "mixes": list(mixes),
            "training": {"train_seeds": train_seeds},
            "scoring": {"splits": list(splits)},
            "evaluation": {"subgroups": ["sex", "age_band", "site"], "n_bootstrap": 300, **evaluation},
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        study = Study(Run(recipe=load_recipe(path), folder=tmp_path / "runs" / name), rows)
        study.write_gold(rows)
        wanted = [row for row in rows if row["split"] in splits]
        for mix in mixes:
            for learner in (*(f"seed_{k}" for k in range(train_seeds)), "tfidf", "majority"):
                study.write_predictions(mix, learner, toy_predictions(wanted, SKILL[mix], mix, learner))
        return study

    return make
