"""The arithmetic of fitting, against values worked out by hand."""

import math

import numpy as np
import pytest
from notes_study import known_trajectory

from harness.cohort.notes.course import course_rates
from harness.cohort.notes.intensity import stage_rates
from harness.cohort.notes.rates import described
from harness.cohort.notes.read import Kept
from harness.cohort.notes.scan import Mentions
from harness.cohort.notes.tally import Notes, gather, tally
from harness.cohort.notes.terms import frequencies
from harness.cohort.notes.timeline import build_timeline, observed_days, stage_probability, stage_times
from harness.schemas.task import Term
from harness.schemas.trajectory import Trajectory
from harness.seeds import generator


@pytest.fixture
def trajectory(tmp_path) -> Trajectory:
    return known_trajectory(tmp_path)[1]


def without_jitter(trajectory: Trajectory) -> Trajectory:
    still = trajectory.stage_jitter_years.model_copy(update={"v": 0.0})
    return trajectory.model_copy(update={"stage_jitter_years": still})


def test_without_jitter_a_moment_has_one_stage(trajectory: Trajectory) -> None:
    found = stage_probability(without_jitter(trajectory), np.array([-10.0, -7.001, -7.0, -2.0, -0.5]))
    assert found.argmax(axis=1).tolist() == [0, 0, 1, 2, 3]
    assert set(found.ravel().tolist()) == {0.0, 1.0}


def test_a_boundary_is_passed_with_a_normal_probability(trajectory: Trajectory) -> None:
    # at -1 the last boundary (mean -1) is passed with 1/2; the one at -3 is 2 / 0.75 deviations back: Phi(2.667)
    phi = 0.5 * math.erfc(-2 / 0.75 / math.sqrt(2))
    found = stage_probability(trajectory, np.array([-1.0]))[0]
    assert found[3] == pytest.approx(0.5 * phi, abs=1e-12)
    assert found.sum() == pytest.approx(1)


def test_stage_probabilities_are_what_shifted_boundaries_give(trajectory: Trajectory) -> None:
    times = stage_times(trajectory, generator(3, "times"))  # 4,000 patients
    assert times.sum(axis=2) == pytest.approx(1)
    per_bin = build_timeline(trajectory).stage_share
    per_year = (per_bin[::2] + per_bin[1::2]) / 2
    assert times.mean(axis=0) == pytest.approx(per_year, abs=4 * 0.5 / math.sqrt(4000))


def test_a_record_is_observed_from_its_first_note_to_the_end(trajectory: Trajectory) -> None:
    timeline = build_timeline(trajectory)
    whole = observed_days(timeline, np.array([3652]), np.array([10]), ends_open=False)
    assert whole.sum() == 3653  # days 3652 to 0, both included
    late = observed_days(timeline, np.array([100]), np.array([10]), ends_open=False)
    assert (late.sum(), late[0, -1]) == (101, 101)
    assert observed_days(timeline, np.array([100]), np.array([10]), ends_open=True).sum() == 90


def test_rates_are_events_over_time_where_stages_are_known() -> None:
    share = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = stage_rates(np.array([[[6.0], [20.0]]]), np.array([[3.0, 4.0]]), share)
    assert found.ravel() == pytest.approx([2.0, 5.0])  # 6 / 3 and 20 / 4


def test_rates_come_back_from_mixed_bins() -> None:
    share = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    rates = np.array([[2.0, 0.0], [5.0, 1.0]])
    days = np.array([[100.0, 80.0, 60.0]])
    counts = days[:, :, None] * (share @ rates)[None]
    assert stage_rates(counts, days, share)[0] == pytest.approx(rates, abs=1e-3)


def test_a_stage_in_which_nobody_was_seen_has_no_rate() -> None:
    share = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = stage_rates(np.array([[[6.0], [0.0]]]), np.array([[3.0, 0.0]]), share)[0]
    assert found[0, 0] == 2.0
    assert np.isnan(found[1, 0])
    assert described("x", "s", "all", np.array([np.nan, 1.0]), n=0, n_patients=0).status == "undefined"


def test_frequencies_undo_drawing_without_repetition() -> None:
    truth = np.array([0.5, 0.25, 0.15, 0.1])
    rng = generator(5, "draws")
    sizes = rng.integers(1, 4, size=40_000)
    keys = np.log(truth) + rng.gumbel(size=(len(sizes), 4))
    rank = np.argsort(np.argsort(-keys, axis=1), axis=1)
    found = (rank < sizes[:, None]).sum(axis=0).astype(float)
    naive = found / found.sum()
    corrected = frequencies(found, np.bincount(sizes))
    assert naive[0] < 0.40  # far from 0.5
    assert corrected == pytest.approx(truth, abs=0.02)
    assert corrected.sum() == pytest.approx(1)


def test_frequencies_of_single_mentions_are_shares_and_full_notes_say_nothing() -> None:
    assert frequencies(np.array([6.0, 3.0, 1.0]), np.array([5, 10])) == pytest.approx([0.6, 0.3, 0.1])
    assert frequencies(np.array([4.0, 0.0]), np.array([0, 4])) == pytest.approx([1.0, 0.0])


def test_the_opening_note_is_in_no_rate_and_nothing_is_counted_twice(trajectory: Trajectory, tmp_path) -> None:
    lexicon = known_trajectory(tmp_path)[0].lexicon
    kept = Kept(patient_id=["b", "a", "b", "b"], days=[30, 800, 3000, 20], note_type=["x", None, "y", "x"])
    mentions = Mentions(np.array([0, 0, 2]), np.array([0, 25, 0]), np.array([False, True, False]), 0)
    notes = gather(kept, mentions)
    assert notes.patients == ("a", "b")
    assert notes.days.tolist() == [800, 3000, 30, 20]
    sums = tally(notes, build_timeline(trajectory), trajectory, lexicon)
    assert sums.notes.sum(axis=1).tolist() == [0, 2]
    assert sums.typed.sum(axis=(0, 1)).tolist() == [2, 0]
    assert sums.mentions.sum(axis=(0, 1)).tolist() == [1, 1, 0, 0, 0, 0]  # memory and language
    assert (sums.absent.sum(), sums.squares.sum()) == (1, 4)
    assert sums.days.sum(axis=1).tolist() == [801, 3001]
    assert sums.terms.sum(axis=0)[0].tolist() == [2, 0]  # terms count in every note


def test_first_statements_and_restatements_are_counted_by_hand() -> None:
    """One patient, four notes at 730, 365, 100 and 10 days, two terms; one is stated in notes 2 and 4.

    After its first statement: 2 notes, 1 states it again. Up to it: 2 notes, the other term adds its 4: 1 first
    statement in 6. Ratio (1 / 2) / (1 / 6) = 3. The first statement lies (365 + 1 / 2) / 365.25 years before.
    """
    notes = Notes(("p",), np.zeros(4, np.int64), np.array([730, 365, 100, 10]), np.full(4, -1), (), np.array([1, 2, 3]),
                  np.array([0, 1, 0]), np.array([False, True, False]))  # fmt: skip
    lexicon = [Term(domain="d", term="falls"), Term(domain="d", term="tremor")]
    rates = {rate.parameter: rate for rate in course_rates(notes, lexicon, min_patients=1, rng=generator(1, "course"))
             if rate.level == "d"}  # fmt: skip
    assert rates["restated_ratio"].value == pytest.approx(3.0)
    assert rates["first_stated_years_before"].value == pytest.approx(365.5 / 365.25)
    few = course_rates(notes, lexicon, min_patients=2, rng=generator(1, "course"))
    assert few[0].value is None
    assert few[0].reason == "stated in notes of fewer than 2 patients"


@pytest.mark.parametrize("persistent", [True, False])
def test_restatements_exceed_chance_only_where_terms_persist(persistent: bool) -> None:
    lexicon = [Term(domain="d", term=f"t{n}") for n in range(10)]
    rng = generator(2, "persistence")
    own = rng.integers(10, size=60)  # the one term that a persistent patient's notes keep to, half of the time
    patient = np.repeat(np.arange(60), 30)
    term = np.where(persistent & (rng.random(1800) < 0.5), own[patient], rng.integers(10, size=1800))
    notes = Notes(tuple(f"p{n:02d}" for n in range(60)), patient, np.tile(np.arange(900, 0, -30), 60), np.full(1800, -1), (),
                  np.arange(1800), term, np.zeros(1800, np.bool_))  # fmt: skip
    ratio = course_rates(notes, lexicon, min_patients=11, rng=generator(1, "course"))[-1]
    assert ratio.ci_low is not None
    assert ratio.ci_high is not None
    assert (ratio.ci_low > 1.5) if persistent else (ratio.ci_low < 1 < ratio.ci_high)
