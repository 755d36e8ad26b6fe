"""The same experiment however it is launched: one process, accumulation, and two processes under every launch file.

Everything is float32 on a tiny Llama. Each launch trains several jobs, because starting processes is what costs.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.backends.models import load_model
from harness.schemas.manifest import Counts
from harness.schemas.shipped import shipped
from harness.schemas.tables import TRAINING_LOG
from harness.store import read_rows, sha256_file, write_json
from harness.training.job import TrainingJob

pytestmark = pytest.mark.slow

MakeFolder = Callable[..., Path]
MakeJob = Callable[..., TrainingJob]
MakeTable = Callable[[int], Path]
TARGET = Path(__file__).parent / "jobs_target.py"
WEIGHTS = "adapter/adapter_model.safetensors"
PATIENCE_S = 240
BATCH, UPDATES, LONG = 16, 4, 32
PROCESSES = ["--num_processes", "2"]
LAUNCHED = ("multi_gpu", "zero1", "zero2", "zero3", "multi_node_zero2")
SFT = {"learning_rate": 1e-2}
CUT_TO_4 = {**SFT, "per_device_train_batch_size": 4}
SAVED_OFTEN = {**SFT, "save_steps": 4}


@pytest.fixture(scope="module")
def folder_for(make_job: MakeJob, make_table: MakeTable, tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    """A folder with a job that a launch can train."""
    tables = {n: make_table(n * BATCH) for n in (UPDATES, LONG)}

    def make(updates: int = UPDATES, sft: dict[str, Any] | None = None) -> Path:
        folder = tmp_path_factory.mktemp("job")
        lora = {"r": 4, "lora_dropout": 0.0}
        job = make_job(global_batch_size=BATCH, updates=updates, lora=lora, sft=sft or SFT)
        write_json(folder / "job.json", job.model_dump(mode="json"))
        (folder / "table.txt").write_text(str(tables[updates]))
        return folder

    return make


@pytest.fixture(scope="module")
def alone(folder_for: MakeFolder) -> Path:
    """One process that takes an update's 16 examples in one batch."""
    return in_this_process(folder_for())


@pytest.fixture(scope="module")
def undisturbed(folder_for: MakeFolder) -> Path:
    """A long run under ZeRO-2 that nobody stops; trained in the same launch as the short ones."""
    return folder_for(LONG, SAVED_OFTEN)


@pytest.fixture(scope="module", params=LAUNCHED)
def launched(request: pytest.FixtureRequest, folder_for: MakeFolder, undisturbed: Path) -> dict[str, Path]:
    """Two processes that share an update's 16 examples as 8 + 8, and as 4 + 4 twice, under one launch file."""
    folders = {"halves": folder_for(), "accumulated": folder_for(sft=CUT_TO_4)}
    jobs = [*folders.values(), *([undisturbed] if request.param == "zero2" else [])]
    if request.param == "multi_node_zero2":
        place = ["--num_machines", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", str(free_port())]
        commands = [command(request.param, [*place, "--machine_rank", str(rank)], jobs) for rank in range(2)]
    else:
        commands = [command(request.param, [], jobs)]
    processes = [start(one) for one in commands]
    for process in processes:
        output = process.communicate(timeout=PATIENCE_S)[0]
        assert process.returncode == 0, output[-3000:]
    return folders


def in_this_process(folder: Path) -> Path:
    from harness.training.sft import train

    job = TrainingJob.model_validate_json((folder / "job.json").read_bytes())
    train(job, Path((folder / "table.txt").read_text()), folder)
    return folder


def command(config: str, place: Sequence[str], jobs: Sequence[Path]) -> list[str]:
    file = shipped("accelerate_configs") / f"{config}.yaml"
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file), *PROCESSES, *place,
            str(TARGET), *map(str, jobs)]  # fmt: skip


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True)  # fmt: skip


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_rows(folder / "log.parquet", TRAINING_LOG)]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / WEIGHTS))


def assert_same_run(folder: Path, other: Path) -> None:
    """Loss curve to 1e-4 and final adapter to 1e-3; measured: 1e-6 and 1e-7."""
    assert losses(folder) == pytest.approx(losses(other), abs=1e-4)
    assert len(losses(folder)) == UPDATES
    one, two = weights(folder), weights(other)
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert weight.shape == two[name].shape, name  # ZeRO-3 saves shape 0 unless told to gather
        assert float((weight - two[name]).abs().max()) < 1e-3, name
    moved = [weight for name, weight in two.items() if "lora_B" in name]
    assert min(float(weight.abs().max()) for weight in moved) > 1e-3  # B starts at zero: it has learned something


def label_scores(folder: Path, tiny_model: Path, tokenizer: Any) -> Any:
    from peft import PeftModel

    from harness.scoring.label_likelihood import score_labels

    model = PeftModel.from_pretrained(load_model(str(tiny_model), dtype="float32"), folder / "adapter").eval()
    prompts = ["Sentence: he forgets names.\nLabel:", "Sentence: no complaints at all today.\nLabel:"]
    return score_labels(model, tokenizer, prompts, [" memory", " no symptom"], max_tokens=128).log_likelihood


def test_accumulating_in_one_process_changes_nothing(alone: Path, folder_for: MakeFolder) -> None:
    assert_same_run(in_this_process(folder_for(sft=CUT_TO_4)), alone)


def test_two_processes_are_one_under_every_launch_file(launched: dict[str, Path], alone: Path) -> None:
    for folder in launched.values():
        assert_same_run(folder, alone)


def test_a_launch_is_what_its_file_says(launched: dict[str, Path], request: pytest.FixtureRequest) -> None:
    config = request.node.callspec.params["launched"]
    for name, cut in {"halves": (8, 1), "accumulated": (4, 2)}.items():
        notes = Counts.model_validate_json((launched[name] / ".counts.json").read_bytes()).notes
        assert notes["distributed"] == ("MULTI_CPU" if config == "multi_gpu" else "DEEPSPEED")
        assert (notes["n_processes"], notes["per_device_batch"], notes["accumulation"]) == (2, *cut)
        assert notes["n_updates"] * notes["global_batch"] == notes["n_examples"] == UPDATES * BATCH


def test_an_adapter_of_any_launch_scores_the_same_on_one_cpu(
    launched: dict[str, Path], alone: Path, tiny_model: Path, tokenizer: Any
) -> None:
    expected = label_scores(alone, tiny_model, tokenizer)
    for folder in launched.values():
        np.testing.assert_allclose(label_scores(folder, tiny_model, tokenizer), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("launched", ["zero2"], indirect=True)
def test_two_processes_killed_at_a_checkpoint_end_as_if_never_stopped(
    launched: dict[str, Path], undisturbed: Path, folder_for: MakeFolder
) -> None:
    assert launched
    killed = folder_for(LONG, SAVED_OFTEN)
    process = start(command("zero2", [], [killed]))
    end = time.monotonic() + PATIENCE_S
    while not any(killed.glob("checkpoints/*/complete.json")):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < end, "no checkpoint"
        time.sleep(0.02)
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:  # workers have sessions of their own
        one.kill()
    process.communicate()
    assert not (killed / "log.parquet").exists(), "it was over before it could be killed"
    again = start(command("zero2", [], [killed]))
    output = again.communicate(timeout=PATIENCE_S)[0]
    assert again.returncode == 0, output[-3000:]
    assert "going on from checkpoint-" in output
    assert losses(killed) == losses(undisturbed)
    assert len(losses(killed)) == LONG
    assert sha256_file(killed / WEIGHTS) == sha256_file(undisturbed / WEIGHTS)
