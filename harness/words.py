"""Words of a sentence and of a lexicon term, compared by stem: `forgets names` is held by `forgot the names of`.

English, and deliberately rough: a wrong match only lets a weaker sentence through, a missed one only costs a candidate.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
STOPWORDS = frozenset({
    "a", "an", "the", "of", "to", "by", "with", "for", "in", "on", "at", "and", "or", "from", "is", "are", "was",
    "were", "be", "been", "has", "have", "had", "his", "her", "their",
})  # fmt: skip
# Longest first. One ending is taken off; three letters stay, four where the ending is none of verbs and plurals.
ENDINGS = (
    "fulness", "iveness", "ations", "ation", "ility", "ingly", "fully", "ness", "ment", "ions", "ings", "able", "ious",
    "ance", "ence", "ants", "ated", "ates", "etic", "ety", "ate", "ion", "ing", "ful", "ous", "ive", "ity", "ant",
    "ent", "ers", "ies", "ial", "ed", "es", "er", "al", "ic", "ia", "ly", "y", "e", "s",
)  # fmt: skip
SHORT_STEM_ENDINGS = frozenset({"ing", "ed", "es", "er", "y", "e", "s"})
ALIKE_FROM = 4  # letters: a stem this long matches one that it begins, if that is at most three letters longer
IRREGULAR = {
    "forgot": "forget", "forgotten": "forget", "forgetting": "forget", "lost": "lose", "losing": "lose", "loss": "lose",
    "loses": "lose", "fell": "fall", "fallen": "fall", "slept": "sleep", "spoke": "speak", "spoken": "speak",
    "speech": "speak", "ate": "eat", "eaten": "eat", "drove": "drive", "driven": "drive", "got": "get", "gotten": "get",
    "getting": "get", "left": "leave", "leaving": "leave", "wrote": "write", "written": "write", "withdrew": "withdraw",
    "withdrawn": "withdraw", "withdrawal": "withdraw", "shopped": "shop", "shopping": "shop", "planning": "plan",
    "misjudged": "misjudge", "understood": "understand", "missed": "miss", "stopped": "stop", "paranoid": "paranoia",
    "said": "say", "told": "tell", "weak": "weak", "weakness": "weak", "unsteadily": "unsteady", "dizzy": "dizziness",
    "men": "man", "women": "woman", "bathes": "bath", "bathing": "bath", "bathed": "bath", "learnt": "learn",
}  # fmt: skip
# Words that say the same about a symptom; a term may be held by any of its group.
GROUPS = (
    ("difficulty", "difficulties", "difficult", "trouble", "problem", "problems", "struggles", "struggling", "impaired",
     "impairment", "poor", "poorly", "bad", "unable", "cannot", "hard"),
    ("needs", "need", "needed", "requires", "require", "required", "relies", "depends"),
    ("help", "helps", "helped", "assist", "assists", "assistance", "assisted", "aid"),
    ("cannot", "can't", "unable", "couldn't", "not"),
    ("complaint", "lapse", "loss", "problem", "problems", "issues", "difficulty"),
    ("memory", "recall", "recalls", "remember", "remembers", "remembering"),
    ("items", "things", "belongings", "keys", "glasses", "purse", "wallet"),
    ("gait", "walk", "walks", "walking"),
    ("decline", "declined", "declining", "worse", "worsening"),
)  # fmt: skip
NEGATIONS = frozenset({
    "no", "not", "never", "without", "denies", "denied", "deny", "denying", "negative", "none", "neither", "nor",
    "isn't", "doesn't", "don't", "didn't", "hasn't", "wasn't", "aren't", "cannot", "can't",
})  # fmt: skip
FILLERS = frozenset({"mood", "events", "present"})  # words of a term that a clinician leaves out: `depressed`
NEGATION_PHRASES = re.compile(r"\b(?:free of|absence of|ruled out|unremarkable|within normal limits|resolved)\b")
NEGATION_REACH = 3  # words before a term in which a negation denies it (after NegEx, whose reach is 5 tokens; shorter
# here because other words often stand between). Source: Chapman et al., J Biomed Inform 34 (2001) 301.
MIN_OTHER_WORDS = 2
FREE_WORDS_FROM = 4  # a term of this many content words may miss one of them


def words(text: str) -> list[str]:
    """Lower-case words; a hyphen parts words, typographic apostrophes are plain ones."""
    return WORD.findall(text.lower().replace("\u2019", "'"))


@cache
def stem(word: str) -> str:
    word = IRREGULAR.get(word, word)
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= (3 if ending in SHORT_STEM_ENDINGS else 4):
            return word.removesuffix(ending)
    return word


@cache
def term_stems(term: str) -> tuple[frozenset[str], ...]:
    """For each content word of a term the stems that hold it."""
    content = [word for word in words(term) if word not in STOPWORDS]
    content = [word for word in content if word not in FILLERS] or content
    return tuple(
        frozenset({stem(word), *(stem(other) for group in GROUPS if word in group for other in group)})
        for word in content
    )


def holds_term(text: str, term: str) -> bool:
    """Whether every content word of the term is in the text by stem; a term of four or more may miss one."""
    wanted = term_stems(term)
    found = _matches(words(text), wanted)
    return sum(bool(places) for places in found) >= _n_needed(wanted)


def says_more(text: str, term: str) -> bool:
    """Whether a text holds two content words beyond the term; `missed medication, missed medications` does not."""
    wanted = term_stems(term)
    others = {
        stem(word)
        for word in words(text)
        if word not in STOPWORDS and not any(_alike(stem(word), held) for stems in wanted for held in stems)
    }
    return len(others) >= MIN_OTHER_WORDS


def denies_term(text: str, term: str) -> bool:
    """Whether a negation stands shortly before the term, or denies it as a whole.

    A negation that is part of the term (`does not recall events`) denies nothing.
    """
    text_words = words(text)
    own = set(words(term))
    places = [place for found in _matches(text_words, term_stems(term)) for place in found]
    if not places:
        return False
    before = text_words[max(0, min(places) - NEGATION_REACH) : min(places)]
    pairs = zip(before, [*before[1:], ""], strict=False)
    return any(word in NEGATIONS and word not in own and (word, after) != ("no", "longer") for word, after in pairs)


def holds_negation(text: str) -> bool:
    return bool(NEGATIONS & set(words(text))) or bool(NEGATION_PHRASES.search(text.lower()))


def opens_with_denial(text: str) -> bool:
    """`Denies ...`, `No ...` without `longer`: such a sentence reports that something is not there."""
    first = words(text)[:3]
    return bool({"denies", "denied", "deny"} & set(first)) or (first[:1] == ["no"] and first[1:2] != ["longer"])


def _matches(text_words: list[str], wanted: tuple[frozenset[str], ...]) -> list[list[int]]:
    """For each wanted word its places in the text."""
    stems = [stem(word) for word in text_words]
    return [
        [place for place, one in enumerate(stems) if any(_alike(one, held) for held in stem_set)] for stem_set in wanted
    ]


def _alike(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    return a == b or (len(short) >= ALIKE_FROM and long.startswith(short) and len(long) - len(short) <= 3)


class TermIndex:
    """`holds_term` for many terms and texts: each different word meets the terms once, however often it repeats."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._slots: dict[str, list[tuple[tuple[int, int], str]]] = {}  # by the letters that alike stems share
        for index, term in enumerate(terms):
            for place, stems in enumerate(term_stems(term)):
                for held in stems:
                    self._slots.setdefault(held[:ALIKE_FROM], []).append(((index, place), held))
        self._needed = [_n_needed(term_stems(term)) for term in terms]
        self._hit: dict[str, tuple[tuple[int, int], ...]] = {}

    def held(self, text: str) -> list[int]:
        """Places in the lexicon of the terms that a text holds, in order."""
        filled = {slot for word in set(words(text)) for slot in self._slots_of(word)}
        n_filled = Counter(index for index, _ in filled)
        return sorted(index for index, n in n_filled.items() if n >= self._needed[index])

    def _slots_of(self, word: str) -> tuple[tuple[int, int], ...]:
        known = self._hit.get(word)
        if known is None:
            own = stem(word)
            near = self._slots.get(own[:ALIKE_FROM], [])
            known = tuple({slot for slot, held in near if _alike(own, held)})
            self._hit[word] = known
        return known


def _n_needed(wanted: tuple[frozenset[str], ...]) -> int:
    """Content words that a text must hold: all of a short term, all but one of a long one."""
    return len(wanted) - (1 if len(wanted) >= FREE_WORDS_FROM else 0)
