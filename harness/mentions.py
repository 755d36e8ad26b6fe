"""Whether a sentence says a term as planned: stated, denied, or told by somebody other than the patient.

English and rough, like `words.py`, on which it rests. The filter of notes and the labels by plan both ask it, and
stages may not import each other; that is why it lies here.
"""

from __future__ import annotations

import re

from harness.words import denies_term, holds_negation, holds_term, opens_with_denial, words

# Who may tell of a patient. General, like the words of negation.
INFORMANTS = frozenset({
    "wife", "husband", "spouse", "partner", "daughter", "son", "sister", "brother", "niece", "nephew", "family",
    "mother", "father", "grandson", "granddaughter", "caregiver", "carer", "aide", "staff", "nurse", "neighbor",
    "neighbour", "friend", "relative", "relatives", "children", "companion", "informant", "collateral", "dtr",
    "daughters", "sons",
})  # fmt: skip
CLAUSE = re.compile(r";|\bbut\b|\bexcept\b|\bhowever\b|\balthough\b", re.IGNORECASE)


def says(sentence: str, term: str, *, denied: bool = False, reported: bool = False) -> bool:
    """Whether a sentence holds a term in a clause that states it, or denies it where `denied`.

    Args:
        sentence: One sentence.
        term: A term of the lexicon.
        denied: Whether the sentence is to say that it is not there. A denial reaches over its whole clause: `denies
            tremor, weight loss, or falls`.
        reported: Whether the sentence must name somebody other than the patient who tells it.
    """
    clauses = [clause for clause in CLAUSE.split(sentence) if holds_term(clause, term)]
    if denied:
        return any(holds_negation(clause) for clause in clauses)
    stated = [clause for clause in clauses if not opens_with_denial(clause) and not denies_term(clause, term)]
    return bool(stated) and (not reported or not INFORMANTS.isdisjoint(words(sentence)))
