from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness import seeds
from harness.metrics.ranking import auroc, auroc_by_pairs, auroc_from_sums, pair_wins, placements_by_patient
from harness.metrics.resampling import draw_patients, resample_sums


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
    assert np.isnan(auroc_by_pairs(score, positive, patient, drawn)).tolist() == [True, True, False]


@pytest.mark.parametrize(("n", "n_patients", "decimals"), [(400, 150, 12), (3000, 300, 12), (1000, 150, 1)])
def test_placements_give_the_standard_error_of_the_exact_replicates(n: int, n_patients: int, decimals: int) -> None:
    score, positive, patient = invented(f"first/{n}", n, n_patients, decimals=decimals)
    drawn = draw_patients(n_patients, 1000, rng=seeds.generator(3, "test_ranking"))
    exact = auroc_by_pairs(score, positive, patient, drawn)
    first = by_placements(score, positive, patient, drawn)
    assert first.std() == pytest.approx(exact.std(), rel=0.02)
    assert np.corrcoef(first, exact)[0, 1] > 0.998


def by_placements(score: np.ndarray, positive: np.ndarray, patient: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    by_patient = placements_by_patient(score, positive, patient, drawn.shape[1])
    return auroc_from_sums(resample_sums(by_patient, drawn), by_patient.sum(axis=0))


def test_placements_hand_computed() -> None:
    # Positives 0.9, 0.4 beat 1 and (0 + 1/2) / 2 of the negatives 0.5, 0.4; these are beaten by 1/2 and (1 + 1/2) / 2.
    score, positive = np.array([0.9, 0.5, 0.4, 0.4]), np.array([True, False, True, False])
    sums = placements_by_patient(score, positive, np.array([0, 0, 1, 1]), 2)
    assert sums.tolist() == [[1, 1e6, 1, 0.5e6], [1, 0.25e6, 1, 0.75e6]]
    assert auroc_from_sums(sums.sum(axis=0)[None], sums.sum(axis=0))[0] == pytest.approx((1 + 0.25) / 2)


def test_placements_without_positives_or_negatives_are_undefined() -> None:
    score, positive, patient = np.array([0.9, 0.1, 0.4]), np.array([True, False, False]), np.array([0, 1, 2])
    drawn = np.array([[0, 2, 1], [3, 0, 0], [1, 1, 1]], dtype=np.uint8)
    assert np.isnan(by_placements(score, positive, patient, drawn)).tolist() == [True, True, False]
    assert np.isnan(by_placements(score, np.ones(3, dtype=bool), patient, drawn)).all()
