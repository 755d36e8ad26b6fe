import numpy as np
import pytest
from numpy.testing import assert_allclose

from harness.alignment.copula import MAX_CORRELATION, Pair, bivariate_cdf, calibrate, complete, rectangle


@pytest.mark.parametrize("correlation", [-0.98, -0.6, 0.0, 0.3, 0.9, 0.98])
def test_the_median_orthant_has_its_closed_form(correlation: float) -> None:
    # P(X < 0, Y < 0) = 1/4 + arcsin(rho) / (2 pi): Sheppard's theorem
    expected = 0.25 + np.arcsin(correlation) / (2 * np.pi)
    assert bivariate_cdf(np.zeros(1), np.zeros(1), correlation)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("correlation", [-0.98, -0.5, 0.2, 0.7, 0.98])
def test_bivariate_probabilities_agree_with_scipy(correlation: float) -> None:
    from scipy.stats import multivariate_normal

    h, k = np.meshgrid(np.linspace(-2.5, 2.5, 9), np.linspace(-2.5, 2.5, 9))
    expected = multivariate_normal(cov=[[1, correlation], [correlation, 1]]).cdf(np.stack([h, k], axis=-1))
    assert_allclose(bivariate_cdf(h, k, correlation), expected, atol=2e-6)


def test_intervals_that_hold_everybody_or_nobody_are_exact() -> None:
    first, second = np.array([[0.0, 0.2, 0.5], [1.0, 0.7, 0.5]]), np.array([[0.1, 0.0, 0.0], [0.4, 1.0, 1.0]])
    assert_allclose(rectangle(first, second, 0.6), [0.3, 0.5, 0.0], atol=1e-9)


def test_intervals_side_by_side_add_up() -> None:
    whole = rectangle(np.array([[0.0], [0.6]]), np.array([[0.0], [0.3]]), 0.5)
    parts = [rectangle(np.array([[a], [b]]), np.array([[0.0], [0.3]]), 0.5) for a, b in ((0.0, 0.2), (0.2, 0.6))]
    assert_allclose(sum(parts), whole, atol=1e-9)


def one_group(first: float, second: float, wanted: float) -> Pair:
    return Pair(np.ones(1), np.array([[0.0], [first]]), np.array([[0.0], [second]]), wanted)


@pytest.mark.parametrize("correlation", [-0.9, -0.2, 0.0, 0.4, 0.95])
def test_calibration_finds_the_correlation_behind_a_share(correlation: float) -> None:
    wanted = float(rectangle(np.array([[0.0], [0.3]]), np.array([[0.0], [0.2]]), correlation)[0])
    assert calibrate([one_group(0.3, 0.2, wanted)]) == pytest.approx(correlation, abs=1e-4)


def test_intervals_that_start_higher_are_calibrated_too() -> None:
    first, second = np.array([[0.2], [0.6]]), np.array([[0.0], [0.2]])
    wanted = float(rectangle(first, second, 0.3)[0])
    pair = Pair(np.ones(1), first, second, wanted)
    # A middle part of the variable may hold the same share at two correlations; either will do.
    assert pair.gap(calibrate([pair])) == pytest.approx(0.0, abs=1e-6)


def test_two_shares_on_the_same_variables_are_met_together_or_in_the_middle() -> None:
    low, high, other = np.array([[0.0], [0.1]]), np.array([[0.1], [0.5]]), np.array([[0.0], [0.2]])
    shares = [float(rectangle(interval, other, 0.4)[0]) for interval in (low, high)]
    pairs = [Pair(np.ones(1), interval, other, share) for interval, share in zip((low, high), shares, strict=True)]
    assert calibrate(pairs) == pytest.approx(0.4, abs=1e-3)
    # One asks for more than 0.4 gives, the other for less: neither is met, both nearly.
    pulled = [Pair(np.ones(1), low, other, shares[0] + 0.01), Pair(np.ones(1), high, other, shares[1] - 0.01)]
    assert all(0 < abs(pair.gap(calibrate(pulled))) < 0.015 for pair in pulled)


def test_calibration_counts_what_unequal_groups_explain() -> None:
    """Two halves with prevalences (0.6, 0.6) and (0.2, 0.2): independence inside them gives 0.5 x (0.36 + 0.04)."""
    pair = Pair(np.array([0.5, 0.5]), np.array([[0, 0], [0.6, 0.2]]), np.array([[0, 0], [0.6, 0.2]]), 0.2)
    assert calibrate([pair]) == pytest.approx(0.0, abs=1e-4)


def test_shares_out_of_reach_get_the_strongest_correlation() -> None:
    assert calibrate([one_group(0.5, 0.5, 0.5)]) == pytest.approx(MAX_CORRELATION, abs=0.01)


def test_a_matrix_without_gaps_in_it_is_kept() -> None:
    wanted = np.array([[1.0, 0.5, 0.3], [0.5, 1.0, 0.4], [0.3, 0.4, 1.0]])
    assert_allclose(complete(wanted, np.ones((3, 3), dtype=bool)), wanted, atol=1e-6)


def test_what_is_not_given_is_independent_given_the_rest() -> None:
    wanted, fixed = np.eye(4), np.eye(4, dtype=bool)
    for row, column, value in ((0, 1, 0.9), (1, 2, 0.8)):
        wanted[row, column] = wanted[column, row] = value
        fixed[row, column] = fixed[column, row] = True
    found = complete(wanted, fixed)
    # A chain: the correlation of its ends is the product. 0 instead would be impossible (0.9^2 + 0.8^2 > 1).
    assert found[0, 2] == pytest.approx(0.72, abs=1e-4)
    assert_allclose(found[3], [0, 0, 0, 1], atol=1e-6)
    assert np.linalg.inv(found)[0, 2] == pytest.approx(0.0, abs=1e-3)


def test_entries_that_contradict_each_other_meet_in_the_middle() -> None:
    wanted = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    found = complete(wanted, np.ones((3, 3), dtype=bool))
    assert np.linalg.eigvalsh(found)[0] > 0
    assert_allclose(np.diag(found), 1.0)
    # By symmetry each entry gives way by as much; 1, 0.5, -0.5 and 0.5 is the edge of what is possible.
    assert_allclose([found[0, 1], found[1, 2], -found[0, 2]], 0.5, atol=0.01)
