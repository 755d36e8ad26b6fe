"""What the arms wrote, who labelled it, and how near it is to its target."""

from __future__ import annotations

from harness.schemas.tables.spec import SUBGROUP_COLUMNS, SUBGROUPS, B, F, I, S, TableSpec

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
        **SUBGROUPS,  # of the persona and visit the prompt showed; null for what the arm does not see
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
        **SUBGROUPS,
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

REJECTED = TableSpec("rejected", ("row_id",), {"row_id": S, "reason": S, "detail": S}, nullable=("detail",))
