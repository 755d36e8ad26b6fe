"""Replies on disk, by content: an interrupted generation goes on at the request where it stopped.

One SQLite file beside the table it serves. Replies that come together are one transaction, so that after a SIGKILL a
reply is there in full or not at all. Prompts are kept as hashes only. Failed requests are not kept: the next run asks
again.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.backends.base import UNMETERED, Answered, Backend, Meter, Reply, Request, Sample, request_key
from harness.errors import DiskFullError

log = logging.getLogger(__name__)

COLUMNS = tuple(field.name for field in fields(Reply))
SCHEMA = """CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, status TEXT NOT NULL, text TEXT NOT NULL, reason TEXT, finish_reason TEXT,
    n_prompt_tokens INTEGER, n_completion_tokens INTEGER
) WITHOUT ROWID"""
SECONDS_BETWEEN_COMMITS = 0.5  # what a SIGKILL can cost
KEYS_PER_QUERY = 500  # below SQLite's limit on host parameters in every build


def cache_files(name: str) -> tuple[str, str]:
    """The cache and SQLite's rollback journal: after a kill in mid-transaction both are needed to read it again."""
    return (name, f"{name}-journal")


class ReplyCache:
    """Key to reply. Open it in a `with` block.

    Raises:
        DiskFullError: No space left for a reply; what was written before stays readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = _open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, keys: Sequence[str]) -> dict[str, Reply]:
        found: dict[str, Reply] = {}
        for start in range(0, len(keys), KEYS_PER_QUERY):
            part = keys[start : start + KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, {', '.join(COLUMNS)} FROM replies WHERE key IN ({marks})"  # noqa: S608 - marks only
            found.update({key: Reply(*values) for key, *values in self._connection.execute(query, part)})
        return found

    def put(self, replies: Sequence[tuple[str, Reply]]) -> None:
        rows = [(key, *astuple(reply)) for key, reply in replies if reply.status == "ok"]
        marks = ",".join("?" * (len(COLUMNS) + 1))
        try:
            with self._connection:
                self._connection.executemany(f"INSERT OR REPLACE INTO replies VALUES ({marks})", rows)  # noqa: S608
        except sqlite3.OperationalError as error:
            if "full" in str(error) or "disk I/O" in str(error):
                raise DiskFullError(f"{self.path}: no space left on the disk; free some and run again") from error
            raise


def ask(
    backend: Backend, requests: Sequence[Request], sample: Sample, cache: ReplyCache, meter: Meter = UNMETERED
) -> Generator[Answered, None, None]:
    """Replies to all requests, from the cache where it has them, else from the backend and into the cache.

    Args:
        backend: Who writes.
        requests: What to write.
        sample: How.
        cache: Where finished replies are kept.
        meter: Counts what a server is asked, and stops at the recipe's caps; replies from the cache cost nothing.

    Yields:
        (index into `requests`, reply) in groups; each index once. Close it before the cache.
    """
    for group in backend.batches(requests):
        members = [requests[index] for index in group]
        scope = backend.scope(members)
        keys = [request_key(backend.identity, request, sample, scope) for request in members]
        known = cache.get(keys)
        if known:
            yield [(index, known[key]) for index, key in zip(group, keys, strict=True) if key in known]
        asked = [place for place, key in enumerate(keys) if key not in known]
        if not asked:
            continue
        with _Committing(cache) as committing:
            for answered in backend.generate([members[place] for place in asked], sample, meter):
                committing.add([(keys[asked[one]], reply) for one, reply in answered])
                yield [(group[asked[one]], reply) for one, reply in answered]


def count_replies(path: Path) -> int:
    """Replies that a cache holds; 0 where there is none or it cannot be read."""
    if not path.is_file():
        return 0
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM replies").fetchone()[0])
        except sqlite3.DatabaseError:
            return 0


class _Committing:
    """Gathers replies that come one by one: a commit waits for the disk, so there are at most two a second.

    It waits in a thread, because a server's next requests are sent by whoever would wait here: 16 ms of disk twice a
    second made a client with 32 requests in flight 3% slower. The cache is not read while a commit is under way.
    """

    def __init__(self, cache: ReplyCache) -> None:
        self._cache = cache
        self._waiting: list[tuple[str, Reply]] = []
        self._last = time.monotonic()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._commit: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._thread:
            self._start()
            if self._commit is not None:
                self._commit.result()

    def add(self, replies: Sequence[tuple[str, Reply]]) -> None:
        self._waiting += replies
        if time.monotonic() - self._last >= SECONDS_BETWEEN_COMMITS:
            self._start()

    def _start(self) -> None:
        """Commit what has come; an error of the commit before is raised here."""
        if self._commit is not None:
            self._commit.result()
        if self._waiting:
            self._commit = self._thread.submit(self._cache.put, self._waiting)
        self._waiting, self._last = [], time.monotonic()


def _open(path: Path) -> sqlite3.Connection:
    """A damaged file is started afresh: it holds nothing that cannot be asked again."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise DiskFullError(f"{path}: cannot be opened for writing ({error}); is the disk full?") from error
        log.warning("%s: not a readable request cache; it is started afresh and requests are asked again", path)
        for name in cache_files(path.name):
            (path.parent / name).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)  # used by one thread at a time
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(SCHEMA)
        connection.execute("SELECT count(*) FROM replies").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
