"""The 2 x 2 of alignments: what statistical and semantic alignment each add, and whether one needs the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.evaluation.by_subgroup import Measured, Row
from harness.evaluation.combined import combine, without_value
from harness.evaluation.contrasts import INTERACTION, TWO_BY_TWO, contrast_columns, place, valued, valueless
from harness.evaluation.panel import Panel
from harness.metrics.significance import wald_p
from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe

Cell = tuple[bool, bool]  # (statistical alignment, semantic alignment)
CELLS: tuple[Cell, ...] = ((False, False), (True, False), (False, True), (True, True))
# Coefficients of the cells. Source: Montgomery, Design and Analysis of Experiments, 8th ed. (2012), sec. 6.2; the
# interaction is the difference of the two simple effects (twice his), because that is how it is read.
EFFECTS: dict[str, dict[Cell, float]] = {
    "(statistical)": {(s, m): 0.5 if s else -0.5 for s, m in CELLS},
    "(semantic)": {(s, m): 0.5 if m else -0.5 for s, m in CELLS},
    INTERACTION: {(s, m): 1.0 if s == m else -1.0 for s, m in CELLS},
}


def find_square(recipe: Recipe) -> dict[Cell, str] | None:
    """The four mixes that differ in nothing but what their one arm saw, or None where a recipe has no such four.

    Mixes on top of other origins (gold) go before arms alone.
    """
    squares: dict[tuple[object, ...], dict[Cell, str]] = {}
    for mix in recipe.mixes:
        arms = [origin for origin in mix.origins if origin in recipe.arms]
        sight = recipe.arms[arms[0]].sight if len(arms) == 1 else None
        if sight is not None:
            cell = ("persona" in sight, "trajectory" in sight)
            squares.setdefault(_frame(recipe, mix, arms[0]), {}).setdefault(cell, mix.name)
    full = [frame for frame, cells in squares.items() if len(cells) == len(CELLS)]
    return squares[max(full, key=len)] if full else None


def _frame(recipe: Recipe, mix: Mix, arm: str) -> tuple[object, ...]:
    """A mix without the name of its arm: its budget, and the size of every source."""
    sources = sorted(
        ("" if one.origin == arm else one.origin, str((one.share, one.repeat, one.count))) for one in mix.sources
    )
    return (recipe.budget(mix), *sources)


def effect_rows(
    measured: Measured, panel: Panel, square: Mapping[Cell, str], *, learner: str, confidence: float
) -> Iterator[Row]:
    """CONTRASTS rows of one slice: main effects and interaction, `mix_b` being `(2 x 2)`.

    A main effect is the mean of its two simple differences. The p-value agrees with the interval.
    """
    cell_of = {mix: cell for cell, mix in square.items()}
    for effect, weights in EFFECTS.items():
        coefficients = [weights[cell_of[mix]] if mix in cell_of else 0.0 for mix in measured.mixes]
        for column in contrast_columns(measured.part.variable, panel):
            row = place(measured, panel, column, learner=learner) | {"mix_a": effect, "mix_b": TWO_BY_TWO}
            terms = [(measured, coefficients)]
            without = without_value(terms, column)
            if without is not None:
                yield row | valueless(without)
                continue
            found = combine(terms, column)
            reason = measured.overall[measured.mixes.index(square[True, True])][column].reason
            yield row | valued(found, p_value=wald_p(found.value, found.spread), reason=reason, confidence=confidence)
