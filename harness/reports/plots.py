"""Geometry of the report's plots: numbers in, coordinates out. The templates draw them as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A forest cell and a loss panel, in SVG user units; the page scales them to the width they get.
CELL_WIDTH, CELL_HEIGHT, CELL_MARGIN = 200.0, 20.0, 12.0
PANEL_WIDTH, PANEL_HEIGHT = 360.0, 210.0
PANEL_LEFT, PANEL_RIGHT, PANEL_TOP, PANEL_BOTTOM = 42.0, 10.0, 10.0, 30.0
MAX_POINTS = 300  # more points than pixels only make the page heavier
SMOOTHING_SHARE = 0.1  # of the logged steps, on both sides together; at least 5 points
N_TICKS = 4


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high` over `width` units with a margin at both ends."""

    low: float
    high: float
    ticks: tuple[float, ...]
    width: float = CELL_WIDTH
    margin: float = CELL_MARGIN

    @property
    def labelled(self) -> tuple[float, ...]:
        """Ticks that carry a number: all of a few, or both ends and the middle."""
        return self.ticks if len(self.ticks) <= 5 else (self.ticks[0], self.ticks[len(self.ticks) // 2], self.ticks[-1])

    def x(self, value: float) -> float:
        """Position of a value; values outside the axis sit at its ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.margin + share * (self.width - 2 * self.margin), 2)


def nice_step(span: float, n_ticks: int = N_TICKS) -> float:
    """A step of 1, 2 or 5 times a power of ten that gives about `n_ticks` ticks over `span`."""
    raw = span / n_ticks
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw - 1e-12)


def share_axis() -> Axis:
    """The axis of scores between 0 and 1."""
    return Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def difference_axis(values: Sequence[float]) -> Axis:
    """An axis that is symmetric about zero and holds every value, with a tick at zero and at both ends."""
    reach = max((abs(value) for value in values), default=0.0) or 0.1
    step = nice_step(reach, 2)
    end = math.ceil(reach / step - 1e-9) * step
    n_steps = round(end / step)
    return Axis(-end, end, tuple(round(index * step, 10) for index in range(-n_steps, n_steps + 1)))


@dataclass(frozen=True)
class Line:
    """One run's curve: SVG `points` of the raw and the smoothed losses."""

    seed: int
    raw: str
    smooth: str
    first: float
    last: float
    """Smoothed losses at both ends."""
    n_steps: int


@dataclass(frozen=True)
class Tick:
    position: float
    text: str


@dataclass(frozen=True)
class Panel:
    """One mix: its runs over the same axes as every other panel."""

    mix: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def smooth(values: Sequence[float]) -> list[float]:
    """Centred running mean over a tenth of the points (at least 5); the window shrinks evenly at the ends."""
    half = max(2, int(len(values) * SMOOTHING_SHARE / 2))
    means = []
    for index in range(len(values)):
        reach = min(half, index, len(values) - 1 - index)
        window = values[index - reach : index + reach + 1]
        means.append(math.fsum(window) / len(window))
    return means


def loss_panels(curves: Sequence[tuple[str, int, Sequence[int], Sequence[float]]], mixes: Sequence[str]) -> list[Panel]:
    """Panels of (mix, seed, steps, losses), one per mix that has a finite loss, all with the same two axes."""
    finite = [
        (mix, seed, *_finite(steps, losses)) for mix, seed, steps, losses in curves if any(map(math.isfinite, losses))
    ]
    if not finite:
        return []
    last_step = max(max(steps) for _, _, steps, _ in finite) or 1
    highest = max(max(losses) for _, _, _, losses in finite) or 1.0
    y_step = nice_step(highest)
    top = math.ceil(highest / y_step - 1e-9) * y_step

    def x(step: float) -> float:
        return PANEL_LEFT + step / last_step * (PANEL_WIDTH - PANEL_LEFT - PANEL_RIGHT)

    def y(loss: float) -> float:
        return PANEL_HEIGHT - PANEL_BOTTOM - loss / top * (PANEL_HEIGHT - PANEL_TOP - PANEL_BOTTOM)

    def line(seed: int, steps: Sequence[int], losses: Sequence[float]) -> Line:
        smoothed = smooth(losses)
        keep = range(0, len(steps), max(1, math.ceil(len(steps) / MAX_POINTS)))
        raw, calm = (" ".join(f"{x(steps[i]):.1f},{y(values[i]):.1f}" for i in keep) for values in (losses, smoothed))
        return Line(seed, raw, calm, first=smoothed[0], last=smoothed[-1], n_steps=steps[-1])

    x_step = max(1.0, nice_step(float(last_step)))
    x_ticks = tuple(Tick(round(x(i * x_step), 1), f"{i * x_step:,.0f}") for i in range(int(last_step / x_step) + 1))
    y_ticks = tuple(Tick(round(y(i * y_step), 1), f"{i * y_step:g}") for i in range(round(top / y_step) + 1))
    return [
        Panel(mix, lines, x_ticks, y_ticks)
        for mix in mixes
        if (lines := tuple(line(seed, steps, losses) for name, seed, steps, losses in finite if name == mix))
    ]


def _finite(steps: Sequence[int], losses: Sequence[float]) -> tuple[list[int], list[float]]:
    pairs = [(step, loss) for step, loss in zip(steps, losses, strict=True) if math.isfinite(loss)]
    return [step for step, _ in pairs], [loss for _, loss in pairs]
