"""What a synthetic sentence is worth in gold, from the mixes of a recipe themselves.

Mixes of gold alone that draw on different amounts of it are the points of a learning curve; each mix with one arm is
read off it. How many sentences a mix holds is counted in its table: distinct ones that the run was shown. Where train
seeds draw patients of their own it is the mean over their tables; that one holds more than another is part of the error
of the draw, which the scatter of seeds holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from harness.evaluation.by_subgroup import Measured, Row
from harness.evaluation.combined import Combined, combine
from harness.evaluation.rows import one_mix
from harness.metrics.counts import Floats
from harness.metrics.exchange import Reading, Scores, fit_curve, read_curve
from harness.metrics.learning_curve import FITS, MIN_POINTS, Fit
from harness.metrics.utility import ALL, Column
from harness.schemas.mix import GOLD_ORIGIN

COLUMN: Column = ("macro_f1", ALL)
NO_UPPER = "no upper bound: this curve cannot rule out that it takes more gold than it can be read for"
NO_LOWER = "no lower bound but that of no gold at all"


@dataclass(frozen=True)
class MixSize:
    """Distinct sentences that a mix shows, in the mean over its draws of patients.

    Attributes:
        arm: The one arm it draws from; None for gold alone.
        n_gold: Gold sentences; 0 for synthetic sentences alone.
        n_synthetic: Sentences of the arm; 0 for gold alone.
    """

    arm: str | None
    n_gold: int
    n_synthetic: int


def size_of(draws: Sequence[pa.Table]) -> MixSize:
    """Counted in the `train` table of each draw, columns origin and sentence_id; rounded to whole sentences."""
    sizes = [_size_of(train) for train in draws]
    n_gold, n_synthetic = (
        round(float(np.mean(counts))) for counts in zip(*((one.n_gold, one.n_synthetic) for one in sizes), strict=True)
    )
    return MixSize(sizes[0].arm, n_gold, n_synthetic)


def _size_of(train: pa.Table) -> MixSize:
    counted = train.group_by("origin").aggregate([("sentence_id", "count_distinct")])
    distinct = dict(zip(counted["origin"].to_pylist(), counted["sentence_id_count_distinct"].to_pylist(), strict=True))
    n_gold = distinct.pop(GOLD_ORIGIN, 0)
    arm, n_synthetic = next(iter(distinct.items()), (None, 0))
    return MixSize(arm, n_gold, n_synthetic)


def exchange_rows(
    measured: Measured, sizes: Mapping[str, MixSize], *, learner: str, confidence: float
) -> Iterator[Row]:
    """EXCHANGE rows of one learner: every mix with an arm, read off each fit of the curve.

    Args:
        measured: All sentences of the test split.
        sizes: Of the mixes that take part; empty where there is no curve.
        learner: Its name.
        confidence: Share of studies whose interval is to hold the worth.
    """
    scores = {
        mix: combine([(measured, one_mix(measured, m))], COLUMN)
        for m, mix in enumerate(measured.mixes)
        if mix in sizes and measured.overall[m][COLUMN].value is not None
    }
    n, points = _points(scores, sizes)
    for fit in FITS:
        lacks = len(points) < MIN_POINTS[fit]
        curve = None if lacks else fit_curve(fit, n, points)
        for mix, size in sizes.items():
            if size.arm is None:
                continue
            row: Row = {"mix": mix, "arm": size.arm, "learner": learner, "fit": fit, "n_gold": size.n_gold,
                        "n_synthetic": size.n_synthetic}  # fmt: skip
            if mix not in scores:
                yield row | _without(measured.overall[measured.mixes.index(mix)][COLUMN].reason or "no score")
            elif curve is None:
                yield row | {"score": scores[mix].value} | _without(_too_few(fit, n))
            else:
                found = scores[mix]
                reading = read_curve(
                    curve,
                    Scores(found.by_seed, found.replicates),
                    n_patients=measured.part.patients.size,
                    n_effective=found.spread.df_patients + 1,
                    confidence=confidence,
                )
                yield row | {"score": found.value} | _cells(reading, size)


def _points(scores: Mapping[str, Combined], sizes: Mapping[str, MixSize]) -> tuple[Floats, list[Scores]]:
    """Points of the curve, ascending; mixes with as many gold sentences are one point, at their mean."""
    by_n: dict[int, list[Combined]] = {}
    for mix, found in scores.items():
        if sizes[mix].arm is None:
            by_n.setdefault(sizes[mix].n_gold, []).append(found)
    n = sorted(by_n)
    points = [
        Scores(
            by_seed=np.mean([one.by_seed for one in by_n[k]], axis=0),
            replicates=np.mean([one.replicates for one in by_n[k]], axis=0),
        )
        for k in n
    ]
    return np.array(n, dtype=np.float64), points


def _too_few(fit: Fit, n: Sequence[float] | Floats) -> str:
    found = ", ".join(f"{one:g}" for one in n) or "none"
    return (f"a {fit} curve needs {MIN_POINTS[fit]} mixes of gold alone with different numbers of sentences; "
            f"found {found}")  # fmt: skip


def _without(reason: str) -> Row:
    return {"status": "undefined", "reason": reason}


def _cells(reading: Reading, size: MixSize) -> Row:
    if reading.value is None:
        return {"share_undefined": reading.share_undefined} | _without(reading.reason or "")

    def each(n: float) -> float:
        return (n - size.n_gold) / size.n_synthetic

    has_interval = reading.reason is None
    open_above = has_interval and np.isinf(reading.high)
    remarks = [
        f"at {'least' if reading.is_above else 'most'}: the score lies beyond what the curve can be read for"
        if reading.where == "bounded"
        else None,
        reading.reason,
        NO_LOWER if has_interval and reading.low == 0 else None,
        NO_UPPER if open_above else None,
    ]
    return {
        "gold_equivalent": reading.value,
        "per_sentence": each(reading.value),
        "ci_low": each(reading.low) if has_interval else None,
        "ci_high": each(reading.high) if has_interval and not open_above else None,
        "where": reading.where,
        "share_undefined": reading.share_undefined,
        "status": "ok",
        "reason": "; ".join(one for one in remarks if one) or None,
    }
