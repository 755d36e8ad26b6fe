"""What a unit's folder says of it: finished, running, interrupted, failed, diverged."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import DataError, DivergedError, TrainingError
from harness.pipeline import run_unit, unit_states
from harness.schemas.manifest import Counts
from harness.schemas.recipe import load_recipe
from harness.schemas.shipped import shipped
from harness.states import STATE_FILE, State, state_of
from harness.store import MANIFEST, Run, Unit, hash_inputs, unit_folder, write_json

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.states import STATE_FILE, begun
from harness.store import write_json
write_json(Path(sys.argv[1]) / STATE_FILE, begun())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(recipe=load_recipe(shipped("recipes") / "quickstart.yaml"), folder=tmp_path / "run")


def unit_of(work: Callable[[Path], Counts]) -> Unit:
    return Unit(stage="training", name="gold/seed_0", inputs=[], settings={}, seed_path=("training",), work=work,
                outputs=("log.parquet",), resumable=())  # fmt: skip


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DivergedError("the loss is nan"), State("diverged", "the loss is nan")),
        (TrainingError("process 1 was killed\nmore"), State("failed", "process 1 was killed")),
        (KeyboardInterrupt(), State("interrupted", "by the user")),
        (KeyError("He forgets names."), State("failed", "KeyError")),  # a bug's message may hold note text
    ],
)
def test_a_unit_that_ends_badly_says_how(run: Run, error: BaseException, expected: State) -> None:
    def work(_folder: Path) -> Counts:
        raise error

    unit = unit_of(work)
    with pytest.raises(type(error)):
        run_unit(run, unit)
    folder = unit_folder(run, unit)
    assert state_of(folder, finished=(folder / MANIFEST).exists()) == expected
    with pytest.raises(DataError, match=rf"is {expected.status} \("):
        hash_inputs(run, [folder / "adapter" / "adapter_model.safetensors"])


def test_a_unit_is_running_while_it_runs_and_leaves_no_state_when_it_ends(run: Run) -> None:
    seen: list[State] = []

    def work(folder: Path) -> Counts:
        seen.append(state_of(folder, finished=False))
        (folder / "log.parquet").touch()
        return Counts()

    unit = unit_of(work)
    run_unit(run, unit)
    assert seen == [State("running")]
    assert not (unit_folder(run, unit) / STATE_FILE).exists()
    assert state_of(unit_folder(run, unit), finished=True) == State("finished")


def test_a_killed_process_leaves_an_interrupted_unit(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False).returncode == -signal.SIGKILL
    assert state_of(tmp_path, finished=False) == State("interrupted", "its process is gone")


def test_a_unit_of_another_machine_is_not_called_dead(tmp_path: Path) -> None:
    write_json(tmp_path / STATE_FILE, {"status": "running", "host": "node-17", "process": "1 2.0"})
    assert state_of(tmp_path, finished=False) == State("running", "or interrupted: its process is on node-17")


def test_a_failed_unit_goes_on_when_it_is_run_again(run: Run) -> None:
    def fails(_folder: Path) -> Counts:
        raise TrainingError("once")

    def works(folder: Path) -> Counts:
        (folder / "log.parquet").touch()
        return Counts()

    with pytest.raises(TrainingError):
        run_unit(run, unit_of(fails))
    assert not run_unit(run, unit_of(works)).skipped


def test_states_of_a_recipe_name_every_unit_and_run_nothing(run: Run) -> None:
    states = list(unit_states(run.recipe, run.folder))
    assert {state.status for _, state in states} == {"not begun"}
    assert not run.folder.exists()
    cohort = next(unit for unit, _ in states if unit.stage == "cohort")
    run_unit(run, cohort)
    by_title = {unit.title: state for unit, state in unit_states(run.recipe, run.folder)}
    assert by_title[cohort.title] == State("finished")
    said = CliRunner().invoke(app, ["status", str(run.recipe.path), "--run-dir", str(run.folder)]).stdout
    assert f"finished     {cohort.title}\n" in said
    assert said.endswith(f"{len(states)} units: {len(states) - 1} not begun, 1 finished\n")
    reseeded = load_recipe(shipped("recipes") / "quickstart.yaml", ["seed=7"])
    changed = {unit.title: state for unit, state in unit_states(reseeded, run.folder)}
    assert changed[cohort.title] == State("not begun", "settings or inputs have changed since it ended")


def test_a_run_that_ended_but_never_learned_is_diverged_and_not_finished(run: Run) -> None:
    cohort = next(unit for unit, _ in unit_states(run.recipe, run.folder))

    def work(folder: Path) -> Counts:
        for name in cohort.outputs:
            (folder / name).touch()
        return Counts(notes={"status": "diverged", "reason": "the loss lay above its start"})

    run_unit(run, replace(cohort, work=work))
    assert next(state for _, state in unit_states(run.recipe, run.folder)) == State(
        "diverged", "the loss lay above its start"
    )
