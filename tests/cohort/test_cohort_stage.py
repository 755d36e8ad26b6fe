import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cohort.stage import units
from harness.errors import DataError
from harness.schemas.recipe import SPLITS, Recipe
from harness.schemas.tables import GOLD, GOLD_STATISTICS, POPULATION, REJECTED
from harness.store import Run, fingerprint, hash_inputs, read_rows, read_table, sha256_file

LABELS = ("memory", "falls", "other")
DATA = Path(os.environ.get("HARNESS_TEST_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


def toy_rows(n_patients: int = 12) -> list[dict[str, object]]:
    return [
        {"sentence_id": f"p{p:02d}-{s}", "patient_id": f"p{p:02d}", "text": f"Sentence {s} about patient {p}.",
         "label": LABELS[(p + s) % 3], "sex": ("female", "male", "unknown")[p % 3], "age_years": 60 + p}
        for p in range(n_patients)
        for s in range(6)
    ]  # fmt: skip


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_cohort(recipe: Recipe, folder: Path) -> Path:
    folder.mkdir(parents=True)
    units(Run(recipe=recipe, folder=folder))[0].work(folder)
    return folder


def test_every_patient_is_in_one_split_and_every_split_has_patients(tmp_path: Path, make_recipe: Callable) -> None:
    folder = run_cohort(make_recipe(write_jsonl(tmp_path / "gold.jsonl", toy_rows())), tmp_path / "out")
    rows = read_rows(folder / "gold.parquet", GOLD)
    splits = {
        row["patient_id"]: {one["split"] for one in rows if one["patient_id"] == row["patient_id"]} for row in rows
    }
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == set(SPLITS)
    assert read_table(folder / "population.parquet", POPULATION).num_rows == 0
    assert read_table(folder / "rejected.parquet", REJECTED).num_rows == 0


def test_the_order_of_rows_changes_nothing(tmp_path: Path, make_recipe: Callable) -> None:
    rows = toy_rows()
    first = run_cohort(make_recipe(write_jsonl(tmp_path / "gold.jsonl", rows)), tmp_path / "a")
    random.Random(3).shuffle(rows)
    second = run_cohort(make_recipe(write_jsonl(tmp_path / "gold.jsonl", rows)), tmp_path / "b")
    for name in ("gold.parquet", "gold_statistics.parquet"):
        assert sha256_file(first / name) == sha256_file(second / name)


def test_csv_with_byte_order_mark_and_quoted_newlines_is_imported(tmp_path: Path, make_recipe: Callable) -> None:
    lines = ["patient_id,text,label"]
    lines += [f'p{p},"Two lines,\r\none sentence {p}.",{LABELS[p % 3]}' for p in range(6)]
    path = tmp_path / "gold.csv"
    path.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    rows = read_rows(run_cohort(make_recipe(path), tmp_path / "out") / "gold.parquet", GOLD)
    assert sorted(row["text"] for row in rows) == [f"Two lines, one sentence {p}." for p in range(6)]


def test_statistics_count_what_the_gold_table_holds(tmp_path: Path, make_recipe: Callable) -> None:
    folder = run_cohort(make_recipe(write_jsonl(tmp_path / "gold.jsonl", toy_rows())), tmp_path / "out")
    gold = read_rows(folder / "gold.parquet", GOLD)
    found = {
        (row["split"], row["variable"], row["level"], row["label"]): (row["n_sentences"], row["n_patients"])
        for row in read_rows(folder / "gold_statistics.parquet", GOLD_STATISTICS)
    }
    assert found[("all", "overall", "all", "all")] == (72, 12)
    assert found[("all", "sex", "unknown", "all")] == (24, 4)
    assert found[("all", "site", "north", "all")] == (0, 0)
    women = [row for row in gold if row["sex"] == "female" and row["split"] == "train" and row["label"] == "falls"]
    assert found[("train", "sex", "female", "falls")] == (len(women), len({row["patient_id"] for row in women}))
    assert sum(found[(split, "overall", "all", "all")][0] for split in SPLITS) == 72


def test_duplicates_go_to_rejected(tmp_path: Path, make_recipe: Callable) -> None:
    rows = toy_rows()
    rows.append({**rows[0], "sentence_id": "again"})
    recipe = make_recipe(write_jsonl(tmp_path / "gold.jsonl", rows), deduplicate=True)
    folder = run_cohort(recipe, tmp_path / "out")
    assert read_rows(folder / "rejected.parquet", REJECTED) == [
        {"row_id": "again", "reason": "duplicate", "detail": "repeats p00-0"}
    ]


def test_import_settings_decide_freshness(tmp_path: Path, make_recipe: Callable) -> None:
    path = write_jsonl(tmp_path / "gold.jsonl", toy_rows())
    prints = set()
    for settings in ({}, {"deduplicate": True}, {"split": {"train": 0.5, "validation": 0.25, "test": 0.25}}):
        run = Run(recipe=make_recipe(path, **settings), folder=tmp_path)
        unit = units(run)[0]
        prints.add(fingerprint(run, unit, hash_inputs(run, unit.inputs)))
    assert len(prints) == 3


def test_a_faulty_file_leaves_no_table(tmp_path: Path, make_recipe: Callable) -> None:
    rows = toy_rows()
    rows[5]["label"] = "memry"
    rows[7]["text"] = ""
    with pytest.raises(DataError, match="2 faults"):
        run_cohort(make_recipe(write_jsonl(tmp_path / "gold.jsonl", rows)), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


ACI = DATA / "aci_bench" / "aci_bench.jsonl"
ACI_LABELS = ("ASSESSMENT_PLAN", "EXAM", "HISTORY", "HPI", "MEDS_ALLERGY", "RESULTS", "ROS", "VITALS")
ACI_TASK = {
    "id": "sections",
    "version": 1,
    "title": "Sections of a visit note",
    "disease": "any illness",
    "labels": {"values": [{"id": one, "name": one.lower(), "definition": f"Section {one}."} for one in ACI_LABELS]},
    "subgroups": {
        "sex": {"title": "Sex", "levels": {"female": "Female", "male": "Male"}},
        "age_band": {"title": "Age", "levels": {one: one for one in ("<30", "30-44", "45-59", "60+")}},
    },
}


@pytest.mark.skipif(not ACI.is_file(), reason=f"no {ACI}; set HARNESS_TEST_DATA to a folder that holds it")
def test_real_notes_import_with_a_task_of_yaml_only(tmp_path: Path, make_recipe: Callable) -> None:
    recipe = make_recipe(ACI, task=ACI_TASK, columns={"sentence_id": "id", "age_years": "age"})
    rows = read_rows(run_cohort(recipe, tmp_path / "out") / "gold.parquet", GOLD)
    assert len(rows) == 7317
    patients = {name: {row["patient_id"] for row in rows if row["split"] == name} for name in SPLITS}
    assert {name: len(found) for name, found in patients.items()} == {"train": 117, "validation": 39, "test": 39}
    assert sum(row["age_band"] is None for row in rows) == 1775
    assert sum(row["sex"] is None for row in rows) == 138
    for label in ACI_LABELS:
        total = sum(row["label"] == label for row in rows)
        for name, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            held = sum(row["label"] == label and row["split"] == name for row in rows)
            assert held / total == pytest.approx(share, abs=0.02)


def test_what_leaves_a_report_empty_is_said_before_anything_is_trained(
    tmp_path: Path, make_recipe: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{("gender" if name == "sex" else name): value for name, value in row.items()} for row in toy_rows()]
    run_cohort(make_recipe(write_jsonl(tmp_path / "gold.jsonl", rows)), tmp_path / "out")
    columns = "sentence_id, patient_id, text, label, gender, age_years"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"gold: no column for subgroup 'sex' (columns: {columns}); name it under gold.columns, e.g. {{sex: <your column>}}",
        f"gold: no column for subgroup 'site' (columns: {columns}); name it under gold.columns, e.g. "
        "{site: <your column>}",
        "gold: 2 test patients, but evaluation.min_patients is 5, so the report will have no number; annotate more "
        "patients, raise gold.split.test, or lower evaluation.min_patients",
    ]


def test_a_gold_that_says_all_brings_no_warning(
    tmp_path: Path, make_recipe: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{**row, "site": "north"} for row in toy_rows(25)]
    run_cohort(make_recipe(write_jsonl(tmp_path / "gold.jsonl", rows)), tmp_path / "out")
    assert caplog.records == []
