"""Asking in rounds: every text that is still missing is asked for once more, until it is there or given up.

Candidates of a round are judged in the order of their slots after all have come in, so that what is a duplicate of what
does not depend on which reply was first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from harness.backends.base import Reply, Request
from harness.backends.gather import Answer, gather
from harness.errors import BackendError
from harness.generation.filters import clean
from harness.prompts.sight import Slot

SlotT = TypeVar("SlotT")  # what is planned: a sentence or a note
ViewT = TypeVar("ViewT")  # what its prompt shows of that
Shown_contra = TypeVar("Shown_contra", contravariant=True)


class Judging(Protocol[Shown_contra]):
    """Says why a reply is dropped; None keeps it."""

    def reject(self, reply: Reply, view: Shown_contra) -> str | None: ...


@dataclass(frozen=True)
class Candidate(Generic[SlotT]):
    """One answer to one slot.

    Attributes:
        slot: What was asked for.
        attempt: From 0.
        request: The prompt and seed.
        reply: The answer.
        text: What is taken of it.
        reason: Why it was dropped; None where it was kept.
    """

    slot: SlotT
    attempt: int
    request: Request
    reply: Reply
    text: str
    reason: str | None


@dataclass
class Outcome(Generic[SlotT]):
    """All candidates of an arm, and the slots that stayed empty."""

    kept: list[Candidate[SlotT]] = field(default_factory=list)
    dropped: list[Candidate[SlotT]] = field(default_factory=list)
    unfilled: list[SlotT] = field(default_factory=list)

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


def count_by_label(outcome: Outcome[Slot]) -> dict[str, dict[str, int]]:
    """For each label the candidates asked for and those kept, and the slots left empty."""
    asked = Counter(one.slot.label for one in [*outcome.kept, *outcome.dropped])
    kept = Counter(one.slot.label for one in outcome.kept)
    unfilled = Counter(slot.label for slot in outcome.unfilled)
    return {label: {"asked": asked[label], "kept": kept[label], "unfilled": unfilled[label]} for label in sorted(asked)}


@dataclass(frozen=True)
class Asking(Generic[SlotT, ViewT]):
    """How an arm asks.

    Attributes:
        view: What a slot's prompt shows.
        build: Requests of some slots at an attempt.
        answer: Replies to requests, in any order, each index once.
        watch: Told each reply as it comes, for a progress bar.
        clean: What is taken of a reply's text.
    """

    view: Callable[[SlotT], ViewT]
    build: Callable[[Sequence[SlotT], int], list[Request]]
    answer: Answer
    watch: Callable[[Reply], None]
    clean: Callable[[str], str] = clean


def ask_in_rounds(
    slots: Sequence[SlotT], asking: Asking[SlotT, ViewT], judge: Judging[ViewT], *, max_attempts: int
) -> Outcome[SlotT]:
    """Fill the slots by rejection sampling.

    Raises:
        BackendError: Requests fail throughout, or no candidate of any slot is kept; with the reasons counted.
    """
    outcome: Outcome[SlotT] = Outcome()
    missing = list(slots)
    for attempt in range(max_attempts):
        if not missing:
            break
        requests = asking.build(missing, attempt)
        replies = gather(requests, asking.answer, asking.watch)
        still_missing: list[SlotT] = []
        for slot, request, reply in zip(missing, requests, replies, strict=True):
            reason = judge.reject(reply, asking.view(slot))
            text = asking.clean(reply.text)
            candidate = Candidate(slot, attempt, request, reply, text, reason)
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
