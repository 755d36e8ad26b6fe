"""Too little memory is refused before a model is loaded, and running out says what to change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import torch

from harness.errors import ConfigError, TrainingError
from harness.training.footprint import Way
from harness.training.job import TrainingJob
from harness.training.machine import this_machine
from harness.training.plan import plan_batches
from harness.training.room import IGNORE_ENV, advice, check_room, free_bytes, needed_bytes, told_when_full
from harness.training.sft import train

MakeJob = Callable[..., TrainingJob]
PLAN = plan_batches(8, n_processes=1)


def huge(folder: Path) -> str:
    """The configuration of a model of 250 billion parameters; there are no weights to load."""
    (folder / "config.json").write_text(
        '{"model_type": "llama", "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 80,'
        ' "num_attention_heads": 128, "num_key_value_heads": 8, "vocab_size": 49152}'
    )
    return str(folder)


def test_a_model_beyond_the_machine_is_refused_from_its_configuration(
    make_job: MakeJob, make_table: Callable[[int], Path], tiny_model: Path, tmp_path: Path
) -> None:
    for path in tiny_model.glob("*token*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    job = make_job(base_model=huge(tmp_path), method="full", lora={})
    with pytest.raises(
        ConfigError, match=r"training/toy/seed_0: weights, .* need \d+\.\d+ GiB .* free; try .*training\.method=lora"
    ):
        train(job, make_table(32), tmp_path / "run")
    with mock.patch.dict(os.environ, {IGNORE_ENV: "1"}):
        check_room(job, PLAN, Way(None, "float32"))  # forced: no error


def test_what_is_needed_is_the_arithmetic_of_adam(make_job: MakeJob) -> None:
    job, machine = make_job(method="full", lora={}), this_machine({})
    n = needed_bytes(job, PLAN, Way(None, "float32"), machine) / 16  # weight, gradient, two moments of 4 bytes each
    # embedding and head 2 V H, two layers of q, o (H^2), k, v (H^2 / 2), three of H 2H, and two norms; one norm at the end
    v, h = 49152, 32
    assert n == 2 * v * h + 2 * (3 * h * h + 3 * h * 2 * h + 2 * h) + h
    assert free_bytes(machine) > 0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_says_what_to_change(error: Exception, make_job: MakeJob) -> None:
    with (
        pytest.raises(
            TrainingError, match=r"out of memory on the CPU; try training\.sft\.per_device_train_batch_size=4,"
        ),
        told_when_full(make_job(), PLAN),
    ):
        raise error


def test_a_real_allocation_that_fails_is_told(make_job: MakeJob) -> None:
    with pytest.raises(TrainingError, match="out of memory"), told_when_full(make_job(), PLAN):
        torch.empty(2**52)


def test_another_error_stays_what_it_is(make_job: MakeJob) -> None:
    with pytest.raises(RuntimeError, match="shapes"), told_when_full(make_job(), PLAN):
        raise RuntimeError("shapes do not fit")


def test_advice_names_only_what_is_left_to_do(make_job: MakeJob) -> None:
    job = make_job(sft={"activation_checkpointing": True}, method="full", lora={})
    one = plan_batches(1, n_processes=1)
    assert advice(job, one).startswith("try training.method=lora, zero2 or zero3")
