"""A persona in words: subgroup levels as the task says them, the rest as its population says them."""

from collections import Counter
from pathlib import Path

import pytest

from harness.prompts.traits import MAX_RISK_FACTORS, persona_traits
from harness.schemas.task import Task, load_task


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("alzheimers", base=Path.cwd())


def persona(**changes: object) -> dict[str, object]:
    return {
        "persona_id": "p", "cell_id": "c", "age_years": 81, "age_band": "75-84", "sex": "female",
        "race_ethnicity": "nh_black", "education": "high_school", "living_arrangement": "with_spouse_partner",
        "risk_factors": ["copd", "stroke_tia"], **changes,
    }  # fmt: skip


def test_every_part_is_said_in_the_words_of_task_and_population(task: Task) -> None:
    assert persona_traits(task, persona(), 0) == (
        "81-year-old woman", "Black", "finished high school", "lives with spouse or partner", "COPD", "stroke or TIA",
    )  # fmt: skip


def test_what_says_nothing_is_left_out(task: Task) -> None:
    told = persona_traits(task, persona(living_arrangement="other", education=None, risk_factors=[], sex=None), 0)
    assert told == ("81-year-old", "Black")


def test_every_risk_factor_is_shown_equally_often_over_the_texts(task: Task) -> None:
    factors = ["anxiety_disorder", "cancer", "depression", "diabetes", "obesity"]
    shown = Counter(
        word for index in range(50) for word in persona_traits(task, persona(risk_factors=factors), index)[-2:]
    )
    assert shown == dict.fromkeys((name.replace("_", " ") for name in factors), 50 * MAX_RISK_FACTORS // 5)


def test_a_factor_that_repeats_a_level_is_told_once(task: Task) -> None:
    told = persona_traits(task, persona(living_arrangement="alone", risk_factors=["cancer", "lives_alone"]), 0)
    assert told[-2:] == ("lives alone", "cancer")


def test_a_task_without_a_population_says_ids_with_spaces(tmp_path: Path, task: Task) -> None:
    bare = task.model_copy(update={"file": task.file.model_copy(update={"population": None})})
    assert "high school" in persona_traits(bare, persona(), 0)
