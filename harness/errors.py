"""The errors a user can meet. Each says what is wrong, where, what was found and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAX_FAULTS_SHOWN = 20


class HarnessError(Exception):
    """Base of every error that is the user's to mend; the command line prints it and exits with 2."""


class ConfigError(HarnessError):
    """A recipe, mix or task that cannot be used as written."""


class DataError(HarnessError):
    """A table or file whose content breaks its contract."""


class BackendError(HarnessError):
    """A model or server that cannot be loaded or reached, or that answers nonsense throughout."""


class SpendingError(HarnessError):
    """A cap on tokens or money that the next request could break; nothing is lost, and a higher cap goes on."""


class TrainingError(HarnessError):
    """A fine-tuning process that ended without an adapter."""


class DivergedError(TrainingError):
    """A fine-tuning run whose loss is no longer a number."""


class DiskFullError(HarnessError):
    """No space left where a table was to be written; the half-written file has been removed."""


class Faults:
    """Collects faults so that a user mends all of them in one go.

    ```
    with collect_faults(DataError, "gold.jsonl") as faults:
        faults.add("row 3, column 'label': found 'memry'; allowed: memory, other")
    ```
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.messages: list[str] = []

    def add(self, message: str) -> None:
        self.messages.append(message)

    def extend(self, messages: Iterable[str]) -> None:
        self.messages.extend(messages)

    def render(self) -> str:
        n = len(self.messages)
        head = f"{self.where}: {n} fault{'s' if n != 1 else ''}"
        shown = [f"  - {message}" for message in self.messages[:MAX_FAULTS_SHOWN]]
        if n > MAX_FAULTS_SHOWN:
            shown.append(f"  ... and {n - MAX_FAULTS_SHOWN} more")
        return "\n".join([head, *shown])


@contextmanager
def collect_faults(error: type[HarnessError], where: str) -> Iterator[Faults]:
    """Raise one `error` at the end of the block that lists every fault added inside it."""
    faults = Faults(where)
    yield faults
    if faults.messages:
        raise error(faults.render())


def nearest(name: str, known: Iterable[str]) -> str:
    """Hint for a mistyped name: "; did you mean 'x'?" or the empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
