"""Intervals from the replicates that `resampling.py` makes possible."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.metrics.counts import Floats

# An interval over the defined replicates alone is one given that the metric is defined; past this share of undefined
# ones that condition is no longer a footnote. A class that only two patients have is missed by 13% of the replicates,
# one that three have by just under 5%.
MAX_UNDEFINED_SHARE = 0.05


class Interval(NamedTuple):
    """Both bounds, or none and the reason."""

    low: float | None
    high: float | None
    reason: str | None


def percentile_interval(replicates: Floats, confidence: float) -> Interval:
    """The central share of the replicates, ends interpolated linearly between neighbours.

    Args:
        replicates: One metric under each replicate, shape (n_replicates,), NaN where undefined. Undefined ones are left
            out; where they are more than MAX_UNDEFINED_SHARE there is no interval.
        confidence: Share inside, e.g. 0.95.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13. Simple and range-preserving, and with
    few patients somewhat too narrow: at 50 patients a 95% interval of macro-F1 held the truth in 91% of 400 simulated
    studies (tests/metrics/test_uncertainty.py).
    """
    ordered = np.sort(replicates)  # NaN last
    n_defined = ordered.size - int(np.isnan(ordered).sum())
    n_undefined = ordered.size - n_defined
    if n_undefined > MAX_UNDEFINED_SHARE * ordered.size or n_defined == 0:
        return Interval(None, None, f"no interval: undefined in {n_undefined} of {ordered.size} replicates")
    ends = np.array([(1 - confidence) / 2, (1 + confidence) / 2]) * (n_defined - 1)
    low, high = np.interp(ends, np.arange(n_defined), ordered[:n_defined])
    return Interval(float(low), float(high), None)
