import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.alignment.stage import units
from harness.errors import ConfigError
from harness.schemas.recipe import Recipe
from harness.schemas.tables import MENTIONS, PERSONAS, VISITS
from harness.store import Run, fingerprint, hash_inputs, read_rows, read_table, sha256_file

TABLES = {"personas": PERSONAS, "visits": VISITS, "mentions": MENTIONS}
BOTH = {"sees": ["label", "persona", "trajectory"], "n_sentences": 8, "n_personas": 6}


def run_alignment(recipe: Recipe, folder: Path) -> Path:
    folder.mkdir(parents=True)
    units(Run(recipe=recipe, folder=folder))[0].work(folder)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_file(folder / f"{name}.parquet") for name in TABLES}


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> None:
    first = hashes(run_alignment(make_recipe({"both": BOTH}), tmp_path / "a"))
    assert first == hashes(run_alignment(make_recipe({"both": BOTH}), tmp_path / "b"))
    assert first != hashes(run_alignment(make_recipe({"both": BOTH}, seed=8), tmp_path / "c"))


def test_there_are_as_many_personas_as_the_neediest_arm_wants(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    def wanted(arms: dict[str, dict[str, object]]) -> int:
        return units(Run(recipe=make_recipe(arms), folder=tmp_path))[0].settings["n_personas"]

    sees = ["label", "persona"]
    assert wanted({"one": {"sees": sees, "n_sentences": 8}}) == 20
    assert wanted({"one": {"sees": sees, "n_sentences": 161}}) == 41
    assert wanted({"one": {"sees": sees, "n_sentences": 161}, "two": {"sees": sees, "n_personas": 50}}) == 50
    assert wanted({"blind": {"sees": ["label"], "n_sentences": 4000}}) == 0
    assert wanted({"plan": {"sees": ["label"], "labels": "trajectory", "n_sentences": 100}}) == 25


def test_no_arm_that_sees_anything_means_empty_tables(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> None:
    folder = run_alignment(make_recipe({"blind": {"sees": ["label"]}}), tmp_path / "out")
    assert [read_table(folder / f"{name}.parquet", spec).num_rows for name, spec in TABLES.items()] == [0, 0, 0]


def test_another_persona_changes_no_history(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> None:
    few = run_alignment(make_recipe({"both": BOTH}), tmp_path / "few")
    more = run_alignment(make_recipe({"both": {**BOTH, "n_personas": 7}}), tmp_path / "more")
    for name in ("visits", "mentions"):
        rows = read_rows(few / f"{name}.parquet", TABLES[name])
        ids = {row["persona_id"] for row in rows}
        assert len(ids) == 6
        assert [row for row in read_rows(more / f"{name}.parquet", TABLES[name]) if row["persona_id"] in ids] == rows


def test_a_task_without_a_trajectory_gives_personas_alone(
    tmp_path: Path, task_folder: Path, make_recipe: Callable[..., Recipe]
) -> None:
    content = yaml.safe_load((task_folder / "task.yaml").read_text(encoding="utf-8"))
    (task_folder / "task.yaml").write_text(yaml.safe_dump({**content, "trajectory": None}), encoding="utf-8")
    folder = run_alignment(make_recipe({"one": {"sees": ["label", "persona"], "n_personas": 20}}), tmp_path / "out")
    assert [read_table(folder / f"{name}.parquet", spec).num_rows for name, spec in TABLES.items()] == [20, 0, 0]


def test_a_task_without_a_population_gives_histories_alone(
    tmp_path: Path, task_folder: Path, make_recipe: Callable[..., Recipe]
) -> None:
    content = yaml.safe_load((task_folder / "task.yaml").read_text(encoding="utf-8"))
    (task_folder / "task.yaml").write_text(yaml.safe_dump({**content, "population": None}), encoding="utf-8")
    arm = {"sees": ["label", "trajectory"], "n_personas": 3}
    folder = run_alignment(make_recipe({"one": arm}), tmp_path / "out")
    assert read_table(folder / "personas.parquet", PERSONAS).num_rows == 0
    assert len({row["persona_id"] for row in read_rows(folder / "visits.parquet", VISITS)}) == 3


def test_held_out_patients_change_nothing(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> None:
    """Poison every held-out sentence: neither the tables nor what decides their freshness may notice."""
    outcome = []
    for name, poison in (("clean", ""), ("poisoned", " ZEBRA falls falls falls")):
        gold = tmp_path / "gold.jsonl"
        rows = [
            {"patient_id": f"p{index}", "text": f"Sentence {index}.{poison if index > 5 else ''}",
             "label": "other" if index > 5 and poison else "cognitive_impairment", "age_years": 65,
             "split": "train" if index < 6 else "test"}
            for index in range(12)
        ]  # fmt: skip
        gold.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        recipe = make_recipe({"both": BOTH}, gold={"path": str(gold), "split": "column"})
        run = Run(recipe=recipe, folder=tmp_path / name)
        unit = units(run)[0]
        print_before = fingerprint(run, unit, hash_inputs(run, unit.inputs))
        outcome.append((hashes(run_alignment(recipe, tmp_path / name)), print_before))
    assert outcome[0] == outcome[1]


def test_a_level_that_the_task_does_not_have_is_refused(
    tmp_path: Path, task_folder: Path, make_recipe: Callable[..., Recipe]
) -> None:
    path = task_folder / "population.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("    male: {v: 0.39", "    men: {v: 0.39"), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"margins\.sex: unknown level of the task 'men'"):
        run_alignment(make_recipe({"both": BOTH}), tmp_path / "out")


def test_targets_that_contradict_each_other_are_named_with_their_file(
    tmp_path: Path, task_folder: Path, make_recipe: Callable[..., Recipe]
) -> None:
    path = task_folder / "population.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["conditional_shares"]["female_by_age_band"]["values"]["85+"] = 0.9
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        run_alignment(make_recipe({"both": BOTH}), tmp_path / "out")
    assert str(raised.value).startswith(
        f"{path}: targets contradict each other: conditional_shares.female_by_age_band mixes to 0.6926 of female"
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_what_no_arm_needs_is_not_read(tmp_path: Path, task_folder: Path, make_recipe: Callable[..., Recipe]) -> None:
    """A copied disease with other age bands, whose population and trajectory nobody has adapted."""
    for name in ("population.yaml", "trajectory.yaml"):
        (task_folder / name).write_text("adapted: no\n", encoding="utf-8")
    run = Run(recipe=make_recipe({"blind": {"sees": ["label"]}}), folder=tmp_path / "run")
    assert units(run)[0].inputs == []
    run_alignment(run.recipe, tmp_path / "out")
    for sees in (["label", "persona"], ["label", "trajectory"]):
        with pytest.raises(ConfigError, match="adapted: unknown key"):
            make_recipe({"one": {"sees": sees}})
    with pytest.raises(ConfigError, match=r"trajectory.yaml(?s:.*)adapted: unknown key"):
        make_recipe({"one": {"sees": ["label"], "labels": "trajectory"}})
