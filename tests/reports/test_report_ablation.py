from dataclasses import replace

from harness.reports.ablation import ablation_markdown, alignment_cells, two_by_two
from harness.reports.inputs import Inputs
from harness.schemas.mix import Mix


def test_the_square_is_read_off_what_the_arms_see(all_arms: Inputs) -> None:
    assert alignment_cells(all_arms) == {
        (False, False): "gold_unguided",
        (True, False): "gold_statistical",
        (False, True): "gold_semantic",
        (True, True): "gold_dualalign",
    }


def test_the_square_is_the_one_whose_effects_were_computed(all_arms: Inputs) -> None:
    pilot = Mix.model_validate({"name": "pilot", "sources": [{"origin": "gold", "share": 0.9},
                                                             {"origin": "dualalign", "share": 0.1}]})  # fmt: skip
    recipe = all_arms.recipe.model_copy(update={"mixes": (pilot, *all_arms.recipe.mixes)})
    assert alignment_cells(replace(all_arms, recipe=recipe))[True, True] == "gold_dualalign"


def test_without_all_four_arms_there_is_no_square(inputs: Inputs) -> None:
    assert two_by_two(inputs, "llm") == ""
    assert "2 x 2" not in ablation_markdown(inputs)


def test_effects_of_the_square_are_shown_with_their_intervals(all_arms: Inputs) -> None:
    text = two_by_two(all_arms, "llm")
    assert "Mean effect of statistical alignment +0.030 [0.010, 0.050], p = 0.012" in text
    assert "mean effect of semantic alignment +0.040 [0.010, 0.070], p = 0.012" in text
    assert "where statistical alignment is there) +0.010 [\u22120.030, 0.050], p = 0.620" in text
    assert "not computed" in two_by_two(all_arms, "tfidf")  # evaluation wrote no effects for it


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
