"""Does the gain of a mix differ between the levels of a subgroup variable?

"Significant among women, not among men" is no answer: the two gains may be the same. Their difference is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from harness.evaluation.by_subgroup import Measured, Resampling, Row
from harness.evaluation.combined import Combined, Term, combine, noise_of, without_value
from harness.evaluation.contrasts import INTERACTION, gain, place, valued, valueless
from harness.evaluation.panel import Panel
from harness.metrics.disparity import range_p
from harness.metrics.estimate import Estimate, insufficient
from harness.metrics.significance import wald_p
from harness.metrics.utility import Column


def interaction_rows(
    levels: Sequence[Measured], panel: Panel, *, learner: str, reference: str, drawn: Resampling, confidence: float
) -> Iterator[Row]:
    """CONTRASTS rows of one variable: one test per mix and metric, level `(interaction)`.

    The difference is the largest gain minus the smallest. With two levels it has an interval, and the p-value agrees
    with it. With more, which two they are was seen in the answers: there is a test of all pairs of levels together,
    and no interval.
    """
    for a, mix in enumerate(levels[0].mixes if levels else ()):
        if mix == reference:
            continue
        b = levels[0].mixes.index(reference)
        for column in panel.looking.held:
            row = place(levels[0], panel, column, learner=learner)
            row |= {"mix_a": mix, "mix_b": reference, "subgroup_level": INTERACTION}
            yield row | _differ(levels, column, a=a, b=b, drawn=drawn, confidence=confidence)


def _differ(levels: Sequence[Measured], column: Column, *, a: int, b: int, drawn: Resampling, confidence: float) -> Row:
    terms: list[Term] = [(level, gain(level, a, b)) for level in levels]
    usable = [term for term in terms if without_value([term], column) is None]
    patients = [level.part.patients for level, _ in usable]
    counted: Row = {"n_patients": np.unique(np.concatenate(patients)).size if patients else 0}
    if len(usable) < 2:
        return counted | valueless(_too_few(len(usable), len(levels)))
    ordered = sorted(usable, key=lambda term: combine([term], column).value)
    pairs = [
        combine([more, (less, [-one for one in coefficients])], column)
        for (less, coefficients), more in combinations(ordered, 2)
    ]
    apart = pairs[len(ordered) - 2]  # of the smallest and the largest: the last pair of the first level
    reason = f"largest gain: {ordered[-1][0].part.level}; smallest: {ordered[0][0].part.level}"
    if len(pairs) == 1:
        p_value = wald_p(apart.value, apart.spread)
        return counted | valued(apart, p_value=p_value, reason=reason, confidence=confidence)
    cells = valueless(Estimate(None, "ok", reason)) | {"difference": apart.value}
    return counted | cells | _of_all(pairs, reason, drawn)


def _of_all(pairs: Sequence[Combined], reason: str, drawn: Resampling) -> Row:
    spreads = [one.spread for one in pairs]
    unknown = next((one.reason for one in spreads if one.reason), None)
    if unknown is not None:
        return {"reason": f"{reason}; no test: {unknown.removeprefix('no interval: ')}"}
    return {"p_value": range_p(np.array([one.value for one in pairs]), spreads, noise_of(pairs, drawn))}


def _too_few(n_usable: int, n_levels: int) -> Estimate:
    return insufficient(f"{n_usable} of {n_levels} levels have enough patients; a comparison needs 2")
