"""A user's own patients as the target of the alignments: a structured cohort, and dated notes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.schemas.base import Settings


class Privacy(Settings):
    """Differential privacy of the counts that leave the cohort."""

    epsilon: float = Field(gt=0)
    """Budget of all released counts together; smaller is more private."""


class Cohort(Settings):
    """Structured data of real patients; its margins, pairs and prevalences replace the task's population."""

    kind: Literal["table", "omop", "fhir"]
    path: Path
    """table: CSV, JSONL or Parquet, one patient a row. omop: folder of CDM 5.4 tables. fhir: folder of bulk NDJSON."""
    columns: dict[str, str] = Field(default_factory=dict)
    """table: our column to yours, e.g. {patient_id: mrn_hash, sex: gender}; same names need no entry."""
    levels: dict[str, dict[str, str]] = Field(default_factory=dict)
    """table: variable to your level to ours, e.g. {sex: {F: female, M: male}}."""
    risk_factors: dict[str, str] = Field(default_factory=dict)
    """table: risk factor to your yes/no column; omop and fhir take them from the concept sets."""
    concept_sets: Path | None = None
    """omop, fhir: CSV of concept sets; null takes the task's."""
    as_of: str | None = None
    """omop, fhir: date (YYYY-MM-DD) at which ages are taken; null: the patient's first diagnosis."""
    min_cell: int = Field(default=11, ge=0)
    """Counts of fewer people are suppressed and reported. 11 is the usual rule of US federal health data (CMS)."""
    privacy: Privacy | None = None


class Notes(Settings):
    """Dated notes of real patients; what they mention, and when, replaces the task's trajectory."""

    path: Path
    """JSONL, CSV or Parquet, one note a row: patient_id, date, text, and note_type if known."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column to yours."""
    note_types: dict[str, str] = Field(default_factory=dict)
    """Your note type to ours, e.g. {PCP: primary_care}; types not listed are taken as they are."""
    diagnoses: Path | None = None
    """CSV, JSONL or Parquet with patient_id and diagnosis_date; null: the notes file has a diagnosis_date column."""
    min_patients: int = Field(default=11, ge=1)
    """A stage with fewer patients keeps the task's own values, and the report says so."""

    @model_validator(mode="after")
    def known_columns(self) -> Self:
        known = ("patient_id", "note_id", "date", "text", "note_type", "diagnosis_date")
        unknown = [name for name in self.columns if name not in known]
        if unknown:
            raise ValueError(f"columns: unknown {', '.join(unknown)}; known: {', '.join(known)}")
        return self
