"""What every mix must beat: TF-IDF with logistic regression on the same training rows, and the most frequent label.

Both return the table that the fine-tuned model's scoring returns, so that everything after treats them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.errors import DataError
from harness.label_sets import LabelSpace
from harness.metrics.thresholds import DEFAULT
from harness.scoring.answers import Answers, of_likeliest, prediction_rows

WORD_NGRAMS = (1, 2)
CHARACTER_NGRAMS = (3, 5)
# A word, or a single mark: a sentence of marks alone still has tokens.
WORD_OR_MARK = r"(?u)\w+|[^\w\s]"
# Inverse strength of the L2 penalty at one unit of sample weight a sentence. TF-IDF rows have length 1, for which
# scikit-learn's default of 1 underfits a few hundred short sentences. Macro-F1 on ACI-Bench (8 classes, 60 patients
# held out, mean of 4 draws) after 12 and 40 training patients: 0.55, 0.70 at 1; 0.66, 0.77 at 10; 0.68, 0.78 at 30;
# 0.70, 0.78 at 100. A floor should not be weak by choice.
INVERSE_PENALTY = 30.0
MAX_ITERATIONS = 2000
Learn = Callable[..., NDArray[np.float64]]  # (texts, classes, *, times, held_out) -> (n_held_out, n_classes found)


def tfidf_predictions(train: pa.Table, held_out: pa.Table, space: LabelSpace, seed: int) -> pa.Table:
    """Learn labels from word (1-2) and character (3-5) n-grams and score held-out sentences.

    Rows of `train` that repeat a sentence are one row whose sample weight is the number of times it is shown, divided
    by the mean of that number: the emphasis of the mix is kept, while the strength of the penalty does not depend on
    how many passes the budget makes. Classes are not reweighted: shares of labels are part of what a mix is. Where
    sentences have several labels, each label is learned by itself.

    Args:
        train: TRAIN rows of one mix.
        held_out: GOLD rows to score.
        space: Labels of the task; one that never occurs in `train` gets probability 0.
        seed: For the solver.

    Returns:
        PREDICTIONS rows sorted by key; `log_likelihood` is null.

    Raises:
        DataError: No training rows, or a label that is not the task's.
    """
    return learned_predictions(train, held_out, space, partial(_fit_and_score, seed=seed))


def learned_predictions(train: pa.Table, held_out: pa.Table, space: LabelSpace, learn: Learn) -> pa.Table:
    """What a learner says of held-out sentences; arguments and errors as those of `tfidf_predictions`.

    Args:
        train: TRAIN rows of one mix.
        held_out: GOLD rows to score.
        space: Labels of the task.
        learn: Fits distinct texts, their classes and their `times` shown, and gives the probability of each class that
            was found, in ascending order, for each held-out text; called where there is something to learn and to say.
            Where sentences have several labels it is called for each of them, with the classes 0 and 1.
    """
    texts, set_ids, times = _distinct_sentences(train)
    _check_labels(set_ids, space)
    told = partial(_told, texts, learn=partial(learn, times=times), held_out=held_out["text"].to_pylist())
    shown = space.indicators(set_ids)
    if not space.is_multi:
        probability = told(shown.argmax(axis=1).tolist(), n_classes=len(space.label_ids))
        return prediction_rows(held_out, space, of_likeliest(probability))
    each = [told(shown[:, k].astype(int).tolist(), n_classes=2)[:, 1] for k in range(len(space.label_ids))]
    probability = np.stack(each, axis=1)
    return prediction_rows(held_out, space, Answers(probability, probability >= DEFAULT))


def _told(
    texts: list[str], classes: list[int], *, n_classes: int, learn: Learn, held_out: list[str]
) -> NDArray[np.float64]:
    """Probability of each class for each held-out text, shape (n_held_out, n_classes); 0 for one that was not seen."""
    known = sorted(set(classes))
    probability = np.zeros((len(held_out), n_classes))
    if len(known) == 1:
        probability[:, known] = 1.0
    elif held_out:
        probability[:, known] = learn(texts, classes, held_out=held_out)
    return probability


def majority_predictions(train: pa.Table, held_out: pa.Table, space: LabelSpace) -> pa.Table:
    """Give every sentence the label shares of the training rows, and predict the most frequent label.

    Where sentences have several labels, thresholds decide as for every other learner. All sentences have the same
    probabilities, so each label is given to all of them or to none: to all where F1 decides, and a learner that scores
    2p / (1 + p) for a label of share p has learned nothing.

    Args:
        train: TRAIN rows of one mix; a sentence counts as often as it is shown.
        held_out: GOLD rows to score.
        space: Labels of the task; of equally frequent ones the first is predicted.

    Returns:
        PREDICTIONS rows sorted by key; `log_likelihood` is null.

    Raises:
        DataError: No training rows, or a label that is not the task's.
    """
    set_ids = train["label"].to_pylist()
    _check_labels(set_ids, space)
    shares = np.tile(space.indicators(set_ids).mean(axis=0), (held_out.num_rows, 1))
    answers = Answers(shares, shares >= DEFAULT) if space.is_multi else of_likeliest(shares)
    return prediction_rows(held_out, space, answers)


def _distinct_sentences(train: pa.Table) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Text, label and times shown of each sentence, in an order that does not depend on that of the passes."""
    key = ["origin", "sentence_id", "text", "label"]
    counted = train.select(key).group_by(key, use_threads=False).aggregate([([], "count_all")])
    counted = counted.sort_by([(name, "ascending") for name in key])
    times = np.asarray(counted["count_all"].to_pylist(), dtype=np.float64)
    return counted["text"].to_pylist(), counted["label"].to_pylist(), times


def _check_labels(set_ids: Sequence[str], space: LabelSpace) -> None:
    if not set_ids:
        raise DataError("train: no rows; a baseline needs at least one training sentence")
    foreign = sorted(set(set_ids) - set(space.set_ids))
    if foreign:
        raise DataError(f"train: found labels {', '.join(foreign)}; allowed: {', '.join(space.label_ids)}")


def _fit_and_score(
    texts: list[str], classes: list[int], *, times: NDArray[np.float64], held_out: list[str], seed: int
) -> NDArray[np.float64]:
    """Probability of each class, in ascending order, for each held-out text: shape (n_held_out, n_classes found)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    features = make_union(
        TfidfVectorizer(ngram_range=WORD_NGRAMS, token_pattern=WORD_OR_MARK, sublinear_tf=True),
        TfidfVectorizer(ngram_range=CHARACTER_NGRAMS, analyzer="char_wb", sublinear_tf=True),
    )
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, random_state=seed)
    model.fit(features.fit_transform(texts), classes, sample_weight=times / times.mean())
    return np.asarray(model.predict_proba(features.transform(held_out)), dtype=np.float64)
