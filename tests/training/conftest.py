"""A tiny random Llama with the embedded tokenizer, and toy mixes; heavy things are made once for the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.backends.embedded import unpacked_model
from harness.schemas.tables import TRAIN
from harness.store import write_table
from harness.training.job import TrainingJob

LABELS = ("memory", "daily living", "no symptom")
END_TOKENS = 1


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a two-layer Llama with random weights; the embedded model's tokenizer and vocabulary."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = AutoTokenizer.from_pretrained(unpacked_model())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_model: Path) -> Any:
    from harness.backends.models import load_tokenizer

    return load_tokenizer(str(tiny_model))


def toy_rows(n_rows: int, tokenizer: Any) -> list[dict[str, Any]]:
    """Rows of a mix of two origins, with sentences of different lengths."""
    rows = []
    for i in range(n_rows):
        label = LABELS[i % len(LABELS)]
        text = f"Visit {i}: " + "he forgets where he left the keys, " * (1 + i % 4) + "she said."
        rows.append(
            {
                "example_id": f"{'gold' if i % 2 else 'arm'}/s{i}/0",
                "origin": "gold" if i % 2 else "arm",
                "sentence_id": f"s{i}",
                "patient_id": None,
                "pass_index": 0,
                "text": text,
                "label": label,
                "prompt": f"Sentence: {text}\nLabel:",
                "completion": f" {label}",
                "n_supervised_tokens": len(tokenizer(f" {label}")["input_ids"]) + END_TOKENS,
            }
        )
    return rows


@pytest.fixture(scope="session")
def make_table(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[int], Path]:
    def make(n_rows: int) -> Path:
        path = tmp_path_factory.mktemp("mix") / "train.parquet"
        write_table(path, toy_rows(n_rows, tokenizer), TRAIN)
        return path

    return make


@pytest.fixture(scope="session")
def make_job(tiny_model: Path) -> Callable[..., TrainingJob]:
    def make(**changes: Any) -> TrainingJob:
        job = TrainingJob(
            mix="toy",
            seed_index=0,
            root_seed=7,
            base_model=str(tiny_model),
            revision=None,
            weights="local",
            dtype="float32",
            method="lora",
            lora={"r": 4},
            sft={"learning_rate": 1e-2},
            global_batch_size=8,
            updates=4,
            max_length=128,
        )
        return TrainingJob.model_validate({**job.model_dump(), **changes})

    return make
