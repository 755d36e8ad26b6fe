"""A note to be written: what is planned about it, what its arm may see of that, and the prompt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from harness.prompts.render import load_template
from harness.prompts.sight import Slot, View, visible
from harness.schemas.arms import Sight
from harness.schemas.task import Label, Task
from harness.soap import SECTIONS

# How each documentation style reads, for a model that has to write in it.
STYLES = {
    "terse": "terse: fragments of a few words, no filler",
    "narrative": "narrative: full sentences that tell the visit in order",
    "templated": "templated: short fields with a name and a colon, such as Sleep: or Function:",
    "abbreviation_heavy": "full of common clinical abbreviations, such as pt, c/o, hx, w/, s/p",
}


@dataclass(frozen=True)
class Mention:
    """One thing that a note is to say.

    Attributes:
        label: Id of the label its sentence is to show.
        domain: Lexicon domain of the term.
        term: To be stated, or to be denied where `polarity` is absent; None where only a label is asked for.
        polarity: `present`, `absent`, or None without a term.
        course: `new`, `stable` or `worse`, of a present term.
        reported: Whether somebody other than the patient tells it.
    """

    label: str
    domain: str | None = None
    term: str | None = None
    polarity: str | None = None
    course: str | None = None
    reported: bool = False


@dataclass(frozen=True)
class NoteSlot:
    """A note to be written: all that is planned about it, whoever may see it; for the visit see `Slot`."""

    index: int
    mentions: tuple[Mention, ...]
    persona: Mapping[str, Any] | None = None
    visit_index: int | None = None
    stage: str | None = None
    note_type: str | None = None
    style: str | None = None


@dataclass(frozen=True)
class Point:
    """One mention as a template sees it, in words; without a term, only its label is asked for."""

    label: Label
    term: str | None
    denied: bool
    course: str | None
    reported: bool


@dataclass(frozen=True)
class Topic:
    """The points of one label, in the order of the plan."""

    label: Label
    points: tuple[Point, ...]

    @property
    def terms(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.term is not None)


@dataclass(frozen=True)
class NoteView:
    """A note as a template sees it, in words. What the arm does not see is None or empty; see `View`."""

    points: tuple[Point, ...]
    traits: tuple[str, ...] = ()
    stage: str | None = None
    note_type: str | None = None
    style: str | None = None
    age_years: int | None = None
    sex: str | None = None

    @property
    def topics(self) -> tuple[Topic, ...]:
        """Present points by label, in the order in which labels first come."""
        present = [point for point in self.points if not point.denied]
        labels = dict.fromkeys(point.label.id for point in present)
        grouped = {one: tuple(point for point in present if point.label.id == one) for one in labels}
        return tuple(Topic(points[0].label, points) for points in grouped.values())

    @property
    def denials(self) -> tuple[str, ...]:
        """Terms that the note is to deny."""
        return tuple(point.term for point in self.points if point.denied and point.term is not None)


def visible_note(task: Task, slot: NoteSlot, sees: Collection[Sight]) -> NoteView:
    """The part of a note that an arm with this sight may see; every part goes through `visible`."""
    views = [visible(task, _as_sentence(slot, mention), sees) for mention in slot.mentions]
    points = [_point(view, mention) for view, mention in zip(views, slot.mentions, strict=True)]
    frame = visible(task, _as_sentence(slot, Mention(label=task.labels[0].id)), sees)
    return NoteView(
        points=tuple(points),
        traits=frame.traits,
        stage=frame.stage,
        note_type=frame.note_type,
        style=None if frame.style is None else STYLES.get(str(slot.style), frame.style),
        age_years=frame.age_years,
        sex=frame.sex,
    )


def _as_sentence(slot: NoteSlot, mention: Mention) -> Slot:
    return Slot(
        index=slot.index,
        label=mention.label,
        persona=slot.persona,
        visit_index=slot.visit_index,
        stage=slot.stage,
        note_type=slot.note_type,
        domain=mention.domain,
        term=mention.term,
        polarity=mention.polarity,
        course=mention.course,
        style=slot.style,
    )


def _point(view: View, mention: Mention) -> Point:
    return Point(
        label=view.label,
        term=view.term,
        denied=view.denied,
        course=view.course,
        reported=mention.reported and view.term is not None,
    )


def render_note(task: Task, sees: Collection[Sight], slot: NoteSlot) -> str:
    """The generator's prompt for one note; the whole reply is the note.

    A template may use `disease`, `note` (a `NoteView`) and `sections` (the four headings).

    Raises:
        ConfigError: The task names a template that exists neither in its folder nor beside this module.
    """
    template = load_template(task.folder, task.file.prompts.note)
    view = visible_note(task, slot, sees)
    return template.render(disease=task.file.disease, note=view, sections=SECTIONS).rstrip()
