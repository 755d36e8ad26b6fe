"""A known worth of synthetic sentences is found again, and its interval holds it as often as it says."""

from collections.abc import Callable

import numpy as np
import pytest

from harness import seeds
from harness.metrics.counts import Floats
from harness.metrics.exchange import BreakEven, Reading, Scores, break_even, fit_curve, read_curve
from harness.metrics.learning_curve import FITS, MAX_REACH, Fit
from harness.metrics.resampling import draw_patients, resample_sums

N = np.array([30.0, 72.0, 144.0, 288.0])
N_PATIENTS = 60


def rising(n: Floats | float) -> Floats:
    return np.asarray(0.85 - 0.35 * (np.asarray(n) / 30) ** -0.6)


def flat(n: Floats | float) -> Floats:
    return np.full_like(np.asarray(n, dtype=float), 0.6)


def study(
    curve: Callable[[Floats], Floats], equivalent: float, *, noise: float, number: int = 0, n_seeds: int = 1
) -> tuple[list[Scores], Scores]:
    """Gold at N and a mix that scores like `equivalent` gold sentences: the share right by fictional patients.

    Patients differ by 10 x noise for all models alike, by 4 x noise for each, and train seeds by noise.
    """
    rng = seeds.generator(3, "test_exchange_rate", str(number))
    true = np.append(curve(N), curve(np.array([equivalent])))
    alike = rng.normal(scale=10 * noise, size=N_PATIENTS)
    own = rng.normal(scale=4 * noise, size=(true.size, 1, N_PATIENTS))
    trained = rng.normal(scale=noise, size=(true.size, n_seeds, 1))
    by_patient = true[:, None, None] + alike + own + (trained if n_seeds > 1 else 0)  # (n_scores, n_seeds, n_patients)
    right = np.round(1e4 * np.moveaxis(by_patient, 2, 0)).astype(np.int64)
    replicates = resample_sums(right, draw_patients(N_PATIENTS, 400, rng=rng)) / (1e4 * N_PATIENTS)
    scores = [Scores(by_patient[k].mean(axis=1), replicates[:, k]) for k in range(true.size)]
    return scores[:-1], scores[-1]


def read(fit: Fit, points: list[Scores], mix: Scores) -> Reading:
    curve = fit_curve(fit, N, points)
    return read_curve(curve, mix, n_patients=N_PATIENTS, n_effective=N_PATIENTS, confidence=0.95)


@pytest.mark.parametrize("equivalent", [40.0, 102.0, 250.0])
def test_a_known_rate_comes_back_where_there_is_no_noise_to_speak_of(equivalent: float) -> None:
    reading = read("power", *study(rising, equivalent, noise=1e-5))
    assert reading.value == pytest.approx(equivalent, rel=0.02)
    assert reading.low <= reading.value <= reading.high
    assert reading.high - reading.low < 0.05 * equivalent
    assert (reading.where, reading.share_undefined, reading.reason) == ("inside", 0.0, None)


def test_beyond_the_points_the_power_curve_extrapolates_and_the_monotone_one_bounds() -> None:
    points, mix = study(rising, 600.0, noise=1e-5)
    power, monotone = (read(fit, points, mix) for fit in ("power", "monotone"))
    assert power.where == "extrapolated"
    assert power.value == pytest.approx(600, rel=0.03)
    assert (monotone.where, monotone.value, monotone.is_above) == ("bounded", 288, True)
    assert (monotone.low, monotone.high) == (288, np.inf)
    below = read("monotone", *study(rising, 20.0, noise=1e-5))
    assert (below.where, below.value, below.is_above, below.low) == ("bounded", 30, False, 0)
    assert below.high == pytest.approx(30)


def test_past_its_reach_the_power_curve_bounds_too() -> None:
    reading = read("power", *study(rising, 288 * MAX_REACH * 2, noise=1e-5))
    assert (reading.where, reading.is_above, reading.high) == ("bounded", True, np.inf)
    assert reading.value == pytest.approx(288 * MAX_REACH)


@pytest.mark.parametrize("fit", FITS)
def test_a_flat_curve_of_noise_rules_nothing_out(fit: Fit) -> None:
    readings = [read(fit, *study(flat, 100.0, noise=0.01, number=k)) for k in range(20)]
    assert np.mean([one.value is None or (one.low == 0 and one.high == np.inf) for one in readings]) >= 0.7
    assert np.mean([one.share_undefined for one in readings]) > 0.05


@pytest.mark.parametrize("fit", FITS)
def test_a_falling_curve_gives_no_value_and_says_why(fit: Fit) -> None:
    points, mix = study(lambda n: 1.3 - rising(n), 100.0, noise=1e-5)
    reading = read(fit, points, mix)
    assert (reading.value, reading.where, reading.share_undefined) == (None, None, 1.0)
    assert reading.reason is not None
    assert reading.reason.startswith("the curve of gold alone does not rise")


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_the_interval_holds_the_truth_as_often_as_it_says(n_seeds: int) -> None:
    """100 studies each; with 95% cover, fewer than 89 hold it with probability 0.4%."""
    readings = [read("power", *study(rising, 102.0, noise=0.006, number=k, n_seeds=n_seeds)) for k in range(100)]
    assert sum(one.low <= 102 <= one.high for one in readings) >= 89
    assert np.mean([one.high < 288 for one in readings]) > 0.5  # and does not do so by saying nothing
    assert abs(np.median([one.value or np.nan for one in readings]) - 102) < 15


def test_one_patient_gives_a_value_and_no_interval() -> None:
    points, mix = study(rising, 102.0, noise=1e-5)
    reading = read_curve(fit_curve("power", N, points), mix, n_patients=1, n_effective=1, confidence=0.95)
    assert reading.value == pytest.approx(102, rel=0.02)
    assert reading.reason == "no interval: one patient shows no spread between patients"


@pytest.mark.parametrize(
    ("rate", "low", "high", "expected"),
    [
        (0.5, 0.25, 1.0, BreakEven(0.04, 0.02, 0.08)),  # 0.02 / 0.5, 0.02 / 1, 0.02 / 0.25
        (0.5, -0.25, 1.0, BreakEven(0.04, 0.02, None)),  # it may be worth nothing: no price is high enough to be sure
        (0.5, 0.25, None, BreakEven(0.04, 0.0, 0.08)),
        (-0.5, -0.75, 0.25, BreakEven(None, 0.08, None)),
        (-0.5, -0.75, -0.25, BreakEven(None, None, None)),
        (0.0, -0.1, 0.1, BreakEven(None, 0.2, None)),
    ],
)
def test_the_break_even_price_is_the_synthetic_one_over_the_rate(
    rate: float, low: float, high: float | None, expected: BreakEven
) -> None:
    assert break_even(0.02, rate, low=low, high=high) == pytest.approx(expected)
