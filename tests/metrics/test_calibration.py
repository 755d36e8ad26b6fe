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
    ece_by_chance,
    expected_calibration_error,
    fit_label_temperature,
    fit_temperature,
    label_brier,
    label_calibration_by_patient,
    label_log_loss,
    log_loss,
    reliability,
    scale,
    scale_labels,
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


def test_what_a_calibrated_model_shows_by_chance() -> None:
    # One bin of 100 sentences at 0.8: sqrt(2 / pi * 0.8 * 0.2 / 100) = 0.0319
    assert ece_by_chance(np.full(100, 0.8)) == pytest.approx(0.0319, abs=1e-4)
    rng = seeds.generator(0, "test_calibration", "chance")
    shown = []
    for _ in range(200):
        confidence = rng.uniform(0.3, 0.99, 300)
        shown.append((expected_calibration_error(confidence, rng.random(300) < confidence), ece_by_chance(confidence)))
    seen, said = np.mean(shown, axis=0)
    assert said == pytest.approx(seen, rel=0.05)
    assert np.isnan(ece_by_chance(np.zeros(0)))


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


def invented_labels(n: int, *names: str) -> tuple[np.ndarray, np.ndarray]:
    """Sentences with several of four labels, and probabilities that are true."""
    rng = seeds.generator(0, "test_calibration", *names)
    probability = rng.random((n, 4))
    return rng.random((n, 4)) < probability, probability


def test_of_several_labels_the_temperature_of_true_probabilities_is_one_and_doubt_is_undone() -> None:
    truth, probability = invented_labels(4000, "labels")
    assert fit_label_temperature(truth, probability) == pytest.approx(1, abs=0.05)
    doubting = scale_labels(probability, 2.5)
    assert fit_label_temperature(truth, doubting) == pytest.approx(1 / 2.5, abs=0.03)
    np.testing.assert_allclose(scale_labels(doubting, 1 / 2.5), probability, atol=1e-9)
    assert label_log_loss(truth, probability) < label_log_loss(truth, doubting)


def test_of_several_labels_the_log_loss_is_that_of_scikit_learn() -> None:
    truth, probability = invented_labels(50, "loss")
    assert label_log_loss(truth, probability) == pytest.approx(sk_log_loss(truth.ravel(), probability.ravel()))
    assert (
        np.isfinite(label_log_loss(truth, truth.astype(float)))
        and np.isfinite(scale_labels(truth.astype(float), 0.1)).all()
    )


def test_sums_of_several_labels_give_the_scores_of_the_pairs() -> None:
    truth, probability = invented_labels(120, "sums")
    patient = seeds.generator(3, "test_calibration").integers(9, size=120)
    sums = label_calibration_by_patient(truth, probability, patient=patient, n_patients=9)
    ece, distance = calibration_from_sums(sums.sum(axis=0))
    assert float(ece) == pytest.approx(expected_calibration_error(probability.ravel(), truth.ravel()), abs=1e-5)
    assert float(distance) == pytest.approx(label_brier(truth, probability), abs=1e-5)
    assert np.isnan(label_brier(truth[:0], probability[:0]))
