"""Killed in the middle, annotation goes on where it stopped; capped, it stops cleanly and goes on when the cap is raised."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from toy_texts import annotator, do, reads_meaning, sentence, tables, toy_run

from harness.backends.base import Request
from harness.backends.spending import prompt_tokens_at_worst
from harness.errors import SpendingError
from harness.prompts.annotate import answer_schema, render_annotate
from harness.store import sha256_file


def slow(text: str, seed: int) -> str:
    time.sleep(0.05)
    return reads_meaning(text, seed)


def n_kept(cache: Path) -> int:
    if not cache.is_file():
        return 0
    connection = sqlite3.connect(cache)
    try:
        return int(connection.execute("SELECT count(*) FROM replies").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # being written
    finally:
        connection.close()


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in (folder / "run" / "03_annotation" / "dual").glob("*.parquet")}


def test_a_kill_in_mid_annotation_loses_no_row_and_asks_nothing_kept_again(tmp_path: Path) -> None:
    with annotator(slow) as (backend, server):
        rules = {"labels": "llm", "votes": 5, "backend": {**backend, "concurrency": 2}}
        do(toy_run(tmp_path / "whole", rules))
        n_whole = len(server.bodies)
        assert n_whole == 60
        killed = tmp_path / "killed"
        cache = killed / "run" / "03_annotation" / "dual" / "answers.sqlite"
        command = [sys.executable, str(Path(__file__).parent / "annotate_target.py"), str(killed), json.dumps(rules)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while n_kept(cache) < 10 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]
        kept = n_kept(cache)
        assert 10 <= kept < n_whole
        assert hashes(killed) == {}
        before = len(server.bodies)
        do(toy_run(killed, rules))
        assert len(server.bodies) - before == n_whole - kept
    assert hashes(killed) == hashes(tmp_path / "whole")
    assert len(tables(toy_run(killed, rules))["sentences"]) == 12


def test_a_cap_stops_the_annotator_cleanly_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    def capped(backend: dict[str, Any], cap: int) -> Any:
        run = toy_run(
            tmp_path,
            {"labels": "llm", "backend": {**backend, "concurrency": 1}},
            texts=[sentence(i) for i in range(12)],
        )
        spending = run.recipe.file.spending.model_copy(update={"max_tokens_total": cap})
        recipe = run.recipe.model_copy(update={"file": run.recipe.file.model_copy(update={"spending": spending})})
        return type(run)(recipe=recipe, folder=run.folder)

    task = capped({"kind": "openai_api", "base_url": "http://localhost:1/v1", "model": "m"}, 1).task
    request = Request(render_annotate(task, sentence(0)["text"]), 0, answer_schema=answer_schema(task))
    one_at_worst = prompt_tokens_at_worst(request) + 64
    with annotator() as (backend, server):
        with pytest.raises(SpendingError, match=r"spending.max_tokens_total stops here"):
            do(capped(backend, one_at_worst + 40))  # the server reports 8 tokens an answer
        n_before = len(server.bodies)
        assert 0 < n_before < 12
        assert not list((tmp_path / "run" / "03_annotation" / "dual").glob("*.parquet"))
        counts = do(capped(backend, 100_000))
        asked = Counter(body["messages"][0]["content"] for body in server.bodies)
    assert counts.rows_out == 12
    assert len(server.bodies) == 12
    assert set(asked.values()) == {1}
