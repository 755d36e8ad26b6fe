"""Rejection sampling: a candidate is kept, or dropped with one reason. Pure, in order from cheap to dear.

The same filters serve every arm; those about a term apply where the arm was shown one.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.backends.base import Reply
from harness.prompts.sight import View
from harness.sentences import split
from harness.words import (
    denies_term,
    holds_negation,
    holds_term,
    opens_with_denial,
    says_more,
    words,
)

Reason = Literal[
    "request failed", "empty", "markup", "length", "gibberish", "unfinished", "not one sentence", "not a note's voice",
    "names the label", "lacks its term", "only its term", "denied", "lacks a negation", "contradicts its persona",
    "prompt echo", "duplicate", "near-duplicate",
]  # fmt: skip

MIN_WORDS, MAX_WORDS = 4, 40  # of a sentence in a note; shorter ones say nothing, longer ones ran on
MIN_LETTERS = 0.5  # share of letters among visible characters: vitals and scores pass, debris does not
MAX_WORD_LETTERS = 25
MIN_DISTINCT_WORDS = 0.6  # of a sentence of at least eight words
SHINGLE = 5  # characters
NEAR_DUPLICATE = 0.8  # Jaccard similarity of character 5-grams
ECHO_WORDS = 3
ECHO_RUN = 5  # words in a row that stand in any example: never by chance in a sentence this short
MAX_ECHO = 0.5  # share of a candidate's word 3-grams that stand in one example or in the instruction

MARKUP = re.compile(
    r"```|\*\*|<\||</|<[a-z]+>|https?:|www\.|\\|[{}|~^_]{1}|"
    r"\b(?:sentence|finding|denied|patient|note|topic|label|question|answer|user|assistant|system|example)\s*:",
    re.IGNORECASE,
)
DANGLING = frozenset({
    "a", "an", "the", "of", "to", "by", "with", "for", "in", "on", "at", "and", "or", "but", "from", "as", "that",
    "which", "who", "is", "are", "was", "were", "his", "her",
})  # fmt: skip
FOREIGN_VOICE = frozenset({
    "i", "i'm", "i've", "i'd", "i'll", "my", "me", "mine", "our", "ours", "us", "we", "you", "your", "yours",
    "you're", "myself", "yourself",
})  # fmt: skip
DEFINITION = re.compile(
    r"\b(?:is|are) (?:not )?(?:an? |the )?(?:\w+ )?"
    r"(?:behaviou?rs?|conditions?|disorders?|diseases?|symptoms?|terms?|forms?|types?|kinds?|parts?|documents?)\b",
    re.IGNORECASE,
)
# Small models drift into news of violence; a note that had to say this would not be of use here either.
CRIME = frozenset({"rape", "raped", "rapist", "porn", "nude", "incest", "murder", "murdered", "murderer"})
AGE = re.compile(r"\b(\d{1,3})[- ]?(?:years?[- ]old|yo|y/o)\b", re.IGNORECASE)
QUOTED = re.compile(r"[\"\u201c][^\"\u201d]*[\"\u201d]")
PAIRS = (("(", ")"), ("[", "]"), ("\u201c", "\u201d"))


def clean(text: str) -> str:
    """A reply as a sentence: one line, no list bullet, no quotation marks around the whole, plain white space."""
    text = unicodedata.normalize("NFC", " ".join(text.split())).lstrip("-*\u2022 ").strip()
    if len(text) > 2 and text[0] == text[-1] == '"' and text.count('"') == 2:
        text = text[1:-1].strip()
    return text


@dataclass
class Judge:
    """The filters of one arm, and what was kept so far.

    Attributes:
        shown: Texts that prompts hold: examples, definitions, the instruction.
        label_names: Names a sentence must not state: that would be the answer inside the question.
        negative: Id of the label without symptoms, or None.
    """

    shown: Sequence[str]
    label_names: Sequence[str]
    negative: str | None
    _echoes: list[frozenset[tuple[str, ...]]] = field(init=False)
    _runs: frozenset[tuple[str, ...]] = field(init=False)
    _kept: NearDuplicates = field(init=False)
    _names: list[tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._echoes = [frozenset(_ngrams(words(text), ECHO_WORDS)) for text in self.shown]
        self._runs = frozenset(run for text in self.shown for run in _ngrams(words(text), ECHO_RUN))
        self._kept = NearDuplicates()
        self._names = [tuple(words(name)) for name in self.label_names if len(words(name)) > 1]

    def reject(self, reply: Reply, view: View) -> Reason | None:
        """Why this candidate is dropped; None keeps it, and later ones are compared with it.

        Args:
            reply: The backend's reply.
            view: What the prompt showed.
        """
        if reply.status == "failed":
            return "request failed"
        text = clean(reply.text)
        reason = reject_form(text, cut=reply.finish_reason == "length") or self._reject_content(text, view)
        return reason or self._kept.reject_or_keep(text)

    def _reject_content(self, text: str, view: View) -> Reason | None:
        found = words(text)
        checks: tuple[tuple[Reason, Callable[[], bool]], ...] = (
            ("names the label", lambda: any(_contains(found, name) for name in self._names)),
            ("lacks its term", lambda: view.term is not None and not holds_term(text, view.term)),
            ("only its term", lambda: view.term is not None and not view.denied and not says_more(text, view.term)),
            ("lacks a negation", lambda: view.denied and not holds_negation(text)),
            ("denied", lambda: self._denies(text, view)),
            ("contradicts its persona", lambda: _contradicts(text, found, view)),
            ("prompt echo", lambda: self._echoes_prompt(found, view)),
        )
        return next((reason for reason, applies in checks if applies()), None)

    def _denies(self, text: str, view: View) -> bool:
        """Whether a sentence that is to show a symptom says that it is not there."""
        if self.negative is None or view.label.id == self.negative:
            return False
        return opens_with_denial(text) or (view.term is not None and denies_term(text, view.term))

    def _echoes_prompt(self, found: Sequence[str], view: View) -> bool:
        """A near-copy of an example or of the instruction, or the persona recited."""
        grams, runs = set(_ngrams(found, ECHO_WORDS)), set(_ngrams(found, ECHO_RUN))
        if grams and any(len(grams & echo) / len(grams) >= MAX_ECHO for echo in self._echoes):
            return True
        if not runs.isdisjoint(self._runs):
            return True
        recited = [trait for trait in map(words, view.traits) if len(trait) > 1 and _contains(found, tuple(trait))]
        return len(recited) > 1 or any(len(trait) > 2 for trait in recited)


def reject_form(text: str, *, cut: bool) -> Reason | None:
    """Why a text cannot be a sentence of a note, whatever it says; None where it can."""
    if not text:
        return "empty"
    found = words(text)
    checks: tuple[tuple[Reason, Callable[[], bool]], ...] = (
        ("markup", lambda: MARKUP.search(text) is not None),
        ("length", lambda: not MIN_WORDS <= len(found) <= MAX_WORDS),
        ("gibberish", lambda: _is_gibberish(text, found)),
        ("unfinished", lambda: cut or _is_unfinished(text, found)),
        ("not one sentence", lambda: len(split(text)) != 1),
        ("not a note's voice", lambda: _is_foreign(text)),
    )
    return next((reason for reason, applies in checks if applies()), None)


def _is_foreign(text: str) -> bool:
    """Whether somebody speaks of himself or to a reader outside quotation marks, explains a word, or tells a crime."""
    spoken = set(words(QUOTED.sub(" ", text)))
    return not spoken.isdisjoint(FOREIGN_VOICE | CRIME) or DEFINITION.search(text) is not None


def _is_gibberish(text: str, found: Sequence[str]) -> bool:
    visible = [character for character in text if not character.isspace()]
    n_letters = sum(character.isalpha() for character in visible)
    grams = list(_ngrams(found, ECHO_WORDS))
    return (
        n_letters / len(visible) < MIN_LETTERS
        or any(
            unicodedata.category(character) in {"Cc", "Cn", "Co", "So"} or character == "\ufffd"
            for character in visible
        )
        or any(len(word) > MAX_WORD_LETTERS for word in found)
        or any(a == b for a, b in itertools.pairwise(found) if not a.isdigit())
        or (len(found) >= 8 and len(set(found)) / len(found) < MIN_DISTINCT_WORDS)
        or len(set(grams)) < len(grams)
    )


def _is_unfinished(text: str, found: Sequence[str]) -> bool:
    if any(text.count(opening) != text.count(closing) for opening, closing in PAIRS) or text.count('"') % 2:
        return True
    if text[-1] in ".!?\"')]\u201d":
        return text.endswith(("...", "\u2026"))
    return not text[-1].isalnum() or found[-1] in DANGLING


class NearDuplicates:
    """Texts kept so far; finds those whose sets of character 5-grams are at least 0.8 alike, exactly.

    Two sets that similar share one of their first n - ceil(0.8 n) + 1 members in any fixed order, so that only texts
    that meet there are compared. Source: Chaudhuri, Ganti, Kaushik, ICDE 2006 (prefix filtering).
    """

    def __init__(self) -> None:
        self._normal: set[str] = set()
        self._shingles: list[frozenset[str]] = []
        self._by_prefix: dict[str, list[int]] = defaultdict(list)

    def reject_or_keep(self, text: str) -> Reason | None:
        normal = " ".join(words(text))
        if normal in self._normal:
            return "duplicate"
        shingles = frozenset(normal[i : i + SHINGLE] for i in range(max(1, len(normal) - SHINGLE + 1)))
        prefix = sorted(shingles)[: len(shingles) - -int(-NEAR_DUPLICATE * len(shingles) // 1) + 1]
        met = {place for shingle in prefix for place in self._by_prefix.get(shingle, ())}
        if any(_jaccard(shingles, self._shingles[place]) >= NEAR_DUPLICATE for place in met):
            return "near-duplicate"
        self._normal.add(normal)
        for shingle in prefix:
            self._by_prefix[shingle].append(len(self._shingles))
        self._shingles.append(shingles)
        return None


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    n_common = len(a & b)
    return n_common / (len(a) + len(b) - n_common)


def _contradicts(text: str, found: Sequence[str], view: View) -> bool:
    """Whether a sentence opens with the other sex's pronoun, or tells an age that is not the persona's."""
    other_sex = {"female": {"he", "his", "him"}, "male": {"she", "her", "hers"}}.get(view.sex or "", set())
    ages = {int(age) for age in AGE.findall(text)}
    return found[0] in other_sex or (view.age_years is not None and bool(ages - {view.age_years}))


def _ngrams(found: Sequence[str], n: int) -> Iterable[tuple[str, ...]]:
    return (tuple(found[i : i + n]) for i in range(len(found) - n + 1))


def _contains(found: Sequence[str], phrase: tuple[str, ...]) -> bool:
    return any(tuple(found[i : i + len(phrase)]) == phrase for i in range(len(found) - len(phrase) + 1))
