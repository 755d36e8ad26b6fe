import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, DataError
from harness.reports import stage
from harness.reports.across import merge_leaderboards
from harness.reports.inputs import Inputs, hash_test_set
from harness.reports.leaderboard import (
    CSV_COLUMNS,
    EQUAL,
    budget_words,
    collapse_majority,
    leaderboard_csv,
    leaderboard_markdown,
    leaderboard_rows,
)
from harness.schemas.manifest import Manifest
from harness.schemas.recipe_parts import TrainingBudget
from harness.store import Run


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


# -- across runs -------------------------------------------------------------------------------------------------------


def write_leaderboard(run: Run, **changes: str) -> Path:
    rows = leaderboard_rows(stage.read_inputs(run))
    folder = run.path("reports")
    folder.mkdir(parents=True, exist_ok=True)
    text = leaderboard_csv([replace(row, **changes) for row in rows])  # type: ignore[arg-type]
    (folder / "leaderboard.csv").write_text(text, encoding="utf-8")
    return run.folder


def test_runs_on_the_same_test_set_share_one_table(make_run: Callable[..., Run]) -> None:
    folders = [write_leaderboard(make_run("one")), write_leaderboard(make_run("two"))]
    text, markdown = stage.leaderboard_across(folders)
    rows = read(text)
    assert list(rows[0]) == ["run", "comparable", "why_apart", *CSV_COLUMNS]
    assert {row["run"] for row in rows} == {"one", "two"}
    assert {row["comparable"] for row in rows} == {"yes"}
    scores = [float(row["macro_f1"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert "Not comparable" not in markdown


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_set_sha256": "f" * 64}, "another test set (ffffffffffff instead of 20818e3534a9)"),
        ({"task_version": 9}, "another version of the task (9 instead of 3)"),
        ({"task": "amentia"}, "another task (amentia instead of memoria)"),
    ],
)
def test_runs_that_cannot_be_compared_stand_apart_with_the_reason(
    make_run: Callable[..., Run], changes: dict[str, str], reason: str
) -> None:
    folders = [write_leaderboard(make_run("odd"), **changes)]
    folders += [write_leaderboard(make_run(name)) for name in ("one", "two")]
    text, markdown = stage.leaderboard_across(folders)
    assert {row["run"]: row["why_apart"] for row in read(text)} == {"one": "", "two": "", "odd": reason}
    common, apart = markdown.split(f"## Not comparable: {reason}")
    assert "| odd |" in apart and "| odd |" not in common
    assert "| one |" in common and "| one |" not in apart


def test_no_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no run with a leaderboard among the folders given \(none\)"):
        stage.leaderboard_across([])
    with pytest.raises(ConfigError, match="no run with a leaderboard"):
        stage.leaderboard_across([tmp_path])


def test_a_foreign_leaderboard_is_refused_with_its_missing_columns(tmp_path: Path) -> None:
    (tmp_path / "08_reports").mkdir()
    (tmp_path / "08_reports" / "leaderboard.csv").write_text("mix,macro_f1\ngold,0.5\n")
    with pytest.raises(DataError, match=r"leaderboard.csv: missing column accuracy, accuracy_ci_high"):
        stage.leaderboard_across([tmp_path])


def with_diverged(inputs: Inputs, mix: str) -> Inputs:
    """The same run, had the training stage marked train seed 1 of a mix."""

    def marked(manifest: Manifest) -> Manifest:
        if (manifest.stage, manifest.unit) != ("training", f"{mix}/seed_1"):
            return manifest
        notes = {**manifest.counts.notes, "status": "diverged", "reason": "the loss rose"}
        return manifest.model_copy(update={"counts": manifest.counts.model_copy(update={"notes": notes})})

    return replace(inputs, manifests=[marked(one) for one in inputs.manifests])


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


def test_across_runs_a_diverged_row_is_not_comparable(inputs: Inputs) -> None:
    told = with_diverged(inputs, "gold_dualalign")
    boards = {
        "one": read(leaderboard_csv(leaderboard_rows(told))),
        "two": read(leaderboard_csv(leaderboard_rows(inputs))),
    }
    text, markdown = merge_leaderboards(boards)
    apart = [(row["run"], row["mix"], row["learner"]) for row in read(text) if row["comparable"] == "no"]
    assert apart == [("one", "gold_dualalign", "llm")]
    assert "## Not comparable: diverged in training (seed_1: the loss rose)" in markdown
