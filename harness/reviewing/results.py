"""What ratings say: how real each arm reads, whether it is told from gold, and whether people label as we do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.metrics.agreement import cohen_kappa, cross_table, exact_interval, kappa_intervals
from harness.metrics.estimate import Estimate, known, undefined
from harness.metrics.resampling import draw_patients, resample_sums
from harness.metrics.uncertainty import Interval, percentile_interval
from harness.reviewing.ratings import Rating
from harness.reviewing.sheet import REAL, SYNTHETIC, Item
from harness.schemas.mix import GOLD_ORIGIN

ALL = "all"


@dataclass(frozen=True)
class Settings:
    confidence: float
    n_replicates: int


@dataclass(frozen=True)
class Measured:
    """A value with its interval, or why there is none."""

    n: int
    value: float | None
    low: float | None
    high: float | None
    reason: str | None

    @classmethod
    def of(cls, n: int, estimate: Estimate, interval: Interval) -> Measured:
        if estimate.value is None:
            return cls(n, None, None, None, estimate.reason)
        return cls(n, estimate.value, interval.low, interval.high, interval.reason)


def of_rater(
    ratings: Mapping[str, Rating], key: Mapping[str, Item], labels: Sequence[str], settings: Settings, *,
    rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """Everything that one rater's sheet says, by origin (gold, then the arms), as JSON-able values."""
    origins = sorted({item.origin for item in key.values()}, key=lambda one: (one != GOLD_ORIGIN, one))
    rated = [(key[item_id], rating) for item_id, rating in sorted(ratings.items())]
    by_origin = {origin: [one for one in rated if one[0].origin == origin] for origin in origins}
    gold = by_origin.get(GOLD_ORIGIN, [])
    return {
        "n_items": len(key),
        "n_rated": len(rated),
        "realism": {name: asdict(realism(some, settings, rng=rng)) for name, some in by_origin.items()},
        "told_apart": {
            name: asdict(told_apart([*gold, *some], settings))
            for name, some in by_origin.items()
            if name != GOLD_ORIGIN
        },
        "called_real": {name: asdict(called_real(some, settings)) for name, some in by_origin.items()},
        "labels": {
            name: asdict(label_agreement(some, labels, settings, rng=rng))
            for name, some in {ALL: rated, **by_origin}.items()
        },
    }


def realism(rated: Sequence[tuple[Item, Rating]], settings: Settings, *, rng: np.random.Generator) -> Measured:
    """Mean realism, 1 to 5; the interval resamples patients or personas, whose sentences resemble each other."""
    values = [(item.group_id, rating.realism) for item, rating in rated if rating.realism is not None]
    if not values:
        return Measured.of(0, undefined("no item has a realism"), Interval(None, None, None))
    groups = sorted({group for group, _ in values})
    sums = np.zeros((len(groups), 2), dtype=np.int64)  # sum of realism, number of items
    for group, value in values:
        sums[groups.index(group)] += (value, 1)
    total, n = sums.sum(axis=0)
    interval = Interval(None, None, "no interval: fewer than two patients or personas")
    if len(groups) > 1:
        drawn = resample_sums(sums, draw_patients(len(groups), settings.n_replicates, rng=rng))
        interval = percentile_interval(drawn[:, 0] / drawn[:, 1], settings.confidence)
    return Measured.of(int(n), known(total / n), interval)


def told_apart(rated: Sequence[tuple[Item, Rating]], settings: Settings) -> Measured:
    """Share of right guesses among gold and one arm: 0.5 where the two cannot be told apart, 1 where they always are.

    Source: the imitation game, Turing, Mind 59 (1950) 433, in the form used for synthetic records since.
    """
    guesses = [(item.truth, rating.source) for item, rating in rated if rating.source is not None]
    if {truth for truth, _ in guesses} != {REAL, SYNTHETIC}:
        return Measured.of(len(guesses), undefined("guesses on both kinds are needed"), Interval(None, None, None))
    return _share(sum(truth == guess for truth, guess in guesses), len(guesses), settings)


def called_real(rated: Sequence[tuple[Item, Rating]], settings: Settings) -> Measured:
    """Share of an origin's items that the rater takes for real."""
    guesses = [rating.source for _, rating in rated if rating.source is not None]
    return _share(guesses.count(REAL), len(guesses), settings)


def _share(n_hits: int, n: int, settings: Settings) -> Measured:
    estimate = undefined("no item has a guess") if n == 0 else known(n_hits / n)
    return Measured.of(n, estimate, exact_interval(n_hits, n, settings.confidence))


def label_agreement(
    rated: Sequence[tuple[Item, Rating]], labels: Sequence[str], settings: Settings, *, rng: np.random.Generator
) -> Measured:
    """Cohen's kappa of the rater's label and ours."""
    pairs = [(item.group_id, item.label, rating.label) for item, rating in rated if rating.label is not None]
    return _kappa(pairs, labels, settings, rng)


def between(
    first: Mapping[str, Rating], second: Mapping[str, Rating], key: Mapping[str, Item], labels: Sequence[str],
    settings: Settings, *, rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """Kappa of two raters on the items that both answered: their labels, and their guesses of the source."""
    both = sorted(set(first) & set(second))
    fields = {"labels": ("label", labels), "sources": ("source", (REAL, SYNTHETIC))}
    found: dict[str, Any] = {}
    for name, (attribute, values) in fields.items():
        answers = [(key[one].group_id, getattr(first[one], attribute), getattr(second[one], attribute)) for one in both]
        pairs = [(group, a, b) for group, a, b in answers if a is not None and b is not None]
        found[name] = asdict(_kappa(pairs, values, settings, rng))
    return found


def _kappa(
    pairs: Sequence[tuple[str, str, str]], labels: Sequence[str], settings: Settings, rng: np.random.Generator
) -> Measured:
    by_group: dict[str, list[tuple[str, str]]] = {}
    for group, a, b in pairs:
        by_group.setdefault(group, []).append((a, b))
    tables = [cross_table([a for a, _ in some], [b for _, b in some], labels) for _, some in sorted(by_group.items())]
    stacked = np.array(tables, dtype=np.int64).reshape(len(tables), len(labels), len(labels))
    interval, _ = kappa_intervals(stacked, confidence=settings.confidence, n_replicates=settings.n_replicates, rng=rng)
    return Measured.of(len(pairs), cohen_kappa(stacked.sum(axis=0)), interval)
