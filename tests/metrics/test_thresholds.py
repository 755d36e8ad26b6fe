"""The threshold of a label: best F1 on validation, and 0.5 where there is too little to choose by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from harness import seeds
from harness.metrics.thresholds import MIN_POSITIVES, choose_threshold, choose_thresholds


def test_threshold_by_hand() -> None:
    """Giving the label to the five largest finds all five positives: F1 1, anywhere between 0.2 and 0.3."""
    probability = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.2, 0.1])
    found = choose_threshold(np.array([1, 1, 1, 1, 1, 0, 0], dtype=bool), probability)
    assert (found.value, found.f1, found.n_positive, found.status) == (pytest.approx(0.25), 1.0, 5, "ok")


def test_half_is_kept_where_nothing_is_better() -> None:
    probability = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.2, 0.1])
    assert choose_threshold(np.array([1, 1, 1, 1, 1, 0, 0], dtype=bool), probability).value == 0.5


def test_of_equally_good_thresholds_the_one_nearest_half_is_taken() -> None:
    """Six positives at 0.9, four at 0.2, eight negatives at 0.6: above 0.6 and below 0.2 the F1 is 3/4 and 10/14."""
    truth = np.array([1] * 6 + [0] * 8 + [1] * 4, dtype=bool)
    probability = np.array([0.9] * 6 + [0.6] * 8 + [0.2] * 4)
    assert choose_threshold(truth, probability).f1 == pytest.approx(2 * 6 / (6 + 10))
    truth = np.array([1] * 5 + [0] * 5 + [1] * 5, dtype=bool)  # 2*5/(5+10) = 2/3; all: 2*10/(15+10) = 4/5
    probability = np.array([0.9] * 5 + [0.6] * 5 + [0.2] * 5)
    assert choose_threshold(truth, probability).value == pytest.approx(0.1)
    truth = np.array([1] * 5 + [0] * 10 + [1] * 5, dtype=bool)  # both 2/3: 0.75 is nearer to 0.5 than 0.1
    probability = np.array([0.9] * 5 + [0.6] * 10 + [0.2] * 5)
    found = choose_threshold(truth, probability)
    assert (found.value, found.f1) == (pytest.approx(0.75), pytest.approx(2 / 3))


def test_a_label_that_cannot_be_told_is_given_to_all() -> None:
    found = choose_threshold(np.array([True] * 6 + [False] * 4), np.full(10, 0.4))
    assert found.value == pytest.approx(0.2) and found.f1 == pytest.approx(2 * 6 / (10 + 6))


def test_too_few_positives_leave_the_default_and_say_so() -> None:
    truth = np.arange(40) < MIN_POSITIVES - 1
    found = choose_threshold(truth, np.linspace(0.4, 0, 40))
    assert (found.value, found.f1, found.n_positive, found.status) == (0.5, None, 4, "insufficient")
    assert found.reason == "4 validation sentences with the label; choosing needs 5"
    nobody = choose_thresholds(np.zeros((0, 2), dtype=bool), np.zeros((0, 2)))
    assert [(one.value, one.status, one.reason) for one in nobody] == [
        (0.5, "insufficient", "no validation sentence")
    ] * 2


@settings(max_examples=40, deadline=None)
@given(n=st.integers(8, 40), root=st.integers(0, 10**6))
def test_no_other_threshold_is_better(n: int, root: int) -> None:
    rng = seeds.generator(root, "test_thresholds")
    truth = rng.random(n) < 0.5
    truth[:MIN_POSITIVES] = True
    probability = np.clip(0.3 * truth + rng.random(n) * 0.7, 0, 1).round(1)
    found = choose_threshold(truth, probability)
    given_label = probability >= np.append(np.linspace(0, 1, 41), 0.5)[:, None]  # (n_thresholds, n)
    f1 = 2 * (given_label & truth).sum(axis=1) / (given_label.sum(axis=1) + truth.sum())
    assert found.f1 == pytest.approx(f1_score(truth, probability >= found.value))
    assert found.f1 == pytest.approx(f1.max())
    assert (found.value == 0.5) == (f1[-1] > f1.max() - 1e-9)
