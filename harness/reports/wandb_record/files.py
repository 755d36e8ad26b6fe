"""Files of a run that only the W&B record reads: predictions, one run at a time, and weights that may leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.reports.inputs import Row
from harness.reports.wandb_record.artifacts import WEIGHT_FOLDERS
from harness.schemas.tables import PREDICTIONS
from harness.store import Run, read_manifest, read_rows


def prediction_rows(run: Run, mix: str, seed: int) -> Sequence[Row]:
    """The predictions of one fine-tuned model: ids, labels and probabilities."""
    return read_rows(run.path("scoring", mix, f"seed_{seed}", "predictions.parquet"), PREDICTIONS)


def weight_files(run: Run, mix: str, seed: int) -> Mapping[str, Path]:
    """Adapter or model of one training, as its manifest lists them."""
    folder = run.path("training", mix, f"seed_{seed}")
    manifest = read_manifest(folder)
    names = [name for name in manifest.outputs if name.startswith(WEIGHT_FOLDERS)] if manifest else []
    return {name: folder / name for name in names}
