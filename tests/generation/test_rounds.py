from collections.abc import Callable, Iterator, Sequence

import pytest

from harness.backends.base import Answered, Reply, Request
from harness.backends.gather import FAILURES_IN_A_ROW
from harness.errors import BackendError
from harness.generation.filters import Judge
from harness.generation.rounds import Asking, Outcome, ask_in_rounds, count_by_label
from harness.prompts.sight import Slot, View
from harness.schemas.task import Label

MEMORY = Label(id="memory", name="memory trouble", definition="d")
GOOD = ["Forgets the stove every morning.", "Walks in circles around town.", "Loses keys beneath pillows nightly."]


def asking(
    answer: Callable[[int, int], Reply], *, watched: list[Reply] | None = None, backwards: bool = False
) -> Asking:
    """Asks `answer(slot, attempt)`; the prompt carries both numbers."""

    def build(slots: Sequence[Slot], attempt: int) -> list[Request]:
        return [Request(prompt=f"{slot.index} {attempt}", seed=0) for slot in slots]

    def replies(requests: Sequence[Request]) -> Iterator[Answered]:
        order = list(enumerate(requests))
        for index, request in reversed(order) if backwards else order:
            slot, attempt = map(int, request.prompt.split())
            yield [(index, answer(slot, attempt))]

    return Asking(lambda slot: View(MEMORY), build, replies, (watched if watched is not None else []).append)


def run(how: Asking, n: int = 3, max_attempts: int = 3) -> Outcome:
    slots = [Slot(index=index, label="memory") for index in range(n)]
    return ask_in_rounds(slots, how, Judge([], [], None), max_attempts=max_attempts)


def ok(text: str) -> Reply:
    return Reply("ok", text, finish_reason="stop")


def test_only_missing_slots_are_asked_again() -> None:
    watched: list[Reply] = []
    outcome = run(asking(lambda slot, attempt: ok(GOOD[slot] if attempt >= slot else "no"), watched=watched))
    assert [(one.slot.index, one.attempt) for one in outcome.kept] == [(0, 0), (1, 1), (2, 2)]
    assert (len(watched), outcome.n_candidates, len(outcome.unfilled)) == (6, 6, 0)
    assert outcome.reasons() == {"length": 3}


def test_a_slot_is_given_up_after_the_last_attempt() -> None:
    outcome = run(asking(lambda slot, attempt: ok(GOOD[0] if slot == 0 else "no")))
    assert [slot.index for slot in outcome.unfilled] == [1, 2]
    assert count_by_label(outcome) == {"memory": {"asked": 7, "kept": 1, "unfilled": 2}}


def test_which_duplicate_is_kept_does_not_depend_on_the_order_of_replies() -> None:
    for backwards in (False, True):
        outcome = run(asking(lambda slot, attempt: ok(GOOD[0]), backwards=backwards), max_attempts=1)
        assert [one.slot.index for one in outcome.kept] == [0]


def test_a_failed_request_is_counted_and_asked_again() -> None:
    outcome = run(asking(lambda slot, attempt: ok(GOOD[slot]) if attempt else Reply("failed", reason="HTTP 500")))
    assert len(outcome.kept) == 3
    assert (outcome.reasons(), outcome.failures()) == ({"request failed": 3}, {"HTTP 500": 3})


def test_an_arm_without_a_sentence_is_an_error_with_the_reasons() -> None:
    with pytest.raises(BackendError, match=r"none of 9 candidates was kept \(length: 9\)"):
        run(asking(lambda slot, attempt: ok("no")))


def test_a_backend_that_fails_throughout_is_not_asked_forever() -> None:
    watched: list[Reply] = []
    with pytest.raises(BackendError, match="32 requests in a row failed \\(HTTP 500: 32\\)"):
        run(asking(lambda slot, attempt: Reply("failed", reason="HTTP 500"), watched=watched), n=500)
    assert len(watched) == FAILURES_IN_A_ROW


def test_few_failures_throughout_are_an_error_too() -> None:
    with pytest.raises(BackendError, match="request failed: 6, timeout: 6"):
        run(asking(lambda slot, attempt: Reply("failed", reason="timeout")), n=2)


def test_no_slots_are_no_error() -> None:
    assert run(asking(lambda slot, attempt: ok("x")), n=0).n_candidates == 0
