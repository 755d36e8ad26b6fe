"""Against a real OpenAI-compatible server: `transformers serve` with the embedded model, started here."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.backends.base import Reply, Request, Sample
from harness.backends.embedded import unpacked_model
from harness.backends.registry import open_backend
from harness.errors import BackendError
from harness.schemas.arms import OpenAIBackend

NEEDED = ("fastapi", "uvicorn", "openai")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}; pip install -e .[dev]"),
]
STARTS_WITHIN_S = 120
SAMPLE = Sample(temperature=0.7, top_p=0.9, max_new_tokens=12)


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", "--host", "127.0.0.1", "--port", str(port),
               "--device", "cpu"]  # fmt: skip
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.3)
        else:
            pytest.fail(f"transformers serve did not start in {STARTS_WITHIN_S} s: {log.read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def ask(base_url: str, endpoint: str, prompts: list[str], seed: int = 5) -> list[Reply]:
    settings = OpenAIBackend.model_validate(
        {"kind": "openai_api", "base_url": base_url, "model": str(unpacked_model()), "endpoint": endpoint, "concurrency": 2,
         "max_retries": 0}
    )  # fmt: skip
    backend = open_backend(settings)
    requests = [Request(prompt, seed + index) for index, prompt in enumerate(prompts)]
    found = dict(one for answered in backend.generate(requests, SAMPLE) for one in answered)
    return [found[index] for index in range(len(prompts))]


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_real_server_writes_lines(base_url: str, endpoint: str) -> None:
    shots = "Sentence: Forgets the names of friends.\nSentence: Gets lost at night.\n"
    prompts = [f"{shots}Sentence:", f"{shots}Sentence: She"]
    for reply in ask(base_url, endpoint, prompts):
        assert reply.status == "ok", reply.reason
        assert reply.text
        assert "\n" not in reply.text
        assert reply.n_completion_tokens is not None
        assert 0 < reply.n_completion_tokens <= SAMPLE.max_new_tokens
        assert reply.n_prompt_tokens


def test_an_unknown_model_is_an_error_or_a_failure_and_never_a_text(base_url: str) -> None:
    settings = OpenAIBackend(kind="openai_api", base_url=base_url, model="no/such-model", max_retries=0, timeout_s=60)
    try:
        ((_, reply),) = next(open_backend(settings).generate([Request("Hello", 1)], SAMPLE))
    except BackendError as error:
        assert base_url in str(error)
    else:
        assert (reply.status, reply.text) == ("failed", "")
