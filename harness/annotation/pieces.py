"""Synthetic texts and their plans in, sentences without a label out. Pure.

A text of the unit `sentence` is one sentence by the generator's own filter, or by the word of the file it came in: it
is taken whole, without the white space around it. A note is cut, and its headings stay out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.schemas.tables import SUBGROUP_COLUMNS, SYNTHETIC
from harness.sentences import Span
from harness.soap import note_sentences


@dataclass(frozen=True)
class Piece:
    """One sentence of a synthetic text.

    Attributes:
        sentence_id: `<arm>/<text_id>/<index>`.
        span: Where it lies in the text.
        text: Its own.
        source: The row of the synthetic table it comes from.
        plan: Rows of the planned table of its text.
    """

    sentence_id: str
    span: Span
    text: str
    source: Mapping[str, Any]
    plan: Sequence[Mapping[str, Any]]

    @property
    def is_whole(self) -> bool:
        """Whether the text was asked for as one sentence, so that its plan is the sentence's."""
        return bool(self.source["unit"] == "sentence")

    @property
    def subgroups(self) -> dict[str, Any]:
        extra = {name: value for name, value in self.source.items() if name not in SYNTHETIC.columns}
        return {**{name: self.source[name] for name in SUBGROUP_COLUMNS}, **extra}


def cut(arm: str, source: Mapping[str, Any], plan: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """The sentences of one row of the synthetic table."""
    text = source["text"]
    spans = [_whole(text)] if source["unit"] == "sentence" else note_sentences(text)
    return [
        Piece(f"{arm}/{source['text_id']}/{index}", span, text[span.start : span.end], source, plan)
        for index, span in enumerate(spans)
    ]


def _whole(text: str) -> Span:
    return Span(len(text) - len(text.lstrip()), len(text.rstrip()))
