"""The whole pipeline on the embedded model: every stage for real, killed at several points, and gone on with."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.leaderboards.stage import leaderboard_over
from harness.schemas.shipped import shipped
from harness.schemas.tables import METRICS, SENTENCES, TRAINING_LOG
from harness.store import STAGE_FOLDERS, read_manifest, read_rows, read_table, sha256_file

pytestmark = pytest.mark.slow

EXACT = ("cohort", "alignment", "generation", "annotation", "mixes")
TIMEOUT_S = 400


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart in small: 24 patients of the demo gold, a dozen sentences per arm, six updates."""
    folder = tmp_path_factory.mktemp("recipe")
    lines = (shipped("tasks") / "alzheimers" / "demo_gold.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "gold.jsonl").write_text("\n".join(lines[: 24 * 9]) + "\n", encoding="utf-8")
    content = yaml.safe_load((shipped("recipes") / "quickstart.yaml").read_text(encoding="utf-8"))
    content["name"] = "small"
    content["gold"] = {"path": "gold.jsonl", "split": {"train": 0.5, "validation": 0.125, "test": 0.375}}
    for arm in content["arms"].values():
        arm |= {"n_sentences": 12, "n_personas": 4, "backend": {"kind": "embedded", "batch_size": 4}}
    content["mixes"] = ["gold", "gold_dualalign"]
    content["training"] |= {"global_batch_size": 4, "budget": {"unit": "updates", "size": 6}}
    content["training"]["sft"] |= {"per_device_train_batch_size": 4, "save_steps": 1}
    content["evaluation"] |= {"n_bootstrap": 200, "min_patients": 2, "min_positives": 1}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def start(recipe: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness.cli", "run", str(recipe), "--run-dir", str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    return output


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """SIGKILL to the command and whatever it started, as soon as `reached`."""
    deadline = time.monotonic() + TIMEOUT_S
    while not reached():
        assert process.poll() is None, f"ended before the point to kill it at:\n{process.communicate()[0]}"
        assert time.monotonic() < deadline, "the point to kill it at was never reached"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def n_cached(folder: Path) -> int:
    path = folder / STAGE_FOLDERS["generation"] / "dualalign" / "requests.sqlite"
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            table = connection.execute("select name from sqlite_master where type = 'table'").fetchone()
            return 0 if table is None else int(connection.execute(f"select count(*) from {table[0]}").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def checkpoints(folder: Path, mix: str) -> list[Path]:
    return list(
        (folder / STAGE_FOLDERS["training"] / mix / "seed_0" / "checkpoints").glob("checkpoint-*/trainer_state.json")
    )


@pytest.fixture(scope="module")
def undisturbed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start(recipe, folder))
    return folder


@pytest.fixture(scope="module")
def disturbed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disturbed") / "run"
    kill_when(start(recipe, folder), lambda: n_cached(folder) >= 4)
    kill_when(start(recipe, folder), lambda: len(checkpoints(folder, "gold")) >= 1)
    kill_when(start(recipe, folder), (folder / STAGE_FOLDERS["scoring"] / "gold" / "seed_0").is_dir)
    finish(start(recipe, folder))
    return folder


def test_every_stage_leaves_a_manifest_with_seconds_and_memory(undisturbed: Path) -> None:
    stages = {path.relative_to(undisturbed).parts[0] for path in undisturbed.rglob("manifest.json")}
    assert stages == set(STAGE_FOLDERS.values())
    for path in undisturbed.rglob("manifest.json"):
        manifest = read_manifest(path.parent)
        assert manifest is not None
        assert manifest.peak_rss_mb > 0


def test_the_report_is_there_in_every_form(undisturbed: Path) -> None:
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "ablation.md", "report.html"):
        assert (undisturbed / STAGE_FOLDERS["reports"] / name).stat().st_size > 200


def test_a_finished_run_enters_a_leaderboard_and_its_counts_give_its_scores(undisturbed: Path) -> None:
    board = leaderboard_over([undisturbed])
    assert not board.left_out
    assert {entry.why_no_tie for entry in board.entries} == {""}


def test_arms_give_sentences_and_training_follows_the_budget(undisturbed: Path) -> None:
    for arm in ("dualalign",):
        assert len(read_rows(undisturbed / STAGE_FOLDERS["annotation"] / arm / "sentences.parquet", SENTENCES)) >= 8
    for mix in ("gold", "gold_dualalign"):
        log = read_table(undisturbed / STAGE_FOLDERS["training"] / mix / "seed_0" / "log.parquet", TRAINING_LOG)
        assert log["step"].to_pylist() == [1, 2, 3, 4, 5, 6]


def test_killed_three_times_and_gone_on_with_gives_the_same_tables(undisturbed: Path, disturbed: Path) -> None:
    names = [
        path.relative_to(undisturbed)
        for stage in EXACT
        for path in (undisturbed / STAGE_FOLDERS[stage]).rglob("*.parquet")
    ]
    assert len(names) >= 12
    for name in names:
        assert sha256_file(disturbed / name) == sha256_file(undisturbed / name), name


def test_killed_three_times_and_gone_on_with_gives_the_same_numbers(undisturbed: Path, disturbed: Path) -> None:
    name = Path(STAGE_FOLDERS["evaluation"]) / "metrics.parquet"
    one, two = (read_table(folder / name, METRICS).to_pylist() for folder in (undisturbed, disturbed))
    assert [{**row, "value": 0, "ci_low": 0, "ci_high": 0} for row in one] == [
        {**row, "value": 0, "ci_low": 0, "ci_high": 0} for row in two
    ]
    for column in ("value", "ci_low", "ci_high"):
        first, second = (np.array([row[column] for row in rows], dtype=float) for rows in (one, two))
        np.testing.assert_allclose(first, second, atol=1e-6, rtol=0)


def test_a_second_run_does_nothing(recipe: Path, undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}
    output = finish(start(recipe, undisturbed))
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")} == before
    assert "finished before, skipped" in output


def test_no_note_text_reaches_the_log(recipe: Path, undisturbed: Path) -> None:
    texts = [
        row["text"]
        for row in read_rows(undisturbed / STAGE_FOLDERS["annotation"] / "dualalign" / "sentences.parquet", SENTENCES)
    ]
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in undisturbed.rglob("*.log")]
    assert logs
    assert not [text for text in texts for log in logs if text in log]
