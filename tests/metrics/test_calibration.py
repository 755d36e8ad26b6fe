from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sk_log_loss

from harness import seeds
from harness.metrics.calibration import (
    N_BINS,
    TEMPERATURES,
    brier,
    brier_by_sentence,
    calibration_by_patient,
    calibration_from_sums,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    reliability,
    scale,
)
from harness.metrics.resampling import draw_patients, resample_sums


def answers(n: int, *, sharpness: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from probabilities; what is given out are these to the power of `sharpness`."""
    rng = seeds.generator(0, "test_calibration", name)
    honest = rng.dirichlet([1.5, 1.0, 0.5], size=n)
    truth = (rng.random(n)[:, None] > honest.cumsum(axis=1)).sum(axis=1)
    return truth, scale(honest, 1 / sharpness)


def test_hand_computed_ece_and_bins() -> None:
    # Two bins of two: confidences 0.5, 0.6 with one right; 0.8, 0.9 with both right.
    # |0.55 - 0.5| * 2/4 + |0.85 - 1| * 2/4 = 0.025 + 0.075
    confidence, right = np.array([0.9, 0.5, 0.6, 0.8]), np.array([True, False, True, True])
    bins = reliability(confidence, right, 2)
    assert bins.n.tolist() == [2, 2]
    np.testing.assert_allclose(bins.confidence, [0.55, 0.85])
    np.testing.assert_allclose(bins.right, [0.5, 1.0])
    assert expected_calibration_error(confidence, right, 2) == pytest.approx(0.1)


def test_bins_hold_equal_numbers_and_equal_confidences_share_one() -> None:
    rng = seeds.generator(0, "test_calibration", "bins")
    assert set(reliability(rng.random(200), np.ones(200, bool)).n) == {200 // N_BINS}
    assert reliability(np.full(50, 0.7), rng.random(50) < 0.5).n.tolist() == [50]


def test_brier_hand_computed_and_equal_to_scikit_learn() -> None:
    # (0.7 - 1)^2 + 0.2^2 + 0.1^2 = 0.14; a sure miss is 1 + 1 = 2
    probability = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(brier_by_sentence(np.array([0, 2]), probability), [0.14, 2.0])
    truth, given = answers(300, sharpness=1.7, name="brier")
    assert brier(truth, given) == pytest.approx(brier_score_loss(truth, given), abs=1e-12)
    assert log_loss(truth, given) == pytest.approx(sk_log_loss(truth, given), abs=1e-9)


def test_order_of_sentences_and_names_of_classes_change_nothing() -> None:
    truth, given = answers(173, sharpness=2.0, name="order")
    confidence, right = given.max(axis=1), given.argmax(axis=1) == truth
    order = seeds.generator(1, "test_calibration").permutation(173)
    assert expected_calibration_error(confidence[order], right[order]) == expected_calibration_error(confidence, right)
    assert brier(truth[order], given[order]) == brier(truth, given)
    assert brier(2 - truth, given[:, ::-1]) == pytest.approx(brier(truth, given))


def test_without_sentences_nothing_is_defined() -> None:
    nobody = np.zeros(0)
    assert np.isnan(expected_calibration_error(nobody, nobody.astype(bool)))
    assert np.isnan(brier(nobody.astype(int), np.zeros((0, 3))))


def test_resampled_values_equal_repeated_rows() -> None:
    truth, given = answers(60, sharpness=2.0, name="replicates")
    predicted, patient = given.argmax(axis=1), np.arange(60) % 7
    sums = calibration_by_patient(truth, predicted, given, patient=patient, n_patients=7)
    once_ece, once_brier = calibration_from_sums(sums.sum(axis=0))
    confidence, right = given.max(axis=1), predicted == truth
    assert once_ece == pytest.approx(expected_calibration_error(confidence, right), abs=1e-6)
    assert once_brier == pytest.approx(brier(truth, given), abs=1e-6)
    drawn = draw_patients(7, 20, rng=seeds.generator(2, "test_calibration"))
    _, found = calibration_from_sums(resample_sums(sums, drawn))
    rows = [np.repeat(np.arange(60), times[patient]) for times in drawn]
    np.testing.assert_allclose(found, [brier(truth[one], given[one]) for one in rows], atol=1e-6)
    nothing = calibration_from_sums(np.zeros(2 + N_BINS))
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.5])
def test_the_temperature_that_spoilt_the_probabilities_is_found(sharpness: float) -> None:
    truth, given = answers(8000, sharpness=sharpness, name="temperature")
    temperature = fit_temperature(truth, given)
    assert temperature == pytest.approx(sharpness, rel=0.06)
    mended = scale(given, temperature)
    assert (mended.argmax(axis=1) == given.argmax(axis=1)).all()
    assert log_loss(truth, mended) <= log_loss(truth, given)
    np.testing.assert_allclose(mended.sum(axis=1), 1)


def test_temperatures_stay_in_their_range_and_zeros_do_no_harm() -> None:
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert fit_temperature(np.array([0, 1, 2, 0]), sure) == pytest.approx(TEMPERATURES[0], rel=1e-3)
    assert fit_temperature(np.array([1, 2, 0, 1]), sure) == pytest.approx(TEMPERATURES[1], rel=1e-3)
    assert np.isfinite(scale(sure, 3.0)).all()
