"""Fine-tuning on the CPU: the harness against trl.SFTTrainer as its defaults give it.

    python benchmarks/training.py                       # the figure: three interleaved repeats; on an idle machine
    python benchmarks/training.py --ladder              # what each change buys, from TRL's defaults to ours
    python benchmarks/training.py --profile             # where a step of the harness spends its time
    python benchmarks/training.py --busy --updates 4 --repeats 1    # small, beside other programs

256 different sentences of the demo gold, drawn, worded and budgeted by the mixes stage; SmolLM2-135M with LoRA r 16 on
all linear layers without dropout; 16 examples an update, the same ones in the same order; the same learning rate. The
harness runs as `accelerate launch -m harness.train --job ...` runs it. TRL is given the path of the model, the rows,
the LoRA settings, the learning rate, the number of updates and batches of 16, or of its default 8 accumulated twice;
both are run and the faster one counts. Against its defaults it keeps the order of rows, so that loss curves can be laid
over each other, logs each update, and saves no checkpoint (the harness does save its own, inside the clock).

Seconds are those of `Trainer.train`: loading the model and tokenizing are outside, batches and optimizer inside. Every
run is a process of its own. `training_ratio` leaves OpenMP's threads to each side's own settings;
`training_ratio_same_threads` gives TRL the harness's `GOMP_SPINCOUNT`, which matters where other programs run;
`training_ratio_processor_seconds` is the same in processor time, which other programs hardly touch.

The same training, shown twice. Both sides in float32 from the same adapter seed must give the same losses to rounding
(`training_loss_difference_float32`, the largest of all updates). As they are timed they differ in precision alone
(TRL: float32 weights under bfloat16 autocast; the harness: weights in the processor's format): the mean distance of
their curves at equal adapter seeds stands beside its noise, the mean distance of TRL's own curves at different ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from harness import logs
from harness.backends.models import settled_dtype
from harness.cohort import stage as cohort
from harness.mixes import stage as mixes
from harness.pipeline import run_unit
from harness.schemas.recipe import load_recipe
from harness.schemas.tables import TRAIN, TRAINING_LOG
from harness.store import Run, read_rows, read_table, write_json
from harness.training.job import LOG_TABLE, SETTINGS_FILE, TrainingJob, job_for

ROOT = Path(__file__).resolve().parents[1]
SEED = 20260101
BATCH = 16
RECIPE = {
    "task": "alzheimers",
    "seed": SEED,
    "mixes": ["gold"],
    "training": {
        "base_model": "embedded:smollm2-135m",
        "global_batch_size": BATCH,
        "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"},
        "sft": {"learning_rate": 1.0e-3},
    },
}
PLAIN_SETTINGS = {"activation_checkpointing": False}
FLAT_SETTINGS = {**PLAIN_SETTINGS, "padding_free": True, "max_length": None}


@dataclass(frozen=True)
class Variant:
    """One way to train the same rows; `sft` is added to what every run of TRL is given."""

    trainer: str = "trl"
    sft: dict[str, Any] = field(default_factory=dict)
    considerate_threads: bool = False
    dtype: str = "auto"  # of the harness's base weights


HALVES = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
VARIANTS = {
    "trl": Variant(),
    "trl_8x2": Variant(sft=HALVES),
    "trl_same_threads": Variant(considerate_threads=True),
    "trl_8x2_same_threads": Variant(sft=HALVES, considerate_threads=True),
    "harness": Variant(trainer="harness", considerate_threads=True),
}
_CALM = {"considerate_threads": True}
_BF16 = {"bf16": False, "model_init_kwargs": {"dtype": settled_dtype("auto")}}
EXACT = (
    Variant(sft={"bf16": False, "model_init_kwargs": {"dtype": "float32"}}, **_CALM),
    Variant(trainer="harness", dtype="float32", **_CALM),
)
LADDER = {
    "TRL's defaults": VARIANTS["trl"],
    "threads that wait briefly": VARIANTS["trl_same_threads"],
    "no activation checkpointing": Variant(sft=PLAIN_SETTINGS, **_CALM),
    "weights in the processor's dtype, no autocast": Variant(sft={**PLAIN_SETTINGS, **_BF16}, **_CALM),
    "no padding": Variant(sft={**FLAT_SETTINGS, **_BF16}, **_CALM),
    "logits of supervised positions only": Variant(trainer="harness_head", **_CALM),
    "attention sentence by sentence": Variant(trainer="harness_attention", **_CALM),
    "LoRA fused (the harness)": VARIANTS["harness"],
}


@dataclass(frozen=True)
class Outcome:
    seconds: float
    processor_seconds: float  # of all threads: what other programs take from the machine is not in it
    peak_mb: float
    losses: list[float]


def main() -> None:
    given = _arguments()
    if given.worker:
        _work(given.worker, given.folder)
        return
    logs.prepare_environment()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        job = _prepare(folder, given.updates)
        _say_what_runs(job)
        if given.profile:
            _run(folder, "profile", VARIANTS["harness"], seed=0)
        elif given.ladder:
            _ladder(folder, given)
        else:
            _compare(folder, given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=16, help="of 16 examples (default: 16, all 256 sentences)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", action="store_true", help="only runs with GOMP_SPINCOUNT: with libgomp's default "
                        "TRL comes to a standstill beside other programs")  # fmt: skip
    parser.add_argument("--ladder", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument(
        "--worker", choices=["trl", "harness", "harness_head", "harness_attention"], help=argparse.SUPPRESS
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _prepare(folder: Path, updates: int) -> TrainingJob:
    """Cohort and mix as a recipe makes them; leaves the training table and the job in `folder`."""
    content = {**RECIPE, "training": {**RECIPE["training"], "budget": {"unit": "updates", "size": updates}}}
    (folder / "bench.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    run = Run(recipe=load_recipe(folder / "bench.yaml"), folder=folder / "run")
    for units in (cohort.units, mixes.units):
        for unit in units(run):
            run_unit(run, unit, force=True)
    mix = run.recipe.mixes[0]
    job = job_for(run, mix, 0)
    write_json(folder / "job.json", job.model_dump(mode="json"))
    run.mix_table(mix, 0).rename(folder / "train.parquet")
    return job


def _say_what_runs(job: TrainingJob) -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(
        f"{machine}; base weights of the harness: {settled_dtype(job.dtype)}; {job.updates} updates of {BATCH} examples"
    )


def _compare(folder: Path, given: argparse.Namespace) -> None:
    variants = {name: one for name, one in VARIANTS.items() if one.considerate_threads or not given.busy}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in variants}
    for repeat in range(given.repeats):
        for name, variant in variants.items():  # interleaved: a slow minute of the machine strikes all alike
            seed = repeat if name in ("trl_same_threads", "harness") else 0
            outcomes[name].append(_run(folder, f"{name}_{repeat}", variant, seed=seed))
            print(f"repeat {repeat} {name}: {outcomes[name][-1].seconds:.1f} s", flush=True)
    for name, found in outcomes.items():
        seconds = float(np.median([one.seconds for one in found]))
        print(f"figure {name}_examples_per_second {given.updates * BATCH / seconds:.2f}")
        print(f"figure {name}_peak_mb {max(one.peak_mb for one in found):.0f}")
    _compare_losses(*(np.array([one.losses for one in outcomes[name]]) for name in ("trl_same_threads", "harness")))
    theirs, ours = (_run(folder, f"float32_{i}", one, seed=0).losses for i, one in enumerate(EXACT))
    print(f"figure training_loss_difference_float32 {np.abs(np.array(theirs) - np.array(ours)).max():.6f}")
    same_threads = ("trl_same_threads", "trl_8x2_same_threads")
    print(f"figure training_ratio_processor_seconds {_ratio(outcomes, same_threads, 'processor_seconds'):.2f}")
    print(f"figure training_ratio_same_threads {_ratio(outcomes, same_threads):.2f}")
    if not given.busy:
        print(f"figure training_ratio {_ratio(outcomes, ('trl', 'trl_8x2')):.2f}")


def _compare_losses(theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> None:
    """Print the first curves and the distances between all, each of shape (n_adapter_seeds, n_updates)."""
    pairs = enumerate(zip(theirs[0], ours[0], strict=True), 1)
    print("update: loss of TRL, of the harness; " + "; ".join(f"{i}: {a:.3f}, {b:.3f}" for i, (a, b) in pairs))
    each = np.abs(theirs - ours).mean(axis=1)
    noise = [np.abs(a - b).mean() for a, b in combinations(theirs, 2)]
    print("distance of the two at each adapter seed: " + ", ".join(f"{one:.4f}" for one in each))
    print("distance of TRL's own at two seeds: " + ", ".join(f"{one:.4f}" for one in noise))
    print(f"figure training_loss_difference {each.mean():.4f}")
    print(f"figure training_loss_noise {np.mean(noise) if noise else float('nan'):.4f}")


def _ratio(outcomes: dict[str, list[Outcome]], names: Sequence[str], what: str = "seconds") -> float:
    """Median over repeats of TRL's seconds over ours in the same repeat, for the fastest of `names`."""
    ours = [getattr(one, what) for one in outcomes["harness"]]
    theirs = [[getattr(one, what) for one in outcomes[name]] for name in names]
    return min(float(np.median(np.array(one) / np.array(ours))) for one in theirs)


def _ladder(folder: Path, given: argparse.Namespace) -> None:
    rungs = {name: one for name, one in LADDER.items() if one.considerate_threads or not given.busy}
    found: dict[str, list[Outcome]] = {name: [] for name in rungs}
    for repeat in range(given.repeats):
        for i, (name, variant) in enumerate(rungs.items()):
            found[name].append(_run(folder, f"ladder_{i}_{repeat}", variant, seed=0))
            print(f"repeat {repeat} {name}: {found[name][-1].seconds:.1f} s", flush=True)
    print("| change, on top of those above | seconds per update | processor seconds per update | peak MB |")
    print("| --- | --- | --- | --- |")
    for name, outcomes in found.items():
        wall, busy = (float(np.median([getattr(one, what) for one in outcomes])) / given.updates
                      for what in ("seconds", "processor_seconds"))  # fmt: skip
        print(f"| {name} | {wall:.2f} | {busy:.2f} | {max(one.peak_mb for one in outcomes):.0f} |")
    used = [float(np.median([one.processor_seconds for one in outcomes])) for outcomes in found.values()]
    print(f"figure ladder_processor_seconds_ratio {used[0] / used[-1]:.2f}")


def _run(folder: Path, name: str, variant: Variant, *, seed: int) -> Outcome:
    """Train in a process of its own, started through accelerate as `harness run` starts it."""
    own = folder / name
    own.mkdir()
    job = TrainingJob.model_validate_json((folder / "job.json").read_bytes()).model_copy(
        update={"dtype": variant.dtype}
    )
    write_json(own / SETTINGS_FILE, job.model_dump(mode="json"))
    given = {"sft": variant.sft, "seed": seed, "table": str(folder / "train.parquet"), "profile": name == "profile"}
    write_json(own / "given.json", given)
    environment = {key: value for key, value in os.environ.items() if key not in logs.THREAD_DEFAULTS}
    if variant.considerate_threads:
        environment |= logs.THREAD_DEFAULTS
    command = [sys.executable, "-m", "accelerate.commands.launch",
               "--config_file", str(ROOT / "accelerate_configs/cpu.yaml"),
               str(Path(__file__).resolve()), "--worker", variant.trainer, "--folder", str(own)]  # fmt: skip
    with (own / "worker.log").open("w", encoding="utf-8") as output:
        code = subprocess.run(command, check=False, env=environment, stdout=output, stderr=subprocess.STDOUT).returncode
    said = (own / "worker.log").read_text(encoding="utf-8")
    if code != 0:
        raise SystemExit(f"{name} failed:\n{said[-3000:]}")
    if given["profile"]:
        print(said[said.index("-----") :])
    return Outcome(**json.loads((own / "outcome.json").read_text(encoding="utf-8")))


def _work(kind: str, folder: Path) -> None:
    given = json.loads((folder / "given.json").read_text(encoding="utf-8"))
    clock = _clock_training(profile=given["profile"])
    if kind == "trl":
        losses = _train_with_trl(folder, given)
    else:
        _leave_out(kind)
        _shift_adapter_seed(given["seed"])
        from harness import train

        if train.main(["--job", str(folder / SETTINGS_FILE), "--train-table", given["table"]]) != 0:
            raise SystemExit("the harness did not train")
        losses = [row["loss"] for row in read_rows(folder / LOG_TABLE, TRAINING_LOG)]
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_json(folder / "outcome.json", {**clock, "peak_mb": peak_kib / 1024, "losses": losses})


def _clock_training(*, profile: bool) -> dict[str, float]:
    """Put the same clock around the training loop of either side; what comes back is filled when it ends."""
    import torch
    from transformers import Trainer

    plain = Trainer.train
    clock: dict[str, float] = {}

    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        started, used = time.perf_counter(), time.process_time()
        if profile:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
                result = plain(self, *args, **kwargs)
            print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=60))
        else:
            result = plain(self, *args, **kwargs)
        clock["seconds"] = time.perf_counter() - started
        clock["processor_seconds"] = time.process_time() - used
        return result

    Trainer.train = timed
    return clock


def _leave_out(kind: str) -> None:
    """Rungs of the ladder below the harness: without its LoRA, and without its attention as well."""
    from harness.training import sft

    if kind != "harness":
        sft.fuse = lambda _model: 0
    if kind == "harness_head":
        sft.use_flat_attention = lambda _model: False


def _shift_adapter_seed(by: int) -> None:
    """Another start of the adapter, as TRL is given it, while the order of the rows stays."""
    from harness.training import sft

    plain = sft.integer
    sft.integer = lambda root, *names: plain(root + by, *names)


def _train_with_trl(folder: Path, given: dict[str, Any]) -> list[float]:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from harness.backends.models import load_tokenizer, local_or_hub
    from harness.seeds import integer
    from harness.training.rows import examples

    job = TrainingJob.model_validate_json((folder / SETTINGS_FILE).read_bytes())
    rows = examples(read_table(Path(given["table"]), TRAIN), job, load_tokenizer(job.base_model))
    shared = {
        "output_dir": str(folder / "trl"),
        "max_steps": job.updates,
        "learning_rate": job.sft["learning_rate"],
        "per_device_train_batch_size": BATCH,
        "seed": integer(job.root_seed + given["seed"], "training", f"seed_{job.seed_index}"),
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,  # TRL refuses its own default of bf16 on a CPU without it
        "disable_tqdm": True,
    }
    trainer = SFTTrainer(
        model=local_or_hub(job.base_model),
        args=SFTConfig(**{**shared, **given["sft"]}),
        train_dataset=Dataset(rows.table),
        peft_config=LoraConfig(**job.lora, task_type="CAUSAL_LM"),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    main()
