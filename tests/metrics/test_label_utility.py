"""Metrics of sentences with several labels against scikit-learn and against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
    roc_auc_score,  # fmt: skip
)

from harness import seeds
from harness.errors import DataError
from harness.metrics.counts import Tallies, tally_labels_by_patient
from harness.metrics.estimate import known, undefined
from harness.metrics.utility import ALL, FORMULAS, METRICS, SET_FORMULAS, label_utility
from harness.metrics.whole_sets import SetTallies, tally_sets_by_patient

Bools = NDArray[np.bool_]


def invented(n: int, n_labels: int, *names: str) -> tuple[Bools, Bools, NDArray[np.float64]]:
    """Labels of unequal frequency; the last one may be in no sentence, and an answer may hold no label."""
    rng = seeds.generator(0, "test_label_utility", *names)
    truth = rng.random((n, n_labels)) < np.linspace(0.6, 0.02, n_labels)
    truth[:, 0] |= ~truth.any(axis=1)
    probability = np.clip(0.5 * truth + rng.random((n, n_labels)) * 0.6, 0, 1).round(2)  # with ties
    return truth, probability >= 0.55, probability


@settings(max_examples=80, deadline=None)
@given(n=st.integers(1, 30), n_labels=st.integers(2, 6), root=st.integers(0, 10**6))
def test_values_are_those_of_scikit_learn(n: int, n_labels: int, root: int) -> None:
    truth, predicted, probability = invented(n, n_labels, str(root))
    found = label_utility(truth, predicted, probability)
    y, z = truth.astype(int), predicted.astype(int)
    present = np.flatnonzero(truth.any(axis=0)).tolist()
    expected = {
        "micro_f1": f1_score(y, z, average="micro", zero_division=0),
        "macro_f1": f1_score(y, z, average="macro", labels=present, zero_division=0),
        "weighted_f1": f1_score(y, z, average="weighted", zero_division=0),
        "exact_match": accuracy_score(y, z),
        "jaccard": jaccard_score(y, z, average="samples", zero_division=0),
        "brier": np.mean([brier_score_loss(y[:, k], probability[:, k], labels=[0, 1]) for k in range(n_labels)]),
    }
    for name, value in expected.items():
        assert found[name, ALL].value == pytest.approx(value, abs=1e-6), name
    for k in range(n_labels):
        values = {
            "precision": precision_score(y[:, k], z[:, k], zero_division=0) if predicted[:, k].any() else None,
            "recall": recall_score(y[:, k], z[:, k], zero_division=0) if truth[:, k].any() else None,
            "f1": f1_score(y[:, k], z[:, k], zero_division=0) if truth[:, k].any() else None,
            "auroc": roc_auc_score(y[:, k], probability[:, k]) if 0 < truth[:, k].sum() < n else None,
        }
        for name, value in values.items():
            assert found[name, k].value == (None if value is None else pytest.approx(value, abs=1e-12)), (name, k)


def test_values_by_hand() -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=bool)
    predicted = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=bool)
    found = label_utility(truth, predicted, predicted.astype(float))
    assert found["exact_match", ALL] == known(1 / 4)  # the third sentence alone
    assert found["jaccard", ALL] == known((1 / 2 + 1 / 2 + 1 + 0) / 4)  # {a}/{a,b}, {b}/{b,c}, {c}/{c}, {}/{a}
    assert found["micro_f1", ALL].value == pytest.approx(2 * 3 / (5 + 4))  # 3 hits, 5 true, 4 predicted
    assert [found["f1", k].value for k in range(3)] == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert found["precision", 2] == known(1 / 2)
    assert found["brier", ALL].value == pytest.approx(3 / 12)  # three of twelve pairs are wrong by 1
    assert found["ece", ALL].value == pytest.approx(3 / 12)  # of 8 pairs at 0, two are true; of 4 at 1, one is not


def test_every_metric_of_several_labels_is_computed_and_none_of_one_label() -> None:
    found = label_utility(*invented(60, 3, "registry"))
    expected = {(name, k) for name, metric in METRICS.items() if metric.source not in ("levels", "scaled")
                and "multi" in metric.kinds for k in (range(3) if metric.per_class else [ALL])}  # fmt: skip
    assert set(found) == expected
    assert ("accuracy", ALL) not in found and ("exact_match", ALL) in found


def test_undefined_says_why() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0]], dtype=bool)
    predicted = np.zeros((2, 3), dtype=bool)
    found = label_utility(truth, predicted, np.zeros((2, 3)))
    assert found["precision", 0] == undefined("the class was never predicted")
    assert found["f1", 2] == undefined("no true sentence of the class")
    assert found["auroc", 0] == undefined("every sentence is of the class")
    assert found["f1", 0] == known(0.0)  # missed twice: 2 * 0 / (2 + 0)
    assert found["jaccard", ALL] == known(0.0) and found["exact_match", ALL] == known(0.0)
    nobody = label_utility(truth[:0], predicted[:0], np.zeros((0, 3)))
    assert {(one.status, one.reason) for one in nobody.values()} == {("undefined", "no sentence")}


def test_order_of_sentences_changes_nothing_and_renamed_labels_permute() -> None:
    truth, predicted, probability = invented(80, 4, "order")
    found = label_utility(truth, predicted, probability)
    order = seeds.generator(1, "test_label_utility").permutation(80)
    assert label_utility(truth[order], predicted[order], probability[order]) == found
    turned = label_utility(truth[:, ::-1], predicted[:, ::-1], probability[:, ::-1])
    for (name, k), estimate in found.items():
        other = turned[name, ALL if k is ALL else 3 - k]
        assert other.reason == estimate.reason
        assert other.value == (None if estimate.value is None else pytest.approx(estimate.value, abs=1e-12))


def test_sums_of_patients_are_the_counts_of_all() -> None:
    """What resampling adds up gives the metric of the pooled sentences, for every run at once."""
    truth, _, probability = invented(90, 4, "patients")
    patient = seeds.generator(2, "test_label_utility").integers(7, size=90)
    runs = np.stack([probability >= 0.3, probability >= 0.7])
    tallies = tally_labels_by_patient(truth, runs, patient, n_patients=9)  # two patients have no sentence
    sets = tally_sets_by_patient(truth, runs, patient, n_patients=9)
    assert tallies.hits.shape == tallies.predicted.shape == (9, 2, 4) and tallies.true.shape == (9, 1, 4)
    assert sets.exact.shape == (9, 2) and sets.sentences.sum() == 90
    pooled = Tallies(*(one.sum(axis=0) for one in tallies))
    whole = SetTallies(*(one.sum(axis=0) for one in sets))
    for run in range(2):
        found = label_utility(truth, runs[run], probability)
        for name, formula in FORMULAS.items():
            if "multi" in METRICS[name].kinds and not METRICS[name].per_class:
                assert formula(pooled)[run] == pytest.approx(found[name, ALL].value)
        for name, of_sets in SET_FORMULAS.items():
            assert of_sets(whole)[run] == pytest.approx(found[name, ALL].value)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.ones((3, 2), bool), np.ones((3, 3), bool), r"found truth \(3, 2\), predicted \(3, 3\)"),
        (np.ones(3, bool), np.ones(3, bool), r"expected three times \(n, n_labels\)"),
        (np.zeros((2, 2), bool), np.ones((2, 2), bool), "truth: 2 of 2 sentences show no label"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(truth: Bools, predicted: Bools, message: str) -> None:
    with pytest.raises(DataError, match=message):
        label_utility(truth, predicted, np.ones(truth.shape))
