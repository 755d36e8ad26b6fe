"""Geometry of the learning curve: scores against gold sentences on a log axis, and mixes at their gold equivalents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.learning_curve import FITS, MAX_REACH, MIN_POINTS, Fit
from harness.reports.plots import Tick, nice_step

WIDTH, HEIGHT = 520.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 14.0, 40.0
ROOM = 1.15  # factor of gold sentences left free at both ends
N_LINE = 60  # places at which a fitted curve is drawn
MIN_GAP = 34.0  # between two labelled ticks


@dataclass(frozen=True)
class Point:
    """Gold alone, as it was measured."""

    index: int
    mix: str
    n_gold: int
    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Read:
    """A mix with an arm: its gold, its score, and the gold that alone would score the same."""

    index: int
    mix: str
    n_gold: int
    score: float
    gold_equivalent: float
    words: str


@dataclass(frozen=True)
class Mark:
    """A marker with a line: an interval from `y_low` to `y_high`, or a way from `x_from` to the marker."""

    index: int
    x: float
    y: float
    title: str
    y_low: float | None = None
    y_high: float | None = None
    x_from: float | None = None


@dataclass(frozen=True)
class CurvePlot:
    """What the template draws, in SVG user units."""

    points: tuple[Mark, ...]
    reads: tuple[Mark, ...]
    line: str
    beyond: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def curve_plot(points: Sequence[Point], reads: Sequence[Read], fit: Fit) -> CurvePlot | None:
    """The plot, or None where there are too few different amounts of gold for this fit.

    Args:
        points: Gold alone; those with the same number of sentences count as one, at their mean.
        reads: Mixes that could be read off the curve.
        fit: Which curve to draw.
    """
    n = sorted({point.n_gold for point in points})
    if len(n) < MIN_POINTS[fit]:
        return None
    known = [*n, *(read.gold_equivalent for read in reads if read.gold_equivalent > 0), *_gold_of(reads)]
    first, last = min(known) / ROOM, max(known) * ROOM
    x = _log_scale(first, last)
    heights = [one for point in points for one in (point.low, point.score, point.high) if one is not None]
    y, y_ticks = _score_scale([*heights, *(read.score for read in reads)])
    means = [float(np.mean([point.score for point in points if point.n_gold == one])) for one in n]
    curve = FITS[fit](np.array(n, dtype=np.float64), np.array([means]))

    def line(start: float, end: float) -> str:
        if end <= start:
            return ""
        places = np.geomspace(start, end, N_LINE)
        return " ".join(f"{x(one):.1f},{y(score):.1f}" for one, score in zip(places, curve.at(places)[0], strict=True))

    reach = MAX_REACH if fit == "power" else 1.0
    beyond = (line(max(first, n[0] / reach), n[0]), line(n[-1], min(last, n[-1] * reach)))
    return CurvePlot(
        points=tuple(_point_mark(point, x, y) for point in points),
        reads=tuple(
            Mark(one.index, x(one.gold_equivalent), y(one.score), one.words, x_from=x(one.n_gold or first))
            for one in reads
        ),
        line=line(n[0], n[-1]),
        beyond=tuple(one for one in beyond if one),
        x_ticks=_ticks(n, x),
        y_ticks=y_ticks,
    )


def _gold_of(reads: Sequence[Read]) -> list[int]:
    return [read.n_gold for read in reads if read.n_gold]


def _point_mark(point: Point, x: Callable[[float], float], y: Callable[[float], float]) -> Mark:
    title = f"{point.mix}: {point.n_gold:,} gold sentences score {point.score:.3f}"
    low, high = (None if one is None else y(one) for one in (point.low, point.high))
    return Mark(point.index, x(point.n_gold), y(point.score), title, low, high)


def _log_scale(first: float, last: float) -> Callable[[float], float]:
    span = math.log(last / first)

    def x(n: float) -> float:
        place = math.log(min(max(n, first), last) / first) / span
        return round(LEFT + place * (WIDTH - LEFT - RIGHT), 1)

    return x


def _score_scale(scores: Sequence[float]) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    """An axis over whole steps that holds every score, and its ticks."""
    step = nice_step(max(max(scores) - min(scores), 0.02))
    low, high = math.floor(min(scores) / step + 1e-9), math.ceil(max(scores) / step - 1e-9)
    high = max(high, low + 1)

    def y(score: float) -> float:
        return round(HEIGHT - BOTTOM - (score / step - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    return y, tuple(Tick(y(k * step), f"{k * step:.3g}") for k in range(low, high + 1))


def _ticks(n: Sequence[int], x: Callable[[float], float]) -> tuple[Tick, ...]:
    """The amounts of gold themselves, from the largest down as far as their numbers do not run into each other."""
    kept: list[Tick] = []
    for one in reversed(n):
        if not kept or kept[-1].position - x(one) >= MIN_GAP:
            kept.append(Tick(x(one), f"{one:,}"))
    return tuple(reversed(kept))
