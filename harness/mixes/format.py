"""Pools and draws into the prompt/completion rows that the trainer reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.mixes.draw import Draw
from harness.mixes.pools import Pool


@dataclass(frozen=True)
class Wording:
    """How a sentence and its label become text.

    Attributes:
        prompt: Sentence to prompt.
        completions: Label id to what the model is taught to write.
        n_tokens: Label id to the tokens that are learned from: the completion's and the end token.
    """

    prompt: Callable[[str], str]
    completions: Mapping[str, str]
    n_tokens: Mapping[str, int]


def examples(pools: Sequence[Pool], draw: Draw, wording: Wording) -> pa.Table:
    """Rows of the `train` or `validation` table, in the order of the draw.

    Args:
        pools: The sources, end to end in this order.
        draw: Rows of all pools laid end to end, and their passes.
        wording: Prompt, completions and token counts; each distinct sentence is rendered once.
    """
    rows = pa.concat_tables([_with_origin(pool) for pool in pools]).combine_chunks()
    shown, position = np.unique(draw.rows, return_inverse=True)
    rows = rows.take(pa.array(shown))
    prompts = pa.array((wording.prompt(text.as_py()) for text in rows["text"]), pa.string())
    drawn = rows.append_column("prompt", prompts).take(pa.array(position))
    label = drawn["label"].combine_chunks().dictionary_encode()
    label_ids = label.dictionary.to_pylist()
    completions = pa.array([wording.completions[one] for one in label_ids], pa.string())
    n_tokens = pa.array([wording.n_tokens[one] for one in label_ids], pa.int64())
    passes = pa.array(draw.passes, pa.int64())
    return pa.table(
        {
            "example_id": pc.binary_join_element_wise(
                drawn["origin"], drawn["sentence_id"], passes.cast(pa.string()), "/"
            ),
            "origin": drawn["origin"],
            "sentence_id": drawn["sentence_id"],
            "patient_id": drawn["patient_id"],
            "pass_index": passes,
            "text": drawn["text"],
            "label": drawn["label"],
            "prompt": drawn["prompt"],
            "completion": completions.take(label.indices),
            "n_supervised_tokens": n_tokens.take(label.indices),
        }
    )


def _with_origin(pool: Pool) -> pa.Table:
    return pool.rows.append_column("origin", pa.repeat(pool.origin, pool.n_rows))
