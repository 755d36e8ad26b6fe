"""From what the model says of each label to a probability and a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.schemas.recipe_parts import Scoring
from harness.scoring.label_likelihood import LabelScores

CONTENT_FREE = "N/A"  # of the three that Zhao et al. 2021 (arXiv 2102.09690, section 5) average over, the first


@dataclass(frozen=True)
class Decided:
    """One row a sentence.

    Attributes:
        log_likelihood: Of each label, in nats, as the model gave it, shape (n_sentences, n_labels).
        probability: Softmax of the adjusted log-likelihoods, same shape.
        predicted: Shape (n_sentences,).
        parse_status: free or constrained where labels were generated, else None.
    """

    log_likelihood: NDArray[np.float64]
    probability: NDArray[np.float64]
    predicted: NDArray[np.intp]
    parse_status: tuple[str, ...] | None


def decide(found: LabelScores, names: Sequence[str], how: Scoring) -> Decided:
    """Adjust, normalise and choose.

    Args:
        found: Scores; under the content-free prior the last row is that of the prompt without content.
        names: Of the labels, for their lengths in characters.
        how: The recipe's settings. The prior is taken off before the length divides. Of equally likely labels the first
            is predicted. A generated label is the predicted one even where another is likelier as a whole; its
            probability is still that of the softmax.
    """
    n_rows = found.log_likelihood.shape[0] - (how.label_prior == "content_free")
    adjusted = found.log_likelihood[:n_rows]
    if how.label_prior == "content_free":
        adjusted = adjusted - found.log_likelihood[n_rows]
    if how.length_normalisation == "tokens":
        adjusted = adjusted / found.n_tokens[:n_rows]
    elif how.length_normalisation == "characters":
        adjusted = adjusted / np.array([len(name) for name in names])
    generated = how.method == "generate"
    status = tuple("free" if one else "constrained" for one in found.freely[:n_rows])
    return Decided(
        log_likelihood=found.log_likelihood[:n_rows],
        probability=softmax(adjusted),
        predicted=found.written[:n_rows] if generated else _likeliest(adjusted),
        parse_status=status if generated else None,
    )


def softmax(log_likelihoods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities over the labels of each row, shape (n_rows, n_labels)."""
    if not log_likelihoods.shape[0]:
        return np.zeros(log_likelihoods.shape)
    shifted = np.exp(log_likelihoods - log_likelihoods.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def _likeliest(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    return scores.argmax(axis=1) if scores.shape[0] else np.zeros(0, dtype=np.intp)
