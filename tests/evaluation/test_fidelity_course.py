from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness import seeds
from harness.evaluation import fidelity_course
from harness.evaluation.fidelity_course import (
    Mentions,
    Setting,
    co_occurrence_row,
    course_rows,
    coverage_row,
    domain_pairs,
    first_mentions,
    mention_count_rows,
    plan_mentions,
)
from harness.evaluation.fidelity_rows import Goal, Resampled, Rows, resample
from harness.evaluation.fidelity_target import CourseTarget, Shares
from harness.schemas.tables import MENTIONS, VISITS
from harness.schemas.task import Term

LEXICON = tuple(
    Term(domain=domain, term=term)
    for domain, term in (("hands", "tremor"), ("hands", "weak grip"), ("feet", "limp"), ("head", "dizzy"))
)
EVEN = Shares({"hands": 0.5, "feet": 0.25, "head": 0.25}, dict.fromkeys(("hands", "feet", "head"), "assumed"))
TARGET = CourseTarget(
    mentions_per_note={"early": Goal(2.0, "derived"), "late": Goal(3.0, "assumed")},
    domains={"early": EVEN, "late": EVEN},
    domain_onsets={"hands": Goal(6.0, "published"), "feet": Goal(4.0, "published"), "head": Goal(1.0, "assumed")},
    term_onsets={
        "tremor": Goal(6.0, "published"),
        "weak grip": Goal(5.0, "assumed"),
        "limp": Goal(4.0, "published"),
        "dizzy": Goal(1.0, "assumed"),
    },
)


def mentions(*each: tuple[int, int, bool], n_texts: int) -> Mentions:
    text, term, present = (np.array(column) for column in zip(*each, strict=True)) if each else ([], [], [])
    return Mentions(np.asarray(text, np.intp), np.asarray(term, np.intp), np.asarray(present, np.bool_), n_texts)


def indexed(rows: Rows) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["measure"], row["variable"], row["level"]): dict(row) for row in rows.rows}


def course_of(found: Mentions, setting: Setting) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = Rows("ours")
    course_rows(rows, found, setting, target=TARGET, lexicon=LEXICON)
    return indexed(rows)


def unknown(n: int) -> Sequence[None]:
    return [None] * n


def test_domain_shares_by_hand_denied_mentions_included() -> None:
    found = mentions((0, 0, True), (0, 2, False), (1, 1, True), (2, 3, True), n_texts=4)
    rows = course_of(found, Setting(["early", "early", "late", None], unknown(4), unknown(4)))
    # early: hands 2, feet 1 of three; 2/3, 1/3, 0 against 1/2, 1/4, 1/4 is half of 1/6 + 1/12 + 1/4
    assert rows["domain_share", "early", "hands"]["value"] == pytest.approx(2 / 3)
    assert rows["domain_tv", "early", "all"]["value"] == pytest.approx(0.25)
    assert rows["domain_tv", "late", "all"]["value"] == pytest.approx(0.75)


def test_a_stage_without_texts_or_terms_says_which() -> None:
    rows = course_of(mentions(n_texts=1), Setting(["early"], unknown(1), unknown(1)))
    assert rows["domain_tv", "early", "all"]["reason"] == "no lexicon term is mentioned at this stage"
    assert rows["domain_tv", "late", "all"]["reason"] == "no text is said to be of this stage"
    assert all(row["value"] is None for row in rows.values())


def onset_case(n_personas: int) -> tuple[Mentions, Setting]:
    """Every persona has a note 8, 5 and 2 years before: hands first, feet next, the head last; feet denied at 8."""
    each, persons, years = [], [], []
    for persona in range(n_personas):
        for visit, (moment, terms) in enumerate(
            ((8.0, [(0, True), (2, False)]), (5.0, [(2, True)]), (2.0, [(3, True)]))
        ):
            each += [(3 * persona + visit, term, present) for term, present in terms]
            persons.append(f"p{persona}")
            years.append(moment)
    n = 3 * n_personas
    return mentions(*each, n_texts=n), Setting(["early"] * n, persons, years)


def test_a_domain_begins_where_it_is_first_stated_not_where_it_is_denied() -> None:
    found, setting = onset_case(2)
    first = first_mentions(found, setting, [term.domain for term in LEXICON])
    assert first == {"hands": [8.0, 8.0], "feet": [5.0, 5.0], "head": [2.0, 2.0]}


def test_onsets_in_the_declared_order_have_tau_one() -> None:
    rows = course_of(*onset_case(5))
    assert [rows["onset_years", "onset", domain]["value"] for domain in ("hands", "feet", "head")] == [8, 5, 2]
    assert rows["onset_tau", "onset", "domain"]["value"] == 1
    assert rows["onset_tau", "onset", "domain"]["mark"] == "assumed"  # of the head


def test_too_few_personas_put_nothing_in_order() -> None:
    rows = course_of(*onset_case(4))
    assert rows["onset_tau", "onset", "domain"]["status"] == "undefined"
    assert rows["onset_years", "onset", "head"]["reason"] == (
        "stated in dated texts about 4 personas; at least 5 are needed"
    )
    found, setting = onset_case(9)
    undated = course_of(found, Setting(setting.stages, setting.persons, unknown(27)))
    assert undated["onset_tau", "onset", "domain"]["status"] == "undefined"


def draws(n: int) -> Resampled:
    return resample(n, n_replicates=400, confidence=0.95, rng=seeds.generator(0, "notes"))


def test_mentions_per_note_by_hand_with_an_interval_over_people() -> None:
    rows = Rows("ours")
    persons = [f"p{place // 2}" for place in range(12)]
    mention_count_rows(
        rows, [1, 3] * 6, Setting(["early"] * 12, persons, unknown(12)), target=TARGET, resampled=draws(6)
    )
    found = indexed(rows)
    row = found["mentions_per_note", "stage", "early"]
    assert (row["value"], row["ci_low"], row["ci_high"]) == (2, 2, 2)  # every person has the same two notes
    assert found["mentions_per_note", "stage", "late"]["reason"] == "no note of this stage"


def test_pairs_in_texts_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # text 0: tremor, weak grip, limp; text 2: limp, dizzy
    found = mentions((0, 0, True), (0, 1, True), (0, 2, True), (2, 2, True), (2, 3, True), n_texts=3)
    expected = [[1, 1, 0], [1, 0, 0.5], [0, 0.5, 0]]
    assert domain_pairs(found, LEXICON).tolist() == expected
    monkeypatch.setattr(fidelity_course, "BLOCK", 1)
    assert domain_pairs(found, LEXICON).tolist() == expected


def test_co_occurrence_without_pairs_is_undefined() -> None:
    rows = Rows("ours")
    pairs = np.array([[2.0, 0.0], [0.0, 0.0]])
    co_occurrence_row(rows, pairs, np.zeros((2, 2)), "gold")
    co_occurrence_row(rows, np.zeros((2, 2)), pairs, "(plan)")
    assert [row["reason"] for row in rows.rows] == [
        "no two terms stand in one text of gold",
        "no two terms stand in one text of the texts",
    ]
    rows = Rows("ours")
    co_occurrence_row(rows, pairs, np.array([[0.0, 1.0], [1.0, 0.0]]), "gold")
    assert rows.rows[0]["value"] == 1


def test_coverage_counts_terms_of_the_chosen_texts_alone() -> None:
    rows = Rows("ours")
    coverage_row(rows, mentions((0, 0, True), (1, 3, True), (2, 3, True), n_texts=3), [1, 2], LEXICON)
    assert (rows.rows[0]["value"], rows.rows[0]["n"]) == (0.25, 2)
    coverage_row(rows, mentions(n_texts=0), [], LEXICON)
    assert rows.rows[1]["reason"] == "no sentences"


def test_a_visit_of_the_plan_is_a_text() -> None:
    visits = pa.Table.from_pylist(
        [
            {"persona_id": "p", "visit_index": place, "days_before_diagnosis": 1461 * place, "stage": "early",
             "note_type": "other"}
            for place in range(2)
        ],
        schema=VISITS.schema,
    )  # fmt: skip
    planned = pa.Table.from_pylist(
        [
            {"persona_id": "p", "visit_index": 1, "mention_index": place, "domain": "feet", "term": term, "label": "x",
             "polarity": polarity}
            for place, (term, polarity) in enumerate((("limp", "present"), ("dizzy", "absent"), ("left the lexicon", "present")))
        ],
        schema=MENTIONS.schema,
    )  # fmt: skip
    found, setting = plan_mentions(visits, planned, LEXICON)
    order = np.argsort(found.term)
    assert found.text.tolist() == [1, 1] and found.term[order].tolist() == [2, 3]
    assert found.present[order].tolist() == [True, False]
    assert setting.years == [0.0, 4.0]
