from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import seeds
from harness.errors import DataError
from harness.metrics.estimate import insufficient, known, undefined
from harness.metrics.utility import ALL, METRICS, mean_over_seeds, utility


def invented(n: int, n_classes: int, *names: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = seeds.generator(0, "test_utility", *names)
    probability = rng.dirichlet(np.ones(n_classes), size=n)
    return rng.integers(n_classes, size=n), probability.argmax(axis=1), probability


def test_every_metric_of_the_registry_is_computed_but_those_that_need_more() -> None:
    found = utility(*invented(60, 3, "registry"), 3)
    expected = {(name, k) for name, metric in METRICS.items() if metric.source not in ("levels", "scaled")
                and "single" in metric.kinds for k in (range(3) if metric.per_class else [ALL])}  # fmt: skip
    assert set(found) == expected
    assert all(name == metric.name for name, metric in METRICS.items())


@settings(max_examples=60, deadline=None)
@given(n=st.integers(0, 25), n_classes=st.integers(2, 4), root=st.integers(0, 10**6))
def test_values_lie_in_the_bounds_and_only_ok_has_a_value(n: int, n_classes: int, root: int) -> None:
    found = utility(*invented(n, n_classes, str(root)), n_classes)
    for (name, _), estimate in found.items():
        low, high = METRICS[name].bounds
        assert (estimate.status == "ok") == (estimate.value is not None)
        if estimate.value is None:
            assert estimate.reason
        else:
            assert low <= estimate.value <= high


def test_order_of_sentences_changes_nothing() -> None:
    truth, predicted, probability = invented(80, 4, "order")
    order = seeds.generator(1, "test_utility").permutation(80)
    assert utility(truth[order], predicted[order], probability[order], 4) == utility(truth, predicted, probability, 4)


def test_undefined_says_why() -> None:
    truth, predicted = np.array([0, 0, 1]), np.array([0, 2, 2])
    probability = np.eye(4)[predicted]
    found = utility(truth, predicted, probability, 4)
    assert found["precision", 1] == undefined("the class was never predicted")
    assert found["precision", 2] == known(0.0)  # predicted twice, never right
    for name in ("recall", "f1", "auroc"):
        assert found[name, 2] == undefined("no true sentence of the class")
    assert found["f1", 1] == known(0.0)  # 2 * 0 / (0 + 1 + 0): missed, not undefined
    everybody = utility(np.array([1, 1]), np.array([1, 0]), np.full((2, 2), 0.5), 2)
    assert everybody["auroc", 1] == undefined("every sentence is of the class")
    nobody = utility(truth[:0], predicted[:0], probability[:0], 4)
    assert {(one.status, one.reason) for one in nobody.values()} == {("undefined", "no sentence")}


def test_mean_over_seeds_is_undefined_as_soon_as_one_seed_is() -> None:
    assert mean_over_seeds([known(0.2), known(0.6)]) == known(0.4)
    some = mean_over_seeds([known(0.2), undefined("the class was never predicted"), known(0.6)])
    assert some == undefined("the class was never predicted in 1 of 3 train seeds")
    assert mean_over_seeds([insufficient("2 patients")]) == insufficient("2 patients")


@pytest.mark.parametrize(
    ("truth", "predicted", "probability", "message"),
    [
        (np.zeros(3, int), np.zeros(2, int), np.zeros((3, 2)), r"found truth \(3,\), predicted \(2,\)"),
        (np.zeros(3, int), np.zeros(3, int), np.zeros((3, 4)), r"expected \(n,\), \(n,\) and \(n, 2\)"),
        (np.array([0, 2]), np.zeros(2, int), np.zeros((2, 2)), "truth: found class 0 to 2; allowed: 0 to 1"),
        (np.zeros(2, int), np.array([-1, 0]), np.zeros((2, 2)), "predicted: found class -1 to 0; allowed: 0 to 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    truth: np.ndarray, predicted: np.ndarray, probability: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        utility(truth, predicted, probability, 2)
