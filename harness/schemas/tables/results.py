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
        # Of the label's text and the end token given the prompt, in nats; null for baselines. Where sentences have
        # several labels: of all allowed sets of labels that hold it, their likelihoods summed
        "log_likelihood": F,
        # Softmax over the task's labels of the log-likelihoods, adjusted as scoring says; over allowed sets where
        # sentences have several labels, summed over those that hold the label: no longer adding up to 1
        "probability": F,
        "is_true": B,
        "is_predicted": B,
        # Of the sentence, where its label was generated. free: the model wrote it with the whole vocabulary open;
        # constrained: it would have written something else.
        "parse_status": S,
    },
    nullable=("log_likelihood", "parse_status"),
)

# Of one run whose sentences have several labels: from which probability on a label is given, chosen on validation.
THRESHOLDS = TableSpec(
    "thresholds",
    ("label",),
    {
        "label": S,
        "threshold": F,
        "f1": F,  # at it, on the validation sentences; null where it was not chosen
        "n": I,  # validation sentences
        "n_positive": I,  # of them, those with the label
        "status": S,  # ok | insufficient: too few positives to choose by, and the threshold is 0.5
        "reason": S,
    },
    nullable=("f1", "reason"),
)

METRICS = TableSpec(
    "metrics",
    ("mix", "learner", "train_seed", "split", "metric", "class", "subgroup_variable", "subgroup_level"),
    {
        "mix": S,
        "learner": S,  # llm | tfidf | minilm | majority
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
        "seeds_taken_off": F,  # variance that se_seeds lacks because patients explain it; strict levels put some back
        "df_patients": F,
        "detectable": F,  # smallest true difference found with probability 0.8 in its family, were it the only one
        "p_value": F,
        "smallest_p": F,  # what p_value could be at its least with so many patients; null where nothing limits it
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
        "seeds_taken_off",
        "df_patients",
        "detectable",
        "p_value",
        "smallest_p",
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

# Hits, true and predicted sentences of each patient and label, on the test split: all that metrics of hard decisions
# need. With it a leaderboard over several runs resamples the same patients for all of them and reads no predictions.
# Rows of nothing but zeros are left out.
PATIENT_COUNTS = TableSpec(
    "patient_counts",
    ("mix", "learner", "train_seed", "patient_id", "label"),
    {"mix": S, "learner": S, "train_seed": S, "patient_id": S, "label": S, "n_hits": I, "n_true": I, "n_predicted": I},
)

# Which mix and learner may be the best in macro-F1: `metrics/best.py`. Learners that are a floor take no part.
TIES = TableSpec(
    "ties",
    ("mix", "learner", "split"),
    {
        "mix": S,
        "learner": S,
        "split": S,
        "value": F,  # macro-F1, mean over train seeds
        "shortfall": F,  # how far the best of the others is ahead; 0 for the first
        "shortfall_high": F,  # upper bound of the true one, simultaneous over all entries
        "tied": B,  # whether it may be the best; true for the first
        "n_compared": I,  # entries that took part
        "status": S,
        "reason": S,
    },
    nullable=("value", "shortfall", "shortfall_high", "tied", "reason"),
)

# What one sentence of an arm is worth in gold: a mix's macro-F1 on the test split, read off a learning curve of gold.
EXCHANGE = TableSpec(
    "exchange",
    ("mix", "learner", "fit"),
    {
        "mix": S,
        "arm": S,
        "learner": S,
        "fit": S,  # power | monotone
        "n_gold": I,  # distinct sentences shown
        "n_synthetic": I,
        "score": F,
        "gold_equivalent": F,  # gold sentences that alone would score the same
        "per_sentence": F,  # (gold_equivalent - n_gold) / n_synthetic; negative where the arm does harm
        "ci_low": F,  # of per_sentence; null with a value beside it: no bound on that side, and the reason says so
        "ci_high": F,
        "where": S,  # inside the curve's points | extrapolated | bounded: at least, or at most, gold_equivalent
        "share_undefined": F,  # of the replicates of patients: those whose curve does not rise
        "status": S,
        "reason": S,
    },
    nullable=(
        "score",
        "gold_equivalent",
        "per_sentence",
        "ci_low",
        "ci_high",
        "where",
        "share_undefined",
        "reason",
    ),
)
