"""From counts to shares: exact where everything may be shown, and nothing but shown figures where not."""

import numpy as np
import pytest

from harness.cohort.structured.counts import Counts, count
from harness.cohort.structured.estimate import Estimates, estimate
from harness.cohort.structured.joint import fit_joint
from harness.cohort.structured.people import People
from harness.seeds import generator

LEVELS = {"sex": ("female", "male"), "band": ("young", "middle", "old"), "group": ("a", "b", "c", "d")}


def cohort(n: int, seed: int, *, rare: float = 0.2) -> Counts:
    rng = generator(seed, "cohort")
    sex = rng.integers(0, 2, n)
    band = np.minimum(rng.integers(0, 3, n) + (rng.random(n) < 0.3 * sex), 2)
    group = np.where(rng.random(n) < rare, rng.integers(1, 4, n), 0)
    codes = {"sex": sex, "band": band, "group": group}
    factors = {"f": (rng.random(n) < 0.3 + 0.2 * (band == 2)).astype(int), "g": (rng.random(n) < 0.4).astype(int)}
    return count(People(ids=np.arange(n).astype(object), levels=LEVELS, codes=codes, factors=factors))


def rows_of(found: Estimates, variable: str) -> dict[str, tuple[int | None, bool]]:
    return {row["level"]: (row["n"], row["suppressed"]) for row in found.cells if row["variable"] == variable}


def test_counts_are_those_of_the_people() -> None:
    people = People(
        ids=np.array(list("wxyz"), dtype=object),
        levels={"sex": ("female", "male"), "band": ("young", "old")},
        codes={"sex": np.array([0, 0, 1, 1]), "band": np.array([0, 1, 1, 1])},
        factors={"f": np.array([1, 0, 1, 1]), "g": np.array([1, 1, 0, 1])},
    )
    found = count(people)
    assert found.pairs["sex", "band"].tolist() == [[1, 1], [0, 2]]
    assert found.margins["band"].tolist() == [1, 3]
    assert found.carriers == {"f": 3, "g": 3}
    assert found.carriers_by["f", "sex"].tolist() == [1, 2]
    assert found.carriers_both == {("f", "g"): 2}


def test_without_suppression_everything_is_what_was_counted() -> None:
    counts = cohort(2000, 1)
    found = estimate(counts, 0, {})
    for pair, table in counts.pairs.items():
        assert found.pairs[pair] == pytest.approx(table / 2000, abs=1e-8)
    assert found.prevalences["f"] == counts.carriers["f"] / 2000
    young = counts.carriers_by["f", "band"][0] / counts.margins["band"][0]
    assert found.conditional["f", "band"]["young"] == pytest.approx(young)
    assert not any(row["suppressed"] for row in found.cells)


def test_shown_pairs_are_met_and_hidden_ones_follow_the_rest() -> None:
    counts = cohort(400, 2, rare=0.15)
    found = estimate(counts, 11, {})
    assert any(found.hidden.values())
    for pair, table in counts.pairs.items():
        shown = rows_of(found, " x ".join(pair))
        for i, first in enumerate(counts.levels[pair[0]]):
            for j, second in enumerate(counts.levels[pair[1]]):
                n, suppressed = shown.get(f"{first} x {second}", (None, True))
                if not suppressed:
                    assert n == table[i, j] >= 11
                    assert found.pairs[pair][i, j] == pytest.approx(table[i, j] / 400, abs=1e-7)
    for a, b in counts.pairs:
        assert found.pairs[a, b].sum(axis=1) == pytest.approx(list(found.shares[a].values()), abs=1e-8)
        assert found.pairs[a, b].sum(axis=0) == pytest.approx(list(found.shares[b].values()), abs=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_no_cell_is_hidden_alone_in_its_row_or_column(seed: int) -> None:
    counts = cohort(300, seed, rare=0.12)
    found = estimate(counts, 11, {})
    for a, b in counts.pairs:
        for axis in (0, 1):
            hidden = [key.split(" x ")[axis] for key, (n, _) in rows_of(found, f"{a} x {b}").items() if n is None]
            assert all(hidden.count(one) >= 2 for one in hidden)


@pytest.mark.parametrize("seed", range(6))
def test_people_moved_between_hidden_cells_change_nothing_that_is_written(seed: int) -> None:
    """Two cohorts that agree on all shown figures give the same estimates: no small count can be in them."""
    counts = cohort(300, seed, rare=0.12)
    found = estimate(counts, 11, {})
    pair = ("band", "group")
    hidden = [key for key, (n, _) in rows_of(found, " x ".join(pair)).items() if n is None]
    moved = dict(counts.pairs)
    table = counts.pairs[pair].copy()
    places = [
        tuple(LEVELS[name].index(one) for name, one in zip(pair, key.split(" x "), strict=True))
        for key in hidden
        if "+" not in key
    ]
    rectangle = next(
        ((a, b) for a in places for b in places
         if a[0] < b[0] and a[1] != b[1] and (a[0], b[1]) in places and (b[0], a[1]) in places
         and min(table[a], table[b]) >= 1),
        None,
    )  # fmt: skip
    assert rectangle is not None
    (i, j), (k, m) = rectangle
    table[i, j], table[k, m], table[i, m], table[k, j] = (
        table[i, j] - 1,
        table[k, m] - 1,
        table[i, m] + 1,
        table[k, j] + 1,
    )
    moved[pair] = table
    other = estimate(Counts(**{**counts.__dict__, "pairs": moved}), 11, {})
    assert other.cells == found.cells
    assert other.pairs[pair] == pytest.approx(found.pairs[pair], abs=1e-12)


def test_a_pool_is_divided_as_in_the_reference_and_else_evenly() -> None:
    counts = cohort(300, 3, rare=0.08)
    group = counts.margins["group"]
    assert (group[1:] < 11).all()
    found = estimate(counts, 11, {"group": {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.1}})
    assert found.pooled["group"] == ("b", "c", "d")
    assert rows_of(found, "group") == {
        "a": (group[0], False), "b+c+d": (group[1:].sum(), False), "b": (None, True), "c": (None, True), "d": (None, True),
    }  # fmt: skip
    pool = group[1:].sum() / 300
    assert [found.shares["group"][one] for one in "bcd"] == pytest.approx([pool * 0.6, pool * 0.2, pool * 0.2])
    evenly = estimate(counts, 11, {})
    assert [evenly.shares["group"][one] for one in "bcd"] == pytest.approx([pool / 3] * 3)


def test_a_factor_with_few_carriers_or_few_others_has_no_prevalence() -> None:
    counts = cohort(300, 4)
    few = Counts(**{**counts.__dict__, "carriers": {"f": 5.0, "g": 295.0}})
    found = estimate(few, 11, {})
    assert found.prevalences == {}
    assert found.conditional == {}
    assert found.odds_ratios == {}
    assert rows_of(found, "risk_factor") == {"f": (None, True), "g": (None, True)}


def test_levels_with_few_carriers_share_the_prevalence_of_their_pool() -> None:
    counts = cohort(600, 5)
    by_band = {**counts.carriers_by, ("f", "band"): np.array([4.0, 60.0, 120.0])}
    counts = Counts(**{**counts.__dict__, "carriers": {**counts.carriers, "f": 184.0}, "carriers_by": by_band})
    found = estimate(counts, 11, {})
    n = counts.margins["band"]
    pooled = 64 / (n[0] + n[1])
    assert found.conditional["f", "band"] == pytest.approx({"young": pooled, "middle": pooled, "old": 120 / n[2]})
    assert found.conditional_pooled["f", "band"] == ("young", "middle")
    mixture = sum(found.shares["band"][level] * one for level, one in found.conditional["f", "band"].items())
    assert mixture == pytest.approx(found.prevalences["f"])


def test_odds_ratios_need_four_cells_that_may_be_shown() -> None:
    counts = cohort(600, 6)
    both = counts.carriers_both["f", "g"]
    only_f, only_g = counts.carriers["f"] - both, counts.carriers["g"] - both
    ratio = both * (600 - both - only_f - only_g) / (only_f * only_g)
    assert estimate(counts, 11, {}).odds_ratios["f", "g"] == pytest.approx(ratio)
    few = Counts(**{**counts.__dict__, "carriers_both": {("f", "g"): 7.0}})
    assert estimate(few, 11, {}).odds_ratios == {}
    nobody = Counts(**{**counts.__dict__, "carriers_both": {("f", "g"): 0.0}})
    assert estimate(nobody, 0, {}).odds_ratios == {}  # an odds ratio of 0 has no place in a copula


def test_the_fitted_joint_has_the_odds_ratios_of_independence_where_nothing_is_known() -> None:
    margins = [np.array([0.3, 0.7]), np.array([0.2, 0.5, 0.3])]
    joint, gap = fit_joint(margins, {})
    assert gap == 0
    assert joint == pytest.approx(np.outer(*margins))
