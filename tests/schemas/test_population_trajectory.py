import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import ConfigError
from harness.schemas.marks import mark_faults, source_keys, unmarked_numbers
from harness.schemas.population import Population, load_population
from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task
from harness.schemas.trajectory import Trajectory, load_trajectory, reported_probability

SHIPPED = shipped("tasks") / "alzheimers"
DOMAINS = {"memory": 22, "language": 20, "learning_perception": 22, "requires_assistance": 22, "physiological": 18,
           "neuropsychiatric": 18}  # fmt: skip


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "alzheimers"
    shutil.copytree(SHIPPED, folder)
    content = yaml.safe_load((folder / "task.yaml").read_text(encoding="utf-8"))
    content["prompts"]["exemplars"] = content["sources"] = None
    (folder / "task.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_task(str(folder), base=folder)


def edited(task: Task, name: str, edit: Callable[[dict[str, Any]], None]) -> Path:
    path = task.folder / f"{name}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def population_faults(task: Task, edit: Callable[[dict[str, Any]], None]) -> str:
    with pytest.raises(ConfigError) as raised:
        load_population(edited(task, "population", edit), task)
    return str(raised.value)


def trajectory_faults(task: Task, edit: Callable[[dict[str, Any]], None]) -> str:
    with pytest.raises(ConfigError) as raised:
        load_trajectory(edited(task, "trajectory", edit), task)
    return str(raised.value)


def test_the_shipped_files_load(task: Task) -> None:
    population = load_population(task.folder / "population.yaml", task)
    trajectory = load_trajectory(task.folder / "trajectory.yaml", task)
    assert isinstance(population, Population)
    assert isinstance(trajectory, Trajectory)
    assert set(population.margins) >= {"age_band", "sex", "race_ethnicity", "education", "living_arrangement"}
    assert len(population.risk_factors) == 32
    assert trajectory.stage_ids == tuple(task.file.subgroups["stage"].levels)
    for variable in ("sex", "age_band", "race_ethnicity"):
        assert set(population.margins[variable]) == set(task.file.subgroups[variable].levels)


def test_the_lexicon_holds_122_terms_in_six_domains(task: Task) -> None:
    found = [term.domain for term in task.lexicon]
    assert len({term.term for term in task.lexicon}) == len(found) == 122
    assert {domain: found.count(domain) for domain in found} == DOMAINS
    assert {term.frequency for term in task.lexicon} == {1.0}


@pytest.mark.parametrize("name", ["population", "trajectory"])
def test_every_number_is_marked_and_every_source_is_used(name: str) -> None:
    content = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    assert mark_faults(content, not_facts=("schema_version", "as_of", "risk_rules")) == []
    used = {key for _, key in source_keys(content)}
    assert len(used) >= 20
    # Sources that only a `basis` or a comment names would be dead weight.
    assert set(content["sources"]) - used == set()


def test_unmarked_numbers_are_found_wherever_they_are() -> None:
    mark = {"status": "assumed", "check": "none", "src": "own"}
    content = {"a": {"v": 1, **mark}, "b": {"c": [1, {"d": 2.5}]}, "e": {"f": {"values": {"g": 3}, **mark}}, "h": True}
    assert list(unmarked_numbers(content)) == ["b.c.0", "b.c.1.d"]


def test_population_faults_come_together(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["margins"]["sex"]["female"]["v"] = 0.5
        content["margins"]["race_ethnicity"]["white"] = {"v": 0, "status": "assumed", "check": "none", "src": "own"}
        content["margins"]["education"]["high_school"]["src"] = "onw"
        content["risk_factors"]["cancer"]["v"] = 1.2
        content["age_years"].pop("85+")
        content["conditional_shares"]["female_by_age_band"]["values"]["64-74"] = 0.5
        content["risk_factor_ratios"]["sex"]["obesty"] = content["risk_factor_ratios"]["sex"].pop("obesity")
        content["risk_factors"]["lives_alone"]["v"] = 0.3
        content["risk_rules"]["exclusive"].append(["osteoarthritis", "hyperlipidemia"])
        content["evidence"]["loose"] = 7

    message = population_faults(task, edit)
    for expected in (
        "margins.sex: shares add up to 0.89; they must add up to 1 within 0.001",
        "margins.race_ethnicity: unknown level of the task 'white'",
        "margins.education.high_school.src: unknown source 'onw'; did you mean 'own'?",
        "risk_factors.cancer: found 1.2; must lie in [0, 1]",
        "age_years: missing band '85+'",
        "conditional_shares.female_by_age_band.values: unknown level of age_band '64-74'; did you mean '65-74'?",
        "risk_factor_ratios.sex: unknown risk factor 'obesty'; did you mean 'obesity'?",
        "risk_rules.same_as: lives_alone is 0.3, but living_arrangement alone is 0.28; they name the same people",
        "risk_rules.exclusive: osteoarthritis, hyperlipidemia add up to 1.008; at most 1 can exclude each other",
        "evidence.loose: a number without status, check and src",
    ):
        assert expected in message
    assert "10 faults" in message


def test_unknown_keys_of_a_population_name_the_nearest(task: Task) -> None:
    message = population_faults(task, lambda content: content.update(margin=content.pop("margins")))
    assert "margins: missing" in message
    assert "margin: unknown key; did you mean 'margins'?" in message


def test_requirements_that_cannot_hold_are_refused(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["risk_rules"]["requires"] = [
            {"factor": "hypertension", "requires": "cancer"},
            {"factor": "cancer", "requires": "hypertension"},
        ]

    message = population_faults(task, edit)
    assert "hypertension (0.668) is commoner than cancer (0.1), which it requires" in message
    assert "risk_rules.requires: goes in a circle" in message


def test_rounded_shares_are_normalised(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["margins"]["sex"]["female"]["v"] = 0.6105

    shares = load_population(edited(task, "population", edit), task).shares("sex")
    assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert shares["female"] == pytest.approx(0.6105 / 1.0005)


def test_trajectory_faults_come_together(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["stages"][1]["years"] = [-6, -3]
        content["domain_share"]["mci"]["values"]["memory"] = 0.3
        content["domain_share"]["mild_dementia"]["values"]["speech"] = 0.0
        content["note_type_share"].pop("moderate_dementia")
        content["domain_to_label"]["values"]["memory"] = "cognitive"
        content["notes_per_year"]["by_stage"]["mci"]["v"] = -1
        content["mentions_per_note"]["dispersion"] = content["notes_per_year"]["dispersion"]
        content["absent_share"]["mci"]["v"] = 1.5
        content["reported_by_others"]["label"] = "concern"
        content["stage_jitter_years"]["src"] = "nobody"

    message = trajectory_faults(task, edit)
    for expected in (
        "stages.mci: found [-6, -3]; stages are in order of time, each starting where the one before ends (here -7)",
        "domain_share.mci: shares add up to 1.1; they must add up to 1 within 0.001",
        "domain_share.mild_dementia: unknown domain of the lexicon 'speech'",
        "note_type_share: missing stage 'moderate_dementia'",
        "domain_to_label.memory: unknown label 'cognitive'",
        "notes_per_year.by_stage.mci: found -1; must be 0 or more",
        "mentions_per_note.dispersion: give it for negative_binomial and for nothing else",
        "absent_share.mci: found 1.5; must lie in [0, 1]",
        "reported_by_others.label: unknown label 'concern'",
        "stage_jitter_years.src: unknown source 'nobody'",
    ):
        assert expected in message
    assert "10 faults" in message


def test_stages_that_the_task_does_not_have_are_refused(task: Task) -> None:
    message = trajectory_faults(task, lambda content: content["stages"][0].update(id="early"))
    assert "stages: unknown stage of the task 'early'" in message


def test_denials_need_a_negative_label(task: Task) -> None:
    labels = task.file.labels.model_copy(update={"negative": None})
    without = task.model_copy(update={"file": task.file.model_copy(update={"labels": labels})})
    with pytest.raises(ConfigError, match="absent_share: the task has no negative label"):
        load_trajectory(task.folder / "trajectory.yaml", without)


def test_a_trajectory_needs_neither_reporters_nor_denials(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        del content["reported_by_others"], content["absent_share"]

    trajectory = load_trajectory(edited(task, "trajectory", edit), task)
    assert set(reported_probability(trajectory, "mci").values()) == {0.0}


def test_reported_share_averages_to_the_stage(task: Task) -> None:
    trajectory = load_trajectory(task.folder / "trajectory.yaml", task)
    # mci: 0.10 x 1 / (0.41 x 1 + 0.45 x 0.25) = 0.19139 in the cognitive domains, a quarter of it in two others
    found = reported_probability(trajectory, "mci")
    assert found["memory"] == pytest.approx(0.19139, abs=1e-5)
    assert found["physiological"] == pytest.approx(0.19139 / 4, abs=1e-5)
    assert found["requires_assistance"] == 0


def test_a_reported_share_that_no_domain_can_carry_is_refused(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["reported_by_others"]["propensity"]["values"] = {"language": 1.0}

    assert "reported_by_others.share.mci: needs a probability of 1.25 in one domain; at most 1" in trajectory_faults(
        task, edit
    )
