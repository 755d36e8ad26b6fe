import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.soap import SECTIONS, note_sentences, sections

NOTE = """Subjective:
Daughter reports that she repeats questions. Denies falls.
Sleeps poorly
and naps at noon.

Objective: BP 128/74. Exam:
- Gait steady
- MoCA 19/30

Assessment
1. Decline since spring.
2. Low mood.
Plan:
Labs today; return in 3 months."""


def said(text: str) -> list[str]:
    return [text[span.start : span.end] for span in note_sentences(text)]


def test_headings_bullets_and_subheadings_are_no_sentences() -> None:
    assert said(NOTE) == [
        "Daughter reports that she repeats questions.", "Denies falls.", "Sleeps poorly\nand naps at noon.",
        "BP 128/74.", "Gait steady", "MoCA 19/30", "Decline since spring.", "Low mood.",
        "Labs today; return in 3 months.",
    ]  # fmt: skip


def test_a_line_after_a_stop_is_its_own_sentence_even_in_lower_case() -> None:
    assert said("S: forgets names. \ngets lost at night;\nsleeps poorly\nsince May.") == [
        "forgets names.", "gets lost at night;", "sleeps poorly\nsince May.",
    ]  # fmt: skip


def test_sections_come_in_the_order_of_the_text() -> None:
    assert tuple(section.name for section in sections(NOTE)) == SECTIONS
    assert [one.name for one in sections("S: tired\nO: thin\nA: low mood\nP: labs")] == list(SECTIONS)


@pytest.mark.parametrize(
    "line", ["Plan to return soon.", "Assessment and plan: labs.", "Objectively well.", "A walk daily."]
)
def test_a_sentence_that_begins_like_a_heading_is_none(line: str) -> None:
    assert sections(line) == []


def test_text_outside_the_sections_stays_out() -> None:
    assert said("Here is the note.\nSubjective:\nForgets names.") == ["Forgets names."]
    assert said("") == []


@given(st.text("SOAP:ab. \n-1)Plan", max_size=80))
def test_spans_are_in_order_apart_and_without_white_space_around(text: str) -> None:
    spans = note_sentences(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    for span in spans:
        piece = text[span.start : span.end]
        assert piece == piece.strip()
        assert piece
