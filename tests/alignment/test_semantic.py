from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from harness.alignment.semantic import draw_mentions, draw_visits
from harness.schemas.task import Task
from harness.schemas.trajectory import Trajectory, reported_probability
from harness.seeds import generator

N = 60


@pytest.fixture
def visits(trajectory: Trajectory) -> list[pa.Table]:
    return [draw_visits(trajectory, f"p{index}", generator(index, "visits")) for index in range(N)]


@pytest.fixture
def mentions(trajectory: Trajectory, task: Task, visits: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(
        draw_mentions(trajectory, task.lexicon, one, negative=task.negative, rng=generator(index, "mentions"))
        for index, one in enumerate(visits)
    )


def test_notes_are_in_order_of_time_and_inside_the_window(visits: list[pa.Table]) -> None:
    for one in visits:
        days = one["days_before_diagnosis"].to_numpy()
        assert (np.diff(days) <= 0).all()
        assert days.min() >= 0
        assert days.max() <= 3652
        assert one["visit_index"].to_pylist() == list(range(one.num_rows))


def test_stages_follow_each_other(trajectory: Trajectory, visits: list[pa.Table]) -> None:
    order = {stage: index for index, stage in enumerate(trajectory.stage_ids)}
    for one in visits:
        stages = [order[stage] for stage in one["stage"].to_pylist()]
        assert stages == sorted(stages)
    assert set(visits[0]["stage"].to_pylist()) <= set(order)


def test_number_of_notes_is_near_the_published_median(visits: list[pa.Table]) -> None:
    n_notes = [one.num_rows for one in visits]
    # 106 expected; the median of 60 has a standard error of about 3.5
    assert np.median(n_notes) == pytest.approx(106, abs=11)
    assert np.var(n_notes) > np.mean(n_notes)  # negative binomial years, jittered stages


def test_note_types_follow_the_stage(trajectory: Trajectory, visits: list[pa.Table]) -> None:
    table = pa.concat_tables(visits)
    for stage in ("mci", "mild_dementia"):
        types = [row["note_type"] for row in table.to_pylist() if row["stage"] == stage]
        for note_type, share in trajectory.note_type_share[stage].values.items():
            assert types.count(note_type) / len(types) == pytest.approx(share, abs=0.04)


def test_mentions_a_note_follow_the_stage(trajectory: Trajectory, visits: list[pa.Table], mentions: pa.Table) -> None:
    stage_of = stages(visits)
    n_notes, n_mentions = Counter(stage_of.values()), Counter()
    for row in mentions.to_pylist():
        n_mentions[stage_of[(row["persona_id"], row["visit_index"])]] += 1
    for stage, number in trajectory.mentions_per_note.by_stage.items():
        assert n_mentions[stage] / n_notes[stage] == pytest.approx(number.v * 5, rel=0.04)


def stages(visits: list[pa.Table]) -> dict[tuple[str, int], str]:
    return {(row["persona_id"], row["visit_index"]): row["stage"] for one in visits for row in one.to_pylist()}


def test_no_term_is_repeated_in_a_note(mentions: pa.Table) -> None:
    rows = [(row["persona_id"], row["visit_index"], row["term"]) for row in mentions.to_pylist()]
    assert len(rows) == len(set(rows))
    assert len(rows) > 50_000


def test_all_terms_are_mentioned_in_their_own_domain(task: Task, mentions: pa.Table) -> None:
    domains = {term.term: term.domain for term in task.lexicon}
    found = {row["term"]: row["domain"] for row in mentions.to_pylist()}
    assert found == domains
    assert len(found) == 122


def test_shares_of_domains_labels_and_denials_follow_the_trajectory(
    trajectory: Trajectory, visits: list[pa.Table], mentions: pa.Table
) -> None:
    stage_of = stages(visits)
    rows = [row for row in mentions.to_pylist() if stage_of[(row["persona_id"], row["visit_index"])] == "mci"]
    for domain, share in trajectory.domain_share["mci"].values.items():
        assert sum(row["domain"] == domain for row in rows) / len(rows) == pytest.approx(share, abs=0.01)
    absent = [row for row in rows if row["polarity"] == "absent"]
    assert len(absent) / len(rows) == pytest.approx(trajectory.absent_share["mci"].v, abs=0.01)
    assert {row["label"] for row in absent} == {"other"}
    present = [row for row in rows if row["polarity"] == "present"]
    concern = [row for row in present if row["label"] == "concern_by_others"]
    assert len(concern) / len(present) == pytest.approx(0.10, abs=0.01)
    assert "requires_assistance" not in {row["domain"] for row in concern}
    assert "other" not in {row["label"] for row in present}
    for row in present:
        assert row["label"] in (trajectory.domain_to_label.values[row["domain"]], "concern_by_others")


def test_implied_label_shares_are_near_the_expected_ones(trajectory: Trajectory) -> None:
    for stage in trajectory.stage_ids:
        implied: Counter[str] = Counter()
        for domain, share in trajectory.domain_share[stage].values.items():
            reported = reported_probability(trajectory, stage)[domain]
            implied[trajectory.domain_to_label.values[domain]] += share * (1 - reported)
            implied["concern_by_others"] += share * reported
        for label, share in trajectory.expected["label_share"][stage]["values"].items():
            assert implied[label] == pytest.approx(share, abs=0.03)


def test_a_note_that_asks_for_more_than_the_lexicon_holds_gets_every_term_once(
    trajectory: Trajectory, task: Task, visits: list[pa.Table]
) -> None:
    number = trajectory.mentions_per_note.density_multiplier.model_copy(update={"v": 200.0})
    dense = trajectory.model_copy(
        update={"mentions_per_note": trajectory.mentions_per_note.model_copy(update={"density_multiplier": number})}
    )
    first = visits[0].slice(0, 1)
    found = draw_mentions(dense, task.lexicon, first, negative="other", rng=generator(0, "dense"))
    assert sorted(found["term"].to_pylist()) == sorted(term.term for term in task.lexicon)


def test_commoner_terms_are_mentioned_more_often(trajectory: Trajectory, task: Task, visits: list[pa.Table]) -> None:
    lexicon = [term.model_copy(update={"frequency": 8.0}) if term.term == "falls" else term for term in task.lexicon]
    found = pa.concat_tables(
        draw_mentions(trajectory, lexicon, one, negative="other", rng=generator(index, "common"))
        for index, one in enumerate(visits[:20])
    )
    counted = Counter(found["term"].to_pylist())
    assert counted["falls"] > 3 * counted["tremor"]


def test_a_persona_without_notes_has_no_mentions(trajectory: Trajectory, task: Task, visits: list[pa.Table]) -> None:
    none = visits[0].slice(0, 0)
    assert draw_mentions(trajectory, task.lexicon, none, negative="other", rng=generator(0, "none")).num_rows == 0
