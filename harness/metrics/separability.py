"""What a simple learner can tell from texts, answered by cross-validation: labels from keywords, or arm from gold.

Folds keep groups (patients, personas) whole, so that no learner is examined on people it has met. scikit-learn is
loaded where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Codes, Floats

WORD_NGRAMS = (1, 2)
WORD_OR_MARK = r"(?u)\w+|[^\w\s]"  # a word, or a single mark: a sentence of marks alone still has tokens
INVERSE_PENALTY = 1.0  # scikit-learn's own default, of both learners
MAX_ITERATIONS = 2000
NOT_LEARNED = -1e9  # below every margin: the score of a class that the learner has not met

Learner = Callable[[NDArray[np.intp], NDArray[np.intp]], Floats]
"""Rows to learn from and rows to score; scores of shape (n_scored, n_classes)."""


def learnable_classes(truth: Sequence[str], groups: Sequence[str], n_folds: int) -> list[str]:
    """Classes with at least one sentence per fold and in at least two groups, sorted; others cannot be examined."""
    n_sentences = Counter(truth)
    spread = {label: {group for one, group in zip(truth, groups, strict=True) if one == label} for label in n_sentences}
    return sorted(label for label, n in n_sentences.items() if n >= n_folds and len(spread[label]) >= 2)


def cross_validated_scores(learner: Learner, truth: Codes, groups: Codes, *, n_folds: int, seed: int) -> Floats:
    """Score of every class for every sentence, by a learner that has not met the sentence's group; the highest wins.

    Args:
        learner: Fits on some rows and scores others.
        truth: Class of each sentence, 0 to n_classes - 1, shape (n_sentences,).
        groups: Group of each sentence, same shape.
        n_folds: Parts; fewer where there are fewer groups.
        seed: Decides which group falls into which fold.

    Returns:
        Shape (n_sentences, n_classes).
    """
    from sklearn.model_selection import StratifiedGroupKFold

    n_classes = int(truth.max()) + 1
    scores = np.full((truth.size, n_classes), NOT_LEARNED)
    folds = StratifiedGroupKFold(min(n_folds, len(np.unique(groups))), shuffle=True, random_state=seed)
    for learned, scored in folds.split(truth, truth, groups):
        present = np.unique(truth[learned])
        if present.size == 1:
            scores[np.ix_(scored, present)] = 0.0
        else:
            scores[np.ix_(scored, present)] = learner(learned, scored)
    return scores


def keyword_learner(held: NDArray[np.bool_], truth: Codes, *, seed: int) -> Learner:
    """Logistic regression on which lexicon terms a sentence holds, and on nothing else.

    Args:
        held: Whether each sentence holds each term, shape (n_sentences, n_terms).
        truth: Class of each sentence.
        seed: For the solver.
    """
    from sklearn.linear_model import LogisticRegression

    features = held.astype(np.float64)

    def learn(learned: NDArray[np.intp], scored: NDArray[np.intp]) -> Floats:
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, random_state=seed)
        model.fit(features[learned], truth[learned])
        return np.asarray(model.predict_proba(features[scored]), dtype=np.float64)

    return learn


def text_learner(texts: Sequence[str], truth: Codes, *, seed: int) -> Learner:
    """Linear support vectors on TF-IDF of the words and pairs of words of the whole sentence; scores are margins.

    On the demo gold they reach a macro-F1 of 0.44; logistic regression reached 0.37 and took many times as long.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    held = np.array(texts, dtype=object)

    def learn(learned: NDArray[np.intp], scored: NDArray[np.intp]) -> Floats:
        model: Any = make_pipeline(
            TfidfVectorizer(ngram_range=WORD_NGRAMS, token_pattern=WORD_OR_MARK, sublinear_tf=True),
            LinearSVC(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, random_state=seed),
        )
        model.fit(held[learned], truth[learned])
        margins = np.asarray(model.decision_function(held[scored]), dtype=np.float64)
        return margins if margins.ndim == 2 else np.column_stack([-margins, margins])  # two classes have one margin

    return learn
