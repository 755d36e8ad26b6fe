"""Fits of score against gold sentences: known curves come back, and what is beyond them is said to be."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from sklearn.isotonic import IsotonicRegression

from harness import seeds
from harness.errors import DataError
from harness.metrics.learning_curve import EXPONENTS, FITS, MAX_REACH, TOP_SCORE, Fit, fit_monotone, fit_power

N = np.array([30.0, 75.0, 150.0, 300.0])


def rng(name: str) -> np.random.Generator:
    return seeds.generator(2, "test_learning_curve", name)


def power(n: np.ndarray, top: float, short: float, exponent: float) -> np.ndarray:
    return top - short * (n / 300) ** -exponent


def test_a_power_curve_comes_back_and_is_read_where_it_was_made() -> None:
    true = (0.82, 0.1, float(EXPONENTS[40]))
    curve = fit_power(N, power(N, *true)[None])
    assert [float(one[0]) for one in (curve.top, curve.short, curve.exponent)] == pytest.approx(true)
    for n in (20.0, 31.0, 120.0, 299.0, 800.0):
        assert curve.where(power(np.array([n]), *true))[0] == pytest.approx(n)
        assert curve.at(np.array([n]))[0, 0] == pytest.approx(power(np.array([n]), *true)[0])


def test_no_curve_of_its_kind_lies_nearer_to_the_points() -> None:
    scores = np.clip(power(N, 0.8, 0.12, 0.5) + rng("nearer").normal(scale=0.04, size=(12, 4)), 0, 1)
    curves = fit_power(N, scores)
    for k, points in enumerate(scores):
        ours = float(np.square(curves.at(N)[k] - points).sum())
        bounds = ([-np.inf, 0, EXPONENTS[0]], [TOP_SCORE, np.inf, EXPONENTS[-1]])
        best = min(
            2 * least_squares(lambda p, y=points: power(N, *p) - y, start, bounds=bounds).cost
            for start in ([0.8, 0.1, 0.2], [0.7, 0.1, 1.0], [0.7, 0.02, 1.9])
        )
        assert ours <= best + 2e-5  # exponents are 5% apart


def test_the_asymptote_is_no_score_that_cannot_be() -> None:
    straight = 0.4 + 0.13 * np.log(N / 30)  # heads past 1: without the bound its asymptote is 3 and more
    curve = fit_power(N, straight[None])
    assert curve.top[0] <= TOP_SCORE


def test_isotonic_values_are_those_of_scikit_learn() -> None:
    scores = rng("isotonic").normal(size=(40, 6))
    n = np.arange(1.0, 7.0)
    expected = [IsotonicRegression().fit_transform(n, one) for one in scores]
    np.testing.assert_allclose(fit_monotone(n, scores).values, expected, atol=1e-12)


def test_between_points_the_monotone_curve_is_straight_in_log_n() -> None:
    curve = fit_monotone(N, np.array([[0.5, 0.6, 0.6, 0.7]]))
    middle = np.sqrt(30 * 75)
    assert curve.at(np.array([middle]))[0, 0] == pytest.approx(0.55)
    assert curve.where(np.array([0.55]))[0] == pytest.approx(middle)
    assert curve.where(np.array([0.6]))[0] == pytest.approx(75)  # the smaller end of the flat part
    assert curve.where(np.array([0.65]))[0] == pytest.approx(np.sqrt(150 * 300))
    assert curve.where(np.array([0.5]))[0] == pytest.approx(30)
    assert curve.where(np.array([0.7]))[0] == pytest.approx(300)


def test_beyond_the_points_the_monotone_curve_only_bounds() -> None:
    curve = fit_monotone(N, np.array([[0.5, 0.6, 0.65, 0.7]]))
    assert curve.where(np.array([0.701]))[0] == np.inf
    assert curve.where(np.array([0.499]))[0] == 0


def test_a_power_curve_is_not_read_past_its_reach_or_its_asymptote() -> None:
    curve = fit_power(N, power(N, 0.8, 0.1, 0.5)[None])
    for n, expected in ((300 * MAX_REACH * 1.1, np.inf), (30 / MAX_REACH / 1.1, 0.0)):
        assert curve.where(power(np.array([n]), 0.8, 0.1, 0.5))[0] == expected
    assert curve.where(np.array([0.8 + 1e-3]))[0] == np.inf
    assert 300 < curve.where(power(np.array([1100.0]), 0.8, 0.1, 0.5))[0] < 300 * MAX_REACH


@pytest.mark.parametrize("fit", FITS)
def test_a_curve_that_does_not_rise_gives_no_number(fit: Fit) -> None:
    for points in ([0.7, 0.6, 0.6, 0.5], [0.6, 0.6, 0.6, 0.6]):
        curve = FITS[fit](N, np.array([points]))
        assert not curve.rises[0]
        assert np.isnan(curve.where(np.array([0.6]))[0])
        assert curve.at(N)[0] == pytest.approx(np.mean(points))


@pytest.mark.parametrize("fit", FITS)
def test_many_curves_at_once_are_each_as_if_alone(fit: Fit) -> None:
    scores = 0.6 + rng("alone").normal(scale=0.1, size=(20_000, 4)).cumsum(axis=1) / 4
    together = FITS[fit](N, scores)
    for k in (0, 8_191, 8_192, 19_999):
        alone = FITS[fit](N, scores[k : k + 1])
        np.testing.assert_allclose(together.at(N)[k], alone.at(N)[0], atol=1e-12)


@pytest.mark.parametrize("fit", FITS)
def test_a_point_without_a_score_leaves_its_curve_without_one(fit: Fit) -> None:
    curves = FITS[fit](N, np.array([[0.5, np.nan, 0.65, 0.7], [0.5, 0.6, 0.65, 0.7]]))
    read = curves.where(np.array([0.6, 0.6]))
    assert np.isnan(read[0])
    assert 60 < read[1] < 90


@pytest.mark.parametrize(("fit", "n"), [("power", [30, 75, 150]), ("monotone", [30]), ("monotone", [30, 30])])
def test_too_few_points_are_refused_with_what_was_found(fit: Fit, n: list[float]) -> None:
    with pytest.raises(DataError, match=f"a {fit} curve needs at least . different numbers .* found 30"):
        FITS[fit](np.array(n, dtype=float), np.zeros((1, len(n))))
