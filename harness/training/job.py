"""One fine-tuning run as a value: all that decides the adapter, apart from the mix's rows themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from harness.backends.models import revision_of
from harness.schemas.base import Settings
from harness.schemas.mix import Mix
from harness.store import Run

ADAPTER = "adapter"
MODEL = "model"
LOG_TABLE = "log.parquet"
SETTINGS_FILE = "settings.json"


class TrainingJob(Settings):
    """Settings of one run (mix x train seed); holds no path of this machine unless the base model is one."""

    mix: str
    seed_index: int
    root_seed: int
    """The recipe's seed; order and initialisation are drawn from its named children."""
    base_model: str
    revision: str | None
    weights: str
    """What pins the base weights: a hash, a hub commit, `local` or `unpinned`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    method: Literal["lora", "full"]
    lora: dict[str, Any]
    """Fields of peft.LoraConfig as the recipe gives them; the rest are `sft.LORA_DEFAULTS`."""
    sft: dict[str, Any]
    """Fields of trl.SFTConfig as the recipe gives them."""
    global_batch_size: int
    updates: int
    max_length: int

    @property
    def title(self) -> str:
        return f"training/{self.mix}/seed_{self.seed_index}"

    @property
    def weights_file(self) -> str:
        """What the run leaves for scoring, relative to its folder."""
        return weights_file(self.method)


def weights_file(method: Literal["lora", "full"]) -> str:
    """Weights of a finished run, relative to its folder: the adapter alone, or the whole model."""
    return f"{ADAPTER}/adapter_model.safetensors" if method == "lora" else f"{MODEL}/model.safetensors"


def job_for(run: Run, mix: Mix, seed_index: int) -> TrainingJob:
    training = run.recipe.file.training
    return TrainingJob(
        mix=mix.name,
        seed_index=seed_index,
        root_seed=run.seed,
        base_model=training.base_model,
        revision=training.revision,
        weights=revision_of(training.base_model, training.revision),
        dtype=training.dtype,
        method=training.method,
        lora=training.lora,
        sft=training.sft,
        global_batch_size=training.global_batch_size,
        updates=run.recipe.budget(mix),
        max_length=training.max_length,
    )


def train_table(run: Run, mix: str) -> Path:
    return run.path("mixes", mix, "train.parquet")
