"""A card says what the weights are, under which licence, and what they are not for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.schemas.manifest import Counts
from harness.store import sha256_file
from harness.training.card import UNKNOWN_LICENSE, card, license_of, mix_lines
from harness.training.job import TrainingJob

NOTES = {"trainable_parameters": 1234567, "n_updates": 4, "n_total_tokens": 900, "n_supervised_tokens": 90,
         "first_loss": 3.0, "last_loss": 1.5}  # fmt: skip


@pytest.mark.parametrize(
    ("base_model", "tag"),
    [
        ("meta-llama/Llama-3.1-8B", "llama3.1"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama3.1"),
        ("embedded:smollm2-135m", "apache-2.0"),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "apache-2.0"),
        ("somebody/else", "other"),
    ],
)
def test_the_licence_is_that_of_the_base_model(base_model: str, tag: str) -> None:
    assert license_of(base_model).tag == tag
    assert UNKNOWN_LICENSE.words == "see the base model"


def test_a_card_is_complete(make_job: Callable[..., TrainingJob]) -> None:
    job = make_job(base_model="meta-llama/Llama-3.1-8B")
    text = card(job, Counts(rows_in=32, notes=NOTES), "MIX LINES")
    for part in ("base_model: meta-llama/Llama-3.1-8B", "license: llama3.1", "## Intended use and limits", "no\nmedical device",
                 "Built with Llama", "4 updates of 8 examples, 32 examples", "900, of which 90 supervised", "MIX LINES",
                 "07_evaluation/metrics.parquet", "| health | finished |", "1,234,567 trainable", "recipe.resolved.json"):  # fmt: skip
        assert part in text, part
    told = card(job, Counts(rows_in=32, notes={**NOTES, "status": "diverged", "reason": "it rose"}), "")
    assert "| health | diverged: it rose |" in told


def test_a_mix_is_told_by_source_with_its_hash(make_table: Callable[[int], Path]) -> None:
    table = make_table(6)
    text = mix_lines(table)
    assert "| arm | 3 | 3 |" in text
    assert "| gold | 3 | 3 |" in text
    assert sha256_file(table) in text
    assert "keys" not in text  # a word of the sentences
