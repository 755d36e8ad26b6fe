"""Which label a sentence has by its plan. Pure.

A sentence of a note has the label of the planned mention that it says as planned. Where it says several, the task's
order of ties decides, and the negative label yields to all. A sentence that says none of them shows no symptom and is
negative, unless it holds a term all the same (a planned one said otherwise, or one that nobody planned): its label is
then unknown, and it is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.annotation.pieces import Piece
from harness.mentions import says
from harness.schemas.task import Task
from harness.words import TermIndex

UNPLANNED = "unplanned"
NO_PLAN = "no plan says what it shows"
ABSENT = "absent"


class Planned(NamedTuple):
    """The plan's word on a sentence: a label with the term it rests on, or why there is none."""

    label: str | None
    term: str | None = None
    reason: str | None = None


class PlanLabels:
    """Labels by plan for one task.

    Args:
        task: Labels, their order of ties, and the lexicon.
        reported_label: Label of mentions that somebody other than the patient tells; None where there is none.
    """

    def __init__(self, task: Task, reported_label: str | None = None) -> None:
        self._task = task
        self._reported_label = reported_label
        self._terms = [term.term for term in task.lexicon]
        self._index = TermIndex(self._terms)

    def of(self, piece: Piece) -> Planned:
        if piece.is_whole:
            return Planned(piece.source["planned_label"], piece.source["planned_term"])
        mentions = [row for row in piece.plan if row["term"] is not None]
        if not mentions and piece.plan:
            return Planned(None, None, NO_PLAN)  # its plan names labels, not what shows them
        said = [row for row in mentions if self._says(piece.text, row)]
        if said:
            order = self._task.tie_order
            first = min(said, key=lambda row: order.index(row["label"]))
            return Planned(first["label"], first["term"])
        if self._task.negative is None or self._states_a_term(piece.text, mentions):
            return Planned(None, None, UNPLANNED)
        return Planned(self._task.negative)

    def _says(self, text: str, mention: Mapping[str, Any]) -> bool:
        return says(
            text,
            mention["term"],
            denied=mention["polarity"] == ABSENT,
            reported=mention["label"] == self._reported_label,
        )

    def _states_a_term(self, text: str, mentions: list[Mapping[str, Any]]) -> bool:
        held = {self._terms[place] for place in self._index.held(text)} | {row["term"] for row in mentions}
        return any(says(text, term) for term in sorted(held))
