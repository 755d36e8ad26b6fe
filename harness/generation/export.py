"""An arm's prompts as rows, so that another system, or a person, can answer them and come back as a file. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from harness.backends.base import Request
from harness.generation.manner import Manner
from harness.prompts.notes import NoteSlot
from harness.prompts.sight import Slot

NO_TRAITS = ("cell_id",)  # a persona's cell in the joint is nothing that a prompt shows


def prompt_rows(how: Manner[Any, Any], requests: Sequence[Request], *, arm: str, template: str) -> list[dict[str, Any]]:
    """One row per slot: the prompt, and what it shows in columns that a file arm may bring back.

    Args:
        how: The arm's manner, with its slots.
        requests: Of those slots, in their order.
        arm: Name of the arm.
        template: Name of the template.

    Returns:
        Rows in the order of slots. Columns of what the arm does not see are not there. `label` and the mention's other
        columns for a sentence; the list `mentions` for a note.
    """
    return [
        {
            "text_id": f"{slot.index:06d}",
            "arm": arm,
            "template": template,
            "prompt_sha256": hashlib.sha256(request.prompt.encode()).hexdigest(),
            "prompt": request.prompt,
            **_seen(how, slot),
        }
        for slot, request in zip(how.slots, requests, strict=True)
    ]


def _seen(how: Manner[Any, Any], slot: Slot | NoteSlot) -> dict[str, Any]:
    described, planned = how.describe(slot), how.planned(slot)
    persona = {name: value for name, value in (slot.persona or {}).items() if name not in NO_TRAITS}
    found: dict[str, Any] = {
        "unit": described["unit"],
        **persona,
        "visit_index": slot.visit_index,
        "stage": slot.stage,
        "note_type": slot.note_type,
        "style": described["style"],
    }
    if described["unit"] == "sentence":
        found.update({name: value for name, value in planned[0].items() if name != "mention_index"})
    else:
        found["mentions"] = planned
    return {name: value for name, value in found.items() if value is not None}
