"""Training: every mix x train seed is fine-tuned from the same base model, by a trainer started for it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.schemas.manifest import Counts
from harness.schemas.mix import Mix
from harness.store import Run, Unit
from harness.training.checkpoints import CHECKPOINTS
from harness.training.job import LOG_TABLE, SETTINGS_FILE, TrainingJob, job_for
from harness.training.launch import TRAINER_LOG, accelerate_config, claim_cell, launch


def units(run: Run) -> list[Unit]:
    return [unit(run, mix, k) for mix in run.recipe.mixes for k in run.recipe.train_seeds]


def unit(run: Run, mix: Mix, seed_index: int, work: Callable[[Path], Counts] | None = None) -> Unit:
    """One mix x train seed.

    Args:
        run: The run folder and its recipe.
        mix: What is trained on.
        seed_index: 0 to train_seeds - 1.
        work: What does it; started through accelerate where None. How a run is started does not decide its numbers,
            so a cell that a cluster trained is skipped by `harness run`.
    """
    job, table = job_for(run, mix, seed_index), run.mix_table(mix, seed_index)
    return Unit(
        stage="training",
        name=f"{mix.name}/seed_{seed_index}",
        inputs=[table],
        settings=job.model_dump(mode="json"),
        seed_path=("training", f"seed_{seed_index}"),
        work=work or _launched(run, job, table),
        outputs=(LOG_TABLE, SETTINGS_FILE, job.weights_file),
        resumable=(CHECKPOINTS, TRAINER_LOG),
    )


def _launched(run: Run, job: TrainingJob, table: Path) -> Callable[[Path], Counts]:
    def work(folder: Path) -> Counts:
        config = accelerate_config(run.recipe.file.training.accelerate_config, run.recipe.path.parent)
        with claim_cell(folder):
            return launch(job, table, folder, config=config)

    return work
