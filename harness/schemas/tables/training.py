"""Mixes and the runs trained on them."""

from __future__ import annotations

from harness.schemas.tables.spec import F, I, S, TableSpec

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
