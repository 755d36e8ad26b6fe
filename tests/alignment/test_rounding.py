import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from harness.alignment.rounding import close_columns, fit_table, largest_remainder, round_table, scale_to
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


def test_amounts_are_proportional_until_their_limits() -> None:
    # 4 over weights 1, 1, 2, 4: shares 0.5, 0.5, 1, 2; the last is cut to 1, then 3 over 1, 1, 2: 0.75, 0.75, 1.5;
    # the third is cut to 1, and 2 are left for the first two.
    assert_allclose(scale_to(np.array([1.0, 1.0, 2.0, 4.0]), 4.0, limit=1.0), [1.0, 1.0, 1.0, 1.0])
    assert_allclose(scale_to(np.array([1.0, 1.0, 2.0, 4.0]), 2.0, limit=np.array([1.0, 1.0, 1.0, 0.6])),
                    [0.35, 0.35, 0.7, 0.6])  # fmt: skip


@given(total=st.floats(0, 5), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_amounts_add_up_and_respect_their_limits(total: float, seed: int) -> None:
    rng = generator(seed, "scale")
    limit = rng.random(20)
    amounts = scale_to(rng.gamma(0.5, size=20) + 1e-6, total, limit=limit)
    assert amounts.sum() == pytest.approx(min(total, limit.sum()))
    assert (amounts <= limit + 1e-12).all()
    assert (amounts >= 0).all()
