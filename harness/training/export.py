"""A finished run as one model: adapter and base weights merged into a folder that transformers and vLLM load.

The merge is done in the base model's own format, or in float32 where asked: rounding the sum to 16 bits moves scores in
their third digit, which the adapter beside its base does not.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from harness.backends.models import load_model, load_tokenizer
from harness.errors import ConfigError, DataError
from harness.store import MANIFEST, Run, read_manifest, write_json, write_text
from harness.training.job import ADAPTER, MODEL, SETTINGS_FILE, TrainingJob
from harness.training.stage import unit

CARD = "README.md"
EXPORT_FILE = "export.json"


def export_run(run: Run, mix: str, seed_index: int, out: Path) -> Path:
    """Write one run's model as safetensors with tokenizer, configuration, generation settings and card.

    Args:
        run: The run folder and its recipe.
        mix: One of the recipe's mixes.
        seed_index: 0 to train_seeds - 1.
        out: A folder that is not there, or is empty.

    Returns:
        `out`.

    Raises:
        ConfigError: An unknown mix or train seed, or a folder that is not empty.
        DataError: The run is not finished, or was marked as diverged.
        BackendError: The base model cannot be loaded.
    """
    n_seeds = run.recipe.file.training.train_seeds
    if not 0 <= seed_index < n_seeds:
        raise ConfigError(
            f"--seed is {seed_index}; the recipe's training.train_seeds is {n_seeds}, so 0 to {n_seeds - 1}"
        )
    cell = unit(run, run.recipe.mix(mix), seed_index)
    folder = run.path(cell.stage, cell.name)
    _check_finished(folder, cell.title)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is not an empty folder; give another --out")
    job = TrainingJob.model_validate_json((folder / SETTINGS_FILE).read_bytes())
    part = out.parent / f".{out.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _write(job, folder, part)
        if out.exists():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _check_finished(folder: Path, title: str) -> None:
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder}: {title} is not finished (no {MANIFEST}); run `harness train` first")
    status = manifest.counts.notes.get("status", "finished")
    if status != "finished":
        raise DataError(f"{folder}: {title} is {status} ({manifest.counts.notes.get('reason')}); it is not exported")


def _write(job: TrainingJob, folder: Path, out: Path) -> None:
    model = _merged(job, folder)
    model.config.use_cache = True  # training turns it off; whoever generates wants it
    model.save_pretrained(out, safe_serialization=True)
    load_tokenizer(job.base_model, revision=job.revision).save_pretrained(out)
    source = folder / (MODEL if job.method == "full" else ADAPTER)
    text = (source / CARD).read_text(encoding="utf-8")
    write_text(out / CARD, merged_card(text, job))
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    write_json(out / EXPORT_FILE, {"job": job.model_dump(mode="json"), "outputs": manifest["outputs"]})


def _merged(job: TrainingJob, folder: Path) -> Any:
    if job.method == "full":
        return load_model(str(folder / MODEL), dtype=job.dtype)
    from peft import PeftModel

    # QLoRA's adapter is merged into the weights before they were quantized: Dettmers et al. 2023 train on 4 bits, but
    # 4-bit weights with an adapter added cannot be written back in 4 bits without changing them.
    base = load_model(job.base_model, revision=job.revision, dtype=job.dtype)
    merged = PeftModel.from_pretrained(base, str(folder / ADAPTER)).merge_and_unload(safe_merge=True)
    # The embedded model carries the settings it was unpacked with; they name no file of this machine
    merged.config._name_or_path = job.base_model
    return merged


def merged_card(text: str, job: TrainingJob) -> str:
    """The run's card for a merged model: another library, and no files beside it to point to."""
    told = text.replace("library_name: peft", "library_name: transformers")
    head = (
        f"adapter of method {job.method} merged into the base weights"
        if job.method != "full"
        else "all weights trained"
    )
    return f"{told.rstrip()}\n\nThis folder is an export: {head}. Files named above lie in the run's own folder.\n"
