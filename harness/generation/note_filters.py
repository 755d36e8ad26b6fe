"""Rejection sampling of notes: a candidate is kept, or dropped with one reason. Pure, in order from cheap to dear.

A note must carry what it was asked for sentence by sentence, because it is cut into sentences afterwards: what a
neighbouring sentence says counts for nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.backends.base import Reply
from harness.generation.filters import DANGLING, NearDuplicates
from harness.mentions import says
from harness.prompts.notes import NoteView, Point
from harness.soap import SECTIONS, note_sentences, sections
from harness.words import words

NoteReason = Literal[
    "request failed", "empty", "markup", "length", "unfinished", "lacks a section", "names the label", "prompt echo",
    "contradicts its persona", "lacks planned terms", "duplicate", "near-duplicate",
]  # fmt: skip

MIN_WORDS = 25  # four sections with less say nothing
WORDS_PER_POINT = 60  # a sentence or two for each planned mention, with room for the visit around it
MAX_WORDS = 400  # for a note without any; published notes have 138 tokens on average
ECHO_RUN = 9  # words in a row that stand in a definition; the terms themselves are shorter
MARKUP = re.compile(r"```|<\||</|<[a-z]+>|https?:|\[[^\]]*\]|\{|\}|\|")  # `[Name]` is a template's blank
PROMPT_WORDS = re.compile(r"\b(?:invented patient|SOAP note|category|told by somebody other|as an ai)\b", re.IGNORECASE)
PERSON = re.compile(
    r"\b(\d{1,3})[- ]?(?:years?[- ]old|yo|y/o)\s+(?:[\w-]+\s+){0,3}?(woman|female|lady|f|man|male|gentleman|m)\b",
    re.IGNORECASE,
)
SEXES = {"woman": "female", "female": "female", "lady": "female", "f": "female"}


def clean_note(text: str) -> str:
    """A reply as a note: plain line ends, no bold or heading marks, no white space at the ends of lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\u00a0", " "))
    text = re.sub(r"\*\*|__", "", text)
    lines = (re.sub(r"^#{1,6}[ \t]+", "", line).rstrip() for line in text.split("\n"))
    return "\n".join(lines).strip()


@dataclass
class NoteJudge:
    """The filters of one arm's notes, and what was kept so far.

    Attributes:
        shown: Definitions and other texts that prompts hold.
        label_names: Names that a note must not state: that would be the answer inside the question.
        stage_names: Words that may hold a label's name, e.g. `mild cognitive impairment`; these are a diagnosis.
        min_coverage: Share of its planned terms that a note must carry.
    """

    shown: Sequence[str]
    label_names: Sequence[str]
    stage_names: Sequence[str]
    min_coverage: float
    _runs: frozenset[tuple[str, ...]] = field(init=False)
    _kept: NearDuplicates = field(init=False)

    def __post_init__(self) -> None:
        self._runs = frozenset(run for text in self.shown for run in _runs(words(text)))
        self._kept = NearDuplicates()

    def reject(self, reply: Reply, view: NoteView) -> NoteReason | None:
        """Why this candidate is dropped; None keeps it, and later ones are compared with it."""
        if reply.status == "failed":
            return "request failed"
        text = clean_note(reply.text)
        reason = self._reject_form(text, view, cut=reply.finish_reason == "length") or self._reject_content(text, view)
        if reason is not None:
            return reason
        alike = self._kept.reject_or_keep(text)
        return None if alike is None else "duplicate" if alike == "duplicate" else "near-duplicate"

    def _reject_form(self, text: str, view: NoteView, *, cut: bool) -> NoteReason | None:
        if not text:
            return "empty"
        n_words = len(words(text))
        checks: tuple[tuple[NoteReason, Callable[[], bool]], ...] = (
            ("markup", lambda: MARKUP.search(text) is not None),
            ("length", lambda: not MIN_WORDS <= n_words <= MAX_WORDS + WORDS_PER_POINT * len(view.points)),
            ("unfinished", lambda: cut or _is_unfinished(text)),
            ("lacks a section", lambda: not has_all_sections(text)),
        )
        return next((reason for reason, applies in checks if applies()), None)

    def _reject_content(self, text: str, view: NoteView) -> NoteReason | None:
        checks: tuple[tuple[NoteReason, Callable[[], bool]], ...] = (
            ("names the label", lambda: self._names_a_label(text)),
            ("prompt echo", lambda: self._echoes(text)),
            ("contradicts its persona", lambda: contradicts(text, view)),
            ("lacks planned terms", lambda: coverage(text, view.points) < self.min_coverage),
        )
        return next((reason for reason, applies in checks if applies()), None)

    def _names_a_label(self, text: str) -> bool:
        plain = " ".join(words(text))
        for name in self.stage_names:
            plain = plain.replace(" ".join(words(name)), "")
        return any(name in plain for name in map(" ".join, map(words, self.label_names)) if " " in name)

    def _echoes(self, text: str) -> bool:
        return PROMPT_WORDS.search(text) is not None or not self._runs.isdisjoint(_runs(words(text)))


def has_all_sections(text: str) -> bool:
    """Whether the four sections come in their order, each once and none empty."""
    found = sections(text)
    return tuple(one.name for one in found) == SECTIONS and all(text[one.start : one.end].strip() for one in found)


def coverage(text: str, points: Sequence[Point]) -> float:
    """Share of the planned terms that some sentence of the note carries; 1 where no term is planned."""
    wanted = [point for point in points if point.term is not None]
    if not wanted:
        return 1.0
    said = [text[span.start : span.end] for span in note_sentences(text)]
    return sum(any(carries(sentence, point) for sentence in said) for point in wanted) / len(wanted)


def carries(sentence: str, point: Point) -> bool:
    """Whether a sentence says a point as planned: stated or denied, and by whom."""
    if point.term is None:
        return True
    return says(sentence, point.term, denied=point.denied, reported=point.reported)


def contradicts(text: str, view: NoteView) -> bool:
    """Whether the first person introduced by age and sex (`81-year-old woman`) is not the persona."""
    found = PERSON.search(text)
    if found is None:
        return False
    other_age = view.age_years is not None and int(found[1]) != view.age_years
    sex = SEXES.get(found[2].lower(), "male")
    return other_age or (view.sex in {"female", "male"} and sex != view.sex)


def _is_unfinished(text: str) -> bool:
    last = words(text)[-1:] or [""]
    return text.endswith(("...", "\u2026", ",", ":", ";", "-")) or last[0] in DANGLING


def _runs(found: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(found[i : i + ECHO_RUN]) for i in range(len(found) - ECHO_RUN + 1))
