"""What `harness validate` reads of gold and of arms that are files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import ConfigError, DataError
from harness.planning import rows
from harness.planning.prompts import write_prompts
from harness.planning.rows import check_rows
from harness.schemas.recipe import Recipe, load_recipe

TASK = {
    "id": "toy", "version": 1, "title": "Toy", "disease": "a toy disease",
    "labels": {"values": [{"id": one, "name": one, "definition": f"About {one}."} for one in ("falls", "pain")]},
    "subgroups": {"sex": {"title": "Sex", "levels": {"female": "Women", "male": "Men"}}},
}  # fmt: skip
GOLD = [(f"p{p}", f"Sentence {s} of patient {p}.", ("falls", "pain")[s], "female") for p in range(10) for s in range(2)]
ARM = [("Fell on the stairs.", "falls"), ("Her knee aches.", "pain")]


def write_csv(path: Path, header: str, cells: list[tuple[str, ...]]) -> None:
    path.write_text("\n".join([header, *(",".join(row) for row in cells)]), encoding="utf-8")


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "task.yaml").write_text(yaml.safe_dump(TASK), encoding="utf-8")
    (tmp_path / "gold_ours.yaml").write_text("sources: [{origin: gold, share: 0.5}, {origin: ours, share: 0.5}]")
    content = {
        "task": "toy", "seed": 1, "gold": {"path": "gold.csv"}, "arms": {"ours": {"path": "ours.csv"}},
        "mixes": ["gold_ours.yaml"],
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    write_csv(tmp_path / "gold.csv", "patient_id,text,label,sex", GOLD)
    write_csv(tmp_path / "ours.csv", "text,label", ARM)
    return tmp_path / "recipe.yaml"


@pytest.fixture
def recipe(recipe_path: Path) -> Recipe:
    return load_recipe(recipe_path)


def test_faults_of_gold_and_arms_come_together_with_file_and_row(recipe: Recipe, tmp_path: Path) -> None:
    write_csv(tmp_path / "gold.csv", "patient_id,text,label,sex", [*GOLD, ("p1", "Unwell.", "pane", "female")])
    write_csv(tmp_path / "ours.csv", "text,label", [*ARM, ("Slipped.", "fall")])
    with pytest.raises(DataError) as raised:
        check_rows(recipe)
    assert str(raised.value).splitlines() == [
        f"{tmp_path / 'gold.csv'}: 1 fault",
        "  - row 22, column 'label': found 'pane'; did you mean 'pain'?; allowed: falls, pain",
        f"{tmp_path / 'ours.csv'}: 1 fault",
        "  - row 4, column 'label': found 'fall'; did you mean 'falls'?; allowed: falls, pain",
    ]


def test_validate_says_what_the_files_hold_and_what_others_are_compared_with(recipe_path: Path) -> None:
    told = CliRunner().invoke(app, ["validate", str(recipe_path)]).stdout
    assert "\n  reference    gold_ours (no mix named gold)\n" in told
    assert "\n  rows         gold: 20 sentences of 10 patients (6 train, 2 validation, 2 test)\n" in told
    assert "\n  rows         ours: 2 sentences from ours.csv\n" in told
    assert "\n  warning      gold: 2 test patients, but evaluation.min_patients is 5" in told


def test_a_large_file_is_left_to_the_stage_that_reads_it(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_BYTES", (tmp_path / "ours.csv").stat().st_size)
    told = CliRunner().invoke(app, ["validate", str(recipe_path)]).stdout
    assert "gold.csv: too large to be read here; `harness cohort RECIPE` checks them" in told
    assert "ours: 2 sentences" in told


def test_a_recipe_whose_arms_are_files_has_no_prompts(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no arm of this recipe writes sentences"):
        write_prompts(recipe, tmp_path / "run", tmp_path / "prompts")
