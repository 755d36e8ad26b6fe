from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from invented_run import with_diverged

from harness.reports import stage
from harness.reports.inputs import Inputs
from harness.reports.verdict import judge, main_mix, verdict
from harness.schemas.mix import Mix
from harness.store import Run


def with_contrast(inputs: Inputs, mix: str, **changes: Any) -> Inputs:
    """The same run with another overall macro-F1 contrast of one mix (fine-tuned model)."""
    rows = [
        {**row, **changes}
        if (row["mix_a"], row["learner"], row["metric"], row["subgroup_variable"])
        == (mix, "llm", "macro_f1", "overall")
        else row
        for row in inputs.contrasts
    ]
    return replace(inputs, contrasts=rows)


@pytest.mark.parametrize(
    ("difference", "p", "kind"),
    [(0.08, 0.049, "better"), (-0.08, 0.049, "worse"), (0.08, 0.05, "no evidence"), (0.08, None, "no evidence")],
)
def test_only_a_small_adjusted_p_makes_a_mix_better_or_worse(
    inputs: Inputs, difference: float, p: float | None, kind: str
) -> None:
    changed = with_contrast(
        inputs,
        "gold_dualalign",
        difference=difference,
        ci_low=difference - 0.05,
        ci_high=difference + 0.05,
        p_adjusted=p,
        detectable=0.02,
    )
    assert judge(changed, "gold_dualalign").kind == kind


@pytest.mark.parametrize(
    ("found", "kind"),
    [(0.049, "no evidence"), (0.05, "no evidence"), (0.051, "too small"), (None, "too small")],
)
def test_a_test_set_that_could_not_have_found_what_matters_is_too_small_to_tell(
    inputs: Inputs, found: float | None, kind: str
) -> None:
    assert inputs.recipe.file.evaluation.relevant_difference == 0.05
    changed = with_contrast(
        inputs, "gold_dualalign", difference=0.01, ci_low=-0.03, ci_high=0.05, p_adjusted=0.4, detectable=found
    )
    assert judge(changed, "gold_dualalign").kind == kind


def test_a_difference_that_was_found_is_told_however_small_the_test_set(inputs: Inputs) -> None:
    changed = with_contrast(
        inputs, "gold_dualalign", difference=0.2, ci_low=0.1, ci_high=0.3, p_adjusted=0.01, detectable=0.5
    )
    assert judge(changed, "gold_dualalign").kind == "better"


def test_what_would_matter_is_the_recipes_to_say(make_run: Callable[..., Run]) -> None:
    settings = {"subgroups": ["sex"], "n_bootstrap": 500}
    small, large = (
        stage.read_inputs(make_run(f"at_{size}", evaluation={**settings, "relevant_difference": size}))
        for size in (0.06, 0.08)
    )
    assert judge(small, "gold_unguided").kind == "too small"  # the invented run could have found 0.07
    assert judge(large, "gold_unguided").kind == "no evidence"


def test_no_evidence_names_the_interval_in_full(inputs: Inputs) -> None:
    changed = with_contrast(inputs, "gold_dualalign", difference=0.012, ci_low=-0.031, ci_high=0.055, p_adjusted=0.4)
    seen = "+0.012, and the 95% interval runs from \u22120.031 to +0.055 (adjusted p = 0.400)"
    out_of_reach = with_contrast(changed, "gold_dualalign", detectable=None, reason="5 patients are too few")
    assert judge(out_of_reach, "gold_dualalign").words == f"too small to tell: {seen}; 5 patients are too few"
    assert judge(with_contrast(changed, "gold_dualalign", detectable=0.04), "gold_dualalign").words == (
        f"no evidence of a difference: {seen}; this test set could have found 0.040 or more"
    )
    assert judge(with_contrast(changed, "gold_dualalign", detectable=0.07), "gold_dualalign").words == (
        f"too small to tell: {seen}; it could have found 0.070 or more, and 0.05 would matter"
    )


def test_a_contrast_without_a_value_is_too_small_to_tell_and_never_zero(inputs: Inputs) -> None:
    changed = with_contrast(
        inputs, "gold_dualalign", difference=None, ci_low=None, ci_high=None, status="insufficient", reason="3 patients"
    )
    found = verdict(changed)
    assert found.kind == "too small"
    assert "for gold_dualalign this test set is too small to tell (3 patients)" in found.sentences[0]
    assert "0.000" not in found.sentences[0]


def test_the_verdict_is_about_the_mix_whose_arm_sees_most(all_arms: Inputs) -> None:
    assert main_mix(all_arms) == "gold_dualalign"
    assert (
        verdict(all_arms)
        .sentences[0]
        .startswith(
            "Macro-F1 of the fine-tuned smollm2-135m on the test patients, against training on gold: gold_dualalign is better"
        )
    )


def test_the_second_sentence_sets_the_model_beside_baseline_and_floor(inputs: Inputs) -> None:
    def score(learner: str, value: float, half: float) -> list[dict[str, Any]]:
        return [
            {**row, "value": value, "ci_low": value - half, "ci_high": value + half}
            for row in inputs.metrics
            if (row["mix"], row["learner"], row["metric"], row["subgroup_variable"], row["train_seed"])
            == ("gold_dualalign", learner, "macro_f1", "overall", "all")
        ]

    metrics = [*inputs.metrics, *score("llm", 0.6, 0.05), *score("tfidf", 0.66, 0.05), *score("majority", 0.1, 0.05)]
    assert verdict(replace(inputs, metrics=metrics)).sentences[1] == (
        "Trained on gold_dualalign, the fine-tuned smollm2-135m reaches 0.600, below (with overlapping intervals) TF-IDF "
        "with logistic regression on the same mix at 0.660 and above the majority class at 0.100."
    )


def test_one_train_seed_is_said_beside_the_verdict(make_run: Callable[..., Run]) -> None:
    one = verdict(stage.read_inputs(make_run("one", seeds_per_mix=1)))
    several = verdict(stage.read_inputs(make_run("several", seeds_per_mix=2)))
    assert [remark for remark in one.remarks if remark.startswith("One train seed per mix")]
    assert not [remark for remark in several.remarks if remark.startswith("One train seed per mix")]


def test_a_run_with_gold_alone_has_nothing_to_compare(make_run: Callable[..., Run]) -> None:
    found = verdict(stage.read_inputs(make_run(arms=())))
    assert found.sentences[0] == "Only gold was trained on, so there is nothing to compare it with."
    assert found.kind == "not computed"


def with_interaction(inputs: Inputs, p: float) -> Inputs:
    """The same run with another adjusted p of "does the gain of gold_dualalign differ by sex"."""
    rows = [
        {**row, "p_adjusted": p}
        if (row["mix_a"], row["learner"], row["subgroup_variable"], row["subgroup_level"])
        == ("gold_dualalign", "llm", "sex", "(interaction)")
        else row
        for row in inputs.contrasts
    ]
    return replace(inputs, contrasts=rows)


def test_only_a_test_of_the_gains_against_each_other_says_that_they_differ(inputs: Inputs) -> None:
    differs = "The gain of gold_dualalign differs by sex (largest gain: Female; smallest: Male; adjusted p = 0.049)."
    same = "No evidence that the gain of gold_dualalign differs by sex."
    below, at = verdict(with_interaction(inputs, 0.049)).remarks, verdict(with_interaction(inputs, 0.05)).remarks
    assert differs in below and same not in below
    assert same in at and not [remark for remark in at if "differs by sex (" in remark]
    assert not [remark for remark in below if "stage" in remark]  # one level has enough patients: nothing was tested


def test_a_withheld_difference_is_not_called_too_small(inputs: Inputs) -> None:
    withheld = {"difference": None, "ci_low": None, "ci_high": None, "status": "suppressed", "reason": "few patients"}
    found = verdict(with_contrast(inputs, "gold_dualalign", **withheld))
    assert found.kind == "not computed"
    assert "gold_dualalign has been withheld (few patients)" in found.sentences[0]


@pytest.mark.parametrize(("mix", "words"), [("gold_dualalign", "gold_dualalign"), ("gold", "gold")])
def test_no_verdict_rests_on_a_run_that_diverged(inputs: Inputs, mix: str, words: str) -> None:
    found = judge(with_diverged(inputs, mix), "gold_dualalign")
    assert (found.kind, found.words) == ("not computed", f"not been compared: a run of {words} diverged")
    assert judge(with_diverged(inputs, mix), "gold_dualalign", "tfidf").kind != "not computed"  # it learned by itself


def test_the_reference_is_the_one_that_evaluation_used(inputs: Inputs) -> None:
    assert inputs.reference == "gold"
    others = tuple(mix for mix in inputs.recipe.mixes if mix.name != "gold")
    without = replace(inputs, recipe=inputs.recipe.model_copy(update={"mixes": others}))
    assert without.reference == others[0].name
    assert others[0].name not in without.other_mixes


@pytest.mark.parametrize(("p", "low", "said"), [(0.2, 0.01, True), (0.01, -0.01, True), (0.2, -0.01, False)])
def test_a_verdict_that_its_interval_does_not_suggest_is_explained(
    inputs: Inputs, p: float, low: float, said: bool
) -> None:
    changed = with_contrast(
        inputs, "gold_dualalign", difference=0.05, ci_low=low, ci_high=0.1, p_adjusted=p, detectable=0.03
    )
    changed = with_contrast(changed, "gold_unguided", difference=0.0, ci_low=-0.1, ci_high=0.1, p_adjusted=0.9)
    remarks = [one for one in verdict(changed).remarks if "verdict and interval differ" in one]
    assert bool(remarks) == said
    assert all(one.startswith("gold_dualalign: ") for one in remarks)


def test_significance_is_what_the_recipes_confidence_leaves(make_run: Callable[..., Run]) -> None:
    at_99 = stage.read_inputs(make_run("strict", evaluation={"subgroups": ["sex"], "confidence": 0.99}))
    found = {"difference": 0.05, "ci_low": 0.01, "ci_high": 0.1, "p_adjusted": 0.03, "detectable": 0.03}
    assert judge(with_contrast(at_99, "gold_dualalign", **found), "gold_dualalign").kind == "no evidence"


def test_the_mix_beside_the_main_one_is_the_same_with_another_arm(inputs: Inputs) -> None:
    fewer = Mix.model_validate({"name": "gold_10", "sources": [{"origin": "gold", "share": 1, "patients": 0.1}]})
    recipe = inputs.recipe.model_copy(update={"mixes": (fewer, *inputs.recipe.mixes)})
    first, _ = verdict(replace(inputs, recipe=recipe)).sentences
    assert first.index("gold_dualalign") < first.index("gold_unguided") and "gold_10" not in first
    assert "among the other mixes (1)" in first
