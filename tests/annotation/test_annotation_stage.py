from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.annotation.stage import label_sentence, units
from harness.schemas.recipe import load_recipe
from harness.schemas.tables import SENTENCES, SYNTHETIC
from harness.store import Run, read_rows, write_table


def synthetic(text_id: str, text: str, **more: Any) -> dict[str, Any]:
    row = {"text_id": text_id, "unit": "sentence", "planned_label": "memory", "planned_term": None, "backend": "embedded", "model_id": "m", "model_revision": "r",
           "text": text, "n_attempts": 1, "persona_id": "p1", "sex": "female", "stage": None}  # fmt: skip
    return {**row, **more}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    labels = [{"id": one, "name": one, "definition": "d"} for one in ("memory", "other")]
    task = {"id": "toy", "version": 1, "title": "t", "disease": "d", "labels": {"values": labels}}
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    for name in ("gold.jsonl", "mine.jsonl"):
        (tmp_path / name).write_text("{}\n", encoding="utf-8")
    (tmp_path / "m.yaml").write_text("sources: [{origin: theirs, repeat: 1}]\n", encoding="utf-8")
    recipe = {"task": "toy", "seed": 1, "gold": {"path": "gold.jsonl"}, "mixes": ["m.yaml"],
              "arms": {"theirs": {"path": "mine.jsonl"}, "unused": {"path": "mine.jsonl"}}}  # fmt: skip
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return Run(recipe=load_recipe(tmp_path / "r.yaml"), folder=tmp_path / "run")


def test_each_text_becomes_a_labelled_sentence(run: Run) -> None:
    rows = [synthetic("000001", "Gets lost."), synthetic("000002", "Two. Sentences.", backend="file", housing="alone")]
    write_table(run.path("generation", "theirs", "synthetic.parquet"), rows, SYNTHETIC)
    (unit,) = units(run)  # the arm no mix draws from is left alone
    folder = run.path("annotation", "theirs")
    folder.mkdir(parents=True)
    counts = unit.work(folder)
    first, second = read_rows(folder / "sentences.parquet", SENTENCES)
    assert (first["sentence_id"], first["label"], first["label_source"], first["confidence"]) == (
        "theirs/000001/0", "memory", "plan", None,
    )  # fmt: skip
    assert (first["sex"], first["stage"], first["persona_id"], first["housing"]) == ("female", None, "p1", None)
    assert (second["label_source"], second["text"], second["housing"]) == ("file", "Two. Sentences.", "alone")
    assert (counts.rows_in, counts.rows_out, counts.rejected) == (2, 2, 0)
    assert counts.notes == {"labels": {"memory": 2}, "texts_of_several_sentences": 1}


def test_offsets_point_into_the_text() -> None:
    text = "  Gets lost. "
    row = label_sentence("arm", synthetic("t", text))
    assert text[row["char_start"] : row["char_end"]] == row["text"] == "Gets lost."
