import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from sklearn.metrics import cohen_kappa_score

from harness.metrics.agreement import (
    cohen_kappa,
    cross_table,
    exact_interval,
    kappa_intervals,
    kappa_values,
    one_against_rest,
)
from harness.seeds import generator

LABELS = ("a", "b", "c")


def test_kappa_by_hand() -> None:
    # 25 + 15 of 50 agree: 0.8. Rows 30, 20; columns 30, 20: by chance (30*30 + 20*20) / 50^2 = 0.52.
    # kappa = (0.8 - 0.52) / (1 - 0.52) = 0.28 / 0.48
    table = np.array([[25, 5], [5, 15]])
    assert cohen_kappa(table).value == approx(0.28 / 0.48)


def test_kappa_of_a_label_by_hand() -> None:
    # label a: 8 both, 2 first only, 4 second only, 6 neither. Agree 14/20; chance (10*12 + 10*8) / 400 = 0.5; 0.2 / 0.5
    table = np.array([[8, 1, 1], [3, 4, 0], [1, 0, 2]])
    pair = one_against_rest(table, 0)
    assert pair.tolist() == [[8, 2], [4, 6]]
    assert cohen_kappa(pair).value == approx(0.4)


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found = cohen_kappa(cross_table(first, second, LABELS))
    if len(set(first) | set(second)) == 1:
        assert (found.value, found.status) == (None, "undefined")
    else:
        assert found.value == approx(cohen_kappa_score(first, second, labels=list(LABELS)))
        assert -1 <= (found.value or 0) <= 1


def test_order_of_items_and_labels_does_not_matter() -> None:
    first, second = list("aabbccab"), list("abbbcacb")
    value = cohen_kappa(cross_table(first, second, LABELS)).value
    assert cohen_kappa(cross_table(first[::-1], second[::-1], LABELS[::-1])).value == approx(value)
    assert cohen_kappa(cross_table(second, first, LABELS)).value == approx(value)


def test_undefined_is_not_zero() -> None:
    assert cohen_kappa(np.zeros((3, 3), dtype=np.int64)).reason == "no item was labelled twice"
    assert cohen_kappa(np.array([[7, 0], [0, 0]])).status == "undefined"
    assert cohen_kappa(np.array([[0, 7], [0, 0]])).value == 0  # never agree, and chance never does either
    assert np.isnan(kappa_values(np.array([[[7, 0], [0, 0]]]))).all()


def test_bootstrap_interval_matches_the_large_sample_formula() -> None:
    # every unit one item; standard error by Fleiss, Cohen and Everitt (1969) in the form of sqrt(po(1-po)) / (sqrt(n)(1-pe))
    rng = generator(3, "kappa")
    first = rng.choice(3, 600)
    second = np.where(rng.random(600) < 0.7, first, rng.choice(3, 600))
    units = np.zeros((600, 3, 3), dtype=np.int64)
    units[np.arange(600), first, second] = 1
    table = units.sum(axis=0)
    interval, by_label = kappa_intervals(units, confidence=0.95, n_replicates=2000, rng=generator(4, "boot"))
    n = table.sum()
    po, pe = np.trace(table) / n, (table.sum(0) * table.sum(1)).sum() / n**2
    half = 1.96 * np.sqrt(po * (1 - po) / n) / (1 - pe)
    assert interval.low is not None
    assert interval.high is not None
    assert (interval.high - interval.low) / 2 == approx(half, rel=0.12)
    assert interval.low < (cohen_kappa(table).value or 0) < interval.high
    assert len(by_label) == 3


def test_items_of_one_text_are_drawn_together() -> None:
    alone = np.zeros((40, 2, 2), dtype=np.int64)
    alone[:30, 0, 0] = alone[30:, 0, 1] = 1
    alone[::2] = alone[::2, ::-1, ::-1]
    together = np.repeat(alone, 5, axis=0)  # the same answers as if from five times as many texts
    one, _ = kappa_intervals(alone * 5, confidence=0.95, n_replicates=500, rng=generator(1, "b"))
    many, _ = kappa_intervals(together, confidence=0.95, n_replicates=500, rng=generator(1, "b"))
    assert (one.high or 0) - (one.low or 0) > 1.7 * ((many.high or 0) - (many.low or 0))


def test_one_text_gives_no_interval() -> None:
    interval, by_label = kappa_intervals(
        np.ones((1, 2, 2), dtype=np.int64), confidence=0.95, n_replicates=100, rng=generator(1, "b")
    )
    assert (interval.low, interval.high) == (None, None)
    assert all(one.reason for one in by_label)


@pytest.mark.parametrize(
    ("n_hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (5, 10, 0.18709, 0.81291),
    ],  # ends by hand; middle: R binom.test
)
def test_exact_interval_of_a_share(n_hits: int, n: int, low: float, high: float) -> None:
    interval = exact_interval(n_hits, n, 0.95)
    assert interval[:2] == (approx(low, abs=1e-5), approx(high, abs=1e-5))


def test_exact_interval_holds_the_truth_at_least_as_often_as_it_says() -> None:
    from scipy.stats import binom

    for share in (0.1, 0.5, 0.83):
        covered = sum(
            binom.pmf(k, 25, share)
            for k in range(26)
            if (i := exact_interval(k, 25, 0.95)) and (i.low or 0) <= share <= (i.high or 0)
        )
        assert covered >= 0.95
    assert exact_interval(0, 0, 0.95).reason == "no interval: no items"
