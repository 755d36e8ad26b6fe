"""A finished run leaves one folder that transformers loads and that scores as base and adapter do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.backends.models import load_model, load_tokenizer
from harness.errors import ConfigError, DataError
from harness.pipeline import run_recipe, run_unit
from harness.planning.runs import opened_run
from harness.schemas.recipe import load_recipe
from harness.store import Run, read_manifest, write_json
from harness.training.export import export_run
from harness.training.job import job_for
from harness.training.sft import train
from harness.training.stage import unit

PROMPTS = ["Sentence: She lost her way home.\nLabel:", "Sentence: He cooks every day and sleeps well.\nLabel:"]
LABELS = [" memory", " daily living", " no symptom"]


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder with one trained cell of two."""
    folder = tmp_path_factory.mktemp("exported")
    content = {
        "task": "alzheimers", "seed": 3, "mixes": ["gold"],
        "training": {"base_model": str(tiny_model), "dtype": "float32", "global_batch_size": 8, "budget": {"size": 4},
                     "train_seeds": 2, "lora": {"r": 4, "lora_dropout": 0.0}, "sft": {"learning_rate": 0.05}},
    }  # fmt: skip
    (folder / "toy.yaml").write_text(json.dumps(content))
    recipe = load_recipe(folder / "toy.yaml")
    made = Run(recipe=recipe, folder=folder / "run")
    list(run_recipe(recipe, made.folder, until="mixes"))
    mix = recipe.mix("gold")
    job, table = job_for(made, mix, 0), made.mix_table(mix, 0)
    run_unit(made, unit(made, mix, 0, lambda place: _train(job, table, place)))
    return made


def _train(job: object, table: Path, place: Path) -> object:
    from harness.training.job import SETTINGS_FILE

    write_json(place / SETTINGS_FILE, job.model_dump(mode="json"))  # type: ignore[attr-defined]
    return train(job, table, place)  # type: ignore[arg-type]


def test_an_export_scores_as_base_and_adapter_do(run: Run, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    from harness.scoring.label_likelihood import score_labels

    out = export_run(run, "gold", 0, tmp_path / "model")
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl")) or "adapter" in name}
    base_model = run.recipe.file.training.base_model
    adapter = run.path("training", "gold", "seed_0", "adapter")
    tokenizer = load_tokenizer(base_model)
    base = load_model(base_model, dtype="float32")
    before = score_labels(base, tokenizer, PROMPTS, LABELS, max_tokens=128).log_likelihood
    adapted = PeftModel.from_pretrained(base, str(adapter)).eval()
    apart = score_labels(adapted, tokenizer, PROMPTS, LABELS, max_tokens=128).log_likelihood
    merged = AutoModelForCausalLM.from_pretrained(out).eval()
    retokenized = AutoTokenizer.from_pretrained(out)
    together = score_labels(merged, retokenized, PROMPTS, LABELS, max_tokens=128).log_likelihood
    assert together == pytest.approx(apart, abs=1e-4)
    assert abs(apart - before).max() > 0.1  # the adapter says something
    assert merged.config.use_cache
    assert merged.config.architectures == ["LlamaForCausalLM"]
    assert GenerationConfig.from_pretrained(out).eos_token_id == tokenizer.eos_token_id
    assert "library_name: transformers" in (out / "README.md").read_text()


def test_a_run_leaves_all_that_explains_it(run: Run) -> None:
    folder = run.path("training", "gold", "seed_0")
    notes = read_manifest(folder).counts.notes
    assert (notes["status"], notes["reason"]) == ("finished", None)
    assert {path.name for path in folder.iterdir()} >= {"adapter", "log.parquet", "settings.json", "manifest.json"}
    kept = {path.name for path in (folder / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "tokenizer.json", "README.md", "recipe.resolved.json"} <= kept


@pytest.mark.parametrize(
    ("mix", "seed", "error", "message"),
    [
        ("golf", 0, ConfigError, "no mix 'golf'; did you mean 'gold'"),
        ("gold", 2, ConfigError, r"--seed is 2; the recipe's training.train_seeds is 2, so 0 to 1"),
        ("gold", -1, ConfigError, r"--seed is -1"),
        ("gold", 1, DataError, r"training/gold/seed_1 is not finished \(no manifest.json\); run `harness train` first"),
    ],
)
def test_what_cannot_be_exported_is_named(
    run: Run, mix: str, seed: int, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        export_run(run, mix, seed, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not an empty folder; give another --out"):
        export_run(run, "gold", 0, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_diverged_run_is_not_exported(run: Run, tmp_path: Path) -> None:
    path = run.path("training", "gold", "seed_0", "manifest.json")
    sound = path.read_text()
    told = json.loads(sound)
    told["counts"]["notes"].update(status="diverged", reason="the loss lay above its start")
    try:
        write_json(path, told)
        with pytest.raises(DataError, match=r"is diverged \(the loss lay above its start\); it is not exported"):
            export_run(run, "gold", 0, tmp_path / "model")
    finally:
        path.write_text(sound)


def test_a_run_folder_stands_for_its_recipe(run: Run, tmp_path: Path) -> None:
    assert opened_run(run.folder, [], None).recipe.path == run.recipe.path
    with pytest.raises(ConfigError, match=r"holds no recipe\.resolved\.json, so it is no run folder"):
        opened_run(tmp_path, [], None)
