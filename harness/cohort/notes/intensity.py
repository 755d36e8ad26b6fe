"""Events by time in, rates by stage out: notes and mentions of patients whose stage nobody wrote down. Pure.

The expected number of events of one kind in a bin of time is days observed x sum over stages of (share of the bin spent
in the stage x rate in the stage): linear in the rates. They are the maximum of the Poisson likelihood, found by
expectation and maximisation, which keeps rates at 0 or above. Where patients differ more than a Poisson process the
estimates stay consistent, because only the mean has to be right; intervals come from resampling patients.

Source: Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1; for this linear form Shepp and Vardi, IEEE Trans.
Med. Imaging 1 (1982) 113. Consistency under overdispersion: McCullagh and Nelder, Generalized Linear Models (1989),
ch. 9.

Legend: R replicates, B bins of time, S stages, C kinds of events.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_ITERATIONS = 4000
TOLERANCE = 1e-6  # largest relative change of a rate in a step at which it has arrived
NEGLIGIBLE = 1e-9  # events a day: less than one in a million years is none


def stage_rates(
    counts: NDArray[np.float64],
    days: NDArray[np.float64],
    stage_share: NDArray[np.float64],
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Events a day in each stage.

    Args:
        counts: Events, shape (R, B, C).
        days: Days observed, shape (R, B).
        stage_share: Share of each bin in each stage, shape (B, S).
        start: Rates to begin from, shape (S, C); the overall rate where not given.

    Returns:
        Shape (R, S, C), 0 where a rate is negligible; NaN for a stage in which nobody was observed.
    """
    in_stage = days @ stage_share  # (R, S)
    total = np.maximum(days.sum(axis=1), 1.0)
    begin = (counts.sum(axis=1) / total[:, None])[:, None, :] if start is None else np.maximum(start, NEGLIGIBLE)
    rates = np.broadcast_to(begin, (*in_stage.shape, counts.shape[2]))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(MAX_ITERATIONS):
            expected = np.matmul(stage_share, rates)  # (R, B, C), a day
            ratio = np.where(expected > 0, counts / expected, 0.0)
            new = rates * np.matmul(stage_share.T, ratio) / in_stage[:, :, None]
            change = np.abs(new - rates) > TOLERANCE * rates + NEGLIGIBLE * TOLERANCE
            rates = new
            if not change.any():
                break
    return np.where(rates < NEGLIGIBLE, 0.0, rates)  # NaN stays
