from dataclasses import replace
from typing import Any

import pytest

from harness.backends.base import Reply
from harness.generation.note_filters import NoteJudge, carries, clean_note, coverage
from harness.prompts.notes import NoteView, Point
from harness.schemas.task import Label

MEMORY = Label(
    id="memory", name="memory trouble", definition="Forgets things again and again, says so or is seen to do so."
)
OTHER = Label(id="other", name="other", definition="Else.")


def point(term: str, **more: Any) -> Point:
    return Point(**{"label": MEMORY, "term": term, "denied": False, "course": None, "reported": False, **more})


VIEW = NoteView(
    points=(point("forgets names"), point("repeats questions", reported=True), point("falls", label=OTHER, denied=True)),
    age_years=81, sex="female",
)  # fmt: skip
NOTE = """Subjective:
81-year-old woman seen for follow up. She forgets the names of neighbours. Her daughter reports that she repeats questions at supper.
Objective:
Gait steady, alert. No falls since spring.
Assessment:
Slow change over the past year.
Plan:
Labs and return in three months."""


def judge(min_coverage: float = 1.0) -> NoteJudge:
    return NoteJudge([MEMORY.definition], ["memory trouble", "other"], ["mild memory trouble"], min_coverage)


def reason(text: str, view: NoteView = VIEW, *, cut: bool = False, min_coverage: float = 1.0) -> str | None:
    reply = Reply(status="ok", text=text, finish_reason="length" if cut else "stop")
    return judge(min_coverage).reject(reply, view)


def test_a_note_that_says_what_was_planned_is_kept_once() -> None:
    one = judge()
    reply = Reply(status="ok", text=NOTE, finish_reason="stop")
    assert one.reject(reply, VIEW) is None
    assert one.reject(reply, VIEW) == "duplicate"
    assert one.reject(replace(reply, text=NOTE.replace("spring", "April")), VIEW) == "near-duplicate"


@pytest.mark.parametrize(
    ("found", "put", "expected"),
    [
        ("Plan:\n", "", "lacks a section"),
        ("Objective:\n", "Plan:\n", "lacks a section"),
        ("Slow change over the past year.\n", "\n", "lacks a section"),
        ("Labs and return in three months.", "Labs and return in the", "unfinished"),
        ("Gait steady", "[Name] steady", "markup"),
        ("Slow change", "Slow memory trouble", "names the label"),
        ("Slow change", "Mild memory trouble", None),  # the stage's own words are a diagnosis
        ("Slow change", "Forgets things again and again, says so or is seen", "prompt echo"),
        ("81-year-old woman", "79-year-old woman", "contradicts its persona"),
        ("81-year-old woman", "81 yo Black man", "contradicts its persona"),
        ("forgets the names of", "greets her", "lacks planned terms"),
        ("forgets the names of", "never forgets the names of", "lacks planned terms"),
        ("Her daughter reports that she repeats", "She repeats", "lacks planned terms"),
        ("No falls", "Two falls", "lacks planned terms"),
    ],
)
def test_each_fault_has_its_reason(found: str, put: str, expected: str | None) -> None:
    assert found in NOTE
    assert reason(NOTE.replace(found, put)) == expected


def test_form_is_judged_whatever_is_said() -> None:
    assert reason("") == "empty"
    assert reason("Subjective: a\nObjective: b\nAssessment: c\nPlan: d.") == "length"
    assert reason(NOTE, cut=True) == "unfinished"
    assert judge().reject(Reply(status="failed", reason="timeout"), VIEW) == "request failed"


def test_coverage_is_the_share_of_planned_terms() -> None:
    short = NOTE.replace("No falls", "Two falls")
    assert coverage(NOTE, VIEW.points) == 1
    assert coverage(short, VIEW.points) == pytest.approx(2 / 3)
    assert reason(short, min_coverage=0.6) is None
    assert coverage(NOTE, ()) == coverage(NOTE, [replace(VIEW.points[0], term=None)]) == 1


@pytest.mark.parametrize(
    ("sentence", "denied", "expected"),
    [
        ("Denies tremor, weight loss, or falls.", True, True),
        ("Denies tremor but falls often.", True, False),
        ("Denies tremor but falls often.", False, True),
        ("No falls.", False, False),
        ("Falls weekly; no tremor.", False, True),
        ("Falls weekly; no tremor.", True, False),
    ],
)
def test_a_denial_reaches_to_the_end_of_its_clause(sentence: str, denied: bool, expected: bool) -> None:
    assert carries(sentence, point("falls", denied=denied)) is expected


def test_cleaning_takes_marks_off_and_keeps_lines() -> None:
    assert clean_note("\n**Subjective:**\r\nTired.  \n## Plan\nLabs.\n") == "Subjective:\nTired.\nPlan\nLabs."
