"""What an arm may see of a planned sentence. What it may not see is dropped here, before any template is rendered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from harness.prompts.traits import UNINFORMATIVE, persona_traits, plain
from harness.schemas.arms import Sight
from harness.schemas.task import Label, Task


@dataclass(frozen=True)
class Slot:
    """A sentence to be written: everything that is planned about it, whoever may see it.

    Attributes:
        index: Place in the arm, from 0.
        label: Id of the label it is to show.
        persona: A row of the personas table; None where none is planned.
        visit_index: Of the persona's visit; None where none is planned.
        stage: Of the visit.
        note_type: Of the visit.
        domain: Of the mention.
        term: To be mentioned, or to be denied where `polarity` is absent.
        polarity: `present`, `absent`, or None without a term.
        course: Of the present term: `new`, `stable` or `worse`; None where none is planned.
        style: Of the visit's author; None where none is planned.
    """

    index: int
    label: str
    persona: Mapping[str, Any] | None = None
    visit_index: int | None = None
    stage: str | None = None
    note_type: str | None = None
    domain: str | None = None
    term: str | None = None
    polarity: str | None = None
    course: str | None = None
    style: str | None = None


@dataclass(frozen=True)
class View:
    """A sentence as a template sees it, in words. What the arm does not see is None or empty.

    Attributes:
        label: The label, always seen.
        traits: Words about the persona, e.g. `81-year-old woman`, `Black`, `lives alone`, `hypertension`.
        stage: E.g. `mild dementia`.
        note_type: E.g. `memory clinic`.
        term: E.g. `forgets names`.
        denied: Whether the term is to be denied.
        course: E.g. `worse`, of a term that is not denied.
        style: Documentation style of the note's author, not its words, e.g. `abbreviation_heavy`.
        age_years: Of the persona.
        sex: Level of the persona, not its words.
    """

    label: Label
    traits: tuple[str, ...] = ()
    stage: str | None = None
    note_type: str | None = None
    term: str | None = None
    denied: bool = False
    course: str | None = None
    style: str | None = None
    age_years: int | None = None
    sex: str | None = None


def visible(task: Task, slot: Slot, sees: Collection[Sight]) -> View:
    """The part of a slot that an arm with this sight may see; the only way from a slot to a prompt."""
    persona = slot.persona if "persona" in sees else None
    planned = "trajectory" in sees
    denied = planned and slot.polarity == "absent"
    return View(
        label=task.label(slot.label),
        traits=() if persona is None else persona_traits(task, persona, slot.index),
        stage=task.words("stage", slot.stage) if planned else None,
        note_type=plain(slot.note_type)
        if planned and slot.note_type is not None and slot.note_type not in UNINFORMATIVE
        else None,
        term=slot.term if planned else None,
        denied=denied,
        course=slot.course if planned and not denied else None,
        style=slot.style if planned else None,
        age_years=None if persona is None else persona.get("age_years"),
        sex=None if persona is None else persona.get("sex"),
    )
