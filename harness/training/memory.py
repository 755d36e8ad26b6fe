"""Memory of each process of a training run: one process's footprint, shared out as the launch file says.

Where DeepSpeed has an estimator, its formula is used for the part that is trained (tests hold the two against each
other): `estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs` of deepspeed 0.19. Frozen
weights, which the estimators do not know, are added.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from harness.training.footprint import Footprint

Scheme = Literal["single", "ddp", "zero1", "zero2", "zero3", "fsdp"]

FLOAT32 = 4
# 16-bit and 32-bit gradients, and of each parameter a 32-bit copy with Adam's two moments (DeepSpeed's "18")
ZERO_GRADIENT, ZERO_STATES = 2 + 4, 4 + 8
ZERO_HOST_FACTOR = 1.5  # additional_buffer_factor of DeepSpeed's estimators
# Of a weight in 4-bit NF4: half a byte, and an 8-bit scale for 64 of them, whose own scales are negligible (Dettmers et
# al. 2023, QLoRA, section 3); without double quantization the scale has 32 bits.
BYTES_NF4, BYTES_NF4_SINGLE = 0.5 + 1 / 64 + 4 / (64 * 256), 0.5 + 4 / 64


@dataclass(frozen=True)
class Sharing:
    """How a launch file spreads a model over processes."""

    scheme: Scheme
    n_processes: int
    n_machines: int = 1
    offloads_optimizer: bool = False
    offloads_weights: bool = False


@dataclass(frozen=True)
class Keeping:
    """What a run keeps beside its weights."""

    n_states: float
    """Optimizer states for each trained parameter, in its own format; 2 for Adam."""
    is_sixteen_bit: bool
    """Operations and DeepSpeed's copies of weights have 16 bits."""
    bytes_quantized: float | None = None
    """Of a weight in the blocks' linear layers where they are loaded quantized."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one process on its device; `host` lies in the memory of each machine, for all its processes."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int = 0
    host: int = 0

    @property
    def total(self) -> int:
        """On the device."""
        return sum(getattr(self, field.name) for field in fields(self) if field.name != "host")


def share_out(footprint: Footprint, sharing: Sharing, keeping: Keeping) -> Memory:
    """The memory of one of the processes, without overhead.

    Args:
        footprint: Of one process that has everything.
        sharing: The launch file's scheme.
        keeping: What the run keeps.
    """
    if sharing.scheme in ("single", "ddp"):
        return _replicated(footprint, sharing, keeping)
    weights, gradients, optimizer, host = (
        _fully_sharded(footprint, sharing, keeping) if sharing.scheme == "fsdp" else _zero(footprint, sharing, keeping)
    )
    held = footprint.held_apart
    return Memory(
        weights=round(weights),
        gradients=round(gradients),
        optimizer=round(optimizer),
        activations=held.get("activations", 0) + _unpacked(footprint, keeping),
        logits=held.get("logits", 0),
        host=round(host),
    )


def _replicated(footprint: Footprint, sharing: Sharing, keeping: Keeping) -> Memory:
    held = footprint.held
    buckets = footprint.trainable if sharing.scheme == "ddp" else 0  # DDP copies gradients into buckets of its own
    return Memory(
        weights=round(_frozen(footprint, keeping)) + footprint.trainable,
        gradients=held.get("gradients", 0) + buckets,
        optimizer=round(keeping.n_states * footprint.trainable),
        activations=held.get("activations", 0) + _unpacked(footprint, keeping),
        logits=held.get("logits", 0),
    )


def _zero(footprint: Footprint, sharing: Sharing, keeping: Keeping) -> tuple[float, float, float, float]:
    """Weights, gradients, optimizer, host."""
    n, trained = sharing.n_processes, footprint.size.n_trainable
    frozen, each = _frozen(footprint, keeping), 2 if keeping.is_sixteen_bit else FLOAT32
    gradient = each + FLOAT32 if sharing.scheme == "zero1" else ZERO_GRADIENT - 2 + each
    gathered = FLOAT32 * footprint.size.n_largest
    if sharing.scheme == "zero1":  # no estimator: as ZeRO-2, but every process keeps all of its gradients
        return frozen + each * trained, each * trained + FLOAT32 * trained / n, ZERO_STATES * trained / n, 0
    if sharing.scheme == "zero2":
        if sharing.offloads_optimizer:
            return frozen + each * trained, 0, 0, trained * max(4 * n, 16) * ZERO_HOST_FACTOR
        return frozen + each * trained, gradient * trained / n, ZERO_STATES * trained / n, 0
    if sharing.offloads_weights:
        return gathered, 0, 0, (18 * trained * ZERO_HOST_FACTOR + frozen) / sharing.n_machines
    if sharing.offloads_optimizer:
        host = 16 * trained * ZERO_HOST_FACTOR / sharing.n_machines
        return gathered + (frozen + each * trained) / n, 0, 0, host
    return gathered + frozen / n, gradient * trained / n, ZERO_STATES * trained / n, 0


def _fully_sharded(footprint: Footprint, sharing: Sharing, keeping: Keeping) -> tuple[float, float, float, float]:
    """Weights, gradients, optimizer, host; two blocks (one in use, one on its way) and what is outside are whole."""
    n, size = sharing.n_processes, footprint.size
    each = 2 if keeping.is_sixteen_bit else FLOAT32
    whole = each * (2 * size.n_block + size.n_outside)
    trained_share = footprint.trainable / max(1, FLOAT32 * (size.n_total + size.n_adapter))
    return (
        (_frozen(footprint, keeping) + footprint.trainable) / n + whole,
        footprint.trainable / n + trained_share * whole,
        keeping.n_states * footprint.trainable / n,
        0,
    )


def _frozen(footprint: Footprint, keeping: Keeping) -> float:
    """Bytes of weights that are not trained, quantized where they are."""
    frozen = footprint.weights - footprint.trainable
    if keeping.bytes_quantized is None:
        return frozen
    return frozen - footprint.size.n_linear * (2 - keeping.bytes_quantized)


def _unpacked(footprint: Footprint, keeping: Keeping) -> int:
    """The largest matrix of a block in 16 bits, while a quantized layer computes: taken as half of its block."""
    return 0 if keeping.bytes_quantized is None else footprint.size.n_block
