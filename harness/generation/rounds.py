"""Asking in rounds: every sentence that is still missing is asked for once more, until it is there or given up.

Candidates of a round are judged in the order of their slots after all have come in, so that what is a duplicate of what
does not depend on which reply was first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from harness.backends.base import Answered, Reply, Request
from harness.errors import BackendError
from harness.generation.filters import Judge, Reason, clean
from harness.prompts.sight import Slot, View

# A server that fails this often in a row is down; asking thousands of times more would only take hours.
FAILURES_IN_A_ROW = 32


@dataclass(frozen=True)
class Candidate:
    """One answer to one slot.

    Attributes:
        slot: What was asked for.
        attempt: From 0.
        request: The prompt and seed.
        reply: The answer.
        reason: Why it was dropped; None where it was kept.
    """

    slot: Slot
    attempt: int
    request: Request
    reply: Reply
    reason: Reason | None

    @property
    def text(self) -> str:
        return clean(self.reply.text)


@dataclass
class Outcome:
    """All candidates of an arm, and the slots that stayed empty."""

    kept: list[Candidate] = field(default_factory=list)
    dropped: list[Candidate] = field(default_factory=list)
    unfilled: list[Slot] = field(default_factory=list)

    @property
    def n_candidates(self) -> int:
        return len(self.kept) + len(self.dropped)

    def reasons(self) -> dict[str, int]:
        counted = Counter(str(candidate.reason) for candidate in self.dropped)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def failures(self) -> dict[str, int]:
        """Why requests failed."""
        return dict(
            sorted(Counter(one.reply.reason or "?" for one in self.dropped if one.reply.status == "failed").items())
        )

    def by_label(self) -> dict[str, dict[str, int]]:
        """For each label the candidates asked for and those kept, and the slots left empty."""
        asked = Counter(one.slot.label for one in [*self.kept, *self.dropped])
        kept = Counter(one.slot.label for one in self.kept)
        unfilled = Counter(slot.label for slot in self.unfilled)
        return {
            label: {"asked": asked[label], "kept": kept[label], "unfilled": unfilled[label]} for label in sorted(asked)
        }


@dataclass(frozen=True)
class Asking:
    """How an arm asks.

    Attributes:
        view: What a slot's prompt shows.
        build: Requests of some slots at an attempt.
        answer: Replies to requests, in any order, each index once.
        watch: Told each reply as it comes, for a progress bar.
    """

    view: Callable[[Slot], View]
    build: Callable[[Sequence[Slot], int], list[Request]]
    answer: Callable[[Sequence[Request]], Generator[Answered, None, None]]
    watch: Callable[[Reply], None]


def ask_in_rounds(slots: Sequence[Slot], asking: Asking, judge: Judge, *, max_attempts: int) -> Outcome:
    """Fill the slots by rejection sampling.

    Raises:
        BackendError: Requests fail throughout, or no candidate of any slot is kept; with the reasons counted.
    """
    outcome = Outcome()
    missing = list(slots)
    for attempt in range(max_attempts):
        if not missing:
            break
        requests = asking.build(missing, attempt)
        replies = _collect(requests, asking)
        still_missing: list[Slot] = []
        for slot, request, reply in zip(missing, requests, replies, strict=True):
            reason = judge.reject(reply, asking.view(slot))
            candidate = Candidate(slot=slot, attempt=attempt, request=request, reply=reply, reason=reason)
            (outcome.kept if reason is None else outcome.dropped).append(candidate)
            if reason is not None:
                still_missing.append(slot)
        missing = still_missing
    outcome.unfilled = missing
    if slots and not outcome.kept:
        counted = ", ".join(f"{reason}: {n}" for reason, n in {**outcome.reasons(), **outcome.failures()}.items())
        raise BackendError(
            f"none of {outcome.n_candidates} candidates was kept ({counted}); try another model or sampling"
        )
    return outcome


def _collect(requests: Sequence[Request], asking: Asking) -> list[Reply]:
    """Replies in the order of the requests."""
    replies: dict[int, Reply] = {}
    failed_in_a_row: Counter[str] = Counter()
    with closing(asking.answer(requests)) as answers:
        for answered in answers:
            for index, reply in answered:
                replies[index] = reply
                asking.watch(reply)
                if reply.status == "ok":
                    failed_in_a_row.clear()
                else:
                    failed_in_a_row[reply.reason or "?"] += 1
            if failed_in_a_row.total() >= FAILURES_IN_A_ROW:
                counted = ", ".join(f"{reason}: {n}" for reason, n in failed_in_a_row.most_common())
                raise BackendError(
                    f"{failed_in_a_row.total()} requests in a row failed ({counted}); run again to go on"
                )
    return [replies[index] for index in range(len(requests))]
