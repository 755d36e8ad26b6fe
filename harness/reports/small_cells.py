"""Which cells of the gold set's statistics are too small to be shown, and which others would give them away.

A cell is a subgroup level and a class (or all classes) of one split; its size is its number of patients. Every value of
a report rests on such a cell, so that what is decided here is decided once for all tables. Sentences of the levels of a
variable, and of the classes of a level, add up to totals that are shown. Three rules, repeated until none applies:

* Cells of fewer patients than the limit are hidden, those of nobody among them (that nobody is in a cell says something
  about everybody outside it); only a level or a class that nobody has in any split is no secret.
* What lies in a hidden level, or belongs to a hidden class, is hidden.
* No hidden cell follows from what is shown. In one sum at least two cells are hidden, and they rest on at least as many
  patients as the limit together; over all sums of the split, no hidden cell is determined by the linear equations.

Not taken into account: bounds that follow because counts are not negative, over several sums at once.

Sources: CMS Cell Size Suppression Policy (recalled); Willenborg and de Waal, Elements of Statistical Disclosure Control
(2001), ch. 4, for complementary suppression and the linear attack (recalled).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

ALL, OVERALL = "all", "overall"
ZERO = 1e-9  # of the coordinates of a null space, which is orthonormal


class Cell(NamedTuple):
    variable: str
    level: str
    label: str


class Sum(NamedTuple):
    """Cells whose sentences add up to those of another cell."""

    parts: tuple[Cell, ...]
    total: Cell


def hidden_cells(n_patients: Mapping[Cell, int], limit: int) -> frozenset[Cell]:
    """Cells of one split that may not be shown.

    Args:
        n_patients: Patients behind each cell; the cells of every variable, those of all classes together (`all`) and
            those of all levels together (`overall`, `all`) included.
        limit: Smallest number of patients that is shown.
    """
    sums = _sums(n_patients)
    hidden = {cell for cell, n in n_patients.items() if n < limit}
    while True:
        hidden |= {cell for cell in n_patients if hidden & _around(cell)}
        partner = _missing_partner(sums, hidden, n_patients, limit) or _partner_of_determined(sums, hidden, n_patients)
        if partner is None:
            return frozenset(hidden)
        hidden.add(partner)


def _around(cell: Cell) -> set[Cell]:
    """The totals that a cell is a part of."""
    return {cell._replace(label=ALL), Cell(OVERALL, ALL, cell.label)} - {cell}


def _sums(cells: Mapping[Cell, int]) -> list[Sum]:
    over_levels: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    over_classes: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in sorted(cells):
        if cell.variable != OVERALL:
            over_levels[cell.variable, cell.label].append(cell)
        if cell.label != ALL:
            over_classes[cell.variable, cell.level].append(cell)
    found = [Sum(tuple(parts), Cell(OVERALL, ALL, label)) for (_, label), parts in over_levels.items()]
    found += [Sum(tuple(parts), Cell(*place, ALL)) for place, parts in over_classes.items()]
    return [one for one in found if one.total in cells]


def _missing_partner(sums: Sequence[Sum], hidden: set[Cell], n_patients: Mapping[Cell, int], limit: int) -> Cell | None:
    """The cell to hide next because the hidden ones of a sum are too few, or rest on too few patients together."""
    for parts, total in sums:
        unseen = [cell for cell in parts if cell in hidden]
        seen = [cell for cell in parts if cell not in hidden]
        if total in hidden or not unseen or not seen:
            continue
        # Patients may be in several cells, so their union lies between the largest and the sum.
        rest = n_patients[total] - sum(n_patients[cell] for cell in seen)
        together = max(rest, *(n_patients[cell] for cell in unseen))
        if len(unseen) < 2 or together < limit:
            return _smallest(seen, n_patients)
    return None


def _partner_of_determined(sums: Sequence[Sum], hidden: set[Cell], n_patients: Mapping[Cell, int]) -> Cell | None:
    """The cell to hide next because the sums taken together determine a hidden one."""
    for cell in determined(sums, hidden):
        seen = {other for parts, total in sums if cell in (*parts, total) for other in parts if other not in hidden}
        if seen:
            return _smallest(sorted(seen), n_patients)
    return None


def determined(sums: Sequence[Sum], hidden: set[Cell]) -> Iterator[Cell]:
    """Hidden cells that have one value only in every solution of the sums, given all cells that are shown."""
    unknown = sorted(hidden)
    if not unknown:
        return
    place = {cell: index for index, cell in enumerate(unknown)}
    matrix = np.zeros((len(sums), len(unknown)))
    for row, (parts, total) in enumerate(sums):
        for cell, sign in (*((part, 1.0) for part in parts), (total, -1.0)):
            if cell in place:
                matrix[row, place[cell]] = sign
    _, sizes, directions = np.linalg.svd(matrix)
    free = directions[int((sizes > ZERO).sum()) :]  # (n_free, n_unknown): how unknown cells can move together
    fixed = (np.abs(free) < ZERO).all(axis=0)
    yield from (cell for cell in unknown if fixed[place[cell]])


def _smallest(cells: Sequence[Cell], n_patients: Mapping[Cell, int]) -> Cell:
    return min(cells, key=lambda cell: (n_patients[cell], cell))
