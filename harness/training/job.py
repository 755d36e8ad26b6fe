"""One fine-tuning run as a value: all that decides the adapter, apart from the mix's rows themselves."""

from __future__ import annotations

from typing import Any, Literal

from harness.backends.models import revision_of
from harness.errors import DataError, TrainingError
from harness.schemas.base import Settings
from harness.schemas.mix import Mix
from harness.schemas.recipe_parts import Method
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
    method: Method
    lora: dict[str, Any]
    """Fields of peft.LoraConfig as the recipe gives them; the rest are `sft.LORA_DEFAULTS`."""
    sft: dict[str, Any]
    """Fields of trl.SFTConfig as the recipe gives them."""
    global_batch_size: int
    updates: int | None
    """Optimizer updates; None where the budget is counted otherwise: then they follow from the mix's rows."""
    max_length: int
    allow_dropped: int = 0
    chat: Literal["auto"] | bool = False

    @property
    def title(self) -> str:
        return f"training/{self.mix}/seed_{self.seed_index}"

    @property
    def n_updates(self) -> int:
        """Optimizer updates of a settled job.

        Raises:
            TrainingError: They were never settled, see `settled`.
        """
        if self.updates is None:
            raise TrainingError(f"{self.title}: its number of updates follows from the mix's rows, which nobody read")
        return self.updates

    @property
    def weights_file(self) -> str:
        """What the run leaves for scoring, relative to its folder."""
        return weights_file(self.method)


def weights_file(method: Method) -> str:
    """Weights of a finished run, relative to its folder: the adapter alone, or the whole model."""
    return f"{ADAPTER}/adapter_model.safetensors" if method != "full" else f"{MODEL}/model.safetensors"


def settled(job: TrainingJob, n_rows: int) -> TrainingJob:
    """The same job with its number of updates, which the mix's rows must fill exactly.

    Raises:
        DataError: The mix was written for another budget or global batch, or holds nothing.
    """
    size = job.global_batch_size
    wanted = job.updates * size if job.updates is not None else max(1, -(-n_rows // size)) * size
    if n_rows != wanted:
        raise DataError(
            f"mix {job.mix}: holds {n_rows} rows; {wanted // size} updates of {size} examples need {wanted}; run the "
            "mixes stage again"
        )
    return job.model_copy(update={"updates": n_rows // size})


def job_for(run: Run, mix: Mix, seed_index: int) -> TrainingJob:
    training = run.recipe.file.training
    budget = run.recipe.budget(mix)
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
        updates=budget.size if budget.unit == "updates" else None,
        max_length=training.max_length,
        allow_dropped=training.allow_dropped,
        chat=training.chat,
    )
