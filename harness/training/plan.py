"""What one optimizer update consists of, whatever the machine: which rows, and how they are cut over processes.

Update number u always sees rows u*B ... (u+1)*B - 1 of one fixed order, B being the recipe's global batch size.
Processes, per-device batch and accumulation only decide how those B rows are cut: the loss curve does not depend on
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigError

DEFAULT_PER_DEVICE_BATCH = 16
CHECKPOINTS_PER_RUN = 4


@dataclass(frozen=True)
class BatchPlan:
    """One update: `n_processes` x `per_device_batch` x `accumulation` examples = `global_batch`."""

    n_processes: int
    per_device_batch: int
    accumulation: int
    global_batch: int

    def as_notes(self) -> dict[str, int]:
        return asdict(self)


def plan_batches(global_batch: int, *, n_processes: int, at_most: int = DEFAULT_PER_DEVICE_BATCH) -> BatchPlan:
    """The largest per-device batch, up to `at_most`, that cuts the global batch into equal parts.

    Raises:
        ConfigError: The global batch cannot be shared equally by the processes, or `at_most` is no positive number.
    """
    if not isinstance(at_most, int) or at_most < 1:
        raise ConfigError(f"training.sft.per_device_train_batch_size is {at_most!r}; give a whole number from 1")
    if global_batch % n_processes:
        below, above = global_batch // n_processes * n_processes, -(-global_batch // n_processes) * n_processes
        fitting = " or ".join(str(size) for size in (below, above) if size)
        raise ConfigError(
            f"training.global_batch_size is {global_batch}, which {n_processes} processes cannot share equally; "
            f"set it to {fitting}, or start another number of processes"
        )
    share = global_batch // n_processes
    per_device = max(size for size in range(1, min(share, at_most) + 1) if share % size == 0)
    return BatchPlan(n_processes, per_device, share // per_device, global_batch)


def order_rows(origins: Sequence[str], pass_indices: Sequence[int], *, rng: np.random.Generator) -> NDArray[np.int64]:
    """The order in which a mix's rows are shown, each exactly once.

    Within one source, pass 0 comes in random order, then pass 1, and so on: no sentence is seen again before every
    other one of its source was seen. Sources are spread evenly over the run, so that a small source with many passes
    does not end up as the tail of the training.

    Args:
        origins: Source of each row, shape (n_rows,).
        pass_indices: How often the row's sentence came before, shape (n_rows,).
        rng: Drawn from in the order of the sources' names.

    Returns:
        Row numbers in the order of training, shape (n_rows,).
    """
    origin_of = np.asarray(origins, dtype=object)
    passes = np.asarray(pass_indices, dtype=np.int64)
    place = np.empty(len(origin_of), dtype=np.float64)
    for origin in sorted(set(origins)):
        rows = rng.permutation(np.flatnonzero(origin_of == origin))
        rows = rows[np.argsort(passes[rows], kind="stable")]
        place[rows] = (np.arange(len(rows)) + rng.random(len(rows))) / len(rows)
    return np.argsort(place, kind="stable").astype(np.int64)


def checkpoint_interval(updates: int) -> int:
    """Updates between checkpoints, so that a run has about `CHECKPOINTS_PER_RUN` of them."""
    return max(1, -(-updates // CHECKPOINTS_PER_RUN))
