"""What a launch file asks of a machine, and whether the machine has it: refused before a model is loaded.

The trainer's own checks come minutes later or not at all: FSDP on a CPU, for one, is left out without a word.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.backends.models import missing_for_four_bit
from harness.errors import ConfigError, collect_faults
from harness.training.job import TrainingJob


@dataclass(frozen=True)
class Machine:
    """What accelerate started, and what is there.

    Attributes:
        n_local: Processes on this machine.
        n_devices: GPUs on this machine, or its processors where there is no GPU.
        cuda: Whether there is a GPU.
        fsdp: Whether the launch file asks for FSDP.
        zero_stage: DeepSpeed's stage; 0 without DeepSpeed.
    """

    n_local: int
    n_devices: int
    cuda: bool
    fsdp: bool
    zero_stage: int


def check_machine(job: TrainingJob) -> None:
    """Refuse a launch that this machine or method cannot do.

    Raises:
        ConfigError: All faults together.
    """
    with collect_faults(ConfigError, "training.accelerate_config") as faults:
        faults.extend(machine_faults(job.method, this_machine(os.environ)))


def this_machine(environment: Mapping[str, str]) -> Machine:
    """The machine as the launcher's variables and torch describe it."""
    import torch

    cpu_wanted = environment.get("ACCELERATE_USE_CPU", "false").lower() == "true"
    cuda = torch.cuda.is_available() and not cpu_wanted
    deepspeed = environment.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"
    return Machine(
        n_local=int(environment.get("LOCAL_WORLD_SIZE", "1")),
        n_devices=torch.cuda.device_count() if cuda else len(os.sched_getaffinity(0)),
        cuda=cuda,
        fsdp=environment.get("ACCELERATE_USE_FSDP", "false").lower() == "true",
        zero_stage=int(environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")) if deepspeed else 0,
    )


def wanted_machine(content: Mapping[str, Any], n_local: int) -> Machine:
    """The same before anything is started, from what an accelerate YAML holds."""
    kind = str(content.get("distributed_type", "NO"))
    stage = content.get("deepspeed_config", {}).get("zero_stage", 2)
    return this_machine(
        {
            "LOCAL_WORLD_SIZE": str(n_local),
            "ACCELERATE_USE_CPU": str(bool(content.get("use_cpu", False))),
            "ACCELERATE_USE_FSDP": str(kind == "FSDP"),
            "ACCELERATE_USE_DEEPSPEED": str(kind == "DEEPSPEED"),
            "ACCELERATE_DEEPSPEED_ZERO_STAGE": str(stage),
        }
    )


def machine_faults(method: str, machine: Machine) -> list[str]:
    """Why this cannot be started; empty where it can."""
    found = []
    if machine.n_local > machine.n_devices:
        what = "GPUs" if machine.cuda else "processors, and no GPU"
        found.append(f"it starts {machine.n_local} processes on this machine, which has {machine.n_devices} {what}; "
                     f"give --num_processes {machine.n_devices} or fewer")  # fmt: skip
    if machine.fsdp and not machine.cuda:
        found.append("FSDP needs GPUs: on a CPU accelerate leaves it out without a word and every process holds the "
                     "whole model; use multi_gpu, zero2 or zero3, which do run on a CPU")  # fmt: skip
    if method == "qlora":
        missing = missing_for_four_bit(cuda=machine.cuda)
        if missing is not None:
            found.append(f"training.method is qlora, which {missing}")
        if machine.zero_stage == 3:
            found.append("training.method is qlora, and ZeRO-3 would cut weights of 4 bits apart; use single_gpu, "
                         "multi_gpu, zero1 or zero2")  # fmt: skip
    return found
