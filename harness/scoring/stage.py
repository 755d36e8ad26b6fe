"""Scoring: every fine-tuned run and every baseline gives each held-out sentence a probability for each label.

Cheap learners learn each mix once. Where train seeds draw patients of their own, they learn from those of seed 0, so
nothing of theirs says what another draw would have given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.backends.models import four_bit, load_model, load_tokenizer, revision_of
from harness.backends.tokenizer import uses_chat
from harness.errors import DataError
from harness.label_sets import spoken
from harness.prompts.render import completions, render_classify, template_source
from harness.schemas.manifest import Counts
from harness.schemas.mix import Mix
from harness.schemas.recipe_parts import Training
from harness.schemas.tables import GOLD, PREDICTIONS, THRESHOLDS, TRAIN
from harness.scoring.answers import of_sets, prediction_rows
from harness.scoring.baselines import majority_predictions, tfidf_predictions
from harness.scoring.embedding_learner import minilm_predictions
from harness.scoring.thresholds import with_thresholds
from harness.seeds import integer
from harness.store import Run, Unit, read_table, write_table

if TYPE_CHECKING:
    from harness.scoring.label_likelihood import LabelScores

log = logging.getLogger(__name__)

PREDICTIONS_FILE, THRESHOLDS_FILE = "predictions.parquet", "thresholds.parquet"
Baseline = Literal["tfidf", "minilm", "majority"]


def units(run: Run) -> list[Unit]:
    found = []
    for mix in run.recipe.mixes:
        found += [_llm_unit(run, mix, k) for k in run.recipe.train_seeds]
        found += [_baseline_unit(run, mix, name) for name in run.recipe.file.scoring.baselines]
    return found


def trained_weights(run: Run, mix: str, seed_index: int) -> Path:
    """Weights that the training stage leaves: an adapter, or the whole model."""
    folder = run.path("training", mix, f"seed_{seed_index}")
    if run.recipe.file.training.method == "full":
        return folder / "model" / "model.safetensors"
    return folder / "adapter" / "adapter_model.safetensors"


def _llm_unit(run: Run, mix: Mix, seed_index: int) -> Unit:
    training = run.recipe.file.training
    weights = trained_weights(run, mix.name, seed_index)
    return Unit(
        stage="scoring",
        name=f"{mix.name}/seed_{seed_index}",
        inputs=[weights, run.path("cohort", "gold.parquet")],
        settings={
            **_common_settings(run),
            "base_model": training.base_model,
            "weights": revision_of(training.base_model, training.revision),
            "dtype": training.dtype,
            "decide": run.recipe.file.scoring.model_dump(include={"method", "length_normalisation", "label_prior"}),
            "method": training.method,
            "chat": training.chat,
            "template": template_source(run.task, run.task.file.prompts.classify),
            "disease": run.task.file.disease,
            "definitions": [label.definition for label in run.task.labels],
        },
        seed_path=(),
        work=_score_with(run, weights),
        outputs=_outputs(run, by_threshold=run.recipe.file.scoring.method == "likelihood"),
    )


def _baseline_unit(run: Run, mix: Mix, name: Baseline) -> Unit:
    train = run.mix_table(mix, 0)

    def work(folder: Path) -> Counts:
        rows, held_out, space = read_table(train, TRAIN), _held_out(run), run.task.label_space
        if name == "majority":
            found = majority_predictions(rows, held_out, space)
        else:
            learn = tfidf_predictions if name == "tfidf" else minilm_predictions
            found = learn(rows, held_out, space, integer(run.seed, "scoring", mix.name, name))
        return _write(folder, found, run, by_threshold=True)

    return Unit(
        stage="scoring",
        name=f"{mix.name}/{name}",
        inputs=[train, run.path("cohort", "gold.parquet")],
        settings={**_common_settings(run), "baseline": name},
        seed_path=("scoring", mix.name, name),
        work=work,
        outputs=_outputs(run, by_threshold=True),
    )


def _outputs(run: Run, *, by_threshold: bool) -> tuple[str, ...]:
    """Where sentences have several labels, those above a threshold are given, unless a model wrote its own."""
    return (
        (PREDICTIONS_FILE, THRESHOLDS_FILE) if run.task.label_space.is_multi and by_threshold else (PREDICTIONS_FILE,)
    )


def _common_settings(run: Run) -> dict[str, Any]:
    """What decides a number of every learner."""
    return {
        "splits": list(run.recipe.file.scoring.splits),
        "labels": [[label.id, label.name] for label in run.task.labels],
        "sets": list(run.task.label_space.set_ids),
    }


def _held_out(run: Run) -> pa.Table:
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD)
    splits = pa.array(run.recipe.file.scoring.splits, pa.string())
    return gold.filter(pc.is_in(gold["split"], value_set=splits)).combine_chunks()


def _score_with(run: Run, weights: Path) -> Callable[[Path], Counts]:
    def work(folder: Path) -> Counts:
        # torch is imported here: `harness validate` lists these units and must stay fast
        from harness.scoring.decide import CONTENT_FREE, decide

        space = run.task.label_space
        how, held_out = run.recipe.file.scoring, _held_out(run)
        asked = dict(zip(held_out["sentence_id"].to_pylist(), held_out["text"].to_pylist(), strict=True))
        if how.label_prior == "content_free":
            asked["(content-free)"] = CONTENT_FREE
        found = _ask(run, weights, asked)
        if not np.isfinite(found.log_likelihood).all():
            raise DataError(f"{folder}: the model gives some label no likelihood at all; its weights are damaged")
        decided = decide(found, [spoken(one, run.task.label_names) for one in space.set_ids], how)
        rows = prediction_rows(held_out, space, of_sets(decided, space))
        return _write(folder, rows, run, by_threshold=how.method == "likelihood")

    return work


def _ask(run: Run, weights: Path, asked: Mapping[str, str]) -> LabelScores:
    """What the fine-tuned model says of each text, by its id, in order."""
    from harness.scoring.label_likelihood import score_labels

    training, task = run.recipe.file.training, run.task
    tokenizer = load_tokenizer(training.base_model, revision=training.revision)
    with _FineTuned(training, weights) as model:
        return score_labels(
            model,
            tokenizer,
            [render_classify(task, text) for text in asked.values()],
            list(completions(task).values()),
            max_tokens=run.recipe.file.scoring.max_tokens,
            ids=list(asked),
            chat=uses_chat(tokenizer, training.chat),
        )


def _write(folder: Path, predictions: pa.Table, run: Run, *, by_threshold: bool) -> Counts:
    """Write what a learner says; where sentences have several labels, decide by thresholds first, or leave it."""
    if run.task.label_space.is_multi and by_threshold:
        predictions, thresholds = with_thresholds(predictions, run.task.label_ids)
        write_table(folder / THRESHOLDS_FILE, thresholds, THRESHOLDS)
    table = write_table(folder / PREDICTIONS_FILE, predictions, PREDICTIONS)
    right = table.filter(pc.and_(table["is_true"], table["is_predicted"])).num_rows
    n_sentences = table.num_rows // len(run.task.label_ids)
    return Counts(rows_in=n_sentences, rows_out=table.num_rows, notes={"n_sentences": n_sentences, "n_right": right})


class _FineTuned:
    """The fine-tuned model for the length of a block; an adapter is put on the base model and taken off again."""

    def __init__(self, training: Training, weights: Path) -> None:
        self.training, self.weights = training, weights
        self.adapted: Any = None

    def __enter__(self) -> Any:
        device = _device()
        if self.training.method == "full":
            return load_model(str(self.weights.parent), dtype=self.training.dtype).to(device)
        from peft import PeftModel

        from harness.backends.fused_lora import fuse

        training = self.training
        base = _base_model(training.base_model, training.revision, training.dtype, device, training.method == "qlora")
        self.adapted = PeftModel.from_pretrained(base, str(self.weights.parent)).eval()
        if device == "cpu":
            fuse(self.adapted, evaluating=True)
        return self.adapted

    def __exit__(self, *_: object) -> None:
        if self.adapted is not None:
            self.adapted.unload()


@lru_cache(maxsize=1)
def _base_model(name: str, revision: str | None, dtype: Any, device: str, in_four_bits: bool) -> Any:
    """The base model as the adapter was trained on it, loaded once for all runs of a process."""
    log.info("loading %s for scoring", name)
    if in_four_bits:
        return load_model(name, revision=revision, dtype=dtype, quantization_config=four_bit())
    return load_model(name, revision=revision, dtype=dtype).to(device)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
