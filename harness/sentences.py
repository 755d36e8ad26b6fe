"""Splitting clinical prose into sentences, with character offsets.

Notes are full of full stops that end nothing (`Dr. Lee`, `5 mg. daily`, `q.d.`, `2.5`, `1. Memory`), so a stop ends a
sentence only where what follows looks like a beginning. Plain rules over a short list of abbreviations: no model, the
same answer everywhere. The filter that wants exactly one sentence and the annotation stage both rest on it, and stages
may not import each other; that is why it lies here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Followed by a name or a number; never the end of a sentence.
TITLES = frozenset({
    "dr", "mr", "mrs", "ms", "prof", "rev", "st", "vs", "e.g", "i.e", "approx", "cf", "fig",
})  # fmt: skip
# May end a sentence: then a capital letter follows.
ABBREVIATIONS = frozenset({
    "pt", "pts", "hx", "dx", "rx", "tx", "sx", "fx", "yr", "yrs", "mo", "mos", "wk", "wks", "hr", "hrs", "min",
    "mins", "mg", "mcg", "ml", "kg", "lb", "lbs", "oz", "cm", "mm", "ft", "etc", "dept", "tel", "ext", "a.m", "p.m",
    "q.d", "b.i.d", "t.i.d", "q.i.d", "p.r.n", "p.o", "q.h.s", "h.s", "u.s", "c.o", "s.p", "w.o", "r.o", "jr", "sr",
    "inc", "d.c",
})  # fmt: skip
STOP = re.compile(r"[.!?]+[\"'\u201d\u2019)\]]*(?=\s)")
BLOCK = re.compile(r"[ \t]*\n\s*\n\s*|[ \t]*\n[ \t]*(?=(?:[-*\u2022]|\d{1,2}[.)])\s)")
LIST_MARKER = re.compile(r"\d{1,2}|[A-Za-z]")


class Span(NamedTuple):
    start: int
    end: int


def split(text: str) -> list[Span]:
    """Sentences as half-open character spans, in order, without the white space around them.

    Blank lines and list items always part; other line breaks are white space. No character but white space is left out.
    """
    spans: list[Span] = []
    start = 0
    for end in [*_ends(text), len(text)]:
        piece = text[start:end]
        if piece.strip():
            spans.append(Span(start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = end
    return spans


def _ends(text: str) -> list[int]:
    blocks = {match.start() for match in BLOCK.finditer(text)}
    ends = set(blocks)
    begin = 0  # of the current sentence: a list marker is one only there
    for match in STOP.finditer(text):
        begin = max([begin, *(end for end in blocks if end <= match.start())])
        if _ends_sentence(text[begin : match.start()], match.group(), text[match.end() :].lstrip()):
            ends.add(match.end())
            begin = match.end()
    return sorted(ends)


def _ends_sentence(before: str, stop: str, after: str) -> bool:
    """Whether a stop between these two texts ends a sentence."""
    if not after or after[0].islower():
        return not after
    if stop[0] != "." or len(stop.rstrip("\"'\u201d\u2019)]")) > 1:
        return True
    words = before.split()
    word = words[-1].lstrip("\"'(\u201c[") if words else ""
    if word.lower() in TITLES or (word.lower() == "no" and after[0].isdigit()):
        return False
    if len(words) == 1 and LIST_MARKER.fullmatch(word):
        return False
    if word.lower() in ABBREVIATIONS or word.lower().rstrip(".") in ABBREVIATIONS:
        return after[0].isupper()
    # an initial in a name: `seen by J. Moss`, but `low vitamin D. Recheck`
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    return not (is_initial and (len(words) < 2 or words[-2].lower() in {"by", "with"} or words[-2][0].isupper()))
