"""Counting the bytes of tensors from birth to death, on tensors that have shapes but no numbers.

Three things that a processor without numbers cannot show are put in by hand, as their kernels keep them: attention
(query, key, value, output and one float32 a head and token, but never the square of scores), dropout on a GPU (one byte
an element), and the projection onto the vocabulary on a GPU (supervised positions only, in tiles).
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.training.flat_attention import SCORES_AT_MOST, _causal, _padded

Kind = Literal["gradients", "logits", "activations"]
HEAD_TOKENS, HEAD_COLUMNS = 4096, 32768  # TRL's tile (trl 1.16, trl/kernels/chunked_logprob.py, trainer/utils.py)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what operations make while it is entered; what was there before is not counted.

    Attributes:
        at_peak: Bytes by kind at the moment when most was there. Logits are whatever has a side as long as the
            vocabulary or as a tile of it.
        apart: The same, had gradients taken no room: where they are shared out, another moment is the worst.
    """

    def __init__(self, there: Iterable[torch.Tensor], *, n_vocabulary: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.at_peak: dict[Kind, int] = {}
        self.apart: dict[Kind, int] = {}
        self._columns = {n_vocabulary, min(n_vocabulary, HEAD_COLUMNS), n_vocabulary % HEAD_COLUMNS}
        self._live: Counter[Kind] = Counter()
        self._kind: dict[int, Kind] = {}
        self._known = weakref.WeakSet[Any]()
        self._peak = self._peak_apart = 0
        for tensor in there:
            self._known.add(tensor.untyped_storage())

    def __torch_dispatch__(self, operation: Callable[..., Any], _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._born(tensor)
        self._look()
        return made

    def _look(self) -> None:
        total = sum(self._live.values())
        apart = total - self._live["gradients"]
        if total > self._peak:
            self._peak, self.at_peak = total, dict(self._live)
        if apart > self._peak_apart:
            self._peak_apart, self.apart = apart, {**self._live, "gradients": 0}

    def gradient_made(self, parameter: torch.nn.Parameter) -> None:
        """A hook for the moment when a parameter has its gradient."""
        storage = parameter.grad.untyped_storage() if parameter.grad is not None else None
        kind = self._kind.get(id(storage))
        if storage is not None and kind not in (None, "gradients"):
            self._move(id(storage), storage.nbytes(), "gradients")

    def _born(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        key, n_bytes = id(storage), storage.nbytes()
        self._kind[key] = "logits" if self._columns & set(tensor.shape[-2:]) and tensor.ndim > 1 else "activations"
        self._live[self._kind[key]] += n_bytes
        weakref.finalize(storage, self._gone, key, n_bytes)

    def _move(self, key: int, n_bytes: int, kind: Kind) -> None:
        self._live[self._kind[key]] -= n_bytes
        self._kind[key] = kind
        self._live[kind] += n_bytes

    def _gone(self, key: int, n_bytes: int) -> None:
        self._live[self._kind.pop(key)] -= n_bytes


# -- kernels without numbers ---------------------------------------------------------------------------


class _Attention(torch.autograd.Function):
    """What a flash or memory-efficient kernel keeps. Source: Dao et al. 2022, FlashAttention, algorithm 1."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        n_rows, n_heads, width, _ = query.shape
        output = query.new_empty((n_rows, width, n_heads, value.shape[-1]))
        log_sums = query.new_empty((n_rows, n_heads, width), dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, log_sums)
        return output

    @staticmethod
    def backward(ctx: Any, _gradient: torch.Tensor) -> Any:
        query, key, value, *_ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def attention(
    _module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    """For transformers' register of attention functions; with a mask, keys and values are repeated for every head."""
    n_groups = query.shape[1] // key.shape[1]
    if n_groups > 1:
        key, value = (one.repeat_interleave(n_groups, dim=1) for one in (key, value))
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    output: torch.Tensor = _Attention.apply(query.to(dtype), key.to(dtype), value.to(dtype))  # type: ignore[no-untyped-call]
    return output, None


def split_attention(
    lengths: Sequence[int],
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *_: Any,
    **__: Any,
) -> tuple[torch.Tensor, None]:
    """What `flat_attention.attend` does with rows of these lengths."""
    if len(lengths) * max(lengths) ** 2 > SCORES_AT_MOST:
        return attention(module, query, key, value)
    side_by_side = [_padded(part, list(lengths)) for part in (query, key, value)]
    attended = _causal(*side_by_side, scaling=1.0).transpose(1, 2)  # (n_rows, longest, n_heads, head_size)
    return attended.flatten(0, 1)[: sum(lengths)][None].to(query.dtype), None


class _ByteMask(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(torch.empty_like(given, dtype=torch.bool))
        return torch.empty_like(given)

    @staticmethod
    def backward(_ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(gradient)


class ByteMaskDropout(torch.nn.Module):
    """Dropout as a GPU does it: a new tensor, and one byte an element for the way back."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = _ByteMask.apply(given)  # type: ignore[no-untyped-call]
        return out


class TiledHead(torch.autograd.Function):
    """Log-probability of one token a position, through tiles of the logits: what TRL's fused head allocates."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(hidden, output)
        _tile(hidden, output)
        return hidden.new_empty(len(hidden), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, _gradient: torch.Tensor) -> Any:
        hidden, output = ctx.saved_tensors
        to_hidden = torch.empty_like(hidden, dtype=torch.float32)
        to_output = torch.empty_like(output, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        _tile(hidden, output)
        return to_hidden.to(hidden.dtype), None if to_output is None else to_output.to(output.dtype)


def _tile(hidden: torch.Tensor, output: torch.Tensor) -> None:
    tile = hidden.new_empty((min(len(hidden), HEAD_TOKENS), min(len(output), HEAD_COLUMNS)))
    part = output[: tile.shape[1]].to(hidden.dtype)
    del tile, part
