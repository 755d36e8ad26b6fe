from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from harness import seeds
from harness.metrics import counts
from harness.metrics.counts import Tallies, confusion, tally_by_patient

# truth     a a a a b b c
# predicted a a b c b a b      classes a, b, c; nobody is d
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 2, 1, 0, 1])


def tallies_of(truth: NDArray[np.intp], predicted: NDArray[np.intp], n_classes: int) -> Tallies:
    nobody = np.zeros(truth.size, dtype=np.intp)
    per_run = tally_by_patient(truth, predicted[None], nobody, n_patients=1, n_classes=n_classes)
    return Tallies(*(one[0, 0] for one in per_run))


def random_case(name: str, n: int, n_classes: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rng = seeds.generator(0, "test_counts", name)
    return rng.integers(n_classes, size=n), rng.integers(n_classes, size=n)


def test_hand_computed_values() -> None:
    tallies = tallies_of(TRUTH, PREDICTED, 4)
    # TP: a 2, b 1, c 0.  True: 4, 2, 1.  Predicted: 3, 3, 1.
    assert tallies.hits.tolist() == [2, 1, 0, 0]
    assert tallies.true.tolist() == [4, 2, 1, 0]
    assert tallies.predicted.tolist() == [3, 3, 1, 0]
    np.testing.assert_allclose(counts.precision(tallies), [2 / 3, 1 / 3, 0 / 1, np.nan])
    np.testing.assert_allclose(counts.recall(tallies), [2 / 4, 1 / 2, 0 / 1, np.nan])
    np.testing.assert_allclose(counts.f1(tallies), [2 * 2 / (4 + 3), 2 * 1 / (2 + 3), 0 / 2, np.nan])
    assert counts.accuracy(tallies) == pytest.approx(3 / 7)
    assert counts.macro_f1(tallies) == pytest.approx((4 / 7 + 2 / 5 + 0) / 3)  # d never occurs and is left out
    assert counts.weighted_f1(tallies) == pytest.approx((4 * 4 / 7 + 2 * 2 / 5 + 1 * 0) / 7)
    assert counts.balanced_accuracy(tallies) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)


def test_confusion_has_truth_in_rows() -> None:
    assert confusion(TRUTH, PREDICTED, 3).tolist() == [[2, 1, 1], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("n", [1, 5, 40, 700])
def test_equal_to_scikit_learn_on_random_answers(n: int, n_classes: int) -> None:
    truth, predicted = random_case(f"{n}/{n_classes}", n, n_classes)
    assert_equal_to_scikit_learn(truth, predicted, n_classes)


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [
        ([0, 0, 0], [0, 0, 0]),  # one class, all right
        ([0, 0, 0], [1, 1, 1]),  # one class, all wrong
        ([0, 1, 2], [1, 2, 0]),  # never right
        ([0, 1, 1], [1, 1, 1]),  # a class that is never predicted
        ([1, 1, 2], [0, 1, 2]),  # a class that is predicted but never true
    ],
)
def test_equal_to_scikit_learn_on_degenerate_answers(truth: list[int], predicted: list[int]) -> None:
    assert_equal_to_scikit_learn(np.array(truth), np.array(predicted), 4)


def assert_equal_to_scikit_learn(truth: NDArray[np.intp], predicted: NDArray[np.intp], n_classes: int) -> None:
    tallies, classes, present = tallies_of(truth, predicted, n_classes), np.arange(n_classes), np.unique(truth)
    expected = {"labels": classes, "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(counts.precision(tallies), sk.precision_score(truth, predicted, **expected), atol=1e-12)
    np.testing.assert_allclose(counts.recall(tallies), sk.recall_score(truth, predicted, **expected), atol=1e-12)
    f1 = sk.f1_score(truth, predicted, labels=classes, average=None, zero_division=0)
    np.testing.assert_allclose(counts.f1(tallies), np.where(np.isin(classes, present), f1, np.nan), atol=1e-12)
    macro = sk.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert counts.macro_f1(tallies) == pytest.approx(macro, abs=1e-12)
    weighted = sk.f1_score(truth, predicted, average="weighted", zero_division=0)
    assert counts.weighted_f1(tallies) == pytest.approx(weighted, abs=1e-12)
    assert counts.accuracy(tallies) == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-12)
    balanced = sk.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert counts.balanced_accuracy(tallies) == pytest.approx(balanced, abs=1e-12)
    np.testing.assert_array_equal(
        confusion(truth, predicted, n_classes), sk.confusion_matrix(truth, predicted, labels=classes)
    )


def test_macro_f1_differs_from_scikit_learns_default_where_a_class_is_only_predicted() -> None:
    truth, predicted = np.array([0, 0]), np.array([0, 1])
    assert counts.macro_f1(tallies_of(truth, predicted, 2)) == pytest.approx(2 / 3)
    assert sk.f1_score(truth, predicted, average="macro", zero_division=0) == pytest.approx(1 / 3)


def test_f1_is_zero_with_positives_and_no_prediction() -> None:
    tallies = tallies_of(np.array([0, 1]), np.array([0, 0]), 2)
    assert counts.f1(tallies)[1] == 0.0
    assert np.isnan(counts.precision(tallies)[1])


def test_no_sentence_makes_everything_undefined() -> None:
    nothing = Tallies(np.zeros(3), np.zeros(3), np.zeros(3))
    for formula in (counts.accuracy, counts.macro_f1, counts.weighted_f1, counts.balanced_accuracy):
        assert np.isnan(formula(nothing))
    for formula in (counts.precision, counts.recall, counts.f1):
        assert np.isnan(formula(nothing)).all()


def test_leading_axes_give_what_one_at_a_time_gives() -> None:
    cases = [random_case(str(k), 30, 4) for k in range(5)]
    single = [tallies_of(*case, 4) for case in cases]
    stacked = Tallies(*(np.stack(arrays) for arrays in zip(*single, strict=True)))
    for formula in (counts.accuracy, counts.macro_f1, counts.weighted_f1, counts.f1, counts.precision):
        np.testing.assert_array_equal(formula(stacked), np.stack([formula(one) for one in single]))


def test_tallies_by_patient_add_up_to_those_of_everybody() -> None:
    rng = seeds.generator(0, "test_counts", "patients")
    truth, patient = rng.integers(3, size=50), rng.integers(7, size=50)
    predicted = rng.integers(3, size=(2, 50))
    by_patient = tally_by_patient(truth, predicted, patient, n_patients=7, n_classes=3)
    for run in range(2):
        whole = tallies_of(truth, predicted[run], 3)
        np.testing.assert_array_equal(by_patient.hits[:, run].sum(axis=0), whole.hits)
        np.testing.assert_array_equal(by_patient.predicted[:, run].sum(axis=0), whole.predicted)
    np.testing.assert_array_equal(by_patient.true[3, 0], np.bincount(truth[patient == 3], minlength=3))
