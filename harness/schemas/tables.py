"""The tables between stages: columns, types, key. They are the only contract that stages share.

Every table is Parquet with a declared schema and key, sorted by key unless its order carries meaning (`train`), and
checked when it is written and when it is read. Text columns never leave these tables for a log or a tracker.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

S, F, I, B = pa.string(), pa.float64(), pa.int64(), pa.bool_()  # noqa: E741 - one letter a type keeps the schemas readable


@dataclass(frozen=True)
class TableSpec:
    """Schema of one table.

    Attributes:
        name: File stem, e.g. `gold` for `gold.parquet`.
        key: Columns that identify a row; no nulls, no duplicates.
        columns: Name to Arrow type, in file order.
        nullable: Columns that may hold nulls; every other column may not.
        extra_strings: Whether further nullable string columns (a task's own subgroup variables) are allowed.
        sort: Whether rows are sorted by key on write; False where row order is part of the content.
    """

    name: str
    key: tuple[str, ...]
    columns: dict[str, pa.DataType]
    nullable: tuple[str, ...] = ()
    extra_strings: bool = False
    sort: bool = True

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(list(self.columns.items()))


SUBGROUP_COLUMNS = ("sex", "age_band", "race_ethnicity", "stage")
_SUBGROUPS: dict[str, pa.DataType] = dict.fromkeys(SUBGROUP_COLUMNS, S)

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
        **_SUBGROUPS,
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

SYNTHETIC = TableSpec(
    "synthetic",
    ("text_id",),
    {
        "text_id": S,
        "unit": S,  # sentence | note
        "planned_label": S,  # what a sentence was asked to show; null for a note, whose plan is the table `planned`
        "planned_term": S,
        "style": S,  # documentation style shown to the model; null where none was
        "persona_id": S,
        "visit_index": I,
        "prompt_sha256": S,
        "template": S,
        "backend": S,
        "model_id": S,
        "model_revision": S,
        "text": S,
        "finish_reason": S,
        "n_prompt_tokens": I,
        "n_completion_tokens": I,
        "n_attempts": I,  # candidates asked for until this one was accepted
        **_SUBGROUPS,  # of the persona and visit the prompt showed; null for what the arm does not see
    },
    nullable=(
        "planned_label",
        "planned_term",
        "style",
        "persona_id",
        "visit_index",
        "prompt_sha256",
        "template",
        "finish_reason",
        "n_prompt_tokens",
        "n_completion_tokens",
        *SUBGROUP_COLUMNS,
    ),
    extra_strings=True,
)

# What each synthetic text was asked to say, mention by mention: one row for a sentence, several for a note.
PLANNED = TableSpec(
    "planned",
    ("text_id", "mention_index"),
    {"text_id": S, "mention_index": I, "domain": S, "term": S, "label": S, "polarity": S, "course": S},
    nullable=("domain", "term", "polarity", "course"),
)

SENTENCES = TableSpec(
    "sentences",
    ("sentence_id",),
    {
        "sentence_id": S,
        "text_id": S,
        "persona_id": S,
        "char_start": I,
        "char_end": I,
        "text": S,
        "label": S,
        "label_source": S,  # plan | llm | file
        "confidence": F,  # share of the annotator's votes for the label; null for a plan's or a person's label
        "term": S,  # the planned term this sentence was written for, if any
        "planned_label": S,  # null for a sentence that no plan asked for
        "annotator_label": S,  # null where no annotator was asked
        **_SUBGROUPS,
    },
    nullable=("persona_id", "confidence", "term", "planned_label", "annotator_label", *SUBGROUP_COLUMNS),
    extra_strings=True,
)

# Plan against annotator, one row per label and one for all of them; kappa of a label is that of label against the rest.
AGREEMENT = TableSpec(
    "agreement",
    ("class",),
    {
        "class": S,
        "n": I,
        "n_planned": I,
        "n_annotated": I,
        "n_both": I,
        "kappa": F,
        "ci_low": F,
        "ci_high": F,
        "status": S,
        "reason": S,
    },
    nullable=("kappa", "ci_low", "ci_high", "reason"),
)

# Sentences on which plan and annotator differ, those that were dropped for it among them.
DISAGREEMENTS = TableSpec(
    "disagreements",
    ("sentence_id",),
    {
        "sentence_id": S,
        "text": S,
        "term": S,
        "planned_label": S,
        "annotator_label": S,
        "confidence": F,  # null for a person's label
        "kept": B,
    },
    nullable=("term", "confidence"),
)

# Fidelity of each arm, of training gold (arm `gold`) and of the drawn plan (arm `(plan)`) to the target: one row per
# measure and what it is measured on. Meaning, direction, bounds and source of a measure: harness/metrics/fidelity.py.
FIDELITY = TableSpec(
    "fidelity",
    ("arm", "measure", "variable", "level"),
    {
        "arm": S,
        "measure": S,
        "variable": S,
        "level": S,
        "value": F,
        "ci_low": F,
        "ci_high": F,
        "target": F,  # what the value should be near; null where there is no target
        "mark": S,  # of the target: published | derived | assumed, or gold where gold is what is aimed at
        "n": I,  # people, sentences or notes behind the value
        "status": S,
        "reason": S,  # why there is no value; of a value, what a reader needs to know
    },
    nullable=("value", "ci_low", "ci_high", "target", "mark", "reason"),
)

# One row per example shown to the trainer, in the order of passes: all rows of pass 0, then pass 1, ...
TRAIN = TableSpec(
    "train",
    ("example_id",),
    {
        "example_id": S,  # "<origin>/<sentence_id>/<pass_index>"
        "origin": S,  # gold, or the name of an arm
        "sentence_id": S,
        "patient_id": S,  # the patient (gold) or the persona (synthetic); null for label-only arms
        "pass_index": I,  # how many times this sentence came before
        "text": S,
        "label": S,
        "prompt": S,
        "completion": S,
        "n_supervised_tokens": I,  # completion tokens and the end token, by the base model's tokenizer
    },
    nullable=("patient_id",),
    sort=False,
)
VALIDATION = TableSpec("validation", TRAIN.key, TRAIN.columns, nullable=TRAIN.nullable, sort=False)

# Shares of the audit of one mix: near-duplicates and leaks, one row per check and pair of sources.
AUDIT = TableSpec(
    "audit",
    ("check", "origin", "against"),
    {"check": S, "origin": S, "against": S, "n_checked": I, "n_found": I, "n_removed": I},
)

TRAINING_LOG = TableSpec(
    "log",
    ("step",),
    {"step": I, "loss": F, "learning_rate": F, "grad_norm": F, "tokens": I, "seconds": F},
    nullable=("loss", "learning_rate", "grad_norm", "tokens"),
)

PREDICTIONS = TableSpec(
    "predictions",
    ("sentence_id", "label"),
    {
        "sentence_id": S,
        "label": S,
        "split": S,
        "log_likelihood": F,  # of the label's text and the end token given the prompt, in nats; null for baselines
        "probability": F,  # softmax of the log-likelihoods over the task's labels
        "is_true": B,
        "is_predicted": B,
    },
    nullable=("log_likelihood",),
)

METRICS = TableSpec(
    "metrics",
    ("mix", "learner", "train_seed", "split", "metric", "class", "subgroup_variable", "subgroup_level"),
    {
        "mix": S,
        "learner": S,  # llm | tfidf | majority
        "train_seed": S,  # a seed index, or "all" for the mean over seeds
        "split": S,
        "metric": S,
        "class": S,  # a label, or "all"
        "subgroup_variable": S,  # a variable, or "overall"
        "subgroup_level": S,  # a level, or "all"
        "value": F,
        "ci_low": F,
        "ci_high": F,
        "n": I,
        "n_positive": I,
        "n_patients": I,
        "status": S,  # ok | undefined | insufficient
        "reason": S,
    },
    nullable=("value", "ci_low", "ci_high", "n_positive", "reason"),
)

# Three kinds of rows. A mix against the reference: its name and the reference's in mix_a and mix_b. An effect of the
# 2 x 2 of alignments: "(statistical)", "(semantic)" or "(interaction)" in mix_a, "(2 x 2)" in mix_b. Whether the gain
# of a mix differs between the levels of a variable: mixes as in the first kind, "(interaction)" for the level.
CONTRASTS = TableSpec(
    "contrasts",
    ("mix_a", "mix_b", "learner", "metric", "class", "subgroup_variable", "subgroup_level"),
    {
        "mix_a": S,
        "mix_b": S,  # difference = a - b
        "learner": S,
        "metric": S,
        "class": S,
        "subgroup_variable": S,
        "subgroup_level": S,
        "difference": F,  # of a row "(interaction)" by level: largest minus smallest gain, and the reason names both
        "ci_low": F,
        "ci_high": F,
        "se_patients": F,  # standard error from patients, and from train seeds beyond that (0 with one seed)
        "se_seeds": F,
        "df_patients": F,
        "detectable": F,  # smallest true difference that this test set and these seeds find with probability 0.8
        "p_value": F,
        "p_adjusted": F,
        "family": S,  # the set of tests p_adjusted controls, and by which procedure
        "n_patients": I,
        "n_train_seeds": I,
        "status": S,
        "reason": S,
    },
    nullable=(
        "difference",
        "ci_low",
        "ci_high",
        "se_patients",
        "se_seeds",
        "df_patients",
        "detectable",
        "p_value",
        "p_adjusted",
        "family",
        "reason",
    ),
)

# How often predictions of about the same confidence were right, in bins of equally many test sentences.
RELIABILITY = TableSpec(
    "reliability",
    ("mix", "learner", "train_seed", "probability", "subgroup_variable", "subgroup_level", "bin"),
    {
        "mix": S,
        "learner": S,
        "train_seed": S,
        "probability": S,  # as_scored, or scaled by the temperature in `temperatures`
        "subgroup_variable": S,
        "subgroup_level": S,
        "bin": I,  # from the least to the most confident
        "n": I,
        "confidence": F,  # mean probability of the predicted class
        "right": F,  # share predicted right
    },
)

# Fitted to the validation sentences, never to the test's: probabilities to the power of 1 / temperature.
TEMPERATURES = TableSpec(
    "temperatures",
    ("mix", "learner", "train_seed"),
    {
        "mix": S,
        "learner": S,
        "train_seed": S,
        "temperature": F,
        "n_validation": I,
        "log_loss": F,  # of the validation sentences, in nats, before and after
        "log_loss_scaled": F,
    },
)

# Confusion counts, one row per cell: read by the report, so that it needs no predictions.
CONFUSION = TableSpec(
    "confusion",
    ("mix", "learner", "train_seed", "split", "true_label", "predicted_label"),
    {"mix": S, "learner": S, "train_seed": S, "split": S, "true_label": S, "predicted_label": S, "n": I},
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

REJECTED = TableSpec("rejected", ("row_id",), {"row_id": S, "reason": S, "detail": S}, nullable=("detail",))

TABLES = {
    spec.name: spec
    for spec in (
        GOLD,
        GOLD_STATISTICS,
        POPULATION,
        MATCHED_CONCEPTS,
        PERSONAS,
        VISITS,
        MENTIONS,
        SYNTHETIC,
        PLANNED,
        SENTENCES,
        AGREEMENT,
        DISAGREEMENTS,
        FIDELITY,
        TRAIN,
        VALIDATION,
        AUDIT,
        TRAINING_LOG,
        PREDICTIONS,
        METRICS,
        CONTRASTS,
        RELIABILITY,
        TEMPERATURES,
        CONFUSION,
        RATES,
        CO_OCCURRENCE,
        REJECTED,
    )
}
