from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from harness import seeds
from harness.metrics.counts import Tallies, macro_f1, tally_by_patient
from harness.metrics.resampling import draw_patients, resample_sums
from harness.metrics.uncertainty import (
    MAX_UNDEFINED_SHARE,
    Spread,
    bounded_interval,
    effective_patients,
    half_width,
    percentile_interval,
    plain_interval,
    spread_of,
)


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


def made_up(n_patients: int, n_seeds: int, *, seed_sd: float, names: str) -> tuple[np.ndarray, np.ndarray]:
    """What each patient shows with each seed: normal patients, seeds, and both together; mean 0.3."""
    rng = seeds.generator(0, "test_uncertainty", "made_up", names)
    shown = 0.3 + rng.normal(0, 0.1, (n_patients, 1)) + rng.normal(0, seed_sd, n_seeds)
    shown = shown + rng.normal(0, 0.1, (n_patients, n_seeds))
    drawn = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=400) / n_patients
    return drawn @ shown, shown.mean(axis=0)


def test_standard_errors_match_the_closed_form_for_two_levels() -> None:
    # Patients 0.1 and patient x seed 0.1 with 3 seeds: sqrt(0.1^2 + 0.1^2 / 3) / sqrt(50). Seeds 0.05 / sqrt(3).
    found = [spread_of(*made_up(50, 3, seed_sd=0.05, names=str(k)), n_patients=50, n_effective=50) for k in range(200)]
    of_patients = np.sqrt((0.1**2 + 0.1**2 / 3) / 50)
    assert np.mean([one.patients**2 for one in found]) == pytest.approx(of_patients**2, rel=0.05)
    assert np.mean([one.seeds**2 for one in found]) == pytest.approx(0.05**2 / 3, rel=0.2)
    assert found[0].total == pytest.approx(np.hypot(found[0].patients, found[0].seeds))
    assert (found[0].df_patients, found[0].df_seeds) == (49, 2)


def test_seeds_that_differ_by_patients_alone_add_nothing() -> None:
    found = [spread_of(*made_up(50, 3, seed_sd=0.0, names=str(k)), n_patients=50, n_effective=50) for k in range(200)]
    assert np.mean([one.seeds**2 for one in found]) < 0.2 * np.mean([one.patients**2 for one in found])
    assert any(one.seeds == 0 for one in found)


def test_what_seeds_and_patients_share_is_taken_off_by_how_many_seeds_there_are() -> None:
    # Two seeds that trade places: mean 0.2 always; each varies by 0.1^2. Shared: 2/(2 - 1) * (0.01 + 0.01) / (2 * 1).
    # Scatter of the seeds 0 and 0.6: 0.18 / 2. Patients' t(49) over seeds' t(1): (2.0096 / 12.7062)^2 = 0.02501.
    replicates, by_seed = np.array([[0.1, 0.3], [0.3, 0.1]]), np.array([0.0, 0.6])
    few = spread_of(replicates, by_seed, n_patients=2, n_effective=50)
    assert few.patients == pytest.approx(0)
    assert few.seeds**2 == pytest.approx(0.09 - (0.02501 + (1 - 0.02501) * 1 / 3) * 0.02, abs=1e-6)
    alike = spread_of(replicates, by_seed, n_patients=2, n_effective=2)  # as few patients as seeds: all of it
    assert alike.seeds**2 == pytest.approx(0.09 - 0.02)


@pytest.mark.parametrize(("n_seeds", "seed_sd"), [(1, 0.0), (3, 0.02)])
def test_plain_intervals_hold_the_truth_as_often_as_they_say(n_seeds: int, seed_sd: float) -> None:
    held = 0
    for k in range(400):
        spread = spread_of(*(given := made_up(20, n_seeds, seed_sd=seed_sd, names=f"held/{k}")), n_patients=20,
                           n_effective=20)  # fmt: skip
        interval = plain_interval(float(given[1].mean()), spread, confidence=0.95, bounds=(-1, 1))
        assert interval.low is not None and interval.high is not None
        held += interval.low <= 0.3 <= interval.high
    assert 0.92 <= held / 400 <= 0.985  # binomial standard error 0.011


def test_half_widths_join_as_the_root_of_squares() -> None:
    # t(19) at 95% is 2.0930, t(2) is 4.3027
    assert half_width(Spread(0.02, 0.0, 19, 0), 0.95) == pytest.approx(0.02 * 2.0930, abs=1e-5)
    both = np.hypot(0.02 * 2.0930, 0.01 * 4.3027)
    assert half_width(Spread(0.02, 0.01, 19, 2), 0.95) == pytest.approx(both, abs=1e-5)


def test_stricter_levels_put_back_some_of_what_patients_explain_of_the_seeds() -> None:
    bare, full = Spread(0.02, 0.01, 19, 2), Spread(0.02, 0.01, 19, 2, taken_off=0.0004)
    for confidence in (0.8, 0.95):
        assert half_width(full, confidence) == half_width(bare, confidence)
    # At 99% it is a fifth of the usual 5%: 0.3 * 0.8 * 0.0004 comes back. t(19) at 99% is 2.8609, t(2) is 9.9248.
    expected = np.hypot(0.02 * 2.8609, np.sqrt(0.01**2 + 0.3 * 0.8 * 0.0004) * 9.9248)
    assert half_width(full, 0.99) == pytest.approx(expected, abs=1e-5)


def test_what_is_taken_off_is_no_more_than_seeds_scatter() -> None:
    replicates = np.array([[0.1, 0.3], [0.3, 0.1]])
    alike = spread_of(replicates, np.array([0.2, 0.2]), n_patients=2, n_effective=2)
    assert (alike.seeds, alike.taken_off) == (0, 0)
    apart = spread_of(replicates, np.array([0.1, 0.3]), n_patients=2, n_effective=2)  # scatter 0.02 / 2, shared 0.02
    assert (apart.seeds, apart.taken_off) == (0, pytest.approx(0.01))


def test_bounded_intervals_stay_inside_and_are_the_plain_ones_in_the_middle() -> None:
    spread = Spread(0.01, 0.0, 40, 0)
    middle = bounded_interval(0.5, spread, confidence=0.95, bounds=(0, 1))
    plain = plain_interval(0.5, spread, confidence=0.95, bounds=(-1, 1))
    assert middle[:2] == pytest.approx(plain[:2], abs=1e-4)
    low, high, _ = bounded_interval(0.97, Spread(0.05, 0.0, 10, 0), confidence=0.95, bounds=(0, 1))
    assert low is not None and high is not None
    assert 0 < low < 0.97 < high < 1
    assert bounded_interval(1.0, Spread(0.1, 0.0, 10, 0), confidence=0.95, bounds=(0, 2))[:2] == pytest.approx(
        [2 * end for end in bounded_interval(0.5, Spread(0.05, 0.0, 10, 0), confidence=0.95, bounds=(0, 1))[:2]]
    )


@pytest.mark.parametrize(("right", "trials"), [(1, 10), (7, 20), (396, 400)])
def test_bounded_intervals_are_wilsons_where_patients_are_single_trials(right: int, trials: int) -> None:
    share = right / trials
    spread = Spread(float(np.sqrt(share * (1 - share) / trials)), 0.0, 1e9, 0)
    expected = binomtest(right, trials).proportion_ci(0.95, method="wilson")
    found = bounded_interval(share, spread, confidence=0.95, bounds=(0, 1))
    assert found[:2] == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_at_a_bound_the_interval_is_that_of_as_many_trials_as_patients() -> None:
    # 20 of 20 right: Clopper-Pearson from 0.025^(1/20) = 0.8316 to 1
    spread = Spread(0.0, 0.0, 19, 0)
    assert bounded_interval(1.0, spread, confidence=0.95, bounds=(0, 1))[:2] == pytest.approx((0.8316, 1.0), abs=1e-4)
    assert bounded_interval(0.0, spread, confidence=0.95, bounds=(0, 1))[:2] == pytest.approx((0.0, 0.1684), abs=1e-4)


def test_one_patient_and_no_spread_leave_no_interval_but_a_reason() -> None:
    alone = spread_of(np.full((50, 1), 0.4), np.array([0.4]), n_patients=1, n_effective=1)
    assert bounded_interval(0.4, alone, confidence=0.95, bounds=(0, 1)) == (
        None, None, "no interval: one patient shows no spread between patients",
    )  # fmt: skip
    same = Spread(0.0, 0.0, 9, 0)
    reason = bounded_interval(0.4, same, confidence=0.95, bounds=(0, 1)).reason
    assert reason == "no interval: every patient shows the same"
    assert plain_interval(0.0, same, confidence=0.95, bounds=(-1, 1)) == (0.0, 0.0, None)  # two mixes, the same answers


def test_many_undefined_replicates_leave_no_standard_error() -> None:
    replicates = np.full((100, 2), 0.5)
    replicates[:6, 1] = np.nan
    spread = spread_of(replicates, np.array([0.5, 0.5]), n_patients=9, n_effective=9)
    assert spread.reason == "no interval: undefined in 6 of 100 replicates"


def test_effective_patients() -> None:
    assert effective_patients(np.full(8, 5.0), 8) == 8
    assert effective_patients(np.full(8, 5.0), 3) == 3
    # (10 + 1 + 1)^2 / (100 + 1 + 1) = 1.41: one patient has most of the sentences
    assert effective_patients(np.array([10.0, 1.0, 1.0]), 3) == pytest.approx(144 / 102)
    assert effective_patients(np.zeros(0), 0) == 0
