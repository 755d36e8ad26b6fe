"""Counting tokens as the base model does, for budgets."""

from __future__ import annotations

from collections.abc import Sequence

from harness.backends.models import load_tokenizer


def count_tokens(base_model: str, revision: str | None, texts: Sequence[str]) -> list[int]:
    """Tokens of each text without special tokens, shape (n_texts,).

    Raises:
        BackendError: The tokenizer cannot be loaded.
    """
    if not texts:
        return []
    tokenizer = load_tokenizer(base_model, revision=revision)
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
