from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.evaluation.fidelity_people import Person, gather_people, people_rows, stage_rows
from harness.evaluation.fidelity_rows import Goal, Rows
from harness.evaluation.fidelity_target import Pair, PeopleTarget, Shares, computed, weakest
from harness.metrics.counts import Floats

SEX = Shares({"female": 0.6, "male": 0.4}, {"female": "published", "male": "derived"})
AGE = Shares({"young": 0.5, "old": 0.5}, {"young": "derived", "old": "assumed"})
JOINT: Floats = np.array([[0.4, 0.2], [0.1, 0.3]])  # sex by age
TARGET = PeopleTarget(
    margins={"sex": SEX, "age_band": AGE},
    pairs={("sex", "age_band"): Pair(JOINT, "derived")},
    prevalences={"salt_tooth": Goal(0.3, "published"), "slow_elbow": Goal(0.5, "assumed")},
)


def people() -> list[Person]:
    return [
        Person({"sex": "female", "age_band": "young"}, frozenset({"salt_tooth"}), 3),
        Person({"sex": "female", "age_band": "old"}, frozenset({"salt_tooth", "slow_elbow"}), 1),
        Person({"sex": "male", "age_band": "old"}, frozenset(), 1),
        Person({"sex": "female", "age_band": "old"}, frozenset({"slow_elbow"}), 5),
    ]


def rows_of(
    given: list[Person], why_none: str = "the arm shows no persona"
) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = Rows("ours")
    people_rows(rows, given, TARGET, why_none=why_none)
    return {(row["measure"], row["variable"], row["level"]): dict(row) for row in rows.rows}


def test_margins_count_people_once_and_sentences_by_their_number() -> None:
    found = rows_of(people())
    assert found["margin_share", "sex", "female"]["value"] == 0.75  # three of four people
    assert found["margin_tv", "sex", "all"]["value"] == pytest.approx(0.15)  # |0.75 - 0.6|
    assert found["sentence_margin_tv", "sex", "all"]["value"] == pytest.approx(0.3)  # |9 / 10 - 0.6|
    assert (found["margin_tv", "sex", "all"]["n"], found["sentence_margin_tv", "sex", "all"]["n"]) == (4, 10)


def test_pairs_by_hand() -> None:
    found = rows_of(people())["pair_tv", "sex x age_band", "all"]
    # found: female 1/4 young, 2/4 old; male 0, 1/4. Half of |.25-.4| + |.5-.2| + |0-.1| + |.25-.3|
    assert found["value"] == pytest.approx(0.3)
    assert found["mark"] == "derived"


def test_prevalences_and_their_errors_by_hand() -> None:
    found = rows_of(people())
    assert found["prevalence", "risk_factors", "salt_tooth"]["value"] == 0.5
    assert found["prevalence_error", "risk_factors", "mean"]["value"] == pytest.approx((0.2 + 0.0) / 2)
    assert found["prevalence_error", "risk_factors", "largest"]["value"] == pytest.approx(0.2)


def test_an_arm_that_shows_no_persona_has_no_value_and_no_zero() -> None:
    found = rows_of([Person({}, None, 4), Person({}, None, 2)])
    assert found and all(row["value"] is None and row["n"] == 0 for row in found.values())
    assert {(row["status"], row["reason"]) for row in found.values()} == {("undefined", "the arm shows no persona")}
    assert found["margin_share", "sex", "female"]["target"] == 0.6  # what it missed is still said


def test_a_level_that_the_target_does_not_name_is_mass_in_the_wrong_place() -> None:
    found = rows_of([Person({"sex": "unsaid", "age_band": "old"}, None, 1)])
    assert found["margin_tv", "sex", "all"]["value"] == 1
    assert found["margin_share", "sex", "unsaid"]["target"] == 0
    assert found["pair_tv", "sex x age_band", "all"]["value"] == 1
    assert found["prevalence", "risk_factors", "salt_tooth"]["status"] == "undefined"  # known sex, unknown factors


def test_people_are_found_behind_sentences_and_personas_fill_what_they_do_not_carry() -> None:
    sentences = [
        {"persona_id": "a", "sex": "female"},
        {"persona_id": None, "sex": "male"},
        {"persona_id": "a", "sex": "female"},
        {"persona_id": None, "sex": "male"},
    ]
    personas = {"a": {"sex": "male", "age_band": "old", "risk_factors": ["slow_elbow"]}}
    found = gather_people(sentences, "persona_id", ("sex", "age_band"), personas)
    assert [person.n_sentences for person in found] == [2, 1, 1]  # without a name each sentence is a person
    assert found[0].levels == {"sex": "female", "age_band": "old"}  # the sentence's word before the table's
    assert found[0].risk_factors == {"slow_elbow"} and found[1].risk_factors is None


def test_the_order_of_people_changes_nothing() -> None:
    one, other = rows_of(people()), rows_of(people()[::-1])
    for place, row in one.items():
        assert other[place]["value"] == pytest.approx(row["value"])


def test_the_stage_is_a_margin_of_sentences() -> None:
    rows = Rows("ours")
    stage_rows(rows, ["early", "early", "late"], Shares({"early": 0.5, "late": 0.5}, {}), "no stage")
    found = {(row["measure"], row["level"]): row for row in rows.rows}
    assert found["margin_tv", "all"]["value"] == pytest.approx(1 / 6)
    assert found["margin_tv", "all"]["n"] == 3


def test_a_number_has_the_weakest_mark_of_those_behind_it() -> None:
    assert weakest(["published", "assumed", "derived"]) == "assumed"
    assert computed(["published", "published"]) == "derived"
    assert SEX.mark == "derived" and AGE.mark == "assumed"
