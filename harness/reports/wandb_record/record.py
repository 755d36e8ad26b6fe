"""The W&B record of a run: written after the reports, offline unless somebody asks for more.

The record repeats what the tables say; nothing depends on it. Ids follow from the content, so that writing it again
goes on in the same runs: offline files are replaced, an online run is resumed. A server that cannot be reached costs a
warning, and what it did not take is recorded offline.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.logs import prepare_environment
from harness.reports.inputs import Inputs, LossCurve
from harness.reports.tracking import TrackingMode, tracking_mode
from harness.reports.wandb_record import tables
from harness.reports.wandb_record.artifacts import CONTENTS, Artifact
from harness.reports.wandb_record.runs import Record, build_records
from harness.reports.wandb_record.tables import Table
from harness.store import Run

log = logging.getLogger(__name__)


def write_record(inputs: Inputs, run: Run, folder: Path) -> dict[str, Any]:
    """Write or upload the record; a tracker that fails costs a warning, never the reports.

    Args:
        inputs: What the reports show, small cells withheld where the recipe says so.
        run: Where predictions and weights lie.
        folder: The reports' folder; offline files go to `wandb/` in it.

    Returns:
        Mode, number of runs and, where it failed, why; for the manifest.
    """
    mode = tracking_mode(inputs.recipe)
    if inputs.n_withheld is not None:  # an earlier record of the same run may show what is withheld now
        shutil.rmtree(folder / "wandb", ignore_errors=True)
    if mode == "disabled":
        return {"mode": mode, "n_runs": 0}
    prepare_environment()
    note, left = _write_all(inputs, build_records(inputs, run), folder, mode)
    if left is None or mode == "offline":
        return note
    # What the server did not take is kept for `wandb sync`.
    kept, _ = _write_all(inputs, left, folder, "offline")
    return {**note, "n_offline": kept["n_runs"]}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """What W&B takes from the environment alone.

    It reads WANDB_MODE by itself and stumbles over an empty one, and it stages tables and logs under the user's home,
    where they would outlive the run folder.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _write_all(
    inputs: Inputs, records: Iterator[Record], folder: Path, mode: TrackingMode
) -> tuple[dict[str, Any], Iterator[Record] | None]:
    """Write `records` one after the other; and those from the first that failed on, None where none did."""
    import wandb

    wandb.Table.MAX_ROWS = tables.MAX_ROWS  # W&B's own way to keep more rows than its pages show
    n_written = 0
    with _environment({"WANDB_MODE": mode, "WANDB_CACHE_DIR": str(folder / "wandb" / "cache")}):
        try:
            for record in records:
                try:
                    _remove_earlier(folder, record.id)
                    with _environment({"WANDB_DATA_DIR": str(_staging(folder, record.id))}):
                        _write(inputs, record, folder, mode)
                except (wandb.errors.Error, OSError) as error:
                    return _failed(error, mode, n_written), _again(record, records)
                n_written += 1
        finally:
            wandb.teardown()
            _collect()
    if mode == "offline":
        log.info("W&B: %d runs recorded offline; to upload them: wandb sync %s/wandb/offline-run-*", n_written, folder)
    return {"mode": mode, "n_runs": n_written}, None


def _collect() -> None:
    """Let go of the temporary folders in which W&B keeps copies of tables; it leaves them to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _failed(error: Exception, mode: TrackingMode, n_written: int) -> dict[str, Any]:
    name = error.__class__.__name__
    log.warning(
        "W&B (%s): %s after %d runs; the reports are complete%s. Mend the connection or set "
        "tracking.wandb.mode=offline, and run the reports again with --force",
        mode,
        name,
        n_written,
        ", and the other runs are recorded offline" if mode == "online" else "",
    )
    return {"mode": mode, "n_runs": n_written, "failed": name}


def _again(first: Record, rest: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from rest


def _remove_earlier(folder: Path, record_id: str) -> None:
    for path in (*folder.glob(f"wandb/offline-run-*-{record_id}"), _staging(folder, record_id)):
        shutil.rmtree(path, ignore_errors=not path.exists())


def _staging(folder: Path, record_id: str) -> Path:
    """Where W&B keeps copies of tables and artifacts until they are uploaded; `wandb sync` needs it."""
    return folder / "wandb" / f"staging-{record_id}"


def _write(inputs: Inputs, record: Record, folder: Path, mode: TrackingMode) -> None:
    import wandb

    tracking = inputs.recipe.file.tracking.wandb
    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=tracking.project,
        entity=tracking.entity,
        group=inputs.recipe.name,
        job_type=record.job_type,
        id=record.id,
        name=record.name,
        tags=record.tags,
        config=dict(record.config),
        dir=str(folder),
        mode=mode,
        resume="allow" if mode == "online" else None,
        settings=_settings(),
    )
    failed = True
    try:
        _fill(run, record, mode)
        failed = False
    finally:
        run.finish(exit_code=int(failed))


def _settings() -> Any:
    """New for every run, because W&B writes into what it is given; whatever tells of the machine is off."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        host="",  # the name of the machine is nobody else's business
    )


def _fill(run: Any, record: Record, mode: TrackingMode) -> None:
    if record.curve is not None and not run.resumed:  # online already; W&B refuses earlier steps
        _log_curve(run, record.curve)
    if record.tables:
        run.log({name: _table(run, name, found) for name, found in record.tables.items()})
    run.summary.update(dict(record.summary))
    for artifact in record.used:
        _use(run, _artifact(artifact), mode)
    for artifact in record.made:
        run.log_artifact(_artifact(artifact))


def _table(run: Any, name: str, found: Table) -> Any:
    import wandb

    if found.n_left_out:
        run.summary[f"rows_left_out/{name}"] = found.n_left_out
        log.warning("W&B: table %s of run %s holds %d rows too many; the tables of the run folder hold all", name,
                    run.name, found.n_left_out)  # fmt: skip
    return wandb.Table(columns=list(found.columns), data=found.rows, allow_mixed_types=True)


def _artifact(declared: Artifact) -> Any:
    import wandb

    metadata = {"made_from": list(declared.made_from), **declared.facts}
    artifact = wandb.Artifact(name=declared.name, type=declared.type, metadata=metadata)
    # Not `new_file`: the folder it makes is left to the garbage collector.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONTENTS
        path.write_text(declared.contents, encoding="utf-8")
        artifact.add_file(str(path))  # is copied to the staging folder
    for name, path in declared.files.items():
        artifact.add_file(str(path), name=name)
    return artifact


def _use(run: Any, artifact: Any, mode: TrackingMode) -> None:
    """Declare an input of a run.

    Offline W&B refuses `use_artifact`, although its record format knows inputs and an upload can make the edge. What
    `use_artifact` itself does with an artifact that the server has not seen is therefore done here directly; a test
    reads the edge back from the file. The names also stand in the metadata (`made_from`) of whatever the run makes.
    """
    if mode == "online":
        run.use_artifact(artifact)
    else:
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)


def _log_curve(run: Any, curve: LossCurve) -> None:
    for step, loss, rate, tokens in zip(curve.steps, curve.losses, curve.learning_rates, curve.tokens, strict=True):
        values = {"train/loss": loss, "train/learning_rate": rate, "train/tokens": tokens}
        run.log({name: value for name, value in values.items() if value is not None}, step=step)
