"""What a run used up, for its manifest: examples, tokens, padding, seconds, memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.schemas.manifest import Counts
from harness.training.plan import BatchPlan
from harness.training.rows import Examples

MB = 1024 * 1024


def n_padded(n_tokens: NDArray[np.int64], per_device_batch: int, *, multiple: int = 1) -> int:
    """Tokens that only fill batches up to their longest row.

    Processes take consecutive batches of one order, so the batches do not depend on how many processes there are.

    Args:
        n_tokens: Of each example in the order of training, shape (n_rows,).
        per_device_batch: Rows in one forward pass; it divides n_rows.
        multiple: Every row is filled up to a multiple of it.
    """
    batches = n_tokens.reshape(-1, per_device_batch)
    width = -(-batches.max(axis=1) // multiple) * multiple
    return int((width[:, None] - batches).sum())


def run_counts(plan: BatchPlan, rows: Examples, log_rows: Sequence[dict[str, Any]], *, padded: int) -> Counts:
    """Rows and notes that are the same however often the run is repeated.

    Args:
        plan: How an update was cut.
        rows: What was shown.
        log_rows: One an update.
        padded: Tokens of padding beside the examples' own.
    """
    n_rows = len(rows.n_tokens)
    return Counts(
        rows_in=n_rows,
        rows_out=n_rows,
        notes={
            "n_updates": len(log_rows),
            "n_examples": n_rows,
            "n_distinct_sentences": rows.n_distinct,
            "n_repeats": n_rows - rows.n_distinct,
            "n_supervised_tokens": int(rows.n_supervised.sum()),
            "n_total_tokens": int(rows.n_tokens.sum()),
            "n_padded_tokens": padded,
            "n_truncated": 0,  # a row that is too long is an error, or dropped where the recipe allows it
            "n_dropped": rows.n_dropped,
            "first_loss": log_rows[0]["loss"],
            "last_loss": log_rows[-1]["loss"],
            **plan.as_notes(),
        },
    )


def reset_peak() -> None:
    """Begin to measure the peak memory of a GPU; a process's own peak cannot be reset."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def measure(accelerator: Any, log_rows: Sequence[dict[str, Any]], n_tokens: int) -> dict[str, Any]:
    """Seconds and memory of a run; called by every process.

    Args:
        accelerator: Of the trainer.
        log_rows: One an update, with its seconds; those before an interruption count too.
        n_tokens: Tokens of all examples, without padding.

    Returns:
        train_seconds (of the updates alone), tokens_per_second (real tokens, all processes together), gpu_seconds (None
        without a GPU), and the largest peak of one process in MB: of GPU memory, or resident memory on a CPU.
    """
    on_gpu = accelerator.device.type == "cuda"
    peak_mb = torch.cuda.max_memory_allocated() / MB if on_gpu else peak_rss_mb()
    peaks = accelerator.gather(torch.tensor([peak_mb], device=accelerator.device))
    seconds = float(sum(row["seconds"] for row in log_rows))
    return {
        "train_seconds": round(seconds, 3),
        "tokens_per_second": round(n_tokens / seconds, 1) if seconds > 0 else None,
        "gpu_seconds": round(seconds * accelerator.num_processes, 3) if on_gpu else None,
        "peak_memory_mb": round(float(peaks.max()), 1),
        "peak_memory_of": "gpu" if on_gpu else "rss",
    }


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MB if sys.platform == "darwin" else peak / 1024  # kilobytes on Linux, bytes on macOS
