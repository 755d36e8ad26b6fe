"""The tied set and its bounds: by hand, by symmetry, and by simulation of studies whose best entry is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from harness import seeds
from harness.metrics.best import ONE_ENTRY, Scores, Standing, compare_with_best
from harness.metrics.resampling import draw_patients
from harness.metrics.uncertainty import effective_patients

CONFIDENCE = 0.95


def scores_of(hits: np.ndarray, sizes: np.ndarray, *, n_boot: int = 300, name: str = "patients") -> Scores:
    """Accuracy of entries from hits by patient, shape (n_patients, n_entries, n_seeds)."""
    n_patients = sizes.size
    drawn = draw_patients(n_patients, n_boot, rng=seeds.generator(6, "best", name)).astype(np.float64)
    replicates = np.tensordot(drawn, hits, axes=1) / (drawn @ sizes)[:, None, None]
    n_effective = effective_patients(sizes.astype(np.float64), n_patients)
    return Scores(hits.sum(axis=0) / sizes.sum(), replicates, n_patients, n_effective)


def invented_scores(skill: list[float], *, n_patients: int = 30, n_seeds: int = 1, name: str = "a") -> Scores:
    """Patients of unlike size and difficulty; seeds scatter by 0.03 where there are several."""
    rng = seeds.generator(6, "best", "study", name)
    sizes = 1 + rng.poisson(11, size=n_patients)
    patient = rng.normal(0, 0.1, size=(n_patients, 1, 1)) + rng.normal(0, 0.05, size=(n_patients, len(skill), 1))
    trained = rng.normal(0, 0.03, size=(len(skill), n_seeds)) * (n_seeds > 1)
    chance = np.clip(0.6 + patient + np.array(skill)[:, None] + trained, 0.02, 0.98)
    return scores_of(rng.binomial(sizes[:, None, None], chance), sizes, name=name)


def compared(scores: Scores) -> list[Standing]:
    return compare_with_best(scores, CONFIDENCE, rng=seeds.generator(6, "best", "seeds"))


def test_two_entries_are_a_one_sided_t_test() -> None:
    """One comparison needs no correction: width = t(0.95, n - 1) x bootstrap standard error x sqrt(n / (n - 1))."""
    sizes = np.full(20, 10)
    hits = seeds.generator(6, "two").binomial(10, [0.7, 0.6], size=(20, 2))[:, :, None]
    scores = scores_of(hits, sizes, n_boot=4000)
    first, second = compared(scores)
    gain = scores.by_seed[0, 0] - scores.by_seed[1, 0]
    error = (scores.replicates[:, 0, 0] - scores.replicates[:, 1, 0]).std() * np.sqrt(20 / 19)
    reach = t.ppf(0.95, 19) * error
    assert second.shortfall == pytest.approx(gain) and first.shortfall == 0.0
    assert second.tied == (gain <= reach)
    assert second.shortfall_high == pytest.approx(gain + reach, rel=1e-6)


def test_a_clear_winner_stands_alone() -> None:
    first, second, third = compared(invented_scores([0.25, 0.0, 0.0]))
    assert (first.tied, second.tied, third.tied) == (True, False, False)
    assert first.shortfall_high == 0.0
    for one in (second, third):
        assert one.shortfall_high is not None and one.shortfall_high > one.shortfall > 0.1


def test_equal_entries_are_tied_and_none_is_best_beyond_doubt() -> None:
    standings = compared(invented_scores([0.0, 0.0, 0.0]))
    assert [one.tied for one in standings] == [True, True, True]
    assert all(one.shortfall_high is not None and one.shortfall_high > 0 for one in standings)


def test_an_entry_given_twice_is_tied_with_itself() -> None:
    scores = invented_scores([0.2, 0.0])
    twice = Scores(scores.by_seed[[0, 0, 1]], scores.replicates[:, [0, 0, 1]], scores.n_patients, scores.n_effective)
    first, again, last = compared(twice)
    assert (first.tied, again.tied, last.tied) == (True, True, False)
    assert first.shortfall_high == again.shortfall_high == 0.0


def test_the_order_of_entries_changes_nothing() -> None:
    scores = invented_scores([0.1, 0.0, 0.05, -0.2])
    order = [2, 0, 3, 1]
    turned = Scores(scores.by_seed[order], scores.replicates[:, order], scores.n_patients, scores.n_effective)
    standings, again = compared(scores), compared(turned)
    assert [standings[i].tied for i in order] == [one.tied for one in again]
    found = [standings[i].shortfall_high for i in order]
    assert found == pytest.approx([one.shortfall_high for one in again], abs=1e-12)


def test_more_entries_make_it_harder_to_be_out() -> None:
    """Simultaneous: beside many others the same entry's difference to the first is judged with more doubt."""
    scores = invented_scores([0.1, 0.0, *([-0.3] * 12)])
    two = Scores(scores.by_seed[:2], scores.replicates[:, :2], scores.n_patients, scores.n_effective)
    alone, among = compared(two)[1], compared(scores)[1]
    assert alone.shortfall_high is not None and among.shortfall_high is not None
    assert among.shortfall_high > alone.shortfall_high


def test_train_seeds_that_scatter_widen_the_bounds() -> None:
    scores = invented_scores([0.05, 0.0], n_patients=200, n_seeds=3)
    still = np.broadcast_to(scores.by_seed.mean(axis=1, keepdims=True), scores.by_seed.shape)
    replicates = np.broadcast_to(scores.replicates.mean(axis=2, keepdims=True), scores.replicates.shape)
    calm = compared(Scores(still, replicates, scores.n_patients, scores.n_effective))[1]
    moved = compared(scores)[1]
    assert calm.shortfall_high is not None and moved.shortfall_high is not None
    assert moved.shortfall_high > calm.shortfall_high


@pytest.mark.parametrize(("n_patients", "n_seeds", "n_entries"), [(20, 1, 4), (50, 3, 7)])
def test_the_best_entry_stays_and_all_bounds_hold_as_often_as_promised(
    n_patients: int, n_seeds: int, n_entries: int
) -> None:
    """Equal entries are the hardest case for staying; 200 studies, so the promise of 95% shows as 90% or more."""
    n_studies = 200
    stays, bounded, far_out = 0.0, 0, 0
    truth = [0.0, *([0.02] * (n_entries - 2)), 0.22]
    for k in range(n_studies):
        equal = compared(invented_scores([0.0] * n_entries, n_patients=n_patients, n_seeds=n_seeds, name=f"equal {k}"))
        stays += np.mean([bool(one.tied) for one in equal])
        skill = [0.02 - short for short in truth]
        unlike = compared(invented_scores(skill, n_patients=n_patients, n_seeds=n_seeds, name=f"unlike {k}"))
        highs = [one.shortfall_high if one.shortfall_high is not None else np.nan for one in unlike]
        bounded += bool(unlike[0].tied) and all(high >= short - 1e-9 for high, short in zip(highs, truth, strict=True))
        far_out += not unlike[-1].tied
    assert 0.90 <= stays / n_studies <= 0.99  # nor may it keep everything
    assert bounded / n_studies >= 0.93
    assert far_out / n_studies >= 0.95


def test_without_a_second_entry_or_patient_nothing_is_said_and_the_reason_is_given() -> None:
    [only] = compared(invented_scores([0.1]))
    assert (only.tied, only.shortfall_high, only.reason) == (None, None, ONE_ENTRY)
    scores = invented_scores([0.1, 0.0])
    lonely = Scores(scores.by_seed, scores.replicates, n_patients=1, n_effective=1.0)
    assert {one.reason for one in compared(lonely)} == {"one patient shows no spread between patients"}


def test_an_entry_that_is_often_undefined_is_left_out_and_spoils_no_other() -> None:
    scores = invented_scores([0.2, 0.0, 0.1])
    holed = scores.replicates.copy()
    holed[:30, 2] = np.nan  # 10% of 300
    first, second, third = compared(Scores(scores.by_seed, holed, scores.n_patients, scores.n_effective))
    assert (third.tied, third.reason) == (None, "undefined in 10% of the replicates")
    assert (first.tied, second.tied) == (True, False)
    assert first.shortfall_high == 0.0
