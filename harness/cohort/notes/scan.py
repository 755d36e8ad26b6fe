"""Texts in, mentions out: which terms each note states or denies. Texts go no further than this.

Batches of texts are spread over processes; what comes back is numbers, in the order of the notes, so the result does
not depend on how many processes there are or which is fastest.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from harness.cohort.notes.context import Context, Polarity, check_installed
from harness.cohort.notes.matcher import Matcher
from harness.sentences import split

MAX_PROCESSES = 8
BATCHES_AHEAD = 2  # per process: enough to keep it busy, few enough to keep texts out of memory


@dataclass(frozen=True)
class Mentions:
    """Distinct terms of notes, a row each; notes in order, terms in order inside a note."""

    note: NDArray[np.int64]
    """Number of the note among those scanned, shape (n_mentions,)."""
    term: NDArray[np.int64]
    """Index into the lexicon."""
    is_absent: NDArray[np.bool_]
    """The note denies the term and states it nowhere."""
    n_aside: int
    """Terms that notes hold only as a relative's or as a possibility; they are in no row."""


class Scanner:
    """Finds and judges terms; one per process, because its automata do not travel."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._matcher = Matcher(terms)
        self._context = Context()

    def scan(self, texts: Sequence[str]) -> Mentions:
        """The mentions of a batch of notes, numbered from 0."""
        note: list[int] = []
        term: list[int] = []
        absent: list[bool] = []
        n_aside = 0
        for number, text in enumerate(texts):
            for one, polarity in sorted(self.terms_of(text).items()):
                if polarity is Polarity.ASIDE:
                    n_aside += 1
                    continue
                note.append(number)
                term.append(one)
                absent.append(polarity is Polarity.ABSENT)
        return Mentions(np.array(note, np.int64), np.array(term, np.int64), np.array(absent, np.bool_), n_aside)

    def terms_of(self, text: str) -> dict[int, Polarity]:
        """Term to what the note as a whole says of it: stated somewhere, else denied somewhere, else neither."""
        held: dict[int, Polarity] = {}
        for span in split(text):
            sentence = " ".join(text[span.start : span.end].split())
            found = self._matcher.find(sentence)
            if not found:
                continue
            judged = self._context.judge(sentence, [(one.start, one.end) for one in found])
            for one, polarity in zip(found, judged, strict=True):
                held[one.term] = max(polarity, held.get(one.term, Polarity.ASIDE))
        return held


def scan_batches(terms: Sequence[str], batches: Iterable[Sequence[str]], *, n_processes: int) -> Mentions:
    """The mentions of all notes, numbered through.

    Args:
        terms: The lexicon; mentions index it.
        batches: Texts, batch by batch; only a few batches are held at a time.
        n_processes: 1 works in this process.

    Raises:
        ConfigError: A package is missing, or the lexicon has terms that no text can tell apart.
    """
    check_installed()
    Matcher(terms)  # an unusable lexicon is found here, before any process starts
    if n_processes == 1:
        here = Scanner(terms)
        return _joined((len(batch), here.scan(batch)) for batch in batches)
    with ProcessPoolExecutor(
        n_processes, mp_context=get_context("spawn"), initializer=_start, initargs=(tuple(terms),)
    ) as pool:
        return _joined(_in_order(pool, batches, n_processes * BATCHES_AHEAD))


def available_processes() -> int:
    """Processors that this process may use, up to MAX_PROCESSES."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_PROCESSES, allowed)


def _in_order(
    pool: ProcessPoolExecutor, batches: Iterable[Sequence[str]], n_ahead: int
) -> Iterator[tuple[int, Mentions]]:
    waiting: deque[tuple[int, Future[Mentions]]] = deque()
    for batch in batches:
        waiting.append((len(batch), pool.submit(_scan, list(batch))))
        if len(waiting) > n_ahead:
            n_notes, done = waiting.popleft()
            yield n_notes, done.result()
    for n_notes, done in waiting:
        yield n_notes, done.result()


def _joined(parts: Iterable[tuple[int, Mentions]]) -> Mentions:
    notes, terms, absent = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.bool_)]
    n_notes = n_aside = 0
    for n_here, part in parts:
        notes.append(part.note + n_notes)
        terms.append(part.term)
        absent.append(part.is_absent)
        n_notes += n_here
        n_aside += part.n_aside
    return Mentions(np.concatenate(notes), np.concatenate(terms), np.concatenate(absent), n_aside)


# -- in a worker process -----------------------------------------------------------------------------------------------

_scanners: list[Scanner] = []  # the one of this process, built when it starts


def _start(terms: tuple[str, ...]) -> None:
    _scanners.append(Scanner(terms))


def _scan(texts: list[str]) -> Mentions:
    return _scanners[0].scan(texts)
