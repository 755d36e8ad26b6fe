"""Who labels what, checked before anything runs."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from test_recipe import RECIPE, fault, write

from harness.schemas.arms import Annotation, Arm
from harness.schemas.recipe import load_recipe
from harness.schemas.task import LabelSet, load_task

NOTES = RECIPE.replace("n_sentences: 8", "unit: note, n_notes: 8, sampling: {max_new_tokens: 512}")


def test_a_note_arm_that_sees_the_trajectory_needs_nothing_more(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, NOTES)).arms["dualalign"].unit == "note"


def test_a_note_arm_on_a_task_without_a_trajectory_is_refused(tmp_path: Path) -> None:
    task = load_task("alzheimers", base=tmp_path).folder
    folder = tmp_path / "bare"
    folder.mkdir()
    lines = (task / "task.yaml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("trajectory:", "lexicon:", "concept_sets:", "sources:"))]
    (folder / "task.yaml").write_text("\n".join(kept), encoding="utf-8")
    for name in ("demo_gold.jsonl", "population.yaml", "exemplars.jsonl"):
        (folder / name).write_bytes((task / name).read_bytes())
    message = fault(tmp_path, NOTES.replace("alzheimers", str(folder)))
    assert (
        "arms.dualalign.sees: trajectory needs a trajectory and a lexicon; the task 'alzheimers' lacks one" in message
    )


@pytest.mark.parametrize("sees", ["[label]", "[label, persona]"])
def test_without_a_trajectory_nobody_knows_which_sentence_shows_what(tmp_path: Path, sees: str) -> None:
    recipe = NOTES.replace("[label, persona, trajectory]", sees).replace("n_notes: 8", "n_notes: 8, n_sentences: 40")
    message = fault(tmp_path, recipe)
    assert "arms.dualalign.annotation.labels: plan, but nobody knows" in message
    assert load_recipe(write(tmp_path, recipe + "annotation: {labels: llm, backend: {kind: embedded}}\n"))


def test_planned_sentences_must_fit_their_notes(tmp_path: Path) -> None:
    recipe = NOTES.replace("[label, persona, trajectory]", "[label]").replace(
        "n_notes: 8", "n_notes: 8, n_sentences: 4"
    )
    message = fault(tmp_path, recipe + "annotation: {labels: llm, backend: {kind: embedded}}\n")
    assert "n_sentences: found 4, to be shared out over 8 notes; allowed: 8 to 168" in message


def test_files_of_labels_must_be_there(tmp_path: Path) -> None:
    arm = RECIPE.replace("n_sentences: 8", "n_sentences: 8, annotation: {labels: file, path: mine.csv}")
    message = fault(tmp_path, arm + "annotation: {labels: file, path: all.csv}\n")
    assert "arms.dualalign.annotation.path: no file mine.csv" in message
    assert "annotation.path: no file all.csv" in message


def test_an_annotator_or_a_file_must_be_named() -> None:
    with pytest.raises(ValidationError, match="labels: llm needs a backend"):
        Annotation(labels="llm")
    with pytest.raises(ValidationError, match="labels: file needs a path"):
        Annotation(labels="file")
    with pytest.raises(ValidationError, match="unit: note is for arms that are generated"):
        Arm(path=Path("a.csv"), unit="note")


def test_ties_are_settled_in_a_declared_order_and_the_negative_label_yields(tmp_path: Path) -> None:
    task = load_task("alzheimers", base=tmp_path)
    assert task.tie_order[:2] == ("functional_impairment", "concern_by_others")
    assert task.tie_order[-1] == "other"
    assert set(task.tie_order) == set(task.label_ids)
    labels = [{"id": one, "name": one, "definition": "d"} for one in "abc"]
    with pytest.raises(ValidationError, match="ties: found a; each of a, c must stand there once"):
        LabelSet.model_validate({"values": labels, "negative": "b", "ties": ["a"]})
    assert LabelSet.model_validate({"values": labels, "negative": "b", "ties": ["c", "a"]}).ties == ("c", "a")


def test_a_note_needs_room(tmp_path: Path) -> None:
    message = fault(tmp_path, NOTES.replace("512", "48"))
    assert "arms.dualalign.sampling.max_new_tokens: found 48; a note needs at least 128" in message
