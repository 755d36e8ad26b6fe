"""The W&B record: one run per mix and train seed of the fine-tuned model, offline unless somebody asks for more.

The record repeats what the tables say; nothing depends on it. Note text stays out unless the recipe allows it. Writing
it again replaces the old files of the same run instead of piling up beside them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.logs import prepare_environment
from harness.reports import leaderboard, wording
from harness.reports.inputs import CLASS_METRIC, LLM, Inputs, LossCurve
from harness.reports.tracking import TrackingMode, tracking_mode

log = logging.getLogger(__name__)

ID_LENGTH = 16  # hexadecimal digits; W&B allows up to 128 characters
SUMMARY_METRICS = ("macro_f1", "weighted_f1", "accuracy")
CLASS_METRICS = ("precision", "recall", "f1", "auroc")
CLASS_COLUMNS = ["class", *CLASS_METRICS, "f1_all_seeds", "ci_low", "ci_high", "n_positive", "status", "reason"]
SUBGROUP_COLUMNS = [
    "variable", "level", "macro_f1", "macro_f1_all_seeds", "ci_low", "ci_high", "n", "n_patients", "status", "reason",
]  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What one W&B run holds."""

    id: str
    name: str
    config: dict[str, Any]
    tags: tuple[str, ...]
    curve: LossCurve
    summary: dict[str, float | int | str]
    per_class: list[list[Any]]
    per_subgroup: list[list[Any]]
    sentences: list[list[str]]
    """Arm, label and text of sample sentences; empty unless the recipe allows text."""


def write_record(inputs: Inputs, folder: Path) -> dict[str, Any]:
    """Write or upload the record; a tracker that fails costs a warning, never the reports.

    Args:
        inputs: The tables of the run.
        folder: The reports' folder; offline files go to `wandb/` in it.

    Returns:
        Mode, number of runs and, where it failed, why; for the manifest.
    """
    mode = tracking_mode(inputs.recipe)
    if mode == "disabled":
        return {"mode": mode, "n_runs": 0}
    prepare_environment()
    with _environment({"WANDB_MODE": mode, "WANDB_CACHE_DIR": str(folder / "wandb" / "cache")}):
        return _write_all(inputs, folder, mode)


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


def _write_all(inputs: Inputs, folder: Path, mode: TrackingMode) -> dict[str, Any]:
    import wandb

    records = list(build_records(inputs))
    n_written = 0
    try:
        for record in records:
            _remove_earlier(folder, record.id)
            with _environment({"WANDB_DATA_DIR": str(_staging(folder, record.id))}):
                _write(inputs, record, folder, mode)
            n_written += 1
    except (wandb.errors.Error, OSError) as error:
        log.warning(
            "W&B (%s): %s after %d of %d runs; the reports are complete. Mend the connection or set "
            "tracking.wandb.mode=offline, and run the reports again with --force",
            mode,
            error.__class__.__name__,
            n_written,
            len(records),
        )
        return {"mode": mode, "n_runs": n_written, "failed": error.__class__.__name__}
    finally:
        wandb.teardown()
    if mode == "offline":
        log.info("W&B: %d runs recorded offline; to upload them: wandb sync %s/wandb/offline-run-*", n_written, folder)
    return {"mode": mode, "n_runs": n_written}


def _remove_earlier(folder: Path, record_id: str) -> None:
    for path in (*folder.glob(f"wandb/offline-run-*-{record_id}"), _staging(folder, record_id)):
        shutil.rmtree(path, ignore_errors=not path.exists())


def _staging(folder: Path, record_id: str) -> Path:
    """Where W&B keeps copies of tables until they are uploaded; `wandb sync` needs it."""
    return folder / "wandb" / f"staging-{record_id}"


def _write(inputs: Inputs, record: Record, folder: Path, mode: TrackingMode) -> None:
    import wandb

    tracking = inputs.recipe.file.tracking.wandb
    folder.mkdir(parents=True, exist_ok=True)
    # A new Settings for every run: wandb writes into the one it is given.
    settings = wandb.Settings(
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
    run = wandb.init(
        project=tracking.project,
        entity=tracking.entity,
        group=inputs.recipe.name,
        job_type="train",
        id=record.id,
        name=record.name,
        tags=record.tags,
        config=record.config,
        dir=str(folder),
        mode=mode,
        resume="allow" if mode == "online" else None,
        settings=settings,
    )
    failed = True
    try:
        if not run.resumed:  # the curve of a run that is online already is there; W&B refuses earlier steps
            _log_curve(run, record.curve)
        tables = {
            "per_class": wandb.Table(columns=CLASS_COLUMNS, data=record.per_class, allow_mixed_types=True),
            "per_subgroup": wandb.Table(columns=SUBGROUP_COLUMNS, data=record.per_subgroup, allow_mixed_types=True),
        }
        if record.sentences:
            tables["sample_sentences"] = wandb.Table(columns=["arm", "label", "text"], data=record.sentences)
        run.log(tables)
        run.summary.update(record.summary)
        failed = False
    finally:
        run.finish(exit_code=int(failed))


def _log_curve(run: Any, curve: LossCurve) -> None:
    for step, loss, rate, tokens in zip(curve.steps, curve.losses, curve.learning_rates, curve.tokens, strict=True):
        values = {"train/loss": loss, "train/learning_rate": rate, "train/tokens": tokens}
        run.log({name: value for name, value in values.items() if value is not None}, step=step)


# -- what is recorded ------------------------------------------------------------------------------


def build_records(inputs: Inputs) -> Iterator[Record]:
    """One record per mix and train seed, in the order of the recipe."""
    for curve in inputs.curves:
        fingerprint = _fingerprint(inputs, curve)
        mix = inputs.recipe.mix(curve.mix)
        yield Record(
            id=record_id(inputs.recipe.name, curve.mix, curve.seed, fingerprint),
            name=f"{curve.mix}-seed{curve.seed}",
            config=_config(inputs, curve, fingerprint),
            tags=(inputs.recipe.task.id, curve.mix, *(f"origin:{origin}" for origin in mix.origins)),
            curve=curve,
            summary=_summary(inputs, curve),
            per_class=_per_class(inputs, curve),
            per_subgroup=_per_subgroup(inputs, curve),
            sentences=_sentences(inputs, curve.mix),
        )


def record_id(recipe: str, mix: str, seed: int, fingerprint: str) -> str:
    """The same training always has the same id, and a training that changed has another one."""
    return hashlib.sha256("\x1f".join((recipe, mix, str(seed), fingerprint)).encode()).hexdigest()[:ID_LENGTH]


def _fingerprint(inputs: Inputs, curve: LossCurve) -> str:
    unit = f"{curve.mix}/seed_{curve.seed}"
    found = (one.fingerprint for one in inputs.manifests if one.stage == "training" and one.unit == unit)
    return next(found, inputs.input_sha256.get(f"05_training/{unit}/log.parquet", ""))


def _config(inputs: Inputs, curve: LossCurve, fingerprint: str) -> dict[str, Any]:
    recipe = inputs.recipe
    training = recipe.file.training.model_dump(mode="json")
    training["base_model"] = wording.base_model_name(recipe)
    composition = inputs.composition[curve.mix]
    return {
        "recipe": recipe.name,
        "task": {"id": recipe.task.id, "version": recipe.task.file.version},
        "root_seed": recipe.seed,
        "train_seed": curve.seed,
        "training": training,
        "mix": recipe.mix(curve.mix).model_dump(mode="json", exclude_none=True),
        "budget": {
            "updates": leaderboard.n_updates(inputs, curve.mix),
            "examples": composition.n_examples,
            "supervised_tokens": composition.n_supervised_tokens,
            "comparison": leaderboard.budget_words(inputs, curve.mix),
        },
        "git_commit": inputs.git_commit,
        "versions": {name: version for manifest in inputs.manifests for name, version in manifest.versions.items()},
        "sha256": {
            "training_fingerprint": fingerprint,
            "test_set": inputs.test_set_sha256,
            "train_table": inputs.input_sha256.get(f"04_mixes/{curve.mix}/train.parquet"),
        },
    }


def _summary(inputs: Inputs, curve: LossCurve) -> dict[str, float | int | str]:
    """Scores of this seed; intervals and differences are those over all seeds, as evaluation makes them."""
    values: dict[str, float | int | str | None] = {}
    for metric in SUMMARY_METRICS:
        own = inputs.metric(curve.mix, LLM, metric=metric, train_seed=str(curve.seed))
        every = inputs.metric(curve.mix, LLM, metric=metric)
        values[metric] = own["value"] if own else None
        for name, column in (("all_seeds", "value"), ("ci_low", "ci_low"), ("ci_high", "ci_high")):
            values[f"{metric}_{name}"] = every[column] if every else None
    contrast = inputs.contrast(curve.mix, LLM)
    if contrast:
        prefix = f"difference_to_{inputs.reference}"
        values[prefix] = contrast["difference"]
        values |= {f"{prefix}_{column}": contrast[column] for column in ("ci_low", "ci_high", "p_adjusted")}
    if curve.losses:
        values["train/final_loss"] = curve.losses[-1]
    return {name: value for name, value in values.items() if value is not None}


def _per_class(inputs: Inputs, curve: LossCurve) -> list[list[Any]]:
    rows = []
    for label in inputs.recipe.task.label_ids:
        own = [
            inputs.metric(curve.mix, LLM, metric=metric, label=label, train_seed=str(curve.seed))
            for metric in CLASS_METRICS
        ]
        every = inputs.metric(curve.mix, LLM, metric=CLASS_METRIC, label=label)
        columns = ("value", "ci_low", "ci_high", "n_positive", "status", "reason")
        rows.append(
            [label, *(row["value"] if row else None for row in own), *(every[c] if every else None for c in columns)]
        )
    return rows


def _per_subgroup(inputs: Inputs, curve: LossCurve) -> list[list[Any]]:
    rows = []
    for variable in inputs.subgroup_variables:
        for level in inputs.levels(variable):
            own = inputs.metric(curve.mix, LLM, variable=variable, level=level, train_seed=str(curve.seed))
            every = inputs.metric(curve.mix, LLM, variable=variable, level=level)
            columns = ("value", "ci_low", "ci_high", "n", "n_patients", "status", "reason")
            rows.append(
                [variable, level, own["value"] if own else None, *(every[c] if every else None for c in columns)]
            )
    return rows


def _sentences(inputs: Inputs, mix: str) -> list[list[str]]:
    if not inputs.recipe.file.tracking.wandb.log_text:
        return []
    arms = [origin for origin in inputs.recipe.mix(mix).origins if origin in inputs.samples]
    return [[arm, row["label"], row["text"]] for arm in arms for row in inputs.samples[arm]]
