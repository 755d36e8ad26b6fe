"""Gold, and the people, visits and symptoms that alignment draws."""

from __future__ import annotations

import pyarrow as pa

from harness.schemas.tables.spec import SUBGROUP_COLUMNS, SUBGROUPS, B, F, I, S, TableSpec

GOLD = TableSpec(
    "gold",
    ("sentence_id",),
    {
        "sentence_id": S,
        "patient_id": S,
        "note_id": S,
        "split": S,  # train | validation | test
        "text": S,
        "label": S,
        "age_years": F,
        **SUBGROUPS,
    },
    nullable=("note_id", "age_years", *SUBGROUP_COLUMNS),
    extra_strings=True,
)

# Statistics of gold by split and subgroup: one row per split x variable x level x label.
GOLD_STATISTICS = TableSpec(
    "gold_statistics",
    ("split", "variable", "level", "label"),
    {"split": S, "variable": S, "level": S, "label": S, "n_sentences": I, "n_patients": I},
)

POPULATION = TableSpec(
    "population",
    ("variable", "level"),
    # value is a proportion; n is the count behind it where it was estimated from a cohort
    {"variable": S, "level": S, "value": F, "n": I, "source_id": S, "mark": S, "suppressed": B},
    nullable=("value", "n"),
)

# Codes that stood for the disease, a factor or a level in a coded cohort (OMOP, FHIR), and how many people had them.
MATCHED_CONCEPTS = TableSpec(
    "matched",
    ("set", "vocabulary", "code"),
    {"set": S, "vocabulary": S, "code": S, "name": S, "n": I, "suppressed": B},
    nullable=("n",),
)

PERSONAS = TableSpec(
    "personas",
    ("persona_id",),
    {
        "persona_id": S,
        "age_years": I,
        "age_band": S,
        "sex": S,
        "race_ethnicity": S,
        "education": S,
        "living_arrangement": S,
        "risk_factors": pa.list_(S),  # ids of the factors this persona carries, sorted
        "cell_id": S,  # the cell of the raked joint this persona was drawn from
    },
    nullable=("race_ethnicity", "education", "living_arrangement"),
    extra_strings=True,
)

VISITS = TableSpec(
    "visits",
    ("persona_id", "visit_index"),
    {
        "persona_id": S,
        "visit_index": I,
        "days_before_diagnosis": I,  # negative after it
        "stage": S,
        "note_type": S,
        "author_id": S,  # who writes the note: a patient meets the same few people again
        "style": S,  # documentation style of that author; null where the trajectory names none
    },
    nullable=("author_id", "style"),
)

MENTIONS = TableSpec(
    "mentions",
    ("persona_id", "visit_index", "mention_index"),
    {
        "persona_id": S,
        "visit_index": I,
        "mention_index": I,
        "domain": S,
        "term": S,
        "label": S,
        "polarity": S,  # present | absent: a term that the note denies; its label is the negative one
        "course": S,  # new | stable | worse, of a symptom that is present; null for what is denied
    },
    nullable=("course",),
)

# What the user's notes say about the trajectory's parameters, one row each; what has no value is carried over.
RATES = TableSpec(
    "rates",
    ("parameter", "stage", "level"),
    {
        "parameter": S,  # e.g. notes_per_year, domain_share, term_frequency
        "stage": S,  # a stage; a year relative to the diagnosis; a domain (term_frequency, onset); or "all"
        "level": S,  # a note type, domain or term; or "all"
        "value": F,
        "ci_low": F,  # of 95% intervals that resample patients
        "ci_high": F,
        "se": F,  # standard deviation over the resamples
        "n": I,  # notes, mentions or patient-years behind it
        "n_patients": I,
        "status": S,  # ok | undefined | insufficient
        "reason": S,
    },
    nullable=("value", "ci_low", "ci_high", "se", "reason"),
)

# Which domains, and which terms, the same notes state.
CO_OCCURRENCE = TableSpec(
    "co_occurrence",
    ("kind", "first", "second"),
    {
        "kind": S,  # domain | term
        "first": S,
        "second": S,
        "n_first": I,  # notes that state it
        "n_second": I,
        "n_both": I,
        "lift": F,  # n_both over what it would be if the two were independent
        "status": S,  # ok | insufficient
        "reason": S,
    },
    nullable=("n_first", "n_second", "n_both", "lift", "reason"),
)
