"""Text from any OpenAI-compatible server: vLLM, SGLang, TGI, `transformers serve`, or a hosted one.

Requests run with bounded concurrency over kept connections and are yielded as they come back. Before each try a meter
is asked whether it may still be paid for. A request that still fails after its retries is a failed reply, never a text.
What a server says beside its status code is not repeated: it may quote the prompt.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import numpy as np

from harness.backends.base import UNMETERED, Answered, Identity, Meter, Reply, Request, Sample, first_line
from harness.errors import BackendError, ConfigError
from harness.schemas.arms import OpenAIBackend as Settings

PROBE_S = 10.0  # a server that lists its models slower than this is not there
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 60.0
RETRIED = {408, 409, 425, 429}  # and all from 500; every other status of 400 and above would only come again
UNBILLED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)  # nothing was sent
REFUSED = {401: "it refuses the key", 403: "it refuses the key", 404: "it knows no such model or endpoint"}


class _Connections:
    """Kept connections, as many as requests were ever in flight; each in a client of its own.

    One client with a pool of n looks through all n, for each of them, at every request. At 32 in flight that was three
    quarters of the 3.5 ms of processor time that a request cost, and it grows with the square.
    """

    def __init__(self, headers: Mapping[str, str], settings: Settings) -> None:
        self._headers, self._timeout_s = headers, settings.timeout_s
        # reading the certificates takes longer than many requests: once for all, and only where they are needed
        is_https = settings.base_url.startswith("https")
        self._ssl = httpx.create_ssl_context() if is_https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._all: list[httpx.AsyncClient] = []
        self._free: list[httpx.AsyncClient] = []

    async def post(self, url: str, body: Mapping[str, Any]) -> httpx.Response:
        client = self._free.pop() if self._free else self._open()
        try:
            return await client.post(url, json=body)
        finally:
            self._free.append(client)

    async def close(self) -> None:
        for client in self._all:
            await client.aclose()

    def _open(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        client = httpx.AsyncClient(headers=self._headers, timeout=self._timeout_s, limits=limits, verify=self._ssl)
        self._all.append(client)
        return client


@dataclass(frozen=True)
class _Flight:
    """What the requests of one call have in common."""

    loop: asyncio.AbstractEventLoop
    connections: _Connections
    sample: Sample
    meter: Meter


@dataclass(frozen=True)
class _Tried:
    """How one try ended; one without an answer is worth another."""

    reply: Reply
    is_worth_another: bool = True
    retry_after_s: float | None = None


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

    def generate(self, requests: Sequence[Request], sample: Sample, meter: Meter = UNMETERED) -> Iterator[Answered]:
        """Answer with at most `concurrency` requests in flight.

        Raises:
            BackendError: The server cannot be reached, or refuses the key or the model.
            SpendingError: The meter has nothing left for the next request, and no request is in flight any more.
        """
        if not self._probed:
            self._probe()
            self._probed = True
        loop = asyncio.new_event_loop()
        flight = _Flight(loop, _Connections(self._headers, self._settings), sample, meter)
        waiting = deque(range(len(requests)))
        tasks: dict[asyncio.Task[Reply | None], int] = {}
        try:
            while waiting or tasks:
                self._admit(flight, requests, waiting, tasks)
                if not tasks:
                    raise meter.refusal(requests[waiting[0]], sample)
                done, _ = loop.run_until_complete(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
                answered: Answered = []
                for index, reply in sorted((tasks.pop(task), task.result()) for task in done):
                    if reply is None:
                        waiting.appendleft(index)  # its next try could not be paid for beside those in flight
                    else:
                        answered.append((index, reply))
                if answered:
                    yield answered
        finally:
            loop.run_until_complete(_shut(flight.connections, list(tasks)))
            loop.close()

    def _admit(
        self,
        flight: _Flight,
        requests: Sequence[Request],
        waiting: deque[int],
        tasks: dict[asyncio.Task[Reply | None], int],
    ) -> None:
        """Send what concurrency and meter allow; in order, so that which requests a cap cuts off is no accident."""
        while waiting and len(tasks) < self._settings.concurrency:
            ticket = flight.meter.reserve(requests[waiting[0]], flight.sample)
            if ticket is None:
                return
            index = waiting.popleft()
            tasks[flight.loop.create_task(self._ask(flight, requests[index], ticket))] = index

    def close(self) -> None:
        """Nothing stays open between calls of `generate`."""

    # -- one request --

    def _probe(self) -> None:
        """Fail fast, with the address, where nobody answers; any answer at all will do."""
        timeout = min(PROBE_S, self._settings.timeout_s)
        try:
            is_https = self._base_url.startswith("https")
            answer = httpx.get(f"{self._base_url}/models", headers=self._headers, timeout=timeout, verify=is_https)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BackendError(
                f"no answer from {self._base_url} ({error.__class__.__name__}); is the server up, is base_url right?"
            ) from error
        if answer.status_code in (401, 403):
            raise BackendError(self._refusal(answer.status_code))

    async def _ask(self, flight: _Flight, request: Request, ticket: int) -> Reply | None:
        """The reply after up to `max_retries` further tries; None where one of those cannot be paid for now."""
        rng = np.random.default_rng(request.seed)  # of the waiting times alone
        for attempt in range(self._settings.max_retries + 1):
            tried = await self._try(flight, request, ticket)
            if not tried.is_worth_another or attempt == self._settings.max_retries:
                break
            await asyncio.sleep(waiting_time_s(attempt, tried.retry_after_s, jitter=rng.random()))
            again = flight.meter.reserve(request, flight.sample)
            if again is None:
                return None
            ticket = again
        return tried.reply

    async def _try(self, flight: _Flight, request: Request, ticket: int) -> _Tried:
        """One request, settled with the meter; where it is cancelled, its ticket stays out."""
        url, body = f"{self._base_url}/{self._path}", self._body(request, flight.sample)
        try:
            async with asyncio.timeout(self._settings.timeout_s):  # httpx's own starts again with every byte
                answer = await flight.connections.post(url, body)
        except (httpx.HTTPError, TimeoutError) as error:
            is_timeout = isinstance(error, (httpx.TimeoutException, TimeoutError))
            cost = 0 if isinstance(error, UNBILLED) else None
            flight.meter.settle(ticket, cost, cost)
            return _Tried(Reply(status="failed", reason="timeout" if is_timeout else error.__class__.__name__))
        if answer.status_code >= 400:
            flight.meter.settle(ticket, 0, 0)
        if answer.status_code in REFUSED:
            raise BackendError(self._refusal(answer.status_code))
        reply = self._read(answer, request)
        if answer.status_code < 400:
            flight.meter.settle(ticket, reply.n_prompt_tokens, reply.n_completion_tokens)
        return _Tried(
            reply,
            is_worth_another=reply.status == "failed" and _is_retried(answer.status_code),
            retry_after_s=retry_after_s(answer.headers, datetime.now(UTC)),
        )

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
            usage = content.get("usage") or {}
            choices = content["choices"]
            n_choices = len(choices)
            text = choices[0]["message"]["content"] if self._settings.endpoint == "chat" else choices[0]["text"]
            reason = choices[0].get("finish_reason")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Reply(status="failed", reason="not an OpenAI-compatible answer")
        reply = Reply(
            status="failed",
            n_prompt_tokens=_count(usage, "prompt_tokens"),
            n_completion_tokens=_count(usage, "completion_tokens"),
        )
        if n_choices != 1:
            return replace(reply, reason="more than one choice in the answer")
        if not isinstance(text, str):
            return replace(reply, reason="no text in the answer")
        wanted = text.strip() if request.multiline else first_line(text)
        is_cut = reason == "length" and wanted == text.strip()  # a later line that was cut does no harm
        return replace(reply, status="ok", text=wanted, finish_reason="length" if is_cut else "stop")

    def _refusal(self, status: int) -> str:
        key = self._settings.api_key_env
        hint = f"the key is read from {key}" if key else "the recipe gives no api_key_env"
        return f"{self._base_url} answers {status}: {REFUSED[status]} (model {self._settings.model!r}; {hint})"


def waiting_time_s(attempt: int, asked_s: float | None, *, jitter: float) -> float:
    """Seconds before the next try: what the server asks, else doubling; spread, so that clients do not return at once.

    Args:
        attempt: Tries before, from 0.
        asked_s: What the server asks for, if it does.
        jitter: Uniform in [0, 1).

    Source: Brooker, Exponential Backoff and Jitter (AWS Architecture Blog, 2015).
    """
    if asked_s is not None:
        return min(MAX_WAIT_S, asked_s) + FIRST_WAIT_S * jitter
    return min(MAX_WAIT_S, FIRST_WAIT_S * 2.0**attempt * (0.5 + jitter))


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
    return value if isinstance(value, int) and value >= 0 else None


async def _shut(connections: _Connections, tasks: list[asyncio.Task[Reply | None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connections.close()
