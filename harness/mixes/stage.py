"""Gold and synthetic sentences in; per mix the examples a run is shown, in order, and what was left out and why.

Every mix shows updates x global batch size examples. At a budget of updates they are as many in every mix of a recipe,
which makes mixes comparable and means that a small source repeats: the notes of the manifest say how often. At a budget
of supervised tokens or epochs the number of updates follows from the mix, here.

A mix that takes gold of a share of the patients has one table for each train seed, with patients of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import DataError, collect_faults
from harness.mixes.audit import AUDIT_SETTINGS, Audit, audit
from harness.mixes.budget import Quota, plan, updates_of_epochs, updates_of_tokens
from harness.mixes.draw import Draw, draw_source, shuffle_within_passes
from harness.mixes.format import Wording, examples
from harness.mixes.pools import HELD_OUT, Pool, arm_pool, check_patients_apart, gold_pool, of_patients
from harness.prompts.render import completions, render_classify, template_source
from harness.schemas.manifest import Counts
from harness.schemas.mix import GOLD_ORIGIN, Mix
from harness.schemas.recipe_parts import TrainingBudget
from harness.schemas.tables import AUDIT, GOLD, REJECTED, SENTENCES, TRAIN, VALIDATION
from harness.seeds import generator
from harness.store import Run, Unit, read_table, write_table

log = logging.getLogger(__name__)

# Examples at which proportions are read: which rows take part, and in what proportion, does not depend on the number
ANY_LENGTH = 1_000_000
OUTPUTS = ("train.parquet", "validation.parquet", "audit.parquet", "rejected.parquet")


def units(run: Run) -> list[Unit]:
    """One unit per mix of the recipe, or per train seed of a mix that draws patients."""
    return [_unit(run, mix, k) for mix in run.recipe.mixes for k in run.recipe.draws(mix)]


def _unit(run: Run, mix: Mix, seed_index: int) -> Unit:
    arms = [origin for origin in mix.origins if origin != GOLD_ORIGIN]
    training, task = run.recipe.file.training, run.task
    return Unit(
        stage="mixes",
        name=mix.unit_name(seed_index),
        inputs=(_gold_path(run), *(_arm_path(run, arm) for arm in arms)),
        settings={
            "sources": [source.model_dump(mode="json") for source in mix.sources],
            "budget": run.recipe.budget(mix).model_dump(mode="json"),
            "global_batch_size": training.global_batch_size,
            "base_model": training.base_model,  # its tokenizer counts the supervised tokens
            "revision": training.revision,
            "chat": training.chat,
            "disease": task.file.disease,
            "labels": [label.model_dump(mode="json") for label in task.labels],
            "sets": list(task.label_space.set_ids),
            "classify_template": template_source(task, task.file.prompts.classify),
            "audit": AUDIT_SETTINGS,
        },
        seed_path=_seed_path(mix, seed_index),
        work=partial(_work, run, mix, seed_index),
        outputs=OUTPUTS,
    )


def _gold_path(run: Run) -> Path:
    return run.path("cohort", "gold.parquet")


def _arm_path(run: Run, arm: str) -> Path:
    return run.path("annotation", arm, "sentences.parquet")


def _seed_path(mix: Mix, seed_index: int) -> tuple[str, ...]:
    return ("mixes", *mix.unit_name(seed_index).split("/"))


def _work(run: Run, mix: Mix, seed_index: int, folder: Path) -> Counts:
    from harness.backends.tokenizer import count_supervised

    training = run.recipe.file.training
    texts = completions(run.task)
    n_tokens = count_supervised(training.base_model, training.revision, list(texts.values()), chat=training.chat)
    wording = Wording(
        prompt=partial(render_classify, run.task),
        completions=texts,
        n_tokens=dict(zip(texts, n_tokens, strict=True)),
    )
    gold = read_table(_gold_path(run), GOLD)
    pools = [
        training_gold(gold, mix, source.patients, root_seed=run.seed, seed_index=seed_index)
        if source.origin == GOLD_ORIGIN
        else arm_pool(source.origin, read_table(_arm_path(run, source.origin), SENTENCES))
        for source in mix.sources
    ]
    length = Length(budget=run.recipe.budget(mix), global_batch=training.global_batch_size)
    return write_mix(folder, mix, gold, pools, wording, length=length, root_seed=run.seed, seed_index=seed_index)


def training_gold(gold: pa.Table, mix: Mix, share: float | None, *, root_seed: int, seed_index: int) -> Pool:
    """Training gold that a train seed of a mix can draw from: all of it, or that of a share of the patients.

    A share that leaves a label without sentences is a finding, not a fault: it is what so little gold looks like.
    """
    every = gold_pool(gold, "train")
    if share is None or every.n_rows == 0:
        return every
    pool = of_patients(every, share, root_seed=root_seed, seed_index=seed_index)
    name = mix.unit_name(seed_index)
    log.info("mix %s: gold of %d of %d training patients, sentences=%d of %d",
             name, pool.n_patients, every.n_patients, pool.n_rows, every.n_rows)  # fmt: skip
    lost = sorted(set(every.rows["label"].to_pylist()) - set(pool.rows["label"].to_pylist()))
    if lost:
        log.warning("mix %s: no gold sentence of %s among %d patients; a larger `patients` would bring some",
                    name, ", ".join(lost), pool.n_patients)  # fmt: skip
    return pool


@dataclass(frozen=True)
class Length:
    """How long a run is: a budget, met in whole updates of `global_batch` examples."""

    budget: TrainingBudget
    global_batch: int


def write_mix(folder: Path, mix: Mix, gold: pa.Table, pools: Sequence[Pool], wording: Wording, *, length: Length,
              root_seed: int, seed_index: int = 0) -> Counts:  # fmt: skip
    """Audit, draw, format and write one mix.

    Args:
        folder: Where the four tables go.
        mix: The mix; its sources are `pools`, in the same order.
        gold: The whole gold table; its held-out splits are what nothing may repeat.
        pools: The sources before the audit.
        wording: Prompts, completions and token counts.
        length: The budget of one run and its global batch.
        root_seed: The recipe's seed; draws come from its child ("mixes", mix name), or ("mixes", mix name, "seed_<k>")
            where the mix draws patients.
        seed_index: Train seed that will learn from it; no matter where one table serves all.

    Raises:
        DataError: A held-out patient in training gold, a label without a completion, or a source too small.
    """
    check_patients_apart(gold)
    held_out = {split: gold_pool(gold, split) for split in HELD_OUT}
    _check_labels([*pools, held_out["validation"]], wording)
    audited = audit(pools, held_out)
    draw_of = partial(draw_mix, audited.pools, root_seed=root_seed, seed_path=_seed_path(mix, seed_index))
    updates = n_updates(mix, audited.pools, wording, length, draw_of=draw_of)
    quotas = _quotas(mix, audited.pools, n_examples=updates * length.global_batch)
    draw = draw_of(quotas)
    train = write_table(folder / "train.parquet", examples(audited.pools, draw, wording), TRAIN)
    validation = held_out["validation"]
    once = Draw(rows=np.arange(validation.n_rows), passes=np.zeros(validation.n_rows, dtype=np.int64))
    write_table(folder / "validation.parquet", examples([validation], once, wording), VALIDATION)
    write_table(folder / "audit.parquet", audited.counts, AUDIT)
    write_table(folder / "rejected.parquet", audited.rejected, REJECTED)
    return Counts(
        rows_in=sum(pool.n_rows for pool in pools),
        rows_out=train.num_rows,
        rejected=audited.rejected.num_rows,
        notes={"n_updates": updates, **_notes(audited, quotas, train)},
    )


def n_updates(
    mix: Mix, pools: Sequence[Pool], wording: Wording, length: Length, *, draw_of: Callable[[Sequence[Quota]], Draw]
) -> int:
    """Updates of a run of this mix, from its budget, the pools that the audit left and how examples are drawn of them.

    Raises:
        DataError: A budget that is no whole update, nothing to learn from, or a source too small.
    """
    budget, batch = length.budget, length.global_batch
    if budget.unit == "updates":
        return budget.size
    if budget.unit == "epochs":
        distinct = sum(quota.n_rows for quota in _quotas(mix, pools, n_examples=ANY_LENGTH))
        return updates_of_epochs(budget.size, distinct, global_batch=batch)
    tokens_of_row = [
        np.array([wording.n_tokens[label] for label in pool.rows["label"].to_pylist()], dtype=np.int64)
        for pool in pools
    ]
    quotas = _quotas(mix, pools, n_examples=ANY_LENGTH)
    per_example = (
        sum(quota.n_examples * tokens.mean() for quota, tokens in zip(quotas, tokens_of_row, strict=True)) / ANY_LENGTH
    )
    every_row = np.concatenate(tokens_of_row)  # (rows of all pools,)

    def tokens_of(updates: int) -> int:
        quotas = _quotas(mix, pools, n_examples=updates * batch)
        return int(every_row[draw_of(quotas).rows].sum())

    return updates_of_tokens(budget.size, tokens_of, expected=float(per_example) * batch, mix=mix.name)


def _quotas(mix: Mix, pools: Sequence[Pool], *, n_examples: int) -> tuple[Quota, ...]:
    return plan(mix, {pool.origin: pool.n_rows for pool in pools}, n_examples=n_examples)


def draw_mix(pools: Sequence[Pool], quotas: Sequence[Quota], *, root_seed: int, seed_path: Sequence[str]) -> Draw:
    """Examples of all sources in the order of the file; rows count through the pools laid end to end.

    Every source draws from a seed of its own, so that changing one leaves the draws of the others as they are.
    """
    drawn, before = [], 0
    for pool, quota in zip(pools, quotas, strict=True):
        labels = pool.rows["label"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        rng = generator(root_seed, *seed_path, "draw", pool.origin)
        one = draw_source(labels.astype(np.int64), n_rows=quota.n_rows, n_examples=quota.n_examples, rng=rng)
        drawn.append(Draw(rows=one.rows + before, passes=one.passes))
        before += pool.n_rows
    rows = np.concatenate([one.rows for one in drawn])
    passes = np.concatenate([one.passes for one in drawn])
    order = shuffle_within_passes(passes, rng=generator(root_seed, *seed_path, "order"))
    return Draw(rows=rows[order], passes=passes[order])


def _check_labels(pools: Sequence[Pool], wording: Wording) -> None:
    with collect_faults(DataError, "mixes") as faults:
        for pool in pools:
            unknown = sorted(set(pc.unique(pool.rows["label"]).to_pylist()) - set(wording.completions))
            if unknown:
                faults.add(f"{pool.origin}: column 'label' holds {', '.join(unknown)}; the task knows "
                           f"{', '.join(wording.completions)}")  # fmt: skip


def _notes(audited: Audit, quotas: Sequence[Quota], train: pa.Table) -> dict[str, Any]:
    removed: Mapping[str, int] = {
        check: sum(one["n_removed"] for one in audited.counts if one["check"] == check)
        for check in ("leak", "near_leak", "duplicate", "near_duplicate")
    }
    return {
        "n_supervised_tokens": pc.sum(train["n_supervised_tokens"]).as_py(),
        "removed": dict(removed),
        "sources": {
            quota.origin: {
                "pool": pool.n_rows,
                **({"patients": pool.n_patients} if quota.origin == GOLD_ORIGIN else {}),
                "distinct_shown": min(quota.n_rows, quota.n_examples),
                "shown": quota.n_examples,
                "passes": round(quota.n_examples / quota.n_rows, 3),
            }
            for pool, quota in zip(audited.pools, quotas, strict=True)
        },
    }
