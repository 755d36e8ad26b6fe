"""The GPU benchmark on a machine without a GPU: it runs, says that it measured nothing, and its checks can fail."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch.nn import functional

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules training_gpu and llama_8b; a benchmark's own folder is first on its path."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("training_gpu"), importlib.import_module("llama_8b")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL sets a field by the name that transformers gave up
def test_a_dry_run_trains_scores_and_says_that_its_numbers_mean_nothing(
    bench: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench[0].MODES, "of_another_package", bench[0].Mode(needs="no_such_package"))
    assert bench[0].main(["--dry-run", "--modes", "padding_free_fused_lora,scoring,of_another_package",
                          "--batch", "4", "--updates", "1", "--warm-up", "1"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "its numbers mean nothing" in said
    figures = {line.split()[1]: float(line.split()[2]) for line in said.splitlines() if line.startswith("figure ")}
    assert all(name.startswith("dry_run_") for name in figures)
    assert figures["dry_run_padding_free_fused_lora_real_tokens_per_update"] > 4 * 14
    assert figures["dry_run_scoring_sentences_per_second"] > 0
    assert "of_another_package: not measured: no_such_package is not installed" in said


def test_sentences_that_see_each_other_are_noticed(bench: Any) -> None:
    from transformers import AttentionInterface

    llama = bench[1]
    model = llama.random_model(llama.TINY, "float32", cuda=False)
    llama.flat_attention(model)
    assert llama.isolation_error(model) < 1e-4

    def over_the_whole_row(_module: Any, q: Any, k: Any, v: Any, _mask: Any, *, scaling: float, **_: Any) -> Any:
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        return found.transpose(1, 2), None

    AttentionInterface.register("over_the_whole_row", over_the_whole_row)
    model.set_attn_implementation("over_the_whole_row")
    assert llama.isolation_error(model) > 0.2


def test_needed_flops_by_hand(bench: Any) -> None:
    from peft import LoraConfig, get_peft_model

    llama = bench[1]
    model = get_peft_model(
        llama.random_model(llama.TINY, "float32", cuda=False), LoraConfig(r=2, target_modules="all-linear")
    )
    # a layer: q and o 64 x 64, k and v 32 x 64, three of 64 x 128; two layers
    frozen = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128)
    # r x (in + out): q and o 128, k and v 96, three of 192
    adapter = 2 * 2 * (2 * 128 + 2 * 96 + 3 * 192)
    # sentences of 3 and 4 tokens: 7 tokens, squares 9 + 16; forward 2 x squares x 64 a layer, backward twice that
    attention = 3 * 2 * 25 * 64 * 2
    # two supervised tokens: forward and backward, 2 FLOP each, 512 x 64
    head = 2 * 2 * 2 * 512 * 64
    found = llama.needed_flops(model, tokens=7, supervised=2, squares=25)
    assert found == 7 * (4 * frozen + 6 * adapter) + attention + head


def test_lengths_are_those_of_the_demo_gold(bench: Any) -> None:
    lengths = [len(row["input_ids"]) for row in bench[1].random_rows(2000, 512)]
    assert 37 < sum(lengths) / len(lengths) < 39
    assert min(lengths) >= 14
    assert max(lengths) <= 128


def test_an_unknown_mode_is_named(bench: Any) -> None:
    with pytest.raises(SystemExit, match=r"--modes: no mode padded_free; known: trl_defaults"):
        bench[0].main(["--dry-run", "--modes", "padded_free"])
