from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import ConfigError, DataError
from harness.metrics.power import detectable
from harness.metrics.uncertainty import Spread
from harness.planning.power import Guess, from_guess, from_pilot, power_lines
from harness.schemas.recipe import load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.tables import CONTRASTS
from harness.store import Run, write_table

RECIPE = shipped("recipes") / "quickstart.yaml"


def contrast(se_patients: float | None, **changes: Any) -> dict[str, Any]:
    told = se_patients is not None
    row = {"mix_a": "gold_dualalign", "mix_b": "gold", "learner": "llm", "metric": "macro_f1", "class": "all",
           "subgroup_variable": "overall", "subgroup_level": "all", "difference": 0.01, "se_patients": se_patients,
           "se_seeds": 0.0 if told else None, "seeds_taken_off": 0.0 if told else None,
           "df_patients": 39.0 if told else None, "n_patients": 40, "n_train_seeds": 1,
           "status": "ok"}  # fmt: skip
    return row | changes


def pilot(folder: Path, rows: list[dict[str, Any]]) -> Path:
    recipe = load_recipe(RECIPE)
    write_table(Run(recipe=recipe, folder=folder).path("evaluation", "contrasts.parquet"), rows, CONTRASTS)
    return folder


def test_a_pilot_tells_overall_and_by_level_by_its_vaguest_mix(tmp_path: Path) -> None:
    rows = [
        contrast(0.02),
        contrast(0.03, mix_a="gold_unguided"),
        contrast(0.09, metric="accuracy"),
        contrast(0.09, learner="tfidf"),
        contrast(0.09, mix_a="(statistical)", mix_b="(2 x 2)"),
        contrast(0.09, subgroup_variable="sex", subgroup_level="(interaction)"),
        contrast(0.05, subgroup_variable="sex", subgroup_level="female", n_patients=21),
        contrast(None, subgroup_variable="sex", subgroup_level="male", status="insufficient", difference=None),
    ]
    places = from_pilot(load_recipe(RECIPE), pilot(tmp_path, rows))
    assert [(place.where, place.n_patients, place.spread.patients) for place in places] == [
        ("overall", 40, 0.03),
        ("sex: female", 21, 0.05),
    ]


def test_the_command_prints_what_the_formula_says(tmp_path: Path) -> None:
    folder = pilot(tmp_path, [contrast(0.02)])
    done = CliRunner().invoke(app, ["power", str(RECIPE), "--run-dir", str(folder), "--difference", "0.03"])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].split() == [
        *("where", "patients", "detectable"),
        *("patients", "needed", "seeds", "needed"),
    ]
    cells = done.stdout.splitlines()[1].split()
    assert cells[:3] == ["overall", "40", f"{detectable(Spread(0.02, 0.0, 39, 0)):.3f}"]
    # (1.96 + 0.84) * 0.02 * sqrt(40 / n) = 0.03 at n = 139 with normal quantiles, a few more with those of t
    assert 139 <= int(cells[3]) <= 143
    assert cells[4] == "-"
    assert "one train seed shows nothing" in done.stdout


def test_guesses_need_no_run() -> None:
    [place] = from_guess(Guess(patient_sd=0.3, seed_sd=0.01, n_patients=50, n_seeds=4))
    assert place.spread == Spread(0.3 / 50**0.5, 0.005, 49, 3)
    lines = list(power_lines([place], confidence=0.95, difference=None))
    assert lines[0].split() == ["where", "patients", "detectable"]
    assert "4 train seeds" in lines[-1]


def test_what_is_missing_or_wrong_is_said(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE)
    with pytest.raises(DataError, match="run `harness evaluate RECIPE` first, or give --patient-sd and --patients"):
        from_pilot(recipe, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no difference of two mixes in macro_f1 with a standard error"):
        from_pilot(recipe, pilot(tmp_path, [contrast(None)]))
    for options, message in (
        (["--patient-sd", "0.3"], "--patient-sd and --patients: give both"),
        (["--difference", "0"], "--difference: found 0; it must be above 0"),
        (["--patient-sd", "0.3", "--patients", "9", "--seed-sd", "-1"], "--seed-sd: found -1"),
    ):
        done = CliRunner().invoke(app, ["power", str(RECIPE), *options])
        assert isinstance(done.exception, ConfigError)
        assert message in str(done.exception)
