"""Real human text under a task of YAML alone: imported, split, mixed, fine-tuned, scored, reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.schemas.tables import GOLD, METRICS
from harness.store import STAGE_FOLDERS, read_rows

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("HARNESS_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ACI_BENCH = DATA / "aci_bench" / "aci_bench.jsonl"
N_PATIENTS, N_SENTENCES_EACH = 30, 8


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    if not ACI_BENCH.is_file():
        pytest.skip("the ACI-Bench sentences are not there; set HARNESS_TEST_DATA to their folder")
    by_patient: dict[str, list[dict[str, Any]]] = {}
    for line in ACI_BENCH.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        by_patient.setdefault(row["patient_id"], []).append(row)
    # every few sentences of a patient, so that all sections of a visit occur
    return [
        row for each in list(by_patient.values())[:N_PATIENTS] for row in each[:: max(1, len(each) // N_SENTENCES_EACH)]
    ]


@pytest.fixture(scope="module")
def run_folder(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aci")
    (folder / "gold.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    labels = sorted({row["label"] for row in rows})
    bands = sorted({row["age_band"] for row in rows} - {"unknown"})
    task = {
        "id": "visit_sections",
        "version": 1,
        "title": "Sections of visit notes",
        "disease": "any disease",
        "labels": {
            "values": [
                {"id": one, "name": one.lower().replace("_", " "), "definition": f"Section {one}."} for one in labels
            ]
        },
        "subgroups": {
            "sex": {"title": "Sex", "levels": {"female": "Female", "male": "Male"}},
            "age_band": {"title": "Age", "levels": {band: band for band in bands}},
        },
    }
    recipe = {
        "task": "visit_sections",
        "seed": 5,
        "gold": {"path": "gold.jsonl", "columns": {"sentence_id": "id", "age_years": "age"},
                 "split": {"train": 0.6, "validation": 0.1, "test": 0.3}},
        "mixes": ["gold"],
        "training": {"global_batch_size": 8, "budget": {"size": 4}, "sft": {"learning_rate": 1.0e-3}},
        "scoring": {"splits": ["test"]},
        "evaluation": {"subgroups": ["sex", "age_band"], "n_bootstrap": 100},
    }  # fmt: skip
    (folder / "visit_sections").mkdir()
    (folder / "visit_sections" / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    (folder / "sections.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "harness.cli",
        "run",
        str(folder / "sections.yaml"),
        "--run-dir",
        str(folder / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "run"


def test_every_sentence_is_in_one_split_of_its_patient(run_folder: Path, rows: list[dict[str, Any]]) -> None:
    gold = read_rows(run_folder / STAGE_FOLDERS["cohort"] / "gold.parquet", GOLD)
    assert len(gold) == len(rows)
    assert len({(row["patient_id"], row["split"]) for row in gold}) == len({row["patient_id"] for row in rows})


def test_the_fine_tuned_model_and_both_baselines_are_scored_by_subgroup(run_folder: Path) -> None:
    metrics = read_rows(run_folder / STAGE_FOLDERS["evaluation"] / "metrics.parquet", METRICS)
    assert {row["learner"] for row in metrics} == {"llm", "tfidf", "majority"}
    assert {row["subgroup_variable"] for row in metrics} == {"overall", "sex", "age_band"}
    overall = [row for row in metrics if row["metric"] == "macro_f1" and row["subgroup_variable"] == "overall"]
    assert all(row["status"] == "ok" for row in overall)


def test_the_report_says_nothing_of_alzheimers(run_folder: Path) -> None:
    page = (run_folder / STAGE_FOLDERS["reports"] / "report.html").read_text(encoding="utf-8")
    assert "Sections of visit notes" in page
    assert "lzheimer" not in page
