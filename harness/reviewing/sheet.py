"""Which sentences a clinician is shown, in which order, and the key that says where each came from. Pure.

Training gold and the sentences of every arm are mixed; held-out gold is never shown. Raters see a number and a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import DataError
from harness.schemas.mix import GOLD_ORIGIN

SHEET_COLUMNS = ("item_id", "text", "realism", "source", "label")
KEY_COLUMNS = ("item_id", "origin", "sentence_id", "group_id", "label")
REAL, SYNTHETIC = "real", "synthetic"
REALISM = ("1", "2", "3", "4", "5")


@dataclass(frozen=True)
class Item:
    """One sentence to rate.

    Attributes:
        item_id: A number that tells nothing.
        origin: `gold`, or the arm.
        sentence_id: In that origin's table.
        group_id: The patient (gold), persona or text that sentences share; what intervals resample.
        label: Ours.
        text: What is shown.
    """

    item_id: str
    origin: str
    sentence_id: str
    group_id: str
    label: str
    text: str

    @property
    def truth(self) -> str:
        return REAL if self.origin == GOLD_ORIGIN else SYNTHETIC


def draw_items(
    sources: Mapping[str, Sequence[Mapping[str, str]]], n_each: int, *, rng: np.random.Generator
) -> list[Item]:
    """Up to `n_each` sentences of each origin, shuffled together and numbered in that order.

    Args:
        sources: Origin to rows with sentence_id, group_id, label and text, in a fixed order.
        n_each: Sentences of each origin. As many of gold as of any arm: guessing pays nothing.
        rng: Decides which, and the order.

    Raises:
        DataError: An origin without sentences.
    """
    drawn: list[tuple[str, Mapping[str, str]]] = []
    for origin, rows in sources.items():
        if not rows:
            raise DataError(f"{origin}: holds no sentence to review")
        drawn += [(origin, rows[place]) for place in sorted(rng.permutation(len(rows))[:n_each])]
    order = [drawn[place] for place in rng.permutation(len(drawn))]
    width = max(3, len(str(len(order))))
    return [
        Item(
            item_id=f"{index:0{width}d}",
            origin=origin,
            sentence_id=row["sentence_id"],
            group_id=row["group_id"],
            label=row["label"],
            text=" ".join(row["text"].split()),
        )
        for index, (origin, row) in enumerate(order, start=1)
    ]


def sheet_rows(items: Sequence[Item]) -> list[dict[str, str]]:
    """What goes to raters: number and text, the rest empty."""
    return [{**dict.fromkeys(SHEET_COLUMNS, ""), "item_id": item.item_id, "text": item.text} for item in items]


def key_rows(items: Sequence[Item]) -> list[dict[str, str]]:
    """What stays here. Without texts: the sheet has them."""
    return [{name: str(getattr(item, name)) for name in KEY_COLUMNS} for item in items]


def read_key(rows: Sequence[Mapping[str, str]]) -> dict[str, Item]:
    """The key as it was written; texts are not in it."""
    return {row["item_id"]: Item(**{name: row[name] for name in KEY_COLUMNS}, text="") for row in rows}
