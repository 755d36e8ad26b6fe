"""FHIR bulk exports: the same patients as in the plain table come out, and broken lines are named."""

from pathlib import Path
from typing import Any

import pytest
from structured_toys import (
    estimate,
    extension,
    fhir_resources,
    people,
    population_of,
    smoking,
    toy_run,
    write_csv,
    write_fhir,
)

from harness.cohort.structured.fhir import parse_date
from harness.errors import DataError
from harness.schemas.tables import MATCHED_CONCEPTS, REJECTED
from harness.store import read_rows

FHIR: dict[str, Any] = {"kind": "fhir", "path": "export"}


def test_resources_give_what_the_same_patients_in_a_table_give(tmp_path: Path) -> None:
    rows = people(400)
    write_csv(tmp_path / "a" / "patients.csv", rows)
    factors = {"hypertension": "hypertension", "diabetes": "diabetes"}
    table = population_of(
        estimate(toy_run(tmp_path / "a", {"kind": "table", "path": "patients.csv", "risk_factors": factors}))
    )
    resources = fhir_resources(rows)
    resources["Observation"] = [smoking(row["patient_id"], "449868002", "2018-01-01") for row in rows[:100]]
    write_fhir(tmp_path / "b" / "export", resources)
    folder = estimate(toy_run(tmp_path / "b", FHIR))
    coded = population_of(folder)
    for part in ("margins", "two_way"):
        assert coded[part] == table[part]
    for factor in ("hypertension", "diabetes"):
        assert coded["risk_factors"][factor]["v"] == table["risk_factors"][factor]["v"]
    assert coded["risk_factors"]["current_smoking"]["v"] == pytest.approx(92 / 392, abs=1e-6)  # 8 of 100 are held out
    matched = {(row["set"], row["code"]): row["n"] for row in read_rows(folder / "matched.parquet", MATCHED_CONCEPTS)}
    assert matched["disease", "G30.1"] == 392  # a code below the set's G30


def test_refuted_conditions_and_entered_in_error_observations_do_not_count(tmp_path: Path) -> None:
    resources = fhir_resources(people(200))
    for condition in resources["Condition"]:
        if condition["code"]["coding"][0]["code"] == "I10":
            condition["verificationStatus"] = {"coding": [{"code": "refuted"}]}
    for observation in resources["Observation"]:
        observation["status"] = "entered-in-error"
    write_fhir(tmp_path / "export", resources)
    found = population_of(estimate(toy_run(tmp_path, FHIR)))
    for factor in ("hypertension", "former_smoking"):
        assert found["risk_factors"][factor]["src"] == "own"


def test_several_races_are_one_level_and_ethnicity_comes_first(tmp_path: Path) -> None:
    levels = {"nh_white": "White", "nh_other_or_multi": "Several", "hispanic": "Hispanic"}
    resources = fhir_resources([{**row, "race_ethnicity": "nh_white"} for row in people(200)])
    for index, patient in enumerate(resources["Patient"]):
        if index < 60:
            ethnicity = "2135-2" if index < 20 else "2186-5"
            patient["extension"] = [extension("race", "2106-3", "2054-5"), extension("ethnicity", ethnicity)]
    write_fhir(tmp_path / "export", resources)
    subgroups = {
        "sex": {"title": "Sex", "levels": {"female": "Woman", "male": "Man"}},
        "age_band": {"title": "Age", "levels": {"65-74": "65 to 74", "75-84": "75 to 84", "85+": "85 and over"}},
        "race_ethnicity": {"title": "Group", "levels": levels},
    }
    found = population_of(estimate(toy_run(tmp_path, FHIR, population=False, subgroups=subgroups)))["margins"][
        "race_ethnicity"
    ]
    assert {level: round(number["v"] * 192) for level, number in found.items()} == {
        "nh_white": 140, "nh_other_or_multi": 40, "hispanic": 12,
    }  # fmt: skip


def test_held_out_patients_are_known_by_an_identifier(tmp_path: Path) -> None:
    resources = fhir_resources(people(200))
    resources["Patient"][50]["identifier"] = [{"system": "urn:hospital", "value": "MRN-9"}]
    write_fhir(tmp_path / "export", resources)
    folder = estimate(toy_run(tmp_path, FHIR, gold_ids=["x", "MRN-9", "y"]))
    rejected = read_rows(folder / "rejected.parquet", REJECTED)
    assert [(row["row_id"], row["reason"]) for row in rejected] == [("p0050", "held_out_patient")]


def test_lines_that_are_no_resources_are_named_together_and_never_shown(tmp_path: Path) -> None:
    write_fhir(tmp_path / "export", fhir_resources(people(60)))
    with (tmp_path / "export" / "Condition.000.ndjson").open("a", encoding="utf-8") as file:
        file.write('{"resourceType": "Condition", "note": "forgets names\n[1, 2]\n')
    with (tmp_path / "export" / "Patient.000.ndjson").open("a", encoding="utf-8") as file:
        file.write('{"resourceType": "Patient"}\n{"resourceType": "Patient", "id": "p0001"}\n')
    n_conditions = len((tmp_path / "export" / "Condition.000.ndjson").read_text(encoding="utf-8").splitlines())
    run = toy_run(tmp_path, FHIR)
    with pytest.raises(DataError) as raised:
        estimate(run)
    message = str(raised.value)
    assert "4 faults" in message
    assert f"Condition.000.ndjson line {n_conditions - 1}: not JSON; each line must be one resource" in message
    assert f"Condition.000.ndjson line {n_conditions}: no resourceType" in message
    assert "Patient.000.ndjson line 61: a Patient without an id" in message
    assert "Patient.000.ndjson line 62: the Patient of Patient.000.ndjson line 2 again" in message
    assert "forgets" not in message
    assert list(run.path("cohort", "population").iterdir()) == []


def test_matched_records_without_a_date_are_named(tmp_path: Path) -> None:
    resources = fhir_resources(people(60))
    del resources["Condition"][-1]["onsetDateTime"]
    resources["Patient"][40]["birthDate"] = "long ago"
    write_fhir(tmp_path / "export", resources)
    with pytest.raises(DataError) as raised:
        estimate(toy_run(tmp_path, FHIR))
    assert f"Condition.000.ndjson line {len(resources['Condition'])}: a matched record without a date" in str(
        raised.value
    )
    assert "Patient.000.ndjson line 41: birthDate is no date" in str(raised.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(DataError, match=r"no .ndjson or .jsonl files"):
        estimate(toy_run(tmp_path, FHIR))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2019", "2019-07-01"),
        ("2019-02", "2019-02-15"),
        ("2019-02-03", "2019-02-03"),
        ("2019-02-03T10:00:00+01:00", "2019-02-03"),
    ],
)
def test_partial_dates_stand_for_their_middle(text: str, day: str) -> None:
    assert str(parse_date(text)) == day


@pytest.mark.parametrize("text", ["", "2019-13", "19-1-1-1", "spring"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_date(text) is None
