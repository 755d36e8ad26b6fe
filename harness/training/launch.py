"""Starting one run as `accelerate launch ... -m harness.train`, watching it, and never leaving it behind.

The trainer runs in a process of its own: it may be many processes, its memory goes back to the system when it ends, and
a crash in it is an error message here. It writes to `trainer.log`; what it returns comes back in hidden files of the
folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness import errors
from harness.errors import ConfigError, HarnessError, TrainingError, collect_faults, nearest
from harness.schemas.manifest import Counts
from harness.schemas.shipped import shipped
from harness.store import write_json
from harness.training.job import SETTINGS_FILE, TrainingJob
from harness.training.machine import machine_faults, wanted_machine
from harness.training.plan import DEFAULT_PER_DEVICE_BATCH, plan_batches

log = logging.getLogger(__name__)

TRAINER_LOG = "trainer.log"
COUNTS_FILE = ".counts.json"
ERROR_FILE = ".error.json"
# "<pid> <start time>" of the process that a trainer must not outlive
LAUNCHER_ENV = "HARNESS_LAUNCHER"
UPDATE_LINE = re.compile(r"update (\d+)/(\d+) loss=(\S+)")
# torch.distributed.run on the first of several processes that failed
DEAD_WORKER = re.compile(r"failed \(exitcode: (?P<code>-?\d+)\) local_rank: (?P<rank>\d+)")
POLL_S = 0.2
LOG_EVERY_S = 60.0
END_S = 10.0


def accelerate_config(name: str, base: Path) -> Path:
    """A shipped configuration by name, or a file by its path (relative to `base`).

    Raises:
        ConfigError: No such file; the shipped names are listed.
    """
    if name.endswith((".yaml", ".yml", ".json")):
        path = (base / name).resolve()
        if path.is_file():
            return path
        raise ConfigError(f"training.accelerate_config: no file {name} (looked in {base})")
    folder = shipped("accelerate_configs")
    if (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    raise ConfigError(
        f"training.accelerate_config: no configuration {name!r}{nearest(name, known)}; known: {', '.join(known)}; "
        "or give the path of an accelerate YAML"
    )


def launch(job: TrainingJob, table: Path, folder: Path, *, config: Path) -> Counts:
    """Run one job to its end in processes of its own.

    Args:
        job: Settings of the run; written to `settings.json`, which the trainer reads.
        table: The mix's `train.parquet`.
        folder: The run's folder.
        config: An accelerate YAML.

    Raises:
        HarnessError: The trainer's own error, or TrainingError where it died without one.
    """
    processes = n_processes(job, config)  # refuses here what the trainer would refuse a minute later
    write_json(folder / SETTINGS_FILE, job.model_dump(mode="json"))
    for name in (COUNTS_FILE, ERROR_FILE):
        (folder / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config),
               "--num_processes", str(processes), "-m", "harness.train", "--job", str(folder / SETTINGS_FILE),
               "--train-table", str(table)]  # fmt: skip
    with (folder / TRAINER_LOG).open("a", encoding="utf-8") as output:
        begin = output.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_environment(),
            start_new_session=True,
        )  # fmt: skip
    try:
        _follow(process, job, folder / TRAINER_LOG, begin)
    finally:
        _end(process)
    return _result(process, job, folder, begin)


def start_time() -> str:
    """This process's mark for `LAUNCHER_ENV`: process numbers are used again, start times are not."""
    return f"{os.getpid()} {psutil.Process().create_time()}"


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment[LAUNCHER_ENV] = start_time()
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def n_processes(job: TrainingJob, config: Path) -> int:
    """Processes that a launch on this machine has: those that the file names, else one for each GPU that is there.

    Raises:
        ConfigError: No accelerate configuration; one for several machines, which a scheduler must start; one that this
            machine or the job's method cannot do; or a global batch that so many processes cannot share.
    """
    try:
        content = dict(yaml.safe_load(config.read_text(encoding="utf-8")))
        given, n_machines = int(content.get("num_processes", -1)), int(content.get("num_machines", 1))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigError(f"{config}: not an accelerate configuration ({error.__class__.__name__})") from error
    if n_machines > 1:
        raise ConfigError(
            f"training.accelerate_config: {config} is for {n_machines} machines, and `harness run` starts processes on "
            "this one; start the run on each machine with `accelerate launch` (docs/training.md), then run this again"
        )
    import torch

    processes = given if given != -1 else max(1, torch.cuda.device_count())
    with collect_faults(ConfigError, f"training.accelerate_config: {config}") as faults:
        faults.extend(machine_faults(job.method, wanted_machine(content, processes)))
    at_most = job.sft.get("per_device_train_batch_size", DEFAULT_PER_DEVICE_BATCH)
    plan_batches(job.global_batch_size, n_processes=processes, at_most=at_most)
    return processes


def _follow(process: subprocess.Popen[bytes], job: TrainingJob, path: Path, begin: int) -> None:
    """Wait for the trainer's end; show updates as a bar on a terminal and as a rare line elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task(job.title, total=job.updates)
        said = time.monotonic()
        while process.poll() is None:
            time.sleep(POLL_S)
            found = UPDATE_LINE.findall(_tail(path, begin))
            if not found:
                continue
            done, total, loss = found[-1]
            bar.update(shown, completed=int(done), total=int(total))
            if not console.is_terminal and time.monotonic() - said > LOG_EVERY_S:
                said = time.monotonic()
                log.info("%s: update %s/%s loss=%s", job.title, done, total, loss)


def _tail(path: Path, begin: int, limit: int = 20_000) -> str:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(begin, end - limit))
        return file.read().decode("utf-8", errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop what is left of the trainer's process group."""
    if process.poll() is not None:
        return
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=END_S)
            return


def _result(process: subprocess.Popen[bytes], job: TrainingJob, folder: Path, begin: int) -> Counts:
    counts, error = folder / COUNTS_FILE, folder / ERROR_FILE
    if error.is_file():
        content = json.loads(error.read_text(encoding="utf-8"))
        error.unlink()
        raise _error_class(content["kind"])(f"{content['message']} (log: {folder / TRAINER_LOG})")
    if process.returncode == 0 and counts.is_file():
        found = Counts.model_validate_json(counts.read_bytes())
        counts.unlink()
        return found
    text = _tail(folder / TRAINER_LOG, begin)
    dead = DEAD_WORKER.search(text)
    if dead is not None:
        raise TrainingError(
            f"{job.title}: process {dead['rank']} {_how_it_ended(int(dead['code']))}, so the others were ended; "
            f"log: {folder / TRAINER_LOG}"
        )
    raise TrainingError(
        f"{job.title}: the trainer {_how_it_ended(process.returncode)}; last line: {_last_line(text)!r}; "
        f"log: {folder / TRAINER_LOG}"
    )


def _how_it_ended(code: int) -> str:
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "was killed (often: out of memory; try a smaller training.sft.per_device_train_batch_size)"
    return f"ended with exit code {code}"


def _last_line(text: str) -> str:
    """The last line that says something: not the launcher's own traceback about its child."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [
        line for line in lines if not line.startswith(("subprocess.CalledProcessError", "raise ", "File ", "==", "^"))
    ]
    return telling[-1] if telling else ""


def _error_class(kind: str) -> type[HarnessError]:
    found: Any = getattr(errors, kind, TrainingError)
    return found if isinstance(found, type) and issubclass(found, HarnessError) else TrainingError


@contextlib.contextmanager
def claim_cell(folder: Path) -> Iterator[None]:
    """Hold one mix x train seed for this process; the lock lies beside the run's folder, which is cleared.

    Raises:
        ConfigError: Another process is training it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another process is training this run; wait for it to end") from error
        yield
