"""Plain tables of patients: what is read, and every way in which one can be wrong."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structured_toys import estimate, held_out, people, population_of, share, toy_run, write_csv

from harness.errors import ConfigError, DataError
from harness.schemas.tables import POPULATION, REJECTED
from harness.store import read_rows

FACTORS = {"hypertension": "hypertension", "diabetes": "diabetes"}
TABLE: dict[str, Any] = {"kind": "table", "path": "patients.csv", "risk_factors": FACTORS}


def test_shares_are_those_of_the_patients_that_are_not_held_out(tmp_path: Path) -> None:
    rows = people(400)
    write_csv(tmp_path / "patients.csv", rows)
    found = population_of(estimate(toy_run(tmp_path, TABLE)))
    counted = [row for index, row in enumerate(rows) if not held_out(index)]
    assert len(counted) == 392
    assert found["margins"]["sex"]["female"]["v"] == pytest.approx(share(counted, sex="female"), abs=1e-6)
    assert found["two_way"]["sex_by_race_ethnicity"]["values"]["male"]["nh_white"] == pytest.approx(
        share(counted, sex="male", race_ethnicity="nh_white"), abs=1e-6
    )
    assert found["risk_factors"]["diabetes"]["v"] == pytest.approx(share(counted, diabetes=1), abs=1e-6)
    women = [row for row in counted if row["sex"] == "female"]
    assert found["risk_factor_prevalence"]["sex"]["hypertension"]["values"]["female"] == pytest.approx(
        share(women, hypertension=1), abs=1e-6
    )
    a, b = share(counted, hypertension=1, diabetes=1), share(counted, hypertension=0, diabetes=0)
    c, d = share(counted, hypertension=1, diabetes=0), share(counted, hypertension=0, diabetes=1)
    ratio = next(one for one in found["risk_factor_associations"] if one["factors"] == ["hypertension", "diabetes"])
    assert ratio["odds_ratio"] == pytest.approx(a * b / (c * d), rel=1e-5)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
def test_the_kind_of_file_and_the_order_of_rows_change_nothing(tmp_path: Path, suffix: str) -> None:
    rows = people(300)
    write_csv(tmp_path / "a" / "patients.csv", rows)
    first = estimate(toy_run(tmp_path / "a", TABLE))
    other = tmp_path / "b" / f"patients{suffix}"
    other.parent.mkdir()
    mixed = rows[::-1]
    if suffix == ".jsonl":
        other.write_text("".join(json.dumps(row) + "\n" for row in mixed), encoding="utf-8")
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(mixed), other)
    else:
        write_csv(other, mixed)
    second = estimate(toy_run(tmp_path / "b", {**TABLE, "path": other.name}))
    for name in ("population.yaml", "cells.parquet"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_users_columns_and_codes_are_mapped(tmp_path: Path) -> None:
    rows = people(300)
    codes = {"female": "F", "male": "M"}
    renamed = [
        {"mrn": row["patient_id"], "age": row["age_years"], "gender": codes[row["sex"]], "HTN": "Y" if row["hypertension"] else ""}
        for row in rows
    ]  # fmt: skip
    write_csv(tmp_path / "patients.csv", renamed)
    cohort = {
        "kind": "table",
        "path": "patients.csv",
        "columns": {"patient_id": "mrn", "age_years": "age", "sex": "gender"},
        "levels": {"sex": {"F": "female", "M": "male"}, "hypertension": {"": "no"}},
        "risk_factors": {"hypertension": "HTN"},
    }
    found = population_of(estimate(toy_run(tmp_path, cohort)))
    counted = [row for index, row in enumerate(rows) if not held_out(index)]
    assert found["risk_factors"]["hypertension"]["v"] == pytest.approx(share(counted, hypertension=1), abs=1e-6)
    assert found["margins"]["race_ethnicity"]["nh_black"] == {
        "v": 0.3,
        "status": "assumed",
        "check": "none",
        "src": "own",
    }


def test_people_without_a_level_are_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = people(300)
    rows[20]["sex"], rows[21]["age_years"], rows[22]["diabetes"] = "unknown", 40, ""
    write_csv(tmp_path / "patients.csv", rows)
    rejected = read_rows(estimate(toy_run(tmp_path, TABLE)) / "rejected.parquet", REJECTED)
    reasons = {row["row_id"]: row["reason"] for row in rejected}
    assert reasons["p0020"] == "unknown_sex"
    assert reasons["p0021"] == "age_unknown_or_outside_the_bands"
    assert reasons["p0022"] == "unknown_diabetes"
    assert {one for one, reason in reasons.items() if reason == "held_out_patient"} == {
        f"p{index:04d}" for index in range(12) if index % 3
    }


def faults_of(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> str:
    write_csv(tmp_path / "patients.csv", rows)
    run = toy_run(tmp_path, {**TABLE, **settings})
    with pytest.raises((DataError, ConfigError)) as raised:
        estimate(run)
    assert list(run.path("cohort", "population").iterdir()) == []  # nothing half-written
    return str(raised.value)


def test_all_faults_of_a_table_come_together_with_row_and_column(tmp_path: Path) -> None:
    rows = people(60)
    rows[30]["sex"] = "femal"
    rows[31]["age_years"] = "eighty"
    rows[32]["hypertension"] = "perhaps"
    rows[33]["patient_id"] = "p0034"
    message = faults_of(tmp_path, rows)
    assert "patients.csv: 4 faults" in message
    assert (
        "row 32, column 'sex': found 'femal'; allowed: female, male, or empty; map it under cohort.levels.sex"
        in message
    )
    assert "row 33, column 'age_years': found 'eighty'; allowed: years from 0 to 130, or empty" in message
    assert "row 34, column 'hypertension': found 'perhaps'; allowed: no, yes, or empty" in message
    assert "row 36, column 'patient_id': the patient of row 35 again; give one row a patient" in message


def test_long_cells_are_never_shown(tmp_path: Path) -> None:
    rows = people(60)
    rows[30]["sex"] = "she says that she forgets the names of her grandchildren"
    message = faults_of(tmp_path, rows)
    assert "found a value of 56 characters" in message
    assert "grandchildren" not in message


def test_missing_columns_are_named_with_what_is_there(tmp_path: Path) -> None:
    rows = [{"patient_id": row["patient_id"], "gendr": row["sex"]} for row in people(60)]
    message = faults_of(tmp_path, rows, columns={"sex": "gender"})
    assert "missing column 'gender' (for sex); did you mean 'gendr'?; found: patient_id, gendr" in message
    assert "missing column 'age_years'" in message
    assert "missing column 'hypertension'" in message


def test_unknown_names_in_the_recipe_are_refused(tmp_path: Path) -> None:
    message = faults_of(tmp_path, people(60), risk_factors={"hypertensoin": "hypertension", "lives_alone": "diabetes"})
    assert "unknown factor 'hypertensoin'; did you mean 'hypertension'?" in message
    assert "unknown factor 'lives_alone'" in message  # another word for a level: give the variable instead
    message = faults_of(tmp_path, people(60), levels={"sex": {"F": "woman"}})
    assert "cohort.levels.sex: unknown level 'woman'; allowed: female, male" in message


def test_a_level_without_patients_is_refused_unless_it_is_said_to_be_absent(tmp_path: Path) -> None:
    rows = [row for row in people(300) if row["race_ethnicity"] != "hispanic"]
    message = faults_of(tmp_path, rows)
    assert "variable 'race_ethnicity': no patients in hispanic" in message
    assert "cohort.absent: {race_ethnicity: [hispanic]}" in message
    found = population_of(estimate(toy_run(tmp_path / "said", {**TABLE, "path": str(tmp_path / "patients.csv"), "absent": {"race_ethnicity": ["hispanic"]}})))  # fmt: skip
    assert set(found["margins"]["race_ethnicity"]) == {"nh_white", "nh_black"}
    message = faults_of(tmp_path, people(300), absent={"race_ethnicity": ["hispanic"]})
    assert "level 'hispanic' is listed under cohort.absent, but has patients" in message


def test_a_cohort_that_is_empty_or_too_small_is_refused(tmp_path: Path) -> None:
    only_gold = [row for index, row in enumerate(people(12)) if held_out(index)]
    assert "no patients are left to count; left out: 8 for held_out_patient" in faults_of(tmp_path, only_gold)
    message = faults_of(tmp_path, people(20)[12:20])
    assert "holds fewer than cohort.min_cell = 11 patients to count" in message


def test_factors_that_the_task_says_exclude_each_other_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "now": 1, "before": 1} for row in people(60)]
    message = faults_of(tmp_path, rows, risk_factors={"current_smoking": "now", "former_smoking": "before"})
    assert "52 people carry several of current_smoking, former_smoking, which exclude each other" in message


def test_a_row_with_too_many_cells_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(60))
    text = (tmp_path / "patients.csv").read_text(encoding="utf-8").splitlines()
    text[3] += ",surplus"
    (tmp_path / "patients.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 4: found 7 cells; the header has 6"):
        estimate(toy_run(tmp_path, TABLE))


def test_a_recipe_with_a_cohort_that_is_not_there_is_refused_on_load(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cohort.path: no file patients.csv"):
        toy_run(tmp_path, TABLE)
    with pytest.raises(ConfigError, match="as_of: found '2020-13-01'; write a date as YYYY-MM-DD"):
        toy_run(tmp_path, {**TABLE, "as_of": "2020-13-01"})


def test_a_task_without_a_population_is_estimated_in_full(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(300))
    run = toy_run(tmp_path, {**TABLE, "as_of": "2021-01-01"}, population=False)
    folder = estimate(run)
    found = population_of(folder)
    assert found["as_of"] == 2021
    assert found["risk_factors"]["diabetes"]["group"] == "cohort"
    assert found["age_years"]["85+"] == {
        "dist": "uniform_int",
        "low": 85,
        "high": 94,
        "status": "assumed",
        "check": "none",
        "src": "cohort",
    }
    cells = read_rows(folder / "cells.parquet", POPULATION)
    assert sum(row["n"] for row in cells if row["variable"] == "sex") == 292
    with pytest.raises(ConfigError, match="cohort.as_of is missing"):
        estimate(toy_run(tmp_path, TABLE, population=False))
