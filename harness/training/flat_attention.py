"""Attention over sentences that lie end to end in one row, on a CPU: each sentence attends to itself alone.

PyTorch's CPU kernel takes the row as one long sequence with a mask, so that a batch of n sentences costs n times what
it needs to, and its backward pass in bfloat16 is slow. Here the sentences are put side by side for the attention alone,
the products are small float32 matrices, and everything else goes on without padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

NAME = "harness_flat"
# Scores of one head held at once, n_sentences x longest^2: 1 MB in float32. A batch with more (a long outlier among
# many short sentences) goes sentence by sentence.
SCORES_AT_MOST = 2**18
# Architectures whose attention is causal and scaled, and nothing else: no window, no cap on scores, no sinks
MODEL_TYPES = ("llama",)


def use_flat_attention(model: Any) -> bool:
    """Switch a model to `attend` where its architecture allows; says whether it did.

    Only for batches as `trl.SFTTrainer` makes them with `padding_free`, which name where each sentence begins.
    """
    if model.config.model_type not in MODEL_TYPES:
        return False
    AttentionInterface.register(NAME, attend)
    model.set_attn_implementation(NAME)
    return True


def attend(
    _module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, *, scaling: float, cu_seq_lens_q: torch.Tensor, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Causal attention inside each sentence of one flat row; the signature is that of transformers' interface.

    Args:
        query: Shape (1, n_heads, n_tokens, head_size).
        key: Shape (1, n_key_heads, n_tokens, head_size); n_heads is a multiple of n_key_heads.
        value: As `key`.
        attention_mask: None; what may be seen follows from `cu_seq_lens_q`.
        scaling: Factor of the scores.
        cu_seq_lens_q: First token of each sentence and, last, n_tokens, shape (n_sentences + 1,).

    Returns:
        Shape (1, n_tokens, n_heads, head_size), and no attention weights.
    """
    if attention_mask is not None:
        raise ValueError("flat attention takes no mask: it is causal inside each sentence")
    lengths = cu_seq_lens_q.diff().tolist()
    if len(lengths) * max(lengths) ** 2 > SCORES_AT_MOST:
        return _one_by_one(query, key, value, lengths=lengths, scaling=scaling), None
    side_by_side = [_padded(part, lengths) for part in (query, key, value)]
    shown = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]  # (n_sentences, longest)
    return _causal(*side_by_side, scaling=scaling).transpose(1, 2)[shown][None].to(query.dtype), None


def _padded(part: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """(1, heads, n_tokens, head_size) as float32 (n_sentences, heads, longest, head_size)."""
    sentences = torch.split(part[0].transpose(0, 1), lengths)
    return pad_sequence(list(sentences), batch_first=True).transpose(1, 2).float()


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scaling: float) -> torch.Tensor:
    """Softmax attention; query heads that share a key head are stacked into one taller matrix."""
    n_sentences, n_key_heads, longest, head_size = key.shape
    n_shared = query.shape[1] // n_key_heads
    stacked = query.reshape(n_sentences, n_key_heads, n_shared * longest, head_size)
    scores = torch.matmul(stacked * scaling, key.transpose(-1, -2))
    # Padding lies behind every token of its sentence, so the causal mask hides it as well
    later = torch.ones(longest, longest, dtype=torch.bool).triu(1).repeat(n_shared, 1)
    attention = torch.softmax(scores.masked_fill_(later, float("-inf")), dim=-1)
    return torch.matmul(attention, value).reshape(query.shape)


def _one_by_one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, lengths: list[int], scaling: float
) -> torch.Tensor:
    parts = zip(*(torch.split(part, lengths, dim=2) for part in (query, key, value)), strict=True)
    attended = [
        functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        for q, k, v in parts
    ]
    return torch.cat(attended, dim=2).transpose(1, 2)
