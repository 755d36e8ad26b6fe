r"""What `accelerate launch -m harness.train` starts: one run, a mix x train seed, on however many processes.

    accelerate launch --config_file accelerate_configs/cpu.yaml \
        -m harness.train recipes/quickstart.yaml --mix gold_dualalign --seed 0

trains one cell in a run folder whose mixes exist and leaves what `harness run` would leave, which then skips the cell.
`harness run` itself starts this with `--job`, and writes the manifest itself.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from harness import logs
from harness.errors import ConfigError, HarnessError

log = logging.getLogger("harness.train")  # __name__ is "__main__" under `-m`

USER_MISTAKE = 2
ORPHANED = 3
WATCH_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one run; the exit code is 0, or 2 for an error that the user can mend."""
    given = _parser().parse_args(arguments)
    _prepare_environment()
    logs.configure()
    _watch_launcher()
    try:
        if given.job is not None:
            _train_job(given.job, given.train_table)
        else:
            _train_cell(given)
    except HarnessError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is for the user; a traceback would bury it
        return USER_MISTAKE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="accelerate launch ... -m harness.train", description="Train one mix x train seed."
    )
    parser.add_argument("recipe", nargs="?", type=Path, help="the recipe's YAML file")
    parser.add_argument("--mix", help="name of a mix of the recipe")
    parser.add_argument("--seed", type=int, default=0, help="train seed, from 0 (default: 0)")
    parser.add_argument("--run-dir", type=Path, help="where the tables are; runs/<recipe> by default")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE",
                        help="override one key of the recipe; the same as was given to `harness run`")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="train again what is finished")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--train-table", type=Path, help=argparse.SUPPRESS)
    return parser


def _prepare_environment() -> None:
    """Set what libraries read when they are imported: privacy, and the CPU where there is no GPU."""
    logs.prepare_environment()
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    if torch.cuda.is_available():
        return
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        # accelerate turns DeepSpeed off for use_cpu; naming the device instead leaves it on
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
        os.environ["DS_ACCELERATOR"] = "cpu"
    else:
        os.environ["ACCELERATE_USE_CPU"] = "true"


def _watch_launcher() -> None:
    """End this process when the one that started it through `harness run` is gone, however it ended."""
    from harness.training.launch import LAUNCHER_ENV

    mark = os.environ.get(LAUNCHER_ENV)
    if mark is None:
        return
    import psutil

    number, started = mark.split()

    def watch() -> None:
        while True:
            try:
                alive = psutil.Process(int(number)).create_time() == float(started)
            except psutil.NoSuchProcess:
                alive = False
            if not alive:
                os._exit(ORPHANED)  # not sys.exit: the main thread sits inside torch
            time.sleep(WATCH_S)

    threading.Thread(target=watch, daemon=True).start()


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _train_job(path: Path, table: Path) -> None:
    """Train for `harness run`: counts or an error go back to it through the run's folder."""
    from harness.store import write_json
    from harness.training.job import TrainingJob
    from harness.training.launch import COUNTS_FILE, ERROR_FILE

    folder = path.parent
    try:
        from harness.training.sft import train

        counts = train(TrainingJob.model_validate_json(path.read_bytes()), table, folder)
    except HarnessError as error:
        write_json(folder / ERROR_FILE, {"kind": type(error).__name__, "message": str(error)})
        raise
    if _rank() == 0:
        write_json(folder / COUNTS_FILE, json.loads(counts.model_dump_json()))


def _train_cell(given: argparse.Namespace) -> None:
    """Train a cell that a user named; the first process writes the manifest, the others only train."""
    from harness.pipeline import check_owner, run_unit
    from harness.schemas.manifest import Counts
    from harness.schemas.recipe import load_recipe
    from harness.store import Run, hash_inputs, is_finished, unit_folder, write_json
    from harness.training.job import SETTINGS_FILE, job_for
    from harness.training.launch import claim_cell
    from harness.training.stage import unit
    from harness.upstream import check_upstream

    if given.recipe is None or given.mix is None:
        raise ConfigError("give a recipe and --mix, e.g. -m harness.train recipes/quickstart.yaml --mix gold --seed 0")
    recipe = load_recipe(given.recipe, given.overrides)
    run = Run(recipe=recipe, folder=(given.run_dir or Path("runs") / recipe.name).resolve())
    mix = recipe.mix(given.mix)
    _check_seed(given.seed, recipe.file.training.train_seeds)
    if not check_owner(recipe, run.folder):
        raise ConfigError(
            f"{run.folder}: no run here; run `harness run <recipe> --until mixes` first, or give --run-dir"
        )
    job = job_for(run, mix, given.seed)

    def work(folder: Path) -> Counts:
        from harness.training.sft import train

        if _rank() == 0:
            write_json(folder / SETTINGS_FILE, job.model_dump(mode="json"))
        return train(job, run.mix_table(mix, given.seed), folder)

    cell = unit(run, mix, given.seed, work)
    check_upstream(run, [cell])
    folder = unit_folder(run, cell)
    if _rank() == 0:
        with claim_cell(folder):
            run_unit(run, cell, force=given.force)
    elif given.force or not is_finished(run, cell, hash_inputs(run, cell.inputs)):
        work(folder)


def _check_seed(seed: int, n_seeds: int) -> None:
    if not 0 <= seed < n_seeds:
        raise ConfigError(f"--seed is {seed}; the recipe's training.train_seeds is {n_seeds}, so 0 to {n_seeds - 1}")


if __name__ == "__main__":
    sys.exit(main())
