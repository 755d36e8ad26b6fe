"""Whole people from fractional targets: quotas instead of independent draws.

Independent draws of N people miss a share by about sqrt(p (1 - p) / N); quotas miss it by less than 1 / N.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INTEGER = 1e-7  # a cell this close to a whole number is one
FIT_CYCLES = 500


def largest_remainder(shares: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Whole numbers that add up to `n`, each within 1 of `n * share`; ties go to the earlier one.

    Source: Hamilton's method; Balinski and Young, Fair Representation (1982), ch. 3.
    """
    exact = shares / shares.sum() * n
    counts: NDArray[np.int64] = np.floor(exact + INTEGER).astype(np.int64)
    order = np.argsort(-np.round(exact - counts, 9), kind="stable")  # rounded, so that ties are ties on every machine
    counts[order[: n - int(counts.sum())]] += 1
    return counts


def fit_table(
    table: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Rake a two-way table to whole row and column sums; None where its zeros do not allow them."""
    fitted: NDArray[np.float64] = table.astype(np.float64)
    for _ in range(FIT_CYCLES):
        sums = fitted.sum(axis=0)
        fitted = fitted * np.divide(columns, sums, out=np.zeros_like(sums), where=sums > 0)
        sums = fitted.sum(axis=1)
        fitted = fitted * np.divide(rows, sums, out=np.zeros_like(sums), where=sums > 0)[:, None]
        if np.abs(fitted.sum(axis=0) - columns).max() < INTEGER / 100:
            return fitted
    return None


def close_columns(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add a row that makes every column sum whole; row sums must be whole already."""
    sums = table.sum(axis=0)
    slack = np.ceil(sums - INTEGER) - sums
    return np.vstack([table, np.clip(slack, 0.0, None)])


def round_table(table: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Round a table with whole row and column sums so that both stay, and every cell moves by less than 1, unbiased.

    Fractional cells lie on cycles that alternate between rows and columns; each step shifts mass around one cycle, in a
    random direction that leaves every cell's expectation alone, until one of its cells is whole.

    Args:
        table: Non-negative, shape (n_rows, n_columns).
        rng: Decides the directions.

    Source: Cox, JASA 82 (1987) 520 (controlled rounding); Gandhi et al., J. ACM 53 (2006) 324 (dependent rounding).
    """
    base = np.floor(table + INTEGER)
    part = np.clip(table - base, 0.0, 1.0)
    part[part < INTEGER] = 0.0
    while (cycle := _cycle(part > 0)) is not None:
        rows, columns = cycle[:, 0], cycle[:, 1]
        sign = np.where(np.arange(len(cycle)) % 2 == 0, 1.0, -1.0)
        values = part[rows, columns]
        up = float(np.where(sign > 0, 1 - values, values).min())
        down = float(np.where(sign > 0, values, 1 - values).min())
        step = up if rng.random() < down / (up + down) else -down
        values = values + sign * step
        values[values < INTEGER] = 0.0
        whole = values > 1 - INTEGER
        base[rows[whole], columns[whole]] += 1
        values[whole] = 0.0
        part[rows, columns] = values
    # What is left has no cycle: whole sums allow that only for crumbs of floating-point error.
    return (base + np.rint(part)).astype(np.int64)


def _cycle(fractional: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Cells of one cycle, shape (n, 2), consecutive ones sharing a row, then a column; None where there is none."""
    n_columns = fractional.sum(axis=1)
    n_rows = fractional.sum(axis=0)
    live = fractional.copy()
    # A row or column with a single fractional cell is on no cycle.
    while ((n_columns == 1).any() or (n_rows == 1).any()) and live.any():
        live[n_columns == 1, :] = False
        live[:, live.sum(axis=0) == 1] = False
        n_columns, n_rows = live.sum(axis=1), live.sum(axis=0)
    if not live.any():
        return None
    row = int(np.flatnonzero(live.any(axis=1))[0])
    column = int(np.flatnonzero(live[row])[0])
    path: list[tuple[int, int]] = []
    seen: dict[int, int] = {}  # row -> position in the path at which it was entered
    while row not in seen:
        seen[row] = len(path)
        path.append((row, column))
        others = np.flatnonzero(live[row])
        leave = int(others[others != column][0])
        path.append((row, leave))
        below = np.flatnonzero(live[:, leave])
        row, column = int(below[below != row][0]), leave
    return np.array(_close(path, seen[row], column), dtype=np.int64)


def _close(path: list[tuple[int, int]], start: int, column: int) -> list[tuple[int, int]]:
    """Cut the walk to its cycle, which came back by `column` to the row that it had entered at `start`."""
    cycle = path[start:]
    row, entered = cycle[0]
    if entered == column:
        return cycle
    # It came back by another column than it went in by: the entry cell is not on the cycle.
    if cycle[1][1] == column:
        return cycle[2:]
    return [(row, column), *cycle[1:]]


def scale_to(weights: NDArray[np.float64], total: float, *, limit: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Amounts proportional to `weights`, none above its `limit`, that add up to `total`.

    Args:
        weights: Non-negative, shape (n,).
        total: Not negative; where the limits of weights above 0 do not reach it, all of these are filled.
        limit: Non-negative, shape (n,) or one for all.
    """
    limits = np.broadcast_to(np.asarray(limit, dtype=np.float64), weights.shape)
    full = np.zeros(len(weights), dtype=np.bool_)
    while True:
        free = np.where(full, 0.0, weights)
        left = total - float(limits[full].sum())
        amounts: NDArray[np.float64] = np.where(full, limits, free * (left / free.sum() if free.sum() > 0 else 0.0))
        above = ~full & (amounts > limits)
        if not above.any():
            return amounts
        full |= above
