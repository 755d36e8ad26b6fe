"""A second disease runs through everything from a folder of YAML and CSV that is no part of the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from harness.schemas.shipped import shipped
from harness.schemas.tables import GOLD, MENTIONS, METRICS, PERSONAS, SENTENCES, VISITS
from harness.schemas.task import load_task
from harness.store import STAGE_FOLDERS, read_rows

pytestmark = pytest.mark.slow

TITLE = "Parkinson's disease, in a folder of its own"
N_PATIENTS, N_SENTENCES = 12, 8
SHARES = {"gold": 0.5, "unguided": 0.25, "dualalign": 0.25}
TIMEOUT_S = 400


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second quickstart in small, on a copy of its task: 12 patients, eight sentences per arm, two updates."""
    folder = tmp_path_factory.mktemp("elsewhere")
    task = folder / "pd"
    shutil.copytree(shipped("tasks") / "parkinsons", task)
    content = yaml.safe_load((task / "task.yaml").read_text(encoding="utf-8"))
    content["title"], content["prompts"]["n_shots"] = TITLE, 3
    (task / "task.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    lines = (task / "demo_gold.jsonl").read_text(encoding="utf-8").splitlines()
    patients = list(dict.fromkeys(line.split('"patient_id": ')[1].split(",")[0] for line in lines))[:N_PATIENTS]
    few = [line for line in lines if any(f'"patient_id": {one},' in line for one in patients)]
    (task / "demo_gold.jsonl").write_text("\n".join(few) + "\n", encoding="utf-8")

    content = yaml.safe_load((shipped("recipes") / "parkinsons_quickstart.yaml").read_text(encoding="utf-8"))
    content |= {"task": "./pd", "mixes": ["gold", "both.yaml"]}
    sources = [{"origin": origin, "share": share} for origin, share in SHARES.items()]
    (folder / "both.yaml").write_text(yaml.safe_dump({"sources": sources}), encoding="utf-8")
    content["gold"]["split"] = {"train": 0.5, "validation": 0.1, "test": 0.4}
    for arm in content["arms"].values():
        arm |= {"n_sentences": N_SENTENCES, "n_personas": 4, "backend": {"kind": "embedded", "batch_size": 8}}
        arm["sampling"] |= {"max_new_tokens": 28, "max_attempts": 4}
    content["training"] |= {"global_batch_size": 4, "budget": {"unit": "updates", "size": 2}}
    content["training"]["sft"] |= {"per_device_train_batch_size": 4}
    content["scoring"] = {"splits": ["test"]}
    content["evaluation"] |= {"subgroups": ["sex", "stage"], "n_bootstrap": 100, "min_patients": 2, "min_positives": 1}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_folder(recipe: Path) -> Path:
    folder = recipe.parent / "run"
    command = [sys.executable, "-m", "harness.cli", "run", str(recipe), "--run-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_task_is_data_outside_the_package(recipe: Path) -> None:
    files = [path for path in (recipe.parent / "pd").rglob("*") if path.is_file()]
    assert len(files) >= 7
    assert {path.suffix for path in files} == {".yaml", ".csv", ".jsonl", ".md"}
    assert load_task("./pd", base=recipe.parent).folder == (recipe.parent / "pd").resolve()


def test_its_own_levels_stages_and_terms_are_planned(run_folder: Path, recipe: Path) -> None:
    task = load_task("./pd", base=recipe.parent)
    folder = run_folder / STAGE_FOLDERS["alignment"]
    personas = read_rows(folder / "personas.parquet", PERSONAS)
    assert {row["age_band"] for row in personas} <= set(task.file.subgroups["age_band"].levels)
    assert {row["residence"] for row in personas} <= {"rural_home", "town_or_city_home"}
    visits = read_rows(folder / "visits.parquet", VISITS)
    assert {row["stage"] for row in visits} == set(task.file.subgroups["stage"].levels)
    assert min(row["days_before_diagnosis"] for row in visits) < 0 < max(row["days_before_diagnosis"] for row in visits)
    mentions = read_rows(folder / "mentions.parquet", MENTIONS)
    assert {row["term"] for row in mentions} <= {term.term for term in task.lexicon}
    assert {row["label"] for row in mentions} == set(task.label_ids)


def test_each_arm_writes_sentences_with_labels_of_the_task(run_folder: Path, recipe: Path) -> None:
    task = load_task("./pd", base=recipe.parent)
    gold = read_rows(run_folder / STAGE_FOLDERS["cohort"] / "gold.parquet", GOLD)
    assert len({row["patient_id"] for row in gold}) == N_PATIENTS
    for arm in ("unguided", "dualalign"):
        rows = read_rows(run_folder / STAGE_FOLDERS["annotation"] / arm / "sentences.parquet", SENTENCES)
        assert len(rows) >= 2, arm  # the small model may give up some of them; which ones differs between processors
        assert {row["label"] for row in rows} <= set(task.label_ids)
        assert {row["stage"] for row in rows} <= {None, *task.file.subgroups["stage"].levels}
        assert (Counter(row["stage"] for row in rows)[None] == len(rows)) == (arm == "unguided")


def test_every_mix_is_scored_overall_and_by_subgroup(run_folder: Path) -> None:
    metrics = read_rows(run_folder / STAGE_FOLDERS["evaluation"] / "metrics.parquet", METRICS)
    assert {row["mix"] for row in metrics if row["learner"] == "llm"} == {"gold", "both"}
    assert {row["subgroup_variable"] for row in metrics} == {"overall", "sex", "stage"}
    overall = [row for row in metrics if row["metric"] == "macro_f1" and row["subgroup_variable"] == "overall"]
    assert overall
    assert {row["status"] for row in overall} == {"ok"}


def test_the_report_is_about_this_disease_and_no_other(run_folder: Path) -> None:
    page = (run_folder / STAGE_FOLDERS["reports"] / "report.html").read_text(encoding="utf-8")
    assert TITLE in page.replace("&#39;", "'")
    for name in ("leaderboard.md", "ablation.md", "report.html"):
        text = (run_folder / STAGE_FOLDERS["reports"] / name).read_text(encoding="utf-8")
        assert "lzheimer" not in text, name
        assert "dementia" not in text.lower(), name
