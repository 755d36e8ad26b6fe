"""Loading a causal language model and its tokenizer: one place for generation, training and scoring."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.backends.embedded import EMBEDDED_MODEL, GGUF_SHA256, unpacked_model
from harness.errors import BackendError

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def local_or_hub(base_model: str) -> str:
    """What transformers is given: the embedded model's folder, a local folder, or a hub id.

    Raises:
        BackendError: An unknown embedded model, or a path that is not there.
    """
    if base_model.startswith("embedded:"):
        if base_model != EMBEDDED_MODEL:
            raise BackendError(f"no embedded model {base_model!r}; known: {EMBEDDED_MODEL}")
        return str(unpacked_model())
    path = Path(base_model).expanduser()
    if path.is_dir():
        return str(path)
    if base_model.startswith((".", "/", "~")) or base_model.count("/") > 1:
        raise BackendError(f"base model {base_model!r}: no such folder; give a folder, a hub id, or {EMBEDDED_MODEL}")
    return base_model


def revision_of(base_model: str, revision: str | None) -> str:
    """What pins the weights: the embedded file's hash, the given revision, or `local` / `unpinned`."""
    if base_model == EMBEDDED_MODEL:
        return GGUF_SHA256[:12]
    if revision is not None:
        return revision
    return "local" if Path(base_model).expanduser().is_dir() else "unpinned"


def load_tokenizer(base_model: str, *, revision: str | None = None) -> Any:
    """The tokenizer, with a pad token (the end token where the model has none).

    Raises:
        BackendError: It cannot be loaded, or it has no end token.
    """
    from transformers import AutoTokenizer

    name = local_or_hub(base_model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise BackendError(_cannot_load(base_model, "tokenizer", error)) from error
    if tokenizer.eos_token_id is None:
        raise BackendError(f"base model {base_model!r}: its tokenizer has no end token, so a label has no end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(base_model: str, *, revision: str | None = None, dtype: Dtype = "auto", **options: Any) -> Any:
    """The causal language model on the CPU, in evaluation mode.

    Args:
        base_model: `embedded:smollm2-135m`, a local folder, or a hub id.
        revision: Commit of the hub repository.
        dtype: Of the weights; see `settled_dtype` for `auto`.
        options: Further arguments of `from_pretrained`, e.g. `attn_implementation` or `quantization_config`.

    Raises:
        BackendError: It cannot be loaded.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # a bar for each load says nothing that the stage's own line does not
    try:
        model = AutoModelForCausalLM.from_pretrained(
            local_or_hub(base_model), revision=revision, dtype=torch_dtype(dtype), **options
        )
    except (OSError, ValueError) as error:
        raise BackendError(_cannot_load(base_model, "model", error)) from error
    return model.eval()


def four_bit() -> Any:
    """Settings of `quantization_config` for a frozen base in 4 bits: NF4, double quantization, bfloat16 products.

    Source: Dettmers et al. 2023, QLoRA (arXiv 2305.14314), sections 3 and 4.

    Raises:
        BackendError: No CUDA GPU, or no bitsandbytes.
    """
    import torch

    missing = missing_for_four_bit(cuda=torch.cuda.is_available())
    if missing is not None:
        raise BackendError(f"training.method is qlora, which {missing}")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def missing_for_four_bit(*, cuda: bool) -> str | None:
    """What a machine lacks for a base in 4 bits, as the end of a sentence; None where it lacks nothing."""
    if not cuda:
        return "needs a CUDA GPU; on this machine use lora"
    if find_spec("bitsandbytes") is None:
        return "needs bitsandbytes; in the clone: pip install -e '.[qlora]'"
    return None


def settled_dtype(dtype: Dtype) -> Literal["float32", "bfloat16", "float16"]:
    """What `auto` means on this machine: bfloat16 where GPU or processor multiplies it natively, else float32.

    On a processor that does, SmolLM2-135M reads three times as fast as in float32; on one that does not, it is emulated
    and far slower.
    """
    if dtype != "auto":
        return dtype
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported()
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


def torch_dtype(dtype: Dtype) -> torch.dtype:
    import torch

    found: torch.dtype = getattr(torch, settled_dtype(dtype))
    return found


def last_position(ids: torch.Tensor) -> torch.Tensor:
    """What `logits_to_keep` is given to project the last of (n_rows, n_tokens) positions onto the vocabulary.

    The number 1 would mean the same, but makes a strided view, for whose product a CPU copies the output matrix once a
    row: 1.4 of the 3.3 seconds of a batch of 32, and gigabytes.
    """
    import torch

    return torch.tensor([ids.shape[1] - 1], device=ids.device)


def _cannot_load(base_model: str, what: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0][:200]
    return f"base model {base_model!r}: its {what} cannot be loaded ({error.__class__.__name__}: {reason})"
