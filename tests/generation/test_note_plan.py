from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from toy_arms import alignment_rows

from harness.errors import DataError
from harness.generation.arms import Plan
from harness.generation.notes import NoteWish, choose_visits, plan_notes
from harness.schemas.tables import MENTIONS, VISITS
from harness.seeds import generator

SEES = ("label", "persona", "trajectory")


def table(rows: list[dict[str, Any]], spec: Any) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=spec.schema)


def toy_plan(n_personas: int = 6, n_visits: int = 4) -> Plan:
    personas, visits, mentions = alignment_rows(n_personas, n_visits)
    for visit in visits:
        visit["style"] = "terse" if visit["visit_index"] else "narrative"
    return Plan({one["persona_id"]: one for one in personas}, table(visits, VISITS), table(mentions, MENTIONS))


def wish(sees: tuple[str, ...] = SEES, n_notes: int = 12, **more: Any) -> NoteWish:
    return NoteWish(**{"sees": sees, "n_notes": n_notes, "max_mentions": 21, "quotas": {}, **more})


def test_stages_note_types_and_personas_are_met_evenly() -> None:
    visits = [
        {"persona_id": f"p{p}", "visit_index": v, "days_before_diagnosis": 9, "stage": "early" if v < 6 else "late",
         "note_type": "clinic" if v % 2 else "phone"}
        for p in range(5) for v in range(8)
    ]  # fmt: skip
    chosen = choose_visits(table(visits, VISITS), 16, rng=generator(1, "t")).to_pylist()
    # early is 30 of 40 visits, each type half of it: 16 notes are 6, 6, 2, 2
    counted = Counter((row["stage"], row["note_type"]) for row in chosen)
    assert counted == {("early", "clinic"): 6, ("early", "phone"): 6, ("late", "clinic"): 2, ("late", "phone"): 2}
    per_persona = Counter(row["persona_id"] for row in chosen)
    assert max(per_persona.values()) - min(per_persona.values()) <= 1
    assert len({(row["persona_id"], row["visit_index"]) for row in chosen}) == 16


def test_a_note_carries_the_mentions_of_its_own_visit_and_no_more_than_the_cap() -> None:
    plan = toy_plan()
    for slot in plan_notes(wish(max_mentions=3), plan, rng=generator(1, "t")):
        assert slot.persona is not None
        wanted = [
            (row["term"], row["label"], row["polarity"])
            for row in plan.mentions.to_pylist()  # type: ignore[union-attr]
            if (row["persona_id"], row["visit_index"]) == (slot.persona["persona_id"], slot.visit_index)
        ]
        assert [(one.term, one.label, one.polarity) for one in slot.mentions] == wanted[:3]
        assert (slot.stage, slot.style) == (
            ("early", "late")[slot.visit_index % 2],
            "terse" if slot.visit_index else "narrative",
        )  # type: ignore[operator]


def test_what_somebody_else_tells_is_known_by_its_label() -> None:
    slots = plan_notes(wish(reported_label="mood"), toy_plan(), rng=generator(1, "t"))
    assert {(one.label, one.reported) for slot in slots for one in slot.mentions} == {
        ("memory", False), ("mood", True), ("other", False),
    }  # fmt: skip


@pytest.mark.parametrize("sees", [("label",), ("label", "persona")])
def test_an_arm_without_visits_gets_labels_by_quota_and_nothing_of_a_visit(sees: tuple[str, ...]) -> None:
    slots = plan_notes(wish(sees, 6, quotas={"memory": 10, "other": 5}), toy_plan(), rng=generator(1, "t"))
    assert Counter(one.label for slot in slots for one in slot.mentions) == {"memory": 10, "other": 5}
    assert {len(slot.mentions) for slot in slots} == {2, 3}
    assert all(slot.stage is slot.note_type is slot.style is slot.visit_index is None for slot in slots)
    assert all(one.term is None for slot in slots for one in slot.mentions)
    assert all((slot.persona is not None) == ("persona" in sees) for slot in slots)


def test_a_semantic_arm_gets_no_persona() -> None:
    slots = plan_notes(wish(("label", "trajectory")), toy_plan(), rng=generator(1, "t"))
    assert all(slot.persona is None and slot.visit_index is None and slot.stage for slot in slots)


def test_the_same_seed_plans_the_same_notes() -> None:
    first, again, other = (plan_notes(wish(), toy_plan(), rng=generator(seed, "t")) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_more_notes_than_visits_is_an_error_with_both_numbers() -> None:
    with pytest.raises(DataError, match=r"n_notes is 25, but this arm's personas have 24 visits"):
        plan_notes(wish(n_notes=25), toy_plan(), rng=generator(1, "t"))
