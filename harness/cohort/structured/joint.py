"""The joint of the demographics that says no more than the counts that may be shown.

Iterative proportional fitting from independence: shown margins and cells are met, the hidden cells of a table share
what is left of it as independence would have it. Two-way shares are then read off this one joint, so that together
they belong to some population, which tables completed one by one, or drowned in noise one by one, need not.
`harness.raking` refuses targets that contradict each other; this fit, whose targets may be noise, goes as near as it
can and says how near.

Source: Deming and Stephan, Annals of Mathematical Statistics 11 (1940) 427; maximum entropy given the shown figures:
Csiszar, Annals of Probability 3 (1975) 146.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CYCLES = 1000
CLOSE = 1e-10


def fit_joint(
    margins: Sequence[NDArray[np.float64]], pairs: Mapping[tuple[int, int], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], float]:
    """Fit a joint to margins and two-way tables.

    Args:
        margins: Shares of each variable, in the order of the axes, each adding up to 1.
        pairs: Axes to two-way shares; nan where a cell is hidden.

    Returns:
        The joint, shape (n_levels of variable 1, ...), adding up to 1; and the largest gap left to a figure (above
        0 where private counts contradict each other).
    """
    joint = np.ones(())
    for shares in margins:
        joint = np.multiply.outer(joint, shares)
    for _ in range(MAX_CYCLES):
        for axes, wanted in pairs.items():
            joint = _fit(joint, axes, _complete(pair_of(joint, axes), wanted))
        for axis, shares in enumerate(margins):
            joint = _fit(joint, (axis,), shares)
        gap = max((_gap(pair_of(joint, axes), wanted) for axes, wanted in pairs.items()), default=0.0)
        if gap < CLOSE:
            break
    return joint, gap


def pair_of(joint: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Shares over some axes, in the order of the joint."""
    shares: NDArray[np.float64] = joint.sum(axis=tuple(axis for axis in range(joint.ndim) if axis not in axes))
    return shares


def _complete(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The wanted table with its hidden cells in the proportions found, adding up to what the shown ones leave."""
    hidden = np.isnan(wanted)
    if not hidden.any():
        return wanted
    left = max(0.0, 1 - float(np.nansum(wanted)))
    total = float(found[hidden].sum())
    return np.where(hidden, found * (left / total if total else 0.0), wanted)


def _fit(joint: NDArray[np.float64], axes: tuple[int, ...], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    found = pair_of(joint, axes)
    factor = np.divide(wanted, found, out=np.zeros_like(found), where=found > 0)
    shape = tuple(joint.shape[axis] if axis in axes else 1 for axis in range(joint.ndim))
    fitted: NDArray[np.float64] = joint * factor.reshape(shape)
    return fitted


def _gap(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float(np.nanmax(np.abs(found - wanted))) if (~np.isnan(wanted)).any() else 0.0
