"""A plan of training: exact where it can be, DeepSpeed's where DeepSpeed has a formula, and refused when nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import LlamaConfig
from typer.testing import CliRunner

from harness.backends.embedded import unpacked_model
from harness.cli import app
from harness.errors import ConfigError
from harness.pipeline import run_recipe
from harness.planning.training import Choice, TrainingPlan, model_config, plan_training, sharing_of
from harness.planning.training_facts import device_named, devices, models, throughput
from harness.planning.training_text import training_lines
from harness.planning.training_time import pace
from harness.schemas.recipe import Recipe, load_recipe
from harness.training.footprint import Batch, Footprint, Size, Way, measure_footprint, measure_size
from harness.training.memory import BYTES_NF4, Keeping, Sharing, share_out

LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
TOY: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2,
                       "vocab_size": 128}  # fmt: skip
LLAMA = "meta-llama/Llama-3.1-8B"


def recipe(folder: Path, *overrides: str, config: dict[str, Any], **training: Any) -> Recipe:
    """A recipe whose base model is a folder with a configuration and a tokenizer, and no weights."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    for path in unpacked_model().glob("*token*"):
        (model / path.name).write_bytes(path.read_bytes())
    (model / "config.json").write_text(
        json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], **config})
    )
    content = {"task": "alzheimers", "seed": 3, "mixes": ["gold"], "training": {"base_model": str(model), **training}}
    (folder / "r.yaml").write_text(json.dumps(content))
    return load_recipe(folder / "r.yaml", overrides)


def plan(folder: Path, choice: Choice, *overrides: str, **given: Any) -> TrainingPlan:
    return plan_training(recipe(folder, *overrides, **given), folder / "run", choice)


# -- parameters ------------------------------------------------------------------------------------------


def test_llama_is_counted_from_its_published_numbers() -> None:
    """A layer: q and o 4096^2 each, k and v 4096 x 1024 each, three of 4096 x 14336, two norms."""
    layer = 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    total = 32 * (layer + 2 * 4096) + 2 * 128256 * 4096 + 4096
    # r (n_in + n_out) for q, o; k, v; gate, up, down
    adapter = 32 * 16 * (2 * 8192 + 2 * 5120 + 3 * (4096 + 14336))
    size = measure_size(model_config(LLAMA), Way(LORA, "bfloat16"))
    assert (size.n_total, size.n_linear, size.n_trainable, size.n_adapter) == (total, 32 * layer, adapter, adapter)
    assert (total, adapter) == (8_030_261_248, 41_943_040)
    assert size.n_block == layer + 2 * 4096
    assert size.n_largest == size.n_head == 128256 * 4096


def test_rank_and_targets_decide_the_adapter() -> None:
    config = LlamaConfig(num_hidden_layers=2, **TOY)
    only = Way({**LORA, "r": 3, "target_modules": ["q_proj", "v_proj"]}, "float32")
    assert measure_size(config, only).n_adapter == 2 * 3 * ((64 + 64) + (64 + 32))
    assert measure_size(config, Way(None, "float32")).n_adapter == 0


def test_targets_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"target_modules(?s:.*)no module 'q_prj'; did you mean 'q_proj'"):
        measure_size(LlamaConfig(num_hidden_layers=1, **TOY), Way({**LORA, "target_modules": ["q_prj"]}, "float32"))


# -- memory ----------------------------------------------------------------------------------------------


def held(n_layers: int, way: Way, batch: Batch) -> Footprint:
    return measure_footprint(LlamaConfig(num_hidden_layers=n_layers, **TOY), way, batch)


def test_a_layer_keeps_what_arithmetic_says() -> None:
    """Of each token, with frozen float32 weights H = 64, I = 160, r = 16 and four heads, autograd keeps: twice the
    input of a norm (H) with one factor, twice its output for the adapters (H), query, repeated key and value, output of
    attention (4 H) with one sum a head, gate, its activation, up, and their product (4 I), and seven inner products.
    """
    way, batch = Way(LORA, "float32", has_kernels=True), Batch((32,) * 4, 8)
    two, three = (sum(held(n, way, batch).held.values()) for n in (6, 7))
    floats = 2 * (64 + 1) + 2 * 64 + 4 * 64 + 4 + 4 * 160 + 7 * 16
    gradients = 16 * (2 * 128 + 2 * 96 + 3 * 224)  # the adapter's own of one more layer
    assert three - two == pytest.approx(4 * (32 * 4 * floats), abs=4 * gradients)


def test_checkpointing_keeps_one_tensor_a_layer() -> None:
    batch = Batch((32,) * 4, 8)
    few, many = (sum(held(n, Way(LORA, "float32", has_kernels=True, has_checkpointing=True), batch).held.values())
                 for n in (6, 7))  # fmt: skip
    assert many - few == pytest.approx(4 * 32 * 4 * 64, abs=4 * 16 * 1120)


def test_a_flat_batch_is_as_heavy_as_its_tokens_and_a_padded_one_as_its_longest() -> None:
    lengths = (8, 8, 8, 40)
    flat = held(2, Way(LORA, "float32", is_flat=True, is_fused=True), Batch(lengths, 8)).held["activations"]
    padded = held(2, Way(LORA, "float32", has_kernels=True), Batch(lengths, 8)).held["activations"]
    assert flat < 0.6 * padded


def test_gradients_count_when_they_are_made_or_are_there_before() -> None:
    batch = Batch((4, 4), 2)
    first, later = (held(2, Way(None, "float32", has_kernels=True, accumulates=one), batch) for one in (False, True))
    assert first.trainable == 4 * first.size.n_total
    assert later.held["gradients"] == later.trainable
    assert 0 < first.held["gradients"] <= first.trainable
    assert first.held_apart.get("gradients", 0) == 0


def footprint(n_total: int, n_trainable: int, n_largest: int) -> Footprint:
    size = Size(n_total=n_total, n_linear=n_total // 2, n_block=n_largest, n_largest=n_largest, n_head=n_largest,
                n_outside=n_largest, n_adapter=0, n_trainable=n_trainable)  # fmt: skip
    return Footprint(
        size, weights=2 * n_total, trainable=2 * n_trainable, held={"gradients": 7}, held_apart={"logits": 5}
    )


@pytest.mark.parametrize("n", [1, 8])
def test_what_zero_shares_out_is_what_deepspeed_says(n: int) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as zero3
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs as zero2

    total, largest, keeping = 10_000_000, 400_000, Keeping(2, is_sixteen_bit=True)
    one = footprint(total, total, largest)

    def planned(scheme: Any, **offload: bool) -> tuple[int, int]:
        found = share_out(one, Sharing(scheme, n, **offload), keeping)
        return found.weights + found.gradients + found.optimizer, found.host

    host, gpu = zero2(total, num_gpus_per_node=n, cpu_offload=False)
    assert planned("zero2")[0] == gpu
    host, gpu = zero2(total, num_gpus_per_node=n, cpu_offload=True)
    assert planned("zero2", offloads_optimizer=True) == (gpu, host)
    _, gpu, _ = zero3(total, largest, num_gpus_per_node=n, cpu_offload=False, cpu_offload_params=False)
    assert planned("zero3")[0] == gpu
    host, gpu, _ = zero3(total, largest, num_gpus_per_node=n, cpu_offload=True, cpu_offload_params=True)
    assert planned("zero3", offloads_optimizer=True, offloads_weights=True) == (gpu, host)
    host, gpu, _ = zero3(total, largest, num_gpus_per_node=n, cpu_offload=True, cpu_offload_params=False)
    assert planned("zero3", offloads_optimizer=True) == (gpu, host)


def test_frozen_weights_stay_whole_up_to_zero2_and_are_shared_from_zero3() -> None:
    one, keeping = footprint(1_000_000, 1000, 10), Keeping(2, is_sixteen_bit=True)
    whole = {
        scheme: share_out(one, Sharing(scheme, 4), keeping).weights for scheme in ("ddp", "zero1", "zero2", "zero3")
    }
    assert whole["ddp"] == whole["zero1"] == whole["zero2"] == 2_000_000
    assert whole["zero3"] == 2 * 999_000 / 4 + 4 * 10


def test_ddp_copies_gradients_into_buckets_and_four_bits_shrink_linear_layers() -> None:
    one = footprint(1_000_000, 1000, 10)
    single, ddp = (share_out(one, Sharing(scheme, n), Keeping(2, is_sixteen_bit=True))
                   for scheme, n in (("single", 1), ("ddp", 2)))  # fmt: skip
    assert (single.gradients, ddp.gradients) == (7, 7 + 2000)
    assert single.optimizer == 2 * 2000
    packed = share_out(one, Sharing("single", 1), Keeping(2, is_sixteen_bit=True, bytes_quantized=BYTES_NF4))
    assert packed.weights == round(2_000_000 - 500_000 * (2 - BYTES_NF4))


# -- machines and time -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n", "expected"),
    [
        ("cpu", None, Sharing("single", 1)),
        ("multi_gpu", 4, Sharing("ddp", 4)),
        ("zero1", 4, Sharing("zero1", 4)),
        ("zero2", 8, Sharing("zero2", 8)),
        ("zero3_offload", 2, Sharing("zero3", 2, offloads_optimizer=True, offloads_weights=True)),
        ("fsdp2", 4, Sharing("fsdp", 4)),
        ("multi_node_zero2", 16, Sharing("zero2", 16, n_machines=2)),
    ],
)
def test_launch_files_are_read_as_accelerate_reads_them(name: str, n: int | None, expected: Sharing) -> None:
    from harness.schemas.base import read_yaml
    from harness.training.launch import accelerate_config

    assert sharing_of(read_yaml(accelerate_config(name, Path())), n) == expected


def test_facts_are_complete_and_name_their_sources() -> None:
    for file in (devices(), throughput(), models()):
        told = json.loads(file.model_dump_json())
        found = set(_sources(told))
        assert found
        assert found <= set(file.sources)
    for row in throughput().rows:
        assert row.device in devices().devices


def _sources(content: Any) -> list[str]:
    if isinstance(content, dict):
        own = [content["src"]] if "src" in content else []
        return own + [one for value in content.values() for one in _sources(value)]
    return [one for value in content for one in _sources(value)] if isinstance(content, list) else []


def test_a_published_rate_is_taken_as_it_is_and_another_is_scaled_by_arithmetic() -> None:
    rows, peaks = throughput().rows, devices().devices

    def at(device: str, method: Any, n: int, *, has_checkpointing: bool) -> Any:
        return pace(rows, device, method=method, n_parameters=n, has_checkpointing=has_checkpointing, peaks=peaks)

    own = at("h100", "lora", 8_030_000_000, has_checkpointing=False)
    assert (own.tokens_per_s, own.status) == (12473, "published")
    half = at("h100", "lora", 4_015_000_000, has_checkpointing=True)
    assert half.status == "derived"
    assert half.tokens_per_s == pytest.approx(12473 * 2 * 2 / 3)  # half the weights, three passes instead of two
    other = at("a100-80", "lora", 8_030_000_000, has_checkpointing=False)
    assert other.tokens_per_s == pytest.approx(12473 * 312 / 989)
    assert at("cpu", "lora", 8_030_000_000, has_checkpointing=False) is None


# -- whole plans -----------------------------------------------------------------------------------------


def test_a_plan_of_a_small_model_fits_and_adds_up(tmp_path: Path) -> None:
    found = plan(tmp_path, Choice("zero2", "h200", 8), config={"num_hidden_layers": 2, **TOY, "vocab_size": 49152},
                 global_batch_size=16, budget={"size": 10}, train_seeds=3)  # fmt: skip
    assert found.fits
    assert found.remedies == ()
    assert (found.batches.per_device_batch, found.batches.accumulation) == (2, 1)
    assert found.lengths.is_counted
    assert found.runs[0].n_updates == 10
    assert found.tokens_an_update >= 16 * found.lengths.n_tokens.mean()
    text = "\n".join(training_lines(found))
    assert "fits: " in text
    assert "3 (1 mixes x 3 train seeds): 30 updates" in text
    assert "GPU-hours" in text


def test_lengths_are_those_of_every_draw_of_patients(tmp_path: Path) -> None:
    given = recipe(tmp_path, "mixes=[gold, exchange_rate/gold_50]", config={"num_hidden_layers": 2, **TOY},
                   global_batch_size=4, budget={"unit": "epochs", "size": 1}, train_seeds=2)  # fmt: skip
    list(run_recipe(given, tmp_path / "run", until="mixes"))
    n_rows = [pq.read_metadata(path).num_rows for path in (tmp_path / "run" / "04_mixes").rglob("train.parquet")]
    assert len(n_rows) == 3
    found = plan_training(given, tmp_path / "run", Choice("zero2", "h200", 1))
    assert found.lengths.is_mix
    assert found.lengths.n_tokens.size == sum(n_rows)
    part = pq.read_metadata(tmp_path / "run" / "04_mixes" / "gold_50" / "seed_0" / "train.parquet").num_rows
    assert found.runs[1].n_updates == part // 4


def test_a_plan_that_does_not_fit_says_what_would_change_it(tmp_path: Path) -> None:
    """Four billion float32 weights with gradients and Adam's moments are 60 GiB: a 24 GiB card holds none of that."""
    wide = {"hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8,
            "vocab_size": 128256, "num_hidden_layers": 2}  # fmt: skip
    found = plan(tmp_path, Choice("multi_gpu", "rtx4090", 8), config=wide, method="full", global_batch_size=16)
    assert not found.fits
    by_words = {one.words: one.memory.total for one in found.remedies}
    assert by_words["training.method=lora"] < found.capacity < found.memory.total
    assert by_words["--accelerate-config zero3"] < by_words["--accelerate-config zero2"] < found.memory.total
    text = "\n".join(training_lines(found))
    assert "does NOT fit: " in text
    assert "training.method=lora" in text


@pytest.mark.parametrize(
    ("choice", "overrides", "message"),
    [
        (Choice(None, "h20", 1), (), r"--device is 'h20'; did you mean 'h200'\?; known: cpu, h100, h200"),
        (Choice(None, "h100", 0), (), "--gpus is 0; allowed: 1 or more"),
        (Choice(None, "h100", 3), (), "global_batch_size is 16, which 3 processes cannot share"),
        (Choice("zero22", "h100", 1), (), "no configuration 'zero22'; did you mean 'zero2'"),
        (Choice(None, "h100", 1), ("training.base_model=/no/such/model",),
         r"training.base_model is '/no/such/model': its configuration cannot be found .* known without network: meta-llama"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused(
    choice: Choice, overrides: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, choice, *overrides, config={"num_hidden_layers": 1, **TOY})
    assert not (tmp_path / "run").exists()


def test_the_command_prints_the_plan(tmp_path: Path) -> None:
    made = recipe(tmp_path, config={"num_hidden_layers": 1, **TOY, "vocab_size": 49152})
    done = CliRunner().invoke(app, ["plan", str(made.path), "--device", "cpu", "--run-dir", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "parameters  " in done.output
    assert "time: no measured rate for cpu, so no hours; updates and tokens stand above" in done.output
    assert device_named("cpu") is None
