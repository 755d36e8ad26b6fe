"""One supervised fine-tuning run: rows of a mix in, an adapter and a log out. With `trainer.py` the only caller of TRL.

The trainer's own choices are taken over except where runs would stop being comparable: the order of rows is fixed,
nothing is shuffled, packed, cut or dropped, the loss is on the label alone, and an update is the same rows on any
number of processes. Every process of a run calls `train`; only the first writes files of ours.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import DistributedType, PartialState
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, ProgressCallback
from transformers.integrations import deepspeed
from trl import SFTConfig, SFTTrainer

from harness.backends.fused_lora import fuse
from harness.backends.models import four_bit, load_model, load_tokenizer, settled_dtype
from harness.errors import ConfigError, TrainingError
from harness.schemas.manifest import Counts
from harness.schemas.tables import TRAIN, TRAINING_LOG
from harness.seeds import integer
from harness.store import read_table, sha256_file, sha256_json, write_table
from harness.training.card import write_card
from harness.training.checkpoints import CHECKPOINTS, keep_matching, latest
from harness.training.counted import measure, n_padded, reset_peak, run_counts
from harness.training.flat_attention import use_flat_attention
from harness.training.footprint import Way
from harness.training.health import health
from harness.training.job import ADAPTER, LOG_TABLE, MODEL, TrainingJob, settled
from harness.training.machine import check_machine
from harness.training.plan import DEFAULT_PER_DEVICE_BATCH, BatchPlan, checkpoint_interval, plan_batches
from harness.training.room import check_room, told_when_full
from harness.training.rows import Examples, examples
from harness.training.targets import check_targets
from harness.training.trainer import LabelTrainer, UpdateLog, log_rows

log = logging.getLogger(__name__)

# All linear layers as in "LoRA Without Regret" (Schulman et al. 2025); r, alpha and dropout lie in the range of
# published 8B recipes. QLoRA (Dettmers et al. 2023, appendix B) has dropout 0.1 up to 13B and 0.05 above.
LORA_DEFAULTS: dict[str, Any] = {
    "r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "target_modules": "all-linear",
    "task_type": "CAUSAL_LM",
}
# On a CPU, rows laid end to end in one sequence save the padding but attend over the whole batch; past about this many
# tokens a batch the attention costs more than the padding did (SmolLM2-135M, float32).
FLAT_BATCH_TOKENS = 1024
# transformers 5.2x renamed the field, and the old name warns
CHECKPOINTING = "activation_checkpointing"
if CHECKPOINTING not in SFTConfig.__dataclass_fields__:
    CHECKPOINTING = "gradient_checkpointing"


@dataclass(frozen=True)
class Hardware:
    """What the run computes on, and in which floating-point format."""

    device: str
    dtype: Literal["float32", "bfloat16", "float16"]  # of the base weights
    use_cpu: bool
    bf16: bool
    fp16: bool


def train(job: TrainingJob, table: Path, folder: Path) -> Counts:
    """Fine-tune the base model on one mix and write `adapter/` (or `model/`) and `log.parquet` into `folder`.

    Called by every process of the run. An interrupted run goes on from its last whole checkpoint and ends with the same
    adapter and log, apart from `seconds`.

    Args:
        job: Settings of the run.
        table: The mix's `train.parquet`.
        folder: The run's own folder, which all processes can reach.

    Returns:
        Rows and notes: updates, examples, tokens, first and last loss, processes, device.

    Raises:
        ConfigError: Settings that TRL, PEFT or the number of processes do not allow.
        DataError: Rows that would be cut, dropped or miscounted.
        BackendError: The base model cannot be loaded.
        DivergedError: The loss is no longer a number.
    """
    check_machine(job)
    hardware = _hardware(job)
    plan = plan_batches(
        job.global_batch_size,
        n_processes=int(os.environ.get("WORLD_SIZE", "1")),
        at_most=job.sft.get("per_device_train_batch_size", DEFAULT_PER_DEVICE_BATCH),
    )
    tokenizer = load_tokenizer(job.base_model, revision=job.revision)
    mix = read_table(table, TRAIN)
    job = settled(job, mix.num_rows)
    rows = examples(mix, job, tokenizer)
    settings = _settings(job, plan, rows, hardware=hardware, folder=folder)
    first = PartialState().is_main_process
    if first:
        keep_matching(folder / CHECKPOINTS, _checkpoint_key(job, plan, table))
    PartialState().wait_for_everyone()
    with _outside_zero3():
        check_room(job, plan, _way(job, settings, hardware), offloads=_offloads())
    with told_when_full(job, plan):
        trainer = _trainer(job, settings, rows, tokenizer)
    n_trainable = sum(getattr(p, "ds_numel", p.numel()) for p in trainer.model.parameters() if p.requires_grad)
    checkpoint = latest(folder / CHECKPOINTS)
    if checkpoint is not None:
        log.info("going on from %s", checkpoint.name)
    reset_peak()
    with told_when_full(job, plan):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    logged = log_rows(trainer.state.log_history)
    counts = run_counts(plan, rows, logged, padded=_padded(settings, plan, rows))
    counts.notes.update(
        measure(trainer.accelerator, logged, int(rows.n_tokens.sum())),
        device=hardware.device,
        dtype=hardware.dtype,
        distributed=PartialState().distributed_type.value,
        trainable_parameters=n_trainable,
        **health([row["loss"] for row in logged], -(-rows.n_distinct // job.global_batch_size)).as_notes(),
    )
    _save(trainer, job, folder, counts, table=table)
    if first:
        write_table(folder / LOG_TABLE, logged, TRAINING_LOG)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    PartialState().wait_for_everyone()
    return counts


def _hardware(job: TrainingJob) -> Hardware:
    dtype = settled_dtype(_load_dtype(job))
    use_cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() == "true" or not torch.cuda.is_available()
    if use_cpu:
        return Hardware(device="cpu", dtype=dtype, use_cpu=True, bf16=False, fp16=False)
    bf16 = torch.cuda.is_bf16_supported() and job.dtype in ("auto", "bfloat16")
    fp16 = not bf16 and job.dtype in ("auto", "float16")
    return Hardware(device=torch.cuda.get_device_name(), dtype=dtype, use_cpu=False, bf16=bf16, fp16=fp16)


def _way(job: TrainingJob, settings: SFTConfig, hardware: Hardware) -> Way:
    """How weights are kept; what a batch does to memory is left to `harness plan`."""
    return Way(
        adapter=None if job.method == "full" else {**LORA_DEFAULTS, **job.lora},
        dtype="bfloat16" if job.method == "qlora" else hardware.dtype,
        adapter_follows=job.method == "qlora",
        mixed="bfloat16" if settings.bf16 else "float16" if settings.fp16 else None,
    )


def _offloads() -> bool:
    """Whether DeepSpeed moves optimizer states to the host."""
    return os.environ.get("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none") != "none"


@contextmanager
def _outside_zero3() -> Iterator[None]:
    """For a model without numbers: while ZeRO-3's settings stand, transformers gathers and fills any model it makes."""
    reference = deepspeed._hf_deepspeed_config_weak_ref  # set by accelerate's plugin or by TrainingArguments
    given = None if reference is None else reference()
    if given is None:
        yield
        return
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed.set_hf_deepspeed_config(given)


def _under_deepspeed() -> bool:
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def _settings(job: TrainingJob, plan: BatchPlan, rows: Examples, *, hardware: Hardware, folder: Path) -> SFTConfig:
    """TRL's settings: our choices for what a recipe may change, the recipe's own, then what no recipe may change."""
    tokens_a_batch = float(rows.n_tokens.mean()) * plan.per_device_batch
    chosen = {
        "save_strategy": "steps",
        "save_steps": checkpoint_interval(job.n_updates),
        "save_total_limit": 1,
        CHECKPOINTING: job.method == "full" and not hardware.use_cpu,  # TRL's default is always
        "bf16": hardware.bf16,
        "fp16": hardware.fp16,
        "dataloader_pin_memory": not hardware.use_cpu,
        "padding_free": hardware.use_cpu and tokens_a_batch <= FLAT_BATCH_TOKENS,
        "ddp_find_unused_parameters": False,  # every trained weight takes part in every loss
        "disable_tqdm": True,
    }
    fixed = {
        "output_dir": str(folder / CHECKPOINTS),
        "max_steps": job.n_updates,
        "per_device_train_batch_size": plan.per_device_batch,
        "gradient_accumulation_steps": plan.accumulation,
        "seed": integer(job.root_seed, "training", f"seed_{job.seed_index}"),  # the same in every mix: runs are paired
        "train_sampling_strategy": "sequential",
        "shuffle_dataset": False,
        "packing": False,
        "max_length": None,  # checked before; TRL would cut, and drop rows without a word
        "completion_only_loss": True,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would hide a loss that is no longer a number
        "report_to": "none",
        # DeepSpeed on the CPU runs with use_cpu off (see harness.train) and needs the backend named
        "use_cpu": hardware.use_cpu and not _under_deepspeed(),
        "ddp_backend": "gloo" if hardware.use_cpu and _under_deepspeed() else job.sft.get("ddp_backend"),
    }
    given = {key: value for key, value in job.sft.items() if key != "model_init_kwargs"}
    if "gradient_checkpointing" in given:
        given[CHECKPOINTING] = given.pop("gradient_checkpointing")
    try:
        return SFTConfig(**{**chosen, **given, **fixed})
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"training.sft: {_first_line(error)}") from error


def _trainer(job: TrainingJob, settings: SFTConfig, rows: Examples, tokenizer: Any) -> SFTTrainer:
    model = load_model(job.base_model, revision=job.revision, dtype=_load_dtype(job), **_load_options(job))
    model.config.use_cache = False
    if job.method != "full":
        check_targets(model, job.lora.get("target_modules"))
    try:
        trainer = LabelTrainer(
            model=model,
            args=settings,
            train_dataset=Dataset(rows.table),
            processing_class=tokenizer,
            peft_config=None if job.method == "full" else LoraConfig(**{**LORA_DEFAULTS, **job.lora}),
        )
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"training.lora, training.sft: {_first_line(error)}") from error
    seen = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    if seen != rows.n_tokens.tolist():
        raise TrainingError(f"{job.title}: TRL would train on {len(seen)} rows, {sum(seen)} tokens; the mix holds "
                            f"{len(rows.n_tokens)} rows, {rows.n_tokens.sum()} tokens")  # fmt: skip
    _speed_up(trainer, job)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(UpdateLog(job, rows, trainer.accelerator))
    return trainer


def _speed_up(trainer: SFTTrainer, job: TrainingJob) -> None:
    """Cheaper attention and adapters on a CPU, where weights are whole: ZeRO and FSDP gather them layer by layer."""
    whole = PartialState().distributed_type in (DistributedType.NO, DistributedType.MULTI_CPU)
    if trainer.args.device.type != "cpu" or not whole:
        return
    if trainer.args.padding_free and "attn_implementation" not in _load_options(job):
        use_flat_attention(trainer.accelerator.unwrap_model(trainer.model))
    fuse(trainer.model)


def _load_dtype(job: TrainingJob) -> Any:
    """Frozen weights may be bfloat16; weights that are trained stay float32 under mixed precision unless told so."""
    return "float32" if job.method == "full" and job.dtype == "auto" else job.dtype


def _load_options(job: TrainingJob) -> dict[str, Any]:
    """`sft.model_init_kwargs`, which TRL itself reads only where it loads the model."""
    options = dict(job.sft.get("model_init_kwargs") or {})
    if job.method == "qlora":
        options = {"quantization_config": four_bit(), **options}
    if isinstance(options.get("quantization_config"), dict):
        from transformers import BitsAndBytesConfig

        try:
            options["quantization_config"] = BitsAndBytesConfig(**options["quantization_config"])
        except (ValueError, TypeError, ImportError) as error:
            raise ConfigError(f"training.sft.model_init_kwargs.quantization_config: {_first_line(error)}") from error
    return options


def _padded(settings: SFTConfig, plan: BatchPlan, rows: Examples) -> int:
    if settings.padding_free:
        return 0
    return n_padded(rows.n_tokens, plan.per_device_batch, multiple=settings.pad_to_multiple_of or 1)


def _save(trainer: SFTTrainer, job: TrainingJob, folder: Path, counts: Counts, *, table: Path) -> None:
    target = folder / (ADAPTER if job.method != "full" else MODEL)
    trainer.save_model(str(target))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        (target / "training_args.bin").unlink(missing_ok=True)  # a pickle, and all of it is in settings.json
        write_card(target, job, counts, table)


def _checkpoint_key(job: TrainingJob, plan: BatchPlan, table: Path) -> str:
    """Settings, rows and the way they are cut: a checkpoint holds one random state for each process."""
    launched = {name: os.environ.get(name) for name in ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP")}
    return sha256_json({"job": job.model_dump(), "plan": plan.as_notes(), "rows": sha256_file(table), **launched})


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), error.__class__.__name__)
