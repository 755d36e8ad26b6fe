"""A SOAP note: where its four sections lie, and the sentences below their headings, with character offsets.

The filter that wants four sections and the annotation stage that cuts notes both rest on it, and stages may not import
each other; that is why it lies here.

Source of the form: Weed, New England Journal of Medicine 278 (1968) 593 (the problem-oriented record).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.sentences import Span, split

SECTIONS = ("Subjective", "Objective", "Assessment", "Plan")
HEADING = re.compile(
    r"^[ \t]*(?:(?P<word>subjective|objective|assessment|plan)[ \t]*(?::|$)|(?P<letter>[SOAP])[ \t]*:)[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
# A line ends a sentence after a stop, or where the next one begins like a sentence or a list item; a wrapped line goes
# on in lower case.
LINE_END = re.compile(r"(?<=[.!?;:])[ \t]*\n|\n(?=[ \t]*(?:[-*\u2022\u2013]|\d{1,2}[.)]|[A-Z(\"\u201c0-9]))")
BULLET = re.compile(r"(?:[-*\u2022\u2013]|\d{1,2}[.)])[ \t]+")
SUBHEADING = re.compile(r"[^.:;!?]{1,40}:")
LETTERS = re.compile(r"[^\W\d_]")


class Section(NamedTuple):
    name: str
    """One of SECTIONS."""
    start: int
    """Of the text below the heading."""
    end: int


def sections(text: str) -> list[Section]:
    """The parts of a note below its headings, in order of the text.

    A heading is a section's name at the start of a line, with a colon or alone on the line, or its first letter with a
    colon. Text before the first heading belongs to no section.
    """
    found = list(HEADING.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
    return [Section(_name(match), match.end(), end) for match, end in zip(found, ends, strict=True)]


def _name(match: re.Match[str]) -> str:
    given = (match["word"] or match["letter"]).capitalize()
    return next(name for name in SECTIONS if name.startswith(given))


def note_sentences(text: str) -> list[Span]:
    """Sentences of a note as half-open character spans, in order.

    Headings, sub-headings (`Exam:` alone on its line), list bullets and text outside the sections are no sentences.
    """
    spans: list[Span] = []
    for section in sections(text):
        for line in _lines(text, section):
            body = text[line.start : line.end]
            pieces = [Span(line.start + one.start, line.start + one.end) for one in split(body)]
            spans += [piece for one in pieces if (piece := _without_bullet(text, one)) is not None]
    return spans


def _lines(text: str, section: Section) -> list[Span]:
    breaks = list(LINE_END.finditer(text, section.start, section.end))
    cuts, starts = [one.start() for one in breaks], [section.start, *(one.end() for one in breaks)]
    return [Span(start, end) for start, end in zip(starts, [*cuts, section.end], strict=True)]


def _without_bullet(text: str, span: Span) -> Span | None:
    """The span without its list bullet; None where nothing is left that says anything."""
    bullet = BULLET.match(text, span.start, span.end)
    start = span.start if bullet is None else bullet.end()
    said = text[start : span.end]
    if not LETTERS.search(said) or SUBHEADING.fullmatch(said):
        return None
    return Span(start, span.end)
