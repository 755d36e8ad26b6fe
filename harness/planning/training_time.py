"""How long a training run takes: tokens over a rate that somebody measured, scaled to this model and device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.planning.training_facts import Device, ThroughputRow
from harness.schemas.recipe_parts import Method

# Multiplications of a pass in units of the forward one: backward through frozen weights needs only the gradient of
# activations (1), trained weights need their own as well (2); checkpointing repeats the forward pass. Arithmetic of
# dense layers: Kaplan et al. 2020, Scaling Laws for Neural Language Models, section 2.1.
PASSES = {"lora": 2, "qlora": 2, "full": 3}


@dataclass(frozen=True)
class Pace:
    """Tokens a second of one device, and what that rests on."""

    tokens_per_s: float
    status: Literal["measured", "published", "derived"]
    basis: str


def pace(
    rows: Sequence[ThroughputRow], device: str, *, method: Method, n_parameters: int, has_checkpointing: bool,
    peaks: dict[str, Device],
) -> Pace | None:  # fmt: skip
    """The nearest row of the table, scaled by arithmetic; None where no row can be compared with.

    A row of the same device and method is preferred to one of the device alone, and that to one of the method. Between
    devices, rates are taken to go with their peaks; a processor is compared with processors only.
    """
    near = [row for row in rows if row.device == device or (row.device in peaks and device in peaks)]
    if not near:
        return None

    def distance(row: ThroughputRow) -> tuple[bool, bool, bool, float]:
        other_size = max(row.n_parameters / n_parameters, n_parameters / row.n_parameters)
        return row.device != device, row.method != method, row.has_checkpointing != has_checkpointing, other_size

    row = min(near, key=distance)
    factor = row.n_parameters / n_parameters
    factor *= _work(row.method, row.has_checkpointing) / _work(method, has_checkpointing)
    if row.device != device:
        factor *= peaks[device].tflops.v / peaks[row.device].tflops.v
    same = (row.device, row.method, row.has_checkpointing) == (device, method, has_checkpointing)
    is_near = same and abs(factor - 1) < 0.02  # parameters as the source rounds them
    words = f"{row.tokens_per_s.v:,.0f} for {row.model}, {row.method} on {row.device} ({row.tokens_per_s.status})"
    return Pace(
        tokens_per_s=row.tokens_per_s.v * factor,
        status=row.tokens_per_s.status if is_near else "derived",
        basis=words if is_near else f"scaled from {words}",
    )


def _work(method: Method, has_checkpointing: bool) -> int:
    return PASSES[method] + int(has_checkpointing)
