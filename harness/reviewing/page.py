"""`review.html`: the sheet as one page that works from a disk, without a network, by keyboard or on paper."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.reviewing.sheet import SHEET_COLUMNS, Item
from harness.schemas.task import Task

TEMPLATES = Path(__file__).parent / "templates"
LABEL_KEYS = "abcdefghijklmnopq"  # `r` and `s` are taken by real and synthetic


def review_page(items: Sequence[Item], task: Task) -> str:
    """The page as text; ratings stay in the browser until its reader saves them as CSV.

    Args:
        items: In the order of the sheet. Nothing of them but number and text reaches the page.
        task: Labels and their definitions, which raters need.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    shown = [{"item_id": item.item_id, "text": item.text} for item in items]
    return environment.get_template("review.html.jinja").render(
        items=shown,
        task=task.file,
        labels=[{"key": key, "label": label} for key, label in zip(LABEL_KEYS, task.labels, strict=False)],
        more_labels=task.labels[len(LABEL_KEYS) :],
        columns=[name for name in SHEET_COLUMNS if name != "text"],
        sheet=hashlib.sha256(repr(shown).encode()).hexdigest()[:16],
    )
