"""The lexicon in, its terms in a sentence out: one pass over the words, whatever the number of terms.

Words are compared by the stems that the generation filters use, so `forgot the names` mentions `forgets names`; the
words of a term must stand next to each other, stop words aside, and no punctuation between them. Where terms overlap,
the longest that begins first is taken. The trade-off: stems are rough and order matters, so `gait is unsteady` is
missed; terms that were never found are named in the fitted trajectory, for the user to reword.

Source of the pass: Aho and Corasick, Communications of the ACM 18 (1975) 333, over words instead of letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from harness.errors import ConfigError
from harness.words import SHORT_STEM_ENDINGS, STOPWORDS, WORD, stem, words

TOKEN = re.compile(rf"{WORD.pattern}|[.,;:!?()\[\]]")  # a word, or punctuation, which parts terms
SHORT_STEM = 4  # letters; a stem this short means several things (`tear`, `tearful`), so its ending has a say
ENDING_LETTERS = 2
UNKNOWN = 0  # words of no term, and punctuation
MISSING = "{name} is needed to read notes; in the clone: pip install -e '.[cohort]'"


class Found(NamedTuple):
    """A term in a text: index into the lexicon, and characters from and to."""

    term: int
    start: int
    end: int


class Matcher:
    """Finds the terms of a lexicon in texts."""

    def __init__(self, terms: Sequence[str]) -> None:
        """Build the automaton.

        Raises:
            ConfigError: pyahocorasick is not installed, a term has no word to look for, or two terms are the same words
                by stem, so that no text can tell them apart.
        """
        self._ids: dict[str, int] = {}
        self._known: dict[str, int] = dict.fromkeys(STOPWORDS, -1)
        self._lengths: list[int] = []
        self._automaton = _automaton()
        for index, key in enumerate(_keys(terms)):
            numbers = tuple(self._ids.setdefault(word, len(self._ids) + 1) for word in key)
            self._lengths.append(len(numbers))
            self._automaton.add_word(numbers, index)
        self._automaton.make_automaton()

    def find(self, text: str) -> list[Found]:
        """Terms in a sentence, in order and without overlap; offsets are those of `text`."""
        places: list[tuple[int, int]] = []
        numbers: list[int] = []
        for match in TOKEN.finditer(_lower(text)):
            word = match.group()
            number = self._known.get(word)
            if number is None:
                number = self._known[word] = self._ids.get(_key(word), UNKNOWN)
            if number >= 0:
                numbers.append(number)
                places.append(match.span())
        found = []
        for last, term in self._automaton.iter_long(tuple(numbers)):
            first = last - self._lengths[term] + 1
            found.append(Found(term, places[first][0], places[last][1]))
        return found


def _automaton() -> Any:
    try:
        import ahocorasick
    except ImportError as error:
        raise ConfigError(MISSING.format(name="pyahocorasick")) from error
    return ahocorasick.Automaton(ahocorasick.STORE_INTS, ahocorasick.KEY_SEQUENCE)


def _keys(terms: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """Each term as the words that are looked for."""
    owner: dict[tuple[str, ...], str] = {}
    for term in terms:
        key = tuple(_key(word) for word in words(term) if word not in STOPWORDS)
        if not key:
            raise ConfigError(f"lexicon: term {term!r} has no word that could be found in a text; reword it")
        if key in owner:
            raise ConfigError(
                f"lexicon: terms {owner[key]!r} and {term!r} are the same words in a text; keep one of them"
            )
        owner[key] = term
        yield key


def _key(word: str) -> str:
    """The stem of a word; a short one with the beginning of its ending, unless that is one of verbs and plurals."""
    base = stem(word)
    ending = word.removeprefix(base) if word.startswith(base) else ""
    if len(base) > SHORT_STEM or not ending or ending in SHORT_STEM_ENDINGS:
        return base
    return f"{base}-{ending[:ENDING_LETTERS]}"


def _lower(text: str) -> str:
    """Lower case with every character in its place; a few capitals have a lower case of two characters."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(one.lower() if len(one.lower()) == 1 else one for one in text)
    return lowered.replace("\u2019", "'")
