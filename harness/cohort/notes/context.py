"""A sentence and the terms found in it, and for each whether it is stated, denied, or neither.

spaCy's English tokenizer and negspacy's NegEx do the work, over the phrases of `cues.py`; nothing is learned and
nothing downloaded.
The trade-off is NegEx's: a denial reaches to the end of its sentence or to a phrase that ends it, however far that is.

Source: Chapman et al., J Biomed Inform 34 (2001) 301 (NegEx); Harkema et al., J Biomed Inform 42 (2009) 839 (the same
idea for family history and hypothetical statements).
"""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from harness.cohort.notes.cues import aside_termset, denial_termset
from harness.cohort.notes.matcher import MISSING
from harness.errors import ConfigError

SPANS = "terms"
DENIED, ASIDE = "harness_denied", "harness_aside"  # names of span attributes, which spaCy keeps per process
BASE = "en_clinical_sensitive"


class Polarity(IntEnum):
    """What a sentence says about a term; of several sentences of one note the highest holds."""

    ASIDE = 0  # of a relative, or hypothetical: not counted
    ABSENT = 1
    PRESENT = 2


class Context:
    """Judges the terms of one sentence at a time."""

    def __init__(self) -> None:
        """Load tokenizer and phrases.

        Raises:
            ConfigError: spaCy or negspacy is not installed.
        """
        check_installed()
        with _hidden("torch"):
            import spacy
            from negspacy.negation import Negex
            from negspacy.termsets import termset
        base = copy.deepcopy(termset(BASE).get_patterns())  # negspacy hands out its own lists
        self._nlp = spacy.blank("en")
        self._denied = Negex(self._nlp, DENIED, denial_termset(base), extension_name=DENIED, span_keys=[SPANS])
        self._aside = Negex(self._nlp, ASIDE, aside_termset(base), extension_name=ASIDE, span_keys=[SPANS])

    def judge(self, sentence: str, spans: Sequence[tuple[int, int]]) -> list[Polarity]:
        """Polarity of each term.

        Args:
            sentence: One sentence, its words parted by single spaces: phrases of several words are looked for.
            spans: Characters from and to of each term in it.
        """
        doc = self._nlp.make_doc(sentence)
        if len(doc) > 1:
            doc[1].is_sent_start = False  # one sentence; NegEx asks for sentence boundaries
        doc.spans[SPANS] = [doc.char_span(start, end, alignment_mode="expand") for start, end in spans]
        self._aside(self._denied(doc))
        return [_polarity(bool(span._.get(DENIED)), bool(span._.get(ASIDE))) for span in doc.spans[SPANS]]


def check_installed() -> None:
    """Look for the packages without importing them.

    Raises:
        ConfigError: spaCy or negspacy is not installed.
    """
    for name in ("spacy", "negspacy"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(MISSING.format(name=name))


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Keep a package from being imported inside the block, unless it is already.

    spaCy's library imports torch where it finds it, for models that are not used here: seconds and 250 MB a process.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own way to say that an import fails
    try:
        yield
    finally:
        del sys.modules[package]


def _polarity(denied: bool, aside: bool) -> Polarity:
    if aside:
        return Polarity.ASIDE
    return Polarity.ABSENT if denied else Polarity.PRESENT
