from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_arms import TASK, alignment_rows

from harness.errors import DataError
from harness.generation.arms import Plan, count_labels, largest_remainder, plan_slots
from harness.prompts.sight import Slot
from harness.schemas.tables import MENTIONS, VISITS
from harness.schemas.task import Task, TaskFile
from harness.seeds import generator

QUOTAS = {"memory": 9, "mood": 6, "other": 6}
DUAL = ("label", "persona", "trajectory")


def task() -> Task:
    return Task(file=TaskFile.model_validate(TASK), folder="/nowhere")  # type: ignore[arg-type]


def plan(n_personas: int = 6, n_visits: int = 4) -> Plan:
    personas, visits, mentions = alignment_rows(n_personas, n_visits)
    visit_rows = pa.Table.from_pylist(visits, schema=VISITS.schema)
    mention_rows = pa.Table.from_pylist(mentions, schema=MENTIONS.schema)
    return Plan({row["persona_id"]: row for row in personas}, visit_rows, mention_rows)


def slots(sees: tuple[str, ...], *, quotas: dict[str, int] = QUOTAS, seed: int = 0, **shape: Any) -> list[Slot]:
    return plan_slots(task(), sees, quotas, plan(**shape), rng=generator(seed, "test"))  # type: ignore[arg-type]


def test_largest_remainder_by_hand() -> None:
    # 10 of 5:3:2 is exact; 7 of 5:3:2 is 3.5, 2.1, 1.4: floors 3, 2, 1, and the one left goes to remainder 0.5
    assert largest_remainder({"a": 5, "b": 3, "c": 2}, 10) == {"a": 5, "b": 3, "c": 2}
    assert largest_remainder({"a": 5, "b": 3, "c": 2}, 7) == {"a": 4, "b": 2, "c": 1}
    assert largest_remainder({"a": 1, "b": 1}, 3) == {"a": 2, "b": 1}
    assert largest_remainder({"a": 1, "b": 0}, 3) == {"a": 3, "b": 0}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), st.integers(1, 500))
def test_quotas_add_up_and_miss_their_share_by_less_than_one(counts: list[int], n: int) -> None:
    quotas = largest_remainder({str(index): count for index, count in enumerate(counts)}, n)
    assert sum(quotas.values()) == n
    for index, count in enumerate(counts):
        assert abs(quotas[str(index)] - n * count / sum(counts)) < 1


def test_no_rows_to_take_proportions_from_is_an_error() -> None:
    with pytest.raises(DataError, match="no rows of a, b"):
        largest_remainder({"a": 0, "b": 0}, 3)


def test_labels_are_counted_in_the_tasks_order() -> None:
    column = pa.chunked_array([["b", "a", "b"]])
    assert list(count_labels(column, ["c", "b", "a"]).items()) == [("c", 0), ("b", 2), ("a", 1)]
    several = pa.chunked_array([["a;b", "b", "a;b"]])  # a sentence counts under each of its labels
    assert count_labels(several, ["a", "b"]) == {"a": 2, "b": 3}


@pytest.mark.parametrize("sees", [("label",), ("label", "persona"), ("label", "trajectory"), DUAL])
def test_every_arm_asks_for_the_same_labels(sees: tuple[str, ...]) -> None:
    found = slots(sees)
    assert Counter(slot.label for slot in found) == QUOTAS
    assert [slot.index for slot in found] == list(range(21))


def test_a_slot_holds_nothing_its_arm_does_not_see() -> None:
    assert slots(("label",))[3] == Slot(index=3, label="memory")
    for slot in slots(("label", "persona")):
        assert slot.persona is not None
        assert (slot.visit_index, slot.stage, slot.note_type, slot.domain, slot.term, slot.polarity) == (None,) * 6
    for slot in slots(("label", "trajectory")):
        assert (slot.persona, slot.visit_index) == (None, None)
        assert slot.stage is not None


def test_mentions_fit_their_label_and_are_not_drawn_twice() -> None:
    found = slots(DUAL)
    for slot in found:
        if slot.label != "other":
            assert (slot.domain, slot.polarity) == (slot.label, "present")
    drawn = [(s.persona["persona_id"], s.visit_index, s.term, s.polarity) for s in found if s.persona and s.term]
    assert len(drawn) == len(set(drawn))


def test_half_of_the_negative_label_denies_a_term_and_half_is_routine() -> None:
    kinds = Counter(slot.polarity for slot in slots(DUAL) if slot.label == "other")
    assert kinds == {"absent": 3, None: 3}
    for slot in slots(DUAL):
        if slot.polarity is None:
            assert slot.term is None
            assert slot.stage is not None


def test_personas_are_used_evenly() -> None:
    # 21 sentences over 6 personas with a trajectory that holds plenty for each
    for sees in (DUAL, ("label", "persona")):
        used = Counter(slot.persona["persona_id"] for slot in slots(sees) if slot.persona)
        assert len(used) == 6
        assert max(used.values()) - min(used.values()) <= 1


def test_domains_keep_the_plans_proportion() -> None:
    personas, visits, mentions = alignment_rows()
    rows = [{**row, "label": "memory"} for row in mentions if row["polarity"] == "present"]  # 3 memory, 3 mood a visit
    rows = [row for row in rows if row["domain"] == "memory" or row["term"] == "tearful"]  # 3 to 1
    table = Plan(
        {row["persona_id"]: row for row in personas},
        pa.Table.from_pylist(visits, schema=VISITS.schema),
        pa.Table.from_pylist(rows, schema=MENTIONS.schema),
    )
    found = plan_slots(task(), DUAL, {"memory": 20}, table, rng=generator(0, "test"))
    assert Counter(slot.domain for slot in found) == {"memory": 15, "mood": 5}


def test_a_plan_too_small_for_the_quota_still_fills_every_slot() -> None:
    found = slots(DUAL, quotas={"memory": 30, "mood": 0, "other": 9}, n_personas=1, n_visits=2)
    assert len(found) == 39
    assert Counter(slot.term is None for slot in found if slot.label == "memory") == {True: 24, False: 6}


def test_the_seed_decides_the_plan() -> None:
    assert slots(DUAL) == slots(DUAL)
    assert slots(DUAL) != slots(DUAL, seed=1)


def test_an_arm_without_its_tables_is_an_error() -> None:
    empty = Plan({}, VISITS.schema.empty_table(), MENTIONS.schema.empty_table())
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="personas: the table is empty"):
        plan_slots(task(), ("label", "persona"), QUOTAS, empty, rng=rng)
    with pytest.raises(DataError, match="visits: the table is empty"):
        plan_slots(task(), DUAL, QUOTAS, empty, rng=rng)
