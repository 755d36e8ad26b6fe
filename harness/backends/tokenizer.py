"""Tokens of texts, and of prompts with their completions, as the base model sees them in training and in scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.backends.models import load_tokenizer
from harness.errors import ConfigError


@dataclass(frozen=True)
class EncodedPair:
    """A prompt with its completion and the end token.

    Attributes:
        ids: All tokens, in order.
        n_prompt: Leading tokens that are not supervised. Tokens from here on are the completion and the end token.
    """

    ids: list[int]
    n_prompt: int

    @property
    def n_supervised(self) -> int:
        return len(self.ids) - self.n_prompt


def count_tokens(base_model: str, revision: str | None, texts: Sequence[str]) -> list[int]:
    """Tokens of each text without special tokens, shape (n_texts,).

    Raises:
        BackendError: The tokenizer cannot be loaded.
    """
    if not texts:
        return []
    tokenizer = load_tokenizer(base_model, revision=revision)
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def count_prompt_tokens(model: str, revision: str | None, prompts: Sequence[str], *, chat: bool) -> list[int]:
    """Tokens of each prompt as a model is given it: with special tokens, or in the chat template as one user turn.

    Args:
        model: `embedded:smollm2-135m`, a local folder, or a hub id; only its tokenizer is loaded.
        revision: Commit of the hub repository.
        prompts: Shape (n_prompts,).
        chat: Whether the prompt is wrapped; a tokenizer without a chat template counts it bare.

    Raises:
        BackendError: The tokenizer cannot be loaded.
    """
    if not prompts:
        return []
    tokenizer = load_tokenizer(model, revision=revision)
    if not chat or not tokenizer.chat_template:
        return [len(ids) for ids in tokenizer(list(prompts))["input_ids"]]
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": one}], tokenize=False, add_generation_prompt=True)
        for one in prompts
    ]
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def uses_chat(tokenizer: Any, chat: Literal["auto"] | bool) -> bool:
    """Whether prompts go through the chat template, from `training.chat`.

    Raises:
        ConfigError: It must be used, but the tokenizer has none.
    """
    if chat is True and not tokenizer.chat_template:
        raise ConfigError(
            "training.chat is true, but the base model's tokenizer has no chat template; set it to auto or false"
        )
    return bool(chat and tokenizer.chat_template)


def conversation(prompt: str, completion: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """A prompt and its completion as the turns of a user and an assistant, as trl.SFTTrainer takes them.

    The blank that parts a completion from a plain prompt is no part of an answer.
    """
    return [{"role": "user", "content": prompt}], [{"role": "assistant", "content": completion.strip()}]


def count_supervised(base_model: str, revision: str | None, completions: Sequence[str], *,
                     chat: Literal["auto"] | bool) -> list[int]:  # fmt: skip
    """Tokens of each completion that the loss is on, end token included, shape (n_completions,).

    A prompt ends on a token boundary (training refuses one that does not), so the number does not depend on it.

    Raises:
        BackendError: The tokenizer cannot be loaded.
        ConfigError: `chat` is true and the tokenizer has no chat template.
    """
    tokenizer = load_tokenizer(base_model, revision=revision)
    if not uses_chat(tokenizer, chat):
        return [n + 1 for n in count_tokens(base_model, revision, completions)]
    pairs = encode_pairs(tokenizer, ["Label:"] * len(completions), completions, chat=True)
    return [pair.n_supervised for pair in pairs]


def encode_pairs(
    tokenizer: Any, prompts: Sequence[str], completions: Sequence[str], *, chat: bool = False
) -> list[EncodedPair]:
    """Tokens of prompt + completion + end token, with the place where the completion starts, shape (n_pairs,).

    Prompt and completion are tokenized as one text, so the completion starts where the tokens of the prompt alone and
    of the whole first differ. This is the rule of trl.SFTTrainer for prompt/completion rows (trl 1.16,
    `_prepare_dataset`); a test holds the two against each other, because training and scoring must agree on it.

    Args:
        tokenizer: The base model's.
        prompts: Shape (n_pairs,).
        completions: Shape (n_pairs,).
        chat: Wrap them as two turns in the chat template, which brings its own special tokens.
    """
    if chat:
        return _encode_conversations(tokenizer, prompts, completions)
    end = tokenizer.eos_token
    texts = [
        prompt + completion + ("" if completion.endswith(end) else end)
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    if not texts:
        return []
    distinct = list(dict.fromkeys(prompts))
    prompt_ids = dict(zip(distinct, tokenizer(distinct)["input_ids"], strict=True))
    whole = tokenizer(texts)["input_ids"]
    return [
        EncodedPair(ids=list(ids), n_prompt=_common_prefix(prompt_ids[prompt], ids))
        for prompt, ids in zip(prompts, whole, strict=True)
    ]


def _encode_conversations(tokenizer: Any, prompts: Sequence[str], completions: Sequence[str]) -> list[EncodedPair]:
    turns = [conversation(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
    if not turns:
        return []
    distinct = {prompt: question for prompt, (question, _) in zip(prompts, turns, strict=True)}
    opened = _templated(tokenizer, list(distinct.values()), open_answer=True)
    prompt_ids = dict(zip(distinct, opened, strict=True))
    whole = _templated(tokenizer, [question + answer for question, answer in turns], open_answer=False)
    return [
        EncodedPair(ids=ids, n_prompt=_common_prefix(prompt_ids[prompt], ids))
        for prompt, ids in zip(prompts, whole, strict=True)
    ]


def _templated(tokenizer: Any, turns: list[list[dict[str, str]]], *, open_answer: bool) -> list[list[int]]:
    found = tokenizer.apply_chat_template(turns, add_generation_prompt=open_answer, tokenize=True, return_dict=True)
    return [list(ids) for ids in found["input_ids"]]


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length
