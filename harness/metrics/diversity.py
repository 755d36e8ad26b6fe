"""How varied a set of texts is. Tokens or vectors in, an estimate out.

All three measures depend on how many texts there are, so they are compared between sets of the same size only; the
caller draws the samples. Their cost is linear in the number of texts: self-BLEU needs of the other texts no more than
the largest two counts of each n-gram, and the Vendi score no more than a matrix as wide as the vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.metrics.counts import Floats
from harness.metrics.estimate import Estimate, known, undefined

Tokens = Sequence[str]
Gram = tuple[str, ...]

BLEU_ORDER = 4
# Stands in for a count of zero, so that one missing 4-gram does not make a score 0. Source: Chen and Cherry, A
# Systematic Comparison of Smoothing Techniques for Sentence-Level BLEU, WMT 2014, method 1 (0.1 in NLTK as well).
EPSILON = 0.1
NO_EIGENVALUE = 1e-12  # below this an eigenvalue is the rounding error of a zero


def distinct(texts: Sequence[Tokens], order: int) -> Estimate:
    """Share of the n-grams of all texts together that are different ones.

    Returns:
        Value in (0, 1], 1 where no n-gram repeats; undefined where no text has `order` tokens.

    Source: Li et al., A Diversity-Promoting Objective Function for Neural Conversation Models, NAACL 2016.
    """
    counted: Counter[Gram] = Counter(gram for tokens in texts for gram in _grams(tokens, order))
    if not counted:
        return undefined(f"no text has {order} words")
    return known(len(counted) / counted.total())


def self_bleu(texts: Sequence[Tokens]) -> Estimate:
    """Mean BLEU-4 of each text against all the others as references: how much texts repeat one another.

    A text shorter than four tokens is scored on the orders it has.

    Returns:
        Value in [0, 1], higher for more alike texts; undefined for fewer than two texts that hold a token.

    Source: Zhu et al., Texygen, SIGIR 2018; BLEU: Papineni et al., ACL 2002.
    """
    texts = [tokens for tokens in texts if tokens]
    if len(texts) < 2:
        return undefined(f"{len(texts)} text{'s' if len(texts) != 1 else ''} with words; at least 2 are needed")
    precisions = [_clipped_precisions(texts, order) for order in range(1, BLEU_ORDER + 1)]
    lengths = np.array([len(tokens) for tokens in texts])
    scores = []
    for index, tokens in enumerate(texts):
        logs = [np.log(column[index]) for column in precisions[: len(tokens)]]
        scores.append(_brevity(lengths, index) * float(np.exp(np.mean(logs))))
    return known(float(np.mean(scores)))


def vendi(vectors: Floats) -> Estimate:
    """Effective number of different texts: the exponential of the entropy of the similarity matrix's eigenvalues.

    Args:
        vectors: One row of length 1 per text, shape (n_texts, n_dimensions); their cosines are the similarities.

    Returns:
        Value in [1, n_texts]: 1 where all texts are the same, n_texts where all are orthogonal; undefined without any.

    Source: Friedman and Dieng, The Vendi Score, Transactions on Machine Learning Research (2023).
    """
    n_texts = vectors.shape[0]
    if n_texts == 0:
        return undefined("no texts")
    # The rows' products and the columns' products have the same eigenvalues but for zeros; take the smaller matrix.
    small = vectors @ vectors.T if n_texts <= vectors.shape[1] else vectors.T @ vectors
    shares = np.linalg.eigvalsh(small.astype(np.float64) / n_texts)
    shares = shares[shares > NO_EIGENVALUE]
    shares = shares / shares.sum()
    return known(float(np.exp(-(shares * np.log(shares)).sum())))


def _grams(tokens: Tokens, order: int) -> list[Gram]:
    return [tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1)]


def _clipped_precisions(texts: Sequence[Tokens], order: int) -> list[float]:
    """For each text, the share of its n-grams found in some other text, each no more often than there."""
    counted = [Counter(_grams(tokens, order)) for tokens in texts]
    largest: dict[Gram, tuple[int, int, int]] = {}  # most in one text, which text, most in any other text
    for index, grams in enumerate(counted):
        for gram, n in grams.items():
            first, owner, second = largest.get(gram, (0, -1, 0))
            largest[gram] = (n, index, first) if n > first else (first, owner, max(second, n))
    found = []
    for index, grams in enumerate(counted):
        hits = 0
        for gram, n in grams.items():
            first, owner, second = largest[gram]
            hits += min(n, second if owner == index else first)
        total = grams.total()
        found.append((hits or EPSILON) / total if total else 1.0)
    return found


def _brevity(lengths: np.ndarray[tuple[int], np.dtype[np.int64]], index: int) -> float:
    """Penalty for being shorter than the reference that is closest in length; the shorter one in a tie."""
    own = lengths[index]
    others = np.delete(lengths, index)
    gaps = np.abs(others - own)
    closest = others[gaps == gaps.min()].min()
    return float(np.exp(min(0.0, 1 - closest / own)))
