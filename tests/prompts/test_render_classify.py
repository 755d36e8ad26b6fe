"""The classifier's prompt and what it is taught to write, for one label a sentence and for several."""

from __future__ import annotations

from pathlib import Path

from harness.prompts.render import completions, render_classify
from harness.schemas.task import Label, LabelSet, Task, TaskFile

LABELS = tuple(
    Label(id=one, name=name, definition=".") for one, name in (("a", "falls"), ("b", "low mood"), ("c", "none"))
)


def task(**labels: object) -> Task:
    found = LabelSet(values=LABELS, **labels)  # type: ignore[arg-type]
    return Task(file=TaskFile(id="t", version=1, title="t", disease="d", labels=found), folder=Path("/nowhere"))


def test_the_prompt_of_one_label_is_sentence_and_label() -> None:
    assert render_classify(task(), "Fell & hurt.") == "Sentence: Fell & hurt.\nLabel:"
    assert completions(task(negative="c")) == {"a": " falls", "b": " low mood", "c": " none"}


def test_the_prompt_of_several_labels_says_how_many_and_how_they_are_parted() -> None:
    several = task(kind="multi", at_most=2, negative="c")
    assert render_classify(several, "Fell.") == 'Sentence: Fell.\nLabels, at most 2, separated by "; ":'
    assert completions(several) == {"a": " falls", "b": " low mood", "c": " none", "a;b": " falls; low mood"}
