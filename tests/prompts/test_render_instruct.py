"""The instruction for a chat model, on the shipped task."""

from pathlib import Path

import pytest

from harness.backends.base import Reply
from harness.generation.filters import Judge
from harness.prompts.render import render_instruct, template_lines
from harness.prompts.sight import Slot, visible
from harness.schemas.task import Task, load_task

TRAJECTORY = ("label", "trajectory")


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("alzheimers", base=Path())


def slot(**more: object) -> Slot:
    given = {"index": 0, "label": "cognitive_impairment", "stage": "mci", "note_type": "primary_care",
             "term": "forgets names", "polarity": "present", "course": "worse", "style": "terse", **more}  # fmt: skip
    return Slot(**given)  # type: ignore[arg-type]


def test_the_unguided_arm_shows_label_definition_and_form_alone(task: Task) -> None:
    for label in task.labels:
        prompt = render_instruct(task, ("label",), slot(label=label.id))
        form, topic = prompt.rsplit("\n\n", 1)
        assert topic == f"Topic: {label.name}. {label.definition}"
        assert form == render_instruct(task, ("label",), slot(label=task.labels[0].id)).rsplit("\n\n", 1)[0]


def test_course_denial_and_manner_are_said_in_words(task: Task) -> None:
    prompt = render_instruct(task, TRAJECTORY, slot())
    assert "Finding: forgets names\n" in prompt
    assert "Manner: terse;" in prompt
    assert prompt.endswith("Course: worsening")
    denied = render_instruct(task, TRAJECTORY, slot(label="other", polarity="absent"))
    assert "Denied: forgets names\n" in denied
    assert "Finding:" not in denied
    assert "Course:" not in denied


def test_each_style_has_its_own_words_and_an_unknown_one_is_said_plainly(task: Task) -> None:
    lines = []
    for style in ("terse", "narrative", "templated", "abbreviation_heavy", "in_verse"):
        (line,) = [one for one in render_instruct(task, TRAJECTORY, slot(style=style)).splitlines() if "Manner" in one]
        lines.append(line)
    assert len(set(lines)) == 5
    assert lines[-1] == "Manner: in verse"


def test_a_sentence_that_parrots_the_instruction_is_dropped_and_a_plain_one_kept(task: Task) -> None:
    judge = Judge(shown=template_lines(task, "instruct.jinja"), label_names=[], negative="other")
    view = visible(task, slot(), TRAJECTORY)

    def reason(text: str) -> str | None:
        return judge.reject(Reply("ok", text, finish_reason="stop"), view)

    assert reason("Forgets names; sentence reports this as present with a detail.") == "prompt echo"
    assert reason("Form field and its value, as an electronic record prints: forgets names.") == "prompt echo"
    assert reason("Forgets names of in-laws weekly x 3 mo, worsening per pt.") is None
    assert reason("Wife had to introduce the neighbors twice because he forgets names at church.") is None
    assert reason("Here is a sentence: forgets names of her grandchildren.") == "markup"
