"""One process, in this one; what needs the real launcher is in test_training_processes.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.errors import BackendError, ConfigError, DataError, DivergedError
from harness.schemas.tables import TRAIN, TRAINING_LOG
from harness.schemas.trainer_fields import LORA_FIELDS, OWNED_SFT_FIELDS, SFT_FIELDS
from harness.store import read_rows, read_table, sha256_file, write_table
from harness.training.job import TrainingJob

MakeJob = Callable[..., TrainingJob]
MakeTable = Callable[[int], Path]
NO_DROPOUT = {"r": 4, "lora_dropout": 0.0}


def fit(job: TrainingJob, table: Path, folder: Path) -> Any:
    from harness.training.sft import train

    folder.mkdir(parents=True, exist_ok=True)
    return train(job, table, folder)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_rows(folder / "log.parquet", TRAINING_LOG)]


@pytest.fixture(scope="module")
def table(make_table: MakeTable) -> Path:
    return make_table(32)


@pytest.fixture(scope="module")
def trained(make_job: MakeJob, table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, fit(make_job(lora=NO_DROPOUT), table, folder)


def test_field_lists_are_those_of_the_installed_libraries() -> None:
    import dataclasses

    from peft import LoraConfig
    from trl import SFTConfig

    assert {field.name for field in dataclasses.fields(SFTConfig)} == SFT_FIELDS
    assert {field.name for field in dataclasses.fields(LoraConfig)} == LORA_FIELDS
    assert set(OWNED_SFT_FIELDS) <= SFT_FIELDS


def test_training_lowers_the_loss_and_says_what_it_did(trained: tuple[Path, Any]) -> None:
    folder, counts = trained
    log = read_rows(folder / "log.parquet", TRAINING_LOG)
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    assert log[-1]["loss"] < log[0]["loss"]
    notes = counts.notes
    assert (notes["n_updates"], notes["n_examples"], notes["global_batch"]) == (4, 32, 8)
    assert sum(row["tokens"] for row in log) == notes["n_total_tokens"]
    assert (notes["first_loss"], notes["last_loss"]) == (log[0]["loss"], log[-1]["loss"])
    assert notes["n_truncated"] == 0


def test_supervised_tokens_are_those_of_the_mix(trained: tuple[Path, Any], table: Path) -> None:
    assert trained[1].notes["n_supervised_tokens"] == sum(read_table(table, TRAIN)["n_supervised_tokens"].to_pylist())


def test_a_finished_run_is_an_adapter_without_leftovers(trained: tuple[Path, Any]) -> None:
    folder, _ = trained
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"adapter/adapter_model.safetensors", "adapter/adapter_config.json", "adapter/README.md"} <= found
    assert not [name for name in found if name.endswith((".bin", ".pt", ".pth", ".pkl")) or "checkpoint" in name]


def test_the_loss_is_on_the_label_and_the_end_token_alone(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    from harness.backends.models import load_tokenizer
    from harness.training import sft
    from harness.training.plan import plan_batches
    from harness.training.rows import examples

    job = make_job(lora=NO_DROPOUT, sft={"padding_free": False})
    tokenizer = load_tokenizer(job.base_model)
    rows = examples(read_table(table, TRAIN), job, tokenizer)
    plan = plan_batches(8, n_processes=1)
    settings = sft._settings(job, plan, rows, hardware=sft._hardware(job), folder=tmp_path)
    trainer = sft._trainer(job, settings, rows, tokenizer)
    batches = list(trainer.get_train_dataloader())
    shown = [
        (ids, labels) for batch in batches for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)
    ]
    assert len(shown) == rows.table.num_rows
    for row, (ids, labels) in zip(rows.table.to_pylist(), shown, strict=True):  # in the order that was drawn
        supervised = tokenizer.decode(labels[labels != -100])
        assert supervised == row["completion"] + tokenizer.eos_token
        assert tokenizer.decode(ids).startswith(row["prompt"] + row["completion"])


def test_our_tokens_are_those_trl_trains_on(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    from harness.backends.models import load_tokenizer
    from harness.backends.tokenizer import encode_pairs
    from harness.training import sft
    from harness.training.plan import plan_batches
    from harness.training.rows import examples

    job = make_job()
    tokenizer = load_tokenizer(job.base_model)
    rows = examples(read_table(table, TRAIN), job, tokenizer)
    settings = sft._settings(job, plan_batches(8, n_processes=1), rows, hardware=sft._hardware(job), folder=tmp_path)
    found = sft._trainer(job, settings, rows, tokenizer).train_dataset
    pairs = encode_pairs(tokenizer, rows.table["prompt"].to_pylist(), rows.table["completion"].to_pylist())
    assert list(found["input_ids"]) == [pair.ids for pair in pairs]
    assert list(found["labels"]) == [[-100] * pair.n_prompt + pair.ids[pair.n_prompt :] for pair in pairs]


@pytest.mark.parametrize(
    "how",
    [
        {"per_device_train_batch_size": 4},  # two halves, accumulated
        {"padding_free": False},  # TRL's own loss, over padded rows
        {"per_device_train_batch_size": 2, "padding_free": False},
    ],
)
def test_losses_do_not_depend_on_how_an_update_is_cut(
    make_job: MakeJob, table: Path, trained: tuple[Path, Any], tmp_path: Path, how: dict[str, Any]
) -> None:
    fit(make_job(lora=NO_DROPOUT, sft={"learning_rate": 1e-2, **how}), table, tmp_path)
    assert losses(tmp_path) == pytest.approx(losses(trained[0]), abs=1e-4)


@pytest.mark.parametrize(
    "how",
    [
        {"padding_free": True},
        {"padding_free": True, "model_init_kwargs": {"attn_implementation": "sdpa"}},
        {"padding_free": True, "model_init_kwargs": {"attn_implementation": "eager"}},
        {"padding_free": False},
    ],
    ids=["flat", "flat, TRL's attention", "flat, eager attention", "padded"],
)
def test_an_example_has_the_loss_it_has_alone(
    make_job: MakeJob, table: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    """Rows laid end to end do not see each other, in any order; TRL's chunked loss is the plain one."""
    import torch

    from harness.backends.models import load_model, load_tokenizer
    from harness.training import sft
    from harness.training.plan import plan_batches
    from harness.training.rows import examples

    job = make_job(sft={"learning_rate": 1e-2, **how})
    tokenizer = load_tokenizer(job.base_model)
    rows = examples(read_table(table, TRAIN), job, tokenizer)
    settings = sft._settings(job, plan_batches(8, n_processes=1), rows, hardware=sft._hardware(job), folder=tmp_path)
    trainer = sft._trainer(job, settings, rows, tokenizer)
    features = [{key: row[key] for key in ("input_ids", "labels")} for row in list(trainer.train_dataset)[:8]]
    model, alone = trainer.model.eval(), load_model(job.base_model, dtype="float32")  # the adapter starts at zero
    for order in (features, sorted(features, key=lambda row: len(row["input_ids"]))):
        for i, one in enumerate(order):
            masked = [{**row, "labels": row["labels"] if k == i else [-100] * len(row["labels"])}
                      for k, row in enumerate(order)]  # fmt: skip
            with torch.no_grad():
                found = trainer.compute_loss(model, trainer.data_collator(masked), num_items_in_batch=torch.tensor(1))
                logits = alone(input_ids=torch.tensor([one["input_ids"]])).logits[0, :-1]
            targets = torch.tensor(one["labels"][1:])
            expected = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
            assert float(found) == pytest.approx(float(expected), abs=1e-4)


def test_a_checkpoint_of_another_recipe_is_not_continued(
    make_job: MakeJob, table: Path, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    foreign = tmp_path / "checkpoints" / "checkpoint-3"
    foreign.mkdir(parents=True)
    (foreign / "complete.json").write_text("{}")
    (foreign / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoints" / "key.json").write_text('{"key": "of another recipe"}')
    fit(make_job(lora=NO_DROPOUT), table, tmp_path)
    assert losses(tmp_path) == losses(trained[0])


def test_the_same_job_gives_the_same_bytes(
    make_job: MakeJob, table: Path, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    fit(make_job(lora=NO_DROPOUT), table, tmp_path)
    weights = "adapter/adapter_model.safetensors"
    assert sha256_file(tmp_path / weights) == sha256_file(trained[0] / weights)


def test_runs_of_one_seed_start_from_the_same_adapter_in_every_mix(
    make_job: MakeJob, table: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    still = {"learning_rate": 0.0}
    for name, changes in {"a": {"mix": "a"}, "b": {"mix": "b"}, "c": {"mix": "a", "seed_index": 1}}.items():
        fit(make_job(sft=still, **changes), table, tmp_path / name)
    weights = {name: load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in "abc"}
    key = next(key for key in weights["a"] if "lora_A" in key)
    assert weights["a"][key].equal(weights["b"][key])
    assert not weights["a"][key].equal(weights["c"][key])


def test_the_whole_model_can_be_trained(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    job = make_job(method="full", lora={}, sft={"learning_rate": 1e-3})
    counts = fit(job, table, tmp_path)
    assert (tmp_path / job.weights_file).is_file()
    assert counts.notes["trainable_parameters"] > 1_000_000  # 49,152 x 32 embeddings and more
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]


def test_a_row_that_is_too_long_is_named_and_not_cut(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"arm/s2/0: \d+ tokens; training.max_length is 24: raise it"):
        fit(make_job(max_length=24), table, tmp_path)


def test_a_mix_of_another_budget_is_refused(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 32 rows; 5 updates of 8 examples need 40"):
        fit(make_job(updates=5), table, tmp_path)


def test_a_mix_counted_with_another_tokenizer_is_refused(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    rows = read_table(table, TRAIN)
    place = rows.column_names.index("n_supervised_tokens")
    wrong = rows.set_column(place, "n_supervised_tokens", pa.array([9] * rows.num_rows, pa.int64()))
    write_table(tmp_path / "train.parquet", wrong, TRAIN)
    with pytest.raises(DataError, match="supervised tokens, but the mix counted 9"):
        fit(make_job(), tmp_path / "train.parquet", tmp_path)


def test_unknown_target_modules_are_a_fault_of_the_recipe(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no module 'no_such_layer'; linear modules .*: down_proj, gate_proj"):
        fit(make_job(lora={"target_modules": ["no_such_layer"]}), table, tmp_path)


def test_a_value_that_trl_refuses_is_a_fault_of_the_recipe(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training.sft: .*no_such_schedule"):
        fit(make_job(sft={"lr_scheduler_type": "no_such_schedule"}), table, tmp_path)


def test_a_base_model_that_is_not_there_is_one_clear_error(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="base model '/no/such/model': no such folder"):
        fit(make_job(base_model="/no/such/model"), table, tmp_path)


def test_a_diverged_run_ends_in_an_error(make_job: MakeJob, table: Path, tmp_path: Path) -> None:
    job = make_job(sft={"learning_rate": 1e30, "max_grad_norm": 0.0})
    with pytest.raises(DivergedError, match=r"training/toy/seed_0: the loss or its gradient is not a number at update"):
        fit(job, table, tmp_path)
