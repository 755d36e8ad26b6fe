"""What every mix must beat: TF-IDF with logistic regression on the same training rows, and the most frequent label.

Both return the table that the fine-tuned model's scoring returns, so that everything after treats them alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.errors import DataError
from harness.schemas.tables import PREDICTIONS

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


def tfidf_predictions(train: pa.Table, held_out: pa.Table, label_ids: Sequence[str], seed: int) -> pa.Table:
    """Learn labels from word (1-2) and character (3-5) n-grams and score held-out sentences.

    Rows of `train` that repeat a sentence are one row whose sample weight is the number of times it is shown, divided
    by the mean of that number: the emphasis of the mix is kept, while the strength of the penalty does not depend on
    how many passes the budget makes. Classes are not reweighted: shares of labels are part of what a mix is.

    Args:
        train: TRAIN rows of one mix.
        held_out: GOLD rows to score.
        label_ids: Labels of the task in its order; one that never occurs in `train` gets probability 0.
        seed: For the solver.

    Returns:
        PREDICTIONS rows sorted by key; `log_likelihood` is null.

    Raises:
        DataError: No training rows, or a label that is not the task's.
    """
    texts, labels, times = _distinct_sentences(train)
    known = _known_labels(labels, label_ids)
    probability = np.zeros((held_out.num_rows, len(label_ids)))
    columns = [label_ids.index(label) for label in known]
    if len(known) == 1:
        probability[:, columns] = 1.0
    elif held_out.num_rows:
        probability[:, columns] = _fit_and_score(
            texts,
            [label_ids.index(label) for label in labels],
            times=times,
            held_out=held_out["text"].to_pylist(),
            seed=seed,
        )
    return _predictions(held_out, label_ids, probability)


def majority_predictions(train: pa.Table, held_out: pa.Table, label_ids: Sequence[str]) -> pa.Table:
    """Give every sentence the label shares of the training rows, and predict the most frequent label.

    Args:
        train: TRAIN rows of one mix; a sentence counts as often as it is shown.
        held_out: GOLD rows to score.
        label_ids: Labels of the task; of equally frequent ones the first is predicted.

    Returns:
        PREDICTIONS rows sorted by key; `log_likelihood` is null.

    Raises:
        DataError: No training rows, or a label that is not the task's.
    """
    labels = train["label"].to_pylist()
    _known_labels(labels, label_ids)
    shares = np.array([labels.count(label) for label in label_ids]) / len(labels)
    return _predictions(held_out, label_ids, np.tile(shares, (held_out.num_rows, 1)))


def _distinct_sentences(train: pa.Table) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Text, label and times shown of each sentence, in an order that does not depend on that of the passes."""
    key = ["origin", "sentence_id", "text", "label"]
    counted = train.select(key).group_by(key, use_threads=False).aggregate([([], "count_all")])
    counted = counted.sort_by([(name, "ascending") for name in key])
    times = np.asarray(counted["count_all"].to_pylist(), dtype=np.float64)
    return counted["text"].to_pylist(), counted["label"].to_pylist(), times


def _known_labels(labels: Sequence[str], label_ids: Sequence[str]) -> list[str]:
    found = set(labels)
    if not found:
        raise DataError("train: no rows; a baseline needs at least one training sentence")
    foreign = sorted(found - set(label_ids))
    if foreign:
        raise DataError(f"train: found labels {', '.join(foreign)}; allowed: {', '.join(label_ids)}")
    return [label for label in label_ids if label in found]


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


def _predictions(held_out: pa.Table, label_ids: Sequence[str], probability: NDArray[np.float64]) -> pa.Table:
    n_sentences, n_labels = probability.shape
    column = np.tile(np.arange(n_labels), n_sentences)
    sentence = np.repeat(np.arange(n_sentences), n_labels)
    place = {label: k for k, label in enumerate(label_ids)}
    truth = np.array([place[label] for label in held_out["label"].to_pylist()], dtype=np.intp)
    chosen = probability.argmax(axis=1) if n_sentences else np.zeros(0, dtype=np.intp)
    table = pa.table(
        {
            "sentence_id": held_out["sentence_id"].combine_chunks().take(pa.array(sentence)),
            "label": pa.array(label_ids, pa.string()).take(pa.array(column)),
            "split": held_out["split"].combine_chunks().take(pa.array(sentence)),
            "log_likelihood": pa.nulls(sentence.size, pa.float64()),
            "probability": pa.array(probability.ravel()),
            "is_true": pa.array(truth[sentence] == column),
            "is_predicted": pa.array(chosen[sentence] == column),
            "parse_status": pa.nulls(sentence.size, pa.string()),
        },
        schema=PREDICTIONS.schema,
    )
    return table.sort_by([(name, "ascending") for name in PREDICTIONS.key])
