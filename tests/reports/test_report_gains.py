from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.reports.gains import detectable_section, interaction_section, square_cells, square_section
from harness.reports.inputs import Inputs
from harness.reports.verdict import interaction_words


def test_interactions_name_levels_by_their_titles_and_say_what_the_test_allows(inputs: Inputs) -> None:
    found = interaction_section(inputs, "llm")
    assert found is not None
    lines = {(line["variable"], line["mix"]): line for line in found["rows"]}
    assert len(lines) == 2 * 2  # variables, mixes
    assert lines["sex", "gold_dualalign"]["verdict"] == "the gain differs between levels"
    assert lines["sex", "gold_unguided"]["verdict"] == "no evidence that the gain differs"
    assert lines["sex", "gold_unguided"]["levels"] == "largest gain: Female; smallest: Male"
    assert lines["stage", "gold_unguided"]["verdict"].startswith("insufficient: 1 of 2 levels")
    assert lines["stage", "gold_unguided"]["levels"] == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"p_adjusted": 0.049}, "the gain differs between levels"),
        ({"p_adjusted": 0.05}, "no evidence that the gain differs"),
        ({"p_adjusted": None}, "not tested"),
        ({"status": "insufficient", "difference": None, "reason": "1 level"}, "insufficient: 1 level"),
    ],
)
def test_words_of_an_interaction_turn_at_the_significance_level(
    inputs: Inputs, changes: Mapping[str, Any], words: str
) -> None:
    row = {"status": "ok", "difference": 0.1, "p_adjusted": 0.2, "reason": None, **changes}
    assert interaction_words(inputs, row) == words


def test_detectable_differences_are_told_overall_by_class_and_by_level(inputs: Inputs) -> None:
    found = detectable_section(inputs, "llm")
    assert found is not None
    values = {line["title"]: [cell["value"] for cell in line["cells"]] for line in found["rows"]}
    assert list(values) == [
        "all test sentences", "memory loss", "functional impairment", "concern by others", "other", "Female", "Male",
        "Mild", "Severe",
    ]  # fmt: skip
    assert values["all test sentences"] == [0.07, 0.07]
    assert values["Female"] == [0.14, 0.14]
    assert values["Severe"] == [None, None]  # insufficient is not zero
    assert found["rows"][-1]["cells"][0]["words"] == "insufficient: 2 patients; at least 5 are needed"


def test_without_contrasts_there_is_nothing_to_show(inputs: Inputs) -> None:
    bare = replace(inputs, contrasts=())
    assert interaction_section(bare, "llm") is None
    assert detectable_section(bare, "llm") is None
    assert square_section(bare, "llm") is None


def test_the_square_shows_its_cells_and_effects_overall_by_class_and_by_level(all_arms: Inputs) -> None:
    found = square_section(all_arms, "llm")
    assert found is not None
    without, with_persona = square_cells(all_arms, "llm")
    assert [cell["mix"] for cell in without["cells"]] == ["gold_unguided", "gold_semantic"]
    assert [cell["mix"] for cell in with_persona["cells"]] == ["gold_statistical", "gold_dualalign"]
    classes, levels = found["plots"]
    assert [group.title for group in classes.groups][:2] == ["Macro-F1, all test sentences", "memory loss"]
    assert [group.title for group in levels.groups] == ["Sex: Female", "Sex: Male"]
    assert [(row.title, row.value) for row in classes.groups[0].rows] == [
        ("statistical alignment", 0.03), ("semantic alignment", 0.04), ("interaction", 0.01),
    ]  # fmt: skip
    assert classes.groups[1].marks == {"class": "memory"} and levels.groups[0].marks == {"variable": "sex"}
    assert square_section(all_arms, "tfidf") is None  # evaluation wrote no effects of it
