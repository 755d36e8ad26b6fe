"""AUROC, once and over thousands of resamples of patients.

A resample gives every patient a multiplicity. AUROC under multiplicities w is w'Uw over the weighted number of pairs,
where U[p, q] counts the pairs (positive of p, negative of q) that are ranked right. Up to MAX_EXACT_PATIENTS this is
computed as it stands, at a cost of patients squared. Beyond, each sentence keeps the placement it has among everybody,
which leaves four sums per patient; standard errors then differ by about a hundredth (a test compares).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Codes, Floats
from harness.metrics.resampling import Multiplicities, resample_sums

MAX_EXACT_PATIENTS = 128
UNIT = 1_000_000  # placements are resampled as whole millionths, which linear algebra adds exactly


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


def auroc_by_pairs(
    score: Floats, positive: NDArray[np.bool_], patient: Codes, multiplicities: Multiplicities
) -> Floats:
    """AUROC under each resample of patients, exactly; cost replicates x patients squared.

    Args:
        score: Finite scores, shape (n_sentences,).
        positive: Whether the sentence is of the class, same shape.
        patient: Patient of each sentence, a column of `multiplicities`, same shape.
        multiplicities: How often each patient was drawn, shape (n_replicates, n_patients).

    Returns:
        Shape (n_replicates,); NaN where a resample holds no positive or no negative.
    """
    n_patients = multiplicities.shape[1]
    n_positive = np.bincount(patient[positive], minlength=n_patients)
    n_negative = np.bincount(patient[~positive], minlength=n_patients)
    columns = np.column_stack([n_positive, n_negative, 2 * pair_wins(score, positive, patient, n_patients).T])
    sums = resample_sums(columns, multiplicities).T  # (2 + n_patients, n_replicates)
    won = (sums[2:] * multiplicities.T).sum(axis=0)
    return _share(won, 2 * sums[0] * sums[1])


def placements_by_patient(score: Floats, positive: NDArray[np.bool_], patient: Codes, n_patients: int) -> Floats:
    """What AUROC is made of to first order, as sums that resampling can add.

    The placement of a positive is the share of negatives below it, that of a negative the share of positives above it;
    the mean of either is AUROC.

    Returns:
        Shape (n_patients, 4): number of positives and sum of their placements, the same of negatives; placements in
        whole millionths. All zero where there is no positive or no negative.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845, eq. 3; by clusters: Obuchowski,
    Nonparametric analysis of clustered ROC curve data, Biometrics 53 (1997) 567-578.
    """
    sums = np.zeros((n_patients, 4))
    if not positive.any() or positive.all():
        return sums
    for column, own in ((0, positive), (2, ~positive)):
        against = np.sort(score[~own])
        beaten = np.searchsorted(against, score[own], side="left") + np.searchsorted(against, score[own], side="right")
        share = beaten / (2 * against.size)
        share = share if column == 0 else 1 - share
        sums[:, column] = np.bincount(patient[own], minlength=n_patients)
        sums[:, column + 1] = np.bincount(patient[own], weights=np.rint(UNIT * share), minlength=n_patients)
    return sums


def auroc_from_sums(sums: Floats, whole: Floats) -> Floats:
    """AUROC to first order, from sums of `placements_by_patient` under resamples.

    Args:
        sums: Shape (n_replicates, ..., 4).
        whole: The same sums with every patient once, shape (..., 4).

    Returns:
        Shape (n_replicates, ...), in [0, 1]; NaN where a resample holds no positive or no negative.
    """
    of_everybody = _share(whole[..., 1], UNIT * whole[..., 0])
    moved = _share(sums[..., 1], UNIT * sums[..., 0]) + _share(sums[..., 3], UNIT * sums[..., 2])
    return np.clip(moved - of_everybody, 0.0, 1.0)


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
