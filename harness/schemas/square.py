"""The 2 x 2 of alignments in a recipe: which four mixes differ in nothing but what their arm saw."""

from __future__ import annotations

from harness.schemas.arms import Arm
from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe

Cell = tuple[bool, bool]  # (statistical alignment, semantic alignment)
CELLS: tuple[Cell, ...] = ((False, False), (True, False), (False, True), (True, True))


def find_square(recipe: Recipe) -> dict[Cell, str] | None:
    """The four mixes that differ in nothing but what their one arm saw, or None where a recipe has no such four.

    Mixes on top of other origins (gold) go before arms alone.
    """
    squares: dict[tuple[object, ...], dict[Cell, str]] = {}
    for mix in recipe.mixes:
        arms = [origin for origin in mix.origins if origin in recipe.arms]
        cell = cell_of(recipe.arms[arms[0]]) if len(arms) == 1 else None
        if cell is not None:
            squares.setdefault(_frame(recipe, mix, arms[0]), {}).setdefault(cell, mix.name)
    full = [frame for frame, cells in squares.items() if len(cells) == len(CELLS)]
    return squares[max(full, key=len)] if full else None


def cell_of(arm: Arm) -> Cell | None:
    """Where an arm stands; None for a file that does not say what its prompts showed."""
    return None if arm.sight is None else ("persona" in arm.sight, "trajectory" in arm.sight)


def _frame(recipe: Recipe, mix: Mix, arm: str) -> tuple[object, ...]:
    """A mix without the name of its arm: its budget, and the size of every source."""
    sources = sorted(
        ("" if one.origin == arm else one.origin, str((one.share, one.repeat, one.count, one.patients)))
        for one in mix.sources
    )
    return (recipe.budget(mix), *sources)
