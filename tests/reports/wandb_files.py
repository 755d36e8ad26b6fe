"""Reading back what W&B recorded offline, and an invented run with predictions to record."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invented_run import LABELS, FolderBuilder

from harness.schemas.manifest import Counts
from harness.schemas.tables import PREDICTIONS
from harness.store import Run, write_json, write_table

HEADER_BYTES, BLOCK_BYTES = 7, 32768  # of a .wandb file: LevelDB's log format behind W&B's own header
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_offline_run(path: Path) -> list[Any]:
    """Every record of a `.wandb` file, as W&B's own protobuf message."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    position, parts, records = HEADER_BYTES, b"", []
    while position + HEADER_BYTES <= len(content):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < HEADER_BYTES:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + HEADER_BYTES])
        body = content[position + HEADER_BYTES : position + HEADER_BYTES + length]
        position += HEADER_BYTES + length
        parts = body if kind in (FULL, FIRST) else parts + body
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            records.append(record)
    return records


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@dataclass(frozen=True)
class Offline:
    """One run as it lies on the disk."""

    folder: Path
    messages: list[Any]

    def of_type(self, name: str) -> list[Any]:
        return [getattr(one, name) for one in self.messages if one.WhichOneof("record_type") == name]

    @property
    def header(self) -> Any:
        (header,) = self.of_type("run")
        return header

    @property
    def config(self) -> dict[str, Any]:
        return values(self.header.config.update)

    @property
    def history(self) -> list[dict[str, Any]]:
        return [values(one.item) for one in self.of_type("history")]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for one in self.of_type("summary"):
            found |= values(one.update)
        return found

    @property
    def tables(self) -> dict[str, Any]:
        """Name of a table to its columns and rows, read from the file that the history names."""
        paths = {
            key.removesuffix("/path"): self.folder / "files" / value
            for row in self.history
            for key, value in row.items()
            if key.endswith("/path") and not key.endswith("artifact_path")
        }
        return {name: json.loads(path.read_text()) for name, path in paths.items()}

    def artifacts(self, *, used: bool) -> dict[str, Any]:
        """Inputs or outputs of the run by name, without the ones W&B makes of logged tables."""
        found = [one for one in self.of_type("artifact") if one.type != "run_table"]
        return {one.name: one for one in found if one.use_after_commit == used}


def offline_runs(folder: Path) -> dict[str, Offline]:
    """Display name to the run."""
    found = {}
    for path in sorted((folder / "wandb").glob("offline-run-*")):
        (file,) = path.glob("run-*.wandb")
        run = Offline(path, read_offline_run(file))
        found[run.header.display_name] = run
    return found


def add_predictions(run: Run) -> Run:
    """Weights and predictions of every cell, as training and scoring would leave them."""
    builder = FolderBuilder(run.recipe, run.folder)
    for mix in builder.mixes:
        for seed in builder.seeds:
            folder = run.path("training", mix, f"seed_{seed}")
            manifest = json.loads((folder / "manifest.json").read_text())
            (folder / "adapter").mkdir()
            (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights of " + mix.encode())
            manifest["outputs"]["adapter/adapter_model.safetensors"] = f"{mix}-{seed}-weights-hash"
            write_json(folder / "manifest.json", manifest)
            builder.unit("scoring", f"{mix}/seed_{seed}", _predict)
    return run


def _predict(folder: Path) -> Counts:
    rows = list(_rows())
    write_table(folder / "predictions.parquet", rows, PREDICTIONS)
    return Counts(rows_in=48, rows_out=len(rows))


def _rows() -> Iterator[dict[str, Any]]:
    labels = list(LABELS)
    for index in range(96):
        if index % 4 not in (1, 2):
            continue
        true = labels[index % 4]
        predicted = true if index % 3 else labels[3]
        for label in labels:
            yield {
                "sentence_id": f"s{index:03d}", "label": label, "split": "test", "log_likelihood": -1.0,
                "probability": 0.7 if label == predicted else 0.1, "is_true": label == true,
                "is_predicted": label == predicted,
            }  # fmt: skip
