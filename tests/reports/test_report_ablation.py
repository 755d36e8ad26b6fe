import pytest

from harness.reports.ablation import ablation_markdown, alignment_cells, factorial_effects, two_by_two
from harness.reports.inputs import Inputs


def test_the_square_is_read_off_what_the_arms_see(all_arms: Inputs) -> None:
    assert alignment_cells(all_arms) == {
        (False, False): "gold_unguided",
        (True, False): "gold_statistical",
        (False, True): "gold_semantic",
        (True, True): "gold_dualalign",
    }


def test_without_all_four_arms_there_is_no_square(inputs: Inputs) -> None:
    assert two_by_two(inputs, "llm") == ""
    assert "2 x 2" not in ablation_markdown(inputs)


def test_effects_of_a_square_computed_by_hand() -> None:
    values = {(False, False): 0.50, (True, False): 0.52, (False, True): 0.53, (True, True): 0.59}
    effects = factorial_effects(values)
    assert effects["statistical"] == pytest.approx(((0.52 - 0.50) + (0.59 - 0.53)) / 2)  # 0.04
    assert effects["semantic"] == pytest.approx(((0.53 - 0.50) + (0.59 - 0.52)) / 2)  # 0.05
    assert effects["interaction"] == pytest.approx((0.59 - 0.52) - (0.53 - 0.50))  # 0.04


def test_additive_alignments_do_not_interact() -> None:
    values = {(False, False): 0.5, (True, False): 0.6, (False, True): 0.7, (True, True): 0.8}
    assert factorial_effects(values)["interaction"] == pytest.approx(0)


def test_every_class_level_arm_and_check_has_its_row(all_arms: Inputs) -> None:
    text = ablation_markdown(all_arms)
    for words in ("| memory loss |", "| Female |", "| Severe |", "| `semantic` |", "near duplicate", "2 x 2"):
        assert words in text
    severe = next(line for line in text.splitlines() if line.startswith("| Severe |"))
    assert severe.count("insufficient: 2 patients; at least 5 are needed") == 5  # gold and four differences
    assert "0.000" not in severe


def test_arms_show_candidates_acceptance_and_reasons(inputs: Inputs) -> None:
    line = next(line for line in ablation_markdown(inputs).splitlines() if line.startswith("| `dualalign` |"))
    # 40 kept of 45 candidates: 89%; the slot that stayed empty is no candidate
    assert "| 40 | 45 | 40 | 89% | 40 | prompt_echo 5 |" in line
