import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import ConfigError
from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task
from harness.schemas.trajectory import Trajectory, load_trajectory

OWN = {"status": "assumed", "check": "none", "src": "own"}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "alzheimers"
    shutil.copytree(shipped("tasks") / "alzheimers", folder)
    return load_task(str(folder), base=folder)


def edited(task: Task, edit: Callable[[dict[str, Any]], None]) -> Trajectory:
    path = task.folder / "trajectory.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_trajectory(path, task)


def faults(task: Task, edit: Callable[[dict[str, Any]], None]) -> str:
    with pytest.raises(ConfigError) as raised:
        edited(task, edit)
    return str(raised.value)


def test_a_term_takes_its_own_beginning_and_the_rest_from_its_domain(task: Task) -> None:
    onset = load_trajectory(task.folder / "trajectory.yaml", task).onset
    terms = {term.term: term for term in task.lexicon}
    assert onset is not None
    assert onset.of(terms["falls"]) == (6, 2.5, 0.6)
    assert onset.of(terms["constipation"]) == (7, 2.5, 0.6)
    assert onset.of(terms["aggression"]) == (-1, 1, 0.6)
    assert onset.of(terms["needs help eating"]) == (0, 1, 0.7)  # a zero of its own is not the domain's value


def test_the_declared_beginnings_are_in_the_published_order(task: Task) -> None:
    onset = load_trajectory(task.folder / "trajectory.yaml", task).onset
    assert onset is not None
    begins = {term.term: onset.of(term).median_years_before for term in task.lexicon}
    for earlier, later in (
        ("depressed mood", "irritability"),  # psychiatric_order
        ("irritability", "agitation"),
        ("agitation", "visual hallucinations"),
        ("needs help with bills", "needs help bathing"),  # household tasks before self-care
        ("needs help bathing", "needs help toileting"),  # functional_loss.basic_adl_order
        ("constipation", "gait instability"),  # first_appearance_years_before_diagnosis
        ("gait instability", "memory complaint"),
    ):
        assert begins[earlier] > begins[later], (earlier, later)


def test_faults_of_onset_come_together(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        onset = content["onset"]
        onset["domains"]["memry"] = onset["domains"].pop("memory")
        onset["domains"]["language"]["spread_years"]["v"] = 0
        onset["domains"]["physiological"]["share"]["v"] = 1.2
        onset["terms"][1]["terms"] = ["constipaton"]
        onset["terms"].append({"terms": ["weight loss"], "spread_years": {"v": -1, **OWN}, "share": {"v": 0, **OWN}})
        onset["persistence"]["v"] = -0.5
        onset["worsening"]["steps_per_year"]["v"] = -1
        onset["worsening"]["gain_per_step"] = {"v": 0.2}

    # The number without marks is a fault of shape, found before the values are looked at.
    assert "onset.worsening.gain_per_step.status: missing; this key is required" in faults(task, edit)

    def edit_again(content: dict[str, Any]) -> None:
        content["onset"]["worsening"]["gain_per_step"] = {"v": -0.2, **OWN}

    message = faults(task, edit_again)
    place = f"onset.terms.{len(load_terms(task)) - 1}"
    for expected in (
        "onset.domains: unknown domain of the lexicon 'memry'; did you mean 'memory'?",
        "onset.domains: missing domain 'memory'",
        "onset.domains.language.spread_years: found 0; must be above 0",
        "onset.domains.physiological.share: found 1.2; must lie in (0, 1]",
        "onset.terms.1.terms: unknown term of the lexicon 'constipaton'; did you mean 'constipation'?",
        f"{place}.terms: 'weight loss' is given twice; a term begins at one time",
        f"{place}.spread_years: found -1; must be above 0",
        f"{place}.share: found 0; must lie in (0, 1]",
        "onset.persistence: found -0.5; must be 0 or more",
        "onset.worsening.steps_per_year: found -1; must be 0 or more",
        "onset.worsening.gain_per_step: found -0.2; must be 0 or more",
    ):
        assert expected in message
    assert "11 faults" in message


def load_terms(task: Task) -> list[Any]:
    content = yaml.safe_load((task.folder / "trajectory.yaml").read_text(encoding="utf-8"))
    found: list[Any] = content["onset"]["terms"]
    return found


def test_faults_of_documentation_come_together(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        documentation = content["documentation"]
        documentation["style_share"]["values"] = {"terse": 0.5, "narative": 0.4}
        documentation["authors"]["values"]["primary_care"] = 1.5
        documentation["authors"]["values"]["emergency"] = 0
        documentation["authors"]["values"]["neurolgy"] = documentation["authors"]["values"].pop("neurology")
        documentation["continuity"]["v"] = 1.1

    message = faults(task, edit)
    for expected in (
        "documentation.style_share: unknown style 'narative'; did you mean 'narrative'?",
        "documentation.style_share: shares add up to 0.9; they must add up to 1 within 0.001",
        "documentation.authors.primary_care: found 1.5; must be a whole number of at least 1",
        "documentation.authors.emergency: found 0; must be a whole number of at least 1",
        "documentation.authors: unknown note type 'neurolgy'; did you mean 'neurology'?",
        "documentation.authors: missing note type 'neurology'",
        "documentation.continuity: found 1.1; must lie in [0, 1]",
    ):
        assert expected in message
    assert "7 faults" in message


def test_a_trajectory_needs_neither_onset_nor_documentation(task: Task) -> None:
    def edit(content: dict[str, Any]) -> None:
        del content["onset"], content["documentation"]

    trajectory = edited(task, edit)
    assert trajectory.onset is None
    assert trajectory.documentation is None
