import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sentences import split


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in split(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Forgets names. Repeats questions.", ["Forgets names.", "Repeats questions."]),
        ("Seen by Dr. Lee today. Denies falls.", ["Seen by Dr. Lee today.", "Denies falls."]),
        ("Donepezil 5 mg. daily, tolerated well.", ["Donepezil 5 mg. daily, tolerated well."]),
        ("Donepezil 5 mg. Recheck in May.", ["Donepezil 5 mg.", "Recheck in May."]),
        ("Takes it q.d. with food. No nausea.", ["Takes it q.d. with food.", "No nausea."]),
        ("Weight 61.5 kg, BMI 22.1 today.", ["Weight 61.5 kg, BMI 22.1 today."]),
        ("Per pt. wife, he wanders. Keys hidden.", ["Per pt. wife, he wanders.", "Keys hidden."]),
        ("Up at 3 a.m. most nights.", ["Up at 3 a.m. most nights."]),
        ('Asks "where am I?" Daughter answers.', ['Asks "where am I?"', "Daughter answers."]),
        ("Who is she?! he asked.", ["Who is she?! he asked."]),
        ("1. Memory loss. 2. Gait.", ["1. Memory loss.", "2. Gait."]),
        ("Low vitamin D. Recheck.", ["Low vitamin D.", "Recheck."]),
        ("Referred by J. Moss for testing.", ["Referred by J. Moss for testing."]),
        ("Plan:\n- labs today\n- call son", ["Plan:", "- labs today", "- call son"]),
        ("Alert\n\nOriented", ["Alert", "Oriented"]),
        ("Alert and\noriented.", ["Alert and\noriented."]),
        ("Room No. 12 at the end. No. She left.", ["Room No. 12 at the end.", "No.", "She left."]),
        ("So ... he waits.", ["So ... he waits."]),
        ("  padded.  ", ["padded."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_of_clinical_prose(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


@given(st.text('aB .!?\n-1"(', max_size=60))
def test_spans_are_in_order_apart_trimmed_and_leave_out_only_white_space(text: str) -> None:
    spans = split(text)
    left_out = text
    last_end = 0
    for start, end in spans:
        assert last_end <= start < end
        assert text[start:end] == text[start:end].strip()
        left_out = left_out[:start] + " " * (end - start) + left_out[end:]
        last_end = end
    assert not left_out.strip()
