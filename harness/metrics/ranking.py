"""AUROC, once and over thousands of resamples of patients.

A resample gives every patient a multiplicity. AUROC under multiplicities w is w'Uw over the weighted number of pairs,
where U[p, q] counts the pairs (positive of p, negative of q) that are ranked right. Up to MAX_EXACT_PATIENTS this is
computed as it stands, at a cost of patients squared. Beyond, U is replaced by a product of two thin matrices, counts by
patient and score bin, which makes the cost linear in patients: scores of one bin count as tied, and what that does to
the point estimate is added back. An interval's ends then move by about a hundredth of its width (a test compares).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Codes, Floats
from harness.metrics.resampling import Multiplicities, resample_sums

MAX_EXACT_PATIENTS = 128
# Pairs within one of 32 bins are 3% of all pairs, and their share of wins varies little: against the sampling error of
# AUROC itself (0.006 at 12,000 sentences) the bins add about 0.0003.
N_SCORE_BINS = 32


def auroc(score: Floats, positive: NDArray[np.bool_]) -> float:
    """Probability that a random positive scores above a random negative, ties counting one half.

    Args:
        score: Finite scores, shape (n_sentences,).
        positive: Whether the sentence is of the class, same shape.

    Returns:
        Value in [0, 1], or NaN where there is no positive or no negative.

    Source: Hanley and McNeil, Radiology 143 (1982) 29-36: the area equals the Mann-Whitney statistic.
    """
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    negatives = np.sort(score[~positive])
    below = np.searchsorted(negatives, score[positive], side="left")
    below_or_tied = np.searchsorted(negatives, score[positive], side="right")
    return float((below + below_or_tied).sum() / (2 * n_positive * n_negative))


def resampled_auroc(
    score: Floats, positive: NDArray[np.bool_], patient: Codes, multiplicities: Multiplicities
) -> Floats:
    """AUROC under each resample of patients.

    Args:
        score: Finite scores, shape (n_sentences,).
        positive: Whether the sentence is of the class, same shape.
        patient: Patient of each sentence, a column of `multiplicities`, same shape.
        multiplicities: How often each patient was drawn, shape (n_replicates, n_patients).

    Returns:
        Shape (n_replicates,); NaN where a resample holds no positive or no negative.
    """
    if multiplicities.shape[1] <= MAX_EXACT_PATIENTS:
        return auroc_by_pairs(score, positive, patient, multiplicities)
    return auroc_by_bins(score, positive, patient, multiplicities)


def auroc_by_pairs(
    score: Floats, positive: NDArray[np.bool_], patient: Codes, multiplicities: Multiplicities
) -> Floats:
    """`resampled_auroc` exactly; cost replicates x patients squared."""
    n_patients = multiplicities.shape[1]
    n_positive = np.bincount(patient[positive], minlength=n_patients)
    n_negative = np.bincount(patient[~positive], minlength=n_patients)
    columns = np.column_stack([n_positive, n_negative, 2 * pair_wins(score, positive, patient, n_patients).T])
    sums = resample_sums(columns, multiplicities).T  # (2 + n_patients, n_replicates)
    won = (sums[2:] * multiplicities.T).sum(axis=0)
    return _share(won, 2 * sums[0] * sums[1])


def auroc_by_bins(score: Floats, positive: NDArray[np.bool_], patient: Codes, multiplicities: Multiplicities) -> Floats:
    """`resampled_auroc` from counts by score bin; cost replicates x patients x bins.

    Exact where the scores take at most N_SCORE_BINS values.
    """
    n_patients = multiplicities.shape[1]
    edges = np.unique(score)
    if edges.size > N_SCORE_BINS:
        edges = np.unique(np.quantile(score, np.arange(N_SCORE_BINS) / N_SCORE_BINS, method="lower"))
    n_bins = edges.size
    cell = patient * n_bins + np.searchsorted(edges, score, side="right") - 1
    positives = np.bincount(cell[positive], minlength=n_patients * n_bins).reshape(n_patients, n_bins)
    negatives = np.bincount(cell[~positive], minlength=n_patients * n_bins).reshape(n_patients, n_bins)
    sums = resample_sums(np.stack([positives, negatives], axis=1), multiplicities)  # (n_replicates, 2, n_bins)
    in_bin, against = sums[:, 0].T, sums[:, 1].T  # (n_bins, n_replicates)
    beaten = 2 * np.cumsum(against, axis=0) - against
    found = _share((in_bin * beaten).sum(axis=0), 2 * in_bin.sum(axis=0) * against.sum(axis=0))
    binned = auroc(edges[np.searchsorted(edges, score, side="right") - 1], positive)
    return np.clip(found + (auroc(score, positive) - binned), 0.0, 1.0)


def pair_wins(score: Floats, positive: NDArray[np.bool_], patient: Codes, n_patients: int) -> Floats:
    """Pairs ranked right between patients, ties counting one half.

    Returns:
        Shape (n_patients, n_patients): rows are the patients of the positives, columns those of the negatives.
    """
    order = np.argsort(score[positive], kind="stable")
    ranked, owner = score[positive][order], patient[positive][order]
    wins = np.zeros((n_patients, n_patients))
    if owner.size == 0:
        return wins
    against, negative_score = patient[~positive], score[~positive]
    cell = np.concatenate(
        [np.searchsorted(ranked, negative_score, side=side) * n_patients + against for side in ("left", "right")]
    )
    gained = np.bincount(cell, minlength=(owner.size + 1) * n_patients).reshape(-1, n_patients)[:-1]
    by_owner = np.argsort(owner, kind="stable")
    beaten = np.cumsum(gained, axis=0)[by_owner]  # (n_positive, n_patients): negatives each positive beats, doubled
    owners, starts = np.unique(owner[by_owner], return_index=True)
    wins[owners] = np.add.reduceat(beaten, starts, axis=0) / 2
    return wins


def _share(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
