"""A plan sends nothing and speaks of what is then sent; prompts come back as a file."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_arms import write_sentence, writing_server
from typer.testing import CliRunner

from harness.backends.embedded import EMBEDDED_MODEL
from harness.cli import app
from harness.errors import ConfigError
from harness.pipeline import run_recipe
from harness.planning.generation import Forecast, plan_generation
from harness.planning.prompts import write_prompts
from harness.planning.text import plan_lines
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.tables import PLANNED, SYNTHETIC
from harness.store import read_rows

N = 12
SIGHTS = {"unguided": ["label"], "dualalign": ["label", "persona", "trajectory"]}
PRICES = "model,usd_per_million_prompt_tokens,usd_per_million_completion_tokens\ntoy,2,8\n"


def recipe(folder: Path, backend: dict[str, Any], *overrides: str, **more: Any) -> Recipe:
    arms = {name: {"sees": sees, "n_sentences": N, "prompt": "instruct", "backend": backend, "n_personas": 3}
            for name, sees in SIGHTS.items()}  # fmt: skip
    (folder / "p.csv").write_text(PRICES, encoding="utf-8")
    mix = {
        "name": "all",
        "sources": [{"origin": "gold", "share": 0.5}, *({"origin": name, "share": 0.25} for name in arms)],
    }
    (folder / "all.yaml").write_text(yaml.safe_dump(mix), encoding="utf-8")
    content = {"task": "alzheimers", "seed": 3, "arms": arms, "mixes": ["all.yaml"], **more}
    (folder / "r.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_recipe(folder / "r.yaml", overrides)


def by_title(forecasts: tuple[Forecast, ...]) -> dict[str, Forecast]:
    return {one.ask.title: one for one in forecasts}


def test_a_plan_sends_nothing_and_holds_for_what_is_then_sent(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with writing_server() as (backend, prompts):
        given = recipe(tmp_path, backend, spending={"prices": "p.csv", "max_usd": 1})
        before = by_title(plan_generation(given, run).forecasts)
        assert prompts == []
        assert sorted(before) == ["dualalign", "unguided"]
        for one in before.values():
            assert (one.ask.n_texts, one.ask.is_counted, one.is_finished) == (N, False, False)
            assert one.rates.acceptance.basis == "assumed"
            assert one.at_most.n_requests == N * 8
            assert one.at_most.usd == pytest.approx(one.at_most.n_prompt_tokens * 2e-6 + N * 8 * 48 * 8e-6, rel=1e-3)
        assert before["dualalign"].ask.n_prompt_tokens > before["unguided"].ask.n_prompt_tokens
        list(run_recipe(given, run, until="generation"))
        assert N * 2 <= len(prompts) <= sum(one.at_most.n_requests for one in before.values())
        n_sent = len(prompts)
        after = plan_generation(given, run)
        assert all(one.is_finished for one in after.forecasts)
        assert not any(line.startswith(("total", "these figures")) for line in plan_lines(after))
        assert after.spent["toy"].n_tokens == 16 * n_sent
        larger = recipe(tmp_path, backend, "arms.dualalign.n_sentences=30", spending={"prices": "p.csv"})
        pilot = by_title(plan_generation(larger, run).forecasts)
        assert len(prompts) == n_sent
    assert pilot["unguided"].is_finished
    assert (pilot["dualalign"].ask.n_texts, pilot["dualalign"].is_finished) == (30, False)
    assert pilot["dualalign"].rates.acceptance.basis == "measured"
    assert pilot["dualalign"].rates.completion_tokens.value == 7
    assert pilot["dualalign"].n_kept >= N


def test_the_text_of_a_plan_names_totals_caps_and_assumptions(tmp_path: Path) -> None:
    backend = {"kind": "openai_api", "base_url": "http://localhost:9/v1", "model": "toy"}
    given = recipe(tmp_path, backend, spending={"max_tokens_total": 100, "prices": "p.csv"},
                   annotation={"labels": "llm", "votes": 3, "backend": backend})  # fmt: skip
    plan = plan_generation(given, tmp_path / "run")
    assert by_title(plan.forecasts)["dualalign (annotator)"].ask.n_texts == 3 * N
    text = "\n".join(plan_lines(plan))
    total = sum(one.at_most.n_requests for one in plan.forecasts)
    assert f"{total:,.0f}" in text
    assert "cap 100 tokens: NOT enough" in text
    assert "spending.max_usd: $0.00 spent" in text
    assert "60% of answers kept (assumed)" in text
    assert "4 bytes a token (assumed)" in text


def test_where_nothing_is_asked_the_command_says_so_and_how_to_plan_training(tmp_path: Path) -> None:
    path = shipped("recipes") / "exchange_rate.yaml"
    done = CliRunner().invoke(app, ["plan", str(path), "--run-dir", str(tmp_path / "run")])
    nothing, empty, training = done.stdout.splitlines()
    assert (nothing, empty) == ("generation  nothing to ask: all that the mixes draw from is gold or a file", "")
    assert "--device NAME" in training
    assert training.endswith("names: cpu, h100, h200, a100-80, a100-40, l40s, a6000, rtx4090")


def test_a_tokenizer_that_is_named_counts_the_prompts(tmp_path: Path) -> None:
    from harness.backends.tokenizer import count_prompt_tokens

    backend = {"kind": "openai_api", "base_url": "http://localhost:9/v1", "model": "toy", "tokenizer": EMBEDDED_MODEL}
    given = recipe(tmp_path, backend)
    exact = by_title(plan_generation(given, tmp_path / "run").forecasts)["dualalign"]
    (path,) = write_prompts(given, tmp_path / "run", tmp_path / "out", ["dualalign"])
    prompts = [json.loads(line)["prompt"] for line in path.read_text().splitlines()]
    assert exact.ask.is_counted
    assert exact.ask.n_prompt_tokens == sum(count_prompt_tokens(EMBEDDED_MODEL, None, prompts, chat=True))
    assert exact.ask.n_prompt_tokens > sum(count_prompt_tokens(EMBEDDED_MODEL, None, prompts, chat=False))


def test_planning_for_a_server_loads_no_model_library(tmp_path: Path) -> None:
    recipe(tmp_path, {"kind": "openai_api", "base_url": "http://localhost:9/v1", "model": "toy"})
    script = (
        "import sys\nfrom pathlib import Path\nfrom harness.cli import app\n"
        f"sys.argv = ['harness', 'plan', {str(tmp_path / 'r.yaml')!r}, '--run-dir', {str(tmp_path / 'run')!r}]\n"
        "try:\n    app(standalone_mode=False)\nfinally:\n    print('loaded', *{'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded"
    assert "total" in done.stdout


def test_prompts_are_those_that_are_sent_and_come_back_as_an_arm(tmp_path: Path) -> None:
    with writing_server() as (backend, sent):
        given = recipe(tmp_path, backend)
        written = write_prompts(given, tmp_path / "run", tmp_path / "out")
        assert sent == []
        assert {path.name: n for path, n in written.items()} == {"unguided.jsonl": N, "dualalign.jsonl": N}
        rows = [json.loads(line) for line in (tmp_path / "out" / "dualalign.jsonl").read_text().splitlines()]
        list(run_recipe(given, tmp_path / "run", until="generation"))
        assert {row["prompt"] for row in rows} <= set(sent)
        bare = json.loads((tmp_path / "out" / "unguided.jsonl").read_text().splitlines()[0])
        assert not {"persona_id", "age_years", "sex", "visit_index", "stage", "note_type", "term", "style"} & set(bare)
        for row in rows:
            assert {"persona_id", "age_years", "sex", "visit_index", "stage", "note_type", "label"} <= set(row)
            assert "cell_id" not in row
            assert row.get("term", "") in row["prompt"]
            row["text"] = write_sentence(row["prompt"], int(row["text_id"]))
        answers = tmp_path / "answers.jsonl"
        answers.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        theirs = recipe(tmp_path, backend, f"arms.dualalign={{path: {answers}}}")
        list(run_recipe(theirs, tmp_path / "theirs", until="generation"))
    folder = tmp_path / "theirs" / "02_generation" / "dualalign"
    ours = {row["text_id"]: row for row in rows}
    imported = read_rows(folder / "synthetic.parquet", SYNTHETIC)
    assert len(imported) == N
    for found in imported:
        row = ours[found["text_id"]]
        for column in ("persona_id", "visit_index", "sex", "age_band", "race_ethnicity", "stage", "template"):
            assert found[column] == row[column]
        assert (found["planned_label"], found["planned_term"], found["style"]) == (row["label"], row.get("term"), row.get("style"))  # fmt: skip
        assert found["prompt_sha256"] == row["prompt_sha256"] == hashlib.sha256(row["prompt"].encode()).hexdigest()
    for found in read_rows(folder / "planned.parquet", PLANNED):
        row = ours[found["text_id"]]
        assert [found[name] for name in ("domain", "term", "label", "polarity", "course")] == [
            row.get(name) for name in ("domain", "term", "label", "polarity", "course")
        ]


def test_unknown_arms_and_files_have_no_prompts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Gets lost at night.", "label": "other"}\n', encoding="utf-8")
    backend = {"kind": "openai_api", "base_url": "http://localhost:9/v1", "model": "toy"}
    given = recipe(tmp_path, backend, f"arms.unguided={{path: {tmp_path / 'a.jsonl'}}}")
    with pytest.raises(ConfigError) as caught:
        write_prompts(given, tmp_path / "run", tmp_path / "out", ["dualign", "unguided"])
    assert "no arm 'dualign'; did you mean 'dualalign'?; known: dualalign, unguided" in str(caught.value)
    assert "arm 'unguided' is a file; only generated arms have prompts" in str(caught.value)
    assert not (tmp_path / "out").exists()
