"""Sums by patient in, the numbers of a trajectory out, each with an interval that resamples patients. Pure.

Legend: R replicates (the first is the cohort itself), P patients, B bins, S stages, Y years, K note types, D domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.cohort.notes.intensity import stage_rates
from harness.cohort.notes.tally import Tally
from harness.metrics.resampling import draw_patients, resample_sums
from harness.metrics.uncertainty import percentile_interval

N_REPLICATES = 400  # percentile ends of a 95% interval rest on ten replicates each
CONFIDENCE = 0.95
DAYS_PER_YEAR = 365.25
ALL = "all"
Floats = NDArray[np.float64]
Status = Literal["ok", "insufficient", "undefined"]


@dataclass(frozen=True)
class Rate:
    """One estimate, as a row of the rates table.

    Attributes:
        parameter: E.g. `notes_per_year`.
        stage: Stage, year relative to the diagnosis, or `all`.
        level: Note type, domain, term, or `all`.
        value: None where there is none; then `reason` says why.
        se: Standard deviation over replicates.
        n: Events behind it, in the stage's own years.
        n_patients: Patients behind it, in the stage's own years.
    """

    parameter: str
    stage: str
    level: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    se: float | None
    n: int
    n_patients: int
    status: Status
    reason: str | None = None


@dataclass(frozen=True)
class _Fit:
    """Rates a day by stage under every replicate, the cohort itself first."""

    notes: Floats  # (R, S)
    typed: Floats  # (R, S, K)
    mentions: Floats  # (R, S, D)
    absent: Floats  # (R, S)
    sums: dict[str, Floats]  # tally sums under every replicate, (R, ...)


def estimate(
    tally: Tally, stage_ids: Sequence[str], times: Floats, *, min_patients: int, rng: np.random.Generator
) -> list[Rate]:
    """All numbers of the trajectory that notes can tell, and mention rates by year.

    Args:
        tally: Sums by patient.
        stage_ids: Stages in order of time.
        times: Years in each stage by year of simulated patients, from `timeline.stage_times`.
        min_patients: A stage with notes of fewer patients gets no values.
        rng: Draws the patients of each replicate.

    Returns:
        Rows in a fixed order. A stage with too few patients is there with status `insufficient`.
    """
    fit = _fit(tally, rng)
    rates: list[Rate] = []
    for index, stage in enumerate(stage_ids):
        within = tally.timeline.nominal == index
        n_patients = int((tally.notes[:, within].sum(axis=1) > 0).sum())
        base = _Base(stage, n_patients, min_patients)
        rates += _stage_rows(tally, fit, index, within, base)
    return [*rates, *_spread(tally, fit, times), *_by_year(tally, fit)]


def _fit(tally: Tally, rng: np.random.Generator) -> _Fit:
    n_patients = len(tally.patients)
    multiplicities = np.vstack([np.ones((1, n_patients), np.uint8), draw_patients(n_patients, N_REPLICATES, rng=rng)])
    names = ("days", "notes", "typed", "mentions", "absent", "squares", "years", "present_by_year")
    sums = {name: resample_sums(getattr(tally, name), multiplicities) for name in names}
    events = np.concatenate([sums["notes"][:, :, None], sums["typed"], sums["mentions"], sums["absent"][:, :, None]], 2)
    share = tally.timeline.stage_share
    own = stage_rates(events[:1], sums["days"][:1], share)  # (1, S, C)
    rates = np.concatenate([own, stage_rates(events[1:], sums["days"][1:], share, own[0])])
    ends = np.cumsum([1, len(tally.note_types), len(tally.domains)])
    notes, typed, mentions, absent = np.split(rates, ends, axis=2)
    return _Fit(notes[:, :, 0], typed, mentions, absent[:, :, 0], sums)


@dataclass(frozen=True)
class _Base:
    """What the rows of one stage share."""

    stage: str
    n_patients: int
    min_patients: int

    def row(self, parameter: str, level: str, replicates: Floats, n: int) -> Rate:
        if self.n_patients < self.min_patients:
            reason = f"notes of fewer than {self.min_patients} patients"
            return _without(parameter, self.stage, level, n, self.n_patients, "insufficient", reason)
        return described(parameter, self.stage, level, replicates, n=n, n_patients=self.n_patients)


def _without(  # noqa: PLR0917 - one place for rows without a value
    parameter: str, stage: str, level: str, n: int, n_patients: int, status: Status, reason: str
) -> Rate:
    return Rate(parameter, stage, level, None, None, None, None, n, n_patients, status, reason)


def described(parameter: str, stage: str, level: str, replicates: Floats, *, n: int, n_patients: int) -> Rate:
    """A row from replicates of which the first is the estimate; undefined where that is NaN."""
    value = float(replicates[0])
    if not np.isfinite(value):
        return _without(parameter, stage, level, n, n_patients, "undefined", "no notes to count in")
    low, high, reason = percentile_interval(replicates[1:], CONFIDENCE)
    drawn = replicates[1:][np.isfinite(replicates[1:])]
    se = float(drawn.std(ddof=1)) if low is not None and drawn.size > 1 else None
    return Rate(parameter, stage, level, value, low, high, se, n, n_patients, "ok", reason)


def _stage_rows(tally: Tally, fit: _Fit, index: int, within: NDArray[np.bool_], base: _Base) -> list[Rate]:
    def n(name: str, *level: int) -> int:
        return int(getattr(tally, name)[(slice(None), within, *level)].sum())

    notes, mentions = fit.notes[:, index], fit.mentions[:, index]
    total = mentions.sum(axis=1)
    rows = [
        base.row("notes_per_year", ALL, notes * DAYS_PER_YEAR, n("notes")),
        base.row("mentions_per_note", ALL, _ratio(total, notes), n("mentions")),
        base.row("absent_share", ALL, _ratio(fit.absent[:, index], total), n("absent")),
    ]
    rows += [base.row("domain_share", name, _ratio(mentions[:, level], total), n("mentions", level))
             for level, name in enumerate(tally.domains)]  # fmt: skip
    typed = fit.typed[:, index]
    rows += [base.row("note_type_share", name, _ratio(typed[:, level], typed.sum(axis=1)), n("typed", level))
             for level, name in enumerate(tally.note_types)]  # fmt: skip
    return rows


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


# -- spread ------------------------------------------------------------------------------------------------------------


def _spread(tally: Tally, fit: _Fit, times: Floats) -> list[Rate]:
    """Excess variance 1 / r of the negative binomials, variance mean + mean^2 / r; 0 for a Poisson.

    By moments. A count n with mean m, where m itself varies between patients because their stages shift, has expected
    (n - E m)^2 - n = Var m + E m^2 / r. Source: the moment estimator of r, e.g. Johnson, Kemp and Kotz, Univariate
    Discrete Distributions, 3rd ed. (2005), ch. 5.8.2, with the variance of the mean taken off.
    """
    n_patients = len(tally.patients)
    visits = _visit_spread(fit, times)
    mentions = _mention_spread(tally, fit)
    n_years, n_notes = int(tally.years[:, :, 0].sum()), int(tally.notes.sum())
    return [
        described("notes_per_year_excess", ALL, ALL, visits, n=n_years, n_patients=n_patients),
        described("mentions_per_note_excess", ALL, ALL, mentions, n=n_notes, n_patients=n_patients),
    ]


def _visit_spread(fit: _Fit, times: Floats) -> Floats:
    rate = np.nan_to_num(fit.notes * DAYS_PER_YEAR)  # (R, S)
    mean = rate @ times.mean(axis=0).T  # (R, Y)
    centred = times - times.mean(axis=0)
    covariance = np.einsum("dys,dyt->yst", centred, centred) / len(times)  # (Y, S, S)
    variance = np.einsum("rs,yst,rt->ry", rate, covariance, rate)
    n, notes, squares = np.moveaxis(fit.sums["years"], -1, 0)  # (R, Y) each
    excess = squares - 2 * mean * notes + n * mean**2 - notes - n * variance
    return _ratio(excess.sum(axis=1), (n * (mean**2 + variance)).sum(axis=1))


def _mention_spread(tally: Tally, fit: _Fit) -> Floats:
    per_note = np.nan_to_num(_ratio(fit.mentions.sum(axis=2), fit.notes))  # (R, S)
    of_stage = tally.timeline.stage_share[None] * np.nan_to_num(fit.notes)[:, None, :]  # (R, B, S)
    total = of_stage.sum(axis=2, keepdims=True)
    of_stage = np.divide(of_stage, total, out=np.zeros_like(of_stage), where=total > 0)  # of a note, given its bin
    mean = np.einsum("rbs,rs->rb", of_stage, per_note)
    square = np.einsum("rbs,rs->rb", of_stage, per_note**2)
    notes, found = fit.sums["notes"], fit.sums["mentions"].sum(axis=2)
    excess = fit.sums["squares"] - 2 * mean * found + notes * mean**2 - found - notes * (square - mean**2)
    return _ratio(excess.sum(axis=1), (notes * square).sum(axis=1))


def _by_year(tally: Tally, fit: _Fit) -> list[Rate]:
    """Stated mentions a year by year relative to the diagnosis, named by the year's beginning, e.g. `-10`."""
    days, present = np.moveaxis(fit.sums["present_by_year"], -1, 0)  # (R, Y)
    start = tally.timeline.edges[0]
    return [
        described(
            "mentions_per_year", f"{start + year:g}", ALL, _ratio(present[:, year] * DAYS_PER_YEAR, days[:, year]),
            n=int(tally.present_by_year[:, year, 1].sum()),
            n_patients=int((tally.present_by_year[:, year, 0] > 0).sum()),
        )
        for year in range(days.shape[1])
    ]  # fmt: skip
