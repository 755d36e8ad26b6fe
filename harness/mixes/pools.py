"""A pool: the sentences that one source of a mix can draw from, gold or synthetic, in the same four columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.errors import DataError
from harness.schemas.mix import GOLD_ORIGIN
from harness.seeds import generator

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Pool:
    """Sentences of one origin.

    Attributes:
        origin: `gold`, or the arm's name.
        rows: Columns sentence_id, patient_id (a persona's for synthetic text; may be null), text, label.
    """

    origin: str
    rows: pa.Table

    @property
    def n_rows(self) -> int:
        return int(self.rows.num_rows)

    @property
    def n_patients(self) -> int:
        return int(pc.count_distinct(self.rows["patient_id"]).as_py())

    def keep(self, mask: NDArray[np.bool_]) -> Pool:
        return Pool(self.origin, self.rows.filter(pa.array(mask)).combine_chunks())


def gold_pool(gold: pa.Table, split: str) -> Pool:
    """Gold sentences of one split, in the order of the table."""
    rows = gold.filter(pc.equal(gold["split"], split))
    return Pool(GOLD_ORIGIN, rows.select(["sentence_id", "patient_id", "text", "label"]).combine_chunks())


def of_patients(pool: Pool, share: float, *, root_seed: int, seed_index: int) -> Pool:
    """Gold of a share of the patients, at least one of them.

    Every train seed puts the patients in an order of its own and takes the first of them. So the scatter of seeds holds
    the error of which patients were drawn. Within a seed a smaller share is a part of a larger one, whatever mix asks,
    which keeps mixes paired; neither the names of mixes nor the order of rows move it.

    Args:
        pool: Training gold.
        share: In (0, 1].
        root_seed: The recipe's; the order comes from its child ("mixes", "patients", seed_index).
        seed_index: The train seed.
    """
    known = sorted(set(pool.rows["patient_id"].to_pylist()))
    order = generator(root_seed, "mixes", "patients", str(seed_index)).permutation(len(known))
    taken = [known[place] for place in order[: max(1, round(share * len(known)))]]
    return pool.keep(pc.is_in(pool.rows["patient_id"], pa.array(taken, pa.string())).to_numpy())


def arm_pool(arm: str, sentences: pa.Table) -> Pool:
    """Synthetic sentences of an arm; the persona stands where gold has the patient."""
    rows = sentences.select(["sentence_id", "persona_id", "text", "label"])
    return Pool(arm, rows.rename_columns(["sentence_id", "patient_id", "text", "label"]).combine_chunks())


def check_patients_apart(gold: pa.Table) -> None:
    """A held-out patient must never be trained on.

    Raises:
        DataError: A patient is in `train` and in a held-out split; the cohort stage has not done its work.
    """
    held_out = pc.is_in(gold["split"], pa.array(HELD_OUT))
    train = pc.unique(gold["patient_id"].filter(pc.equal(gold["split"], "train")))
    shared = sorted(set(train.to_pylist()) & set(pc.unique(gold["patient_id"].filter(held_out)).to_pylist()))
    if shared:
        raise DataError(f"gold: {len(shared)} patients are in train and in a held-out split, e.g. {shared[0]}")
