from __future__ import annotations

from pathlib import Path

import pytest

from harness.evaluation.fidelity_target import course_target, people_target
from harness.schemas.population import load_population
from harness.schemas.task import load_task
from harness.schemas.trajectory import load_trajectory

TASK = load_task("alzheimers", base=Path())
PEOPLE = people_target(load_population(TASK.folder / "population.yaml", TASK))
TRAJECTORY = load_trajectory(TASK.folder / "trajectory.yaml", TASK)
COURSE = course_target(TRAJECTORY, TASK.lexicon, TASK.negative)


def test_pairs_are_of_the_raked_joint_and_give_both_margins() -> None:
    assert len(PEOPLE.pairs) == len(PEOPLE.margins) * (len(PEOPLE.margins) - 1) / 2
    for (first, second), pair in PEOPLE.pairs.items():
        assert pair.shares.sum(axis=1) == pytest.approx(list(PEOPLE.margins[first].values.values()), abs=1e-6)
        assert pair.shares.sum(axis=0) == pytest.approx(list(PEOPLE.margins[second].values.values()), abs=1e-6)
    ages, sexes = PEOPLE.margins["age_band"], PEOPLE.margins["sex"]
    oldest_women = PEOPLE.pairs["age_band", "sex"].shares[2, list(sexes.values).index("female")] / ages.values["85+"]
    assert oldest_women == pytest.approx(0.67, abs=0.005)  # conditional_shares.female_by_age_band, tolerance 0.005


def test_stages_weigh_by_years_notes_and_mentions() -> None:
    # 3 years x 8 notes x 2.7 mentions = 64.8, 4 x 10 x 3.1 = 124, 2 x 13 x 3.7 = 96.2, 1 x 16 x 4.2 = 67.2: 352.2
    assert COURSE.stages is not None
    assert list(COURSE.stages.values.values()) == pytest.approx([64.8 / 352.2, 124 / 352.2, 96.2 / 352.2, 67.2 / 352.2])
    assert COURSE.mentions_per_note["moderate_dementia"].value == pytest.approx(4.2 * 5)


def test_labels_follow_from_stages_domains_denials_and_reports() -> None:
    assert COURSE.stages is not None and COURSE.labels is not None
    stages, labels = COURSE.stages.values, COURSE.labels.values
    assert sum(labels.values()) == pytest.approx(1)
    denied = {stage: number.v for stage, number in TRAJECTORY.absent_share.items()}
    assert labels["other"] == pytest.approx(sum(stages[stage] * denied[stage] for stage in stages))
    assert TRAJECTORY.reported_by_others is not None
    reported = {stage: number.v for stage, number in TRAJECTORY.reported_by_others.share.items()}
    # reports are a share of what is present
    expected = sum(stages[stage] * (1 - denied[stage]) * reported[stage] for stage in stages)
    assert labels["concern_by_others"] == pytest.approx(expected)


def test_every_target_carries_its_own_mark() -> None:
    assert PEOPLE.margins["living_arrangement"].marks["alone"] == "published"
    assert PEOPLE.margins["race_ethnicity"].mark == "assumed"  # one of its levels is
    assert PEOPLE.prevalences["hypertension"].mark == "published"
    assert COURSE.domains["mci"].mark == "assumed"
    assert TRAJECTORY.onset is not None and COURSE.domain_onsets["memory"].mark == "derived"
    assert COURSE.term_onsets["constipation"] == (7, "published")  # its own, not its domain's
