"""What is hidden stays hidden: checked against an attacker who solves for the range of every hidden cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from harness.cohort.structured.suppression import hidden_cells, pool_small
from harness.seeds import generator

MIN_CELL = 11


def attack(table: np.ndarray, hidden: np.ndarray, row: int, column: int) -> tuple[float, float]:
    """Smallest and largest count of a hidden cell that fits the margins and every shown cell."""
    places = [(int(i), int(j)) for i, j in np.argwhere(hidden)]
    equalities, totals = [], []
    left = np.where(hidden, table, 0)
    for axis in (0, 1):
        for index in range(table.shape[axis]):
            equalities.append([float(place[axis] == index) for place in places])
            totals.append(float(left.sum(axis=1 - axis)[index]))
    cost = np.array([float(place == (row, column)) for place in places])
    found = [linprog(sign * cost, A_eq=equalities, b_eq=totals, bounds=(0, None)) for sign in (1, -1)]
    return float(found[0].fun), float(-found[1].fun)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=st.integers(2, 4), columns=st.integers(2, 6), scale=st.sampled_from([8, 20, 60]), seed=st.integers(0, 9999))
def test_no_hidden_cell_can_be_told_to_be_small(rows: int, columns: int, scale: int, seed: int) -> None:
    table = generator(seed, "table").geometric(1 / scale, size=(rows, columns)).astype(float) - 1
    table += np.where(table.sum(axis=1, keepdims=True) < MIN_CELL, MIN_CELL, 0)  # margins are large enough
    table += np.where(table.sum(axis=0, keepdims=True) < MIN_CELL, MIN_CELL, 0)
    hidden = hidden_cells(table, MIN_CELL)
    assert not (~hidden & (table < MIN_CELL)).any()
    for row, column in np.argwhere(hidden):
        _, largest = attack(table, hidden, int(row), int(column))
        assert largest >= MIN_CELL - 1e-6


def test_the_attack_finds_a_cell_that_is_hidden_alone() -> None:
    table = np.array([[3.0, 40.0], [50.0, 60.0]])
    alone = np.array([[True, False], [False, False]])
    assert attack(table, alone, 0, 0) == pytest.approx((3.0, 3.0))
    assert attack(table, hidden_cells(table, MIN_CELL), 0, 0) == pytest.approx((0.0, 43.0))


def test_the_cheapest_rectangle_is_hidden() -> None:
    # Of the corners with room, hiding 12 + 15 + 20 costs least.
    table = np.array([[4.0, 12.0, 90.0], [15.0, 20.0, 90.0], [80.0, 70.0, 90.0]])
    assert np.argwhere(hidden_cells(table, MIN_CELL)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert not hidden_cells(table, 4).any()
    assert not hidden_cells(table, 0).any()


def test_a_table_without_room_is_hidden_altogether() -> None:
    table = np.array([[5.0, 6.0], [6.0, 5.0]])
    assert hidden_cells(table, MIN_CELL).all()


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([[50, 30, 20]], ((0,), (1,), (2,))),
        ([[50, 30, 4]], ((0,), (1, 2))),  # one small level takes the smallest of the others with it
        ([[50, 30, 4, 3]], ((0,), (1, 2, 3))),  # 4 + 3 are still fewer than 11
        ([[50, 30, 9, 8]], ((0,), (1,), (2, 3))),
        ([[50, 3]], ((0, 1),)),
        ([[20, 12, 40], [40, 5, 30]], ((2,), (0, 1))),  # carriers and others: 5 others hide 12 carriers
    ],
)
def test_pools_are_the_smallest_that_hide_the_small_levels(
    counts: list[list[int]], groups: tuple[tuple[int, ...], ...]
) -> None:
    assert pool_small(np.array(counts, dtype=float), MIN_CELL) == groups


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=7))
def test_every_group_that_is_shown_is_large_enough(columns: list[tuple[int, int]]) -> None:
    counts = np.array(columns, dtype=float).T
    groups = pool_small(counts, MIN_CELL)
    assert sorted(index for group in groups for index in group) == list(range(counts.shape[1]))
    if len(groups) > 1:
        assert all((counts[:, list(group)].sum(axis=1) >= MIN_CELL).all() for group in groups)
        assert sum(len(group) > 1 for group in groups) <= 1
