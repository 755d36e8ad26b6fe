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
        frame = frame_of(recipe, mix)
        cell = None if frame is None else cell_of(recipe.arms[arms_of(recipe, mix)[0]])
        if frame is not None and cell is not None:
            squares.setdefault(frame, {}).setdefault(cell, mix.name)
    full = [frame for frame, cells in squares.items() if len(cells) == len(CELLS)]
    return squares[max(full, key=len)] if full else None


def cell_of(arm: Arm) -> Cell | None:
    """Where an arm stands; None for a file that does not say what its prompts showed."""
    return None if arm.sight is None else ("persona" in arm.sight, "trajectory" in arm.sight)


def arms_of(recipe: Recipe, mix: Mix) -> list[str]:
    """Arms that a mix draws from."""
    return [origin for origin in mix.origins if origin in recipe.arms]


def frame_of(recipe: Recipe, mix: Mix) -> tuple[object, ...] | None:
    """A mix of one arm without that arm's name: its budget, and the size of every source. None for other mixes."""
    arms = arms_of(recipe, mix)
    if len(arms) != 1:
        return None
    [arm] = arms
    sources = sorted(
        ("" if one.origin == arm else one.origin, str((one.share, one.repeat, one.count, one.patients)))
        for one in mix.sources
    )
    return (recipe.budget(mix), *sources)
