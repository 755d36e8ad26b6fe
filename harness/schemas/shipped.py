"""Where the files that come with the harness lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(kind: str) -> Path:
    """Folder of shipped `tasks`, `recipes`, `data_mixes` or `accelerate_configs`."""
    if kind == "tasks":
        return PACKAGE / "tasks"
    beside = PACKAGE.parent / kind
    return beside if beside.is_dir() else PACKAGE / "shipped" / kind
