"""Agreement of two learners, on gains small enough to reckon."""

from __future__ import annotations

import pytest

from harness.metrics.rank_agreement import agreement, rank_correlation


def test_directions_and_distance_by_hand() -> None:
    found = agreement([0.10, -0.02, 0.00, 0.04], [0.06, 0.02, 0.00, 0.05])
    assert (found.n, found.n_up, found.n_up_in_both, found.n_same_direction) == (4, 2, 2, 3)
    assert found.mean_distance.value == pytest.approx((0.04 + 0.04 + 0.00 + 0.01) / 4)


def test_concordance_pays_for_a_shift_that_a_correlation_would_not_see() -> None:
    # means 2 and 3, variances 2/3 each, covariance 2/3: 2 (2/3) / (2/3 + 2/3 + 1) = 4/7
    assert agreement([1, 2, 3], [2, 3, 4]).concordance.value == pytest.approx(4 / 7)
    assert agreement([1, 2, 3], [1, 2, 3]).concordance.value == pytest.approx(1)
    assert agreement([1, 2, 3], [3, 2, 1]).concordance.value == pytest.approx(-1)


def test_a_rank_correlation_by_hand() -> None:
    # pairs: 5 of 6 in the same order, 1 turned: (5 - 1) / 6
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]).value == pytest.approx(4 / 6)


def test_what_says_nothing_has_no_value() -> None:
    nothing = agreement([], [])
    assert (nothing.n, nothing.mean_distance.status, nothing.concordance.status) == (0, "undefined", "insufficient")
    assert agreement([0.1, 0.2], [0.1, 0.2]).concordance.status == "insufficient"
    assert agreement([0.1] * 3, [0.1] * 3).concordance.status == "undefined"
    assert rank_correlation([1, 2], [1, 2]).status == "insufficient"
    assert rank_correlation([1, 1, 1], [1, 2, 3]).status == "undefined"
