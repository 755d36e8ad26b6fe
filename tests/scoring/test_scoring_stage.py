"""The whole stage on the demo gold, with a tiny random model and random adapters in place of trained ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from harness.backends.embedded import unpacked_model
from harness.pipeline import run_recipe, run_unit
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.tables import GOLD, PREDICTIONS
from harness.scoring.stage import trained_weights, units
from harness.store import Run, read_table

N_SEEDS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder with mixes, and two adapters that differ."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    base = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = AutoTokenizer.from_pretrained(unpacked_model())
    tokenizer.save_pretrained(base)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
                         initializer_range=0.1)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(base)
    recipe_path = base / "toy.yaml"
    recipe_path.write_text(json.dumps({
        "task": "alzheimers",
        "seed": 3,
        "gold": {"split": {"train": 0.6, "validation": 0.3, "test": 0.1}},
        "mixes": ["gold"],
        "training": {"base_model": str(base), "dtype": "float32", "train_seeds": N_SEEDS, "global_batch_size": 8,
                     "budget": {"size": 6}},
    }))  # fmt: skip
    run = Run(recipe=load_recipe(recipe_path), folder=tmp_path_factory.mktemp("runs") / "toy")
    list(run_recipe(run.recipe, run.folder, until="mixes"))
    for k in range(N_SEEDS):
        torch.manual_seed(k)
        lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(base), lora)
        adapted.save_pretrained(trained_weights(run, "gold", k).parent)
    for unit in units(run):
        run_unit(run, unit)
    return run


def test_every_learner_scores_every_held_out_sentence_with_every_label(run: Run) -> None:
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD)
    held_out = set(gold.filter(pc.not_equal(gold["split"], "train"))["sentence_id"].to_pylist())
    names = [unit.name for unit in units(run)]
    assert names == ["gold/seed_0", "gold/seed_1", "gold/tfidf", "gold/majority"]
    for name in names:
        table = read_table(run.path("scoring", name, "predictions.parquet"), PREDICTIONS)
        assert set(table["sentence_id"].to_pylist()) == held_out
        assert table.num_rows == len(held_out) * len(run.task.labels)
        assert set(table["label"].to_pylist()) == set(run.task.label_ids)


def test_probabilities_add_up_and_one_label_is_predicted(run: Run) -> None:
    table = read_table(run.path("scoring", "gold/seed_0", "predictions.parquet"), PREDICTIONS)
    shape = (-1, len(run.task.labels))
    probability = table["probability"].to_numpy().reshape(shape)
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-9)
    predicted = np.array(table["is_predicted"].to_pylist()).reshape(shape)
    assert (predicted.sum(axis=1) == 1).all()
    assert (probability.argmax(axis=1) == predicted.argmax(axis=1)).all()
    likelihood = table["log_likelihood"].to_numpy().reshape(shape)
    ratio = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probability, ratio / ratio.sum(axis=1, keepdims=True), atol=1e-9)


def test_true_labels_are_those_of_gold(run: Run) -> None:
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD)
    truth = dict(zip(gold["sentence_id"].to_pylist(), gold["label"].to_pylist(), strict=True))
    table = read_table(run.path("scoring", "gold/seed_1", "predictions.parquet"), PREDICTIONS)
    for row in table.select(["sentence_id", "label", "is_true"]).to_pylist():
        assert row["is_true"] == (truth[row["sentence_id"]] == row["label"])


def test_each_run_is_scored_with_its_own_adapter(run: Run) -> None:
    """The base model is shared; the first run's scores must not change because another one was scored between."""
    path = run.path("scoring", "gold/seed_0", "predictions.parquet")
    before = read_table(path, PREDICTIONS)["log_likelihood"].to_numpy()
    other = read_table(run.path("scoring", "gold/seed_1", "predictions.parquet"), PREDICTIONS)[
        "log_likelihood"
    ].to_numpy()
    assert np.abs(before - other).max() > 0.1
    run_unit(run, units(run)[0], force=True)
    np.testing.assert_array_equal(read_table(path, PREDICTIONS)["log_likelihood"].to_numpy(), before)


def test_an_adapter_stands_alone_as_peft_loads_it(run: Run) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from harness.backends.models import load_tokenizer
    from harness.prompts.render import completions, render_classify
    from harness.scoring.label_likelihood import score_labels

    base = run.recipe.file.training.base_model
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), trained_weights(run, "gold", 1).parent
    ).eval()
    gold = read_table(run.path("cohort", "gold.parquet"), GOLD)
    texts = dict(zip(gold["sentence_id"].to_pylist(), gold["text"].to_pylist(), strict=True))
    table = read_table(run.path("scoring", "gold/seed_1", "predictions.parquet"), PREDICTIONS)
    ids = sorted(set(table["sentence_id"].to_pylist()))[:5]
    expected = score_labels(
        model,
        load_tokenizer(base),
        [render_classify(run.task, texts[one]) for one in ids],
        list(completions(run.task).values()),
        max_tokens=1,
    ).log_likelihood
    for i, sentence_id in enumerate(ids):
        rows = table.filter(pc.equal(table["sentence_id"], sentence_id))
        found = dict(zip(rows["label"].to_pylist(), rows["log_likelihood"].to_pylist(), strict=True))
        np.testing.assert_allclose([found[one] for one in run.task.label_ids], expected[i], atol=1e-4)


def test_units_need_no_weights_to_be_listed(tmp_path: Path) -> None:
    from harness.schemas.shipped import shipped

    empty = Run(recipe=load_recipe(shipped("recipes") / "quickstart.yaml"), folder=tmp_path)
    assert len(units(empty)) == 3 * (1 + 2)  # three mixes: one train seed and two baselines each


def test_generated_labels_carry_a_parse_status(run: Run, tmp_path: Path) -> None:
    """The same model asked to write: a random one would hardly write a label of itself, but nothing else comes out."""
    generating = Run(recipe=_with_scoring(run, method="generate"), folder=run.folder)
    unit = units(generating)[0]
    unit.work(tmp_path)
    table = read_table(tmp_path / "predictions.parquet", PREDICTIONS)
    assert set(table["parse_status"].to_pylist()) <= {"free", "constrained"}
    assert "constrained" in table["parse_status"].to_pylist()
    predicted = table.filter(table["is_predicted"])
    assert predicted.num_rows * len(run.task.labels) == table.num_rows
    before = read_table(run.path("scoring", "gold/seed_0", "predictions.parquet"), PREDICTIONS)
    assert before["parse_status"].null_count == before.num_rows
    np.testing.assert_array_equal(before["log_likelihood"].to_numpy(), table["log_likelihood"].to_numpy())


def test_how_a_label_is_chosen_is_part_of_the_fingerprint(run: Run) -> None:
    for settings in ({"method": "generate"}, {"length_normalisation": "tokens"}, {"label_prior": "content_free"}):
        other = Run(recipe=_with_scoring(run, **settings), folder=run.folder)
        assert units(other)[0].settings != units(run)[0].settings
    roomier = Run(recipe=_with_scoring(run, max_tokens=99), folder=run.folder)  # decides no number
    assert units(roomier)[0].settings == units(run)[0].settings


def _with_scoring(run: Run, **settings: Any) -> Recipe:
    file = run.recipe.file
    return run.recipe.model_copy(update={"file": file.model_copy(update={"scoring": file.scoring.model_copy(
        update=settings)})})  # fmt: skip
