"""From a mix's table to the examples of one run, in their order and known to fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.backends.tokenizer import EncodedPair, encode_pairs
from harness.errors import DataError, collect_faults
from harness.seeds import generator
from harness.training.job import TrainingJob
from harness.training.plan import order_rows


@dataclass(frozen=True)
class Examples:
    """The rows of a run in the order of training.

    Attributes:
        table: Columns prompt and completion, one row an example.
        n_tokens: Tokens of each example with its end token, shape (n_rows,).
        n_supervised: Tokens of each example that the loss is on, shape (n_rows,).
    """

    table: pa.Table
    n_tokens: NDArray[np.int64]
    n_supervised: NDArray[np.int64]


def examples(train: pa.Table, job: TrainingJob, tokenizer: Any) -> Examples:
    """Order a mix's rows for this run's seed, and refuse what would be cut, dropped or counted differently.

    Raises:
        DataError: The mix does not hold exactly updates x global batch rows; a row is longer than `max_length`; or its
            tokens are not those the mix's budget was counted with.
    """
    expected = job.updates * job.global_batch_size
    if train.num_rows != expected:
        raise DataError(
            f"mix {job.mix}: holds {train.num_rows} rows; {job.updates} updates of {job.global_batch_size} examples "
            f"need {expected}; run the mixes stage again"
        )
    rng = generator(job.root_seed, "training", "order", job.mix, f"seed_{job.seed_index}")
    order = order_rows(train["origin"].to_pylist(), train["pass_index"].to_pylist(), rng=rng)
    rows = train.take(pa.array(order))
    encoded = encode_pairs(tokenizer, rows["prompt"].to_pylist(), rows["completion"].to_pylist())
    _check(rows, encoded, job)
    return Examples(
        table=rows.select(["prompt", "completion"]),
        n_tokens=np.array([len(pair.ids) for pair in encoded], dtype=np.int64),
        n_supervised=np.array([pair.n_supervised for pair in encoded], dtype=np.int64),
    )


def _check(rows: pa.Table, encoded: list[EncodedPair], job: TrainingJob) -> None:
    ids, counted = rows["example_id"].to_pylist(), rows["n_supervised_tokens"].to_pylist()
    with collect_faults(DataError, f"mix {job.mix}, base model {job.base_model}") as faults:
        for example_id, pair, n_counted in zip(ids, encoded, counted, strict=True):
            if len(pair.ids) > job.max_length:
                faults.add(
                    f"{example_id}: {len(pair.ids)} tokens; training.max_length is {job.max_length}: raise it, or "
                    "shorten the sentence (rows are never cut)"
                )
            elif pair.n_supervised != n_counted:
                faults.add(
                    f"{example_id}: {pair.n_supervised} supervised tokens, but the mix counted {n_counted}; prompt and "
                    "completion share a token, so end the prompt template on a token boundary"
                )
