"""What a text generator is to the harness: requests in, replies out, batch by batch. Known kinds are in registry.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from harness.errors import SpendingError

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Request:
    """One text to write.

    Attributes:
        prompt: What the model reads.
        seed: 32 bits; the only source of randomness of this request.
        n_shared_chars: Leading characters of the prompt that many requests have in common. A hint for speed (a backend
            may read them once); it never changes what is asked.
        multiline: Whether the reply is the whole text up to the end token; else it is the first line.
        answer_schema: JSON schema of an answer that is to be JSON. A server is told so as far as the recipe says it
            offers that; models in this process take no notice. The answer is checked by whoever asked.
    """

    prompt: str
    seed: int
    n_shared_chars: int = 0
    multiline: bool = False
    answer_schema: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Sample:
    """How the next token is drawn; the same for all requests of an arm."""

    temperature: float
    top_p: float
    max_new_tokens: int


@dataclass(frozen=True)
class Reply:
    """The answer to one request. A failed request has a reason and no text: a failure is never a text.

    Attributes:
        status: `ok` or `failed`.
        text: What was written, without white space around it; empty where the request failed.
        reason: Why it failed; None where it did not.
        finish_reason: `stop` at the end token or, where one line was asked for, at a newline; `length` when the token
            limit cut it.
        n_prompt_tokens: None where the server does not say.
        n_completion_tokens: Likewise.
    """

    status: Literal["ok", "failed"]
    text: str = ""
    reason: str | None = None
    finish_reason: FinishReason | None = None
    n_prompt_tokens: int | None = None
    n_completion_tokens: int | None = None


@dataclass(frozen=True)
class Identity:
    """What decides a backend's text beside the request: part of every cache key, and written beside the text."""

    kind: str
    model_id: str
    revision: str
    variant: str = ""
    """Whatever else changes the text: number format, chat template, endpoint."""


Answered = list[tuple[int, Reply]]


class Meter(Protocol):
    """Says whether a request may still be sent, and keeps count of what was spent; see spending.py."""

    def reserve(self, request: Request, sample: Sample) -> int | None:
        """A ticket that sets aside the most this request can cost.

        None where that does not fit beside what is spent and what other tickets hold.
        """
        ...

    def settle(self, ticket: int, n_prompt_tokens: int | None, n_completion_tokens: int | None) -> None:
        """Put what a request did cost in place of what its ticket held; None where nobody knows keeps the most."""
        ...

    def refusal(self, request: Request, sample: Sample) -> SpendingError:
        """What to raise where `reserve` gives no ticket and none is out."""
        ...


class Unmetered:
    """Lets everything pass and counts nothing: for models that cost nothing."""

    def reserve(self, request: Request, sample: Sample) -> int | None:  # noqa: ARG002
        return 0

    def settle(self, ticket: int, n_prompt_tokens: int | None, n_completion_tokens: int | None) -> None:
        """Nothing is kept."""

    def refusal(self, request: Request, sample: Sample) -> SpendingError:  # noqa: ARG002
        return SpendingError("no cap is set")


UNMETERED = Unmetered()


class Backend(Protocol):
    """A model that writes one text per request."""

    @property
    def identity(self) -> Identity: ...

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """How requests are grouped, as indices into `requests`; a group is what `generate` is given at once.

        Groups depend on the requests alone, so that a resumed run forms the same ones.
        """
        ...

    def scope(self, requests: Sequence[Request]) -> str:
        """Part of the cache key of each request of a group: what its text may owe to the others in the group."""
        ...

    def generate(self, requests: Sequence[Request], sample: Sample, meter: Meter = UNMETERED) -> Iterator[Answered]:
        """Answer a group; yields (index, reply) as they come, each index once.

        A backend that costs money asks `meter` before it sends.

        Raises:
            SpendingError: The meter has nothing left for the next request; those before it have been yielded.
            BackendError: The model cannot be loaded, or the server cannot be reached or refuses us.
        """
        ...

    def close(self) -> None: ...


def request_key(identity: Identity, request: Request, sample: Sample, scope: str) -> str:
    """SHA-256 of everything that decides the reply."""
    content = [identity.kind, identity.model_id, identity.revision, identity.variant, request.prompt, request.seed,
               request.multiline, request.answer_schema, sample.temperature, sample.top_p, sample.max_new_tokens,
               scope]  # fmt: skip
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def first_line(text: str) -> str:
    """The first line that holds more than white space, trimmed; the empty string where there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
