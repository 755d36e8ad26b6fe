"""A user's own patients as the target of the alignments: a structured cohort, and dated notes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.schemas.base import LevelMap, Settings


class Privacy(Settings):
    """Differential privacy of the counts that leave the cohort."""

    epsilon: float = Field(gt=0)
    """Budget of one release, all its counts together; smaller is more private. Below 1 is strong, above 10 weak."""
    total_epsilon: float | None = Field(default=None, gt=0)
    """What all releases in the ledger may cost together; null: epsilon, that is one release."""
    ledger: Path | None = None
    """JSON file of what has been spent; null: in the run folder. Recipes on the same patients should share one."""

    @model_validator(mode="after")
    def affordable(self) -> Self:
        if self.total_epsilon is not None and self.total_epsilon < self.epsilon:
            raise ValueError(f"total_epsilon {self.total_epsilon:g} is below epsilon {self.epsilon:g}: no release fits")
        return self


class Cohort(Settings):
    """Structured data of real patients; its margins, pairs and prevalences replace the task's population."""

    kind: Literal["table", "omop", "fhir"]
    path: Path
    """table: CSV, JSONL or Parquet, one patient a row. omop: folder of CDM 5.4 tables. fhir: folder of bulk NDJSON."""
    columns: dict[str, str] = Field(default_factory=dict)
    """table: our column to yours, e.g. {patient_id: mrn_hash, sex: gender}; same names need no entry."""
    levels: LevelMap = Field(default_factory=dict)
    """table: variable to your level to ours, e.g. {sex: {F: female, M: male}}; of a risk factor to yes or no, e.g.
    {hypertension: {"": no}} where a blank means no. People with a blank that means nothing are left out."""
    absent: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Levels of the task that your patients do not have, e.g. {race_ethnicity: [nh_aian]}; nobody is drawn there. A
    level without patients that is not listed is an error."""
    risk_factors: dict[str, str] = Field(default_factory=dict)
    """table: risk factor to your yes/no column; omop and fhir take them from the concept sets."""
    concept_sets: Path | None = None
    """omop, fhir: CSV of concept sets; null takes the task's."""
    as_of: str | None = None
    """Date (YYYY-MM-DD) that the cohort describes. omop, fhir: ages are taken at it and later records do not count;
    null: ages at the patient's first diagnosis, all records."""
    min_cell: int = Field(default=11, ge=0)
    """Counts of fewer people are suppressed and reported. 11 is the usual rule of US federal health data (CMS)."""
    privacy: Privacy | None = None

    @field_validator("as_of")
    @classmethod
    def calendar_date(cls, given: str | None) -> str | None:
        if given is not None:
            try:
                date.fromisoformat(given)
            except ValueError:
                raise ValueError(f"found {given!r}; write a date as YYYY-MM-DD, in quotes") from None
        return given

    @model_validator(mode="after")
    def fits_kind(self) -> Self:
        names = ("columns", "levels", "risk_factors") if self.kind != "table" else ("concept_sets",)
        surplus = [name for name in names if getattr(self, name)]
        if surplus:
            why = "a table has columns, not codes" if self.kind == "table" else "codes are mapped by concept sets"
            raise ValueError(f"{', '.join(surplus)}: not for kind {self.kind}; {why}")
        return self


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
