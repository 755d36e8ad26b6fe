from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.schemas.shipped import shipped

HEAVY = ("torch", "transformers", "trl", "peft", "deepspeed", "sklearn", "pandas", "matplotlib", "wandb")


def harness(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def imported_by(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_imports_nothing_heavy() -> None:
    loaded = imported_by("import harness.cli")
    assert "typer" in loaded
    assert not loaded & {*HEAVY, "pyarrow", "pydantic"}


def test_validating_a_recipe_imports_nothing_heavy() -> None:
    path = shipped("recipes") / "quickstart.yaml"
    loaded = imported_by(
        f"from pathlib import Path\nfrom harness.schemas.recipe import load_recipe\nload_recipe(Path({str(path)!r}))"
    )
    assert "pydantic" in loaded
    assert not loaded & set(HEAVY)


def test_the_pipeline_imports_nothing_heavy() -> None:
    assert not imported_by("import harness.pipeline") & set(HEAVY)


def test_validate_says_what_would_run() -> None:
    done = harness("validate", str(shipped("recipes") / "llama31_8b_lora.yaml"))
    assert done.returncode == 0
    assert "7 mixes x 3 train seeds = 21" in done.stdout
    assert "meta-llama/Llama-3.1-8B (lora)" in done.stdout


def test_a_users_mistake_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    done = harness("run", "absent.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: absent.yaml: no such file\n"


def test_every_stage_has_a_command() -> None:
    listed = harness("--help").stdout
    for command in ("cohort", "align", "generate", "annotate", "mix", "train", "score", "evaluate", "report"):
        assert f"\n  {command} " in listed


def test_a_stage_run_too_early_names_what_is_missing(tmp_path: Path) -> None:
    recipe = shipped("recipes") / "quickstart.yaml"
    done = harness("evaluate", str(recipe), "--run-dir", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "gold.parquet: missing; run `harness cohort RECIPE` first" in done.stderr


def test_validating_with_the_rows_imports_nothing_heavy() -> None:
    assert not imported_by("import harness.planning.rows") & {*HEAVY, "duckdb", "scipy"}


def test_the_help_of_prompts_says_how_answers_come_back() -> None:
    assert "taken back by `harness collect`" in harness("prompts", "--help").stdout
