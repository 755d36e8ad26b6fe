"""What an arm or an annotator will ask for, before anything is sent: requests, tokens, money, time. Pure.

A sentence that is dropped is asked for again, so the number of requests depends on the share of candidates that are
kept. Expected figures take that share from an earlier run of the arm, or else an assumption that is told with them; the
most that can happen is every sentence asked for at every attempt and every answer as long as allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.schemas.prices import Price

Basis = Literal["measured", "assumed"]

# Assumed, and shown beside every figure that rests on them; an earlier run of the arm replaces them.
ACCEPTANCE = 0.6  # share of candidates kept
COMPLETION_SHARE = 0.6  # of max_new_tokens that an answer uses
TOKENS_PER_S_LOCAL = 100.0  # completion tokens per second of a model in this process
TOKENS_PER_S_SERVED = 25.0  # completion tokens per second of one request at a server
BYTES_PER_TOKEN = 4.0  # of an English prompt, where no tokenizer is named


@dataclass(frozen=True)
class Rate:
    """A number with where it comes from."""

    value: float
    basis: Basis


@dataclass(frozen=True)
class Ask:
    """The requests of an arm, or of the annotator of its sentences, at the first attempt.

    Attributes:
        title: The arm's name, or what is done to it.
        model: Who is asked.
        n_texts: Sentences, notes or votes wanted.
        n_prompt_tokens: Of the first attempt's prompts together.
        is_counted: Whether a tokenizer counted them; else they are estimated from bytes.
        max_attempts: Candidates per text at most.
        max_new_tokens: Of one answer.
        concurrency: Requests in flight; 1 for a model in this process, whose speed is that of the whole batch.
        price: None where the model is not behind a server or no price table is given.
        is_metered: Whether the recipe's caps count it.
    """

    title: str
    model: str
    n_texts: int
    n_prompt_tokens: int
    is_counted: bool
    max_attempts: int
    max_new_tokens: int
    concurrency: int = 1
    price: Price | None = None
    is_metered: bool = False


@dataclass(frozen=True)
class Rates:
    """What the expected figures of an arm rest on."""

    acceptance: Rate
    completion_tokens: Rate
    """Of one answer."""
    tokens_per_s: Rate
    """Completion tokens, of the arm as a whole."""


@dataclass(frozen=True)
class Amount:
    """Requests with their tokens, money (US dollars) and time; None where there is no price, or no speed to tell."""

    n_requests: float
    n_prompt_tokens: float
    n_completion_tokens: float
    usd: float | None
    seconds: float | None

    @property
    def n_tokens(self) -> float:
        return self.n_prompt_tokens + self.n_completion_tokens


def assumed_rates(ask: Ask, *, is_served: bool) -> Rates:
    """Rates of an arm that nobody has run before."""
    speed = TOKENS_PER_S_SERVED * min(ask.concurrency, max(1, ask.n_texts)) if is_served else TOKENS_PER_S_LOCAL
    return Rates(
        acceptance=Rate(ACCEPTANCE, "assumed"),
        completion_tokens=Rate(COMPLETION_SHARE * ask.max_new_tokens, "assumed"),
        tokens_per_s=Rate(speed, "assumed"),
    )


def expected_attempts(acceptance: float, max_attempts: int) -> float:
    """Candidates asked for per text, if each is kept with this probability whatever came before.

    The mean of a geometric distribution cut at `max_attempts`: (1 - (1 - a)^m) / a; `max_attempts` where none is kept.
    """
    if acceptance <= 0:
        return float(max_attempts)
    return float((1 - (1 - acceptance) ** max_attempts) / acceptance)


def expected(ask: Ask, rates: Rates) -> Amount:
    per_text = expected_attempts(rates.acceptance.value, ask.max_attempts)
    return _amount(ask, per_text, rates.completion_tokens.value, rates.tokens_per_s.value)


def at_most(ask: Ask, rates: Rates) -> Amount:
    return _amount(ask, float(ask.max_attempts), float(ask.max_new_tokens), rates.tokens_per_s.value)


def _amount(ask: Ask, per_text: float, n_completion: float, tokens_per_s: float) -> Amount:
    n_requests = ask.n_texts * per_text
    n_prompt_tokens, n_completion_tokens = ask.n_prompt_tokens * per_text, n_requests * n_completion
    usd = None if ask.price is None else ask.price.usd(round(n_prompt_tokens), round(n_completion_tokens))
    seconds = n_completion_tokens / tokens_per_s if tokens_per_s > 0 else None
    return Amount(n_requests, n_prompt_tokens, n_completion_tokens, usd, seconds)
