"""Checkpoints of an interrupted run: kept only while they are whole and belong to exactly these settings.

`checkpoints/` holds trainer checkpoints and `key.json`, the hash of everything that decides the run. A checkpoint
counts once its marker is there, which is written after every process has saved its part.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from harness.store import write_json

CHECKPOINTS = "checkpoints"
KEY_FILE = "key.json"
MARKER = "complete.json"
CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")


def keep_matching(folder: Path, key: str) -> None:
    """Empty `folder` unless it belongs to `key`; remove checkpoints whose saving was interrupted."""
    if _key_of(folder) != key:
        shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / KEY_FILE, {"key": key})
    for path in folder.iterdir():
        if path.is_dir() and not (path / MARKER).is_file():
            shutil.rmtree(path)


def latest(folder: Path) -> Path | None:
    """The whole checkpoint with the most updates, or None."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / MARKER).is_file()]
    return max(whole, key=_updates_of, default=None)


def mark_complete(checkpoint: Path) -> None:
    write_json(checkpoint / MARKER, {"updates": _updates_of(checkpoint)})


def _updates_of(checkpoint: Path) -> int:
    found = CHECKPOINT_NAME.fullmatch(checkpoint.name)
    return int(found.group(1)) if found else -1


def _key_of(folder: Path) -> str | None:
    try:
        content = json.loads((folder / KEY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("key") if isinstance(content, dict) else None
