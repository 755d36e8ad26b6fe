from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import kendalltau, ks_2samp

from harness import seeds
from harness.metrics.distance import jensen_shannon, kendall_tau, kolmogorov_smirnov, pair_counts, total_variation

MASSES = st.lists(st.floats(0, 100), min_size=4, max_size=4).filter(lambda mass: sum(mass) > 1e-6)


def test_total_variation_by_hand() -> None:
    # 0.5, 0.3, 0.2 against 0.25, 0.25, 0.5: half of 0.25 + 0.05 + 0.30
    assert total_variation(np.array([5.0, 3.0, 2.0]), np.array([1.0, 1.0, 2.0])).value == pytest.approx(0.30)


def test_jensen_shannon_by_hand() -> None:
    # (1, 0) against (1/2, 1/2): the middle is (3/4, 1/4).
    # KL(p, m) = log2(4/3); KL(q, m) = 1/2 log2(2/3) + 1/2 log2(2); half of their sum is 0.31128, its root 0.55793
    found = jensen_shannon(np.array([1.0, 0.0]), np.array([1.0, 1.0])).value
    assert found == pytest.approx(0.5579230452841438)


@given(MASSES, MASSES)
def test_distances_are_bounded_symmetric_and_like_scipy(one: list[float], other: list[float]) -> None:
    p, q = np.array(one), np.array(other)
    for distance in (total_variation, jensen_shannon):
        value = distance(p, q).value
        assert value is not None and 0 <= value <= 1
        assert distance(q, p).value == pytest.approx(value, abs=1e-9)
        assert distance(p[::-1].copy(), q[::-1].copy()).value == pytest.approx(value, abs=1e-9)
        assert distance(p, p).value == pytest.approx(0, abs=1e-7)
    assert jensen_shannon(p, q).value == pytest.approx(np.nan_to_num(jensenshannon(p, q, base=2)), abs=1e-6)


def test_disjoint_distributions_are_one_apart() -> None:
    p, q = np.array([3.0, 0.0]), np.array([0.0, 8.0])
    assert (total_variation(p, q).value, jensen_shannon(p, q).value) == (1.0, 1.0)


@pytest.mark.parametrize("distance", [total_variation, jensen_shannon])
def test_a_distribution_without_mass_has_no_distance(distance: object) -> None:
    found = distance(np.zeros(3), np.ones(3))  # type: ignore[operator]
    assert (found.value, found.status, found.reason) == (None, "undefined", "one of the two distributions is empty")


def test_kolmogorov_smirnov_by_hand_and_like_scipy() -> None:
    # of 1, 2, 3 two thirds are at most 2; of 3, 4 none: the widest gap
    assert kolmogorov_smirnov(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0])).value == pytest.approx(2 / 3)
    rng = seeds.generator(0, "ks")
    a, b = rng.integers(5, 30, size=80).astype(float), rng.integers(8, 35, size=50).astype(float)
    assert kolmogorov_smirnov(a, b).value == pytest.approx(ks_2samp(a, b).statistic)
    assert kolmogorov_smirnov(np.zeros(0), b).status == "undefined"


def test_kendall_tau_by_hand_and_like_scipy() -> None:
    # of the three pairs of (1, 2, 3) against (1, 3, 2) two agree and one does not: (2 - 1) / 3
    assert kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])).value == pytest.approx(1 / 3)
    rng = seeds.generator(0, "tau")
    a, b = rng.integers(6, size=20).astype(float), rng.integers(6, size=20).astype(float)  # ties in both
    assert kendall_tau(a, b).value == pytest.approx(kendalltau(a, b).statistic)
    assert kendall_tau(a, -b).value == pytest.approx(-kendalltau(a, b).statistic)


def test_two_things_or_all_ties_have_no_order() -> None:
    two = kendall_tau(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert (two.status, two.reason) == ("undefined", "2 things to put in order; at least 3 are needed")
    assert kendall_tau(np.ones(4), np.arange(4.0)).reason == "one of the two orders is all ties"


def test_pairs_in_one_text_by_hand() -> None:
    # text 1: a a b -> aa once, ab twice; text 2: b -> no pair; text 3: b c -> bc once
    found = pair_counts(np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
    assert found.tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, 0.5, 0.0]]
    assert found.sum() == 4
