"""What an arm does not see cannot reach the prompt of its notes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sight import NEVER, full_slot, toy_task

from harness.prompts.notes import STYLES, Mention, NoteSlot, render_note
from harness.schemas.documentation import STYLES as KNOWN_STYLES

ARMS = [("label", *more) for n in range(3) for more in itertools.combinations(("persona", "trajectory"), n)]
PERSONA_WORDS = ["sexword", "raceword", "schoolword", "homeword", "riskword", "987"]
TRAJECTORY_WORDS = ["stageword", "noteword", "termword", "deniedword", "worse", "told by somebody", "abbreviations"]


def full_note(suffix: str = "") -> NoteSlot:
    slot = full_slot(suffix)
    mentions = (
        Mention("memory", "domainword", "termword" + suffix, "present", "worse", reported=True),
        Mention("other", "domainword", "deniedword", "absent"),
    )
    return NoteSlot(0, mentions, slot.persona, slot.visit_index, slot.stage, slot.note_type, "abbreviation_heavy")


@pytest.mark.parametrize("sees", ARMS)
@given(suffix=st.text("abcXYZ019_", max_size=5))
def test_a_note_prompt_holds_what_its_arm_sees_and_nothing_else(sees: tuple[str, ...], suffix: str) -> None:
    prompt = render_note(toy_task(), sees, full_note(suffix))  # type: ignore[arg-type]
    for part, found in (("persona", PERSONA_WORDS), ("trajectory", TRAJECTORY_WORDS)):
        for word in found:
            assert (word in prompt) == (part in sees), (sees, word)
    assert not [word for word in NEVER if word in prompt]
    assert "memory loss" in prompt
    assert "Forgets." in prompt


@pytest.mark.parametrize("sees", ARMS)
def test_changing_what_an_arm_does_not_see_changes_no_note_prompt(sees: tuple[str, ...]) -> None:
    whole = full_note()
    planned = "trajectory" in sees
    hidden = NoteSlot(
        index=9,
        mentions=whole.mentions if planned else (Mention("memory", term="x"), Mention("other", polarity="present")),
        persona=whole.persona if "persona" in sees else None,
        stage=whole.stage if planned else "elsewhere",
        note_type=whole.note_type if planned else "elsewhere",
        style=whole.style if planned else "terse",
    )
    assert render_note(toy_task(), sees, whole) == render_note(toy_task(), sees, hidden)  # type: ignore[arg-type]


def test_points_stand_below_their_label_and_denied_ones_apart() -> None:
    prompt = render_note(toy_task(), ("label", "trajectory"), full_note())
    present, denied = prompt.index("termword (worse), told by somebody other"), prompt.index("deniedword")
    assert prompt.index("memory loss") < present < prompt.index("not there") < denied


def test_labels_alone_are_counted() -> None:
    slot = NoteSlot(0, (Mention("memory"), Mention("memory"), Mention("other")))
    prompt = render_note(toy_task(), ("label",), slot)
    assert "- 2 x memory loss: Forgets." in prompt
    assert "- 1 x other: Else." in prompt


def test_a_visit_without_mentions_is_a_routine_one() -> None:
    assert "nothing new" in render_note(toy_task(), ("label", "trajectory"), NoteSlot(0, ()))


def test_every_style_has_words() -> None:
    assert set(STYLES) == set(KNOWN_STYLES)
