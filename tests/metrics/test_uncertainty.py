from __future__ import annotations

import numpy as np
import pytest

from harness import seeds
from harness.metrics.counts import Tallies, macro_f1, tally_by_patient
from harness.metrics.resampling import draw_patients, resample_sums
from harness.metrics.uncertainty import MAX_UNDEFINED_SHARE, percentile_interval


def replicates_of(truth: np.ndarray, predicted: np.ndarray, patient: np.ndarray, *names: str, n: int) -> np.ndarray:
    n_patients = int(patient.max()) + 1
    tallies = tally_by_patient(truth, predicted[None], patient, n_patients=n_patients, n_classes=3)
    drawn = draw_patients(n_patients, n, rng=seeds.generator(0, "test_uncertainty", *names))
    return macro_f1(Tallies(*(resample_sums(one, drawn) for one in tallies)))[:, 0]


def test_ends_equal_numpys_linear_quantiles() -> None:
    replicates = seeds.generator(0, "quantiles").normal(size=1001)
    low, high, reason = percentile_interval(replicates, 0.9)
    np.testing.assert_allclose([low, high], np.quantile(replicates, [0.05, 0.95]), rtol=1e-12)
    assert reason is None


def test_few_undefined_replicates_are_left_out() -> None:
    replicates = np.concatenate([np.linspace(0, 1, 96), np.full(4, np.nan)])
    assert percentile_interval(replicates, 0.95)[:2] == pytest.approx((0.025, 0.975))


def test_many_undefined_replicates_leave_no_interval_but_a_reason() -> None:
    assert MAX_UNDEFINED_SHARE == 0.05
    replicates = np.concatenate([np.linspace(0, 1, 94), np.full(6, np.nan)])
    assert percentile_interval(replicates, 0.95) == (None, None, "no interval: undefined in 6 of 100 replicates")


def test_every_patient_twice_shrinks_the_interval_by_the_root_of_two() -> None:
    rng = seeds.generator(0, "twice")
    patient = np.repeat(np.arange(80), 5)
    truth = rng.integers(3, size=400)
    predicted = np.where(rng.random(400) < 0.6, truth, rng.integers(3, size=400))
    once = percentile_interval(replicates_of(truth, predicted, patient, "once", n=6000), 0.95)
    both = percentile_interval(
        replicates_of(
            np.tile(truth, 2), np.tile(predicted, 2), np.concatenate([patient, patient + 80]), "both", n=6000
        ),
        0.95,
    )
    assert once.low is not None and once.high is not None and both.low is not None and both.high is not None
    assert (once.high - once.low) / (both.high - both.low) == pytest.approx(np.sqrt(2), rel=0.06)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """400 made-up studies of 50 patients whose sentences resemble each other; the truth comes from a very large one."""

    def study(n_patients: int, *names: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = seeds.generator(0, "coverage", *names)
        patient = np.repeat(np.arange(n_patients), 10)
        skill = rng.beta(3, 2, size=n_patients)[patient]  # a patient is easy or hard throughout
        truth = rng.choice(3, p=[0.5, 0.3, 0.2], size=patient.size)
        return truth, np.where(rng.random(patient.size) < skill, truth, rng.integers(3, size=patient.size)), patient

    truth, predicted, patient = study(200_000, "population")
    one = tally_by_patient(truth, predicted[None], np.zeros_like(patient), n_patients=1, n_classes=3)
    expected = float(macro_f1(one)[0, 0])
    covered = 0
    for k in range(400):
        low, high, _ = percentile_interval(replicates_of(*study(50, str(k)), str(k), n=1000), 0.95)
        covered += low is not None and high is not None and low <= expected <= high
    # Binomial standard error at 0.95 and 400 studies: 0.011. The percentile interval is known to be a little narrow.
    assert 0.90 <= covered / 400 <= 0.98
