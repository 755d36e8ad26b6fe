"""Patients in, splits out: every patient in one split, labels and subgroups spread as evenly as patients allow.

Greedy iterative stratification, rarest label first, then swaps of patients between splits while they help. Sizes are
exact from the start; a swap keeps them.

Source: Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, LNCS 6913, 145 (there: one vote per example; here: sentences
per patient and label).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.label_sets import labels_of
from harness.schemas.task import Task

LABEL_IMPORTANCE = 1.0
LEVEL_IMPORTANCE = 0.25  # subgroups come second: they decide between splits that are equally good for the labels
MAX_SWAPS = 500
MAX_CANDIDATES = (
    256  # patients looked at per split and swap, so that the cost does not grow with the square of patients
)


def split_sizes(n_patients: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Patients per split by largest remainder; every split with a share gets at least one.

    Raises:
        DataError: Fewer patients than splits.
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    if n_patients < len(wanted):
        raise DataError(
            f"{n_patients} patients cannot fill {len(wanted)} splits ({', '.join(wanted)}); give more patients"
        )
    exact = {name: share / sum(wanted.values()) * n_patients for name, share in wanted.items()}
    sizes = {name: int(value + 1e-9) for name, value in exact.items()}
    by_remainder = sorted(wanted, key=lambda name: sizes[name] - exact[name])
    for name in by_remainder[: n_patients - sum(sizes.values())]:
        sizes[name] += 1
    while empty := [name for name in sizes if sizes[name] == 0]:
        largest = max(sizes, key=lambda name: sizes[name])
        sizes[largest] -= 1
        sizes[empty[0]] += 1
    return {name: sizes.get(name, 0) for name in shares}


def split_patients(
    label_counts: NDArray[np.int64],
    level_counts: NDArray[np.int64],
    shares: Mapping[str, float],
    rng: np.random.Generator,
) -> list[str]:
    """Assign patients to splits.

    Args:
        label_counts: Sentences of each patient by label, shape (n_patients, n_labels).
        level_counts: 1 where a patient belongs to a subgroup level, shape (n_patients, n_levels).
        shares: Split to share of the patients, adding up to 1; a share of 0 leaves the split empty.
        rng: Breaks ties and chooses the patients that swaps look at.

    Returns:
        The split of each patient, in the order of the rows.

    Raises:
        DataError: Fewer patients than splits.
    """
    sizes = split_sizes(len(label_counts), shares)
    names = [name for name, size in sizes.items() if size]
    size = np.array([sizes[name] for name in names], dtype=np.int64)
    features = _features(label_counts, level_counts)
    assigned = _greedy(label_counts, size, rng)
    assigned = _improve(assigned, features, size / size.sum(), rng)
    return [names[index] for index in assigned]


def imbalance(assigned: NDArray[np.int64], features: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Sum of squared distances between each split's part of a feature and the split's share."""
    return float((_residuals(assigned, features, shares) ** 2).sum())


def _features(label_counts: NDArray[np.int64], level_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each patient's part of every label and level, scaled by importance, shape (n_patients, n_labels + n_levels)."""
    blocks = []
    for counts, importance in ((label_counts, LABEL_IMPORTANCE), (level_counts, LEVEL_IMPORTANCE)):
        totals = counts.sum(axis=0)
        blocks.append(importance * counts[:, totals > 0] / totals[totals > 0])
    return np.concatenate(blocks, axis=1)


def _greedy(label_counts: NDArray[np.int64], size: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rarest remaining label first, its richest patient first, into the split that lacks most of it and has room."""
    n_patients = len(label_counts)
    assigned = np.full(n_patients, -1, dtype=np.int64)
    wanted = label_counts.sum(axis=0) * (size / size.sum())[:, None]  # (n_splits, n_labels), sentences still missing
    room = size.copy()
    tie = rng.permutation(n_patients)
    left = label_counts.astype(np.int64)
    while (open_labels := left.sum(axis=0)).any():
        label = int(np.where(open_labels > 0, open_labels, np.iinfo(np.int64).max).argmin())
        holders = np.flatnonzero(left[:, label] > 0)
        for patient in holders[np.lexsort((tie[holders], -left[holders, label]))]:
            need = np.where(room > 0, wanted[:, label] + 1e-6 * room / size, -np.inf)
            chosen = int(need.argmax())
            assigned[patient] = chosen
            wanted[chosen] -= label_counts[patient]
            room[chosen] -= 1
            left[patient] = 0
    return assigned


def _improve(
    assigned: NDArray[np.int64], features: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Swap the pair of patients that lowers the imbalance most, until none does."""
    assigned = assigned.copy()
    n_splits = len(shares)
    pairs = [(a, b) for a in range(n_splits) for b in range(a + 1, n_splits)]
    for _ in range(MAX_SWAPS):
        residuals = _residuals(assigned, features, shares)
        members = [_some(np.flatnonzero(assigned == split), rng) for split in range(n_splits)]
        swaps = [_best_swap(features, members[a], members[b], residuals[a] - residuals[b]) for a, b in pairs]
        gain, left, right = min(swaps, default=(0.0, 0, 0))
        if gain > -1e-12:
            break
        assigned[left], assigned[right] = assigned[right], assigned[left]
    return assigned


def _some(patients: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if len(patients) <= MAX_CANDIDATES:
        return patients
    return np.sort(rng.choice(patients, size=MAX_CANDIDATES, replace=False))


def _residuals(
    assigned: NDArray[np.int64], features: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each split holds of each feature beyond its share, shape (n_splits, n_features)."""
    held = np.zeros((len(shares), features.shape[1]))
    np.add.at(held, assigned, features)
    residuals: NDArray[np.float64] = held - shares[:, None] * features.sum(axis=0)
    return residuals


def _best_swap(
    features: NDArray[np.float64], left: NDArray[np.int64], right: NDArray[np.int64], lean: NDArray[np.float64]
) -> tuple[float, int, int]:
    """Largest fall of the imbalance over all swaps of one patient of `left` with one of `right`.

    With d = x_right - x_left and residuals r_a, r_b, the change is |r_a + d|^2 + |r_b - d|^2 - |r_a|^2 - |r_b|^2
    = 2 d (r_a - r_b) + 2 |d|^2.
    """
    x, y = features[left], features[right]
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2 * x @ y.T
    change = 2 * ((y @ lean)[None, :] - (x @ lean)[:, None]) + 2 * squares
    best = np.unravel_index(int(change.argmin()), change.shape)
    return float(change[best]), int(left[best[0]]), int(right[best[1]])


def assign_splits(
    rows: Sequence[Mapping[str, Any]], task: Task, shares: Mapping[str, float], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The rows with a `split`, by patient; the order of the rows does not matter."""
    patients = sorted({row["patient_id"] for row in rows})
    label_counts, level_counts = _patient_vectors(rows, patients, task)
    split = dict(zip(patients, split_patients(label_counts, level_counts, shares, rng), strict=True))
    return [{**row, "split": split[row["patient_id"]]} for row in rows]


def _patient_vectors(
    rows: Sequence[Mapping[str, Any]], patients: Sequence[str], task: Task
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sentences by label, and membership by subgroup level, of each patient."""
    index = {patient: number for number, patient in enumerate(patients)}
    labels = {label: number for number, label in enumerate(task.label_ids)}
    places = [(name, level) for name, variable in task.file.subgroups.items() for level in variable.levels]
    levels = {place: number for number, place in enumerate(places)}
    label_counts = np.zeros((len(patients), len(labels)), dtype=np.int64)
    level_counts = np.zeros((len(patients), len(levels)), dtype=np.int64)
    for row in rows:
        patient = index[row["patient_id"]]
        for label in labels_of(row["label"]):
            label_counts[patient, labels[label]] += 1
        for name in task.file.subgroups:
            if (name, row[name]) in levels:
                level_counts[patient, levels[(name, row[name])]] = 1
    return label_counts, level_counts
