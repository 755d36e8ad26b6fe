"""The fused LoRA layer is PEFT's layer: same output, same gradients, and nothing else is touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import nn

from harness.backends.fused_lora import fuse
from harness.backends.models import load_tokenizer
from harness.schemas.tables import TRAIN
from harness.store import read_table
from harness.training import flat_attention
from harness.training.job import TrainingJob
from harness.training.plan import plan_batches
from harness.training.rows import examples

N_IN, N_OUT, ROWS = 24, 40, 7


def adapted(dtype: torch.dtype = torch.float32, *, bias: bool = False, **settings: Any) -> Any:
    """A linear layer under PEFT whose adapter is not zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(N_IN, N_OUT, bias=bias)).to(dtype)
    model = get_peft_model(model, LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": ["0"], **settings}))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
    return model


def results(model: Any, *, autocast: bool = False) -> list[torch.Tensor]:
    """Output, and gradients of the input and of both adapter matrices."""
    torch.manual_seed(1)
    x = torch.randn(2, ROWS, N_IN).to(next(model.parameters()).dtype).requires_grad_()
    weight = torch.randn(2, ROWS, N_OUT)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = model(x)
    (found.float() * weight).sum().backward()
    trained = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    return [found.detach(), x.grad, *trained]


@pytest.mark.parametrize("bias", [False, True])
def test_output_and_gradients_are_those_of_peft(bias: bool) -> None:
    plain = adapted(bias=bias)
    fused = copy.deepcopy(plain)
    assert fuse(fused) == 1
    expected, found = results(plain), results(fused)
    assert len(found) == 4
    for theirs, ours in zip(expected, found, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_gradients_stay_float32_and_are_no_worse_than_in_mixed_precision() -> None:
    rounded = adapted(torch.bfloat16)
    truth = results(copy.deepcopy(rounded).double())  # of the same, rounded base weights
    mixed = results(copy.deepcopy(rounded).float(), autocast=True)
    fuse(rounded)
    ours = results(rounded)
    assert [one.dtype for one in ours[2:]] == [torch.float32, torch.float32]
    for exact, theirs, found in zip(truth, mixed, ours, strict=True):
        assert distance(found, exact) <= max(1.5 * distance(theirs, exact), 0.01)


def distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def test_names_and_values_of_weights_do_not_change() -> None:
    model = adapted()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    fuse(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(after[name].equal(weight) for name, weight in before.items())


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_a_layer_that_computes_something_else_is_left_alone(settings: dict[str, Any]) -> None:
    model = adapted(bias=True, **settings)
    assert fuse(model) == 0


def test_dropout_is_no_hindrance_where_nothing_is_trained() -> None:
    plain = adapted(lora_dropout=0.5).eval()
    fused = copy.deepcopy(plain)
    assert fuse(fused, evaluating=True) == 1
    x = torch.randn(ROWS, N_IN)
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), plain(x), atol=2e-5, rtol=1e-5)


def test_layers_with_two_adapters_or_trained_base_weights_are_left_alone() -> None:
    two = adapted()
    two.add_adapter("second", LoraConfig(r=2, target_modules=["0"]))
    trained = adapted()
    trained.base_model.model[0].base_layer.weight.requires_grad_(True)
    assert (fuse(two), fuse(trained)) == (0, 0)


@pytest.mark.parametrize(
    ("sft_settings", "lora", "is_flat", "is_fused"),
    [
        ({}, {"r": 4, "lora_dropout": 0.0}, True, True),
        ({"padding_free": False}, {"r": 4, "lora_dropout": 0.0}, False, True),
        ({"model_init_kwargs": {"attn_implementation": "eager"}}, {"r": 4, "lora_dropout": 0.05}, False, False),
    ],
)
def test_one_process_on_a_cpu_trains_with_both_unless_the_recipe_names_others(
    make_job: Callable[..., TrainingJob], make_table: Callable[[int], Path], tmp_path: Path,
    sft_settings: dict[str, Any], lora: dict[str, Any], is_flat: bool, is_fused: bool,
) -> None:  # fmt: skip
    from harness.training import sft

    job = make_job(lora=lora, sft=sft_settings)
    tokenizer = load_tokenizer(job.base_model)
    rows = examples(read_table(make_table(32), TRAIN), job, tokenizer)
    settings = sft._settings(job, plan_batches(8, n_processes=1), rows, hardware=sft._hardware(job), folder=tmp_path)
    model = sft._trainer(job, settings, rows, tokenizer).model
    assert (model.config._attn_implementation == flat_attention.NAME) == is_flat
    layers = [module for module in model.modules() if type(module) is Linear]
    assert len(layers) == 14  # seven in each of two blocks
    assert [isinstance(layer.forward, partial) for layer in layers] == [is_fused] * 14
