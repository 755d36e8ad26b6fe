"""Text from any OpenAI-compatible server: vLLM, SGLang, TGI, `transformers serve`, or a hosted one.

Requests run with bounded concurrency and are yielded as they come back. A request that still fails after its retries is
a failed reply, never a text. What a server says beside its status code is not repeated: it may quote the prompt.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import numpy as np

from harness.backends.base import Answered, Identity, Reply, Request, Sample, first_line
from harness.errors import BackendError, ConfigError
from harness.schemas.arms import OpenAIBackend as Settings

PROBE_S = 10.0  # a server that lists its models slower than this is not there
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 60.0
RETRIED = {408, 409, 425, 429}  # and all from 500; every other status of 400 and above would only come again
REFUSED = {401: "it refuses the key", 403: "it refuses the key", 404: "it knows no such model or endpoint"}


class OpenAIBackend:
    """A model behind a server.

    Raises:
        ConfigError: The recipe names an environment variable for the key, and it is not set.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._headers: dict[str, str] = {}
        if settings.api_key_env is not None:
            key = os.environ.get(settings.api_key_env)
            if not key:
                raise ConfigError(f"backend.api_key_env: the environment variable {settings.api_key_env} is not set")
            self._headers["Authorization"] = f"Bearer {key}"
        self._base_url = settings.base_url.rstrip("/")
        self._probed = False

    @property
    def identity(self) -> Identity:
        given = self._settings
        variant = f"{self._base_url},{given.endpoint}"
        if given.structured_output != "none":
            variant += f",{given.structured_output}"
        return Identity("openai_api", given.model, "served", variant)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return [list(range(len(requests)))] if requests else []

    def scope(self, requests: Sequence[Request]) -> str:  # noqa: ARG002 - a server answers each request by itself
        return ""

    def generate(self, requests: Sequence[Request], sample: Sample) -> Iterator[Answered]:
        """Answer with at most `concurrency` requests in flight.

        Raises:
            BackendError: The server cannot be reached, or refuses the key or the model.
        """
        if not self._probed:
            self._probe()
            self._probed = True
        loop = asyncio.new_event_loop()
        tasks: dict[asyncio.Task[Reply], int] = {}
        client = httpx.AsyncClient(headers=self._headers, timeout=self._settings.timeout_s)
        waiting = iter(enumerate(requests))
        try:
            while True:
                while len(tasks) < self._settings.concurrency and (one := next(waiting, None)) is not None:
                    tasks[loop.create_task(self._ask(client, one[1], sample))] = one[0]
                if not tasks:
                    return
                done, _ = loop.run_until_complete(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
                yield [(tasks.pop(task), task.result()) for task in sorted(done, key=lambda task: tasks[task])]
        finally:
            loop.run_until_complete(_shut(client, list(tasks)))
            loop.close()

    def close(self) -> None:
        """Nothing stays open between calls of `generate`."""

    # -- one request --

    def _probe(self) -> None:
        """Fail fast, with the address, where nobody answers; any answer at all will do."""
        timeout = min(PROBE_S, self._settings.timeout_s)
        try:
            answer = httpx.get(f"{self._base_url}/models", headers=self._headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BackendError(
                f"no answer from {self._base_url} ({error.__class__.__name__}); is the server up, is base_url right?"
            ) from error
        if answer.status_code in (401, 403):
            raise BackendError(self._refusal(answer.status_code))

    async def _ask(self, client: httpx.AsyncClient, request: Request, sample: Sample) -> Reply:
        rng = np.random.default_rng(request.seed)  # of the waiting times alone
        reply = Reply(status="failed", reason="never asked")
        for attempt in range(self._settings.max_retries + 1):
            wait: float | None = None
            try:
                answer = await client.post(f"{self._base_url}/{self._path}", json=self._body(request, sample))
            except httpx.TimeoutException:
                reply = Reply(status="failed", reason="timeout")
            except httpx.HTTPError as error:
                reply = Reply(status="failed", reason=error.__class__.__name__)
            else:
                if answer.status_code in REFUSED:
                    raise BackendError(self._refusal(answer.status_code))
                reply = self._read(answer, request)
                if reply.status == "ok" or not _is_retried(answer.status_code):
                    return reply
                wait = retry_after_s(answer.headers, datetime.now(UTC))
            if attempt < self._settings.max_retries:
                backoff = FIRST_WAIT_S * 2**attempt * (0.5 + rng.random())
                await asyncio.sleep(min(MAX_WAIT_S, backoff if wait is None else wait))
        return reply

    @property
    def _path(self) -> str:
        return "chat/completions" if self._settings.endpoint == "chat" else "completions"

    def _body(self, request: Request, sample: Sample) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._settings.model,
            "temperature": sample.temperature,
            "top_p": sample.top_p,
            "max_tokens": sample.max_new_tokens,
            "seed": request.seed,
        }
        if request.answer_schema is not None and self._settings.structured_output != "none":
            body["response_format"] = _response_format(request.answer_schema, self._settings.structured_output)
        if self._settings.endpoint == "chat":  # no stop at a newline: many chat models begin with one
            return {**body, "messages": [{"role": "user", "content": request.prompt}]}
        stop = {} if request.multiline else {"stop": ["\n"]}
        return {**body, "prompt": request.prompt, **stop}

    def _read(self, answer: httpx.Response, request: Request) -> Reply:
        if answer.status_code >= 400:
            return Reply(status="failed", reason=f"HTTP {answer.status_code}")
        try:
            content = answer.json()
            choice = content["choices"][0]
            text = choice["message"]["content"] if self._settings.endpoint == "chat" else choice["text"]
            usage = content.get("usage") or {}
            reason = choice.get("finish_reason")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Reply(status="failed", reason="not an OpenAI-compatible answer")
        if not isinstance(text, str):
            return Reply(status="failed", reason="no text in the answer")
        wanted = text.strip() if request.multiline else first_line(text)
        is_cut = reason == "length" and wanted == text.strip()  # a later line that was cut does no harm
        return Reply(
            status="ok",
            text=wanted,
            finish_reason="length" if is_cut else "stop",
            n_prompt_tokens=_count(usage, "prompt_tokens"),
            n_completion_tokens=_count(usage, "completion_tokens"),
        )

    def _refusal(self, status: int) -> str:
        key = self._settings.api_key_env
        hint = f"the key is read from {key}" if key else "the recipe gives no api_key_env"
        return f"{self._base_url} answers {status}: {REFUSED[status]} (model {self._settings.model!r}; {hint})"


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a server asks us to wait, at least 0; None where it asks nothing we understand.

    Source: RFC 9110, 10.2.3 (seconds, or an HTTP date).
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())


def _response_format(schema: Mapping[str, Any], offered: str) -> dict[str, Any]:
    """Source: OpenAI API reference, chat completions, response_format; vLLM, SGLang and TGI take the same."""
    if offered == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}


def _is_retried(status: int) -> bool:
    """An answer with a good status but no text in it (200) is asked for again, too."""
    return status < 400 or status in RETRIED or status >= 500


def _count(usage: object, key: str) -> int | None:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if isinstance(value, int) else None


async def _shut(client: httpx.AsyncClient, tasks: list[asyncio.Task[Reply]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()
