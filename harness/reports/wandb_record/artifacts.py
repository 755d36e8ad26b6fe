"""Artifacts of the W&B record: what a run made and what it was made from, as hashes and counts.

An artifact holds one small file, `contents.json`: names, SHA-256 and row counts of the tables behind it, from the
manifests. Its digest is therefore that of the real content, and equal content is one version in W&B. No table is among
the files; weights are, in an artifact of their own, where the recipe lets them leave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.reports.inputs import Inputs
from harness.schemas.manifest import Manifest

ArtifactType = Literal["gold", "synthetic", "mix", "adapter", "weights", "predictions", "metrics"]
CONTENTS = "contents.json"
N_NAME = 128  # characters W&B allows in the name of an artifact
WEIGHT_FOLDERS = ("adapter/", "model/")  # of a trained unit


@dataclass(frozen=True)
class Artifact:
    """One artifact as it is declared; `record.py` turns it into W&B's own."""

    name: str
    type: ArtifactType
    facts: Mapping[str, Any]
    """Hashes and counts; they are the artifact's metadata and its `contents.json`."""
    made_from: tuple[str, ...] = ()
    """Names of the artifacts that went into it."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Name in the artifact to a file that is copied into it."""

    @property
    def contents(self) -> str:
        """Text of `contents.json`; the same facts give the same text, and so the same digest."""
        whole = {"type": self.type, "made_from": list(self.made_from), **self.facts}
        return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def gold(inputs: Inputs) -> Artifact:
    """Gold by its hash and its counts by split; never its content."""
    rows = [row for row in inputs.gold_statistics if row["variable"] == "overall" and row["label"] == "all"]
    counts = {
        row["split"]: {name: row[name] for name in ("n_sentences", "n_patients") if row[name] is not None}
        for row in rows
    }
    facts = {
        "sha256": {"gold.parquet": inputs.input_sha256.get("00_cohort/gold.parquet")},
        "test_set_sha256": inputs.test_set_sha256,
        "counts": counts,
    }
    return Artifact(_name(inputs, "gold"), "gold", facts)


def synthetic(inputs: Inputs, arm: str) -> Artifact:
    """Sentences of an arm by hash, with how many were asked for, kept and dropped."""
    counts = inputs.arms[arm]
    facts = {
        "sha256": _hashes(inputs, (f"02_generation/{arm}/synthetic.parquet", f"03_annotation/{arm}/sentences.parquet")),
        "counts": {
            "accepted": counts.n_accepted,
            "labelled": counts.n_labelled,
            "by_label": dict(counts.n_by_label),
            "rejected": dict(counts.rejected),
        },
    }
    return Artifact(_name(inputs, "synthetic", arm), "synthetic", facts)


def mix(inputs: Inputs, name: str) -> Artifact:
    """A mix by the hash of its training table, with its size by origin; made from gold and the arms it draws from.

    Where train seeds draw patients of their own, all their tables are one artifact.
    """
    composition, made = inputs.composition[name], inputs.recipe.mix(name)
    tables = tuple(f"04_mixes/{made.unit_name(k)}/train.parquet" for k in inputs.recipe.draws(made))
    sources = tuple(
        synthetic(inputs, origin).name if origin in inputs.arms else gold(inputs).name for origin in made.origins
    )
    facts = {
        "sha256": _hashes(inputs, tables),
        "counts": {
            "examples": composition.n_examples,
            "sentences": composition.n_sentences,
            "supervised_tokens": composition.n_supervised_tokens,
        },
    }
    return Artifact(_name(inputs, "mix", name), "mix", facts, made_from=sources)


def adapter(inputs: Inputs, mix_name: str, seed: int) -> Artifact:
    """Trained weights, an adapter or a whole model, by the hashes in their manifest."""
    manifest = manifest_of(inputs, "training", f"{mix_name}/seed_{seed}")
    outputs = manifest.outputs if manifest else {}
    facts = {
        "sha256": {name: digest for name, digest in outputs.items() if name.startswith(WEIGHT_FOLDERS)},
        "training_fingerprint": manifest.fingerprint if manifest else None,
        "counts": {"updates": manifest.counts.notes.get("n_updates") if manifest else None},
    }
    made_from = (mix(inputs, mix_name).name,)
    return Artifact(_name(inputs, "adapter", mix_name, f"seed_{seed}"), "adapter", facts, made_from)


def weights(inputs: Inputs, mix_name: str, seed: int, *, files: Mapping[str, Path]) -> Artifact:
    """The files behind an adapter. Apart from it, so that the runs that use the adapter need not carry them."""
    behind = adapter(inputs, mix_name, seed)
    name = _name(inputs, "weights", mix_name, f"seed_{seed}")
    return Artifact(name, "weights", behind.facts, behind.made_from, files)


def predictions(inputs: Inputs, mix_name: str, seed: int) -> Artifact:
    """Predictions of one fine-tuned model by hash; the rows are a table of the run that logs it."""
    manifest = manifest_of(inputs, "scoring", f"{mix_name}/seed_{seed}")
    facts = {"sha256": dict(manifest.outputs) if manifest else {}, "test_set_sha256": inputs.test_set_sha256}
    made_from = (adapter(inputs, mix_name, seed).name, gold(inputs).name)
    return Artifact(_name(inputs, "predictions", mix_name, f"seed_{seed}"), "predictions", facts, made_from)


def metrics(inputs: Inputs, made_from: Sequence[str]) -> Artifact:
    """Everything that was computed of the predictions, by hash; the values are the tables of the run that logs it."""
    names = [name for name in inputs.input_sha256 if name.startswith("07_evaluation/")]
    baselines = {
        f"06_scoring/{one.unit}/{name}": digest
        for one in inputs.manifests
        if one.stage == "scoring" and one.unit.rpartition("/")[2] in inputs.recipe.file.scoring.baselines
        for name, digest in one.outputs.items()
    }
    facts = {"sha256": _hashes(inputs, names), "baseline_predictions_sha256": baselines}
    return Artifact(_name(inputs, "metrics"), "metrics", facts, tuple(made_from))


def manifest_of(inputs: Inputs, stage: str, unit: str) -> Manifest | None:
    return next((one for one in inputs.manifests if (one.stage, one.unit) == (stage, unit)), None)


def _hashes(inputs: Inputs, names: Sequence[str]) -> dict[str, str | None]:
    return {name: inputs.input_sha256.get(name) for name in names}


def _name(inputs: Inputs, *parts: str) -> str:
    """Letters, digits, dots, dashes and underscores, as W&B wants them; names of recipes and mixes hold no others."""
    return "-".join((inputs.recipe.name, *parts))[-N_NAME:]
