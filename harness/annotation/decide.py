"""Plan and annotator together: a row of the sentences table, or a rejection with its reason. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.annotation.pieces import Piece
from harness.annotation.plan_labels import Planned
from harness.annotation.poll import Verdict
from harness.schemas.arms import Annotation

DISAGREEMENT, LOW_CONFIDENCE = "disagreement", "low confidence"
Source = Literal["plan", "llm", "file"]


@dataclass(frozen=True)
class Labelled:
    """One sentence with everything that is known of its label.

    Attributes:
        piece: The sentence.
        planned: The plan's word.
        annotator: The annotator's, or a person's; None where nobody was asked.
        label: What stands in the end; None where the sentence is rejected.
        source: Whose label that is.
        reason: Why it is rejected.
    """

    piece: Piece
    planned: Planned
    annotator: Verdict | None
    label: str | None
    source: Source
    reason: str | None

    @property
    def pair(self) -> tuple[str, str] | None:
        """Plan's and annotator's label, where both gave one."""
        if self.planned.label is None or self.annotator is None or self.annotator.label is None:
            return None
        return self.planned.label, self.annotator.label


def settle(piece: Piece, planned: Planned, annotator: Verdict | None, rules: Annotation) -> Labelled:
    """Who labels this sentence, and whether it is kept.

    Where an annotator was asked, the annotator's label stands; one less sure than `min_confidence`, or one that differs
    from the plan where `disagreement` is drop, rejects the sentence. A person's label carries no confidence and is sure
    enough.
    """
    if annotator is None:
        source: Source = "file" if piece.source["backend"] == "file" else "plan"
        return Labelled(piece, planned, None, planned.label, source, None if planned.label else planned.reason)
    source = "file" if rules.labels == "file" else "llm"
    reason = annotator.reason or _objection(planned, annotator, rules)
    return Labelled(piece, planned, annotator, None if reason else annotator.label, source, reason)


def _objection(planned: Planned, annotator: Verdict, rules: Annotation) -> str | None:
    if annotator.confidence is not None and annotator.confidence < rules.min_confidence:
        return LOW_CONFIDENCE
    if rules.disagreement == "drop" and planned.label is not None and planned.label != annotator.label:
        return DISAGREEMENT
    return None


def sentence_row(one: Labelled) -> dict[str, Any]:
    """The row of the sentences table."""
    piece, annotator = one.piece, one.annotator
    return {
        "sentence_id": piece.sentence_id,
        "text_id": piece.source["text_id"],
        "persona_id": piece.source["persona_id"],
        "char_start": piece.span.start,
        "char_end": piece.span.end,
        "text": piece.text,
        "label": one.label,
        "label_source": one.source,
        "confidence": None if annotator is None else annotator.confidence,
        "term": one.planned.term,
        "planned_label": one.planned.label,
        "annotator_label": None if annotator is None else annotator.label,
        **piece.subgroups,
    }


def disagreement_row(one: Labelled) -> dict[str, Any]:
    """The row of the disagreements table; only for sentences on which plan and annotator differ."""
    return {
        "sentence_id": one.piece.sentence_id,
        "text": one.piece.text,
        "term": one.planned.term,
        "planned_label": one.planned.label,
        "annotator_label": None if one.annotator is None else one.annotator.label,
        "confidence": None if one.annotator is None else one.annotator.confidence,
        "kept": one.label is not None,
    }
