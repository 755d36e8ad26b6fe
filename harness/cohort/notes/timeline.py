"""Where in time the stages of a trajectory lie, and how long each patient is observed in each stretch of it. Pure.

A note does not say its patient's stage. The trajectory does, up to a shift of every boundary between patients: at a
moment t the number of boundaries already passed is a sum of independent yes/no events with probabilities
Phi((t - boundary) / jitter), and that number is the stage.

Legend: P patients, B bins of time, S stages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.cohort.notes.read import DAYS_PER_YEAR, years_of
from harness.schemas.trajectory import Trajectory

BIN_YEARS = 0.5
POINTS_PER_BIN = 25  # of the midpoint rule that averages over a bin; the curves are smooth at that scale
JITTER_DRAWS = 4000  # behind the spread of a year's expected notes between patients


@dataclass(frozen=True)
class Timeline:
    """Bins of the window and the stages in them.

    Attributes:
        edges: In years relative to time 0, shape (B + 1,).
        stage_share: Share of each bin that patients spend in each stage, shape (B, S); rows add up to 1.
        nominal: Stage of each bin's middle when no boundary moves, shape (B,).
    """

    edges: NDArray[np.float64]
    stage_share: NDArray[np.float64]
    nominal: NDArray[np.int64]

    def bin_of(self, years: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.clip(np.searchsorted(self.edges, years, side="right") - 1, 0, len(self.edges) - 2).astype(np.int64)


def build_timeline(trajectory: Trajectory) -> Timeline:
    """Bins of half a year over the window; the last one may be shorter."""
    start, end = trajectory.time_axis.window
    edges = np.append(np.arange(start, end - BIN_YEARS / 2, BIN_YEARS), end)
    inside = (np.arange(POINTS_PER_BIN) + 0.5) / POINTS_PER_BIN
    at = edges[:-1, None] + inside * np.diff(edges)[:, None]  # (B, points)
    shares = stage_probability(trajectory, at.ravel()).reshape(*at.shape, -1).mean(axis=1)
    middle = (edges[:-1] + edges[1:]) / 2
    nominal = np.searchsorted(np.array(trajectory.boundaries), middle, side="right").astype(np.int64)
    return Timeline(edges=edges, stage_share=shares, nominal=nominal)


def stage_probability(trajectory: Trajectory, years: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each stage at each moment, shape (n, S)."""
    jitter = trajectory.stage_jitter_years.v
    probability = np.zeros((len(years), len(trajectory.stages)))
    probability[:, 0] = 1.0
    for boundary in trajectory.boundaries:
        distance = years - boundary
        passed = (distance >= 0).astype(np.float64) if jitter == 0 else _normal_cdf(distance / jitter)
        moved = probability * passed[:, None]
        probability = probability - moved
        probability[:, 1:] += moved[:, :-1]  # the last stage has no boundary left to pass
    return probability


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * math.erfc(-one / math.sqrt(2.0)) for one in z])


def stage_times(trajectory: Trajectory, rng: np.random.Generator) -> NDArray[np.float64]:
    """Years that simulated patients spend in each stage in each year of the window, shape (draws, years, S)."""
    start, end = trajectory.time_axis.window
    inner = np.array(trajectory.boundaries)
    moved = np.sort(inner + rng.normal(0.0, trajectory.stage_jitter_years.v, size=(JITTER_DRAWS, len(inner))), axis=1)
    ends = np.full((JITTER_DRAWS, 2), (start, end))
    edges = np.column_stack([ends[:, :1], np.clip(moved, start, end), ends[:, 1:]])
    years = np.arange(start, end)
    inside = np.clip(edges[:, None, :], years[:, None], np.minimum(years + 1, end)[:, None])  # (draws, Y, S + 1)
    return np.diff(inside, axis=2)


def observed_days(
    timeline: Timeline, first: NDArray[np.int64], last: NDArray[np.int64], *, ends_open: bool
) -> NDArray[np.int64]:
    """Days on which each patient could have had a further note, by bin, shape (P, B).

    A record is taken to open with the patient's first note, and to last to the end of the window; where the window goes
    on after the diagnosis, nobody knows for how long a patient was followed, and it closes with the last note. The
    notes that open or close a record are conditions, not observations, and are counted in no rate.

    Args:
        timeline: Of the trajectory.
        first: Days before the diagnosis of the first note, shape (P,).
        last: The same of the last note.
        ends_open: Whether the record closes with the last note.
    """
    edges = np.floor(timeline.edges * DAYS_PER_YEAR)  # whole days
    begin = np.floor(years_of(first) * DAYS_PER_YEAR)
    end = np.floor(years_of(last) * DAYS_PER_YEAR) if ends_open else np.full(len(last), edges[-1])
    inside = np.clip(edges, begin[:, None], np.maximum(begin, end)[:, None])
    return np.diff(inside, axis=1).astype(np.int64)
