"""The fidelity unit over a small run: real gold, real personas and plan, invented sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from harness import seeds
from harness.alignment import stage as alignment
from harness.cohort import stage as cohort
from harness.errors import ConfigError
from harness.evaluation import stage as evaluation
from harness.evaluation.fidelity import fidelity_units
from harness.evaluation.fidelity_read import Reader, read_target
from harness.metrics.fidelity import MEASURES
from harness.pipeline import run_unit
from harness.schemas.population import load_population
from harness.schemas.recipe import load_recipe
from harness.schemas.tables import AUDIT, FIDELITY, GOLD, PERSONAS, PLANNED, SENTENCES, SYNTHETIC, VISITS
from harness.store import Run, read_rows, read_table, write_table

ARMS: dict[str, dict[str, Any]] = {
    "plain": {"sees": ["label"]},
    "aligned": {"sees": ["label", "persona", "trajectory"], "n_personas": 6},
    "notes": {
        "sees": ["label", "persona", "trajectory"],
        "n_personas": 6,
        "unit": "note",
        "sampling": {"max_new_tokens": 512},
    },
}
Place = tuple[str, str, str, str]


def make_recipe(folder: Path, arms: tuple[str, ...], **settings: Any) -> Path:
    mix = {"sources": [{"origin": "gold", "repeat": 1}, *({"origin": arm, "repeat": 1} for arm in arms)]}
    (folder / "all.yaml").write_text(yaml.safe_dump(mix), encoding="utf-8")
    content = {
        "task": "alzheimers",
        "seed": 5,
        "arms": {arm: {**ARMS[arm], "backend": {"kind": "embedded"}} for arm in arms},
        "mixes": ["all.yaml"],
        "evaluation": {"n_bootstrap": 100},
        "fidelity": {"embedding": "tfidf", "max_sentences": 60, "diversity_sample": 30, **settings},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def write_arm(run: Run, arm: str) -> None:
    """Forty sentences that hold their lexicon term; of an arm of notes, forty notes of one sentence each."""
    rng = seeds.generator(3, "toy-arm", arm)
    personas = read_rows(run.path("alignment", "personas.parquet"), PERSONAS)
    visits = read_rows(run.path("alignment", "visits.parquet"), VISITS)
    aligned = "persona" in (run.recipe.arms[arm].sees or ())
    synthetic, sentences, planned = [], [], []
    for index in range(40):
        term = run.task.lexicon[int(rng.integers(len(run.task.lexicon)))]
        text = f"Since visit {index} of {arm} the neighbour has noticed {term.term} most days."
        shown: dict[str, Any] = {"persona_id": None, "stage": None}
        visit_index = None
        if aligned:
            visit = visits[int(rng.integers(len(visits)))]
            persona = next(one for one in personas if one["persona_id"] == visit["persona_id"])
            shown = {name: persona[name] for name in ("persona_id", "sex", "age_band", "race_ethnicity")}
            shown["stage"], visit_index = visit["stage"], visit["visit_index"]
        label = run.task.label_ids[index % 3]
        synthetic.append(
            {"text_id": f"{index:02d}", "unit": run.recipe.arms[arm].unit, "backend": "toy", "model_id": "toy",
             "model_revision": "0", "text": text, "n_attempts": 1, "visit_index": visit_index, **shown}
        )  # fmt: skip
        sentences.append(
            {"sentence_id": f"{arm}/{index:02d}/0", "text_id": f"{index:02d}", "char_start": 0, "char_end": len(text),
             "text": text, "label": label, "label_source": "plan", **shown}
        )  # fmt: skip
        planned.append({"text_id": f"{index:02d}", "mention_index": 0, "domain": term.domain, "term": term.term,
                        "label": label})  # fmt: skip
    write_table(run.path("generation", arm, "synthetic.parquet"), synthetic, SYNTHETIC)
    write_table(run.path("generation", arm, "planned.parquet"), planned, PLANNED)
    write_table(run.path("annotation", arm, "sentences.parquet"), sentences, SENTENCES)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every table that fidelity reads."""
    folder = tmp_path_factory.mktemp("fidelity")
    run = Run(recipe=load_recipe(make_recipe(folder, tuple(ARMS))), folder=folder / "run")
    for units in (cohort.units, alignment.units):
        for unit in units(run):
            run_unit(run, unit, force=True)
    for arm in ARMS:
        write_arm(run, arm)
    audit = [
        {"check": "near_duplicate", "origin": arm, "against": "gold", "n_checked": 40, "n_found": 2, "n_removed": 2}
        for arm in ARMS
    ]
    write_table(run.path("mixes", "all", "audit.parquet"), audit, AUDIT)
    return folder


@pytest.fixture(scope="module")
def measured(prepared: Path) -> dict[Place, dict[str, Any]]:
    return measure(prepared, tuple(ARMS))


def measure(folder: Path, arms: tuple[str, ...], **settings: Any) -> dict[Place, dict[str, Any]]:
    run = Run(recipe=load_recipe(make_recipe(folder, arms, **settings)), folder=folder / "run")
    (unit,) = fidelity_units(run)
    run_unit(run, unit, force=True)
    rows = read_rows(run.path("evaluation", "fidelity", "fidelity.parquet"), FIDELITY)
    return {tuple(row[name] for name in FIDELITY.key): row for row in rows}  # type: ignore[misc]


@pytest.fixture
def changed_gold(prepared: Path) -> Iterator[Callable[[str, str], None]]:
    """Replaces the texts of one split; puts gold back afterwards."""
    path = prepared / "run" / "00_cohort" / "gold.parquet"
    before = read_table(path, GOLD)

    def change(split: str, text: str) -> None:
        rows = before.to_pylist()
        write_table(
            path,
            [row | ({"text": f"{text} {row['sentence_id']}"} if row["split"] == split else {}) for row in rows],
            GOLD,
        )

    yield change
    write_table(path, before, GOLD)


def test_every_arm_stands_beside_gold_and_plan_and_every_value_is_inside_its_bounds(
    measured: dict[Place, dict[str, Any]],
) -> None:
    assert {place[0] for place in measured} == {"gold", "(plan)", *ARMS}
    for (_, name, *_), row in measured.items():
        low, high = MEASURES[name].bounds
        assert (row["value"] is None) == (row["status"] != "ok")
        assert row["value"] is None or low - 1e-9 <= row["value"] <= high + 1e-9, row
        assert row["value"] is not None or row["reason"]
    never = set(MEASURES) - {place[1] for place in measured if measured[place]["value"] is not None}
    assert never == set()


def test_an_arm_that_shows_no_persona_says_so_and_is_not_zero(measured: dict[Place, dict[str, Any]]) -> None:
    row = measured["plain", "margin_tv", "sex", "all"]
    assert (row["value"], row["status"], row["reason"]) == (None, "undefined", "the arm shows no persona")
    assert measured["plain", "margin_tv", "stage", "all"]["reason"] == "the arm shows no stage"
    assert measured["aligned", "margin_tv", "sex", "all"]["value"] is not None


def test_the_plan_meets_its_targets_and_says_whether_they_are_assumed(measured: dict[Place, dict[str, Any]]) -> None:
    assert measured["(plan)", "margin_tv", "age_band", "all"]["value"] <= 0.1  # 20 personas by quota
    for stage in ("early_prodromal", "mci", "mild_dementia", "moderate_dementia"):
        assert measured["(plan)", "domain_tv", stage, "all"]["value"] < 0.05
        row = measured["(plan)", "mentions_per_note", "stage", stage]
        assert row["value"] == pytest.approx(row["target"], rel=0.1)
    assert measured["(plan)", "margin_share", "sex", "female"]["mark"] == "derived"
    assert measured["(plan)", "pair_tv", "age_band x sex", "all"]["mark"] == "assumed"


def test_notes_are_counted_by_what_they_carry(measured: dict[Place, dict[str, Any]]) -> None:
    carried = [row for place, row in measured.items() if place[:2] == ("notes", "mentions_per_note")]
    assert {row["value"] for row in carried if row["value"] is not None} == {1.0}  # each carries its one planned term
    assert measured["notes", "co_occurrence_tv", "(plan)", "all"]
    assert measured["aligned", "mentions_per_note", "stage", "mci"]["reason"] == "the arm writes sentences, not notes"


def test_the_audit_is_quoted(measured: dict[Place, dict[str, Any]]) -> None:
    row = measured["plain", "audit_found", "near_duplicate", "gold"]
    assert (row["value"], row["n"]) == (0.05, 40)


def test_the_same_run_gives_the_same_table(prepared: Path, measured: dict[Place, dict[str, Any]]) -> None:
    assert measure(prepared, tuple(ARMS)) == measured


def test_another_arm_moves_no_number(prepared: Path, measured: dict[Place, dict[str, Any]]) -> None:
    alone = measure(prepared, ("aligned",))
    assert alone and all(measured[place] == row for place, row in alone.items())


def test_held_out_text_reaches_the_nearest_test_sentence_and_nothing_else(
    prepared: Path, measured: dict[Place, dict[str, Any]], changed_gold: Callable[[str, str], None]
) -> None:
    changed_gold("test", "Since visit of plain the neighbour has noticed most days")
    poisoned = measure(prepared, tuple(ARMS))
    moved = {place[1:3] for place, row in poisoned.items() if row != measured[place]}
    assert moved == {("nearest_gold", "test")} or moved == {("nearest_gold", "test"), ("near_gold_share", "test")}
    changed_gold("validation", "Since visit of plain the neighbour has noticed most days")
    assert measure(prepared, tuple(ARMS)) == measured


def test_sentences_copied_from_gold_are_found(prepared: Path, measured: dict[Place, dict[str, Any]]) -> None:
    path = prepared / "run" / "03_annotation" / "plain" / "sentences.parquet"
    before = read_table(path, SENTENCES)
    gold = read_table(prepared / "run" / "00_cohort" / "gold.parquet", GOLD).to_pylist()
    # of the ten copies those are found whose gold sentence is in the sample
    copied = [row["text"] for row in gold if row["split"] == "train"][:10]
    rows = [row | ({"text": copied[place]} if place < 10 else {}) for place, row in enumerate(before.to_pylist())]
    write_table(path, rows, SENTENCES)
    found = measure(prepared, tuple(ARMS), max_sentences=2000)["plain", "near_gold_share", "train", "all"]
    write_table(path, before, SENTENCES)
    assert found["value"] == 0.25
    assert measured["plain", "near_gold_share", "train", "all"]["value"] == 0


def test_text_is_measured_on_a_sample_and_people_on_all(measured: dict[Place, dict[str, Any]]) -> None:
    assert measured["gold", "words_mean", "all", "all"]["n"] == 60  # max_sentences
    assert measured["gold", "label_share", "label", "other"]["n"] > 400
    assert {measured[arm, "vendi", "all", "all"]["n"] for arm in ("gold", *ARMS)} == {30}  # the same for all


def test_gold_is_compared_with_gold_of_other_patients(measured: dict[Place, dict[str, Any]]) -> None:
    assert measured["gold", "nearest_gold", "train", "all"]["value"] < 0.9  # its own sentence would be at 1
    assert measured["gold", "near_gold_share", "train", "all"]["value"] == 0


def test_the_sample_is_drawn_from_the_whole_table_and_by_name() -> None:
    reader = Reader(lexicon=(), embed=lambda texts: np.zeros((len(texts), 1), np.float32), max_sentences=60, seed=5)
    chosen = reader.choose(1000, "aligned")
    assert len(set(chosen)) == 60 and chosen == sorted(chosen)
    assert 400 < np.mean(chosen) < 600  # the mean of 60 of 1,000 has a standard error of 36
    assert chosen == reader.choose(1000, "aligned") != reader.choose(1000, "plain")
    assert reader.choose(7, "few") == list(range(7))


def test_an_arm_without_sentences_is_undefined_throughout(prepared: Path) -> None:
    paths = [prepared / "run" / "03_annotation" / "plain" / "sentences.parquet"]
    before = read_table(paths[0], SENTENCES)
    write_table(paths[0], before.slice(0, 0), SENTENCES)
    found = measure(prepared, ("plain", "aligned"))
    write_table(paths[0], before, SENTENCES)
    rows = [row for place, row in found.items() if place[0] == "plain" and place[1] != "audit_found"]
    assert rows and {row["status"] for row in rows} == {"undefined"}
    assert found["aligned", "words_mean", "all", "all"]["value"] is not None


def test_a_recipe_without_arms_has_no_fidelity_unit(tmp_path: Path) -> None:
    path = make_recipe(tmp_path, ())
    run = Run(recipe=load_recipe(path), folder=tmp_path / "run")
    assert [unit.name for unit in evaluation.units(run)] == [""]


def test_a_target_that_does_not_fit_is_left_out_where_no_arm_was_shown_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "population.yaml"
    broken.write_text("adapted: no\n", encoding="utf-8")
    blind = Run(recipe=load_recipe(make_recipe(tmp_path, ("plain",))), folder=tmp_path)
    assert read_target(blind, "persona", broken, load_population) is None
    assert "left out as a target, which no arm was shown" in caplog.text
    seeing = Run(recipe=load_recipe(make_recipe(tmp_path, ("aligned",))), folder=tmp_path)
    with pytest.raises(ConfigError, match="adapted: unknown key"):
        read_target(seeing, "persona", broken, load_population)
