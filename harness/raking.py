"""Raking: the joint distribution nearest to a seed table that meets every target.

Cells are flat; a target says which group each cell belongs to and what share each group should have, so that margins
and two-way shares are one thing.

Source: Deming and Stephan, Annals of Mathematical Statistics 11 (1940) 427; convergence: Csiszar, Annals of
Probability 3 (1975) 146.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigError

TOLERANCE = 1e-9
CONFLICT = 1e-6  # targets still this far apart after MAX_CYCLES contradict each other
MAX_CYCLES = 2000


@dataclass(frozen=True)
class Target:
    """Wanted share of each group of cells.

    Attributes:
        name: As the user knows it, e.g. `margins.sex`.
        group: Group of each cell, shape (n_cells,).
        wanted: Share of each group, shape (n_groups,), adding up to 1.
        group_names: For messages, shape (n_groups,).
    """

    name: str
    group: NDArray[np.int64]
    wanted: NDArray[np.float64]
    group_names: tuple[str, ...]


def rake(seed: NDArray[np.float64], targets: Sequence[Target]) -> NDArray[np.float64]:
    """Fit `seed` to every target in turn until all of them hold.

    Args:
        seed: Non-negative starting table, flat, shape (n_cells,); zeros stay zeros.
        targets: At least one.

    Returns:
        Probabilities of the cells, adding up to 1, every target met to `CONFLICT` or better.

    Raises:
        ConfigError: Targets that no joint distribution can meet together, with the largest gap of each.
    """
    joint: NDArray[np.float64] = seed / seed.sum()
    for _ in range(MAX_CYCLES):
        for target in targets:
            joint = _fit(joint, target)
        gaps = [_gap(joint, target) for target in targets]
        if max(size for size, _ in gaps) < TOLERANCE:
            return joint
    if max(size for size, _ in gaps) < CONFLICT:
        return joint
    raise ConfigError(_conflict(joint, targets))


def _fit(joint: NDArray[np.float64], target: Target) -> NDArray[np.float64]:
    found = np.bincount(target.group, joint, minlength=len(target.wanted))
    impossible = np.flatnonzero((found == 0) & (target.wanted > 0))
    if impossible.size:
        names = ", ".join(target.group_names[index] for index in impossible)
        raise ConfigError(f"{target.name}: wants people in {names}, but the other targets leave nobody there")
    factor = np.divide(target.wanted, found, out=np.zeros_like(found), where=found > 0)
    fitted: NDArray[np.float64] = joint * factor[target.group]
    return fitted


def _gap(joint: NDArray[np.float64], target: Target) -> tuple[float, int]:
    """Largest distance from the target, and the group where it is."""
    distance = np.abs(np.bincount(target.group, joint, minlength=len(target.wanted)) - target.wanted)
    return float(distance.max()), int(np.round(distance, 9).argmax())  # rounded: the first of equal ones


def _conflict(joint: NDArray[np.float64], targets: Sequence[Target]) -> str:
    """Name the targets that keep undoing one another: those that are off just before their own turn."""
    lines = []
    for target in targets:
        size, group = _gap(joint, target)
        if size >= CONFLICT:
            found = float(np.bincount(target.group, joint, minlength=len(target.wanted))[group])
            lines.append(f"{target.name} wants {target.wanted[group]:.4f} of {target.group_names[group]}, "
                         f"the others leave {found:.4f}")  # fmt: skip
        joint = _fit(joint, target)
    return "targets contradict each other: " + "; ".join(lines) + "; change one of them"
