"""Whether the page says how far the cheap learners agreed with the fine-tuned model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.reports import page
from harness.reports.inputs import LLM, Inputs
from harness.reports.leaderboard import leaderboard_rows
from harness.reports.proxy import proxy_section
from harness.reports.proxy_words import compared, gains_at, proxy_markdown, proxy_words
from harness.reports.stage import read_inputs
from harness.store import Run


def with_gains(inputs: Inputs, gains: dict[str, tuple[float, float]]) -> Inputs:
    """The same run with these gains in macro-F1: mix -> (TF-IDF's, the fine-tuned model's)."""
    changed: list[dict[str, Any]] = []
    for given in inputs.contrasts:
        row = dict(given)
        is_main = (row["metric"], row["subgroup_variable"]) == ("macro_f1", "overall")
        if is_main and row["mix_a"] in gains and row["mix_b"] == inputs.reference and row["learner"] in ("tfidf", LLM):
            own, other = gains[row["mix_a"]]
            row |= {"difference": own if row["learner"] == "tfidf" else other, "status": "ok"}
        changed.append(row)
    return replace(inputs, contrasts=changed)


def test_directions_are_counted_over_all_mixes(all_arms: Inputs) -> None:
    mixes = all_arms.other_mixes
    gains = {mix: ((0.05, 0.02), (0.01, -0.03), (-0.02, -0.01))[i % 3] for i, mix in enumerate(mixes)}
    found = compared(with_gains(all_arms, gains))
    assert [one.learner for one in found] == ["tfidf"]
    overall = found[0].by_place["overall"]
    ups = sum(own > 0 for own, _ in gains.values())
    both = sum(own > 0 and other > 0 for own, other in gains.values())
    same = sum((own > 0) == (other > 0) for own, other in gains.values())
    assert (overall.n, overall.n_up, overall.n_up_in_both, overall.n_same_direction) == (len(mixes), ups, both, same)
    words = proxy_words(found[0])
    assert f"the fine-tuned model did in {both} of {ups}" in words
    assert f"{len(mixes)} comparisons on the same patients prove nothing by themselves." in words


def test_gains_are_those_of_both_learners_at_the_same_place(inputs: Inputs) -> None:
    for place in ("overall", "class", "level"):
        rows = gains_at(inputs, "tfidf", place)
        assert rows
        for row, own, other in rows:
            twin = inputs.contrast(row["mix_a"], LLM, metric=row["metric"], label=row["class"],
                                   variable=row["subgroup_variable"], level=row["subgroup_level"])  # fmt: skip
            assert twin is not None
            assert (own, other) == (row["difference"], twin["difference"])


def test_page_and_ablation_say_it(inputs: Inputs) -> None:
    section = proxy_section(inputs)
    assert section is not None
    text = page.report_page(inputs, leaderboard_rows(inputs))
    assert 'id="cheap"' in text
    assert section["rows"][0]["words"].replace("'", "&#39;") in text
    assert section["rows"][0]["words"] in "\n".join(proxy_markdown(inputs))
    assert "gain_fine_tuned" in section["download"].uri


@pytest.mark.parametrize("changes", [{"proxy": True}, {"file": None}])
def test_without_both_kinds_of_learners_there_is_nothing_to_say(
    make_run: Callable[..., Run], changes: dict[str, Any]
) -> None:
    inputs = read_inputs(make_run())
    recipe = inputs.recipe
    if "file" in changes:  # the fine-tuned model alone
        scoring = recipe.file.scoring.model_copy(update={"baselines": ()})
        changes = {"file": recipe.file.model_copy(update={"scoring": scoring})}
    alone = replace(inputs, recipe=recipe.model_copy(update=changes))
    assert proxy_section(alone) is None
    assert proxy_markdown(alone) == []
