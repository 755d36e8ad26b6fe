"""The fine-tuned model's probability of each label: how likely it is to write that label and then stop.

For a sentence with prompt tokens x and a label with tokens y_1 ... y_m (the end token last) the score is
log p(y_1 | x) + ... + log p(y_m | x, y_1 ... y_(m-1)), in nats. The prompt runs once; its key/value cache is shared by
all labels, which then run side by side in one further pass. Only the last position of the prompt is projected onto the
vocabulary. The result is that of one plain forward pass for each sentence and label (tested to 1e-4 in float32); it
does not depend on the batch size or on the order of the sentences beyond rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.backends.models import last_position
from harness.backends.tokenizer import EncodedPair, encode_pairs
from harness.errors import ConfigError, DataError, collect_faults

# Sentence x label rows whose cache is held at once: bounds memory for tasks with many labels
MAX_EXPANDED_ROWS = 256


@dataclass(frozen=True)
class Candidates:
    """One sentence with all labels, cut where their tokens begin to differ from the prompt's.

    Attributes:
        context: Tokens that all labels share, at least one.
        continuations: The remaining tokens of each label, end token included, shape (n_labels, varying).
        n_context: How many leading tokens of each continuation still belong to the prompt (0 unless the tokenizer
            merges prompt and label), shape (n_labels,).
    """

    context: list[int]
    continuations: list[list[int]]
    n_context: list[int]


def label_log_likelihoods(
    model: Any, tokenizer: Any, prompts: Sequence[str], completions: Sequence[str], *, batch_size: int,
    ids: Sequence[str] | None = None, chat: bool = False,
) -> NDArray[np.float64]:  # fmt: skip
    """Log-likelihood of each completion and the end token after each prompt.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        prompts: One a sentence.
        completions: One a label.
        batch_size: Prompts in one forward pass.
        ids: Names of the prompts for errors; their numbers where None.
        chat: Whether the model was trained on prompts in its chat template.

    Returns:
        Nats, shape (n_prompts, n_completions).

    Raises:
        ConfigError: A completion without tokens.
        DataError: A prompt that does not fit into the model's context together with its longest label.
    """
    _check_completions(tokenizer, completions)
    names = [str(i) for i in range(len(prompts))] if ids is None else list(ids)
    limit = getattr(model.config, "max_position_embeddings", None)
    scores = np.zeros((len(prompts), len(completions)), dtype=np.float64)
    # Prompts of like length run together, so that little is spent on padding; the longest first, so that what does not
    # fit into the context or into memory shows at once
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    for begin in range(0, len(order), batch_size):
        rows = order[begin : begin + batch_size]
        batch = _encode(tokenizer, [prompts[i] for i in rows], completions, chat=chat)
        _check_context(batch, [names[i] for i in rows], limit=limit)
        scores[rows] = _score_batch(model, batch, pad=tokenizer.pad_token_id)
    return scores


def softmax(log_likelihoods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities over the labels of each row, shape (n_prompts, n_labels)."""
    shifted = np.exp(log_likelihoods - log_likelihoods.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)


def _check_completions(tokenizer: Any, completions: Sequence[str]) -> None:
    with collect_faults(ConfigError, "labels") as faults:
        for completion in completions:
            if not tokenizer(completion, add_special_tokens=False)["input_ids"]:
                faults.add(f"{completion!r} has no tokens in this model's vocabulary; give the label another name")


def _encode(tokenizer: Any, prompts: Sequence[str], completions: Sequence[str], *, chat: bool) -> list[Candidates]:
    n = len(completions)
    repeated = [prompt for prompt in prompts for _ in completions]
    pairs = encode_pairs(tokenizer, repeated, list(completions) * len(prompts), chat=chat)
    return [_candidates(pairs[i * n : (i + 1) * n]) for i in range(len(prompts))]


def _candidates(pairs: Sequence[EncodedPair]) -> Candidates:
    shared = min(pair.n_prompt for pair in pairs)
    return Candidates(
        context=pairs[0].ids[:shared],
        continuations=[pair.ids[shared:] for pair in pairs],
        n_context=[pair.n_prompt - shared for pair in pairs],
    )


def _check_context(candidates: Sequence[Candidates], names: Sequence[str], *, limit: int | None) -> None:
    with collect_faults(DataError, "sentences to score") as faults:
        for name, one in zip(names, candidates, strict=True):
            longest = len(one.context) + max(len(tokens) for tokens in one.continuations)
            if not one.context:
                faults.add(
                    f"{name}: prompt and labels share no leading token; start the prompt template with fixed text"
                )
            elif limit is not None and longest > limit:
                faults.add(f"{name}: {longest} tokens with its longest label; the model's context is {limit}")


@torch.inference_mode()
def _score_batch(model: Any, batch: Sequence[Candidates], *, pad: int) -> NDArray[np.float64]:
    """Scores of some sentences, shape (n_sentences, n_labels)."""
    device = next(model.parameters()).device
    contexts, mask = _padded([one.context for one in batch], pad=pad, left=True)  # (batch, longest context)
    contexts, mask = contexts.to(device), mask.to(device)
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    prompt = model(
        input_ids=contexts,
        attention_mask=mask,
        position_ids=places,
        use_cache=True,
        logits_to_keep=last_position(contexts),
    )
    first = torch.log_softmax(prompt.logits[:, -1].float(), dim=-1)  # (batch, vocabulary)
    scores = np.zeros((len(batch), len(batch[0].continuations)), dtype=np.float64)
    for labels in _groups(batch):
        cache = copy.deepcopy(prompt.past_key_values)
        found = _score_labels(model, batch, labels, first=first, mask=mask, cache=cache, pad=pad)
        scores[:, labels] = found.cpu().numpy()
    return scores


def _groups(batch: Sequence[Candidates]) -> list[list[int]]:
    """Labels that run side by side: of one length, so that none is padded, and as many as memory allows."""
    lengths = [max(len(one.continuations[k]) for one in batch) for k in range(len(batch[0].continuations))]
    most = max(1, MAX_EXPANDED_ROWS // len(batch))
    groups = []
    for length in sorted(set(lengths)):
        labels = [k for k, found in enumerate(lengths) if found == length]
        groups += [labels[begin : begin + most] for begin in range(0, len(labels), most)]
    return groups


def _score_labels(
    model: Any,
    batch: Sequence[Candidates],
    labels: Sequence[int],
    *,
    first: torch.Tensor,
    mask: torch.Tensor,
    cache: Any,
    pad: int,
) -> torch.Tensor:
    """Scores of some labels from the prompts' last distribution and cache, shape (n_sentences, n_labels)."""
    tokens, present = _padded([one.continuations[k] for one in batch for k in labels], pad=pad, left=False)
    tokens, present = tokens.to(mask.device), present.to(mask.device)  # (batch * labels, longest continuation)
    skipped = torch.tensor([one.n_context[k] for one in batch for k in labels], device=mask.device)
    counted = present.bool() & (torch.arange(tokens.shape[1], device=mask.device) >= skipped[:, None])
    each = len(labels)
    rows = torch.arange(len(batch), device=mask.device).repeat_interleave(each)
    found = [first[rows, tokens[:, 0]][:, None]]
    if tokens.shape[1] > 1:
        cache.batch_repeat_interleave(each)
        before = mask[rows]
        places = before.sum(dim=1, keepdim=True) + torch.arange(tokens.shape[1] - 1, device=mask.device)
        logits = model(
            input_ids=tokens[:, :-1],
            attention_mask=torch.cat([before, present[:, :-1]], dim=1),
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
        ).logits.float()  # (batch * labels, longest continuation - 1, vocabulary)
        chosen = logits.gather(2, tokens[:, 1:, None]).squeeze(2)
        found.append(chosen - logits.logsumexp(dim=2))
    # where and not times: a padded place may hold minus infinity
    log_likelihood = torch.cat(found, dim=1).where(counted, 0.0).double().sum(dim=1)
    return log_likelihood.view(len(batch), each)


def _padded(rows: Sequence[Sequence[int]], *, pad: int, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and their mask, shape (n_rows, longest)."""
    width = max(len(row) for row in rows)
    tokens = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        tokens[i, place] = torch.tensor(row, dtype=torch.long)
        mask[i, place] = 1
    return tokens, mask
