"""LLaMA-3.1-8B's architecture with random weights, rows of random tokens, and what both cost: for training_gpu.py.

A tiny model of the same form stands in where there is no GPU.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
from typing import Any

SEED = 20260101
MEAN_LENGTH, LENGTH_SPREAD, SHORTEST, LONGEST = 38, 0.27, 14, 128
LLAMA_31_8B = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
    "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}  # fmt: skip
TINY = {
    **LLAMA_31_8B, "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def random_model(shape: dict[str, Any], dtype: str, *, cuda: bool) -> Any:
    """Random weights, drawn on the device: an 8B model on the host would take minutes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device("cuda" if cuda else "cpu"):
            model = LlamaForCausalLM(LlamaConfig(**shape))
    finally:
        torch.set_default_dtype(default)
    return model


def word_tokenizer(n_words: int) -> Any:
    """One token a word: w3 ... ; 0, 1 and 2 are begin, end and padding."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<pad>"]
    words = Tokenizer(
        WordLevel({word: i for i, word in enumerate([*special, *vocabulary(n_words)])}, unk_token="<pad>")
    )
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def vocabulary(n_words: int) -> list[str]:
    return [f"w{i}" for i in range(3, n_words)]


def random_rows(n_rows: int, n_words: int) -> list[dict[str, list[int]]]:
    """Tokenized examples: a prompt, a label of 2 to 4 tokens, the end token."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    # exp(spread^2 / 2) is the mean of a log-normal variable whose median is 1
    lengths = MEAN_LENGTH / math.exp(LENGTH_SPREAD**2 / 2) * np.exp(LENGTH_SPREAD * rng.standard_normal(n_rows))
    rows = []
    for length in lengths.round().astype(int).clip(SHORTEST, LONGEST):
        ids = [*rng.integers(3, n_words, size=length - 1).tolist(), 1]
        n_label = int(rng.integers(2, 5)) + 1
        rows.append({"input_ids": ids, "labels": [-100] * (length - n_label) + ids[-n_label:]})
    return rows


def flat_attention(model: Any) -> str:
    """Attention that keeps the sentences of a flat batch apart; its name."""
    from transformers import AttentionInterface

    if model.device.type == "cpu":
        from harness.training.flat_attention import NAME, use_flat_attention

        use_flat_attention(model)
        return NAME
    if importlib.util.find_spec("flash_attn") is not None:
        model.set_attn_implementation("flash_attention_2")
        return "flash_attention_2"
    AttentionInterface.register("varlen", _varlen)
    model.set_attn_implementation("varlen")
    return "varlen_attn of torch"


def _varlen(_module: Any, query: Any, key: Any, value: Any, _mask: Any, *, scaling: float, **given: Any) -> Any:
    """Attention in the form of transformers' interface; query (1, heads, tokens, size) -> (1, tokens, heads, size)."""
    from torch.nn.attention.varlen import varlen_attn

    known = inspect.signature(varlen_attn).parameters
    causal = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    if "enable_gqa" in known:
        causal["enable_gqa"] = True
    else:
        key, value = (part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in (key, value))
    q, k, v = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    begins, longest = given["cu_seq_lens_q"], int(given["max_length_q"])
    return varlen_attn(q, k, v, begins, begins, longest, longest, scale=scaling, **causal)[None], None


def isolation_error(model: Any) -> float:
    """Distance of a flat batch's last logits from those of each sentence alone: root mean square, over their deviation.

    Rounding in bfloat16 through 32 layers makes some hundredths; sentences that see each other make it near 1.
    """
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = random_rows(6, model.config.vocab_size)
    flat, alone = DataCollatorForLanguageModeling(pad_token_id=2, padding_free=True), []
    with torch.no_grad():
        for row in rows:
            batch = {key: _moved(value, model.device) for key, value in flat([row]).items() if key != "labels"}
            alone.append(model(**batch, use_cache=False).logits[0, -1].float())
        batch = {key: _moved(value, model.device) for key, value in flat(rows).items() if key != "labels"}
        last = batch["cu_seq_lens_q"][1:].long() - 1
        together = model(**batch, use_cache=False, logits_to_keep=last).logits[0].float()
    expected = torch.stack(alone)
    return float((together - expected).square().mean().sqrt() / expected.std())


def _moved(value: Any, device: Any) -> Any:
    return value.to(device) if hasattr(value, "to") else value


def needed_flops(model: Any, *, tokens: float, supervised: float, squares: float) -> float:
    """What one pass forward and back must compute; squares is the sum of squared sentence lengths."""
    config = model.config
    layers = [(n, p) for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n]
    frozen = sum(p.numel() for name, p in layers if "lora" not in name)
    adapter = sum(p.numel() for name, p in layers if "lora" in name)
    # scores and values, 2 products of 2 FLOP, half of them causal; the backward pass takes twice as much
    attention = 3 * 2 * squares * config.hidden_size * config.num_hidden_layers
    head = 4 * supervised * config.vocab_size * config.hidden_size
    return (4 * frozen + 6 * adapter) * tokens + head + attention
