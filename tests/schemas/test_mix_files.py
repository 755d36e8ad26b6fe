from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.errors import ConfigError
from harness.schemas.mix import Mix, Source, load_mix
from harness.schemas.recipe import load_recipe
from harness.schemas.shipped import shipped

MIXES = sorted(shipped("data_mixes").glob("*.yaml"))
HALF_GOLD = "{origin: gold, share: 0.5}"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with one arm, `mine`, that trains on data_mixes/mix.yaml (written by the test)."""
    labels = {"values": [{"id": name, "name": name, "definition": name} for name in ("yes", "no")]}
    task = {"id": "toy", "version": 1, "title": "Toy", "disease": "d", "labels": labels}
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "task.yaml").write_text(yaml.safe_dump(task))
    (tmp_path / "data_mixes").mkdir()
    for name in ("gold.jsonl", "mine.jsonl"):
        (tmp_path / name).touch()
    path = tmp_path / "recipe.yaml"
    path.write_text("{task: toy, seed: 1, gold: {path: gold.jsonl}, arms: {mine: {path: mine.jsonl}}, mixes: [mix]}")
    return path


def fault(recipe: Path, sources: str) -> str:
    (recipe.parent / "data_mixes" / "mix.yaml").write_text(f"sources: [{sources}]")
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    return str(caught.value)


@pytest.mark.parametrize("path", MIXES, ids=lambda path: path.stem)
def test_every_shipped_mix_loads_and_says_what_it_asks(path: Path) -> None:
    mix = load_mix(path)
    assert mix.name == path.stem
    assert path.read_text().startswith("# What ")
    assert mix.budget.size is None  # at the budget of the recipe, so that mixes compare
    assert set(mix.origins) == set(path.stem.split("_"))


def test_the_mixes_of_the_ablation_are_shipped() -> None:
    names = {"gold", "gold_unguided", "gold_statistical", "gold_semantic", "gold_dualalign", "unguided", "dualalign"}
    assert {path.stem for path in MIXES} >= names


def test_the_exchange_rate_asks_every_arm_at_every_point_of_the_curve() -> None:
    mixes = {mix.name: mix for mix in load_recipe(shipped("recipes") / "exchange_rate.yaml").mixes}
    shares = {"gold_10": 0.1, "gold_25": 0.25, "gold_50": 0.5, "gold": None}
    assert set(mixes) == {f"{point}{arm}" for point in shares for arm in ("", "_unguided", "_dualalign")}
    for name, mix in mixes.items():
        point = name.removesuffix("_unguided").removesuffix("_dualalign")
        assert [source.patients for source in mix.sources if source.origin == "gold"] == [shares[point]]
        assert mix.budget.size is None  # at the budget of the recipe, so that points compare
    assert all(path.read_text().startswith("# What ") for path in shipped("data_mixes").glob("exchange_rate/*.yaml"))


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (f"{HALF_GOLD}, {{origin: mine, share: 0.6}}", "shares add up to 1.1; they must add up to 1"),
        (f"{HALF_GOLD}, {{origin: mine, repeat: 1}}", "some sources have a share and others do not"),
        (f"{HALF_GOLD}, {HALF_GOLD}", "sources name gold twice; give each origin once"),
        ("{origin: mine}", "give exactly one of share, repeat, count; found none"),
        ("{origin: mine, share: 1, count: 3}", "give exactly one of share, repeat, count; found share and count"),
        ("{origin: mine, weight: 1}", "sources.0.weight: unknown key"),
        ("{origin: mine, count: 0}", "sources.0.count: found 0; input should be greater than 0"),
        ("{origin: gold, share: 1, patients: 0}", "sources.0.patients: found 0; input should be greater than 0"),
        ("{origin: gold, share: 1, patients: 25}", "sources.0.patients: found 25; input should be less than or equal"),
        (
            "{origin: mine, share: 1, patients: 0.5}",
            "patients is a share of the patients in training gold, but this source is 'mine'; use count or repeat",
        ),
        ("{origin: mind, share: 1}", "origin 'mind' is no arm of this recipe; did you mean 'mine'?"),
    ],
)
def test_a_mix_that_cannot_be_drawn_is_refused_before_anything_runs(recipe: Path, sources: str, message: str) -> None:
    assert message in fault(recipe, sources)


@pytest.mark.parametrize(
    ("origins", "regime"),
    [(("gold",), "TRTR"), (("mine",), "TSTR"), (("mine", "other"), "TSTR"), (("mine", "gold"), "augmented")],
)
def test_the_regime_says_what_is_learned_from(origins: tuple[str, ...], regime: str) -> None:
    assert Mix(name="m", sources=tuple(Source(origin=one, repeat=1) for one in origins)).regime == regime


def test_several_faults_of_a_mix_come_together(recipe: Path) -> None:
    message = fault(recipe, "{origin: gold, shear: 0.5}, {origin: mine, count: -1}")
    assert "sources.0.shear: unknown key; did you mean 'share'?" in message
    assert "sources.1.count: found -1" in message


def test_a_budget_without_a_size_must_be_in_the_unit_of_the_recipe(recipe: Path) -> None:
    mix = recipe.parent / "data_mixes" / "mix.yaml"
    mix.write_text("{sources: [{origin: gold, share: 1}], budget: {unit: epochs}}")
    with pytest.raises(ConfigError, match="mixes.mix: budget.unit is epochs without a size, .* counts updates"):
        load_recipe(recipe)
    loaded = load_recipe(recipe, ["training.budget={unit: epochs, size: 2}"])
    assert (loaded.budget(loaded.mixes[0]).unit, loaded.budget(loaded.mixes[0]).size) == ("epochs", 2)
    mix.write_text("{sources: [{origin: gold, share: 1}], budget: {unit: supervised_tokens, size: 900}}")
    loaded = load_recipe(recipe)
    assert (loaded.budget(loaded.mixes[0]).unit, loaded.budget(loaded.mixes[0]).size) == ("supervised_tokens", 900)
