import csv
import io
import re
from dataclasses import replace
from typing import Any

import pytest
from invented_run import with_diverged

from harness.metrics import METRICS_VERSION
from harness.reports.inputs import Inputs, hash_test_set
from harness.reports.latex import escape
from harness.reports.leaderboard import (
    EQUAL,
    budget_words,
    collapse_majority,
    leaderboard_csv,
    leaderboard_rows,
)
from harness.reports.leaderboard_text import leaderboard_latex, leaderboard_markdown
from harness.schemas.manifest import Manifest
from harness.schemas.recipe_parts import TrainingBudget


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_mix_stands_with_every_learner_best_first(inputs: Inputs) -> None:
    rows = leaderboard_rows(inputs)
    assert {(row.mix, row.learner) for row in rows} == {
        (mix, learner) for mix in inputs.mixes for learner in ("llm", "tfidf", "majority")
    }
    values = [row.macro_f1 for row in rows if row.macro_f1 is not None]
    assert len(values) == len(rows)
    assert values == sorted(values, reverse=True)


def test_a_row_repeats_the_numbers_of_the_tables(inputs: Inputs) -> None:
    row = next(row for row in leaderboard_rows(inputs) if (row.mix, row.learner) == ("gold_dualalign", "llm"))
    metric, contrast = inputs.metric("gold_dualalign", "llm"), inputs.contrast("gold_dualalign", "llm")
    assert metric is not None and contrast is not None
    assert (row.macro_f1, row.macro_f1_ci_low, row.macro_f1_ci_high) == (
        metric["value"],
        metric["ci_low"],
        metric["ci_high"],
    )
    assert (row.difference, row.p_adjusted) == (contrast["difference"], contrast["p_adjusted"])
    # 30 updates of 8 examples with 3 supervised tokens each, as the fixture writes them
    assert (row.n_updates, row.n_examples, row.n_supervised_tokens) == (30, 240, 720)
    assert (row.n_train_seeds, row.n_test_sentences, row.n_test_patients) == (2, 48, 12)
    assert row.model == "smollm2-135m, fine-tuned"


def test_the_worst_subgroup_is_never_an_insufficient_one(inputs: Inputs) -> None:
    levels = {row.worst_subgroup_level for row in leaderboard_rows(inputs)}
    assert levels <= {"female", "male", "mild"}  # `severe` has two patients


def test_without_a_sufficient_level_there_is_no_worst_subgroup(inputs: Inputs) -> None:
    few = [
        {**row, "status": "insufficient", "value": None} if row["subgroup_variable"] != "overall" else row
        for row in inputs.metrics
    ]
    row = leaderboard_rows(replace(inputs, metrics=few))[0]
    assert (row.worst_subgroup_level, row.worst_subgroup_macro_f1) == (None, None)


def test_an_undefined_score_is_an_empty_cell_with_a_reason_and_comes_last(inputs: Inputs) -> None:
    metrics = [
        {**row, "status": "undefined", "value": None, "ci_low": None, "ci_high": None, "reason": "no true sentence"}
        if (row["mix"], row["learner"], row["subgroup_variable"]) == ("gold", "llm", "overall")
        else row
        for row in inputs.metrics
    ]
    last = read(leaderboard_csv(leaderboard_rows(replace(inputs, metrics=metrics))))[-1]
    assert (last["mix"], last["learner"], last["macro_f1"]) == ("gold", "llm", "")
    assert (last["status"], last["reason"]) == ("undefined", "no true sentence")


def test_baselines_have_no_updates_of_their_own(inputs: Inputs) -> None:
    for row in leaderboard_rows(inputs):
        assert (row.n_updates is None) == (row.learner != "llm")


def test_another_number_of_updates_is_not_equal_budget(inputs: Inputs) -> None:
    assert budget_words(inputs, "gold_dualalign") == EQUAL
    mixes = tuple(
        mix.model_copy(update={"budget": mix.budget.model_copy(update={"size": 60})}) if mix.name == "gold" else mix
        for mix in inputs.recipe.mixes
    )
    unequal = replace(inputs, recipe=inputs.recipe.model_copy(update={"mixes": mixes}))
    assert budget_words(unequal, "gold_dualalign") == "not at equal budget: 30 updates, gold 60"
    assert "(not at equal budget)" in leaderboard_markdown(unequal, leaderboard_rows(unequal))


def test_tokens_count_as_equal_up_to_a_tenth(inputs: Inputs) -> None:
    def with_tokens(n: int) -> Inputs:
        own = replace(inputs.composition["gold_dualalign"], n_supervised_tokens=n)
        return replace(inputs, composition={**inputs.composition, "gold_dualalign": own})

    assert budget_words(with_tokens(792), "gold_dualalign") == EQUAL  # 720 x 1.10
    words = budget_words(with_tokens(800), "gold_dualalign")  # 800 / 720 - 1 = 11%
    assert words == "not at equal budget: +11% supervised tokens against gold"


def test_budgets_in_supervised_tokens_are_equal_where_those_are(inputs: Inputs) -> None:
    """Updates then differ on purpose; counted in epochs they differ too, and that is no equal budget."""

    def words(unit: Any, n_tokens: int) -> str:
        training = inputs.recipe.file.training.model_copy(update={"budget": TrainingBudget(unit=unit, size=700)})
        file = inputs.recipe.file.model_copy(update={"training": training})
        own = replace(inputs.composition["gold_dualalign"], n_examples=320, n_supervised_tokens=n_tokens)
        composition = {**inputs.composition, "gold_dualalign": own}
        recipe = inputs.recipe.model_copy(update={"file": file})
        return budget_words(replace(inputs, recipe=recipe, composition=composition), "gold_dualalign")

    assert words("supervised_tokens", 720) == "equal budget"
    assert words("supervised_tokens", 900) == "not at equal budget: +25% supervised tokens against gold"
    assert words("epochs", 720) == "not at equal budget: 40 updates, gold 30"  # 320 and 240 examples in updates of 8


def test_equal_majority_rows_are_shown_once(inputs: Inputs) -> None:
    rows = leaderboard_rows(inputs)
    shown = [mix for row, mix in collapse_majority(rows) if row.learner == "majority"]
    assert shown == ["any mix"]
    unlike = [replace(row, macro_f1=0.5) if (row.mix, row.learner) == ("gold", "majority") else row for row in rows]
    assert len([row for row, _ in collapse_majority(unlike) if row.learner == "majority"]) == len(inputs.mixes)


def test_csv_and_markdown_are_the_same_twice(inputs: Inputs) -> None:
    rows = leaderboard_rows(inputs)
    assert leaderboard_csv(rows) == leaderboard_csv(leaderboard_rows(inputs))
    assert leaderboard_markdown(inputs, rows).count("\n| ") == 1 + 1 + 7  # head, rule, 3 x 2 rows and the floor


def test_the_test_set_hash_forgets_order_and_sees_labels() -> None:
    rows = [("s1", "memory"), ("s2", "other")]
    assert hash_test_set(rows) == hash_test_set(reversed(rows))
    assert hash_test_set(rows) != hash_test_set([("s1", "other"), ("s2", "other")])


def test_a_diverged_run_stands_apart_with_its_reason(inputs: Inputs) -> None:
    told = with_diverged(inputs, "gold_dualalign")
    rows = leaderboard_rows(told)
    assert (rows[-1].mix, rows[-1].learner, rows[-1].status) == ("gold_dualalign", "llm", "diverged")
    assert rows[-1].reason == "seed_1: the loss rose"
    assert {row.status for row in rows[:-1]} == {"ok"}  # its baselines learned without the trainer
    above, _, apart = leaderboard_markdown(told, rows).partition("Set apart, because a run of theirs diverged:")
    assert "- `gold_dualalign`: seed_1: the loss rose" in apart
    assert sum("`gold_dualalign`" in line and "fine-tuned" in line for line in above.splitlines()) == 0
    assert sum("`gold_dualalign`" in line and "fine-tuned" in line for line in apart.splitlines()) == 1
    assert "Set apart" not in leaderboard_markdown(inputs, leaderboard_rows(inputs))


def test_a_diverged_reference_is_said_beside_every_difference(inputs: Inputs) -> None:
    told = with_diverged(inputs, "gold")
    assert "every difference above is to `gold`, which is among them" in leaderboard_markdown(
        told, leaderboard_rows(told)
    )


def test_ties_with_a_diverged_mix_are_not_told(inputs: Inputs) -> None:
    assert {row.tied for row in leaderboard_rows(inputs)} == {True, False, None}
    assert {row.tied for row in leaderboard_rows(with_diverged(inputs, "gold_dualalign"))} == {None}
    markdown = leaderboard_markdown(with_diverged(inputs, "gold"), leaderboard_rows(with_diverged(inputs, "gold")))
    assert "No entry is statistically tied" in markdown  # gold is behind, so what is tied does not depend on it


# -- what else a row holds ---------------------------------------------------------------------------------------------


def test_a_row_tells_regime_ties_subgroups_and_versions(inputs: Inputs) -> None:
    rows = {(row.mix, row.learner): row for row in leaderboard_rows(inputs)}
    row, gold = rows["gold_dualalign", "llm"], rows["gold", "llm"]
    assert (row.regime, gold.regime) == ("augmented", "TRTR")
    assert (row.tied, row.shortfall, row.shortfall_high) == (True, 0.0, 0.05)  # as the fixture's table `ties` says
    assert (gold.tied, gold.shortfall) == (False, 0.08)
    assert rows["gold", "majority"].tied is None
    metric = inputs.metric(
        "gold", "llm", variable=gold.worst_subgroup_variable or "", level=gold.worst_subgroup_level or ""
    )
    assert metric is not None
    assert (gold.worst_subgroup_macro_f1_ci_low, gold.worst_subgroup_macro_f1_ci_high) == (
        metric["ci_low"],
        metric["ci_high"],
    )
    assert (gold.widest_gap, gold.widest_gap_ci_low, gold.widest_gap_ci_high) == (0.05, -0.02, 0.12)
    assert (gold.budget_unit, gold.budget_size, gold.global_batch_size) == ("updates", 30, 8)
    assert rows["gold", "tfidf"].budget_unit is None
    assert (gold.labels, gold.metrics_version) == ("memory,function,worry,other", METRICS_VERSION)


def with_notes(inputs: Inputs, notes: dict[str, Any]) -> Inputs:
    """The same run, had every unit of training and generation these notes."""

    def noted(manifest: Manifest) -> Manifest:
        if manifest.stage not in ("training", "generation"):
            return manifest
        counts = manifest.counts.model_copy(update={"notes": {**manifest.counts.notes, **notes}})
        return manifest.model_copy(update={"counts": counts})

    return replace(inputs, manifests=[noted(one) for one in inputs.manifests])


def test_costs_are_summed_over_seeds_and_arms_and_unknown_ones_are_no_zero(inputs: Inputs) -> None:
    known = with_notes(inputs, {"train_seconds": 7.5, "gpu_seconds": None, "n_completion_tokens": 900})
    rows = {(row.mix, row.learner): row for row in leaderboard_rows(replace(known, spent_usd={"dualalign": 0.25}))}
    dualalign, gold, unguided = (rows[mix, "llm"] for mix in ("gold_dualalign", "gold", "gold_unguided"))
    assert (dualalign.train_seconds, dualalign.gpu_seconds) == (15.0, None)  # two train seeds
    assert (dualalign.n_generated_tokens, gold.n_generated_tokens) == (900, None)
    assert (dualalign.spent_usd, unguided.spent_usd, gold.spent_usd) == (0.25, None, None)
    assert rows["gold_dualalign", "tfidf"].train_seconds is None
    assert {row.train_seconds for row in leaderboard_rows(inputs)} == {None}  # the fixture's units do not say


def test_markdown_marks_ties_and_says_what_the_mark_means(inputs: Inputs) -> None:
    rows = [
        replace(row, tied=True, shortfall=0.01) if (row.mix, row.learner) == ("gold_unguided", "llm") else row
        for row in leaderboard_rows(inputs)
    ]
    markdown = leaderboard_markdown(inputs, rows)
    marked = [line for line in markdown.splitlines() if line.startswith("|") and "\u2020" in line]
    assert len(marked) == 1 and "`gold_unguided`" in marked[0]
    assert "statistically tied with the first: with 95% confidence the best is the first or one of these" in markdown
    assert "simultaneous one-sided comparison with the best of 6" in markdown
    alone = [replace(row, tied=None) for row in rows]
    assert "could not be told" in leaderboard_markdown(inputs, alone)


def test_latex_holds_the_rows_of_the_markdown_escaped(inputs: Inputs) -> None:
    rows = leaderboard_rows(inputs)
    text = leaderboard_latex(inputs, rows)
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 1 + 7  # head, 3 x 2 rows and the floor
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {9}
    assert r"gold\_dualalign & augmented & smollm2-135m, fine-tuned & " in text
    assert text.isascii()
    told = leaderboard_latex(
        with_diverged(inputs, "gold_dualalign"), leaderboard_rows(with_diverged(inputs, "gold_dualalign"))
    )
    assert r"\multicolumn{10}{l}{gold\_dualalign: set apart, seed\_1: the loss rose} \\" in told


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50% & more_or #1", r"50\% \& more\_or \#1"),
        ("a{b}$c^d~e\\f", r"a\{b\}\$c\textasciicircum{}d\textasciitilde{}e\textbackslash{}f"),
        ("\u22120.5 \u2013 \u2014 \u2020", r"\ensuremath{-}0.5 -- --- \textsuperscript{\textdagger}"),
        ("<0.001|\n", r"\textless{}0.001\textbar{} "),
    ],
)
def test_every_special_character_is_escaped_once(text: str, escaped: str) -> None:
    assert escape(text) == escaped
