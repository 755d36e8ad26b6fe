"""Gold of a share of the patients: nested, the same in every mix, of whole patients, and drawn for each train seed."""

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from harness.mixes.format import Wording
from harness.mixes.pools import Pool, arm_pool, gold_pool, of_patients
from harness.mixes.stage import Length, training_gold, write_mix
from harness.schemas.mix import Mix, Source
from harness.schemas.recipe_parts import TrainingBudget
from harness.schemas.tables import TRAIN
from harness.store import read_table

Tables = Callable[..., pa.Table]
Texts = Callable[..., list[str]]


@pytest.fixture
def gold(gold_table: Tables, unlike: Texts) -> pa.Table:
    """20 training patients of three sentences each, one with a label of its own."""
    return gold_table(train=unlike(60, "g"), validation=unlike(6, "v"), test=unlike(6, "t"))


def patients(pool: Pool) -> set[str]:
    return set(pool.rows["patient_id"].to_pylist())


def test_smaller_shares_are_parts_of_larger_ones_and_take_whole_patients(gold: pa.Table) -> None:
    every = gold_pool(gold, "train")
    taken = [of_patients(every, share, root_seed=5, seed_index=1) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [pool.n_patients for pool in taken] == [2, 5, 10, 20]
    assert [pool.n_rows for pool in taken] == [6, 15, 30, 60]
    for smaller, larger in pairwise(taken):
        assert patients(smaller) < patients(larger)


def test_at_least_one_patient_is_left(gold: pa.Table) -> None:
    assert of_patients(gold_pool(gold, "train"), 0.001, root_seed=5, seed_index=0).n_patients == 1


def test_the_order_of_rows_moves_no_patient_and_another_seed_does(gold: pa.Table) -> None:
    every = gold_pool(gold, "train")
    shuffled = Pool("gold", every.rows.take(np.random.default_rng(1).permutation(every.n_rows)))
    first = patients(of_patients(every, 0.5, root_seed=5, seed_index=0))
    assert patients(of_patients(shuffled, 0.5, root_seed=5, seed_index=0)) == first
    assert patients(of_patients(every, 0.5, root_seed=6, seed_index=0)) != first


def test_every_train_seed_draws_its_own_patients_and_all_of_them_have_everybody(gold: pa.Table) -> None:
    every = gold_pool(gold, "train")
    halves = [patients(of_patients(every, 0.5, root_seed=5, seed_index=k)) for k in range(3)]
    assert len({frozenset(one) for one in halves}) == 3
    assert [of_patients(every, 1.0, root_seed=5, seed_index=k).rows for k in range(3)] == [every.rows] * 3


def test_mixes_of_the_same_share_draw_from_the_same_patients(
    tmp_path: Path, gold: pa.Table, sentence_table: Tables, unlike: Texts, wording: Wording
) -> None:
    arm = arm_pool("aligned", sentence_table(unlike(40, "a")))
    quarter = Source(origin="gold", share=0.5, patients=0.25)
    mixes = (
        Mix(name="gold_25", sources=(quarter.model_copy(update={"share": 1.0}),)),
        Mix(name="gold_25_aligned", sources=(quarter, Source(origin="aligned", share=0.5))),
    )
    shown = []
    for mix in mixes:
        pools = [training_gold(gold, mix, 0.25, root_seed=5, seed_index=1), *([arm] if len(mix.sources) == 2 else [])]
        length = Length(TrainingBudget(size=80), global_batch=1)
        counts = write_mix(tmp_path / mix.name, mix, gold, pools, wording, length=length, root_seed=5, seed_index=1)
        assert counts.notes["sources"]["gold"]["patients"] == 5
        rows = read_table(tmp_path / mix.name / "train.parquet", TRAIN).to_pylist()
        shown.append({row["sentence_id"] for row in rows if row["origin"] == "gold"})
    assert shown[0] == shown[1]
    assert len(shown[0]) == 15


def test_a_share_that_loses_a_label_is_logged_and_allowed(gold: pa.Table, caplog: pytest.LogCaptureFixture) -> None:
    label = gold.column_names.index("label")
    rare = ["rare" if patient == "train-p0" else "memory" for patient in gold["patient_id"].to_pylist()]
    marked = gold.set_column(label, "label", pa.array(rare, pa.string()))
    seed = next(
        seed
        for seed in range(9)
        if "train-p0" not in patients(of_patients(gold_pool(gold, "train"), 0.1, root_seed=seed, seed_index=0))
    )
    mix = Mix(name="gold_10", sources=(Source(origin="gold", share=1, patients=0.1),))
    with caplog.at_level(logging.INFO):
        pool = training_gold(marked, mix, 0.1, root_seed=seed, seed_index=0)
    assert pool.n_rows == 6
    assert "mix gold_10/seed_0: gold of 2 of 20 training patients, sentences=6 of 60" in caplog.messages
    assert any(
        one.startswith("mix gold_10/seed_0: no gold sentence of rare among 2 patients") for one in caplog.messages
    )
