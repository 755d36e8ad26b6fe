import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from harness.alignment.rounding import close_columns, fit_table, largest_remainder, round_table, scale_to, systematic
from harness.seeds import generator


def test_largest_remainder_by_hand() -> None:
    # 10 x (0.25, 0.35, 0.40) = 2.5, 3.5, 4.0 -> 2, 3, 4 and one more for the first of two equal remainders
    assert largest_remainder(np.array([0.25, 0.35, 0.40]), 10).tolist() == [3, 3, 4]


@given(n=st.integers(1, 400), n_rows=st.integers(1, 12), n_columns=st.integers(2, 6), seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_rounding_keeps_whole_sums_and_moves_no_cell_by_one(n: int, n_rows: int, n_columns: int, seed: int) -> None:
    rng = generator(seed, "table")
    rows = rng.multinomial(n, np.full(n_rows, 1 / n_rows))
    columns = largest_remainder(rng.dirichlet(np.ones(n_columns)), n)
    table = fit_table(rng.gamma(1.0, size=(n_rows, n_columns)) + 1e-3, rows, columns)
    assert table is not None
    whole = round_table(table, rng)
    assert_array_equal(whole.sum(axis=1), rows)
    assert_array_equal(whole.sum(axis=0), columns)
    assert np.abs(whole - table).max() < 1


def test_rounding_is_unbiased() -> None:
    table = np.array([[0.3, 0.7], [1.1, 0.9], [0.6, 0.4]])
    mean = np.mean([round_table(table, generator(seed, "unbiased")) for seed in range(4000)], axis=0)
    assert_allclose(mean, table, atol=0.03)  # standard error 0.008


def test_impossible_sums_are_not_forced() -> None:
    assert fit_table(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1, 1]), np.array([1, 1])) is None
    closed = close_columns(np.array([[0.5, 0.5], [0.25, 0.75]]))
    assert_allclose(closed[-1], [0.25, 0.75])
    assert_array_equal(round_table(closed, generator(0, "closed"))[:2].sum(axis=1), [1, 1])


@pytest.mark.parametrize("total", [0, 1, 7, 20])
def test_systematic_samples_have_the_wanted_size(total: int) -> None:
    rng = generator(total, "systematic")
    probabilities = scale_to(rng.gamma(0.5, size=20), total)
    assert probabilities.sum() == pytest.approx(total)
    assert probabilities.max() <= 1
    assert systematic(probabilities, rng.permutation(20), rng).sum() == total


def test_systematic_samples_follow_the_probabilities() -> None:
    probabilities = np.array([1.0, 0.5, 0.25, 0.25])
    drawn = [systematic(probabilities, np.arange(4), generator(seed, "share")) for seed in range(2000)]
    assert_allclose(np.mean(drawn, axis=0), probabilities, atol=0.04)
