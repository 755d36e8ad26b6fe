"""Attention over sentences in one flat row is attention over each sentence alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from harness.training import flat_attention
from harness.training.flat_attention import attend, use_flat_attention

LENGTHS = [5, 1, 9, 3]
HEADS, KEY_HEADS, SIZE = 6, 2, 8


def parts(seed: int = 0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    shapes = [(1, heads, sum(LENGTHS), SIZE) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def begins() -> torch.Tensor:
    return torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0).tolist()], dtype=torch.int32)


def flat(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return attend(torch.nn.Module(), query, key, value, None, scaling=0.3, cu_seq_lens_q=begins())[0]


def alone(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The definition: softmax of scaled scores of earlier tokens of the same sentence, key heads repeated."""
    rows, begin = [], 0
    for length in LENGTHS:
        q, k, v = (part[0, :, begin : begin + length] for part in (query, key, value))
        k, v = (part.repeat_interleave(HEADS // KEY_HEADS, dim=0) for part in (k, v))
        scores = (q @ k.transpose(1, 2)) * 0.3
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
        rows.append(functional.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v)
        begin += length
    return torch.cat(rows, dim=1).transpose(0, 1)[None]


@pytest.mark.parametrize("scores_at_most", [flat_attention.SCORES_AT_MOST, 0])
def test_output_and_gradients_are_those_of_each_sentence_alone(
    monkeypatch: pytest.MonkeyPatch, scores_at_most: int
) -> None:
    monkeypatch.setattr(flat_attention, "SCORES_AT_MOST", scores_at_most)
    ours, theirs = parts(), parts()
    weight = torch.randn(1, sum(LENGTHS), HEADS, SIZE)
    for found, tensors in ((flat(*ours), ours), (alone(*theirs), theirs)):
        (found * weight).sum().backward()
        assert all(tensor.grad is not None for tensor in tensors)
    torch.testing.assert_close(flat(*ours), alone(*theirs), atol=1e-5, rtol=0)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, atol=1e-5, rtol=0)


def test_bfloat16_comes_back_as_bfloat16() -> None:
    query, key, value = (part.detach().bfloat16() for part in parts())
    found = flat(query, key, value)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), alone(query.float(), key.float(), value.float()), atol=0.02, rtol=0)


def test_a_mask_is_refused_and_not_ignored() -> None:
    with pytest.raises(ValueError, match="takes no mask"):
        attend(torch.nn.Module(), *parts(), torch.ones(1), scaling=1.0, cu_seq_lens_q=begins())


def test_a_model_of_another_architecture_keeps_its_attention() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16))
    before = model.config._attn_implementation
    assert not use_flat_attention(model)
    assert model.config._attn_implementation == before


def test_a_saved_model_does_not_ask_for_our_attention(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    assert use_flat_attention(model)
    assert model.config._attn_implementation == flat_attention.NAME
    model.save_pretrained(tmp_path)
    assert flat_attention.NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")
    assert LlamaForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
