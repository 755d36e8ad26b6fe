from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cohort.split import split_patients, split_sizes
from harness.errors import DataError
from harness.seeds import generator

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def toy_patients(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(seed, "toy")
    labels = rng.poisson([6, 3, 1, 0.3], size=(n, 4))
    labels[:, 0] += 1
    level = rng.choice(3, size=n, p=[0.6, 0.3, 0.1])
    return labels, np.eye(3, dtype=np.int64)[level]


@given(n=st.integers(3, 500), train=st.floats(0.01, 0.97), rest=st.floats(0.01, 0.99))
@settings(deadline=None)
def test_sizes_are_exact_and_no_split_is_empty(n: int, train: float, rest: float) -> None:
    shares = {"train": train, "validation": (1 - train) * rest, "test": (1 - train) * (1 - rest)}
    sizes = split_sizes(n, shares)
    assert sum(sizes.values()) == n
    assert min(sizes.values()) >= 1


def test_sizes_follow_the_largest_remainder() -> None:
    # 7 patients: 4.2, 1.4, 1.4 -> 4, 1, 1 and one left for the largest remainder, 0.4, the earlier of two
    assert split_sizes(7, SHARES) == {"train": 4, "validation": 2, "test": 1}
    assert split_sizes(10, {"train": 0.5, "validation": 0.0, "test": 0.5}) == {"train": 5, "validation": 0, "test": 5}


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DataError, match="2 patients cannot fill 3 splits"):
        split_sizes(2, SHARES)


def test_labels_are_spread_better_than_by_chance() -> None:
    labels, levels = toy_patients(80)
    share = np.array(list(SHARES.values()))

    def worst(split: list[str]) -> float:
        held = np.array([labels[np.array(split) == name].sum(axis=0) for name in SHARES])
        return float(np.abs(held / labels.sum(axis=0) - share[:, None]).max())

    found = worst(split_patients(labels, levels, SHARES, generator(1, "split")))
    chance = []
    for seed in range(50):
        order = generator(seed, "chance").permutation(np.repeat(list(SHARES), [48, 16, 16]))
        chance.append(worst(order.tolist()))
    assert found < 0.03
    assert found < min(chance)


def test_subgroup_levels_are_spread_where_labels_leave_room() -> None:
    labels = np.ones((30, 2), dtype=np.int64)  # every patient alike: only the levels decide
    levels = np.eye(2, dtype=np.int64)[[0] * 20 + [1] * 10]
    split = np.array(split_patients(labels, levels, SHARES, generator(1, "split")))
    assert {name: int(levels[split == name, 1].sum()) for name in SHARES} == {"train": 6, "validation": 2, "test": 2}


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    labels, levels = toy_patients(60)
    first = split_patients(labels, levels, SHARES, generator(1, "split"))
    assert first == split_patients(labels, levels, SHARES, generator(1, "split"))
    assert first != split_patients(labels, levels, SHARES, generator(2, "split"))
    assert Counter(first) == {"train": 36, "validation": 12, "test": 12}
