from pathlib import Path

import pytest
from toy_arms import toy_run

from harness.generation.requests import Prompting, ShotSets, build_requests
from harness.prompts.exemplars import load_exemplars
from harness.prompts.sight import Slot
from harness.schemas.task import Task
from harness.seeds import generator

TRAJECTORY = ("label", "trajectory")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return toy_run(tmp_path, {"a": {"sees": ["label"], "backend": {"kind": "embedded"}}}).task


def shots(task: Task, n_shots: int = 2) -> ShotSets:
    return ShotSets(load_exemplars(task), n_shots, rng=generator(0, "shots"))


def slot(index: int, label: str = "memory", term: str | None = "gets lost", polarity: str | None = "present") -> Slot:
    return Slot(index=index, label=label, stage="late", note_type="clinic", term=term, polarity=polarity)


def test_examples_have_the_slots_label_and_polarity(task: Task) -> None:
    sets = shots(task)
    assert {one.label for one in sets.choose(slot(0), 0, sees_term=True)} == {"memory"}
    denied = sets.choose(slot(0, "other", "tremor", "absent"), 0, sees_term=True)
    routine = sets.choose(slot(0, "other", None, None), 0, sees_term=True)
    assert ([one.polarity for one in denied], [one.polarity for one in routine]) == (["absent"], [None])
    assert len(sets.choose(slot(0, "other", None, None), 0, sees_term=False)) == 2


def test_a_later_attempt_shows_other_examples(task: Task) -> None:
    sets = shots(task, n_shots=1)
    assert sets.choose(slot(0), 0, sees_term=True) != sets.choose(slot(0), 1, sees_term=True)


def test_no_example_gives_the_slots_own_term_away(task: Task) -> None:
    sets = shots(task, n_shots=1)
    for attempt in range(4):
        (shot,) = sets.choose(slot(0, term="confusion"), attempt, sees_term=True)
        assert shot.term == "misplaces items"


def test_a_task_without_examples_asks_without(task: Task) -> None:
    bare = ShotSets([], 3, rng=generator(0, "shots"))
    (request,) = build_requests(Prompting(task, TRAJECTORY, bare), [slot(0)], attempt=0, seed_path=(1, "arm"))
    assert request.prompt.count("Sentence:") == 1


def test_seeds_depend_on_arm_slot_and_attempt_alone(task: Task) -> None:
    prompting = Prompting(task, TRAJECTORY, shots(task))
    seeds = {
        build_requests(prompting, [slot(index)], attempt=attempt, seed_path=(1, arm))[0].seed
        for arm in ("a", "b") for index in (0, 1) for attempt in (0, 1)
    }  # fmt: skip
    assert len(seeds) == 8
    together = build_requests(prompting, [slot(0), slot(1)], attempt=0, seed_path=(1, "a"))
    alone = build_requests(prompting, [slot(1)], attempt=0, seed_path=(1, "a"))
    assert together[1] == alone[0]  # prompt, seed and shared part: a resumed round asks the same


def test_the_shared_part_is_a_prefix_that_ends_a_line_before_the_slots_own_part(task: Task) -> None:
    prompting = Prompting(task, TRAJECTORY, shots(task))
    slots = [slot(0), slot(2, term="forgets names")]
    requests = build_requests(prompting, slots, attempt=0, seed_path=(1, "a"))
    heads = {request.prompt[: request.n_shared_chars] for request in requests}
    assert len(heads) == 1
    assert heads.pop().endswith("\n")
    for request, term in zip(requests, ("gets lost", "forgets names"), strict=True):
        assert term in request.prompt[request.n_shared_chars :]
        assert "Lost her glasses" in request.prompt[: request.n_shared_chars]


def test_instructions_hold_no_example_and_share_their_head(task: Task) -> None:
    prompting = Prompting(task, TRAJECTORY, shots=None)
    slots = [slot(0), slot(2, term="forgets names")]
    requests = build_requests(prompting, slots, attempt=0, seed_path=(1, "a"))
    for request, term in zip(requests, ("gets lost", "forgets names"), strict=True):
        assert not [one.text for one in load_exemplars(task) if one.text in request.prompt]
        assert term in request.prompt[request.n_shared_chars :]
        assert "Exactly one sentence" in request.prompt[: request.n_shared_chars]
    again = build_requests(prompting, slots, attempt=1, seed_path=(1, "a"))
    assert [one.prompt for one in again] == [one.prompt for one in requests]
    assert [one.seed for one in again] != [one.seed for one in requests]
