"""A progress bar on standard error where somebody is looking, and the speed for the log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from harness.backends.base import Reply


class Progress:
    """Counts replies and tokens as they come; open it in a `with` block."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TextColumn("{task.fields[speed]}"))  # fmt: skip
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task(title, total=None, speed="")
        self._title = title
        self.n_replies = 0
        self.n_tokens = 0
        self.n_rounds = 0
        self.n_open = 0
        """Requests of this round without a reply."""
        self._started = time.perf_counter()

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def start_round(self, attempt: int, n_requests: int) -> None:
        self.n_rounds, self.n_open = attempt + 1, n_requests
        self._bar.reset(self._task, total=n_requests, description=f"{self._title} round {attempt + 1}")

    def watch(self, reply: Reply) -> None:
        self.n_replies += 1
        self.n_open -= 1
        self.n_tokens += reply.n_completion_tokens or 0
        self._bar.update(self._task, advance=1, speed=f"{self.n_tokens / max(self.seconds, 1e-6):.0f} tokens/s")
