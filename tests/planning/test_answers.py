"""Answers from elsewhere to our prompts: joined, judged, written as an arm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, DataError
from harness.planning.answers import collect_answers
from harness.planning.prompts import write_prompts
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped

N = 12


@pytest.fixture
def recipe() -> Recipe:
    few = [f"arms.{arm}.n_sentences={N}" for arm in ("unguided", "statistical", "semantic", "dualalign")]
    return load_recipe(shipped("recipes") / "reference_prompts.yaml", few)


@pytest.fixture
def prompts(recipe: Recipe, tmp_path: Path) -> list[dict[str, Any]]:
    (path,) = write_prompts(recipe, tmp_path / "run", tmp_path / "prompts", ["semantic"])
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answer(row: dict[str, Any], index: int) -> str:
    things = ["kettle", "ladder", "garden gate", "piano stool", "letter box", "bus pass", "fruit bowl", "spare key",
              "radio dial", "back step", "tea towel", "front lawn"]  # fmt: skip
    said = f"Denies {row['term']}" if row.get("polarity") == "absent" else str(row.get("term", "Reviewed")).capitalize()
    return f"{said} at the {things[index]} on visit number {index}, seen by clinic staff."


@pytest.fixture
def collect(recipe: Recipe, tmp_path: Path) -> Callable[..., Any]:
    def run(rows: list[dict[str, Any]], arm: str = "semantic") -> Any:
        (tmp_path / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        return collect_answers(recipe, tmp_path / "run", tmp_path / "answers.jsonl", tmp_path / "arm.jsonl", arm=arm,
                               model_id="somebody")  # fmt: skip

    return run


def test_kept_answers_stand_beside_their_prompts_and_others_are_counted(
    prompts: list[dict[str, Any]], collect: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [{"text_id": row["text_id"], "text": answer(row, index)} for index, row in enumerate(prompts)]
    rows[3]["text"] = "As an AI I cannot say **anything**"
    found = collect(list(reversed(rows[:-1])))  # one is not answered
    assert found.n_prompts == N
    assert found.n_unanswered == 1
    assert found.rejected.total() >= 1
    written = [json.loads(line) for line in (tmp_path / "arm.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written == found.kept
    assert len(written) + found.rejected.total() == N - 1
    by_id = {row["text_id"]: row for row in prompts}
    for row in written:
        assert row["prompt"] == by_id[row["text_id"]]["prompt"]
        assert (row["label"], row["model_id"]) == (by_id[row["text_id"]]["label"], "somebody")
    assert rows[3]["text_id"] not in {row["text_id"] for row in written}


def test_answers_that_fit_no_prompt_are_refused_and_nothing_is_written(
    prompts: list[dict[str, Any]], collect: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"1 ids are of no prompt of arm 'semantic' \(first: '999999'\)"):
        collect([{"text_id": "999999", "text": "Lost her way home."}])
    with pytest.raises(DataError, match="row 2, column 'text_id': '000000' stands in an earlier row too"):
        collect([{"text_id": "000000", "text": "a"}, {"text_id": "000000", "text": "b"}])
    with pytest.raises(DataError, match="missing column 'text'"):
        collect([{"text_id": "000000", "answer": "a"}])
    with pytest.raises(ConfigError, match=r"no arm 'semantics' that writes sentences; did you mean 'semantic'"):
        collect([{"text_id": "000000", "text": "a"}], arm="semantics")
    assert not (tmp_path / "arm.jsonl").exists()
