"""The tables between stages: columns, types, key. They are the only contract that stages share.

Every table is Parquet with a declared schema and key, sorted by key unless its order carries meaning (`train`), and
checked when it is written and when it is read. Text columns never leave these tables for a log or a tracker.
"""

from __future__ import annotations

from harness.schemas.tables.people import (
    CO_OCCURRENCE,
    GOLD,
    GOLD_STATISTICS,
    MATCHED_CONCEPTS,
    MENTIONS,
    PERSONAS,
    POPULATION,
    RATES,
    VISITS,
)
from harness.schemas.tables.results import (
    CONFUSION,
    CONTRASTS,
    EXCHANGE,
    METRICS,
    PATIENT_COUNTS,
    PREDICTIONS,
    RELIABILITY,
    TEMPERATURES,
    THRESHOLDS,
    TIES,
)
from harness.schemas.tables.spec import SUBGROUP_COLUMNS, TableSpec
from harness.schemas.tables.synthetic import AGREEMENT, DISAGREEMENTS, FIDELITY, PLANNED, REJECTED, SENTENCES, SYNTHETIC
from harness.schemas.tables.training import AUDIT, TRAIN, TRAINING_LOG, VALIDATION

TABLES = {
    spec.name: spec
    for spec in (
        GOLD,
        GOLD_STATISTICS,
        POPULATION,
        MATCHED_CONCEPTS,
        PERSONAS,
        VISITS,
        MENTIONS,
        RATES,
        CO_OCCURRENCE,
        SYNTHETIC,
        PLANNED,
        SENTENCES,
        AGREEMENT,
        DISAGREEMENTS,
        FIDELITY,
        REJECTED,
        TRAIN,
        VALIDATION,
        AUDIT,
        TRAINING_LOG,
        PREDICTIONS,
        THRESHOLDS,
        METRICS,
        CONTRASTS,
        RELIABILITY,
        TEMPERATURES,
        CONFUSION,
        EXCHANGE,
        PATIENT_COUNTS,
        TIES,
    )
}

__all__ = [
    "AGREEMENT",
    "AUDIT",
    "CONFUSION",
    "CONTRASTS",
    "CO_OCCURRENCE",
    "DISAGREEMENTS",
    "EXCHANGE",
    "FIDELITY",
    "GOLD",
    "GOLD_STATISTICS",
    "MATCHED_CONCEPTS",
    "MENTIONS",
    "METRICS",
    "PATIENT_COUNTS",
    "PERSONAS",
    "PLANNED",
    "POPULATION",
    "PREDICTIONS",
    "RATES",
    "REJECTED",
    "RELIABILITY",
    "SENTENCES",
    "SUBGROUP_COLUMNS",
    "SYNTHETIC",
    "TABLES",
    "TEMPERATURES",
    "THRESHOLDS",
    "TIES",
    "TRAIN",
    "TRAINING_LOG",
    "TableSpec",
    "VALIDATION",
    "VISITS",
]
