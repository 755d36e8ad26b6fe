"""OMOP CDM folders: the same patients as in the plain table come out, and incomplete exports are refused."""

import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structured_toys import (
    estimate,
    omop_tables,
    people,
    population_of,
    toy_run,
    write_csv,
    write_omop,
)

from harness.errors import ConfigError, DataError
from harness.schemas.tables import MATCHED_CONCEPTS, REJECTED
from harness.store import read_rows

OMOP: dict[str, Any] = {"kind": "omop", "path": "cdm"}
DATA = Path(os.environ.get("HARNESS_TEST_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
SAMPLE = DATA / "omop_sample"
PARTS = ("margins", "two_way", "risk_factor_prevalence")


def test_coded_patients_give_what_the_same_patients_in_a_table_give(tmp_path: Path) -> None:
    rows = people(400)
    write_csv(tmp_path / "a" / "patients.csv", rows)
    factors = {"hypertension": "hypertension", "diabetes": "diabetes"}
    table = population_of(
        estimate(toy_run(tmp_path / "a", {"kind": "table", "path": "patients.csv", "risk_factors": factors}))
    )
    write_omop(tmp_path / "b" / "cdm", omop_tables(rows))
    folder = estimate(toy_run(tmp_path / "b", OMOP))
    coded = population_of(folder)
    for part in PARTS:
        assert coded[part] == table[part]
    assert coded["as_of"] == 2019  # the year of the last first diagnosis
    matched = {(row["set"], row["name"]): row["n"] for row in read_rows(folder / "matched.parquet", MATCHED_CONCEPTS)}
    assert matched["disease", "Alzheimer's disease"] == 392
    assert ("hypertension", "Essential hypertension") in matched  # found by descent from hypertensive disorder


def test_parquet_and_lower_case_names_are_read_as_csv_is(tmp_path: Path) -> None:
    tables = omop_tables(people(200))
    write_omop(tmp_path / "a" / "cdm", tables)
    first = estimate(toy_run(tmp_path / "a", OMOP))
    (tmp_path / "b" / "cdm").mkdir(parents=True)
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b" / "cdm" / f"{name.lower()}.parquet")
    second = estimate(toy_run(tmp_path / "b", OMOP))
    for name in ("population.yaml", "cells.parquet", "matched.parquet", "rejected.parquet"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_as_of_moves_ages_and_hides_later_records(tmp_path: Path) -> None:
    rows = [{**row, "age_years": 74, "race_ethnicity": "nh_white"} for row in people(200)]
    tables = omop_tables(rows)
    for row in tables["CONDITION_OCCURRENCE"]:
        if row["condition_concept_id"] == 201820:
            row["condition_start_date"] = "2021-01-01"
    write_omop(tmp_path / "cdm", tables)
    absent = {"race_ethnicity": ["nh_black", "hispanic"]}
    at_diagnosis = population_of(
        estimate(toy_run(tmp_path, {**OMOP, "absent": {**absent, "age_band": ["75-84", "85+"]}}))
    )
    assert at_diagnosis["risk_factors"]["diabetes"]["src"] == "cohort"
    later = {**OMOP, "as_of": "2020-07-01", "absent": {**absent, "age_band": ["65-74", "85+"]}}
    found = population_of(estimate(toy_run(tmp_path, later)))
    assert set(found["margins"]["age_band"]) == {"75-84"}  # a year older than at the diagnosis in 2019
    assert found["risk_factors"]["diabetes"] == {
        "v": 0.3,
        "group": "body",
        "status": "assumed",
        "check": "none",
        "src": "own",
    }
    assert found["as_of"] == 2020


def test_the_newer_of_two_smoking_records_counts(tmp_path: Path) -> None:
    tables = omop_tables(people(200))
    tables["CONCEPT"].append(
        {
            "concept_id": 42709996,
            "concept_name": "Smokes tobacco daily",
            "vocabulary_id": "SNOMED",
            "concept_code": "449868002",
        }
    )
    tables["CONCEPT"].append(
        {"concept_id": 1, "concept_name": "Ex-smoker", "vocabulary_id": "SNOMED", "concept_code": "8517006"}
    )
    observations = [
        {"person_id": person, "observation_concept_id": concept, "observation_date": day, "value_as_concept_id": ""}
        for person in range(1, 101)
        for concept, day in ((42709996, "2010-05-05"), (1, "2012-05-05" if person <= 80 else "2008-01-01"))
    ]
    write_omop(tmp_path / "cdm", {**tables, "OBSERVATION": observations})
    found = population_of(estimate(toy_run(tmp_path, {**OMOP, "min_cell": 5})))["risk_factors"]
    assert found["former_smoking"]["v"] == pytest.approx((80 - 8) / 192, abs=1e-6)  # 8 of the first 80 are held out
    assert found["current_smoking"]["v"] == pytest.approx(20 / 192, abs=1e-6)


def test_held_out_patients_are_known_by_either_id(tmp_path: Path) -> None:
    write_omop(tmp_path / "cdm", omop_tables(people(200)))
    folder = estimate(toy_run(tmp_path, OMOP, gold_ids=["1", "2", "3"]))  # CDM ids; p0000 is person 1
    reasons = {row["row_id"]: row["reason"] for row in read_rows(folder / "rejected.parquet", REJECTED)}
    assert reasons == {"2": "held_out_patient", "3": "held_out_patient"}


def faults_of(tmp_path: Path, tables: dict[str, Any], **settings: Any) -> str:
    write_omop(tmp_path / "cdm", tables)
    run = toy_run(tmp_path, {**OMOP, **settings})
    with pytest.raises((DataError, ConfigError)) as raised:
        estimate(run)
    folder = run.path("cohort", "population")
    assert not folder.exists() or list(folder.iterdir()) == []
    return str(raised.value)


def test_a_folder_without_the_concept_names_is_refused(tmp_path: Path) -> None:
    tables = omop_tables(people(60))
    del tables["CONCEPT"], tables["CONCEPT_ANCESTOR"]
    message = faults_of(tmp_path, tables)
    assert "no table CONCEPT (.csv or .parquet); concept names are needed to say what was matched" in message
    assert "found: CONDITION_OCCURRENCE, PERSON" in message


def test_matched_concepts_without_a_name_are_refused(tmp_path: Path) -> None:
    tables = omop_tables(people(60))
    tables["CONCEPT"] = [row for row in tables["CONCEPT"] if row["concept_id"] != 378419]
    assert "CONCEPT: no name for concept 378419, which records use" in faults_of(tmp_path, tables)
    tables = omop_tables(people(60))
    tables["CONCEPT"] = [{key: one for key, one in row.items() if key != "concept_name"} for row in tables["CONCEPT"]]
    assert "CONCEPT.csv: missing column concept_name; found: concept_id, vocabulary_id, concept_code" in faults_of(
        tmp_path, tables
    )


def test_records_without_a_date_and_persons_given_twice_are_named(tmp_path: Path) -> None:
    tables = omop_tables(people(60))
    tables["CONDITION_OCCURRENCE"][-1]["condition_start_date"] = "soon"
    tables["PERSON"].append(tables["PERSON"][-1])
    last = tables["CONDITION_OCCURRENCE"][-1]["condition_occurrence_id"]
    message = faults_of(tmp_path, tables)
    assert f"1 matched records have no date (YYYY-MM-DD): CONDITION_OCCURRENCE {last}" in message
    assert "PERSON: 1 rows repeat the person_id of another row" in message


def test_concept_sets_that_do_not_fit_the_task_are_refused(tmp_path: Path) -> None:
    write_omop(tmp_path / "cdm", omop_tables(people(60)))
    (tmp_path / "sets.csv").write_text(
        "set,vocabulary,code,concept_id,name\nhypertnsion,SNOMED,38341003,316866,x\ndiabetes,,,,y\nsex=femal,Gender,F,,z\n"
        "diabetes,SNOMED,73211009,many,y\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as raised:
        estimate(toy_run(tmp_path, {**OMOP, "concept_sets": "sets.csv"}))
    message = str(raised.value)
    assert "row 2: unknown set 'hypertnsion'; did you mean 'hypertension'?" in message
    assert "row 3: neither code nor concept_id" in message
    assert "row 4: unknown set 'sex=femal'; did you mean 'sex=female'?" in message
    assert "row 5: concept_id 'many' is no number" in message
    (tmp_path / "sets.csv").write_text(
        "set,vocabulary,code,concept_id,name\ndiabetes,SNOMED,73211009,,y\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="no row for 'disease'"):
        estimate(toy_run(tmp_path, {**OMOP, "concept_sets": "sets.csv"}))


def test_without_duckdb_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)  # as if it were not installed
    message = faults_of(tmp_path, omop_tables(people(60)))
    assert message == (
        "cohort.kind: omop needs duckdb, which is not installed; in the clone: pip install -e '.[cohort]'"
    )


needs_sample = pytest.mark.skipif(
    not (SAMPLE / "PERSON.csv").is_file(),
    reason=f"no OMOP sample in {SAMPLE}; set HARNESS_TEST_DATA to its parent folder",
)


@needs_sample
def test_the_one_patient_with_the_disease_in_the_sample_is_found(tmp_path: Path) -> None:
    absent = {"age_band": ["65-74", "85+"], "sex": ["female"], "race_ethnicity": ["nh_black", "hispanic"]}
    run = toy_run(tmp_path, {"kind": "omop", "path": str(SAMPLE), "min_cell": 0, "absent": absent})
    folder = estimate(run)
    found = population_of(folder)
    assert found["margins"]["age_band"]["75-84"]["v"] == 1.0  # born in 1938, diagnosed in July 2013
    assert found["as_of"] == 2013
    rejected = read_rows(folder / "rejected.parquet", REJECTED)
    assert [row["reason"] for row in rejected] == ["no_disease_record"] * 27
    refused = toy_run(tmp_path, {"kind": "omop", "path": str(SAMPLE), "absent": absent})
    with pytest.raises(DataError, match="holds fewer than cohort.min_cell = 11 patients to count"):
        estimate(refused)


@needs_sample
def test_sample_counts_of_a_common_complaint_are_those_of_its_rows(tmp_path: Path) -> None:
    # Sinusitis instead of the disease, so that there are people to count: 12 women and 11 men, counted with awk.
    (tmp_path / "sets.csv").write_text(
        "set,vocabulary,code,concept_id,name\ndisease,SNOMED,444814009,,Viral sinusitis\n"
        "hypertension,SNOMED,423315002,4172829,Limited social contact\n",
        encoding="utf-8",
    )
    bands = {"<18": "under 18", "18-39": "18 to 39", "40+": "40 and over"}
    subgroups = {
        "sex": {"title": "Sex", "levels": {"female": "Woman", "male": "Man"}},
        "age_band": {"title": "Age", "levels": bands},
    }
    cohort = {"kind": "omop", "path": str(SAMPLE), "concept_sets": "sets.csv", "min_cell": 0}
    folder = estimate(toy_run(tmp_path, cohort, population=False, subgroups=subgroups))
    found = population_of(folder)
    n = {level: round(found["margins"]["sex"][level]["v"] * 23) for level in ("female", "male")}
    assert n == {"female": 12, "male": 11}
    matched = {row["set"]: row["n"] for row in read_rows(folder / "matched.parquet", MATCHED_CONCEPTS)}
    assert matched == {"disease": 23, "hypertension": 19}
