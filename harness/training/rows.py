"""From a mix's table to the examples of one run, in their order and known to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.backends.tokenizer import EncodedPair, conversation, encode_pairs, uses_chat
from harness.errors import DataError, collect_faults
from harness.seeds import generator
from harness.training.job import TrainingJob
from harness.training.plan import order_rows

END_TOKENS = 1  # the end of a completion is learned too; alone it is no label


@dataclass(frozen=True)
class Examples:
    """The rows of a run in the order of training.

    Attributes:
        table: Columns prompt and completion, one row an example; both are lists of turns under a chat template.
        n_tokens: Tokens of each example with its end token, shape (n_rows,).
        n_supervised: Tokens of each example that the loss is on, shape (n_rows,).
        sentence_ids: Origin and sentence of each example, shape (n_rows,).
        n_dropped: Rows of the mix that were left out, each replaced by another of its source.
    """

    table: pa.Table
    n_tokens: NDArray[np.int64]
    n_supervised: NDArray[np.int64]
    sentence_ids: tuple[str, ...]
    n_dropped: int

    @property
    def n_distinct(self) -> int:
        return len(set(self.sentence_ids))


def examples(train: pa.Table, job: TrainingJob, tokenizer: Any) -> Examples:
    """Order a mix's rows for this run's seed, and refuse what would be cut, dropped or counted differently.

    Args:
        train: The mix's rows, as many as the settled job's updates need.
        job: The run's settings.
        tokenizer: The base model's.

    Raises:
        ConfigError: `training.chat` is true and the tokenizer has no chat template.
        DataError: More than `allow_dropped` rows are longer than `max_length` or have nothing to learn from, none is
            left of a source, or tokens are not those that the mix's budget was counted with.
    """
    rng = generator(job.root_seed, "training", "order", job.mix, f"seed_{job.seed_index}")
    order = order_rows(train["origin"].to_pylist(), train["pass_index"].to_pylist(), rng=rng)
    rows = train.take(pa.array(order))
    chat = uses_chat(tokenizer, job.chat)
    encoded = encode_pairs(tokenizer, rows["prompt"].to_pylist(), rows["completion"].to_pylist(), chat=chat)
    unfit = _unfit(rows, encoded, job)
    if unfit:
        fitting = replace_unfit(rows["origin"].to_pylist(), unfit, mix=job.mix)
        rows, encoded = rows.take(pa.array(fitting)), [encoded[row] for row in fitting]
    _check_counts(rows, encoded, job)
    return Examples(
        table=_trainer_rows(rows, chat=chat),
        n_tokens=np.array([len(pair.ids) for pair in encoded], dtype=np.int64),
        n_supervised=np.array([pair.n_supervised for pair in encoded], dtype=np.int64),
        sentence_ids=tuple(f"{row['origin']}/{row['sentence_id']}"
                           for row in rows.select(["origin", "sentence_id"]).to_pylist()),
        n_dropped=len(unfit),
    )  # fmt: skip


def replace_unfit(origins: Sequence[str], unfit: Sequence[int], *, mix: str) -> list[int]:
    """Row numbers in which each unfit one is replaced by the next fitting row of its source, going round at the end.

    Args:
        origins: Source of each row in the order of training, shape (n_rows,).
        unfit: Row numbers that cannot be trained on.
        mix: Its name, for errors.

    Returns:
        Shape (n_rows,): a replaced sentence is seen once more, so that updates and shares of sources stay.

    Raises:
        DataError: A source has no fitting row.
    """
    bad = set(unfit)
    fitting: dict[str, list[int]] = {}
    for row, origin in enumerate(origins):
        if row not in bad:
            fitting.setdefault(origin, []).append(row)
    with collect_faults(DataError, f"mix {mix}") as faults:
        for origin in sorted({origins[row] for row in bad} - set(fitting)):
            faults.add(f"{origin}: none of its rows can be trained on; see training.max_length")
    found = list(range(len(origins)))
    for row in sorted(bad):
        others = fitting[origins[row]]
        found[row] = others[int(np.searchsorted(others, row)) % len(others)]
    return found


def _trainer_rows(rows: pa.Table, *, chat: bool) -> pa.Table:
    if not chat:
        return rows.select(["prompt", "completion"])
    turns = [
        conversation(row["prompt"], row["completion"]) for row in rows.select(["prompt", "completion"]).to_pylist()
    ]
    return pa.table({"prompt": [question for question, _ in turns], "completion": [answer for _, answer in turns]})


def _unfit(rows: pa.Table, encoded: Sequence[EncodedPair], job: TrainingJob) -> list[int]:
    """Rows that the trainer would cut or drop; more than the recipe allows are an error that names them."""
    ids, completions = rows["example_id"].to_pylist(), rows["completion"].to_pylist()
    found: dict[int, str] = {}
    for row, pair in enumerate(encoded):
        if len(pair.ids) > job.max_length:
            found[row] = (
                f"{ids[row]}: {len(pair.ids)} tokens; training.max_length is {job.max_length}: raise it, or "
                "shorten the sentence (rows are never cut)"
            )
        elif pair.n_supervised <= END_TOKENS or not completions[row].strip():
            found[row] = f"{ids[row]}: has no supervised token, so there is nothing to learn from"
    if len(found) == len(encoded) or len(found) > job.allow_dropped:
        allowed = (
            f"{len(found)} of {len(encoded)} rows cannot be trained on; training.allow_dropped is {job.allow_dropped}"
        )
        with collect_faults(DataError, f"mix {job.mix}, base model {job.base_model}: {allowed}") as faults:
            faults.extend(found.values())
    return list(found)


def _check_counts(rows: pa.Table, encoded: Sequence[EncodedPair], job: TrainingJob) -> None:
    ids, counted = rows["example_id"].to_pylist(), rows["n_supervised_tokens"].to_pylist()
    with collect_faults(DataError, f"mix {job.mix}, base model {job.base_model}") as faults:
        for example_id, pair, n_counted in zip(ids, encoded, counted, strict=True):
            if pair.n_supervised != n_counted:
                faults.add(
                    f"{example_id}: {pair.n_supervised} supervised tokens, but the mix counted {n_counted}; prompt and "
                    "completion share a token, so end the prompt template on a token boundary"
                )
