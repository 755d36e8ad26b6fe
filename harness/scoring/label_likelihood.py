"""The fine-tuned model's probability of each label: how likely it is to write that label and then stop.

For a sentence with prompt tokens x and a label with tokens y_1 ... y_m (the end token last) the score is
log p(y_1 | x) + ... + log p(y_m | x, y_1 ... y_(m-1)), in nats. Labels are a tree of tokens behind the sentence: what
all prompts begin with runs once, every sentence once, and every token that labels share once. The result is that of one
plain forward pass for each sentence and label (tested to 1e-4 in float32); it does not depend on the batch or on the
order of the sentences beyond rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.backends.tokenizer import EncodedPair, encode_pairs
from harness.errors import ConfigError, DataError, collect_faults
from harness.scoring.passes import (
    NodeScores,
    default_tokens,
    most_rows,
    plain_pass,
    run_prefix,
    takes_tree_masks,
    tree_pass,
)
from harness.scoring.trie import Trie, build_trie, greedy_walk, path_sums

# Keys and values of the shared beginning that are held for each token of a pass
KEPT_FOR_EACH = 8


@dataclass(frozen=True)
class LabelScores:
    """What the model says of each sentence.

    Attributes:
        log_likelihood: Of each label and the end token, in nats, shape (n_sentences, n_labels).
        n_tokens: Tokens behind each of them, same shape.
        written: The label that greedy decoding writes when it may write nothing but labels, shape (n_sentences,).
        freely: Whether it would have written the same with the whole vocabulary to choose from, shape (n_sentences,).
    """

    log_likelihood: NDArray[np.float64]
    n_tokens: NDArray[np.int64]
    written: NDArray[np.intp]
    freely: NDArray[np.bool_]


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
    continuations: tuple[tuple[int, ...], ...]
    n_context: tuple[int, ...]


def score_labels(
    model: Any, tokenizer: Any, prompts: Sequence[str], completions: Sequence[str], *, max_tokens: int | None,
    ids: Sequence[str] | None = None, chat: bool = False,
) -> LabelScores:  # fmt: skip
    """Score each completion and the end token after each prompt.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        prompts: One a sentence.
        completions: One a label.
        max_tokens: Tokens of sentences and labels in one pass; one sentence is run whatever its length. Keys and values
            of the shared beginning are held for each sentence, eight times as many tokens at most. None: what suits
            the device.
        ids: Names of the prompts for errors; their numbers where None.
        chat: Whether the model was trained on prompts in its chat template.

    Raises:
        ConfigError: A completion without tokens.
        DataError: A prompt that does not fit into the model's context together with its longest label.
    """
    _check_completions(tokenizer, completions)
    found = _encode(tokenizer, prompts, completions, chat=chat)
    names = [str(i) for i in range(len(prompts))] if ids is None else list(ids)
    _check_context(found, names, limit=getattr(model.config, "max_position_embeddings", None))
    shape = (len(prompts), len(completions))
    scores = LabelScores(
        np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape[0], np.intp), np.zeros(shape[0], np.bool_)
    )
    if prompts:
        _fill(scores, model, found, max_tokens or default_tokens(model))
    return scores


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
        continuations=tuple(tuple(pair.ids[shared:]) for pair in pairs),
        n_context=tuple(pair.n_prompt - shared for pair in pairs),
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


def _fill(scores: LabelScores, model: Any, found: Sequence[Candidates], max_tokens: int) -> None:
    """Run the model and put every sentence's scores into its row."""
    prefix = run_prefix(model, _shared_beginning([one.context for one in found]))
    one_pass = tree_pass if takes_tree_masks(model) else plain_pass
    for rows in _by_labels(found):
        trie, skipped = build_trie(found[rows[0]].continuations), found[rows[0]].n_context
        own = [len(one.context) - len(prefix.ids) + trie.n_inner for one in found]
        most = min(most_rows(model, trie), max(1, KEPT_FOR_EACH * max_tokens // max(1, len(prefix.ids))))
        for batch in _batches(rows, own, (max_tokens, most)):
            contexts = [found[i].context[len(prefix.ids) :] for i in batch]
            _put(scores, batch, trie, one_pass(model, prefix, contexts, trie), skipped)


def _put(scores: LabelScores, rows: list[int], trie: Trie, nodes: NodeScores, skipped: Sequence[int]) -> None:
    scores.log_likelihood[rows] = path_sums(trie, nodes.log_p, skipped)
    counted = [path[n:] for path, n in zip(trie.paths, skipped, strict=True)]
    scores.n_tokens[rows] = [len(path) for path in counted]
    scores.written[rows] = greedy_walk(trie, nodes.log_p)
    free = np.stack([nodes.is_top[:, list(path)].all(axis=1) for path in counted], axis=1)
    scores.freely[rows] = free[np.arange(len(rows)), scores.written[rows]]


def _by_labels(found: Sequence[Candidates]) -> list[list[int]]:
    """Sentences whose labels have the same tokens (most often all), the longest first.

    What does not fit into memory then shows at once, and little is spent on padding.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i in sorted(range(len(found)), key=lambda i: -len(found[i].context)):
        groups.setdefault((found[i].continuations, found[i].n_context), []).append(i)
    return list(groups.values())


def _shared_beginning(contexts: Sequence[list[int]]) -> list[int]:
    """Tokens that all contexts begin with; each keeps at least one of its own."""
    first, last = min(contexts), max(contexts)  # what the smallest and the largest share, all between them share
    n = min(len(one) for one in contexts) - 1
    same = next((i for i in range(n) if first[i] != last[i]), n)
    return first[:same]


def _batches(rows: Sequence[int], lengths: Sequence[int], budget: tuple[int, int]) -> list[list[int]]:
    """Cut rows, longest first, so that no batch holds more than (tokens, rows) of the budget; a row alone may."""
    max_tokens, most = budget
    found, begin = [], 0
    while begin < len(rows):
        size = max(1, min(most, max_tokens // lengths[rows[begin]]))
        found.append(list(rows[begin : begin + size]))
        begin += size
    return found
