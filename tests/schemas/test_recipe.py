from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped

RECIPES = sorted(shipped("recipes").glob("*.yaml"))

RECIPE = """
task: alzheimers
seed: 7
arms:
  dualalign: {sees: [label, persona, trajectory], n_sentences: 8, backend: {kind: embedded}}
mixes: [gold, gold_dualalign]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def fault(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, text), overrides)
    return str(caught.value)


def test_every_shipped_recipe_is_valid() -> None:
    assert len(RECIPES) >= 3
    for path in RECIPES:
        assert load_recipe(path).mixes


def test_a_recipe_survives_being_written_as_json() -> None:
    for path in RECIPES:
        recipe = load_recipe(path)
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_several_typos_come_in_one_message_each_with_the_nearest_key(tmp_path: Path) -> None:
    text = (
        RECIPE.replace("seed: 7", "sede: 7\nseed: -1\ntrainning: {}")
        + "training: {sft: {learning_rte: 1}, lora: {rr: 8}}"
    )
    message = fault(tmp_path, text)
    assert "sede: unknown key; did you mean 'seed'?" in message
    assert "trainning: unknown key; did you mean 'training'?" in message
    assert "seed: found -1; input should be greater than or equal to 0" in message
    assert "'learning_rte' is not a field of trl.SFTConfig; did you mean 'learning_rate'?" in message
    assert "'rr' is not a field of peft.LoraConfig" in message


def test_a_typo_deep_inside_names_the_keys_known_there(tmp_path: Path) -> None:
    message = fault(tmp_path, RECIPE + "evaluation: {n_botstrap: 500}")
    assert "evaluation.n_botstrap: unknown key; did you mean 'n_bootstrap'?" in message
    assert "min_patients" in message


def test_a_mix_that_names_no_arm_is_refused_with_the_arms_there_are(tmp_path: Path) -> None:
    message = fault(tmp_path, RECIPE.replace("gold_dualalign", "gold_unguided"))
    assert "mixes.gold_unguided: origin 'unguided' is no arm of this recipe" in message
    assert "known: gold, dualalign" in message


def test_an_unknown_mix_lists_the_shipped_ones(tmp_path: Path) -> None:
    assert "no mix 'golden'; did you mean 'gold'?" in fault(tmp_path, RECIPE.replace("[gold,", "[golden,"))


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            "[{origin: gold, share: 0.5}, {origin: dualalign, share: 0.4}]",
            "shares add up to 0.9; they must add up to 1",
        ),
        ("[{origin: gold, share: 0.5, count: 3}]", "give exactly one of share, repeat, count; found share and count"),
        ("[{origin: gold}]", "give exactly one of share, repeat, count; found none"),
        ("[{origin: gold, share: 1}, {origin: gold, repeat: 1}]", "sources name gold twice"),
        ("[{origin: gold, share: 1}, {origin: dualalign, repeat: 1}]", "use share for all of them or for none"),
    ],
)
def test_a_mix_whose_sizes_make_no_sense_is_refused(tmp_path: Path, sources: str, message: str) -> None:
    (tmp_path / "odd.yaml").write_text(f"sources: {sources}\n")
    assert message in fault(tmp_path, RECIPE.replace("mixes: [gold, gold_dualalign]", "mixes: [odd.yaml]"))


def test_an_override_goes_through_the_same_schema(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE)
    assert load_recipe(path, ["training.train_seeds=3"]).file.training.train_seeds == 3
    assert "training.train_seds: unknown key; did you mean 'train_seeds'?" in fault(
        tmp_path, RECIPE, "training.train_seds=3"
    )
    assert "write key=value" in fault(tmp_path, RECIPE, "training.train_seeds")


def test_what_the_harness_owns_cannot_be_set_through_sft(tmp_path: Path) -> None:
    message = fault(tmp_path, RECIPE + "training: {sft: {max_steps: 5}}")
    assert "'max_steps' is set by the harness: use training.budget.size" in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sees: [label, persona, trajectory], ", "", "give exactly one of sees (generate) and path"),
        ("sees: [label, persona, trajectory]", "sees: [persona]", "sees must hold label"),
        (", backend: {kind: embedded}", "", "a generated arm needs a backend"),
        ("kind: embedded", "kind: embeded", "embeded"),
        (
            "sees: [label, persona, trajectory], n_sentences: 8, backend: {kind: embedded}",
            "path: mine.jsonl",
            "no file mine.jsonl",
        ),
        ("task: alzheimers", "task: parkinson", "no task 'parkinson'; shipped tasks: alzheimers"),
    ],
)
def test_a_faulty_arm_or_task_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in fault(tmp_path, RECIPE.replace(old, new))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"task: [unclosed", "is not valid YAML"),
        (b"- a list", "found list; expected a mapping"),
        (b"task: caf\xe9", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_recipe(path)


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "gold.jsonl").write_text("{}\n")
    recipe = load_recipe(write(tmp_path, RECIPE + "gold: {path: gold.jsonl}"))
    assert recipe.file.gold.path == tmp_path / "gold.jsonl"


def test_a_price_table_must_know_every_model_behind_a_server(tmp_path: Path) -> None:
    server = "{kind: openai_api, base_url: http://localhost:1/v1, model: %s}"
    text = RECIPE.replace("{kind: embedded}", server % "writer") + (
        f"annotation: {{labels: llm, backend: {server % 'reader'}}}\nspending: {{max_usd: 5, prices: p.csv}}\n"
    )
    assert "spending.prices: " in fault(tmp_path, text)
    head = "model,usd_per_million_prompt_tokens,usd_per_million_completion_tokens\n"
    (tmp_path / "p.csv").write_text(head + "reeder,1,2\n")
    message = fault(tmp_path, text)
    assert "no row for model 'writer'; found: reeder" in message
    assert "no row for model 'reader'; did you mean 'reeder'?" in message
    (tmp_path / "p.csv").write_text(head + "reader,1,2\nwriter,1,2\n")
    assert load_recipe(write(tmp_path, text)).file.spending.prices == (tmp_path / "p.csv").resolve()
    assert "max_usd needs prices" in fault(tmp_path, RECIPE + "spending: {max_usd: 5}")


def test_a_subgroup_that_gold_cannot_have_is_refused_before_anything_runs(tmp_path: Path) -> None:
    message = fault(tmp_path, RECIPE + "evaluation: {subgroups: [sex, race]}")
    assert "evaluation.subgroups: unknown variable 'race'; known: sex, age_band, race_ethnicity, stage; " in message
    message = fault(tmp_path, RECIPE + "gold: {levels: {gender: {F: female}, sex: {F: femal, M: male}}}")
    assert "gold.levels: unknown variable 'gender'; known: sex, " in message
    assert "gold.levels.sex: unknown level 'femal'; did you mean 'female'?; allowed: female, male, unknown" in message


def test_a_fault_of_the_split_is_told_once_and_in_our_words(tmp_path: Path) -> None:
    message = fault(tmp_path, RECIPE + "gold: {split: {train: 0.6, validation: 0.3, test: 0.2}}")
    assert message.splitlines()[1:] == [
        "  - gold.split: train, validation and test add up to 1.1; they must add up to 1"
    ]
    message = fault(tmp_path, RECIPE + "gold: {split: columns}")
    assert "gold.split: found 'columns'; allowed: column, or shares such as {train: 0.6, " in message


def test_an_empty_recipe_is_called_empty(tmp_path: Path) -> None:
    assert fault(tmp_path, "").endswith("mine.yaml: is empty; expected a mapping of keys to values")


def test_the_known_keys_stand_apart_from_an_unknown_one(tmp_path: Path) -> None:
    assert "zzz: unknown key; known: annotation, arms, " in fault(tmp_path, RECIPE + "zzz: 1")


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ("{id: a, name: a, definition: x}", ["labels.values: found 1; at least 2 must be given"]),
        (
            "{id: a, name: a}, {id: b, name: b, definition: x}",
            ["labels.values.0.definition: missing; this key is required"],
        ),
    ],
)
def test_labels_are_counted_as_they_are_given(tmp_path: Path, values: str, faults: list[str]) -> None:
    (tmp_path / "toy").mkdir()
    text = f"{{id: toy, version: 1, title: Toy, disease: toys, labels: {{values: [{values}]}}}}"
    (tmp_path / "toy" / "task.yaml").write_text(text)
    assert fault(tmp_path, RECIPE.replace("alzheimers", "toy")).splitlines()[1:] == [f"  - {one}" for one in faults]
