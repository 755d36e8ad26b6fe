from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness import seeds
from harness.metrics.counts import Tallies, accuracy, macro_f1, tally_by_patient
from harness.metrics.resampling import draw_swaps
from harness.metrics.significance import (
    benjamini_hochberg,
    holm,
    p_with_seeds,
    permutation_p,
    swapped_sums,
    two_level_noise,
    wald_p,
)
from harness.metrics.uncertainty import Spread, half_width


def test_swapped_sums_equal_a_swap_of_rows() -> None:
    rng = seeds.generator(0, "swapped")
    first, second = rng.integers(5, size=(6, 3)), rng.integers(5, size=(6, 3))
    swaps = draw_swaps(6, 20, rng=rng)
    got = swapped_sums(first, second, swaps)
    for k, swap in enumerate(swaps.astype(bool)):
        np.testing.assert_array_equal(got[0][k], np.where(swap[:, None], second, first).sum(axis=0))
        np.testing.assert_array_equal(got[1][k], np.where(swap[:, None], first, second).sum(axis=0))


def test_p_counts_what_is_at_least_as_extreme_on_either_side() -> None:
    # |d| >= 0.2: 0.2, -0.3 and 0.2 + 1e-16; undefined counts too: (1 + 4) / (1 + 6).
    permuted = np.array([0.2, -0.3, 0.1, 0.0, 0.2 - 1e-16, np.nan])
    assert permutation_p(0.2, permuted) == (1 + 4) / (1 + 6)
    assert permutation_p(0.5, np.zeros(99)) == 1 / 100


def test_p_equals_the_full_enumeration_of_swaps() -> None:
    first, second = np.array([5, 4, 5, 3, 5, 1]), np.array([2, 4, 3, 3, 2, 2])  # right answers by patient
    observed = first.sum() - second.sum()
    every = [sum((a - b) * sign for a, b, sign in zip(first, second, signs, strict=True))
             for signs in itertools.product((1, -1), repeat=6)]  # fmt: skip
    exact = float(np.mean(np.abs(every) >= observed))
    swaps = draw_swaps(6, 20_000, rng=seeds.generator(0, "enumeration"))
    sides = swapped_sums(first[:, None], second[:, None], swaps)
    assert permutation_p(float(observed), (sides[0] - sides[1])[:, 0]) == pytest.approx(exact, abs=0.012)


def null_p_values(n_studies: int) -> np.ndarray:
    """Two mixes of equal skill, whose errors go together within a patient."""
    found = []
    for k in range(n_studies):
        rng = seeds.generator(0, "null", str(k))
        patient = np.repeat(np.arange(30), 6)
        truth = rng.integers(3, size=180)
        skill = rng.beta(3, 2, size=(2, 30))[:, patient]
        predicted = np.where(rng.random((2, 180)) < skill, truth, rng.integers(3, size=(2, 180)))
        hits, true, called = tally_by_patient(truth, predicted, patient, n_patients=30, n_classes=3)
        swaps = draw_swaps(30, 300, rng=rng)
        sides = zip(
            swapped_sums(hits[:, 0], hits[:, 1], swaps), swapped_sums(called[:, 0], called[:, 1], swaps), strict=True
        )
        one, other = (macro_f1(Tallies(hit, true[:, 0].sum(axis=0), call)) for hit, call in sides)
        whole = macro_f1(Tallies(hits.sum(axis=0), true.sum(axis=0), called.sum(axis=0)))
        found.append(permutation_p(float(whole[0] - whole[1]), one - other))
    return np.array(found)


def test_p_is_about_uniform_when_nothing_differs() -> None:
    p_values = null_p_values(400)
    for level in (0.05, 0.2, 0.5, 0.8):
        assert (p_values <= level).mean() == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 400))


def test_a_mix_that_is_right_where_the_other_is_wrong_is_found() -> None:
    patient = np.repeat(np.arange(20), 4)
    truth = np.zeros(80, dtype=np.intp)
    predicted = np.stack([truth, np.ones(80, dtype=np.intp)])
    hits, true, called = tally_by_patient(truth, predicted, patient, n_patients=20, n_classes=2)
    swaps = draw_swaps(20, 999, rng=seeds.generator(0, "found"))
    sides = swapped_sums(hits[:, 0], hits[:, 1], swaps)
    one, other = (accuracy(Tallies(hit, true[:, 0].sum(axis=0), hit)) for hit in sides)
    assert called[:, 0].sum() == 80
    assert permutation_p(1.0, one - other) == 1 / 1000


def test_holm_hand_computed() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1 = 0.03, 0.04, 0.04; in the given order:
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


def test_benjamini_hochberg_hand_computed() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3/1, 3/2, 3/3 = 0.03, 0.03, 0.04; in the given order:
    assert benjamini_hochberg([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.03])
    assert benjamini_hochberg([]) == []


def test_adjusted_p_values_are_never_smaller_and_keep_their_order() -> None:
    p_values = seeds.generator(0, "adjusted").random(50) ** 2
    for adjust in (holm, benjamini_hochberg):
        adjusted = np.array(adjust(p_values))
        assert (adjusted >= p_values).all()
        assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()
    assert (np.array(holm(p_values)) >= np.array(benjamini_hochberg(p_values))).all()


def test_wald_p_agrees_with_the_interval() -> None:
    spread = Spread(0.02, 0.01, 30, 2)
    for level in (0.2, 0.05, 0.01):
        assert wald_p(half_width(spread, 1 - level), spread) == pytest.approx(level, rel=1e-6)
    assert wald_p(0.0, spread) == pytest.approx(1.0)
    assert wald_p(0.0, Spread(0.0, 0.0, 30, 0)) == 1.0
    assert wald_p(0.1, Spread(0.0, 0.0, 30, 0)) is None  # no spread to hold it against
    assert wald_p(0.1, Spread(float("nan"), 0.0, 30, 0, "no interval")) is None


def test_seeds_raise_a_p_value_and_their_absence_leaves_it() -> None:
    assert p_with_seeds(0.03, 0.05, Spread(0.02, 0.0, 30, 2)) == 0.03
    little, much = (p_with_seeds(0.03, 0.05, Spread(0.02, seeds, 30, 2)) for seeds in (0.001, 0.02))
    assert 0.03 < little < 0.04 < much < 1
    # Seeds that show nothing beyond patients still count where a family asks for a strict level, and only there.
    hidden = Spread(0.02, 0.0, 30, 2, taken_off=0.0004)
    assert p_with_seeds(0.06, 0.05, hidden) == pytest.approx(0.06, rel=1e-6)
    assert p_with_seeds(0.002, 0.07, hidden) > 0.004
    # The permutation found exactly what t with 30 degrees of freedom says: then it is the interval's p-value.
    spread = Spread(0.02, 0.01, 30, 2)
    of_patients = wald_p(0.05, Spread(0.02, 0.0, 30, 0))
    assert of_patients is not None
    assert p_with_seeds(of_patients, 0.05, spread) == pytest.approx(wald_p(0.05, spread), rel=1e-6)


def test_seeds_add_to_what_levels_move_by() -> None:
    rng = seeds.generator(0, "test_significance", "noise")
    replicates, shares = rng.normal(size=(4000, 3)), rng.multinomial(3, np.full(3, 1 / 3), size=4000) / 3
    noise = two_level_noise(replicates, np.array([0.1, 0.2, 0.4]), shares, Spread(0.02, 0.03, 20, 2))
    # Standard errors times t over normal quantiles: 2.0860 / 1.9600 and 4.3027 / 1.9600, independent of each other.
    assert noise.std() == pytest.approx(np.hypot(0.02 * 2.0860, 0.03 * 4.3027) / 1.96, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=1e-12)
