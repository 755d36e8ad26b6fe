"""Forward passes over prompts and a tree of labels: what the model gives each node of the tree.

The tree pass runs a sentence and all labels as one row: tokens of the sentence, then the tree's inner nodes, each of
which sees the sentence and its own path alone (a tree mask, as in Miao et al. 2024, SpecInfer, section 4.2). Tokens
that all sentences begin with have run before, once; their keys and values are shared. The plain pass runs every
sentence with every label as a row of its own; it is what the tree pass must agree with, and what serves architectures
whose attention takes no mask of ours.
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
from harness.scoring.trie import ROOT, Trie

MASKABLE = ("sdpa", "eager")  # attention that takes a mask of shape (n_rows, 1, n_queries, n_keys)
MAX_TOKENS = {
    "cpu": 1024,
    "cuda": 16_384,
}  # a row's own and the shared ones; what SmolLM2-135M reads fastest on 2 cores
# Numbers held at once over positions and vocabulary, for each kind of device: 256 MB and 2 GB in float32
MAX_LOGITS = {"cpu": 2**26, "cuda": 2**29}


@dataclass(frozen=True)
class NodeScores:
    """What the model says of each node of the tree, shape (n_rows, n_nodes).

    Attributes:
        log_p: Log-probability of its token after its parent, in nats.
        is_top: Whether no other token of the vocabulary is likelier there.
    """

    log_p: NDArray[np.float64]
    is_top: NDArray[np.bool_]


@dataclass(frozen=True)
class Prefix:
    """Tokens that all rows begin with, and their keys and values; no tokens and None where there are none."""

    ids: list[int]
    cache: Any


def takes_tree_masks(model: Any) -> bool:
    """Whether each token can be told which others it sees: full attention in every layer, and a kernel with masks."""
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    return bool(config._attn_implementation in MASKABLE and layers == {"full_attention"} and window is None)


def most_rows(model: Any, trie: Trie) -> int:
    """Sentences whose distributions over the vocabulary fit into memory at once."""
    vocabulary: int = model.config.get_text_config().vocab_size
    return max(1, MAX_LOGITS[_kind(model)] // ((1 + trie.n_inner) * vocabulary))


def default_tokens(model: Any) -> int:
    """Tokens in one pass where the user does not say."""
    return MAX_TOKENS[_kind(model)]


def _kind(model: Any) -> str:
    return "cpu" if _device(model).type == "cpu" else "cuda"


@torch.inference_mode()
def run_prefix(model: Any, ids: list[int]) -> Prefix:
    """Run shared tokens once."""
    if not ids:
        return Prefix([], None)
    tokens = torch.tensor([ids], device=_device(model))
    found = model(input_ids=tokens, use_cache=True, logits_to_keep=last_position(tokens))
    return Prefix(ids, found.past_key_values)


@torch.inference_mode()
def tree_pass(model: Any, prefix: Prefix, contexts: Sequence[Sequence[int]], trie: Trie) -> NodeScores:
    """One forward pass for some sentences and all labels.

    Args:
        model: One that `takes_tree_masks`.
        prefix: What comes before every context.
        contexts: The other tokens of each prompt, at least one, shape (n_rows, varying).
        trie: The labels.
    """
    lengths = torch.tensor([len(one) for one in contexts])
    width, n_before = int(lengths.max()), len(prefix.ids)
    tokens = torch.zeros((len(contexts), width + trie.n_inner), dtype=torch.long)  # nobody sees what fills rows up
    for row, one in enumerate(contexts):
        tokens[row, width - len(one) : width] = torch.tensor(one)
    tokens[:, width:] = torch.from_numpy(trie.tokens[: trie.n_inner])
    places = n_before + torch.cat(
        [(torch.arange(width) - (width - lengths[:, None])).clamp(min=0),
         lengths[:, None] + torch.from_numpy(trie.depths[: trie.n_inner])], dim=1)  # fmt: skip
    device = _device(model)
    logits = model(
        input_ids=tokens.to(device),
        attention_mask=_mask(lengths, width, trie, n_before=n_before, dtype=model.dtype).to(device),
        position_ids=places.to(device),
        past_key_values=_repeated(prefix.cache, len(contexts)),
        use_cache=prefix.cache is not None,
        logits_to_keep=torch.arange(width - 1, width + trie.n_inner, device=device),
    ).logits.float()  # (n_rows, 1 + n_inner, vocabulary); 0 is the end of the prompt
    return _of_nodes(logits, trie)


@torch.inference_mode()
def plain_pass(model: Any, prefix: Prefix, contexts: Sequence[Sequence[int]], trie: Trie) -> NodeScores:
    """The same from one row for each sentence and label, without tree, cache or mask of ours; arguments as above."""
    log_p = np.zeros((len(contexts), trie.tokens.size))
    is_top = np.zeros(log_p.shape, dtype=np.bool_)
    for row, context in enumerate(contexts):
        begin = len(prefix.ids) + len(context)
        for path in trie.paths:
            ids = torch.tensor([[*prefix.ids, *context, *trie.tokens[list(path)]]], device=_device(model))
            logits = model(input_ids=ids, use_cache=False).logits[0, begin - 1 : -1].float()
            chosen = logits.gather(1, ids[0, begin:, None]).squeeze(1)
            log_p[row, list(path)] = (chosen - logits.logsumexp(dim=1)).double().cpu().numpy()
            is_top[row, list(path)] = (logits.argmax(dim=1) == ids[0, begin:]).cpu().numpy()
    return NodeScores(log_p, is_top)


def _device(model: Any) -> torch.device:
    found: torch.device = next(model.parameters()).device
    return found


def _mask(lengths: torch.Tensor, width: int, trie: Trie, *, n_before: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores, shape (n_rows, 1, width + n_inner, n_before + width + n_inner): 0 where seen."""
    n_tokens = width + trie.n_inner
    sees = torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()
    sees[width:, width:] = torch.from_numpy(trie.sees())
    present = torch.ones(lengths.numel(), n_tokens, dtype=torch.bool)
    present[:, :width] = torch.arange(width) >= width - lengths[:, None]
    # A padded place sees itself: a row of nothing but minus infinity would be no number
    shown = (sees & present[:, None, :]) | torch.eye(n_tokens, dtype=torch.bool)
    shown = torch.cat([torch.ones(*shown.shape[:2], n_before, dtype=torch.bool), shown], dim=2)
    return torch.zeros(shown.shape, dtype=dtype).masked_fill_(~shown, torch.finfo(dtype).min)[:, None]


def _repeated(cache: Any, n_rows: int) -> Any:
    """The cache for many rows, without copying it: layers append to their own view."""
    if cache is None:
        return None
    found = copy.copy(cache)
    found.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in found.layers:
        layer.keys, layer.values = (part.expand(n_rows, -1, -1, -1) for part in (layer.keys, layer.values))
    return found


def _of_nodes(logits: torch.Tensor, trie: Trie) -> NodeScores:
    tokens = torch.from_numpy(trie.tokens).to(logits.device)
    places = torch.from_numpy(trie.parents - ROOT).to(logits.device)  # 0 is the end of the prompt
    chosen = logits[:, places, tokens]  # (n_rows, n_nodes)
    log_p = chosen - logits.logsumexp(dim=2)[:, places]
    is_top = logits.argmax(dim=2)[:, places] == tokens
    return NodeScores(log_p.double().cpu().numpy(), is_top.cpu().numpy())
