"""Phrases by which a note denies a symptom, or speaks of somebody else or of what might be.

negspacy's sensitive clinical term set is the start. What it holds for other purposes, and what would deny a symptom
that a note states, is taken out, each with the reason; what dementia notes need is added.
"""

from __future__ import annotations

from collections.abc import Mapping

Termset = dict[str, list[str]]

# negspacy's entries that do not deny a symptom of the patient.
REMOVED: Mapping[str, str] = {
    "declined": "a memory that declined is worse; a declined test says nothing",
    "concern for": "states the symptom, with doubt about its cause",
    "h/o": "states it",
    "history of": "states it",
    "leads to": "states both cause and effect",
    "which causes": "states both cause and effect",
    "supposed": "no denial",
    "versus": "no denial",
    "instead of": "no denial of what a patient does wrongly (salt instead of sugar)",
    "symptoms atypical": "states it",
    "cannot": "an inability is a symptom: cannot pay bills for forgetfulness",
    "can't": "as cannot",
    "cant": "as cannot",
    "couldn't": "as cannot",
    "couldnt": "as cannot",
    "ro": "three letters with many meanings",
    "free": "`feel free to call` denies nothing; `free of` stays",
}
# Phrases of negspacy that speak of what might be; here they exclude a mention instead of denying it.
HYPOTHETICAL = (
    "evaluate for", "if you experience", "if you get", "teaching the patient", "taught the patient",
    "teach the patient", "educated the patient", "educate the patient", "educating the patient", "monitored for",
    "monitor for", "test for", "tested for", "r/o", "rule out", "rule him out", "rule her out", "rule patient out",
    "rule the patient out",
)  # fmt: skip
HYPOTHETICAL_ADDED = (
    "monitoring for", "evaluated for", "screen for", "screened for", "screening for", "watch for", "at risk for",
    "at risk of", "risk of", "risk for", "to prevent", "call if", "return if", "in case of", "should he develop",
    "should she develop", "if he develops", "if she develops",
)  # fmt: skip

DENIALS = ("not", "doesn't", "does not", "didn't", "did not", "don't", "do not", "isn't", "is not", "never")
# What is not done is the symptom: `does not recognise her son and gets lost` denies neither.
INABILITIES = (
    "remember", "recall", "recognize", "recognise", "know", "understand", "follow", "sleep", "sleeping", "eat",
    "eating", "manage", "drive", "cook", "able", "oriented", "aware", "safe", "sure", "improved", "improving",
    "resolved", "better", "always", "want", "wish", "take", "taking", "find", "finish", "keep", "bathe", "dress",
)  # fmt: skip
PSEUDO_ADDED = ("no longer", "no improvement", "no relief", "no better", "no doubt", "no insight", "no wonder")
FOLLOWING_ADDED = (
    "is denied", "are denied", "was denied", "were denied", "is absent", "are absent", "not present", "not reported",
    "not endorsed", "not noted", "not observed", "has resolved", "have resolved", "resolved", ": no", ": none",
    ": denies", ": denied", ": absent", ": negative", "is negative", "was negative",
)  # fmt: skip
# Where the reach of a denial ends. A second denial begins its own, so that it does not reach back.
TERMINATION_ADDED = (
    "reports", "reported", "reporting", "endorses", "endorsed", "admits", "admitted", "complains of", "complained of",
    "c/o", "presents with", "presented with", "positive for", "notes", "noted", "describes", "described", "now", ";",
    "and is", "and has", "and was", "he is", "she is", "he has", "she has", "patient is", "patient has", "because",
    "denies", "denied", "denying",
)  # fmt: skip

ELDERS = (
    "mother", "father", "parents", "grandmother", "grandfather", "grandparents", "aunt", "uncle", "cousin", "brother",
    "sister", "siblings",
)  # fmt: skip
# In the past tense or after `with`: a daughter who says that her mother has trouble speaks of the patient.
ELDERS_HAD = ("had", "with", "died of", "died from", "died with", "suffered from", "developed", "was diagnosed with")
FAMILY_PRECEDING = (
    "family history of", "family history significant for", "family history notable for", "family history positive for",
    "family history includes", "family history:", "family history", "family hx", "fam hx", "fhx", "fh of", "fh:",
    "maternal history of", "paternal history of",
)  # fmt: skip
FAMILY_FOLLOWING = (
    "in the family", "in his family", "in her family", "in family", "runs in the family", "run in the family",
    *(f"in {owner}{elder}" for owner in ("", "his ", "her ", "a ", "the ") for elder in ELDERS),
    *(f"( {elder} )" for elder in ELDERS),
)  # fmt: skip
# Siblings and children also report what they see.
FAMILY_PSEUDO = tuple(
    f"{elder} had {what}" for elder in ELDERS for what in ("noticed", "noted", "seen", "called", "to", "reported")
)
FAMILY_TERMINATION = ("patient", "pt", "the patient", "he reports", "she reports", "now")


def denial_termset(base: Mapping[str, list[str]]) -> Termset:
    """Phrases that deny a symptom, from negspacy's `en_clinical_sensitive`."""
    taken = {*REMOVED, *HYPOTHETICAL}
    pseudo = [f"{denial} {what}" for denial in DENIALS for what in INABILITIES]
    return {
        "pseudo_negations": [*base["pseudo_negations"], *PSEUDO_ADDED, *pseudo],
        "preceding_negations": [one for one in base["preceding_negations"] if one not in taken],
        "following_negations": [*(one for one in base["following_negations"] if one not in taken), *FOLLOWING_ADDED],
        "termination": [*base["termination"], *TERMINATION_ADDED],
    }


def aside_termset(base: Mapping[str, list[str]]) -> Termset:
    """Phrases that make a mention that of a relative, or of what might be: it is neither stated nor denied."""
    had = [f"{elder} {verb}" for elder in ELDERS for verb in ELDERS_HAD]
    return {
        "pseudo_negations": list(FAMILY_PSEUDO),
        "preceding_negations": [*FAMILY_PRECEDING, *had, *HYPOTHETICAL, *HYPOTHETICAL_ADDED],
        "following_negations": list(FAMILY_FOLLOWING),
        "termination": [*base["termination"], *FAMILY_TERMINATION, ";"],
    }
