"""A learner that knows paraphrases: logistic regression on MiniLM sentence vectors, in seconds on a CPU.

It stands between TF-IDF, which knows a word only if it was in the training rows, and the fine-tuned language model,
which takes minutes to hours. The vectors are not trained; what a mix teaches is the regression alone.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.backends.embedding import open_embedder, resolve
from harness.label_sets import LabelSpace
from harness.scoring.baselines import MAX_ITERATIONS, learned_predictions

# At scikit-learn's default of 1 a few hundred sentences are underfitted. Macro-F1 on the Alzheimer's demo gold (40
# patients held out, mean of 6 draws) after 12 and 40 training patients: 0.29, 0.59 at 1; 0.49, 0.70 at 10; 0.51, 0.70
# at 30; 0.51, 0.70 at 100. TF-IDF in the same draws: 0.29, 0.58.
INVERSE_PENALTY = 30.0


def minilm_predictions(train: pa.Table, held_out: pa.Table, space: LabelSpace, seed: int) -> pa.Table:
    """Learn labels from sentence vectors of length 1 and score held-out sentences.

    Repeated rows of `train` count as they do for TF-IDF: one row whose sample weight is the number of times it is
    shown, divided by the mean of that number.

    Args:
        train: TRAIN rows of one mix.
        held_out: GOLD rows to score.
        space: Labels of the task; one that never occurs in `train` gets probability 0.
        seed: For the solver.

    Returns:
        PREDICTIONS rows sorted by key; `log_likelihood` is null.

    Raises:
        BackendError: The package with the vectors is not installed.
        DataError: No training rows, or a label that is not the task's.
    """
    return learned_predictions(train, held_out, space, partial(_fit_and_score, seed=seed))


def _fit_and_score(
    texts: list[str], classes: list[int], *, times: NDArray[np.float64], held_out: list[str], seed: int
) -> NDArray[np.float64]:
    """Probability of each class, in ascending order, for each held-out text: shape (n_held_out, n_classes found)."""
    from sklearn.linear_model import LogisticRegression

    embed = open_embedder(resolve("minilm"), background=())
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_ITERATIONS, random_state=seed)
    model.fit(embed(texts), classes, sample_weight=times / times.mean())
    return np.asarray(model.predict_proba(embed(held_out)), dtype=np.float64)
