"""Private releases: the budget is split as stated, noise is of the stated size, and nothing is spent twice."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structured_toys import estimate, people, population_of, toy_run, write_csv

from harness.cohort.structured.counts import Counts
from harness.cohort.structured.ledger import draw_once
from harness.cohort.structured.privacy import draw, from_answers, plan
from harness.cohort.structured.unit import LEDGER
from harness.errors import ConfigError, DataError
from harness.pipeline import run_recipe
from harness.schemas.tables import POPULATION
from harness.store import read_rows

LEVELS = {"sex": ("female", "male"), "band": ("young", "middle", "old"), "group": ("a", "b")}
TABLE: dict[str, Any] = {
    "kind": "table",
    "path": "patients.csv",
    "risk_factors": {"hypertension": "hypertension", "diabetes": "diabetes"},
    "privacy": {"epsilon": 2.0},
}


def counts_of(tables: dict[tuple[str, str], list[list[float]]], carriers: dict[str, float]) -> Counts:
    pairs = {pair: np.array(table, dtype=float) for pair, table in tables.items()}
    return Counts(n=600, levels=LEVELS, margins={}, pairs=pairs, carriers=carriers, carriers_by={}, carriers_both={})


EXACT = counts_of(
    {
        ("sex", "band"): [[100, 100, 150], [100, 100, 50]],
        ("sex", "group"): [[250, 100], [150, 100]],
        ("band", "group"): [[130, 70], [130, 70], [140, 60]],
    },
    {"f": 300.0, "g": 60.0},
)


def test_the_parts_of_the_budget_add_up_to_it() -> None:
    queries = {query.name: query for query in plan(1.5, LEVELS, ["f", "g"])}
    assert sum(query.epsilon for query in queries.values()) == pytest.approx(1.5)
    # 0.6 x 1.5 over three tables of which one person is in one cell; 0.4 x 1.5 for two factors of one person
    assert queries["sex x band"].epsilon == pytest.approx(0.3)
    assert queries["sex x band"].scale == pytest.approx(1 / 0.3)
    assert queries["risk_factors"].scale == pytest.approx(2 / 0.6)
    assert sum(query.epsilon for query in plan(1.5, LEVELS, [])) == pytest.approx(1.5)


def test_noise_has_the_stated_size_and_differs_from_draw_to_draw() -> None:
    queries = plan(3.0, LEVELS, ["f", "g"])  # scale 5 / 3 in the tables, 5 / 3 for the factors
    draws = [draw(EXACT, queries)["sex x band"] for _ in range(120)]
    noise = np.array(draws, dtype=float) - EXACT.pairs["sex", "band"].ravel()
    # discrete Laplace of scale s: variance 2 p / (1 - p)^2 with p = exp(-1 / s); 5.39 for s = 5 / 3
    p = np.exp(-3 / 5)
    expected = 2 * p / (1 - p) ** 2
    assert noise.var() == pytest.approx(expected, rel=0.5)  # 720 draws: a standard error of about 8% at kurtosis 6
    assert abs(noise.mean()) < 6 * np.sqrt(expected / noise.size)
    assert len({tuple(one) for one in draws}) > 100


def test_noisy_tables_become_counts_of_one_population() -> None:
    queries = plan(1.0, LEVELS, ["f", "g"])
    found = from_answers(draw(EXACT, queries), LEVELS, ["f", "g"])
    for (a, b), table in found.pairs.items():
        assert table.sum() == pytest.approx(found.n)
        assert table.sum(axis=1) == pytest.approx(found.margins[a])
        assert table.sum(axis=0) == pytest.approx(found.margins[b])
        assert (table >= 0).all()
    assert found.n == pytest.approx(600, abs=60)


def test_post_processing_clamps_what_noise_made_impossible() -> None:
    answers = {"sex x band": [-4, 100, 150, 100, 100, 50], "sex x group": [250, 100, 150, 100],
               "band x group": [130, 70, 130, 70, 140, 60], "risk_factors": [-3, 9999]}  # fmt: skip
    found = from_answers(answers, LEVELS, ["f", "g"])
    assert found.carriers == {"f": 0.0, "g": found.n}
    assert found.pairs["sex", "band"][0, 0] == 0
    drowned = {**answers, "sex x group": [-250, -100, -150, -100]}
    with pytest.raises(DataError, match="the noise drowned the counts"):
        from_answers(drowned, LEVELS, ["f", "g"])


def test_the_budget_and_its_parts_stand_in_the_file_and_exact_counts_do_not(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(500))
    folder = estimate(toy_run(tmp_path, TABLE))
    found = population_of(folder)
    privacy = found["evidence"]["privacy"]
    assert privacy["epsilon"] == 2.0
    assert sum(privacy["epsilon_by_query"].values()) == pytest.approx(2.0, rel=1e-5)
    assert set(privacy["epsilon_by_query"]) == {
        "age_band x sex", "age_band x race_ethnicity", "sex x race_ethnicity", "risk_factors",
    }  # fmt: skip
    assert "risk_factor_prevalence" not in found
    assert found["risk_factor_ratios"]["sex"]["hypertension"]["src"] == "own"  # the task's own stands
    rows = read_rows(folder / "cells.parquet", POPULATION)
    noisy = [row["n"] for row in rows if row["variable"] == "age_band x sex"]
    again = estimate(toy_run(tmp_path / "again", {**TABLE, "path": str(tmp_path / "patients.csv")}))
    other = [row["n"] for row in read_rows(again / "cells.parquet", POPULATION) if row["variable"] == "age_band x sex"]
    assert noisy != other  # another run folder has another ledger, hence another draw


def test_a_release_is_drawn_once_and_a_used_up_budget_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(500))
    run = toy_run(tmp_path, TABLE)
    first = list(run_recipe(run.recipe, run.folder, only="cohort"))
    path = run.path("cohort", "population", "population.yaml")
    text = path.read_text(encoding="utf-8")
    assert first[-1].manifest.counts.notes["epsilon"] == pytest.approx(2.0)
    assert [one.skipped for one in run_recipe(run.recipe, run.folder, only="cohort")] == [True, True]
    list(run_recipe(run.recipe, run.folder, only="cohort", force=True))  # the same question: the same answers, for free
    assert path.read_text(encoding="utf-8") == text
    ledger = json.loads((run.folder / LEDGER).read_text(encoding="utf-8"))
    assert [release["epsilon"] for release in ledger["releases"]] == [pytest.approx(2.0)]
    # other counts (a factor fewer) are another question of the same people
    other = toy_run(tmp_path, {**TABLE, "risk_factors": {"diabetes": "diabetes"}})
    with pytest.raises(
        ConfigError,
        match="the privacy budget is used up: found 1 release.* cost 2 together, and this one needs 2; allowed in all: 2 ",
    ):
        list(run_recipe(other.recipe, other.folder, only="cohort"))
    assert not path.exists()
    affordable = toy_run(
        tmp_path, {**TABLE, "risk_factors": {"diabetes": "diabetes"}, "privacy": {"epsilon": 2.0, "total_epsilon": 4.0}}
    )
    list(run_recipe(affordable.recipe, affordable.folder, only="cohort"))
    assert population_of(path.parent)["evidence"]["privacy"]["epsilon_spent_in_all"] == pytest.approx(4.0)


def test_recipes_can_share_a_ledger(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(500))
    shared = {"epsilon": 2.0, "ledger": str(tmp_path / "ledger.json")}
    estimate(toy_run(tmp_path / "a", {**TABLE, "path": str(tmp_path / "patients.csv"), "privacy": shared}))
    other = {
        **TABLE,
        "path": str(tmp_path / "patients.csv"),
        "privacy": {**shared, "epsilon": 1.0, "total_epsilon": 2.5},
    }
    with pytest.raises(ConfigError, match="the privacy budget is used up"):
        estimate(toy_run(tmp_path / "b", other))


def test_nothing_is_drawn_when_the_budget_is_used_up_and_nothing_is_charged_when_drawing_fails(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    drawn: list[int] = []

    def answer() -> dict[str, list[int]]:
        drawn.append(1)
        return {"q": [7]}

    def fail() -> dict[str, list[int]]:
        raise DataError("no noise today")

    with pytest.raises(DataError, match="no noise today"):
        draw_once(path, release_id="x", queries={"q": 1.0}, total_epsilon=1.0, draw=fail)
    release, ledger = draw_once(path, release_id="a", queries={"q": 1.0}, total_epsilon=1.0, draw=answer)
    assert (release.answers, ledger.spent) == ({"q": (7,)}, 1.0)
    with pytest.raises(ConfigError, match="used up"):
        draw_once(path, release_id="b", queries={"q": 0.1}, total_epsilon=1.0, draw=answer)
    assert draw_once(path, release_id="a", queries={"q": 1.0}, total_epsilon=1.0, draw=answer)[0] == release
    assert len(drawn) == 1


def test_a_broken_ledger_is_no_fresh_start(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_text('{"releases": [', encoding="utf-8")
    with pytest.raises(DataError, match="not a readable privacy ledger"):
        draw_once(path, release_id="a", queries={"q": 1.0}, total_epsilon=1.0, draw=lambda: {"q": [1]})


def test_a_total_below_one_release_is_refused_on_load(tmp_path: Path) -> None:
    write_csv(tmp_path / "patients.csv", people(60))
    with pytest.raises(ConfigError, match="total_epsilon 1 is below epsilon 2: no release fits"):
        toy_run(tmp_path, {**TABLE, "privacy": {"epsilon": 2.0, "total_epsilon": 1.0}})


def test_without_opendp_the_extra_is_named_and_nothing_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "patients.csv", people(200))
    run = toy_run(tmp_path, TABLE)
    monkeypatch.setitem(sys.modules, "opendp.prelude", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"cohort.privacy needs opendp, .* pip install -e '.\[cohort\]'"):
        estimate(run)
    assert not (run.folder / LEDGER).exists()
