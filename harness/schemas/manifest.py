"""`manifest.json`: everything that decides the numbers beside it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.schemas.base import Settings


class Counts(Settings):
    """Rows of one unit of work."""

    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    """Rows dropped, each with a reason in rejected.parquet."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """Further counts of this stage, e.g. acceptance rate, updates, supervised tokens. Never note text."""


class Manifest(Settings):
    stage: str
    unit: str
    fingerprint: str
    """Hash of settings, inputs and seed path; the unit is skipped when this and the outputs match."""
    recipe: str
    settings: dict[str, Any]
    """The part of the recipe and task that decides this unit."""
    root_seed: int
    seed_path: tuple[str, ...]
    inputs: dict[str, str]
    """File (relative to the run folder where it lies inside) to SHA-256."""
    outputs: dict[str, str]
    """File (relative to the unit's folder) to SHA-256."""
    counts: Counts
    versions: dict[str, str]
    git_commit: str | None
    started: str
    """UTC, ISO 8601."""
    seconds: float
    peak_rss_mb: float
    """Peak resident memory of the process and its children while the unit ran."""
