"""The 2 x 2 of alignments: what statistical and semantic alignment each add, and whether one needs the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.evaluation.by_subgroup import Measured, Row
from harness.evaluation.combined import combine, without_value
from harness.evaluation.contrasts import INTERACTION, TWO_BY_TWO, contrast_columns, place, valued, valueless
from harness.evaluation.panel import Panel
from harness.metrics.significance import wald_p
from harness.schemas.square import CELLS, Cell

# Coefficients of the cells. Source: Montgomery, Design and Analysis of Experiments, 8th ed. (2012), sec. 6.2; the
# interaction is the difference of the two simple effects (twice his), because that is how it is read.
EFFECTS: dict[str, dict[Cell, float]] = {
    "(statistical)": {(s, m): 0.5 if s else -0.5 for s, m in CELLS},
    "(semantic)": {(s, m): 0.5 if m else -0.5 for s, m in CELLS},
    INTERACTION: {(s, m): 1.0 if s == m else -1.0 for s, m in CELLS},
}


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
