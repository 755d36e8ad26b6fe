"""Votes of an annotator model: each sentence is asked about several times, each time with its own seed. Pure.

An answer that names no label is counted and asked for again, with another seed, at most MAX_TRIES times. A vote that
then still has none is lost; it counts against the winner's share, and nothing is guessed in its place.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.annotation.pieces import Piece
from harness.backends.base import Reply, Request
from harness.backends.gather import Answer, gather
from harness.prompts.annotate import answer_schema, parse_answer, render_annotate
from harness.schemas.task import Task
from harness.seeds import integer

MAX_TRIES = 3  # an annotator that cannot answer in three tries will not in thirty
NO_ANSWER, TIED = "no valid answer", "tied votes"


@dataclass(frozen=True)
class Verdict:
    """What an annotator says of one sentence.

    Attributes:
        label: The label with most votes; None where there is none.
        confidence: Its share of all votes asked for, lost ones among them.
        reason: NO_ANSWER or TIED, where there is no label.
    """

    label: str | None
    confidence: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Poll:
    """Who is asked, and how.

    Attributes:
        task: Labels and guideline.
        n_votes: Answers wanted for each sentence.
        seed_path: The recipe's root seed and the arm's name.
        multiline: Whether an answer may run over lines; a model that goes on and on is cut at its first.
        answer: Replies to requests.
        watch: Told each reply as it comes.
    """

    task: Task
    n_votes: int
    seed_path: tuple[int, str]
    multiline: bool
    answer: Answer
    watch: Callable[[Reply], None]


@dataclass
class Votes:
    """Labels given to each sentence, and what was wrong with the answers that gave none."""

    by_sentence: dict[str, list[str]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    n_asked: int = 0


def collect_votes(pieces: Sequence[Piece], poll: Poll) -> Votes:
    """Ask for every vote, and again for those that came back without a label.

    Raises:
        BackendError: Requests fail throughout.
        SpendingError: The recipe's caps allow no further request.
    """
    votes = Votes(by_sentence={piece.sentence_id: [] for piece in pieces})
    missing = [(piece, vote) for piece in pieces for vote in range(poll.n_votes)]
    n_shared = _shared_characters(poll.task)
    for attempt in range(MAX_TRIES):
        requests = [_request(piece, vote, attempt, poll, n_shared) for piece, vote in missing]
        replies = gather(requests, poll.answer, poll.watch)
        votes.n_asked += len(requests)
        again: list[tuple[Piece, int]] = []
        for (piece, vote), reply in zip(missing, replies, strict=True):
            label, fault = _read(reply, poll.task)
            if label is None:
                votes.faults[fault] += 1
                again.append((piece, vote))
            else:
                votes.by_sentence[piece.sentence_id].append(label)
        missing = again
        if not missing:
            break
    return votes


def _request(piece: Piece, vote: int, attempt: int, poll: Poll, n_shared: int) -> Request:
    root, arm = poll.seed_path
    return Request(
        prompt=render_annotate(poll.task, " ".join(piece.text.split())),
        seed=integer(root, "annotation", arm, piece.sentence_id, str(vote), str(attempt)),
        n_shared_chars=n_shared,
        multiline=poll.multiline,
        answer_schema=answer_schema(poll.task),
    )


def _shared_characters(task: Task) -> int:
    """Characters up to the last line break before the sentence: the guideline, the same in every prompt."""
    alike = os.path.commonprefix([render_annotate(task, one) for one in ("a", "b")])  # noqa: RUF071 - characters are meant
    return alike.rfind("\n") + 1


def _read(reply: Reply, task: Task) -> tuple[str | None, str]:
    if reply.status == "failed":
        return None, f"request failed: {reply.reason}"
    label, fault = parse_answer(reply.text, task)
    return label, str(fault)


def decide(labels: Sequence[str], n_votes: int) -> Verdict:
    """The label with most votes. A tie at the top has no winner: the sentence is then rejected, not labelled by chance.

    Args:
        labels: One for each vote that came back with a label.
        n_votes: Votes asked for.
    """
    if not labels:
        return Verdict(None, reason=NO_ANSWER)
    (label, n_first), *others = Counter(labels).most_common(2)
    if others and others[0][1] == n_first:
        return Verdict(None, reason=TIED)
    return Verdict(label, confidence=n_first / n_votes)
