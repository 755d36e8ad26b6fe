"""Whether a run has the memory it needs: asked before a model is loaded, and said when it runs out all the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil
import torch

from harness.backends.models import local_or_hub
from harness.errors import ConfigError, TrainingError
from harness.training.footprint import Footprint, Way, measure_size
from harness.training.job import TrainingJob
from harness.training.machine import Machine, this_machine
from harness.training.memory import BYTES_NF4, FLOAT32, Keeping, Scheme, Sharing, share_out
from harness.training.plan import BatchPlan

GIB = 2**30
IGNORE_ENV = "HARNESS_IGNORE_MEMORY"
# What torch says on a CPU, where running out has no exception of its own
CPU_WORDS = ("can't allocate memory", "not enough memory")
SCHEMES: Mapping[int, Scheme] = {0: "ddp", 1: "zero1", 2: "zero2", 3: "zero3"}


def check_room(job: TrainingJob, plan: BatchPlan, way: Way, *, offloads: bool = False) -> None:
    """Refuse a run whose weights, gradients and optimizer states alone need more memory than is free.

    What a batch adds is not counted here: `harness plan` tells it, and running out is caught.

    Args:
        job: Settings of the run.
        plan: How an update is cut.
        way: How a pass is run; its adapter and formats count.
        offloads: DeepSpeed moves states to the host, so that a device need not hold them.

    Raises:
        ConfigError: Too little is free, and `HARNESS_IGNORE_MEMORY` is not set.
    """
    if offloads or os.environ.get(IGNORE_ENV, "0") not in ("", "0"):
        return
    machine = this_machine(os.environ)
    needed, free = needed_bytes(job, plan, way, machine), free_bytes(machine)
    if needed > free:
        raise ConfigError(
            f"{job.title}: weights, gradients and optimizer states need {needed / GIB:.2f} GiB in each process, "
            f"and {free / GIB:.2f} GiB are free; {advice(job, plan)}; or set {IGNORE_ENV}=1 to start all the same"
        )


def needed_bytes(job: TrainingJob, plan: BatchPlan, way: Way, machine: Machine) -> int:
    """Bytes of one process before any batch, from the base model's configuration alone."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(local_or_hub(job.base_model), revision=job.revision)
    size = measure_size(config, way)
    each, of_adapter = _width(way.dtype), _width(way.dtype) if way.adapter_follows else FLOAT32
    base = size.n_total * each
    trainable = size.n_trainable * (of_adapter if way.adapter is not None else each)
    whole = Footprint(size, base + size.n_adapter * of_adapter, trainable, {"gradients": trainable}, {})
    scheme: Scheme = "fsdp" if machine.fsdp else SCHEMES[machine.zero_stage]
    if scheme == "ddp" and plan.n_processes == 1:
        scheme = "single"
    keeping = Keeping(
        n_states=2.0,
        is_sixteen_bit=way.mixed is not None or way.dtype != "float32",
        bytes_quantized=BYTES_NF4 if job.method == "qlora" else None,
    )
    return share_out(whole, Sharing(scheme, plan.n_processes), keeping).total


def free_bytes(machine: Machine) -> int:
    """Of this process's GPU, or its share of the machine's memory."""
    if machine.cuda:
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available) // machine.n_local


def _width(dtype: str) -> int:
    return FLOAT32 if dtype == "float32" else 2


def advice(job: TrainingJob, plan: BatchPlan) -> str:
    """What would need less, the cheapest first; `harness plan` tells how much less."""
    changes = []
    if plan.per_device_batch > 1:
        changes.append(f"training.sft.per_device_train_batch_size={plan.per_device_batch // 2}")
    asked = job.sft.get("activation_checkpointing", job.sft.get("gradient_checkpointing"))
    if not asked:
        changes.append("training.sft.activation_checkpointing=true")
    changes += {
        "full": ["training.method=lora", "zero2 or zero3 on more GPUs"],
        "lora": ["training.method=qlora on a GPU"],
    }.get(job.method, [])
    return f"try {', '.join(changes)} (`harness plan` says what each needs)"


@contextmanager
def told_when_full(job: TrainingJob, plan: BatchPlan) -> Iterator[None]:
    """Turn running out of memory inside the block into an error that says what to change.

    Raises:
        TrainingError: Memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise TrainingError(f"{job.title}: out of memory on {_where()}; {advice(job, plan)}") from error


def ran_out(error: Exception) -> bool:
    """Whether an exception says that memory ran out, on a GPU or a CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in CPU_WORDS)


def _where() -> str:
    machine: Any = this_machine(os.environ)
    return "the GPU" if machine.cuda else "the CPU"
