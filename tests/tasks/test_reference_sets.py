"""The shipped reference sets: four arms that a language model wrote from the harness's own prompts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.mixes.audit import NEAR_DUPLICATE
from harness.mixes.minhash import build_index, match_earlier
from harness.mixes.shingles import encode, normalise
from harness.prompts.render import render_instruct
from harness.prompts.sight import Slot
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task

ARMS = ("unguided", "statistical", "semantic", "dualalign")
PERSONA = ("age_years", "sex", "race_ethnicity", "education", "living_arrangement", "risk_factors", "persona_id")
TRAJECTORY = ("stage", "note_type", "term", "domain", "polarity", "course", "style")


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("alzheimers", base=Path.cwd())


@pytest.fixture(scope="module")
def prompts_recipe() -> Recipe:
    return load_recipe(shipped("recipes") / "reference_prompts.yaml")


@pytest.fixture(scope="module")
def sets(task: Task) -> dict[str, list[dict[str, Any]]]:
    folder = task.folder / "reference"
    return {
        arm: [json.loads(line) for line in (folder / f"{arm}.jsonl").read_text(encoding="utf-8").splitlines()]
        for arm in ARMS
    }


@pytest.mark.parametrize("arm", ARMS)
def test_every_prompt_is_the_harness_rendering_of_what_stands_beside_it(
    arm: str, task: Task, sets: dict[str, list[dict[str, Any]]], prompts_recipe: Recipe
) -> None:
    sees = prompts_recipe.arms[arm].sees or ()
    assert len(sets[arm]) >= 300
    for row in sets[arm]:
        persona = {name: row[name] for name in (*PERSONA, "age_band") if name in row} if "persona" in sees else None
        seen = {name: row.get(name) for name in TRAJECTORY}
        slot = Slot(index=int(row["text_id"]), label=row["label"], persona=persona, **seen)
        assert render_instruct(task, sees, slot) == row["prompt"]
        assert hashlib.sha256(row["prompt"].encode()).hexdigest() == row["prompt_sha256"]


def test_what_an_arm_did_not_see_stands_in_none_of_its_rows(sets: dict[str, list[dict[str, Any]]]) -> None:
    for arm, sees_persona, sees_trajectory in (
        ("unguided", False, False), ("statistical", True, False), ("semantic", False, True), ("dualalign", True, True),
    ):  # fmt: skip
        columns = {name for row in sets[arm] for name in row}
        assert bool(columns & set(PERSONA)) == sees_persona
        assert bool(columns & {"stage", "term", "course"}) == sees_trajectory


def test_arms_ask_for_the_same_labels_and_the_ablation_reads_these_files(
    task: Task, prompts_recipe: Recipe, sets: dict[str, list[dict[str, Any]]]
) -> None:
    ablation = load_recipe(shipped("recipes") / "alignment_ablation.yaml")
    assert (ablation.seed, ablation.file.gold) == (prompts_recipe.seed, prompts_recipe.file.gold)
    for arm in ARMS:
        assert ablation.arms[arm].path == task.folder / "reference" / f"{arm}.jsonl"
        assert ablation.arms[arm].sight == prompts_recipe.arms[arm].sees
        assert {row["label"] for row in sets[arm]} == set(task.label_ids)
        assert {row["model_id"] for row in sets[arm]} == {"large language model"}


@pytest.mark.parametrize("arm", ARMS)
def test_no_reference_sentence_is_near_one_of_the_demo_gold_or_of_its_own_arm(
    arm: str, task: Task, sets: dict[str, list[dict[str, Any]]]
) -> None:
    path = task.path(task.file.demo_gold)
    assert path is not None
    gold = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    index = build_index(encode(normalise(pa.array([*gold, *(row["text"] for row in sets[arm])]))))
    everyone, nobody = np.arange(index.texts.n_texts), np.zeros(index.texts.n_texts, dtype=np.bool_)
    match = match_earlier(index, everyone, nobody, threshold=NEAR_DUPLICATE)
    assert not (match[len(gold) :] >= 0).any()
