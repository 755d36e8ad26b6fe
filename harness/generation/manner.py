"""How an arm writes: what it plans, asks, keeps and records of one unit of text. Pure.

A sentence and a note differ in all of that and in nothing else; the stage runs both alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from harness.backends.base import Request
from harness.generation.arms import Plan, largest_remainder, plan_slots
from harness.generation.filters import Judge, clean
from harness.generation.note_filters import NoteJudge, clean_note
from harness.generation.notes import note_wish, plan_notes
from harness.generation.requests import Prompting, ShotSets, build_requests
from harness.generation.rounds import Judging, SlotT, ViewT
from harness.prompts.exemplars import load_exemplars
from harness.prompts.notes import NoteSlot, NoteView, render_note, visible_note
from harness.prompts.render import template_lines
from harness.prompts.sight import Slot, View, visible
from harness.schemas.arms import Arm
from harness.schemas.task import Task
from harness.seeds import generator, integer

STAGE = "generation"


@dataclass(frozen=True)
class Order:
    """An arm and what it may draw on.

    Attributes:
        task: The disease.
        name: Of the arm.
        arm: Its settings.
        root: The recipe's root seed.
        plan: The alignment tables as far as the arm may see them.
        label_counts: Rows of each label that planned labels are to be in proportion to.
        reported_label: Label of mentions that somebody other than the patient tells; None where there is none.
    """

    task: Task
    name: str
    arm: Arm
    root: int
    plan: Plan
    label_counts: Mapping[str, int]
    reported_label: str | None = None


@dataclass(frozen=True)
class Manner(Generic[SlotT, ViewT]):
    """How one unit of text is written.

    Attributes:
        slots: What is planned, one slot per text.
        view: What a slot's prompt shows.
        build: Requests of some slots at an attempt.
        judge: Keeps or drops a reply.
        clean: What is taken of a reply.
        describe: Columns of the synthetic table that the slot decides.
        planned: Rows of the planned table of one slot, without the text's id.
    """

    slots: list[SlotT]
    view: Callable[[SlotT], ViewT]
    build: Callable[[Sequence[SlotT], int], list[Request]]
    judge: Judging[ViewT]
    clean: Callable[[str], str]
    describe: Callable[[SlotT], dict[str, Any]]
    planned: Callable[[SlotT], list[dict[str, Any]]]


def template_name(task: Task, arm: Arm) -> str:
    if arm.unit == "note":
        return task.file.prompts.note
    return task.file.prompts.generate if arm.prompt == "few_shot" else task.file.prompts.instruct


# -- sentences ---------------------------------------------------------------------------------------------------------


def sentence_manner(order: Order) -> Manner[Slot, View]:
    task, arm, sees = order.task, order.arm, order.arm.sees or ()
    prompting = _prompting(order)
    quotas = largest_remainder(order.label_counts, arm.n_sentences)
    return Manner(
        slots=plan_slots(task, sees, quotas, order.plan, rng=generator(order.root, STAGE, order.name, "plan")),
        view=lambda slot: visible(task, slot, sees),
        build=lambda slots, attempt: build_requests(
            prompting, slots, attempt=attempt, seed_path=(order.root, order.name)
        ),
        judge=_sentence_judge(task, arm),
        clean=clean,
        describe=lambda slot: _describe_sentence(slot, arm),
        planned=lambda slot: [_planned_row(0, slot)],
    )


def _prompting(order: Order) -> Prompting:
    task, arm = order.task, order.arm
    if arm.prompt == "instruct":
        return Prompting(task, arm.sees or (), shots=None)
    rng = generator(order.root, STAGE, order.name, "shots")
    return Prompting(task, arm.sees or (), ShotSets(load_exemplars(task), task.file.prompts.n_shots, rng=rng))


def _sentence_judge(task: Task, arm: Arm) -> Judge:
    if arm.prompt == "few_shot":
        parrotable = [one.text for one in load_exemplars(task)]
    else:
        parrotable = template_lines(task, template_name(task, arm))
    return Judge(
        shown=[*parrotable, *(label.definition for label in task.labels)],
        label_names=[label.name for label in task.labels],
        negative=task.negative,
    )


def _describe_sentence(slot: Slot, arm: Arm) -> dict[str, Any]:
    return {
        "unit": "sentence",
        "planned_label": slot.label,
        "planned_term": slot.term,
        "style": slot.style if arm.prompt == "instruct" else None,  # examples are continued in their own style
    }


# -- notes -------------------------------------------------------------------------------------------------------------


def note_manner(order: Order) -> Manner[NoteSlot, NoteView]:
    task, arm, sees = order.task, order.arm, order.arm.sees or ()
    quotas = {} if "trajectory" in sees else largest_remainder(order.label_counts, arm.n_sentences)
    wish = note_wish(arm, quotas, order.reported_label)

    def build(slots: Sequence[NoteSlot], attempt: int) -> list[Request]:
        return [
            Request(
                prompt=render_note(task, sees, slot),
                seed=integer(order.root, STAGE, order.name, str(slot.index), str(attempt)),
                multiline=True,
            )
            for slot in slots
        ]

    return Manner(
        slots=plan_notes(wish, order.plan, rng=generator(order.root, STAGE, order.name, "plan")),
        view=lambda slot: visible_note(task, slot, sees),
        build=build,
        judge=_note_judge(task, arm),
        clean=clean_note,
        describe=lambda slot: {"unit": "note", "planned_label": None, "planned_term": None, "style": slot.style},
        planned=lambda slot: [_planned_row(index, mention) for index, mention in enumerate(slot.mentions)],
    )


def _note_judge(task: Task, arm: Arm) -> NoteJudge:
    stages = task.file.subgroups.get("stage")
    return NoteJudge(
        shown=[label.definition for label in task.labels],
        label_names=[label.name for label in task.labels],
        stage_names=[] if stages is None else [*stages.levels.values(), *stages.prompt.values()],
        min_coverage=arm.min_coverage,
    )


def _planned_row(index: int, source: Any) -> dict[str, Any]:
    """Of a `Slot` or a `Mention`: both name the same things alike."""
    columns = ("domain", "term", "label", "polarity", "course")
    return {"mention_index": index, **{name: getattr(source, name) for name in columns}}
