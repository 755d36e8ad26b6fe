"""Caps on tokens and money: kept by the worst case, over interruptions, without asking anything twice."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from local_server import Answer, LocalServer, completion, serving
from pytest import approx

from harness.backends.base import UNMETERED, Reply, Request, Sample
from harness.backends.cache import ReplyCache, ask
from harness.backends.registry import open_backend
from harness.backends.spending import (
    LEDGER,
    Caps,
    load_caps,
    open_meter,
    prompt_tokens_at_worst,
    read_spent,
    read_spent_by_unit,
)
from harness.errors import ConfigError, DataError, SpendingError
from harness.schemas.arms import EmbeddedBackend, OpenAIBackend, Spending
from harness.schemas.prices import Price
from harness.schemas.recipe import Recipe, load_recipe
from harness.store import Run

SAMPLE = Sample(temperature=0.7, top_p=0.9, max_new_tokens=20)
PROMPT = "Write one sentence about a walk in the park with an old friend."  # 63 bytes
AT_WORST = prompt_tokens_at_worst(Request(PROMPT, 1))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(Path(__file__).parents[2] / "recipes" / "quickstart.yaml")


def run_with(recipe: Recipe, folder: Path, **spending: Any) -> Run:
    file = recipe.file.model_copy(update={"spending": Spending.model_validate(spending)})
    folder.mkdir(exist_ok=True)
    return Run(recipe=recipe.model_copy(update={"file": file}), folder=folder)


def prices(folder: Path, *lines: str) -> Path:
    path = folder / "prices.csv"
    head = "model,usd_per_million_prompt_tokens,usd_per_million_completion_tokens"
    path.write_text("\n".join([head, *lines]), encoding="utf-8")
    return path


def asked(run: Run, server: LocalServer, n: int, *, unit: str = "generation/a", **more: Any) -> dict[int, Reply]:
    settings = OpenAIBackend.model_validate(
        {"kind": "openai_api", "base_url": server.base_url, "model": "toy", "concurrency": 3, "max_retries": 0, **more}
    )
    requests = [Request(f"{PROMPT} ({index:03d})", index) for index in range(n)]
    found: dict[int, Reply] = {}
    with (
        ReplyCache(run.folder / "cache") as cache,
        open_meter(run, unit, settings) as meter,
        closing(ask(open_backend(settings), requests, SAMPLE, cache, meter)) as answers,
    ):
        for answered in answers:
            found.update(answered)
    return found


def used(n_prompt: int = 17, n_completion: int = 9) -> Answer:
    return completion("A line.", usage={"prompt_tokens": n_prompt, "completion_tokens": n_completion})


def test_the_token_cap_is_never_passed_and_a_higher_one_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    with serving(lambda n, body: used()) as server:
        with pytest.raises(SpendingError) as caught:
            asked(run_with(recipe, tmp_path, max_tokens_total=600), server, 40)
        n_first = len(server.bodies)
        # each answer takes 26; the next request is sent while what is spent and its own worst case fit together
        spent = 26 * n_first
        assert spent <= 600 < spent + prompt_tokens_at_worst(Request(f"{PROMPT} (000)", 1)) + 20
        message = str(caught.value)
        for part in (f"spending.max_tokens_total stops here: {spent:,} tokens of 600 are spent on {n_first} requests",
                     "run the same command again", "not asked again"):  # fmt: skip
            assert part in message
        assert PROMPT not in message
        found = asked(run_with(recipe, tmp_path, max_tokens_total=6000), server, 40)
    assert sorted(found) == list(range(40))
    assert len(server.bodies) == 40
    assert len({body["seed"] for body in server.bodies}) == 40
    assert read_spent(tmp_path)["toy"].n_tokens == 26 * 40


def test_requests_in_flight_count_at_their_most(recipe: Recipe, tmp_path: Path) -> None:
    """Room for two worst cases: with three in flight allowed there are never three, though answers are cheap."""
    import threading
    import time

    lock, now, most = threading.Lock(), [0], [0]

    def answer(n: int, body: object) -> Answer:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return used(0, 0)

    worst = prompt_tokens_at_worst(Request(f"{PROMPT} (000)", 1)) + SAMPLE.max_new_tokens
    with serving(answer) as server:
        assert len(asked(run_with(recipe, tmp_path, max_tokens_total=2 * worst + 5), server, 12)) == 12
    assert most[0] == 2


def test_money_is_counted_by_the_price_table(recipe: Recipe, tmp_path: Path) -> None:
    table = prices(tmp_path, "toy,1000,4000", "other,1,1")
    with serving(lambda n, body: used()) as server:
        with pytest.raises(SpendingError, match=r"spending\.max_usd stops here: .* and \$[\d.]+ of \$1 are spent"):
            asked(run_with(recipe, tmp_path / "run", max_usd=1, prices=table), server, 40)
        n = len(server.bodies)
    # one answer: 17 x $0.001 + 9 x $0.004 = $0.053; the next may take (prompt at worst) x $0.001 + 20 x $0.004
    per_request = 0.017 + 0.036
    next_one = prompt_tokens_at_worst(Request(f"{PROMPT} (000)", 1)) * 0.001 + 0.08
    assert n * per_request <= 1 < n * per_request + next_one
    caps = Caps(max_usd=1, prices={"toy": Price(1000, 4000)})
    assert caps.usd(read_spent(tmp_path / "run")) == approx(n * per_request)


def test_a_server_without_usage_is_counted_at_the_most_and_said_so(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = {"choices": [{"message": {"content": "A line."}, "finish_reason": "stop"}]}
    with serving(lambda n, body: Answer(200, json.dumps(plain).encode())) as server:
        asked(run_with(recipe, tmp_path), server, 5)
    spent = read_spent(tmp_path)["toy"]
    worst = prompt_tokens_at_worst(Request(f"{PROMPT} (000)", 1)) + SAMPLE.max_new_tokens
    assert (spent.n_tokens, spent.n_assumed) == (5 * worst, 5)
    assert "5 requests came back without usage and count at the most" in caplog.text


def test_refused_requests_cost_nothing_and_lost_answers_their_most(recipe: Recipe, tmp_path: Path) -> None:
    bodies = [Answer(429), Answer(500), Answer(200, b"half an ans"), used()]
    with serving(lambda n, body: bodies[n]) as server:
        (reply,) = asked(run_with(recipe, tmp_path), server, 1, max_retries=3).values()
    assert reply.status == "ok"
    spent = read_spent(tmp_path)["toy"]
    worst = prompt_tokens_at_worst(Request(f"{PROMPT} (000)", 0)) + SAMPLE.max_new_tokens
    assert (spent.n_requests, spent.n_assumed, spent.n_tokens) == (4, 1, worst + 26)


def test_an_estimate_that_a_server_exceeds_is_raised_for_what_follows(recipe: Recipe, tmp_path: Path) -> None:
    with serving(lambda n, body: used(10 * AT_WORST, 5)) as server, pytest.raises(SpendingError):
        asked(run_with(recipe, tmp_path, max_tokens_total=60 * AT_WORST), server, 40, concurrency=1)
    assert read_spent(tmp_path)["toy"].n_tokens <= 60 * AT_WORST
    assert len(server.bodies) >= 4


def test_a_retry_that_cannot_be_paid_for_waits_for_the_others_and_is_not_lost(recipe: Recipe, tmp_path: Path) -> None:
    """The first try of request 0 is lost and stays charged; its second finds no room until the cap is raised."""

    def answer(n: int, body: dict[str, Any]) -> Answer:
        return Answer(200, b"half") if body["seed"] == 0 else used(0, 0)

    worst = prompt_tokens_at_worst(Request(f"{PROMPT} (000)", 1)) + SAMPLE.max_new_tokens
    with serving(answer) as server, pytest.raises(SpendingError):
        asked(run_with(recipe, tmp_path, max_tokens_total=2 * worst - 1), server, 3, max_retries=5, concurrency=2)
    assert [body["seed"] for body in server.bodies].count(0) == 1
    with serving(lambda n, body: used(0, 0)) as server:
        assert len(asked(run_with(recipe, tmp_path, max_tokens_total=9 * worst), server, 3)) == 3


def test_what_was_in_flight_at_a_kill_counts_at_its_most(recipe: Recipe, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "import test_spending as t\nfrom harness.backends.spending import open_meter\n"
        "from harness.schemas.arms import OpenAIBackend\nfrom harness.schemas.recipe import load_recipe\n"
        "recipe = load_recipe(Path(sys.argv[3]))\n"
        "settings = OpenAIBackend(kind='openai_api', base_url='http://localhost:1/v1', model='toy')\n"
        "with open_meter(t.run_with(recipe, Path(sys.argv[1])), 'generation/a', settings) as meter:\n"
        "    first = meter.reserve(t.Request(t.PROMPT, 1), t.SAMPLE)\n"
        "    meter.reserve(t.Request(t.PROMPT, 2), t.SAMPLE)\n"
        "    meter.settle(first, 17, 9)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    here = Path(__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(here), str(recipe.path)], env=dict(os.environ), check=False
    )
    assert ended.returncode == -signal.SIGKILL
    spent = read_spent(tmp_path)["toy"]
    assert (spent.n_requests, spent.n_assumed) == (2, 1)
    assert spent.n_tokens == 26 + AT_WORST + SAMPLE.max_new_tokens


def test_local_models_are_not_metered_and_leave_no_ledger(recipe: Recipe, tmp_path: Path) -> None:
    run = run_with(recipe, tmp_path, max_tokens_total=1)
    with open_meter(run, "generation/a", EmbeddedBackend(kind="embedded")) as meter:
        assert meter is UNMETERED
    assert not (tmp_path / LEDGER).exists()
    assert read_spent(tmp_path) == {}


def test_a_damaged_ledger_is_not_taken_for_an_empty_one(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"no database at all " * 200)
    with pytest.raises(DataError, match="not a readable ledger of what was spent"):
        read_spent(tmp_path)


def test_money_spent_on_a_model_that_has_lost_its_price_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    with serving(lambda n, body: used()) as server:
        asked(run_with(recipe, tmp_path), server, 1, model="bygone")
        table = prices(tmp_path, "toy,1,1")
        with pytest.raises(ConfigError, match="no row for 'bygone', which this run has paid for before"):
            asked(run_with(recipe, tmp_path, max_usd=1, prices=table), server, 1)


def test_faults_of_a_price_table_come_together_with_their_rows(tmp_path: Path) -> None:
    table = prices(tmp_path, "a,1,-2", "a,1,2", ",1,2", "b,cheap,nan", "big-model,1,1")
    with pytest.raises(ConfigError) as caught:
        load_caps(Spending(max_usd=1, prices=table), {"big_model"})
    message = str(caught.value)
    for part in (
        "6 faults",
        "row 2, column 'usd_per_million_completion_tokens': found '-2'; allowed: US dollars, a number of 0 or more",
        "row 3, column 'model': 'a' is given twice",
        "row 4, column 'model': found nothing",
        "row 5, column 'usd_per_million_prompt_tokens': found 'cheap'",
        "row 5, column 'usd_per_million_completion_tokens': found 'nan'",
        "no row for model 'big_model'; did you mean 'big-model'?; found: a, b, big-model",
    ):
        assert part in message
    (tmp_path / "short.csv").write_text("model,usd_per_million_prompt_tokens\na,1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="missing column usd_per_million_completion_tokens; found model, usd_per"):
        load_caps(Spending(prices=tmp_path / "short.csv"), {"a"})
    with pytest.raises(ConfigError, match="no such price table"):
        load_caps(Spending(prices=tmp_path / "none.csv"), {"a"})


def test_what_was_spent_is_told_for_each_unit(recipe: Recipe, tmp_path: Path) -> None:
    assert read_spent_by_unit(tmp_path) == {}
    with serving(lambda n, body: used()) as server:
        run = run_with(recipe, tmp_path)
        asked(run, server, 3)
        asked(run, server, 5, unit="annotation/a")  # three of them are known by then, and cost nothing
    found = {unit: spent["toy"].n_requests for unit, spent in read_spent_by_unit(tmp_path).items()}
    assert found == {"generation/a": 3, "annotation/a": 2}
    assert sum(spent["toy"].n_tokens for spent in read_spent_by_unit(tmp_path).values()) == 26 * 5
