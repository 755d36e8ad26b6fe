"""A task with several labels a sentence, from its gold to the leaderboard. The model is tiny and has random adapters."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness import seeds
from harness.errors import ConfigError
from harness.metrics.thresholds import choose_threshold
from harness.pipeline import STAGES, run_recipe, run_unit
from harness.schemas.manifest import Counts
from harness.schemas.recipe import load_recipe
from harness.schemas.tables import GOLD, METRICS, PREDICTIONS, SENTENCES, THRESHOLDS, TRAIN, TRAINING_LOG
from harness.scoring.stage import trained_weights
from harness.store import Run, Unit, read_rows, read_table, write_table

PHRASES = {
    "memory": ("keeps forgetting names", "repeats the same question", "lost track of her appointments"),
    "falls": ("fell on the stairs", "tripped over the rug", "had another fall in the bath"),
    "pain": ("knees ache all day", "sharp pain in the hip", "sore back for a week"),
    "none": ("blood pressure well controlled", "came with her son", "enjoys her garden"),
}
WORDS = ["garden", "kettle", "river", "Tuesday", "brother", "soup", "window", "train", "letter", "choir", "market", "winter", "bread", "cousin", "piano", "harbour", "lamp", "stairwell", "orange", "neighbour", "jacket", "morning", "radio", "tea", "chess", "postman", "village", "apple", "summer", "clinic", "bus", "scarf", "mirror", "newspaper", "card", "daughter", "lake", "oven", "friend", "pillow"]  # fmt: skip
SETS = ["none", *(";".join(one) for size in (1, 2) for one in combinations(("memory", "falls", "pain"), size))]
TASK: dict[str, Any] = {
    "id": "several",
    "version": 1,
    "title": "Several labels",
    "disease": "a fictional disease",
    "labels": {
        "kind": "multi",
        "at_most": 2,
        "negative": "none",
        "values": [{"id": one, "name": f"{one} trouble", "definition": f"about {one}"} for one in PHRASES],
    },
    "subgroups": {"sex": {"title": "Sex", "levels": {"female": "Woman", "male": "Man"}}},
}


def sentences(n: int, name: str) -> list[dict[str, Any]]:
    """Fictional sentences of one or two phrases and some other words, which keep them from being near-duplicates.

    Every second names its labels as a list, the others back to front.
    """
    rng = seeds.generator(1, "label_sets_end_to_end", name)
    found = []
    for i in range(n):
        labels = str(rng.choice(SETS)).split(";")
        text = ", and ".join(str(rng.choice(PHRASES[label])) for label in labels)
        text += f", {' '.join(rng.choice(WORDS, 8, replace=False))}"
        label = labels if i % 2 else " ; ".join(reversed(labels))
        found.append({"text": f"She {text}.", "label": label})
    return found


def write_recipe(folder: Path, base_model: str, **changed: Any) -> Path:
    (folder / "several").mkdir()
    (folder / "several" / "task.yaml").write_text(yaml.safe_dump(TASK, sort_keys=False), encoding="utf-8")
    people = [{"patient_id": f"p{i % 40:02d}", "sex": ("female", "male")[i % 2]} for i in range(320)]
    gold = [one | person for one, person in zip(sentences(320, "gold"), people, strict=True)]
    for name, rows in (("gold", gold), ("ours", sentences(60, "ours"))):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = [{"origin": "gold", "share": 0.5}, {"origin": "ours", "share": 0.5}]
    (folder / "with_ours.yaml").write_text(yaml.safe_dump({"sources": sources}), encoding="utf-8")
    recipe = {
        "task": "several",
        "seed": 5,
        "gold": {"path": "gold.jsonl", "split": {"train": 0.4, "validation": 0.3, "test": 0.3}},
        "arms": {"ours": {"path": "ours.jsonl"}},
        "mixes": ["gold", "with_ours.yaml"],
        "training": {"base_model": base_model, "dtype": "float32", "global_batch_size": 8, "budget": {"size": 12}},
        "evaluation": {"subgroups": ["sex"], "n_bootstrap": 200},
        "fidelity": {"embedding": "tfidf"},
        "tracking": {"wandb": {"mode": "disabled"}},
        **changed,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every stage for real but training, whose place random adapters take."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from harness.backends.embedded import unpacked_model

    folder = tmp_path_factory.mktemp("several_labels")
    base = folder / "tiny-llama"
    tokenizer = AutoTokenizer.from_pretrained(unpacked_model())
    tokenizer.save_pretrained(base)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
                         initializer_range=0.1)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(base)
    recipe = load_recipe(write_recipe(folder, str(base)))
    run = Run(recipe=recipe, folder=folder / "run")
    list(run_recipe(recipe, run.folder, until="mixes"))
    for mix in recipe.mixes:
        lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        adapted = get_peft_model(LlamaForCausalLM.from_pretrained(base), lora)
        run_unit(
            run, Unit("training", f"{mix.name}/seed_0", (), {}, (), partial(write_adapter, adapted), ("log.parquet",))
        )
    for stage in ("scoring", "evaluation", "reports"):
        for unit in STAGES[stage](run):
            run_unit(run, unit)
    return run


def write_adapter(adapted: Any, folder: Path) -> Counts:
    """What the training stage would leave."""
    adapted.save_pretrained(folder / "adapter")
    row = {"step": 1, "loss": 1.0, "learning_rate": 1e-4, "grad_norm": 1.0, "tokens": 80, "seconds": 1.0}
    write_table(folder / "log.parquet", [row], TRAINING_LOG)
    return Counts(rows_in=1, rows_out=1)


def predictions(run: Run, *place: str) -> dict[tuple[str, str], dict[str, Any]]:
    table = read_table(run.path("scoring", *place, "predictions.parquet"), PREDICTIONS)
    return {(row["sentence_id"], row["label"]): row for row in table.to_pylist()}


def test_gold_arms_and_mixes_hold_sets_and_completions_name_them(run: Run) -> None:
    assert set(read_table(run.path("cohort", "gold.parquet"), GOLD)["label"].to_pylist()) == set(SETS)
    arm = read_table(run.path("annotation", "ours", "sentences.parquet"), SENTENCES)
    assert set(arm["label"].to_pylist()) == set(SETS)
    train = read_rows(run.path("mixes", "with_ours", "train.parquet"), TRAIN)
    written = {row["label"]: row["completion"] for row in train}
    assert written["memory;pain"] == " memory trouble; pain trouble" and written["none"] == " none trouble"
    assert all(row["prompt"].endswith('\nLabels, at most 2, separated by "; ":') for row in train)


def plainly(run: Run, prompt: str, texts: Sequence[str]) -> list[float]:
    """Log-likelihood of each text and the end token after the prompt, one full forward pass each."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = run.recipe.file.training.base_model
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), trained_weights(run, "gold", 0).parent
    )
    found = []
    for text in texts:
        ids = torch.tensor([tokenizer(prompt + text)["input_ids"] + [tokenizer.eos_token_id]])
        with torch.no_grad():
            log_p = torch.log_softmax(model.eval()(input_ids=ids).logits.double(), dim=-1)
        n_prompt = len(tokenizer(prompt)["input_ids"])
        found.append(sum(float(log_p[0, t - 1, ids[0, t]]) for t in range(n_prompt, ids.shape[1])))
    return found


def test_a_labels_probability_is_the_sum_over_the_sets_that_hold_it(run: Run) -> None:
    found = predictions(run, "gold", "seed_0")
    gold = {row["sentence_id"]: row for row in read_rows(run.path("cohort", "gold.parquet"), GOLD)}
    names = {one: " " + "; ".join(f"{label} trouble" for label in one.split(";")) for one in SETS}
    for sentence_id in sorted({one for one, _ in found})[:3]:
        prompt = f'Sentence: {gold[sentence_id]["text"]}\nLabels, at most 2, separated by "; ":'
        likelihood = dict(zip(SETS, np.exp(plainly(run, prompt, list(names.values()))), strict=True))
        for label in PHRASES:
            holding = sum(p for one, p in likelihood.items() if label in one.split(";"))
            row = found[sentence_id, label]
            assert row["probability"] == pytest.approx(holding / sum(likelihood.values()), abs=1e-4)
            assert row["log_likelihood"] == pytest.approx(np.log(holding), abs=1e-3)
            assert row["is_true"] == (label in gold[sentence_id]["label"].split(";"))


def test_labels_are_those_above_thresholds_that_validation_chose(run: Run) -> None:
    for learner in ("seed_0", "tfidf", "majority"):
        rows = list(predictions(run, "gold", learner).values())
        thresholds = {row["label"]: row for row in read_rows(run.path("scoring", "gold", learner, "thresholds.parquet"), THRESHOLDS)}  # fmt: skip
        for label, threshold in thresholds.items():
            seen = [row for row in rows if row["label"] == label and row["split"] == "validation"]
            truth = np.array([row["is_true"] for row in seen])
            expected = choose_threshold(truth, np.array([row["probability"] for row in seen]))
            assert (threshold["threshold"], threshold["n"], threshold["status"]) == (expected.value, len(seen), "ok")
        assert all(row["is_predicted"] == (row["probability"] >= thresholds[row["label"]]["threshold"]) for row in rows)


def test_metrics_are_those_of_sets_and_a_learner_that_reads_the_phrases_is_good(run: Run) -> None:
    rows = [row for row in read_rows(run.path("evaluation", "metrics.parquet"), METRICS)
            if row["split"] == "test" and row["train_seed"] == "all" and row["class"] == "all"
            and row["subgroup_variable"] == "overall"]  # fmt: skip
    values = {(row["mix"], row["learner"], row["metric"]): row["value"] for row in rows}
    assert {metric for _, _, metric in values} == {
        "micro_f1", "macro_f1", "weighted_f1", "exact_match", "jaccard", "ece", "brier", "ece_scaled", "brier_scaled"}  # fmt: skip
    assert values["gold", "tfidf", "macro_f1"] > 0.95 and values["gold", "tfidf", "exact_match"] > 0.9
    test = [row for row in predictions(run, "gold", "tfidf").values() if row["split"] == "test"]
    hits = sum(row["is_true"] and row["is_predicted"] for row in test)
    counted = sum(row["is_true"] for row in test) + sum(row["is_predicted"] for row in test)
    assert values["gold", "tfidf", "micro_f1"] == pytest.approx(2 * hits / counted)


def test_validation_decisions_are_marked_as_in_sample(run: Run) -> None:
    rows = [row for row in read_rows(run.path("evaluation", "metrics.parquet"), METRICS) if row["status"] == "ok"]
    marked = {(row["split"], row["metric"]) for row in rows if "in-sample" in (row["reason"] or "")}
    assert {split for split, _ in marked} == {"validation"}
    assert {"macro_f1", "exact_match", "f1"} <= {metric for _, metric in marked} and (
        "validation",
        "brier",
    ) not in marked


def test_the_floor_is_that_of_giving_every_label_to_every_sentence(run: Run) -> None:
    rows = {row["class"]: row for row in read_rows(run.path("evaluation", "metrics.parquet"), METRICS)
            if (row["mix"], row["learner"], row["split"]) == ("gold", "majority", "test") and row["metric"] == "f1"
            and row["train_seed"] == "all" and row["subgroup_variable"] == "overall"}  # fmt: skip
    for row in rows.values():
        share = row["n_positive"] / row["n"]
        assert row["value"] == pytest.approx(2 * share / (1 + share))


def test_the_leaderboard_and_the_page_are_written(run: Run) -> None:
    board = run.path("reports", "leaderboard.csv").read_text(encoding="utf-8").splitlines()
    assert len(board) == 1 + 2 * 3  # two mixes: the model, TF-IDF and the floor
    rows = list(csv.DictReader(board))
    assert all(row["exact_match"] and not row["accuracy"] for row in rows)
    page = run.path("reports", "report.html").read_text(encoding="utf-8")
    assert "memory trouble" in page
    assert '<th scope="col" class="num">Exact match</th>' in page
    assert "Confusion matrices" not in page  # one label is taken for another; sets of labels are not


def test_what_gives_a_sentence_one_label_is_refused(tmp_path: Path) -> None:
    arms = {"ours": {"path": "ours.jsonl"},
            "notes": {"sees": ["label"], "unit": "note", "backend": {"kind": "embedded"}}}  # fmt: skip
    path = write_recipe(tmp_path, "embedded:smollm2-135m", arms=arms,
                        annotation={"labels": "llm", "backend": {"kind": "embedded"}})  # fmt: skip
    with pytest.raises(ConfigError) as raised:
        load_recipe(path)
    for place in ("arms.ours: annotation.labels is llm", "arms.notes.unit: note gives a sentence one label"):
        assert place in str(raised.value)
