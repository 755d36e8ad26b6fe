"""How close texts lie to others: cosine to the nearest of them.

The cost is the product of both numbers of texts, so the caller draws samples and says how large they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.counts import Codes, Floats

ROWS_PER_BLOCK = 512  # times 2,000 references: 8 MB of cosines at once
HISTOGRAM_EDGES = np.round(np.linspace(0.0, 1.0, 21), 2)


def nearest_cosine(
    vectors: Floats, references: Floats, *, groups: Codes | None = None, reference_groups: Codes | None = None
) -> Floats:
    """Cosine of each row to the nearest reference.

    Args:
        vectors: Rows of length 1, shape (n, d).
        references: Rows of length 1, shape (m, d).
        groups: Group of each row, shape (n,): references of the row's own group are passed over. Gold is compared with
            gold of other patients that way, since sentences of one patient are alike and each is its own nearest.
        reference_groups: Group of each reference, shape (m,); given together with `groups`.

    Returns:
        Shape (n,); NaN where no reference is left.
    """
    nearest = np.full(len(vectors), np.nan)
    if not len(references):
        return nearest
    for start in range(0, len(vectors), ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        cosines = vectors[block] @ references.T
        if groups is not None and reference_groups is not None:
            cosines = np.where(groups[block, None] == reference_groups[None, :], -np.inf, cosines)
        best = cosines.max(axis=1)
        nearest[block] = np.where(np.isfinite(best), best, np.nan)
    return nearest


def histogram(values: Floats) -> NDArray[np.float64]:
    """Share of the values in each bin of 0.05 between 0 and 1, shape (20,); negative cosines fall into the first bin.

    All zeros where there are no values.
    """
    counted, _ = np.histogram(np.clip(values, 0.0, 1.0), bins=HISTOGRAM_EDGES)
    shares: NDArray[np.float64] = counted / max(1, values.size)
    return shares
