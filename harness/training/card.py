"""The README.md beside an adapter: what it was trained on and what it may be used for."""

from __future__ import annotations

import json
from pathlib import Path

from harness import __version__
from harness.schemas.manifest import Counts
from harness.store import write_json, write_text
from harness.training.job import TrainingJob

ADAPTER_CONFIG = "adapter_config.json"


def write_card(folder: Path, job: TrainingJob, counts: Counts) -> None:
    """Write the model card, and name the base model in the adapter's settings as the recipe names it."""
    config = folder / ADAPTER_CONFIG
    if config.is_file():
        # peft puts the folder here from which this machine happened to load the base model
        content = json.loads(config.read_text(encoding="utf-8"))
        write_json(config, {**content, "base_model_name_or_path": job.base_model, "revision": job.revision})
    write_text(folder / "README.md", card(job, counts))


def card(job: TrainingJob, counts: Counts) -> str:
    notes = counts.notes
    return f"""---
library_name: {"transformers" if job.method == "full" else "peft"}
tags: [dualalign-harness]
---

# {job.base_model} fine-tuned on the mix `{job.mix}`, train seed {job.seed_index}

A classifier of sentences from clinical notes, written by dualalign-harness {__version__} to compare training data. It
writes one of the task's labels after the task's prompt and is scored by the likelihood of each label. It is no medical
device, and a mix that holds real patients' sentences makes these weights as confidential as the sentences.

| | |
| --- | --- |
| base model | `{job.base_model}`, weights {job.weights} |
| method | {job.method}, {notes["trainable_parameters"]:,} trainable parameters |
| updates | {notes["n_updates"]} of {job.global_batch_size} examples |
| tokens | {notes["n_total_tokens"]:,}, of which {notes["n_supervised_tokens"]:,} supervised |
| loss | {notes["first_loss"]:.4f} at the first update, {notes["last_loss"]:.4f} at the last |
| seed | {job.root_seed}, child training/seed_{job.seed_index} |

All settings are in `../settings.json`, the loss of each update in `../log.parquet`, hashes and versions in
`../manifest.json`.
"""
