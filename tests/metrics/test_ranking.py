from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness import seeds
from harness.metrics.ranking import (
    MAX_EXACT_PATIENTS,
    N_SCORE_BINS,
    auroc,
    auroc_by_bins,
    auroc_by_pairs,
    pair_wins,
    resampled_auroc,
)
from harness.metrics.resampling import draw_patients


def invented(name: str, n: int, n_patients: int, *, decimals: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = seeds.generator(0, "test_ranking", name)
    positive = rng.random(n) < 0.3
    score = np.round(rng.normal(size=n) + positive, decimals)
    return score, positive, rng.integers(n_patients, size=n)


def by_repeating_rows(score: np.ndarray, positive: np.ndarray, patient: np.ndarray, times: np.ndarray) -> float:
    rows = np.repeat(np.arange(score.size), times[patient])
    if positive[rows].all() or not positive[rows].any():
        return float("nan")
    return float(roc_auc_score(positive[rows], score[rows]))


def test_hand_computed_value() -> None:
    # Positives 0.9, 0.4; negatives 0.5, 0.4. Pairs: 0.9 beats both (2); 0.4 loses to 0.5 (0) and ties with 0.4 (1/2).
    score, positive = np.array([0.9, 0.5, 0.4, 0.4]), np.array([True, False, True, False])
    assert auroc(score, positive) == (2 + 0 + 0.5) / 4


@pytest.mark.parametrize("decimals", [12, 1, 0])  # few decimals: many ties
@pytest.mark.parametrize("n", [10, 200])
def test_equal_to_scikit_learn(n: int, decimals: int) -> None:
    score, positive, _ = invented(f"{n}/{decimals}", n, 1, decimals=decimals)
    assert auroc(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_constant_scores_give_one_half_and_reversed_scores_the_complement() -> None:
    score, positive, _ = invented("complement", 60, 1)
    assert auroc(np.zeros(60), positive) == 0.5
    assert auroc(-score, positive) == pytest.approx(1 - auroc(score, positive))


def test_undefined_without_positives_or_negatives() -> None:
    assert np.isnan(auroc(np.array([0.1, 0.2]), np.array([True, True])))
    assert np.isnan(auroc(np.array([0.1, 0.2]), np.array([False, False])))
    assert np.isnan(auroc(np.zeros(0), np.zeros(0, dtype=bool)))


def test_pairs_between_patients_add_up_to_the_whole() -> None:
    score, positive, patient = invented("pairs", 90, 8, decimals=1)
    wins = pair_wins(score, positive, patient, 8)
    assert wins.sum() / (positive.sum() * (~positive).sum()) == pytest.approx(auroc(score, positive))
    own = (score[positive & (patient == 2)][:, None], score[~positive & (patient == 5)][None])
    assert wins[2, 5] == ((own[0] > own[1]) + 0.5 * (own[0] == own[1])).sum()


@pytest.mark.parametrize("decimals", [12, 1])
def test_exact_replicates_equal_repeated_rows(decimals: int) -> None:
    score, positive, patient = invented(f"exact/{decimals}", 40, 6, decimals=decimals)
    drawn = draw_patients(6, 60, rng=seeds.generator(1, "test_ranking"))
    expected = [by_repeating_rows(score, positive, patient, times) for times in drawn]
    np.testing.assert_allclose(auroc_by_pairs(score, positive, patient, drawn), expected, atol=1e-12)


def test_replicates_without_positives_are_undefined() -> None:
    score, positive, patient = np.array([0.9, 0.1, 0.4]), np.array([True, False, False]), np.array([0, 1, 2])
    drawn = np.array([[0, 2, 1], [3, 0, 0], [1, 1, 1]], dtype=np.uint8)
    for method in (auroc_by_pairs, auroc_by_bins):
        assert np.isnan(method(score, positive, patient, drawn)).tolist() == [True, True, False]


def test_bins_are_exact_where_the_scores_are_few() -> None:
    score, positive, patient = invented("few", 300, 20, decimals=0)
    assert np.unique(score).size <= N_SCORE_BINS
    drawn = draw_patients(20, 200, rng=seeds.generator(2, "test_ranking"))
    exact = auroc_by_pairs(score, positive, patient, drawn)
    np.testing.assert_allclose(auroc_by_bins(score, positive, patient, drawn), exact, atol=1e-12)


@pytest.mark.parametrize(("n", "n_patients"), [(400, 150), (3000, 300)])
def test_bins_move_no_end_of_an_interval_by_a_fiftieth_of_its_width(n: int, n_patients: int) -> None:
    score, positive, patient = invented(f"bins/{n}", n, n_patients)
    assert np.unique(score).size > N_SCORE_BINS
    drawn = draw_patients(n_patients, 1000, rng=seeds.generator(3, "test_ranking"))
    exact = np.quantile(auroc_by_pairs(score, positive, patient, drawn), [0.025, 0.5, 0.975])
    binned = np.quantile(auroc_by_bins(score, positive, patient, drawn), [0.025, 0.5, 0.975])
    assert np.abs(exact - binned).max() < (exact[2] - exact[0]) / 50


def test_bins_give_the_point_estimate_when_everybody_is_drawn_once() -> None:
    score, positive, patient = invented("once", 500, 30)
    once = np.ones((1, 30), dtype=np.uint8)
    assert auroc_by_bins(score, positive, patient, once)[0] == pytest.approx(auroc(score, positive), abs=1e-12)


def test_many_patients_are_binned_and_few_are_not() -> None:
    for n_patients, method in ((MAX_EXACT_PATIENTS, auroc_by_pairs), (MAX_EXACT_PATIENTS + 1, auroc_by_bins)):
        score, positive, patient = invented(f"choice/{n_patients}", 600, n_patients)
        drawn = draw_patients(n_patients, 20, rng=seeds.generator(4, "test_ranking"))
        np.testing.assert_array_equal(
            resampled_auroc(score, positive, patient, drawn), method(score, positive, patient, drawn)
        )
