"""`harness run --proxy`: the whole way from gold to report without a language model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.pipeline import UnitResult, run_recipe
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.tables import METRICS
from harness.store import STAGE_FOLDERS, read_rows

SMALL = ["mixes=[gold, exchange_rate/gold_50, gold_unguided, unguided]", "evaluation.n_bootstrap=200",
         "evaluation.subgroups=[sex]", "fidelity.max_sentences=60", "fidelity.embedding=tfidf",
         "tracking.wandb.mode=disabled"]  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(shipped("recipes") / "alignment_ablation.yaml", SMALL)


@pytest.fixture(scope="module")
def ended(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[UnitResult]]:
    """A proxy run beside a full one that came as far as the mixes."""
    folder = tmp_path_factory.mktemp("runs")
    list(run_recipe(recipe, folder / "full", until="mixes"))
    proxy = recipe.as_proxy(with_vectors=False)
    return folder / "proxy", list(run_recipe(proxy, folder / "proxy", reuse=folder / "full"))


def test_nothing_is_trained_and_what_a_full_run_made_is_used(ended: tuple[Path, list[UnitResult]]) -> None:
    folder, results = ended
    assert not (folder / STAGE_FOLDERS["training"]).exists()
    skipped = {result.unit.stage for result in results if result.skipped}
    assert skipped == {"cohort", "alignment", "generation", "annotation", "mixes"}
    # three train seeds drew patients, and the cheap learners learn once
    assert [result.unit.name for result in results if "mixes/gold_50" in result.unit.title] == ["gold_50/seed_0"]
    assert {result.unit.name.split("/")[1] for result in results if result.unit.stage == "scoring"} == {
        "tfidf", "majority"}  # fmt: skip


def test_the_report_is_about_the_cheap_learner_and_says_so(ended: tuple[Path, list[UnitResult]]) -> None:
    folder, _ = ended
    metrics = read_rows(folder / STAGE_FOLDERS["evaluation"] / "metrics.parquet", METRICS)
    assert {row["learner"] for row in metrics} == {"tfidf", "majority"}
    reports = folder / STAGE_FOLDERS["reports"]
    for name in ("report.html", "leaderboard.md", "ablation.md"):
        text = (reports / name).read_text(encoding="utf-8")
        assert "nothing was fine-tuned" in text
        assert "the fine-tuned smollm2" not in text
    page = (reports / "report.html").read_text(encoding="utf-8")
    assert "TF-IDF + logistic regression reaches" in page
    assert 'id="cheap"' not in page  # there is nobody to agree with


def test_the_name_is_its_own_and_the_order_of_learners_says_who_leads(recipe: Recipe) -> None:
    proxy = recipe.as_proxy(with_vectors=True)
    assert (proxy.name, proxy.learners, list(proxy.train_seeds)) == (
        "alignment_ablation-proxy", ("minilm", "tfidf", "majority"), [])  # fmt: skip
    assert recipe.learners == ("llm", "tfidf", "majority")


def test_the_command_stops_where_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps({"task": "alzheimers", "seed": 1, "mixes": ["gold"]}), encoding="utf-8")
    found = CliRunner().invoke(
        app, ["run", str(path), "--proxy", "--until", "cohort", "--run-dir", str(tmp_path / "run")]
    )
    assert found.exit_code == 0, found.output
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"] == "tiny-proxy"


def test_status_and_the_late_stages_speak_of_the_proxy_run_where_they_are_told_to(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps({"task": "alzheimers", "seed": 1, "mixes": ["gold"]}), encoding="utf-8")
    where = [str(path), "--run-dir", str(tmp_path / "run")]
    for command in (["run", *where, "--until", "mix"], ["score", *where], ["evaluate", *where]):
        found = CliRunner().invoke(app, [*command, "--proxy"])
        assert found.exit_code == 0, found.output
    said = CliRunner().invoke(app, ["status", *where, "--proxy"]).output.splitlines()
    assert said[0] == "finished     cohort"
    assert said[-3] == "not begun    reports"
    assert {line.split()[0] for line in said[:-3]} == {"finished"}
    assert not any("training" in line for line in said)
    for command in ("status", "report"):
        refused = CliRunner().invoke(app, [command, *where])
        assert "holds a run of recipe 'tiny-proxy'" in str(refused.exception)
        assert "add --proxy" in str(refused.exception)
