"""Bad input of the target tables, through `load_population`, each with its place, what was found and what is allowed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import ConfigError
from harness.schemas.population import Population, load_population
from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task

OWN = {"status": "assumed", "check": "none", "src": "own"}
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("alzheimers", base=Path.cwd())


@pytest.fixture
def load(task: Task, tmp_path: Path) -> Callable[[Edit], Population]:
    """Load the shipped population after an edit."""

    def edited(edit: Edit) -> Population:
        path = tmp_path / "population.yaml"
        shutil.copy(shipped("tasks") / "alzheimers" / "population.yaml", path)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        edit(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return load_population(path, task)

    return edited


def faults(load: Callable[[Edit], Population], edit: Edit) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(edit)
    first, *rest = str(raised.value).splitlines()
    assert "population.yaml: " in first
    return [line.removeprefix("  - ") for line in rest]


def living(**cells: Any) -> dict[str, Any]:
    values = {"female": {"alone": 0.22, "with_spouse_partner": 0.30, "other": 0.09},
              "male": {"alone": 0.06, "with_spouse_partner": 0.29, "other": 0.04}}  # fmt: skip
    return {"variables": ["sex", "living_arrangement"], "values": {**values, **cells}, **OWN}


# -- demographics ------------------------------------------------------------------------------------------------------


def test_all_the_new_tables_load(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["two_way"] = {"living": living()}
        content["joint_seed"] = {"cells": [{"sex": "female", "age_band": "85+", "n": 120}], "rest": 5, **OWN}
        content["risk_factor_prevalence"] = {"sex": {"cancer": {"values": {"female": 0.1, "male": 0.1}, **OWN}}}

    population = load(edit)
    assert population.two_way["living"].tolerance == 0.001
    assert population.joint_seed is not None
    assert population.joint_seed.variables == ("sex", "age_band")
    assert population.risk_factor_associations[0].tolerance == 0.01


def test_a_two_way_table_that_contradicts_a_margin_is_refused(load: Callable[[Edit], Population]) -> None:
    male = {"alone": 0.06, "with_spouse_partner": 0.26, "other": 0.07}
    assert faults(load, lambda content: content.update(two_way={"living": living(male=male)})) == [
        "two_way.living: gives 0.5600 of living_arrangement with_spouse_partner, but margins.living_arrangement wants "
        "0.5900; change one of them, or raise the tolerance (now 0.001)",
        "two_way.living: gives 0.1600 of living_arrangement other, but margins.living_arrangement wants "
        "0.1300; change one of them, or raise the tolerance (now 0.001)",
    ]

    def tolerant(content: dict[str, Any]) -> None:
        content["two_way"] = {"living": {**living(male=male), "tolerance": 0.031}}

    assert load(tolerant).two_way["living"].tolerance == 0.031


def test_two_way_tables_need_known_names_all_cells_and_a_sum_of_one(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["two_way"] = {
            "unknown": {**living(), "variables": ["sex", "housing"]},
            "twice": {**living(), "variables": ["sex", "sex"]},
            "levels": living(femail={"alone": 0.1}),
            "cells": living(male={"alone": 0.06, "other": 0.04}),
            "sum": living(male={"alone": 0.06, "with_spouse_partner": 0.39, "other": 0.04}),
            "negative": living(male={"alone": 0.08, "with_spouse_partner": 0.36, "other": -0.05}),
        }

    known = "known: age_band, sex, race_ethnicity, education, living_arrangement"
    assert faults(load, edit) == [
        f"two_way.unknown.variables: unknown variable 'housing'; {known}",
        "two_way.twice.variables: found 'sex' twice; name two variables",
        "two_way.levels.values: unknown level of sex 'femail'; did you mean 'female'?; known: female, male",
        "two_way.levels.values.femail: missing level 'with_spouse_partner'",
        "two_way.levels.values.femail: missing level 'other'",
        "two_way.cells.values.male: missing level 'with_spouse_partner'",
        "two_way.sum.values: shares add up to 1.1; they must add up to 1 within 0.001",
        "two_way.negative.values.male.other: found -0.05; must lie in [0, 1]",
    ]


def test_a_level_without_people_in_the_seed_is_refused(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        races = [race for race in content["margins"]["race_ethnicity"] if race != "nh_aian"]
        content["joint_seed"] = {"cells": [{"race_ethnicity": race, "n": 10} for race in races], **OWN}

    assert faults(load, edit) == [
        "joint_seed: nobody in race_ethnicity nh_aian, but margins.race_ethnicity wants 0.0050; give a count, or a "
        "`rest` above 0"
    ]


def test_combinations_of_a_seed_are_checked(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["joint_seed"] = {"rest": 1, **OWN, "cells": [
            {"sex": "female", "age_band": "85+", "n": 10},
            {"sex": "female", "n": 10},
            {"sex": "women", "age_band": "85+", "n": 10},
            {"sex": "male", "age_band": "85+", "n": -1},
            {"sex": "female", "age_band": "85+", "n": 12},
        ]}  # fmt: skip

    assert faults(load, edit) == [
        "joint_seed.cells.1: found n, sex; every combination needs sex, age_band, n",
        "joint_seed.cells.2.sex: unknown level 'women'; known: female, male",
        "joint_seed.cells.3.n: found -1.0; must be a count of 0 or more",
        "joint_seed.cells.4: female and 85+ are listed twice",
    ]


def test_a_seed_of_unknown_variables_or_of_none_is_refused(load: Callable[[Edit], Population]) -> None:
    def unknown(content: dict[str, Any]) -> None:
        content["joint_seed"] = {"cells": [{"gender": "female", "n": 10}], **OWN}

    assert "joint_seed.cells.0: unknown variable 'gender'" in faults(load, unknown)[0]
    empty = faults(load, lambda content: content.update(joint_seed={"cells": [{"n": 10}], **OWN}))
    assert empty[0].startswith("joint_seed.cells: found no combination with a level")


def test_a_seed_and_an_association_of_the_same_variables_are_one_too_many(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["joint_seed"] = {
            "cells": [{"education": "high_school", "race_ethnicity": "hispanic", "n": 1}], "rest": 1, **OWN
        }  # fmt: skip

    assert faults(load, edit) == [
        "associations.low_education_by_race: joint_seed says already how education and race_ethnicity go together; "
        "keep one of them"
    ]


def test_numbers_without_marks_are_found_in_the_new_tables(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["two_way"] = {"living": {key: value for key, value in living().items() if key != "src"}}

    assert "two_way.living.src: missing; this key is required" in faults(load, edit)


# -- risk factors ------------------------------------------------------------------------------------------------------


def by_sex(factor: str, female: float, male: float, **keys: Any) -> dict[str, Any]:
    return {"sex": {factor: {"values": {"female": female, "male": male}, **OWN, **keys}}}


def test_conditional_prevalences_that_do_not_mix_to_the_overall_one_are_refused(
    load: Callable[[Edit], Population],
) -> None:
    # 0.61 x 0.2 + 0.39 x 0.3 = 0.239, and cancer is 0.1
    assert faults(load, lambda content: content.update(risk_factor_prevalence=by_sex("cancer", 0.2, 0.3))) == [
        "risk_factor_prevalence.sex.cancer: mixes to 0.2390, but risk_factors.cancer is 0.1000; change one of them, or "
        "raise the tolerance (now 0.005)"
    ]
    wide = by_sex("cancer", 0.2, 0.3, tolerance=0.14)
    assert load(lambda content: content.update(risk_factor_prevalence=wide)).risk_factor_prevalence["sex"]


def test_prevalences_outside_0_to_1_are_refused(load: Callable[[Edit], Population]) -> None:
    found = faults(load, lambda content: content.update(risk_factor_prevalence=by_sex("cancer", 1.1, -0.3)))
    assert found == [
        "risk_factor_prevalence.sex.cancer.female: found 1.1; must lie in [0, 1]",
        "risk_factor_prevalence.sex.cancer.male: found -0.3; must lie in [0, 1]",
    ]


def test_prevalences_and_ratios_for_the_same_variable_are_one_too_many(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        ages = {"values": {"65-74": 0.27, "75-84": 0.27, "85+": 0.27}, **OWN}
        content["risk_factor_prevalence"] = {**by_sex("obesity", 0.27, 0.27), "age_band": {"obesity": ages}}

    assert faults(load, edit) == [
        "risk_factor_prevalence.sex.obesity: risk_factor_ratios.sex has obesity too; give prevalences or ratios for a "
        "variable, not both",
        "risk_factor_prevalence.age_band.obesity: risk_factor_reference.age_band has obesity too; give prevalences or "
        "ratios for a variable, not both",
    ]


def test_conditional_prevalences_need_known_names_and_every_level(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        flat = {"female": 0.1, "male": 0.1}
        content["risk_factor_prevalence"] = {
            "gender": {"cancer": {"values": flat, **OWN}},
            "sex": {"cancer": {"values": {"female": 0.1, "men": 0.1}, **OWN}},
            "education": {"low_education": {"values": dict.fromkeys(content["margins"]["education"], 0.15), **OWN}},
        }

    assert faults(load, edit) == [
        "risk_factor_prevalence.gender: unknown variable 'gender'; known: age_band, sex, race_ethnicity, education, "
        "living_arrangement",
        "risk_factor_prevalence.sex.cancer: unknown level of sex 'men'; known: female, male",
        "risk_factor_prevalence.sex.cancer: missing level 'male'",
        "risk_factor_prevalence.education.low_education: risk_rules.same_as makes low_education a demographic level; "
        "give a two_way table instead",
    ]
    unknown = faults(load, lambda content: content.update(risk_factor_prevalence=by_sex("cancr", 0.1, 0.1)))
    assert "risk_factor_prevalence.sex: unknown risk factor 'cancr'; did you mean 'cancer'?" in unknown[0]


def test_associations_need_two_known_factors_that_no_rule_ties(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["risk_factor_associations"] = [
            {"factors": factors, "odds_ratio": 2.0, **OWN}
            for factors in (
                ["cancer", "copdd"],
                ["cancer", "cancer"],
                ["current_smoking", "former_smoking"],
                ["apoe_e4_carrier", "apoe_e4_homozygous"],
                ["lives_alone", "low_education"],
                ["cancer", "copd"],
                ["copd", "cancer"],
            )
        ]

    found = faults(load, edit)
    assert found[0].startswith("risk_factor_associations.0: unknown risk factor 'copdd'; did you mean 'copd'?")
    assert found[1:] == [
        "risk_factor_associations.1: found 'cancer' twice; name two risk factors",
        "risk_factor_associations.2: risk_rules say already how current_smoking and former_smoking go together; leave "
        "it out",
        "risk_factor_associations.3: risk_rules say already how apoe_e4_carrier and apoe_e4_homozygous go together; "
        "leave it out",
        "risk_factor_associations.4: lives_alone and low_education are demographic levels; give a two_way table instead",
        "risk_factor_associations.6: copd and cancer are listed twice",
    ]


def test_an_odds_ratio_must_be_above_0(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["risk_factor_associations"] = [{"factors": ["cancer", "copd"], "odds_ratio": 0, **OWN}]

    assert faults(load, edit) == ["risk_factor_associations.0.odds_ratio: found 0; input should be greater than 0"]


def test_rules_must_nest(load: Callable[[Edit], Population]) -> None:
    def edit(content: dict[str, Any]) -> None:
        rules = content["risk_rules"]
        rules["requires"] += [{"factor": "apoe_e4_homozygous", "requires": "hypertension"},
                              {"factor": "ptsd", "requires": "depression"}]  # fmt: skip
        rules["exclusive"] += [["former_smoking", "cancer"], ["ptsd", "vision_loss"]]

    assert faults(load, edit) == [
        "risk_rules.requires: apoe_e4_homozygous stands there 2 times; once is allowed",
        "risk_rules.exclusive: former_smoking stands there 2 times; once is allowed",
        "risk_rules.exclusive: ptsd, vision_loss require different factors; factors that exclude each other must require "
        "the same one, or none",
        "risk_factor_associations.22: risk_rules say already how depression and ptsd go together; leave it out",
    ]
