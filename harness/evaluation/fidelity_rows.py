"""Rows of the fidelity table as they come up, and the intervals that resample people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.by_subgroup import Row
from harness.metrics.counts import Codes, Floats
from harness.metrics.estimate import Estimate, undefined
from harness.metrics.fidelity import MEASURES
from harness.metrics.resampling import draw_patients, resample_sums
from harness.metrics.uncertainty import Interval, percentile_interval

ALL = "all"
EVERYTHING = (ALL, ALL)
GOLD_MARK = "gold"
MIN_GROUPS = 5  # people; an interval from fewer says more about chance than about the arm


class Goal(NamedTuple):
    """What a value should be near, and the mark of that number."""

    value: float | None
    mark: str | None


@dataclass
class Rows:
    """The rows of one arm."""

    arm: str
    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        measure: str,
        found: Estimate,
        *,
        at: tuple[str, str] = EVERYTHING,
        n: int,
        goal: Goal | None = None,
        interval: Interval | None = None,
    ) -> None:
        """Add the row of `measure` at (variable, level).

        Args:
            measure: Key of MEASURES.
            found: The value, or why there is none.
            at: Variable and level.
            n: People, sentences or notes behind the value.
            goal: None where there is nothing to be near.
            interval: None where none was computed.
        """
        target = goal or Goal(None, None)
        low, high, no_interval = interval or Interval(None, None, None)
        self.rows.append({
            "arm": self.arm, "measure": MEASURES[measure].name, "variable": at[0], "level": at[1],
            "value": found.value, "ci_low": low, "ci_high": high, "target": target.value, "mark": target.mark, "n": n,
            "status": found.status, "reason": found.reason or no_interval,
        })  # fmt: skip

    def missing(self, measure: str, reason: str, *, at: tuple[str, str] = EVERYTHING, goal: Goal | None = None) -> None:
        """A row that says why there is no value."""
        self.add(measure, undefined(reason), at=at, n=0, goal=goal)


@dataclass(frozen=True)
class Resampled:
    """Multiplicities of an arm's people under each replicate, shape (n_replicates, n_people), and the confidence."""

    multiplicities: NDArray[np.uint8]
    confidence: float

    @property
    def is_enough(self) -> bool:
        return bool(self.multiplicities.shape[1] >= MIN_GROUPS)

    def interval_of_mean(self, values: Floats, groups: Codes) -> Interval | None:
        """Interval of a mean over sentences that draws people; values are taken to six decimals. None with few people.

        Args:
            values: One for each sentence, finite, shape (n_sentences,).
            groups: Person of each, a column of the multiplicities, same shape.
        """
        if not self.is_enough or not values.size:
            return None
        n_groups = self.multiplicities.shape[1]
        per_group: NDArray[Any] = np.stack(
            [np.bincount(groups, np.round(values * 1e6), n_groups), np.bincount(groups, minlength=n_groups)], axis=1
        )
        sums = resample_sums(per_group.astype(np.int64), self.multiplicities)  # (n_replicates, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return percentile_interval(sums[:, 0] / sums[:, 1] / 1e6, self.confidence)


def resample(n_groups: int, *, n_replicates: int, confidence: float, rng: np.random.Generator) -> Resampled:
    return Resampled(draw_patients(n_groups, n_replicates, rng=rng), confidence)


def codes(names: Sequence[str]) -> Codes:
    """Names as numbers from 0, in the order of their first appearance."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.intp)
