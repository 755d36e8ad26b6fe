"""Does the gain of a mix differ between the levels of a subgroup variable?

"Significant among women, not among men" is no answer: the two gains may be the same. Their difference is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.evaluation.by_subgroup import Measured, Resampling, Row
from harness.evaluation.combined import Term, combine, without_value
from harness.evaluation.contrasts import INTERACTION, gain, place, valued, valueless
from harness.evaluation.panel import Panel
from harness.metrics.estimate import Estimate, insufficient
from harness.metrics.significance import heterogeneity_p, two_level_noise, wald_p
from harness.metrics.utility import Column


def interaction_rows(
    levels: Sequence[Measured], panel: Panel, *, learner: str, reference: str, drawn: Resampling, confidence: float
) -> Iterator[Row]:
    """CONTRASTS rows of one variable: one test per mix and metric, level `(interaction)`.

    The difference is the largest gain minus the smallest. With two levels it has an interval, and the p-value agrees
    with it. With more, which two they are was seen in the answers: there is a test of all levels together (Cochran's
    Q), and no interval.
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
    gains = [combine([term], column) for term in usable]
    order = sorted(range(len(usable)), key=lambda place: gains[place].value)
    (largest, up), (smallest, down) = usable[order[-1]], usable[order[0]]
    apart = combine([(largest, up), (smallest, [-one for one in down])], column)
    reason = f"largest gain: {largest.part.level}; smallest: {smallest.part.level}"
    if len(usable) == 2:
        p_value = wald_p(apart.value, apart.spread)
        return counted | valued(apart, p_value=p_value, reason=reason, confidence=confidence)
    cells = valueless(Estimate(None, "ok", reason)) | {"difference": apart.value}
    unknown = next((one.spread.reason for one in gains if one.spread.reason), None)
    if unknown is not None:
        return counted | cells | {"reason": f"{reason}; no test: {unknown.removeprefix('no interval: ')}"}
    noise = np.stack(
        [two_level_noise(one.replicates, one.by_seed, drawn.seeds, one.spread) for one in gains], axis=1
    )  # (n_replicates, n_levels)
    cells["p_value"] = heterogeneity_p([one.value for one in gains], [one.spread for one in gains], noise)
    return counted | cells


def _too_few(n_usable: int, n_levels: int) -> Estimate:
    return insufficient(f"{n_usable} of {n_levels} levels have enough patients; a comparison needs 2")
