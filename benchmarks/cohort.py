"""How fast a user's own patients become a population: a million in a table, 100,000 in OMOP tables, 50,000 in FHIR.

The patients are invented. Each kind is read, counted and written in a process of its own, whose peak memory is its own;
also: how far the margins of a private release lie from the exact ones.

python benchmarks/cohort.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import yaml

N_PEOPLE = {"table": 1_000_000, "omop": 100_000, "fhir": 50_000, "private": 10_000}
EPSILON = 1.0
RACES = {"nh_white": 8527, "nh_black": 8516, "nh_asian": 8515, "nh_aian": 8657, "nh_other_or_multi": 8557}
OMB = {
    "nh_white": "2106-3",
    "nh_black": "2054-5",
    "nh_asian": "2028-9",
    "nh_aian": "1002-5",
    "nh_other_or_multi": "2131-1",
}
CORE_RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"


def people(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    hypertension = rng.random(n) < 0.6
    return {
        "patient_id": np.char.add("q", np.arange(n).astype(str)),
        "age_years": rng.integers(65, 96, n),
        "sex": np.where(rng.random(n) < 0.6, "female", "male"),
        "race_ethnicity": rng.choice(list(RACES), n, p=[0.78, 0.14, 0.05, 0.01, 0.02]),
        "hypertension": hypertension.astype(int),
        "diabetes": (rng.random(n) < np.where(hypertension, 0.4, 0.2)).astype(int),
        "depression": (rng.random(n) < 0.3).astype(int),
    }


def write_table(folder: Path, n: int) -> dict[str, object]:
    pa_csv.write_csv(pa.table(people(n)), folder / "patients.csv")
    factors = {name: name for name in ("hypertension", "diabetes", "depression")}
    return {"kind": "table", "path": "patients.csv", "risk_factors": factors}


def write_omop(folder: Path, n: int) -> dict[str, object]:
    found = people(n)
    (folder / "cdm").mkdir()
    ids = np.arange(1, n + 1)
    person = {
        "person_id": ids,
        "gender_concept_id": np.where(found["sex"] == "female", 8532, 8507),
        "year_of_birth": 2019 - found["age_years"],
        "race_concept_id": [RACES[one] for one in found["race_ethnicity"]],
        "ethnicity_concept_id": np.full(n, 38003564),
    }
    concepts = {378419: np.ones(n, bool), 320128: found["hypertension"] == 1, 201826: found["diabetes"] == 1,
                440383: found["depression"] == 1, 4112343: np.ones(n, bool), 260139: np.ones(n, bool)}  # fmt: skip
    who = np.concatenate([ids[carried] for carried in concepts.values()])
    conditions = {
        "person_id": who,
        "condition_concept_id": np.concatenate([np.full(carried.sum(), one) for one, carried in concepts.items()]),
        "condition_start_date": np.full(len(who), "2019-06-15"),
    }
    names = {"concept_id": list(concepts), "concept_name": [f"concept {one}" for one in concepts],
             "vocabulary_id": ["SNOMED"] * len(concepts), "concept_code": [f"x{one}" for one in concepts]}  # fmt: skip
    for name, table in (("PERSON", person), ("CONDITION_OCCURRENCE", conditions), ("CONCEPT", names)):
        pa_csv.write_csv(pa.table(table), folder / "cdm" / f"{name}.csv")
    return {"kind": "omop", "path": "cdm", "absent": {"race_ethnicity": ["hispanic"]}}


def write_fhir(folder: Path, n: int) -> dict[str, object]:
    found = people(n)
    (folder / "export").mkdir()
    patients, conditions = ((folder / "export" / f"{name}.ndjson").open("w") for name in ("Patient", "Condition"))
    with patients, conditions:
        for index in range(n):
            one = {name: column[index] for name, column in found.items()}
            patients.write(json.dumps(patient(one)) + "\n")
            factors = [code for code, name in (("I10", "hypertension"), ("E11.9", "diabetes")) if one[name]]
            for code in ("G30.9", "Z99.9", "R05", *factors):
                conditions.write(json.dumps(condition(str(one["patient_id"]), code)) + "\n")
    return {"kind": "fhir", "path": "export"}


def patient(one: dict[str, object]) -> dict[str, object]:
    category = {"url": "ombCategory", "valueCoding": {"code": OMB[str(one["race_ethnicity"])]}}
    return {
        "resourceType": "Patient",
        "id": str(one["patient_id"]),
        "gender": str(one["sex"]),
        "birthDate": f"{2019 - int(str(one['age_years']))}-03-01",
        "extension": [{"url": CORE_RACE, "extension": [category]}],
    }


def condition(patient_id: str, code: str) -> dict[str, object]:
    return {
        "resourceType": "Condition",
        "subject": {"reference": f"Patient/{patient_id}"},
        "onsetDateTime": "2019-06-15",
        "code": {"coding": [{"system": ICD10, "code": code}]},
    }


def write_private(folder: Path, n: int) -> dict[str, object]:
    return {**write_table(folder, n), "privacy": {"epsilon": EPSILON}}


WRITERS = {"table": write_table, "omop": write_omop, "fhir": write_fhir, "private": write_private}


def measure(kind: str) -> None:
    """Write the patients in one process; estimate in another, which prints its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = WRITERS[kind](folder, N_PEOPLE[kind])
        absent = {"race_ethnicity": ["hispanic"]}
        recipe = {"task": "alzheimers", "seed": 1, "mixes": ["gold"], "cohort": {"absent": absent, **cohort}}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        subprocess.run([sys.executable, __file__, kind, name], check=True)


def estimate(kind: str, folder: Path) -> None:
    from harness.pipeline import run_recipe
    from harness.schemas.recipe import load_recipe

    recipe = load_recipe(folder / "recipe.yaml")
    started = time.perf_counter()
    list(run_recipe(recipe, folder / "run", only="cohort"))
    seconds = time.perf_counter() - started
    if kind == "private":
        found = yaml.safe_load((folder / "run" / "00_cohort" / "population" / "population.yaml").read_text())
        exact = people(N_PEOPLE[kind])
        gaps = [
            abs(number["v"] - float(np.mean(exact[variable] == level)))
            for variable in ("sex", "race_ethnicity")
            for level, number in found["margins"][variable].items()
        ]
        print(f"figure cohort_private_n_people {N_PEOPLE[kind]}")
        print(f"figure cohort_private_margin_error_max_at_epsilon_{EPSILON:g} {max(gaps):.5f}")
        return
    print(f"figure cohort_{kind}_n_people {N_PEOPLE[kind]}")
    print(f"figure cohort_{kind}_seconds {seconds:.1f}")
    print(f"figure cohort_{kind}_peak_mb {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}", flush=True)


def main() -> None:
    if len(sys.argv) == 3:
        estimate(sys.argv[1], Path(sys.argv[2]))
        return
    for kind in WRITERS:
        measure(kind)


if __name__ == "__main__":
    main()
