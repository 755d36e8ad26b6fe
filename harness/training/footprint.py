"""What one forward and backward pass of the trainer holds in memory, from a model's configuration alone.

The model is built without weights, its adapter is put on by PEFT itself, and one batch runs through it the way the
trainer runs it, on tensors that have shapes but no numbers. So what autograd keeps, and what dropout, mixed precision,
activation checkpointing and the loss change about it, comes from the code that trains and from no formula of ours. Not
seen are what an operation uses inside itself, gaps of the allocator, and gradients on their way between processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from harness.backends.fused_lora import fuse
from harness.errors import ConfigError
from harness.training.flat_attention import MODEL_TYPES
from harness.training.live_bytes import ByteMaskDropout, Kind, LiveBytes, TiledHead, attention, split_attention
from harness.training.targets import check_targets

ATTENTION = "harness-counted"


@dataclass(frozen=True)
class Way:
    """How a pass is run."""

    adapter: Mapping[str, Any] | None
    """Fields of peft.LoraConfig; None trains every weight."""
    dtype: Literal["float32", "bfloat16", "float16"]
    """Of the base weights."""
    adapter_follows: bool = False
    """The adapter has the base weights' format, as in QLoRA and under ZeRO-3; float32 otherwise."""
    mixed: Literal["bfloat16", "float16"] | None = None
    """Format that operations compute in, where it is not the weights' own."""
    has_checkpointing: bool = False
    """Activations of a layer are computed again in the backward pass."""
    is_flat: bool = False
    """Rows end to end in one sequence and only supervised positions projected, as the trainer does on a CPU."""
    is_fused: bool = False
    """On a CPU, weights not shared out: adapters fused with their layers; in flat rows, attention by sentence."""
    has_kernels: bool = False
    """A GPU's fused kernels, see `live_bytes`."""
    accumulates: bool = False
    """Gradients of an earlier batch of the same update are there."""


@dataclass(frozen=True)
class Batch:
    """Rows of one pass; they are padded to the longest, or lie end to end where they are flat."""

    lengths: tuple[int, ...]
    """Tokens of each row."""
    n_supervised: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.lengths), max(self.lengths)


@dataclass(frozen=True)
class Size:
    """Numbers of parameters; a matrix that embedding and head share counts once."""

    n_total: int
    """Of the base model."""
    n_linear: int
    """In linear layers inside the blocks: what 4-bit loading makes small."""
    n_block: int
    """Of one block."""
    n_largest: int
    """Of the module with the most parameters of its own."""
    n_head: int
    """Of the projection onto the vocabulary, shared or not."""
    n_outside: int
    """Outside the blocks: embedding, head, last norm."""
    n_adapter: int = 0
    n_trainable: int = 0


@dataclass(frozen=True)
class Footprint:
    """Bytes of one process, before anything is shared out."""

    size: Size
    weights: int
    """Base weights, adapter and buffers."""
    trainable: int
    """The part of `weights` that is trained; a full set of gradients is as large."""
    held: Mapping[Kind, int]
    """What is there besides weights and optimizer states at the moment when most is there."""
    held_apart: Mapping[Kind, int]
    """The same, had gradients taken no room."""


def measure_footprint(config: Any, way: Way, batch: Batch) -> Footprint:
    """Run one batch through a model without numbers.

    Args:
        config: A transformers configuration of a causal language model.
        way: How the pass is run.
        batch: What runs through it.

    Raises:
        ConfigError: PEFT finds no such target modules, or refuses another setting.
    """
    model, size = _empty_model(config, way, batch)
    with FakeTensorMode():
        _fill_with_shapes(model, way)
        tensors = _distinct([*model.parameters(), *model.buffers()])
        trained = [p for p in model.parameters() if p.requires_grad]
        earlier = [torch.empty_like(p) for p in trained] if way.accumulates else []
        for parameter, gradient in zip(trained, earlier, strict=False):
            parameter.grad = gradient
        count = LiveBytes([*tensors, *earlier], n_vocabulary=config.get_text_config().vocab_size)
        for parameter in trained:
            parameter.register_post_accumulate_grad_hook(count.gradient_made)
        with count:
            _one_pass(model, way, batch)
    n_bytes, held = sum(_bytes(p) for p in trained), dict(count.at_peak)
    if way.accumulates:
        held["gradients"] = held.get("gradients", 0) + n_bytes
    return Footprint(
        size=size,
        weights=sum(_bytes(t) for t in tensors),
        trainable=n_bytes,
        held=held,
        held_apart=dict(count.apart),
    )


def measure_size(config: Any, way: Way) -> Size:
    """Numbers of parameters alone, which takes no pass; the format plays no part."""
    return _empty_model(config, way, Batch((1,), 1))[1]


def _empty_model(config: Any, way: Way, batch: Batch) -> tuple[Any, Size]:
    """The model on the meta device, with its adapter and in training mode."""
    from transformers import AttentionInterface, AutoModelForCausalLM

    is_split = way.is_flat and way.is_fused and config.model_type in MODEL_TYPES
    AttentionInterface.register(ATTENTION, partial(split_attention, batch.lengths) if is_split else attention)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, way.dtype), attn_implementation=ATTENTION)
        size = _base_size(model)
        if not (way.is_flat or way.has_kernels):
            from trl.trainer.utils import add_fused_lm_head

            add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))  # as SFTTrainer does
        if way.adapter is not None:
            model = _adapted(model, way)
            if way.is_fused:
                fuse(model)
    if way.has_checkpointing:
        _enable_checkpointing(model, way)
    parameters = _distinct(model.parameters())
    n_all, n_trainable = (sum(p.numel() for p in parameters if p.requires_grad or every) for every in (True, False))
    return model.train(), Size(**{**vars(size), "n_adapter": n_all - size.n_total, "n_trainable": n_trainable})


def _enable_checkpointing(model: Any, way: Way) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers renamed it in 5.2x; peft asks by the old name
        if hasattr(model, "activation_checkpointing_enable"):
            model.activation_checkpointing_enable()
        else:
            model.gradient_checkpointing_enable()
        if way.adapter is not None:
            model.enable_input_require_grads()


def _adapted(model: Any, way: Way) -> Any:
    from peft import LoraConfig, get_peft_model

    check_targets(model, (way.adapter or {}).get("target_modules"))
    try:
        return get_peft_model(model, LoraConfig(**(way.adapter or {})), autocast_adapter_dtype=not way.adapter_follows)
    except (ValueError, TypeError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(f"training.lora: {reason}") from error


def _base_size(model: Any) -> Size:
    blocks = next((module for module in model.modules() if isinstance(module, torch.nn.ModuleList)), None)
    linear = [m for m in (blocks.modules() if blocks else ()) if isinstance(m, torch.nn.Linear)]
    inside = {id(p) for p in blocks.parameters()} if blocks else set()
    outside = [p for p in _distinct(model.parameters()) if id(p) not in inside]
    return Size(
        n_total=sum(p.numel() for p in _distinct(model.parameters())),
        n_linear=sum(module.weight.numel() for module in linear),
        n_block=sum(p.numel() for p in blocks[0].parameters()) if blocks else 0,
        n_largest=max(sum(p.numel() for p in module.parameters(recurse=False)) for module in model.modules()),
        n_head=model.get_output_embeddings().weight.numel(),
        n_outside=sum(p.numel() for p in outside),
    )


def _fill_with_shapes(model: Any, way: Way) -> None:
    """Put tensors without content in place of those of the meta device, which knows no mixed precision."""
    seen: dict[int, torch.nn.Parameter] = {}  # embedding and head may share one
    for module in model.modules():
        for name, old in list(module._parameters.items()):
            if old is not None:
                new = torch.nn.Parameter(torch.empty(old.shape, dtype=old.dtype), requires_grad=old.requires_grad)
                module._parameters[name] = seen.setdefault(id(old), new)
        for name, old in list(module._buffers.items()):
            if old is not None:
                module._buffers[name] = torch.empty(old.shape, dtype=old.dtype)
        for name, child in list(module.named_children()):
            if way.has_kernels and isinstance(child, torch.nn.Dropout) and child.p > 0:
                module._modules[name] = ByteMaskDropout()


def _one_pass(model: Any, way: Way, batch: Batch) -> None:
    ids = torch.empty((1, sum(batch.lengths)) if way.is_flat else batch.shape, dtype=torch.long)
    context: AbstractContextManager[Any] = nullcontext()
    if way.mixed is not None:
        context = torch.autocast("cpu", getattr(torch, way.mixed))
    with context:
        loss = _loss(model, ids, way, batch)
    loss.backward()  # type: ignore[no-untyped-call]


def _loss(model: Any, ids: torch.Tensor, way: Way, batch: Batch) -> torch.Tensor:
    if way.is_flat:
        places = torch.empty(batch.n_supervised, dtype=torch.long)
        logits = model(input_ids=ids, logits_to_keep=places, use_cache=False).logits[0]
        return torch.nn.functional.cross_entropy(logits.float(), places, reduction="sum")
    if not way.has_kernels:
        found: torch.Tensor = model(input_ids=ids, labels=ids, fused_lm_head=True).loss
        return found
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = inner.base_model(input_ids=ids, use_cache=False).last_hidden_state
    supervised = hidden.reshape(-1, hidden.shape[-1])[: batch.n_supervised]
    chosen: torch.Tensor = TiledHead.apply(supervised, inner.get_output_embeddings().weight)  # type: ignore[no-untyped-call]
    return chosen.sum()


def _distinct(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
