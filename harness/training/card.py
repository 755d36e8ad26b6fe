"""The README.md beside an adapter: what it was trained on, what it may be used for, and under which licence."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from harness import __version__
from harness.schemas.manifest import Counts
from harness.schemas.tables import TRAIN
from harness.store import read_table, sha256_file, write_json, write_text
from harness.training.job import TrainingJob

ADAPTER_CONFIG = "adapter_config.json"
RECIPE_FILE = "recipe.resolved.json"


class License(NamedTuple):
    tag: str
    """As the hub's model cards write it."""
    words: str


UNKNOWN_LICENSE = License("other", "see the base model")
# By the beginning of the base model's name.
LICENSES = {
    "embedded:smollm2": License("apache-2.0", "Apache-2.0 (SmolLM2)"),
    "HuggingFaceTB/SmolLM2": License("apache-2.0", "Apache-2.0 (SmolLM2)"),
    "meta-llama/Llama-3.1": License("llama3.1", "Llama 3.1 Community License Agreement: whoever passes the weights on "
                                    "adds it, shows 'Built with Llama' and begins the model's name with Llama"),
}  # fmt: skip
LICENSES["meta-llama/Meta-Llama-3.1"] = LICENSES["meta-llama/Llama-3.1"]


def license_of(base_model: str) -> License:
    """The licence of a base model by its name; `see the base model` for those nobody looked up."""
    return next((one for name, one in LICENSES.items() if base_model.startswith(name)), UNKNOWN_LICENSE)


def write_card(folder: Path, job: TrainingJob, counts: Counts, table: Path) -> None:
    """Write the model card and the resolved recipe, and name the base model in the adapter as the recipe names it.

    Args:
        folder: Of the adapter or model, `<run>/05_training/<mix>/seed_<k>/adapter`; the recipe lies in `<run>`.
        job: Settings of the run.
        counts: What it did.
        table: The mix's `train.parquet`.
    """
    config = folder / ADAPTER_CONFIG
    if config.is_file():
        # peft puts the folder here from which this machine happened to load the base model
        content = json.loads(config.read_text(encoding="utf-8"))
        write_json(config, {**content, "base_model_name_or_path": job.base_model, "revision": job.revision})
    run = next((one for one in folder.absolute().parents if (one / RECIPE_FILE).is_file()), None)
    if run is not None:
        write_text(folder / RECIPE_FILE, (run / RECIPE_FILE).read_text(encoding="utf-8"))
    write_text(folder / "README.md", card(job, counts, mix_lines(table)))


def mix_lines(table: Path) -> str:
    """A Markdown table of a mix's sources, and the hash of the rows."""
    rows = read_table(table, TRAIN, columns=["origin", "sentence_id"])
    shown: dict[str, list[str]] = defaultdict(list)
    for origin, sentence in zip(rows["origin"].to_pylist(), rows["sentence_id"].to_pylist(), strict=True):
        shown[origin].append(sentence)
    lines = ["| source | distinct sentences | examples |", "| --- | ---: | ---: |"]
    lines += [f"| {origin} | {len(set(ids)):,} | {len(ids):,} |" for origin, ids in sorted(shown.items())]
    return "\n".join([*lines, "", f"SHA-256 of its rows (`train.parquet`): `{sha256_file(table)}`"])


def card(job: TrainingJob, counts: Counts, mix: str) -> str:
    """The card's text.

    Args:
        job: Settings of the run.
        counts: What it did; notes of a finished run.
        mix: Markdown about the mix.
    """
    notes, given = counts.notes, license_of(job.base_model)
    return f"""---
library_name: {"transformers" if job.method == "full" else "peft"}
base_model: {job.base_model}
license: {given.tag}
tags: [dualalign-harness, research, clinical-text]
---

# {job.base_model} fine-tuned on the mix `{job.mix}`, train seed {job.seed_index}

A classifier of sentences from clinical notes, written by dualalign-harness {__version__} to compare training data. It
writes one of the task's labels after the task's prompt and is scored by the likelihood of each label.

## Intended use and limits

For research on training data: to be scored on held-out patients beside other mixes of the same recipe. It is no
medical device, and nobody has validated it for care. It knows the labels of one task and the prompt it was trained
with; on other notes, hospitals or languages its answers mean nothing until measured there. One train seed supports no
claim. A mix that holds real patients' sentences makes these weights as confidential as the sentences.

## What was trained, and how long

| | |
| --- | --- |
| base model | `{job.base_model}`, revision {job.revision or "not pinned"}, weights {job.weights} |
| licence of the base model | {given.words} |
| method | {job.method}, {notes["trainable_parameters"]:,} trainable parameters |
| budget | {notes["n_updates"]} updates of {job.global_batch_size} examples, {counts.rows_in:,} examples |
| tokens | {notes["n_total_tokens"]:,}, of which {notes["n_supervised_tokens"]:,} supervised |
| loss | {notes["first_loss"]:.4f} at the first update, {notes["last_loss"]:.4f} at the last |
| health | {notes.get("status", "finished")}{_because(notes.get("reason"))} |
| seed | {job.root_seed}, child training/seed_{job.seed_index} |

## The mix

{mix}

## Metrics

They are computed after training, on held-out patients: rows with mix `{job.mix}` and train_seed `{job.seed_index}` of
`07_evaluation/metrics.parquet` in the run folder, with intervals; the comparison with other mixes is in `08_reports`.

All settings are in `../settings.json`, the recipe in `{RECIPE_FILE}`, the loss of each update in `../log.parquet`, the
trainer's own words in `../trainer.log`, hashes and versions in `../manifest.json`.
"""


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""
