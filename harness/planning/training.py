"""What training a recipe will take, before a model is loaded or a machine is paid for.

The base model's configuration is all that is read of it. Sentences of the training split stand in for all others where
the mixes are not written yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.backends.models import local_or_hub, settled_dtype
from harness.errors import BackendError, ConfigError
from harness.generation.forecast import BYTES_PER_TOKEN
from harness.pipeline import run_recipe
from harness.planning import training_facts as facts
from harness.planning.training_time import Pace, pace
from harness.prompts.render import completions, render_classify
from harness.schemas.base import read_yaml
from harness.schemas.mix import Mix
from harness.schemas.recipe import Recipe
from harness.schemas.recipe_parts import Training
from harness.schemas.tables import GOLD, TRAIN
from harness.seeds import generator
from harness.store import Run, read_table
from harness.training.footprint import Batch, Footprint, Way, measure_footprint
from harness.training.launch import accelerate_config
from harness.training.memory import BYTES_NF4, Keeping, Memory, Scheme, Sharing, share_out
from harness.training.plan import DEFAULT_PER_DEVICE_BATCH, BatchPlan, plan_batches
from harness.training.sft import FLAT_BATCH_TOKENS, LORA_DEFAULTS

SIMULATED_BATCHES = 2000
MIB = 2**20
# What a trainer's process on a CPU holds beside tensors, measured on a model of next to no size (benchmarks/memory.py):
# tokenizer, rows, the libraries that a trainer loads when it starts.
CPU_PROCESS_MIB = 100
# Share of activations and logits that glibc keeps in gaps of its heaps: one figure for all sizes. With a low
# MALLOC_MMAP_THRESHOLD_ it vanishes (SmolLM2-135M: planned without it 1615 MiB, measured 1529), at a price in time.
CPU_GAPS = 0.2
ADAM_STATES = 2.0
STATES = {"sgd": 0.0, "adafactor": 0.0, "lion": 1.0, "adamw_8bit": 0.5, "adamw_bnb_8bit": 0.5, "paged_adamw_8bit": 0.5}


@dataclass(frozen=True)
class Choice:
    """What a user would train on.

    Attributes:
        accelerate_config: A shipped name or a path; None takes the recipe's.
        device: A name in facts/devices.yaml, or `cpu`.
        n_processes: GPUs over all machines; None takes the launch file's, else one.
    """

    accelerate_config: str | None = None
    device: str = "cpu"
    n_processes: int | None = None


@dataclass(frozen=True)
class Lengths:
    """Tokens of examples; `is_counted` where the base model's tokenizer did it, and `is_mix` where mixes were read."""

    n_tokens: NDArray[np.int64]
    n_supervised: NDArray[np.int64]
    is_counted: bool
    is_mix: bool


@dataclass(frozen=True)
class Remedy:
    """A change of the recipe or launch, with the memory it would lead to."""

    words: str
    memory: Memory


@dataclass(frozen=True)
class RunPlan:
    """One mix: `n_updates` is None where it follows from a mix that is not written yet."""

    mix: str
    n_updates: int | None


@dataclass(frozen=True)
class TrainingPlan:
    """All that `harness plan --device` says."""

    training: Training
    choice: Choice
    launch_file: Path
    sharing: Sharing
    batches: BatchPlan
    way: Way
    batch: Batch
    lengths: Lengths
    footprint: Footprint
    memory: Memory
    capacity: int
    """Bytes that one process may take on its device."""
    host_capacity: int | None
    """Bytes of this machine, where the launch file moves states there and the plan is for this machine."""
    remedies: tuple[Remedy, ...]
    runs: tuple[RunPlan, ...]
    pace: Pace | None

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.capacity

    @property
    def tokens_an_update(self) -> float:
        """Real and padded, over all processes, in the mean."""
        per_row = float(self.lengths.n_tokens.mean())
        padded = per_row if self.way.is_flat else _padded_mean(self.lengths, self.batches.per_device_batch)
        return padded * self.batches.global_batch


def plan_training(recipe: Recipe, folder: Path, choice: Choice) -> TrainingPlan:
    """Parameters, memory, updates, tokens and time of training a recipe on some machine.

    Args:
        recipe: The loaded recipe.
        folder: The run folder; the cohort stage is run there.
        choice: Launch file, device and number of processes.

    Raises:
        ConfigError: An unknown device or launch file, no processes, a global batch they cannot share, a base model
            whose configuration cannot be found, or an adapter that PEFT refuses.
        HarnessError: Whatever the cohort stage raises.
    """
    device = facts.device_named(choice.device)
    training = recipe.file.training
    launch_file = accelerate_config(choice.accelerate_config or training.accelerate_config, recipe.path.parent)
    sharing = sharing_of(read_yaml(launch_file), choice.n_processes)
    config = model_config(training.base_model, training.revision)
    batches = _batches(training, sharing)
    for _ in run_recipe(recipe, folder, until="cohort"):
        pass
    run = Run(recipe=recipe, folder=folder)
    lengths = row_lengths(run)
    setup = Setup(training, config, device, sharing, lengths, run.seed)
    way, batch = setup.way(batches), setup.batch(batches)
    footprint = measure_footprint(config, way, batch)
    memory = setup.memory(footprint, way)
    capacity = device.n_bytes if device is not None else psutil.virtual_memory().total // sharing.n_processes
    return TrainingPlan(
        training=training,
        choice=choice,
        launch_file=launch_file,
        sharing=sharing,
        batches=batches,
        way=way,
        batch=batch,
        lengths=lengths,
        footprint=footprint,
        memory=memory,
        capacity=capacity,
        host_capacity=psutil.virtual_memory().total if memory.host and device is None else None,
        remedies=() if memory.total <= capacity else tuple(_remedies(setup, batches)),
        runs=tuple(RunPlan(mix.name, _updates(run, mix, lengths)) for mix in recipe.mixes),
        pace=pace(
            facts.throughput().rows, choice.device, method=training.method, n_parameters=footprint.size.n_total,
            has_checkpointing=way.has_checkpointing, peaks=facts.devices().devices,
        ),
    )  # fmt: skip


# -- machine and model ---------------------------------------------------------------------------------


def sharing_of(content: Mapping[str, Any], n_processes: int | None) -> Sharing:
    """What an accelerate YAML spreads over how many processes.

    Raises:
        ConfigError: Fewer than one process.
    """
    if n_processes is not None and n_processes < 1:
        raise ConfigError(f"--gpus is {n_processes}; allowed: 1 or more")
    given = int(content.get("num_processes", -1))
    n = n_processes or (given if given > 0 else 1)
    kind, deepspeed = str(content.get("distributed_type", "NO")), dict(content.get("deepspeed_config") or {})
    scheme: Scheme = "ddp" if n > 1 else "single"
    if kind == "FSDP":
        scheme = "fsdp"
    elif kind == "DEEPSPEED":
        scheme = {1: "zero1", 2: "zero2", 3: "zero3"}.get(int(deepspeed.get("zero_stage", 2)), "zero2")  # type: ignore[assignment]
    return Sharing(
        scheme=scheme,
        n_processes=n,
        n_machines=min(n, int(content.get("num_machines", 1))),
        offloads_optimizer=str(deepspeed.get("offload_optimizer_device", "none")) != "none",
        offloads_weights=str(deepspeed.get("offload_param_device", "none")) != "none",
    )


def model_config(base_model: str, revision: str | None = None) -> Any:
    """The base model's configuration: a shipped one for gated models, else from its folder or the hub.

    Raises:
        ConfigError: None can be found, with what to do.
    """
    from transformers import AutoConfig

    known = facts.architecture_named(base_model)
    if known is not None:
        numbers = {name: int(value) for name, value in known.numbers.values.items()}
        return AutoConfig.for_model(known.model_type, tie_word_embeddings=known.tie_word_embeddings, **numbers)
    try:
        return AutoConfig.from_pretrained(local_or_hub(base_model), revision=revision)
    except (OSError, ValueError, BackendError) as error:
        names = ", ".join(name for one in facts.models().models for name in one.names)
        raise ConfigError(
            f"training.base_model is {base_model!r}: its configuration cannot be found ({type(error).__name__}); give "
            f"a folder with config.json, or log in to the hub; known without network: {names}"
        ) from error


def _batches(training: Training, sharing: Sharing, at_most: int | None = None) -> BatchPlan:
    wanted = training.sft.get("per_device_train_batch_size", DEFAULT_PER_DEVICE_BATCH)
    return plan_batches(training.global_batch_size, n_processes=sharing.n_processes, at_most=at_most or wanted)


# -- rows ------------------------------------------------------------------------------------------------


def row_lengths(run: Run) -> Lengths:
    """Tokens of the rows that will be trained on: those of the mixes where all are written, else of training gold."""
    mixes = [path for mix in run.recipe.mixes for path in run.mix_tables(mix)]
    is_mix = all(path.is_file() for path in mixes)
    if is_mix:
        tables = [read_table(path, TRAIN, columns=["prompt", "completion"]) for path in mixes]
        prompts = [text for table in tables for text in table["prompt"].to_pylist()]
        answers = [text for table in tables for text in table["completion"].to_pylist()]
    else:
        gold = read_table(run.path("cohort", "gold.parquet"), GOLD)
        gold = gold.filter(pc.equal(gold["split"], "train"))
        by_id = completions(run.task)
        prompts = [render_classify(run.task, text) for text in gold["text"].to_pylist()]
        answers = [by_id[label] for label in gold["label"].to_pylist()]
    n_tokens, n_supervised, is_counted = _count(run.recipe.file.training, prompts, answers)
    return Lengths(n_tokens, n_supervised, is_counted=is_counted, is_mix=is_mix)


def _count(
    training: Training, prompts: list[str], completions: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Tokens and supervised tokens of each row, and whether a tokenizer was there to count them."""
    from harness.backends.models import load_tokenizer
    from harness.backends.tokenizer import encode_pairs

    try:
        tokenizer = load_tokenizer(training.base_model, revision=training.revision)
    except BackendError:
        sizes = [[-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts] for texts in (prompts, completions)]
        prompt, answer = (np.array(size, dtype=np.int64) for size in sizes)
        return prompt + answer + 1, answer + 1, False
    pairs = encode_pairs(tokenizer, prompts, completions)
    n_tokens = np.array([len(pair.ids) for pair in pairs], dtype=np.int64)
    return n_tokens, np.array([pair.n_supervised for pair in pairs], dtype=np.int64), True


def _padded_mean(lengths: Lengths, n_rows: int) -> float:
    """Tokens of a row with its padding, in the mean over batches of `n_rows` as they come."""
    whole = lengths.n_tokens[: len(lengths.n_tokens) // n_rows * n_rows]
    return float(whole.reshape(-1, n_rows).max(axis=1).mean()) if len(whole) else float(lengths.n_tokens.max())


def _updates(run: Run, mix: Mix, lengths: Lengths) -> int | None:
    budget, size = run.recipe.budget(mix), run.recipe.file.training.global_batch_size
    if budget.unit == "updates":
        return budget.size
    path = run.mix_table(mix, 0)  # draws of patients differ by little
    if path.is_file():
        return int(read_table(path, TRAIN, columns=["example_id"]).num_rows) // size
    if budget.unit == "supervised_tokens":
        return max(1, round(budget.size / (float(lengths.n_supervised.mean()) * size)))
    return None


# -- memory ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setup:
    """A training on a machine, of which single settings are changed to see what that would do."""

    training: Training
    config: Any
    device: facts.Device | None
    sharing: Sharing
    lengths: Lengths
    root_seed: int

    @property
    def on_gpu(self) -> bool:
        return self.device is not None

    def way(self, batches: BatchPlan) -> Way:
        """As `harness.training.sft` would run it."""
        training, sft = self.training, self.training.sft
        asked = sft.get("activation_checkpointing", sft.get("gradient_checkpointing"))
        is_full, is_quantized = training.method == "full", training.method == "qlora"
        mean = float(self.lengths.n_tokens.mean()) * batches.per_device_batch
        return Way(
            adapter=None if is_full else {**LORA_DEFAULTS, **training.lora},
            dtype="bfloat16" if is_quantized else self._dtype(),
            adapter_follows=is_quantized or self.sharing.scheme == "zero3",
            mixed=("float16" if training.dtype == "float16" else "bfloat16")
            if self.on_gpu and training.dtype != "float32"
            else None,
            has_checkpointing=bool(is_full and self.on_gpu if asked is None else asked),
            is_flat=bool(sft.get("padding_free", not self.on_gpu and mean <= FLAT_BATCH_TOKENS)),
            is_fused=not self.on_gpu and self.sharing.scheme in ("single", "ddp"),
            has_kernels=self.on_gpu,
            accumulates=batches.accumulation > 1,
        )

    def _dtype(self) -> Any:
        if self.training.dtype != "auto":
            return self.training.dtype
        if self.training.method == "full":
            return "float32"
        return "bfloat16" if self.on_gpu else settled_dtype("auto")

    def batch(self, batches: BatchPlan) -> Batch:
        """The heaviest of many batches drawn from the rows."""
        n, way = batches.per_device_batch, self.way(batches)
        rng = generator(self.root_seed, "planning", "batches")
        n_drawn = 1 if len(self.lengths.n_tokens) <= n else SIMULATED_BATCHES
        drawn = rng.permuted(np.tile(np.arange(len(self.lengths.n_tokens)), (n_drawn, 1)), axis=1)[:, :n]
        tokens = self.lengths.n_tokens[drawn]  # (n_drawn, rows of a batch)
        chosen = drawn[int(np.argmax(tokens.sum(axis=1) if way.is_flat else tokens.max(axis=1)))]
        return Batch(
            lengths=tuple(int(one) for one in np.resize(self.lengths.n_tokens[chosen], n)),
            n_supervised=int(np.resize(self.lengths.n_supervised[chosen], n).sum()),
        )

    def memory(self, footprint: Footprint, way: Way) -> Memory:
        optimizer = str(self.training.sft.get("optim", "adamw_torch_fused"))
        keeping = Keeping(
            n_states=STATES.get(optimizer, ADAM_STATES),
            is_sixteen_bit=way.mixed is not None or way.dtype != "float32",
            bytes_quantized=BYTES_NF4 if self.training.method == "qlora" else None,
        )
        shared = share_out(footprint, self.sharing, keeping)
        return replace(shared, overhead=self._overhead(shared))

    def _overhead(self, shared: Memory) -> int:
        if not self.on_gpu:
            return round(CPU_PROCESS_MIB * MIB + CPU_GAPS * (shared.activations + shared.logits))
        known = facts.devices().overhead
        fixed = known.context_mib.v + (known.collectives_mib.v if self.sharing.n_processes > 1 else 0)
        return round(fixed * MIB + known.gaps.v * (shared.activations + shared.logits))


def _remedies(setup: Setup, batches: BatchPlan) -> list[Remedy]:
    """Single changes, the cheapest first, each with what it would lead to."""
    found: list[Remedy] = []

    def look(words: str, changed: Setup, cut: BatchPlan) -> None:
        way = changed.way(cut)
        found.append(Remedy(words, changed.memory(measure_footprint(changed.config, way, changed.batch(cut)), way)))

    training, sharing = setup.training, setup.sharing
    smaller = max(1, batches.per_device_batch // 4)
    if smaller < batches.per_device_batch:
        cut = _batches(training, sharing, smaller)
        look(f"training.sft.per_device_train_batch_size={cut.per_device_batch}", setup, cut)
    if not setup.way(batches).has_checkpointing:
        sft = {**training.sft, "activation_checkpointing": True}
        changed = replace(setup, training=training.model_copy(update={"sft": sft}))
        look("training.sft.activation_checkpointing=true", changed, batches)
    if training.method == "lora" and setup.on_gpu and sharing.scheme in ("single", "ddp", "zero1", "zero2"):
        look("training.method=qlora", replace(setup, training=training.model_copy(update={"method": "qlora"})), batches)
    if training.method == "full":
        lora = training.model_copy(update={"method": "lora"})
        look("training.method=lora", replace(setup, training=lora), batches)
    for scheme in ("zero2", "zero3"):
        if sharing.n_processes > 1 and sharing.scheme in ("ddp", "zero1", "zero2") and scheme != sharing.scheme:
            look(f"--accelerate-config {scheme}", replace(setup, sharing=replace(sharing, scheme=scheme)), batches)
    return found
