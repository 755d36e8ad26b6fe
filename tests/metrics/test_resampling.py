from __future__ import annotations

import numpy as np
import pytest

from harness import seeds
from harness.metrics import resampling
from harness.metrics.counts import accuracy, tally_by_patient
from harness.metrics.resampling import draw_patients, draw_seeds, draw_swaps, resample_sums


def test_every_replicate_draws_as_many_patients_as_there_are() -> None:
    drawn = draw_patients(37, 500, rng=seeds.generator(0, "draw"))
    assert drawn.shape == (500, 37)
    assert (drawn.sum(axis=1) == 37).all()
    # Multiplicities are binomial(37, 1/37): variance 1 - 1/37, mean 1.
    assert drawn.mean() == 1
    assert drawn.var() == pytest.approx(1 - 1 / 37, rel=0.05)


def test_the_same_stream_gives_the_same_patients_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_patients(7, 90, rng=seeds.generator(0, "chunk"))
    monkeypatch.setattr(resampling, "CHUNK_VALUES", 50)
    np.testing.assert_array_equal(draw_patients(7, 90, rng=seeds.generator(0, "chunk")), whole)


@pytest.mark.parametrize("largest", [3, 10**7])  # below and beyond what float32 holds exactly
def test_resampled_sums_equal_a_loop(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = seeds.generator(0, "sums")
    per_patient = rng.integers(largest + 1, size=(9, 2, 3))
    drawn = draw_patients(9, 40, rng=rng)
    expected = [
        sum(times * counts for times, counts in zip(row.astype(int), per_patient, strict=True)) for row in drawn
    ]
    np.testing.assert_array_equal(resample_sums(per_patient, drawn), expected)
    monkeypatch.setattr(resampling, "CHUNK_VALUES", 20)
    np.testing.assert_array_equal(resample_sums(per_patient, drawn.astype(np.float32)), expected)


def test_bootstrap_se_matches_the_closed_form_with_one_sentence_a_patient() -> None:
    n, right = 400, 300
    truth = np.zeros(n, dtype=np.intp)
    predicted = (np.arange(n) >= right).astype(np.intp)[None]
    tallies = tally_by_patient(truth, predicted, np.arange(n), n_patients=n, n_classes=2)
    drawn = draw_patients(n, 4000, rng=seeds.generator(0, "se"))
    replicates = accuracy(type(tallies)(*(resample_sums(one, drawn) for one in tallies)))[:, 0]
    share = right / n
    assert replicates.std() == pytest.approx(np.sqrt(share * (1 - share) / n), rel=0.05)


def test_bootstrap_se_matches_the_closed_form_for_whole_clusters() -> None:
    # Every patient has 10 sentences, all right or all wrong: 40 independent observations, not 400.
    patient = np.repeat(np.arange(40), 10)
    predicted = (patient >= 30).astype(np.intp)[None]
    tallies = tally_by_patient(np.zeros(400, dtype=np.intp), predicted, patient, n_patients=40, n_classes=2)
    drawn = draw_patients(40, 4000, rng=seeds.generator(0, "clusters"))
    replicates = accuracy(type(tallies)(*(resample_sums(one, drawn) for one in tallies)))[:, 0]
    assert replicates.std() == pytest.approx(np.sqrt(0.75 * 0.25 / 40), rel=0.05)


def test_seed_shares_add_up_to_one_and_one_seed_is_never_left_out() -> None:
    shares = draw_seeds(3, 300, rng=seeds.generator(0, "seeds"))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares == 0).any()
    np.testing.assert_array_equal(draw_seeds(1, 20, rng=seeds.generator(0, "seeds")), np.ones((20, 1)))


def test_swaps_are_fair() -> None:
    swaps = draw_swaps(50, 2000, rng=seeds.generator(0, "swaps"))
    assert set(np.unique(swaps)) == {0, 1}
    assert swaps.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(swaps.size))
