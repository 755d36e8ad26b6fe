"""The privacy ledger: what releases have cost, so that a budget cannot be spent twice.

One JSON file. Every release that was ever drawn into it counts, whatever cohort file it came from: the same people may
be in both, and their losses add up. A release is written here, answers and cost together, before anything is made of
it; asked the same question of the same counts again, the harness takes the answers from here and spends nothing.
The file lies in the run folder, out of reach of `--force`, unless the recipe names one that several runs share.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from harness.errors import ConfigError, DataError
from harness.schemas.base import Settings
from harness.store import write_json

SLACK = 1e-9


class Release(Settings):
    """One drawn release."""

    release_id: str
    """Hash of the exact counts and the queries."""
    epsilon: float = Field(gt=0)
    queries: dict[str, float]
    """Query to its part of epsilon."""
    answers: dict[str, tuple[int, ...]]
    """Query to noisy counts."""


class Ledger(Settings):
    releases: tuple[Release, ...] = ()

    @property
    def spent(self) -> float:
        return sum(release.epsilon for release in self.releases)


def draw_once(
    path: Path,
    *,
    release_id: str,
    queries: Mapping[str, float],
    total_epsilon: float,
    draw: Callable[[], Mapping[str, Sequence[int]]],
) -> tuple[Release, Ledger]:
    """The release of this id: from the ledger, or drawn and charged to it.

    Args:
        path: The ledger; it need not exist.
        release_id: What is asked of which counts.
        queries: Query to its part of the budget.
        total_epsilon: What all releases in the ledger may cost together.
        draw: Draws the noise.

    Returns:
        The release, and the ledger that holds it.

    Raises:
        ConfigError: The budget is used up; nothing was drawn.
        DataError: The ledger cannot be read.
    """
    with _locked(path):
        ledger = _read(path)
        for release in ledger.releases:
            if release.release_id == release_id:
                return release, ledger
        epsilon = sum(queries.values())
        if ledger.spent + epsilon > total_epsilon + SLACK:
            raise ConfigError(
                f"{path}: the privacy budget is used up: found {len(ledger.releases)} release(s) that cost "
                f"{ledger.spent:g} together, and this one needs {epsilon:g}; allowed in all: {total_epsilon:g} "
                "(cohort.privacy.total_epsilon); go back to the settings of the earlier release, or raise the total "
                "if the people's privacy allows it"
            )
        release = Release(
            release_id=release_id,
            epsilon=epsilon,
            queries=dict(queries),
            answers={name: tuple(values) for name, values in draw().items()},
        )
        ledger = Ledger(releases=(*ledger.releases, release))
        write_json(path, ledger.model_dump(mode="json"))
        return release, ledger


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time, also where several run folders share the ledger."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Ledger:
    """The ledger; one that is broken is an error, never a fresh start."""
    if not path.exists():
        return Ledger()
    try:
        return Ledger.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(
            f"{path}: not a readable privacy ledger ({type(error).__name__}); restore it from a copy: without it "
            "nobody knows what has been spent"
        ) from None
