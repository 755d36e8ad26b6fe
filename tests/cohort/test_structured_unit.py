"""The population unit as a whole: held-out patients, reproducibility, and personas that look like the cohort."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from structured_toys import (
    POPULATION as TOY_POPULATION,
)
from structured_toys import (
    estimate,
    fhir_resources,
    held_out,
    omop_tables,
    people,
    population_of,
    share,
    toy_run,
    write_csv,
    write_fhir,
    write_omop,
)

from harness.cohort.structured.concepts import read_concept_sets
from harness.cohort.structured.people import wanted
from harness.pipeline import run_recipe
from harness.schemas.marks import mark_faults
from harness.schemas.population import load_population
from harness.schemas.shipped import shipped
from harness.schemas.tables import PERSONAS, POPULATION
from harness.schemas.task import load_task
from harness.seeds import generator
from harness.store import fingerprint, hash_inputs, read_rows

TABLE: dict[str, Any] = {
    "kind": "table",
    "path": "patients.csv",
    "risk_factors": {"hypertension": "hypertension", "diabetes": "diabetes"},
}
WRITTEN = ("population.yaml", "cells.parquet", "matched.parquet")


def same(first: Path, second: Path) -> bool:
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in WRITTEN)


def test_poisoned_rows_of_held_out_patients_change_no_byte_of_a_table(tmp_path: Path) -> None:
    rows = people(300)
    write_csv(tmp_path / "a" / "patients.csv", rows)
    poison = {
        "age_years": "poison",
        "sex": "poison",
        "race_ethnicity": "nh_black",
        "hypertension": 1,
        "diabetes": "poison",
    }
    poisoned = [{**row, **poison} if held_out(index) else row for index, row in enumerate(rows)]
    write_csv(tmp_path / "b" / "patients.csv", [poisoned[1], *poisoned])  # twice, which is a fault of anybody else
    assert same(estimate(toy_run(tmp_path / "a", TABLE)), estimate(toy_run(tmp_path / "b", TABLE)))
    known = [{**row, **poison} if index == 0 else row for index, row in enumerate(people(300, seed=2))]
    write_csv(tmp_path / "c" / "patients.csv", known)  # a training patient is looked at
    with pytest.raises(Exception, match="found 'poison'"):
        estimate(toy_run(tmp_path / "c", TABLE))


def test_poisoned_records_of_held_out_patients_change_no_byte_of_omop(tmp_path: Path) -> None:
    rows, cohort = people(300), {"kind": "omop", "path": "cdm"}
    write_omop(tmp_path / "a" / "cdm", omop_tables(rows))
    tables = omop_tables(rows)
    for index, row in enumerate(tables["PERSON"]):
        if held_out(index):
            row.update(gender_concept_id="poison", year_of_birth="poison")
    for row in tables["CONDITION_OCCURRENCE"]:
        if held_out(row["person_id"] - 1):
            row.update(condition_concept_id=201820, condition_start_date="poison")
    write_omop(tmp_path / "b" / "cdm", tables)
    assert same(estimate(toy_run(tmp_path / "a", cohort)), estimate(toy_run(tmp_path / "b", cohort)))


def test_poisoned_resources_of_held_out_patients_change_no_byte_of_fhir(tmp_path: Path) -> None:
    rows, cohort = people(300), {"kind": "fhir", "path": "export"}
    write_fhir(tmp_path / "a" / "export", fhir_resources(rows))
    resources = fhir_resources(rows)
    out = {row["patient_id"] for index, row in enumerate(rows) if held_out(index)}
    for patient in resources["Patient"]:
        if patient["id"] in out:
            patient.update(birthDate="poison", gender="poison", extension="poison")
    for condition in resources["Condition"]:
        if condition["subject"]["reference"].rpartition("/")[2] in out:
            condition.update(onsetDateTime="poison")
    write_fhir(tmp_path / "b" / "export", resources)
    assert same(estimate(toy_run(tmp_path / "a", cohort)), estimate(toy_run(tmp_path / "b", cohort)))


def test_every_number_of_the_file_is_marked_and_says_whose_it_is(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(300))
    run = toy_run(tmp_path, TABLE)
    folder = estimate(run)
    found = population_of(folder)
    assert mark_faults(found, not_facts=("schema_version", "as_of", "risk_rules")) == []
    assert found["margins"]["sex"]["female"]["src"] == "cohort"
    assert found["margins"]["living"] == TOY_POPULATION["margins"]["living"]  # what the cohort lacks is the task's own
    assert found["risk_factors"]["lives_alone"]["src"] == "own"
    assert "hypertension" not in found["risk_factor_ratios"].get("sex", {})
    assert found["risk_factor_ratios"]["sex"]["former_smoking"]["values"] == {"male": 1.5}
    text = (folder / "population.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Who the personas are: estimated from the recipe's cohort")
    edited = text.replace("name: cohort_of_recipe", "name: edited")
    (tmp_path / "edited.yaml").write_text(edited, encoding="utf-8")
    assert load_population(tmp_path / "edited.yaml", run.task).name == "edited"


def test_no_count_under_the_smallest_cell_is_written_anywhere(tmp_path: Path) -> None:
    rows = people(220)
    write_csv(tmp_path / "patients.csv", rows)
    folder = estimate(toy_run(tmp_path, TABLE))
    cells = read_rows(folder / "cells.parquet", POPULATION)
    assert any(row["suppressed"] for row in cells)
    assert all((row["n"] is None) == row["suppressed"] == (row["value"] is None) for row in cells)
    assert min(row["n"] for row in cells if row["n"] is not None) >= 11
    counted = [row for index, row in enumerate(rows) if not held_out(index)]
    hispanic = [row for row in counted if row["race_ethnicity"] == "hispanic" and row["age_years"] >= 85]
    assert 0 < len(hispanic) < 11
    written = population_of(folder)["two_way"]["age_band_by_race_ethnicity"]["values"]["85+"]["hispanic"]
    assert written != pytest.approx(len(hispanic) / len(counted), abs=1e-6)


def test_personas_have_the_margins_and_pairs_of_the_cohort(tmp_path: Path) -> None:
    rows = people(2000)
    write_csv(tmp_path / "patients.csv", rows)
    run = toy_run(tmp_path, TABLE)
    for stage in ("cohort", "alignment"):
        list(run_recipe(run.recipe, run.folder, only=stage))
    personas = read_rows(run.path("alignment", "personas.parquet"), PERSONAS)
    counted = [row for index, row in enumerate(rows) if not held_out(index)]
    assert len(personas) == 200
    for variable in ("sex", "race_ethnicity"):
        for level in {row[variable] for row in counted}:
            assert share(personas, **{variable: level}) == pytest.approx(
                share(counted, **{variable: level}), abs=1 / 200
            )
    old = [row for row in counted if row["age_years"] >= 85]
    both = len([row for row in old if row["sex"] == "female"]) / len(counted)
    assert share(personas, sex="female", age_band="85+") == pytest.approx(both, abs=3 / 200)
    for factor in ("hypertension", "diabetes"):
        carriers = np.mean([factor in row["risk_factors"] for row in personas])
        assert carriers == pytest.approx(share(counted, **{factor: 1}), abs=1 / 200 + 1e-9)


def test_the_shipped_task_takes_a_cohort(tmp_path: Path) -> None:
    rows = people(600)
    write_csv(tmp_path / "patients.csv", rows)
    recipe = {
        "task": "alzheimers",
        "seed": 5,
        "arms": {"a": {"sees": ["label", "persona"], "n_personas": 50, "backend": {"kind": "embedded"}}},
        "mixes": ["gold"],
        "cohort": {**TABLE, "absent": {"race_ethnicity": ["nh_asian", "nh_aian", "nh_other_or_multi"]}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    from harness.schemas.recipe import load_recipe

    for stage in ("cohort", "alignment"):
        list(run_recipe(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "run", only=stage))
    personas = read_rows(tmp_path / "run" / "01_alignment" / "personas.parquet", PERSONAS)
    assert {row["race_ethnicity"] for row in personas} == {"nh_white", "nh_black", "hispanic"}
    assert all(row["education"] for row in personas)


def test_cohort_settings_and_files_decide_freshness(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(100))
    prints = set()
    for edit in ({}, {"min_cell": 5}, {"risk_factors": {}}):
        run = toy_run(tmp_path, {**TABLE, **edit})
        list(run_recipe(run.recipe, run.folder, only="cohort"))
        from harness.cohort.stage import units

        unit = units(run)[1]
        prints.add(fingerprint(run, unit, hash_inputs(run, unit.inputs)))
    assert len(prints) == 3


TASKS = [path.parent.name for path in shipped("tasks").glob("*/concept_sets.csv")]


@pytest.mark.parametrize("name", TASKS)
def test_shipped_concept_sets_fit_their_task(name: str) -> None:
    assert "alzheimers" in TASKS
    task = load_task(name, base=Path())
    path, population = task.path(task.file.concept_sets), task.path(task.file.population)
    assert path is not None
    assert population is not None
    sets = read_concept_sets(path, wanted(task, load_population(population, task)))
    assert sets.levels("sex") == ("female", "male")
    with path.open(encoding="utf-8") as file:
        rows = [(row["set"], row["vocabulary"], row["code"]) for row in csv.DictReader(file)]
    assert len(rows) == len(set(rows))
    if name == "alzheimers":
        assert len(sets.factors) >= 24


def test_odds_ratios_that_exclusive_factors_cannot_meet_do_not_stop_the_alignment(tmp_path: Path) -> None:
    rng = generator(3, "smokers")
    rows = people(1500)
    for row in rows:  # both kinds of smokers have more of both factors, which one latent variable cannot show
        frail = row["hypertension"] + row["diabetes"]
        smoker = rng.random() < 0.2 + 0.3 * frail
        row["now"] = int(smoker and rng.random() < 0.5)
        row["before"] = int(smoker and not row["now"])
    write_csv(tmp_path / "patients.csv", rows)
    factors = {**TABLE["risk_factors"], "current_smoking": "now", "former_smoking": "before"}
    run = toy_run(tmp_path, {**TABLE, "risk_factors": factors})
    for stage in ("cohort", "alignment"):
        list(run_recipe(run.recipe, run.folder, only=stage))
    personas = read_rows(run.path("alignment", "personas.parquet"), PERSONAS)
    assert not [row for row in personas if {"current_smoking", "former_smoking"} <= set(row["risk_factors"])]
