"""Notes in, a trajectory out: what was put in comes back, and held-out patients change nothing."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from notes_study import Study, known_trajectory, notes_recipe, simulate, write_jsonl

from harness.alignment import stage as alignment
from harness.alignment.semantic import draw_mentions, draw_visits
from harness.cohort import stage as cohort
from harness.errors import ConfigError, DataError
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.tables import CO_OCCURRENCE, GOLD, RATES, REJECTED
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator
from harness.store import Run, read_rows, sha256_file

N_PATIENTS = 150
TABLES = ("trajectory.yaml", "rates.parquet", "co_occurrence.parquet", "rejected.parquet")


def fit(recipe: Recipe, folder: Path) -> Path:
    """The trajectory unit's folder, after the gold unit and it have run."""
    run = Run(recipe=recipe, folder=folder)
    for unit in cohort.units(run):
        place = run.path("cohort", unit.name)
        place.mkdir(parents=True, exist_ok=True)
        unit.work(place)
    return run.path("cohort", "trajectory")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    task, truth = known_trajectory(tmp_path_factory.mktemp("known"))
    return Study(task, truth, simulate(task, truth, N_PATIENTS, seed=5))


@pytest.fixture(scope="module")
def fitted(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    return fit(notes_recipe(folder, write_jsonl(folder / "notes.jsonl", study.rows)), folder / "run")


@pytest.fixture(scope="module")
def few(study: Study) -> list[dict[str, Any]]:
    """Notes of thirteen patients: two more than a stage needs."""
    return [row for row in study.rows if row["patient_id"] < "n0013"]


@pytest.fixture(scope="module")
def few_fitted(few: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    return fit(notes_recipe(folder, write_jsonl(folder / "notes.jsonl", few)), folder / "run")


def true_value(truth: Trajectory, parameter: str, stage: str, level: str) -> float | None:
    values: dict[str, Callable[[], float | None]] = {
        "notes_per_year": lambda: truth.notes_per_year.by_stage[stage].v,
        "mentions_per_note": lambda: truth.mentions_per_note.by_stage[stage].v,
        "absent_share": lambda: truth.absent_share[stage].v,
        "domain_share": lambda: truth.domain_share[stage].values[level],
        "note_type_share": lambda: truth.note_type_share[stage].values[level],
        "notes_per_year_excess": lambda: (
            1 / truth.notes_per_year.dispersion.v if truth.notes_per_year.dispersion else None
        ),
        "mentions_per_note_excess": lambda: 0.0,
    }
    return values[parameter]() if parameter in values else None


def test_the_parameters_that_notes_were_written_from_lie_in_the_intervals(study: Study, fitted: Path) -> None:
    """At least 90% of the true values in 95% intervals, and none further than 4 standard errors from its estimate.

    With 66 parameters and a coverage of 95%, 6 or fewer are expected to lie outside in 96% of studies.
    """
    checked, outside = 0, []
    for row in read_rows(fitted / "rates.parquet", RATES):
        truth = true_value(study.truth, row["parameter"], row["stage"], row["level"])
        if truth is None:
            continue
        checked += 1
        assert abs(row["value"] - truth) < 4 * row["se"], (row, truth)
        if not row["ci_low"] <= truth <= row["ci_high"]:
            outside.append((row["parameter"], row["stage"], row["level"], truth, row["value"]))
    assert checked == 4 * (3 + 6 + 7) + 2
    assert len(outside) <= 0.1 * checked, outside


def test_the_fitted_file_is_a_trajectory_whose_numbers_say_where_they_come_from(study: Study, fitted: Path) -> None:
    trajectory = load_trajectory(fitted / "trajectory.yaml", study.task)
    assert trajectory.mentions_per_note.density_multiplier.v == 1
    assert trajectory.mentions_per_note.dist == "poisson"
    assert trajectory.notes_per_year.dispersion is not None
    for number in (trajectory.notes_per_year.by_stage["mci"], trajectory.notes_per_year.dispersion,
                   trajectory.domain_share["mci"], trajectory.absent_share["mci"], trajectory.term_frequency):  # fmt: skip
        assert number is not None
        assert (number.status, number.check, number.src) == ("derived", "read", "user_notes")
        assert "95% interval" in (number.note or "")
    carried = trajectory.stage_jitter_years
    assert (carried.status, carried.src) == ("assumed", "own")
    assert (carried.note or "").startswith("carried over from the task: notes do not tell it; ")
    assert trajectory.onset is not None
    median = trajectory.onset.domains["memory"].median_years_before
    assert (median.v, median.src) == (4, "yod_gp2022")
    assert "first stated in these notes, median " in (median.note or "")
    assert trajectory.reported_by_others is not None
    assert trajectory.reported_by_others.share["mci"].v == study.truth.reported_by_others.share["mci"].v  # type: ignore[union-attr]


def test_alignment_draws_from_the_fitted_file(study: Study, tmp_path: Path, few: list[dict[str, Any]]) -> None:
    rows = [{**row, "note_type": "tele_visit"} for row in few]
    recipe = notes_recipe(tmp_path, write_jsonl(tmp_path / "notes.jsonl", rows))
    arm = {"sees": ["label", "trajectory"], "n_sentences": 8, "n_personas": 3, "backend": {"kind": "embedded"}}
    content = yaml.safe_load((tmp_path / "recipe.yaml").read_text(encoding="utf-8")) | {"arms": {"semantic": arm}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    fit(recipe, tmp_path / "run")
    run = Run(recipe=recipe, folder=tmp_path / "run")
    folder = run.path("alignment")
    folder.mkdir(parents=True)
    alignment.units(run)[0].work(folder)
    visits = pq.read_table(folder / "visits.parquet")
    assert set(visits["note_type"].to_pylist()) == {"tele_visit"}  # a type that the task does not know
    n_mentions = pq.read_table(folder / "mentions.parquet").num_rows
    assert 2 < n_mentions / visits.num_rows < 5  # real density; the task's own has 13 and more


def test_fitted_term_frequencies_are_checked_and_drawn_by(study: Study, few_fitted: Path, tmp_path: Path) -> None:
    content = yaml.safe_load((few_fitted / "trajectory.yaml").read_text(encoding="utf-8"))
    content["term_frequency"]["values"] |= {"amnestic": 1e6, "tremor": 0, "fals": 0.1}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_trajectory(tmp_path / "t.yaml", study.task)
    assert "term_frequency: unknown term of the lexicon 'fals'; did you mean 'falls'?" in str(caught.value)
    assert "term_frequency.tremor: found 0; must be above 0" in str(caught.value)
    content["term_frequency"]["values"] |= {"tremor": 0.1}
    del content["term_frequency"]["values"]["fals"], content["onset"]
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    trajectory = load_trajectory(tmp_path / "t.yaml", study.task)
    visits = draw_visits(trajectory, "p", generator(1, "visits"))
    mentions = draw_mentions(trajectory, study.task.lexicon, visits, negative="other", rng=generator(1, "mentions"))
    of_memory = [row for row in mentions.to_pylist() if row["domain"] == "memory"]
    notes = {row["visit_index"] for row in of_memory}
    assert len(notes) > 20
    assert notes == {row["visit_index"] for row in of_memory if row["term"] == "amnestic"}


def test_poisoned_notes_of_held_out_patients_change_no_byte(
    tmp_path: Path, few: list[dict[str, Any]], few_fitted: Path
) -> None:
    gold = read_rows(few_fitted.parent / "gold.parquet", GOLD)
    held_out = sorted({row["patient_id"] for row in gold if row["split"] != "train"})
    train = sorted({row["patient_id"] for row in gold if row["split"] == "train"})
    assert len(held_out) == 32
    renamed = dict(zip(sorted({row["patient_id"] for row in few}), [*train[:11], *held_out[:2]], strict=True))
    rows = [{**row, "patient_id": renamed[row["patient_id"]]} for row in few]
    rows[0]["date"] = None  # something to reject
    poisoned = [row if row["patient_id"] in train else {**row, "text": "Falls. Tremor. Apathy.", "date": "1066-10-14", "note_type": "x",
                                                         "diagnosis_date": "not a date"} for row in rows]  # fmt: skip
    poisoned += [{**poisoned[-1], "note_id": f"more{n}"} for n in range(500)]
    folders = []
    for name, content in (("clean", rows), ("poisoned", poisoned)):
        (tmp_path / name).mkdir()
        recipe = notes_recipe(tmp_path / name, write_jsonl(tmp_path / name / "notes.jsonl", content))
        folders.append(fit(recipe, tmp_path / name / "run"))
    assert all(sha256_file(folders[0] / table) == sha256_file(folders[1] / table) for table in TABLES)
    assert read_rows(folders[0] / "rejected.parquet", REJECTED)[0]["reason"] == "no_date"
    assert "11 training patients" in (folders[0] / "trajectory.yaml").read_text(encoding="utf-8")


def test_the_order_of_notes_changes_no_byte(tmp_path: Path, few: list[dict[str, Any]], few_fitted: Path) -> None:
    folder = fit(notes_recipe(tmp_path, write_jsonl(tmp_path / "notes.jsonl", few[::-1])), tmp_path / "run")
    assert all(sha256_file(folder / table) == sha256_file(few_fitted / table) for table in TABLES)


def test_a_stage_with_too_few_patients_is_the_tasks_and_says_so(
    study: Study, tmp_path: Path, few: list[dict[str, Any]]
) -> None:
    def years_before(row: dict[str, Any]) -> float:
        return (date_of(row["diagnosis_date"]) - date_of(row["date"])) / 365.25

    late = [row for row in few if years_before(row) < 2.9 or row["patient_id"] < "n0004"]
    folder = fit(notes_recipe(tmp_path, write_jsonl(tmp_path / "notes.jsonl", late)), tmp_path / "run")
    trajectory = load_trajectory(folder / "trajectory.yaml", study.task)
    kept = trajectory.notes_per_year.by_stage["early_prodromal"]
    assert (kept.v, kept.status) == (8, "assumed")
    assert kept.note == "carried over from the task: notes of fewer than 11 patients"
    assert trajectory.domain_share["mci"].values == study.truth.domain_share["mci"].values
    assert trajectory.notes_per_year.by_stage["mild_dementia"].src == "user_notes"
    rows = [row for row in read_rows(folder / "rates.parquet", RATES) if row["stage"] == "early_prodromal"]
    assert {row["status"] for row in rows} == {"insufficient"}
    assert all(row["value"] is None for row in rows)


def date_of(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def test_pairs_of_too_few_patients_show_no_count(few_fitted: Path) -> None:
    pairs = read_rows(few_fitted / "co_occurrence.parquet", CO_OCCURRENCE)
    domains = [row for row in pairs if row["kind"] == "domain"]
    assert len(domains) == 15
    assert all(row["status"] == "ok" and row["lift"] > 0 for row in domains)
    hidden = [row for row in pairs if row["status"] == "insufficient"]
    assert hidden
    assert all(row["n_both"] is None and row["n_first"] is None and row["lift"] is None for row in hidden)


def test_notes_left_out_are_told_by_reason_and_row_and_never_by_text(
    tmp_path: Path, few: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [dict(row) for row in few]
    rows[3]["date"], rows[5]["date"] = "2031-01-01", None
    with caplog.at_level(logging.WARNING):
        folder = fit(notes_recipe(tmp_path, write_jsonl(tmp_path / "notes.jsonl", rows)), tmp_path / "run")
    assert ("notes left out: 1 after_diagnosis (first: row 4), 1 no_date (first: row 6); allowed: dated notes from 10 years before "
            "the diagnosis to 0 years after it") in caplog.text  # fmt: skip
    assert "2031" not in caplog.text
    assert rows[3]["text"] not in caplog.text
    assert [row["reason"] for row in read_rows(folder / "rejected.parquet", REJECTED)] == ["after_diagnosis", "no_date"]


def test_nothing_is_written_where_nothing_can_be_fitted(tmp_path: Path, few: list[dict[str, Any]]) -> None:
    for name, rows, message in (
        ("all_late", [{**row, "date": "2031-01-01"} for row in few[:50]],
         "no note is left to fit; found 50 after_diagnosis (first: row 1); allowed: dated notes from 10 years"),
        ("two_patients", [row for row in few if row["patient_id"] < "n0002"],
         "no stage has notes of at least 11 patients (found 2 patients in all)"),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        recipe = notes_recipe(tmp_path / name, write_jsonl(tmp_path / name / "notes.jsonl", rows))
        with pytest.raises(DataError) as caught:
            fit(recipe, tmp_path / name / "run")
        assert message in str(caught.value)
        assert list((tmp_path / name / "run" / "00_cohort" / "trajectory").iterdir()) == []


def test_files_that_are_not_there_are_faults_of_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        notes_recipe(tmp_path, Path("absent.jsonl"), diagnoses="dates.csv")
    assert f"notes.path: no file absent.jsonl (looked in {tmp_path})" in str(caught.value)
    assert "notes.diagnoses: no file dates.csv" in str(caught.value)


def test_a_task_without_trajectory_cannot_be_fitted(tmp_path: Path, few: list[dict[str, Any]]) -> None:
    recipe = notes_recipe(tmp_path, write_jsonl(tmp_path / "notes.jsonl", few[:3]))
    task = recipe.task.model_copy(update={"file": recipe.task.file.model_copy(update={"trajectory": None})})
    run = Run(recipe=recipe.model_copy(update={"task": task}), folder=tmp_path)
    with pytest.raises(ConfigError, match="notes: fitting needs a trajectory"):
        cohort.units(run)
    assert replace(run, recipe=recipe).trajectory_file == tmp_path / "00_cohort" / "trajectory" / "trajectory.yaml"
