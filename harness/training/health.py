"""Whether a run learned at all: said in its manifest, so that no diverged run enters a leaderboard unseen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["finished", "diverged"]
FIRST_UPDATES = 3  # their mean is the start, and no shorter stretch is judged: the loss of one batch is noise


@dataclass(frozen=True)
class Health:
    """A status, with a reason unless the run is sound."""

    status: Status
    reason: str | None = None

    def as_notes(self) -> dict[str, str | None]:
        return {"status": self.status, "reason": self.reason}


def health(losses: Sequence[float], updates_an_epoch: int) -> Health:
    """Judge a run by its loss curve.

    It has diverged when a loss is no number, or when the loss of every update of a whole epoch lies above the run's
    start, the mean of its first three updates. In a run shorter than that its later half stands for the epoch; a run of
    fewer than six updates is judged by its numbers alone.

    Args:
        losses: Of each update in order, shape (n_updates,).
        updates_an_epoch: Updates in which every distinct sentence is seen once.
    """
    for place, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            return Health("diverged", f"the loss is {loss} at update {place} of {len(losses)}")
    start, later = sum(losses[:FIRST_UPDATES]) / FIRST_UPDATES, losses[FIRST_UPDATES:]
    span = updates_an_epoch if updates_an_epoch <= len(later) else len(losses) // 2
    span, above = max(FIRST_UPDATES, span), 0
    for place, loss in enumerate(later, start=FIRST_UPDATES + 1):
        above = above + 1 if loss > start else 0
        if above >= span:
            told = f"the loss lay above its start ({start:.4f}) in {above} updates one after another, an epoch's worth"
            return Health("diverged", f"{told}, up to update {place}")
    return Health("finished")
