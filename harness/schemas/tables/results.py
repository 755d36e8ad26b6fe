"""Predictions and all that is computed of them."""

from __future__ import annotations

from harness.schemas.tables.spec import B, F, I, S, TableSpec

PREDICTIONS = TableSpec(
    "predictions",
    ("sentence_id", "label"),
    {
        "sentence_id": S,
        "label": S,
        "split": S,
        "log_likelihood": F,  # of the label's text and the end token given the prompt, in nats; null for baselines
        "probability": F,  # softmax over the task's labels of the log-likelihoods, adjusted as scoring says
        "is_true": B,
        "is_predicted": B,
        # Of the sentence, where its label was generated. free: the model wrote it with the whole vocabulary open;
        # constrained: it would have written something else.
        "parse_status": S,
    },
    nullable=("log_likelihood", "parse_status"),
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
