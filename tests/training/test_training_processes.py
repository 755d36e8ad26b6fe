"""Through the real `accelerate launch`: several processes, interruptions, and cells that a cluster trains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest
from accelerate.commands.config.config_args import load_config_from_file

from harness.backends.models import load_model
from harness.errors import ConfigError, DataError, TrainingError
from harness.pipeline import run_recipe, run_unit
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.tables import TRAINING_LOG
from harness.store import Run, read_manifest, read_rows, sha256_file, write_json
from harness.training.job import SETTINGS_FILE, TrainingJob
from harness.training.launch import LAUNCHER_ENV, accelerate_config, launch
from harness.training.stage import units

MakeJob = Callable[..., TrainingJob]
MakeTable = Callable[[int], Path]
CONFIGS = sorted(shipped("accelerate_configs").glob("*.yaml"))
WEIGHTS = "adapter/adapter_model.safetensors"
PATIENCE_S = 120


def accelerate(config: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate_config(config, Path())),
            *arguments]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.05)


def text_of(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def logged(folder: Path) -> list[dict[str, Any]]:
    rows = read_rows(folder / "log.parquet", TRAINING_LOG)
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def recipe(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipes") / "toy.yaml"
    content = {
        "task": "alzheimers",
        "seed": 3,
        "mixes": ["gold"],
        "training": {
            "base_model": str(tiny_model),
            "dtype": "float32",
            "global_batch_size": 8,
            "budget": {"size": 6},
            "lora": {"r": 4, "lora_dropout": 0.0},
            "sft": {"learning_rate": 1e-2},
        },
    }
    path.write_text(json.dumps(content))  # JSON is YAML
    return load_recipe(path)


@pytest.fixture(scope="module")
def mixed(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder whose mixes exist."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    list(run_recipe(recipe, folder, until="mixes"))
    return Run(recipe=recipe, folder=folder)


def test_every_shipped_configuration_is_one_for_accelerate() -> None:
    assert len(CONFIGS) >= 9
    for path in CONFIGS:
        config = load_config_from_file(str(path))
        assert config.mixed_precision is None, f"{path}: precision follows training.dtype"
        stated = {"gradient_accumulation_steps", "gradient_clipping", "train_batch_size"} & set(config.deepspeed_config)
        assert not stated, f"{path}: {stated} must follow the trainer"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zero22", "no configuration 'zero22'; did you mean 'zero2'"),
        ("my/config.yaml", "no file my/config.yaml"),
    ],
)
def test_an_unknown_configuration_is_named(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        accelerate_config(name, tmp_path)


@pytest.mark.slow
def test_an_error_of_the_trainer_comes_back_as_it_was(make_job: MakeJob, make_table: MakeTable, tmp_path: Path) -> None:
    config = accelerate_config("cpu", tmp_path)
    with pytest.raises(DataError, match=r"training.max_length is 24: raise it(?s:.*)trainer\.log"):
        launch(make_job(max_length=24), make_table(32), tmp_path, config=config)
    assert "keys" not in (tmp_path / "trainer.log").read_text()  # a word of the notes


@pytest.mark.slow
def test_a_trainer_that_dies_without_a_word_is_reported_with_its_log(
    make_job: MakeJob, make_table: MakeTable, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("distributed_type: NO_SUCH_TYPE\nnum_processes: 1\n")
    with pytest.raises(
        TrainingError, match=r"training/toy/seed_0: the trainer ended with exit code 1; last line: .*log: "
    ):
        launch(make_job(), make_table(32), tmp_path, config=broken)


@pytest.mark.slow
def test_a_cell_that_a_user_launched_on_two_processes_is_what_the_pipeline_wants(mixed: Run, tmp_path: Path) -> None:
    """ZeRO-2 over two CPU processes through the documented command, against one process started by the stage."""
    command = accelerate("zero2", "--num_processes", "2", "-m", "harness.train", str(mixed.recipe.path), "--mix", "gold",
                         "--seed", "0", "--run-dir", str(mixed.folder))  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = mixed.path("training", "gold", "seed_0")
    notes = read_manifest(folder).counts.notes
    assert (notes["distributed"], notes["n_processes"], notes["per_device_batch"]) == ("DEEPSPEED", 2, 4)
    (cell,) = units(mixed)
    assert run_unit(mixed, cell).skipped
    two = logged(folder)
    assert not run_unit(mixed, cell, force=True).skipped  # now by the stage: one process
    one = logged(folder)
    assert [row["tokens"] for row in two] == [row["tokens"] for row in one]
    # Adam on sums that were rounded in another order: measured 1e-6 after six updates
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], abs=1e-4)


@pytest.mark.slow
def test_two_zero2_processes_train_the_quickstart_model(tmp_path: Path) -> None:
    """The recipe's own base model, adapter and precision; the adapter loads and has learned."""
    import torch
    from peft import PeftModel

    path = shipped("recipes") / "quickstart.yaml"
    overrides = ["mixes=[gold]", "training.global_batch_size=4", "training.budget.size=2"]
    recipe = load_recipe(path, overrides)
    run = Run(recipe=recipe, folder=tmp_path / "run")
    list(run_recipe(recipe, run.folder, until="mixes"))
    command = accelerate("zero2", "--num_processes", "2", "-m", "harness.train", str(path), "--mix", "gold", "--run-dir",
                         str(run.folder), *(word for override in overrides for word in ("--set", override)))  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = run.path("training", "gold", "seed_0")
    notes = read_manifest(folder).counts.notes
    assert (notes["distributed"], notes["n_processes"], notes["n_updates"]) == ("DEEPSPEED", 2, 2)
    model = PeftModel.from_pretrained(load_model(recipe.file.training.base_model), folder / "adapter")
    learned = [weight for name, weight in model.named_parameters() if "lora_B" in name]
    assert len(learned) == 30 * 7  # layers x linear maps in each
    assert all(bool(torch.any(weight != 0)) for weight in learned)  # B starts at zero


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_end_it_would_have_had(
    make_job: MakeJob, make_table: MakeTable, tmp_path: Path
) -> None:
    job, table = make_job(updates=80, sft={"learning_rate": 1e-2, "save_steps": 8}), make_table(640)
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / SETTINGS_FILE, job.model_dump(mode="json"))

    def command(name: str) -> list[str]:
        return accelerate("cpu", "-m", "harness.train", "--job", str(tmp_path / name / SETTINGS_FILE), "--train-table",
                          str(table))  # fmt: skip

    killed = tmp_path / "killed"
    undisturbed = subprocess.Popen(command("undisturbed"), env=environment(), stderr=subprocess.DEVNULL)
    process = subprocess.Popen(command("killed"), env=environment(), start_new_session=True, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(killed.glob("checkpoints/*/complete.json")), "a checkpoint")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "log.parquet").exists(), "it was over before it could be killed"
    again = subprocess.run(command("killed"), env=environment(), capture_output=True, text=True, check=True)
    assert "going on from checkpoint-" in again.stderr + again.stdout
    assert undisturbed.wait(timeout=PATIENCE_S) == 0
    assert len(logged(killed)) == 80
    assert logged(killed) == logged(tmp_path / "undisturbed")
    assert sha256_file(killed / WEIGHTS) == sha256_file(tmp_path / "undisturbed" / WEIGHTS)
    assert not (killed / "checkpoints").exists()


@pytest.mark.slow
def test_no_trainer_outlives_a_killed_harness(make_job: MakeJob, make_table: MakeTable, tmp_path: Path) -> None:
    write_json(tmp_path / "job.json", make_job(updates=1000).model_dump(mode="json"))
    table = make_table(8_000)
    program = (
        "from pathlib import Path; from harness.training.job import TrainingJob; from harness.training.launch import *;"
        f"launch(TrainingJob.model_validate_json(Path({str(tmp_path / 'job.json')!r}).read_bytes()), Path({str(table)!r}),"
        f" Path({str(tmp_path)!r}), config=accelerate_config('cpu', Path()))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment())
    wait_for(
        lambda: (tmp_path / "trainer.log").exists() and "update " in (tmp_path / "trainer.log").read_text(), "an update"
    )
    trainers = [one for one in psutil.Process(parent.pid).children(recursive=True) if "harness.train" in one.cmdline()]
    assert trainers
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(trainers, timeout=20)
    assert gone
    assert not alive
    assert not (tmp_path / "log.parquet").exists(), "it was over before the harness was killed"


@pytest.mark.slow
def test_a_dead_worker_ends_the_other_and_is_named(make_job: MakeJob, make_table: MakeTable, tmp_path: Path) -> None:
    config = tmp_path / "two.yaml"
    config.write_text((shipped("accelerate_configs") / "multi_gpu.yaml").read_text() + "num_processes: 2\n")
    job, table = make_job(updates=300), make_table(2_400)
    workers: list[psutil.Process] = []
    killed_at: list[float] = []

    def kill_one() -> None:
        wait_for(lambda: "update 1/" in text_of(tmp_path / "trainer.log"), "an update")
        workers.extend(one for one in psutil.Process().children(recursive=True)
                       if one.environ().get("LOCAL_RANK") is not None)  # fmt: skip
        next(one for one in workers if one.environ()["LOCAL_RANK"] == "1").kill()
        killed_at.append(time.monotonic())

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(TrainingError, match=r"training/toy/seed_0: process 1 was killed .*, so the others were ended"):
        launch(job, table, tmp_path, config=config)
    killer.join()
    assert time.monotonic() - killed_at[0] < 60  # bounded: nobody waits for the dead
    assert len(workers) == 2
    assert not psutil.wait_procs(workers, timeout=10)[1]


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("num_processes: 999", {"global_batch_size": 999}, r"starts 999 processes .*--num_processes \d+ or fewer"),
        ("num_processes: 3", {}, r"global_batch_size is 8, which 3 processes cannot share equally; set it to 6 or 9"),
        ("{num_processes: 4, num_machines: 2}", {}, r"is for 2 machines, and `harness run` starts .* on this one"),
        ("{num_processes: 1, distributed_type: FSDP}", {}, r"FSDP needs GPUs: on a CPU accelerate leaves it out"),
        ("num_processes: 1", {"method": "qlora", "lora": {}}, r"training.method is qlora, which needs a CUDA GPU"),
        ("[1, 2]", {}, r"not an accelerate configuration"),
    ],
)
def test_what_cannot_be_started_is_refused_before_anything_is(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))  # as many processors as the cases assume
    (tmp_path / "own.yaml").write_text(file)
    with pytest.raises(ConfigError, match=message):
        launch(make_job(**changes), tmp_path / "no.parquet", tmp_path, config=tmp_path / "own.yaml")
    assert not (tmp_path / "trainer.log").exists()


def test_a_cell_outside_the_recipe_is_refused(mixed: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from harness.train import main

    assert LAUNCHER_ENV not in os.environ
    place = ["--run-dir", str(mixed.folder)]
    for arguments, message in [
        (["--mix", "golf"], "no mix 'golf'; did you mean 'gold'"),
        (["--mix", "gold", "--seed", "1"], "--seed is 1; the recipe's training.train_seeds is 1, so 0 to 0"),
        (["--mix", "gold", "--set", "training.lora.rank=4"], "'rank' is not a field of peft.LoraConfig"),
        (["--mix", "gold", "--run-dir", str(tmp_path)], "no run here; run `harness run <recipe> --until mixes` first"),
        (["--mix", "gold", "--set", "name=other"], "holds a run of recipe 'toy'"),
    ]:
        caplog.clear()
        with mock.patch.dict(os.environ):  # it prepares its own process for training
            assert main([str(mixed.recipe.path), *place, *arguments]) == 2
        assert message in caplog.text
