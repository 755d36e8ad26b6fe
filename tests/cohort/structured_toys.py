"""Invented patients for the tests of structured cohorts, as a table, an OMOP folder and a FHIR export."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness.cohort.stage import units
from harness.schemas.recipe import load_recipe
from harness.schemas.task import load_task
from harness.seeds import generator
from harness.store import Run

MARK = {"status": "assumed", "check": "none", "src": "own"}
TASK: dict[str, Any] = {
    "id": "toy_cohort",
    "version": 1,
    "title": "Toy",
    "disease": "a toy disease",
    "labels": {"values": [{"id": one, "name": one, "definition": f"about {one}"} for one in ("memory", "falls")]},
    "subgroups": {
        "sex": {"title": "Sex", "levels": {"female": "Woman", "male": "Man"}},
        "age_band": {"title": "Age", "levels": {"65-74": "65 to 74", "75-84": "75 to 84", "85+": "85 and over"}},
        "race_ethnicity": {"title": "Group", "levels": {"nh_white": "White", "nh_black": "Black", "hispanic": "Hispanic"}},
        "stage": {"title": "Stage", "levels": {"early": "Early", "late": "Late"}},
    },
    "population": "population.yaml",
    "concept_sets": "concepts.csv",
}  # fmt: skip
POPULATION: dict[str, Any] = {
    "schema_version": 1,
    "name": "toy",
    "title": "Toy",
    "as_of": 2020,
    "sources": {"own": {"title": "Invented"}},
    "margins": {
        "age_band": {"65-74": {"v": 0.3, **MARK}, "75-84": {"v": 0.4, **MARK}, "85+": {"v": 0.3, **MARK}},
        "sex": {"female": {"v": 0.5, **MARK}, "male": {"v": 0.5, **MARK}},
        "race_ethnicity": {"nh_white": {"v": 0.6, **MARK}, "nh_black": {"v": 0.3, **MARK}, "hispanic": {"v": 0.1, **MARK}},
        "living": {"alone": {"v": 0.25, **MARK}, "together": {"v": 0.75, **MARK}},
    },
    "age_years": {
        "65-74": {"dist": "uniform_int", "low": 65, "high": 74, **MARK},
        "75-84": {"dist": "uniform_int", "low": 75, "high": 84, **MARK},
        "85+": {"dist": "uniform_int", "low": 85, "high": 95, **MARK},
    },
    "risk_factors": {
        "hypertension": {"v": 0.5, "group": "body", **MARK},
        "diabetes": {"v": 0.3, "group": "body", **MARK},
        "current_smoking": {"v": 0.1, "group": "habit", **MARK},
        "former_smoking": {"v": 0.3, "group": "habit", **MARK},
        "lives_alone": {"v": 0.25, "group": "social", **MARK},
    },
    "risk_factor_ratios": {"sex": {"hypertension": {"values": {"male": 1.1}, **MARK},
                                   "former_smoking": {"values": {"male": 1.5}, **MARK}}},
    "risk_rules": {"same_as": [{"factor": "lives_alone", "variable": "living", "level": "alone"}],
                   "exclusive": [["current_smoking", "former_smoking"]]},
}  # fmt: skip
CONCEPTS = """\
set,vocabulary,code,concept_id,name
disease,SNOMED,26929004,378419,Alzheimer's disease
disease,ICD10CM,G30,,Alzheimer's disease
hypertension,SNOMED,38341003,316866,Hypertensive disorder
hypertension,ICD10CM,I10,,Essential hypertension
diabetes,SNOMED,73211009,201820,Diabetes mellitus
current_smoking,SNOMED,449868002,42709996,Smokes tobacco daily
former_smoking,SNOMED,8517006,,Ex-smoker
"""
N_GOLD = 12
LEVELS = {name: list(variable["levels"]) for name, variable in TASK["subgroups"].items()}
AGES = {"65-74": (65, 75), "75-84": (75, 85), "85+": (85, 96)}


def people(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """Patients with related age, sex, group and factors; the first N_GOLD ids are also gold's."""
    rng = generator(seed, "toy people")
    rows = []
    for index in range(n):
        band = str(rng.choice(LEVELS["age_band"], p=[0.3, 0.45, 0.25]))
        group = str(rng.choice(LEVELS["race_ethnicity"], p=[0.7, 0.2, 0.1]))
        hypertension = rng.random() < 0.5 + 0.2 * (group == "nh_black")
        rows.append(
            {
                "patient_id": f"p{index:04d}",
                "age_years": int(rng.integers(*AGES[band])),
                "sex": "female" if rng.random() < (0.7 if band == "85+" else 0.5) else "male",
                "race_ethnicity": group,
                "hypertension": int(hypertension),
                "diabetes": int(rng.random() < (0.45 if hypertension else 0.2)),
            }
        )
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_gold(folder: Path, ids: Iterable[str] | None = None) -> Path:
    """Two sentences a patient; patient k is in train, validation or test by k modulo 3."""
    rows = [
        {"sentence_id": f"{one}-{s}", "patient_id": one, "text": f"Sentence {s} of {one}.", "label": ("memory", "falls")[s],
         "split": ("train", "validation", "test")[index % 3]}
        for index, one in enumerate(ids or [f"p{index:04d}" for index in range(N_GOLD)])
        for s in range(2)
    ]  # fmt: skip
    return write_csv(folder / "gold.csv", rows)


def held_out(index: int) -> bool:
    return index < N_GOLD and index % 3 != 0


def write_task(folder: Path, *, population: bool = True, **edits: Any) -> Path:
    content = {**TASK, **edits}
    if not population:
        content = {key: value for key, value in content.items() if key != "population"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (folder / "population.yaml").write_text(yaml.safe_dump(POPULATION, sort_keys=False), encoding="utf-8")
    (folder / "concepts.csv").write_text(CONCEPTS, encoding="utf-8")
    load_task(str(folder), base=folder)
    return folder


def toy_run(folder: Path, cohort: Mapping[str, Any], *, gold_ids: Iterable[str] | None = None, **task: Any) -> Run:
    """A run whose recipe names the cohort; nothing has been done yet."""
    write_task(folder / "toy_cohort", **task)
    write_gold(folder, gold_ids)
    recipe = {
        "task": "toy_cohort",
        "seed": 5,
        "gold": {"path": "gold.csv", "split": "column"},
        "arms": {"a": {"sees": ["label", "persona"], "n_sentences": 400, "n_personas": 200,
                       "backend": {"kind": "embedded"}}},
        "mixes": ["gold"],
        "cohort": dict(cohort),
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return Run(recipe=load_recipe(folder / "recipe.yaml"), folder=folder / "run")


def estimate(run: Run) -> Path:
    """Do both units of the stage; the folder of the population."""
    for unit in units(run):
        folder = run.path(unit.stage, unit.name) if unit.name else run.path(unit.stage)
        folder.mkdir(parents=True, exist_ok=True)
        unit.work(folder)
    return run.path("cohort", "population")


def population_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "population.yaml").read_text(encoding="utf-8"))
    return content


def share(rows: Sequence[Mapping[str, Any]], **levels: Any) -> float:
    return float(np.mean([all(row[name] == level for name, level in levels.items()) for row in rows]))


# -- OMOP --------------------------------------------------------------------------------------------------------------

GENDERS, RACES = {"female": 8532, "male": 8507}, {"nh_white": 8527, "nh_black": 8516, "hispanic": 0}
FACTOR_CONCEPTS = {"hypertension": 320128, "diabetes": 201820}  # essential hypertension: below the set's concept
DIAGNOSED = 2019


def omop_tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """CDM tables of the same people, diagnosed in the middle of 2019."""
    person = [
        {
            "person_id": index + 1,
            "gender_concept_id": GENDERS[row["sex"]],
            "year_of_birth": DIAGNOSED - row["age_years"],
            "month_of_birth": 3,
            "day_of_birth": 1,
            "race_concept_id": RACES[row["race_ethnicity"]],
            "ethnicity_concept_id": 38003563 if row["race_ethnicity"] == "hispanic" else 38003564,
            "person_source_value": row["patient_id"],
        }
        for index, row in enumerate(rows)
    ]
    conditions = []
    for index, row in enumerate(rows):
        wanted = [(378419, f"{DIAGNOSED}-06-15"), (378419, f"{DIAGNOSED + 1}-06-15")]
        wanted += [(concept, f"{DIAGNOSED - 5}-01-02") for name, concept in FACTOR_CONCEPTS.items() if row[name]]
        for concept, day in wanted:
            conditions.append(
                {"condition_occurrence_id": len(conditions) + 1, "person_id": index + 1,
                 "condition_concept_id": concept, "condition_start_date": day}
            )  # fmt: skip
    names = {378419: ("Alzheimer's disease", "26929004"), 316866: ("Hypertensive disorder", "38341003"),
             320128: ("Essential hypertension", "59621000"), 201820: ("Diabetes mellitus", "73211009")}  # fmt: skip
    concept = [
        {"concept_id": one, "concept_name": name, "vocabulary_id": "SNOMED", "concept_code": code}
        for one, (name, code) in names.items()
    ]
    ancestor = [{"ancestor_concept_id": 316866, "descendant_concept_id": 320128}]
    return {
        "PERSON": person,
        "CONDITION_OCCURRENCE": conditions,
        "CONCEPT": concept,
        "CONCEPT_ANCESTOR": ancestor,
    }


def write_omop(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", rows)
    return folder


# -- FHIR --------------------------------------------------------------------------------------------------------------

OMB = {"nh_white": "2106-3", "nh_black": "2054-5"}
CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
FACTOR_CODES = {
    "hypertension": ("http://hl7.org/fhir/sid/icd-10-cm", "I10"),
    "diabetes": ("http://snomed.info/sct", "73211009"),
}


def extension(kind: str, *codes: str) -> dict[str, Any]:
    parts = [
        {"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": one}}
        for one in codes
    ]
    return {"url": CORE + kind, "extension": [*parts, {"url": "text", "valueString": "as asked"}]}


def fhir_resources(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Resources of the same people, diagnosed in the middle of 2019."""
    patients, conditions, observations = [], [], []
    for row in rows:
        hispanic = row["race_ethnicity"] == "hispanic"
        patients.append(
            {
                "resourceType": "Patient",
                "id": row["patient_id"],
                "gender": row["sex"],
                "birthDate": f"{DIAGNOSED - row['age_years']}-03-01",
                "extension": [extension("race", OMB.get(row["race_ethnicity"], "2131-1")),
                              extension("ethnicity", "2135-2" if hispanic else "2186-5")],
            }
        )  # fmt: skip
        wanted = [("http://hl7.org/fhir/sid/icd-10-cm", "G30.1", f"{DIAGNOSED}-06-15T09:00:00Z")]
        wanted += [(*code, f"{DIAGNOSED - 5}") for name, code in FACTOR_CODES.items() if row[name]]
        conditions += [
            {"resourceType": "Condition", "subject": {"reference": f"Patient/{row['patient_id']}"}, "onsetDateTime": day,
             "code": {"coding": [{"system": system, "code": code}]}}
            for system, code, day in wanted
        ]  # fmt: skip
        observations.append(smoking(row["patient_id"], "8517006", f"{DIAGNOSED - 2}-01-01"))
    return {"Patient": patients, "Condition": conditions, "Observation": observations}


def smoking(patient: str, code: str, day: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": day,
        "code": {"coding": [{"system": "http://loinc.org", "code": "72166-2"}]},
        "valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": code}]},
    }


def write_fhir(folder: Path, resources: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in resources.items():
        text = "".join(json.dumps(one) + "\n" for one in found)
        (folder / f"{name}.000.ndjson").write_text(text, encoding="utf-8")
    return folder
