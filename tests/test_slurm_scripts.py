"""The scripts of docs/slurm with stand-ins for Slurm and accelerate, which write down what they are asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.schemas.shipped import shipped

CLONE = Path(__file__).parents[1]
SCRIPTS = CLONE / "docs" / "slurm"
RECIPE = str(shipped("recipes") / "exchange_rate.yaml")
GIVEN = ["--set", "training.train_seeds=2", "--set", "gold.split={train: 0.5, validation: 0.1, test: 0.4}"]
STAND_INS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done\nexec "$@"',
    "scontrol": "printf 'node-1\\nnode-2\\n'",
    "accelerate": 'printf "%s\\n" "$@"',
    "harness": f'exec {sys.executable} -m harness.cli "$@"',
}


def submitted(venv: Path, script: str, *arguments: str, task: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a script as Slurm would; the stand-ins come onto PATH when it activates its environment, and not before."""
    (venv / "bin").mkdir(parents=True)
    for name, body in STAND_INS.items():
        (venv / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (venv / "bin" / name).chmod(0o755)
    (venv / "bin" / "activate").write_text(f'PATH="{venv}/bin:$PATH"\n')
    slurm = {
        "ARRAY_TASK_ID": task,
        "GPUS_ON_NODE": 8,
        "NNODES": 2,
        "NODEID": 1,
        "JOB_ID": 20007,
        "JOB_NODELIST": "node-[1-2]",
    }
    env = {**os.environ, "VENV": str(venv), "PATH": "/usr/bin:/bin", **{f"SLURM_{k}": str(v) for k, v in slurm.items()}}
    return subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments], capture_output=True, text=True, cwd=CLONE, env=env, check=False
    )


def test_cells_are_listed_in_the_order_of_the_recipe() -> None:
    said = CliRunner().invoke(app, ["cells", RECIPE, *GIVEN]).stdout.splitlines()
    assert said[:3] == ["gold_10\t0", "gold_10\t1", "gold_25\t0"]
    assert len(said) == 12 * 2


def test_an_array_task_trains_its_line_of_the_cells_with_the_same_settings(tmp_path: Path) -> None:
    done = submitted(tmp_path / "my venv", "one_node.sbatch", RECIPE, *GIVEN, task=3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "launch", "--config_file", "accelerate_configs/multi_gpu.yaml", "--num_processes", "8",
        "-m", "harness.train", RECIPE, "--mix", "gold_25", "--seed", "1", *GIVEN]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(GIVEN, "no cell 24: the recipe has 24, counted from 0"), (["--set", "training.train_seeds=0"], "train_seeds")],
)
def test_a_task_without_a_cell_or_with_a_bad_recipe_trains_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = submitted(tmp_path / "venv", "one_node.sbatch", RECIPE, *arguments, task=24)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_several_nodes_share_one_cell_and_its_settings(tmp_path: Path) -> None:
    done = submitted(tmp_path / "venv", "several_nodes.sbatch", RECIPE, "gold", "0", *GIVEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "launch", "--config_file", "accelerate_configs/multi_node_zero2.yaml", "--num_machines", "2",
        "--num_processes", "16", "--machine_rank", "1", "--main_process_ip", "node-1", "--main_process_port", "20007",
        "-m", "harness.train", RECIPE, "--mix", "gold", "--seed", "0", *GIVEN]  # fmt: skip


def test_every_script_is_tried_here() -> None:
    assert sorted(path.name for path in SCRIPTS.iterdir()) == ["one_node.sbatch", "several_nodes.sbatch"]
