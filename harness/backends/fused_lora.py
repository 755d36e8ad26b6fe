"""A linear layer and its LoRA adapter as one operation with a hand-written backward pass, on a CPU.

PEFT adds x A^T B^T s to x W^T in float32, whatever the frozen weights are: with bfloat16 weights every activation is
cast up for the two thin products, their sum is cast down, and the backward pass does all of it again. Here the
adapter's float32 weights are cast instead, which are a hundred times smaller, and its product is added in place. That
rounds the adapter's products as mixed precision does (TRL's default); gradients and optimizer keep float32 weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import nn

ADAPTER = "default"


def fuse(model: nn.Module, *, evaluating: bool = False) -> int:
    """Replace the forward pass of every plain LoRA layer of `model`; how many those are.

    Left as they are: layers with dropout, DoRA or another variant, a bias of the adapter, several adapters, or base
    weights that are trained or quantized. Names and values of weights do not change.

    Args:
        model: With adapters.
        evaluating: The model will never be trained again, so that dropout is no hindrance.
    """
    layers = [module for module in model.modules() if _is_plain(module, evaluating)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    return len(layers)


def _is_plain(module: Any, evaluating: bool) -> bool:
    if type(module) is not Linear or list(module.lora_A) != [ADAPTER] or module.active_adapters != [ADAPTER]:
        return False
    base = module.base_layer
    frozen = type(base) is nn.Linear and not any(weight.requires_grad for weight in base.parameters())
    changed = module.fan_in_fan_out or module.lora_variant or module.merged or module.disable_adapters
    no_dropout = evaluating or isinstance(module.lora_dropout[ADAPTER], nn.Identity)
    return bool(frozen and no_dropout and not changed and module.lora_B[ADAPTER].bias is None)


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    base, thin, wide = layer.base_layer, layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    result: torch.Tensor = _FusedLoRA.apply(x, base.weight, thin, wide, layer.scaling[ADAPTER])  # type: ignore[no-untyped-call]
    return result if base.bias is None else result + base.bias


class _FusedLoRA(torch.autograd.Function):
    """y = x W^T + s x A^T B^T for frozen W; shapes: x (..., n_in), W (n_out, n_in), A (r, n_in), B (n_out, r)."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes them by position
        ctx: Any, x: torch.Tensor, frozen: torch.Tensor, thin: torch.Tensor, wide: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        thin, wide = thin.to(x.dtype), wide.to(x.dtype)
        inner = rows @ thin.t()  # (n_rows, r)
        result = (rows @ frozen.t()).addmm_(inner, wide.t(), alpha=scaling)
        ctx.save_for_backward(rows, frozen, thin, wide, inner)
        ctx.scaling, ctx.shape = scaling, x.shape
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, above: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, frozen, thin, wide, inner = ctx.saved_tensors
        above = above.reshape(-1, above.shape[-1])
        scaled = (above @ wide).mul_(ctx.scaling)  # (n_rows, r)
        below = None
        if ctx.needs_input_grad[0]:
            below = (above @ frozen).addmm_(scaled, thin).view(ctx.shape)
        for_thin = (scaled.t() @ rows).float()
        for_wide = (above.t() @ inner).float().mul_(ctx.scaling)
        return below, None, for_thin, for_wide, None
