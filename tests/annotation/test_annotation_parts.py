"""Answers, votes and labels by plan, each by itself."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_texts import LEXICON, TASK, note, plan_of, rules, sentence

from harness.annotation.decide import settle
from harness.annotation.pieces import cut
from harness.annotation.plan_labels import PlanLabels, Planned
from harness.annotation.poll import Verdict, decide
from harness.prompts.annotate import parse_answer
from harness.schemas.task import Task, TaskFile, Term

TERMS = tuple(Term(domain=domain, term=term) for domain, term in LEXICON)


def task(**labels: Any) -> Task:
    content = {**TASK, "labels": {**TASK["labels"], **labels}}  # type: ignore[dict-item]
    return Task.model_construct(file=TaskFile.model_validate(content), folder=None, lexicon=TERMS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "label", "fault"),
    [
        ('{"label": "memory"}', "memory", None),
        ('{"label": "memory", "confidence": 0.2}', "memory", None),
        ('```json\n{"label": "Memory trouble"}\n```', "memory", None),
        ('"mood"', "mood", None),
        ("Mood trouble.", "mood", None),
        (" other\n", "other", None),
        ("memory, because she forgets names", None, "no JSON and no label"),
        ('{"label": "memory"} as she forgets', None, "no JSON and no label"),
        ('{"label": "memry"}', None, "unknown label"),
        ('{"label": ["memory"]}', None, "no label in the JSON"),
        ('{"labels": "memory"}', None, "no label in the JSON"),
        ("", None, "no JSON and no label"),
        ("[" * 100_000, None, "no JSON and no label"),
    ],
)
def test_an_answer_is_read_strictly(text: str, label: str | None, fault: str | None) -> None:
    assert parse_answer(text, task()) == (label, fault)


@given(st.text(max_size=40))
def test_no_text_is_read_as_a_label_it_does_not_name(text: str) -> None:
    label, fault = parse_answer(text, task())
    assert (label is None) == (fault is not None)
    if label is not None:
        assert label in text.lower() or task().label(label).name in text.lower()


def test_the_most_frequent_label_wins_and_lost_votes_count_against_it() -> None:
    assert decide(["a", "b", "a"], 3) == Verdict("a", pytest.approx(2 / 3))
    assert decide(["a", "a"], 4) == Verdict("a", 0.5)
    assert decide(["a", "b"], 2) == Verdict(None, None, "tied votes")
    assert decide([], 3) == Verdict(None, None, "no valid answer")


def labels_of(text: str, *, reported: str | None = None, **labels: Any) -> list[Planned]:
    row = note(text)
    plans = PlanLabels(task(**labels), reported)
    return [plans.of(piece) for piece in cut("arm", row, plan_of(row))]


def test_a_term_said_otherwise_than_planned_gets_no_label() -> None:
    (found,) = labels_of("Plan: Never forgets names, never tearful.")
    assert found == Planned("other")  # a denial of what was planned as present is no symptom
    (found,) = labels_of("Plan: She falls on stairs.")
    assert found == Planned(None, None, "unplanned")


def test_somebody_elses_report_needs_somebody_else() -> None:
    (alone,) = labels_of("Plan: Tearful today.", reported="mood")
    assert alone.reason == "unplanned"
    (told,) = labels_of("Plan: Tearful today, says her daughter.", reported="mood")
    assert told == Planned("mood", "tearful")


def test_without_a_negative_label_a_sentence_that_says_nothing_planned_is_rejected() -> None:
    assert labels_of("Plan: Alert and neat.", negative=None, ties=[]) == [Planned(None, None, "unplanned")]
    assert labels_of("Plan: Alert and neat.") == [Planned("other")]


@pytest.mark.parametrize(
    ("verdict", "given", "label", "reason"),
    [
        (Verdict("mood", 0.6), {}, "mood", None),
        (Verdict("mood", 0.6), {"min_confidence": 0.7}, None, "low confidence"),
        (Verdict("mood", 1.0), {"disagreement": "drop"}, None, "disagreement"),
        (Verdict("memory", 1.0), {"disagreement": "drop"}, "memory", None),
        (Verdict(None, None, "tied votes"), {}, None, "tied votes"),
    ],
)
def test_who_decides_a_label(verdict: Verdict, given: dict[str, Any], label: str | None, reason: str | None) -> None:
    (piece,) = cut("arm", sentence(0), ())
    found = settle(piece, Planned("memory"), verdict, rules(labels="llm", backend={"kind": "embedded"}, **given))
    assert (found.label, found.reason) == (label, reason)
