"""How an arm's sentences read, how close they are to gold, and what gives their label away.

Sentences come in with their vectors; every measure takes training gold as its reference. Held-out gold is met in one
place: the cosine to the nearest test sentence, an audit of what already happened, which reaches nothing but this table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.fidelity_rows import EVERYTHING, GOLD_MARK, Goal, Resampled, Rows, codes
from harness.evaluation.fidelity_target import Shares
from harness.label_sets import count_by_label
from harness.metrics.closeness import HISTOGRAM_EDGES, histogram
from harness.metrics.counts import Codes, Floats, Tallies, macro_f1, tally_by_patient
from harness.metrics.distance import kolmogorov_smirnov, total_variation
from harness.metrics.diversity import distinct, self_bleu, vendi
from harness.metrics.estimate import Estimate, known, undefined
from harness.metrics.ranking import auroc
from harness.metrics.resampling import resample_sums
from harness.metrics.separability import (
    Learner,
    cross_validated_scores,
    keyword_learner,
    learnable_classes,
    text_learner,
)
from harness.metrics.uncertainty import percentile_interval

LABEL = "label"
DISTINCT_ORDERS = (1, 2, 3)
TRAIN, TEST = "train", "test"
NO_SENTENCES = "the arm has no sentences"


@dataclass(frozen=True)
class Sentences:
    """A sample of an arm's sentences, or of gold's.

    Attributes:
        texts: Shape (n,).
        labels: Of each.
        persons: Who each is about (gold: whose note it stands in); a name of its own where nobody is named.
        tokens: Lower-case words of each.
        held: Whether each holds each lexicon term, shape (n, n_terms).
        vectors: Rows of length 1, shape (n, n_dimensions).
    """

    texts: Sequence[str]
    labels: Sequence[str]
    persons: Sequence[str]
    tokens: Sequence[Sequence[str]]
    held: NDArray[np.bool_]
    vectors: Floats

    @property
    def n_words(self) -> Floats:
        return np.array([len(tokens) for tokens in self.tokens], dtype=np.float64)

    @property
    def groups(self) -> Codes:
        return codes(self.persons)


def label_rows(rows: Rows, counted: Mapping[str, int], gold: Mapping[str, int] | None, expected: Shares | None) -> None:
    """Add label shares and their distances to training gold and to the trajectory's expectation.

    Args:
        rows: Of the arm.
        counted: Sentences by label, all labels of the task.
        gold: The same of training gold; None for gold itself.
        expected: What the trajectory leads to; None without one.
    """
    n = sum(counted.values())
    mass = np.array(list(counted.values()), dtype=np.float64)
    n_gold = 0 if gold is None else sum(gold.values())
    for label, count in counted.items():
        goal = Goal(gold[label] / n_gold, GOLD_MARK) if gold is not None and n_gold else None
        found = known(count / n) if n else undefined(NO_SENTENCES)
        rows.add("label_share", found, at=(LABEL, label), n=n, goal=goal)
    if gold is not None:
        wanted = np.array([gold[label] for label in counted], dtype=np.float64)
        rows.add("label_tv", total_variation(mass, wanted), at=(LABEL, "gold"), n=n, goal=Goal(0.0, GOLD_MARK))
    if expected is not None:
        wanted = np.array([expected.values.get(label, 0.0) for label in counted])
        goal = Goal(0.0, expected.mark)
        rows.add("label_tv", total_variation(mass, wanted), at=(LABEL, "trajectory"), n=n, goal=goal)


def length_rows(rows: Rows, found: Sentences, gold: Sentences | None, resampled: Resampled) -> None:
    """Add mean and spread of the words per sentence, and their distance to training gold (None for gold itself)."""
    words = found.n_words
    n = words.size
    reference = None if gold is None or not len(gold.texts) else gold.n_words
    mean_goal = None if reference is None else Goal(float(reference.mean()), GOLD_MARK)
    mean = known(float(words.mean())) if n else undefined(NO_SENTENCES)
    rows.add("words_mean", mean, n=n, goal=mean_goal, interval=resampled.interval_of_mean(words, found.groups))
    rows.add(
        "words_sd", _spread(words), n=n, goal=None if reference is None else Goal(_spread(reference).value, GOLD_MARK)
    )
    if gold is not None:
        rows.add("length_ks", kolmogorov_smirnov(words, gold.n_words), n=n, goal=Goal(0.0, GOLD_MARK))


def _spread(words: Floats) -> Estimate:
    return known(float(words.std(ddof=1))) if words.size > 1 else undefined("fewer than two sentences do not vary")


def diversity_rows(rows: Rows, found: Sentences, chosen: Sequence[int], goals: Mapping[str, float | None]) -> None:
    """Add distinct n-grams, self-BLEU and the Vendi score of the chosen sentences.

    Args:
        rows: Of the arm.
        found: Its sentences.
        chosen: Places of the sample; the same number for all arms and gold.
        goals: Gold's values by `measure` or `measure/level`; empty for gold itself.
    """
    tokens = [found.tokens[place] for place in chosen]
    for order in DISTINCT_ORDERS:
        goal = _gold_goal(goals, f"distinct/{order}")
        rows.add("distinct", distinct(tokens, order), at=("n-gram", str(order)), n=len(chosen), goal=goal)
    rows.add("self_bleu", self_bleu(tokens), n=len(chosen), goal=_gold_goal(goals, "self_bleu/all"))
    score = vendi(found.vectors[list(chosen)])
    rows.add("vendi", score, n=len(chosen), goal=_gold_goal(goals, "vendi/all"))


def _gold_goal(goals: Mapping[str, float | None], name: str) -> Goal | None:
    value = goals.get(name)
    return None if value is None else Goal(value, GOLD_MARK)


def closeness_rows(
    rows: Rows,
    nearest: Floats,
    *,
    split: str,
    groups: Codes,
    threshold: float,
    gold: Floats | None,
    resampled: Resampled,
) -> None:
    """Add how close sentences are to those of one split of gold.

    Args:
        rows: Of the arm.
        nearest: Cosine of each sentence to the nearest of the split, shape (n,), NaN where there is none.
        split: train or test.
        groups: Person of each sentence.
        threshold: Cosine from which a sentence is too near.
        gold: The same cosines of training gold (to other patients); None for gold itself.
        resampled: Draws of the persons.
    """
    held = np.isfinite(nearest)
    values, at = nearest[held], (split, "all")
    own = gold[np.isfinite(gold)] if gold is not None else np.zeros(0)
    goal = Goal(float(own.mean()), GOLD_MARK) if own.size else None
    if not values.size:
        reason = NO_SENTENCES if not nearest.size else f"gold has no {split} sentence of another patient"
        rows.missing("nearest_gold", reason, at=at, goal=goal)
        rows.missing("near_gold_share", reason, at=at)
        return
    interval = resampled.interval_of_mean(values, groups[held])
    rows.add("nearest_gold", known(float(values.mean())), at=at, n=values.size, goal=goal, interval=interval)
    near = known(float((values > threshold).mean()), f"cosine above {threshold:g}; the nearest has {values.max():.3f}")
    rows.add("near_gold_share", near, at=at, n=values.size, goal=Goal(0.0, None))
    if split == TRAIN:
        wanted = histogram(own)
        for low, share, target in zip(HISTOGRAM_EDGES, histogram(values), wanted, strict=False):
            level = f"{low:.2f}"
            goal_here = Goal(float(target), GOLD_MARK) if own.size else None
            rows.add("nearest_gold_share", known(float(share)), at=(split, level), n=values.size, goal=goal_here)


def keyword_rows(rows: Rows, found: Sentences, *, n_folds: int, seed: int, resampled: Resampled) -> None:
    """Add how well the label is guessed from the most frequent label, from keywords and from the whole sentence.

    Labels that are too rare to stand in every fold are left out, and named.
    """
    kept = learnable_classes(found.labels, found.persons, n_folds)
    names = ("majority_macro_f1", "keyword_macro_f1", "text_macro_f1", "text_over_keywords")
    if len(kept) < 2 or not found.held.shape[1]:
        reason = (
            "the task has no lexicon"
            if len(kept) > 1
            else f"fewer than two labels have {n_folds} sentences about two people"
        )
        for name in names:
            rows.missing(name, reason)
        return
    places = np.array([place for place, label in enumerate(found.labels) if label in kept], dtype=np.intp)
    truth = np.array([kept.index(found.labels[place]) for place in places], dtype=np.intp)
    groups = found.groups[places]
    learners: list[Learner] = [
        keyword_learner(found.held[places], truth, seed=seed),
        text_learner([found.texts[place] for place in places], truth, seed=seed),
    ]
    most = int(np.bincount(truth).argmax())
    predicted = [np.full(truth.size, most, dtype=np.intp)]
    predicted += [
        cross_validated_scores(learner, truth, groups, n_folds=n_folds, seed=seed).argmax(axis=1)
        for learner in learners
    ]
    left_out = sorted(set(found.labels) - set(kept))
    remark = f"left out as too rare: {', '.join(left_out)}" if left_out else None
    _guess_rows(rows, names, truth, np.array(predicted), groups=groups, remark=remark, resampled=resampled)


def _guess_rows(
    rows: Rows, names: Sequence[str], truth: Codes, predicted: Codes, *, groups: Codes, remark: str | None,
    resampled: Resampled,
) -> None:  # fmt: skip
    """Macro-F1 of each way of guessing, predicted of shape (3, n), and the gain of the last over the second."""
    n_people = resampled.multiplicities.shape[1]
    tallies = tally_by_patient(truth, predicted, groups, n_patients=n_people, n_classes=int(truth.max()) + 1)
    value = macro_f1(Tallies(*(one.sum(axis=0) for one in tallies)))  # (3,)
    drawn = macro_f1(Tallies(*(resample_sums(one, resampled.multiplicities) for one in tallies)))  # (n_replicates, 3)
    value = np.append(value, value[2] - value[1])
    drawn = np.column_stack([drawn, drawn[:, 2] - drawn[:, 1]])
    for place, name in enumerate(names):
        interval = percentile_interval(drawn[:, place], resampled.confidence) if resampled.is_enough else None
        rows.add(name, known(float(value[place]), remark), n=truth.size, interval=interval)


def two_sample_row(
    rows: Rows, found: Sentences, gold: Sentences, *, n_folds: int, seed: int, rng: np.random.Generator
) -> None:
    """Add how well a classifier tells the arm from training gold, on equally many sentences of both."""
    n = min(len(found.texts), len(gold.texts))
    goal = Goal(0.5, None)
    if n < n_folds or min(len(set(found.persons)), len(set(gold.persons))) < 2:
        rows.missing(
            "two_sample_auc", f"{n} sentences a side; at least {n_folds} about two people are needed", goal=goal
        )
        return
    ours = np.sort(rng.permutation(len(found.texts))[:n])
    theirs = np.sort(rng.permutation(len(gold.texts))[:n])
    texts = [*(found.texts[place] for place in ours), *(gold.texts[place] for place in theirs)]
    people = [*(f"arm/{found.persons[place]}" for place in ours), *(f"gold/{gold.persons[place]}" for place in theirs)]
    truth = np.repeat(np.array([1, 0], dtype=np.intp), n)
    scores = cross_validated_scores(
        text_learner(texts, truth, seed=seed), truth, codes(people), n_folds=n_folds, seed=seed
    )
    rows.add("two_sample_auc", known(auroc(scores[:, 1], truth == 1)), at=EVERYTHING, n=2 * n, goal=goal)


def count_labels(labels: Sequence[str], known_labels: Sequence[str]) -> dict[str, int]:
    """Sentences of each label of the task, zeros included; one with several labels counts under each."""
    counted = count_by_label(labels)
    return {label: counted[label] for label in known_labels}
