"""Which counts may be shown: cells under `min_cell` people are hidden, and so is what would give them away.

Zeros count as small: that nobody is in a cell says something about everybody outside it. Two rules, each with a reason
why a hidden count cannot be told to be small, whatever is subtracted from what:

* A list of counts (a margin; carriers and others by level): small levels are pooled, with the smallest of the others
  where the pool would have one level or fewer than `min_cell` people. Only the pool is shown, so each level may hold
  anything from nobody to the whole pool, which is at least `min_cell`.
* A two-way table whose margins are shown: each small cell is hidden together with three others that close a rectangle,
  so that its true count plus some d, its two neighbours less d, and the opposite corner plus d fit everything that is
  shown. The two neighbours are chosen to have room for a d that would make the small cell `min_cell` people large.

Tables are protected one by one: bounds from several two-way tables of the same people at once (Frechet bounds) are not
taken into account.

Sources: CMS cell size suppression policy (cells of 1 to 10 are not shown; recalled); Repsilber, "Preservation of
confidentiality in aggregated data", Second International Seminar on Statistical Confidentiality (1994), for the
rectangle (hypercube) method (recalled).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def pool_small(counts: NDArray[np.float64], min_cell: int) -> tuple[tuple[int, ...], ...]:
    """Groups of levels of which every count is large enough.

    Args:
        counts: Shape (n_counts, n_levels): each column's counts must all be shown or all be hidden, e.g. carriers and
            others. A margin has one row.
        min_cell: Smallest count to be shown.

    Returns:
        Level indices of each group: single levels that may be shown, in order, then the pool, if any. One group of all
        levels means that nothing by level may be shown.
    """
    n_levels = counts.shape[1]
    pool = {int(index) for index in np.flatnonzero((counts < min_cell).any(axis=0))}
    rest = sorted(set(range(n_levels)) - pool, key=lambda index: (counts[:, index].sum(), index))
    while pool and rest and (len(pool) < 2 or (counts[:, sorted(pool)].sum(axis=1) < min_cell).any()):
        pool.add(rest.pop(0))
    shown = tuple((index,) for index in range(n_levels) if index not in pool)
    return (*shown, tuple(sorted(pool))) if pool else shown


def hidden_cells(table: NDArray[np.float64], min_cell: int) -> NDArray[np.bool_]:
    """Cells of a two-way table to hide when both its margins are shown, shape of the table.

    Args:
        table: Counts; its row and column sums are `min_cell` or more.
        min_cell: Smallest count to be shown.

    Returns:
        True for small cells and the corners that protect them; all True where a small cell has no such rectangle.
    """
    small = [(int(row), int(column)) for row, column in np.argwhere(table < min_cell)]
    hidden: NDArray[np.bool_] = table < min_cell
    for row, column in sorted(small, key=lambda place: (table[place], place)):
        corner = _cheapest_corner(table, hidden, row, column, min_cell=min_cell)
        if corner is None:
            return np.ones_like(hidden)
        hidden[[row, corner[0], corner[0]], [corner[1], column, corner[1]]] = True
    return hidden


def _cheapest_corner(
    table: NDArray[np.float64], hidden: NDArray[np.bool_], row: int, column: int, *, min_cell: int
) -> tuple[int, int] | None:
    """Opposite corner of the rectangle that hides the fewest further people, of those with room; None without one."""
    need = min_cell - table[row, column]
    price = np.where(hidden, 0.0, table)
    total = price[row][None, :] + price[:, column][:, None] + price  # (rows, columns), of the opposite corner
    room = (table[row] >= need)[None, :] & (table[:, column] >= need)[:, None]
    room[row, :] = room[:, column] = False
    if not room.any():
        return None
    best = np.unravel_index(int(np.where(room, total, np.inf).argmin()), table.shape)
    return int(best[0]), int(best[1])


def collapse(table: NDArray[np.float64], groups: Mapping[int, tuple[tuple[int, ...], ...]]) -> NDArray[np.float64]:
    """Sum a table over groups of levels, axis by axis."""
    for axis, found in groups.items():
        table = np.stack([table.take(list(group), axis=axis).sum(axis=axis) for group in found], axis=axis)
    return table
