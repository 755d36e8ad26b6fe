"""LLaMA-3.1-8B on one GPU: real tokens a second, share of the chip's peak, and memory, for each way to batch.

    python benchmarks/training_gpu.py                          # all modes; ends within --deadline seconds (520)
    python benchmarks/training_gpu.py --wheels /path/wheels    # installs what is missing from that folder, offline
    python benchmarks/training_gpu.py --modes padding_free,scoring --batch 64
    python benchmarks/training_gpu.py --dry-run                # a tiny model on the CPU; its numbers mean nothing

Nothing is downloaded: the architecture is LLaMA-3.1-8B's (8.03 billion weights), the weights are random, and so are
the tokens, with lengths as sentences of the demo gold in their prompts have them (log-normal, mean 38, 14 to 128).
LoRA r 16 on all linear layers; one label of 2 to 4 tokens and the end token is supervised. Wanted are PyTorch with
CUDA, trl, peft, transformers, accelerate, datasets; `liger_kernel` for one mode; the harness's own dependencies for
scoring and for the mode with its fused adapter.

Real tokens are those of the sentences, never padding. Share of peak counts what the mathematics needs: 4 FLOP for each
frozen weight and real token (forward, and backward to the activations), 6 for each adapter weight, the output matrix
for supervised tokens only, causal attention inside sentences; recomputing activations earns nothing. Peak is
989 TFLOP/s, dense bfloat16 of an H100 or H200. Each mode is a process of its own, timed between CUDA synchronizations
after warm-up; one that runs out of memory is tried again with half the examples in one pass. `trl_defaults` loads
float32 weights as SFTTrainer does from a path. Without `flash_attn`, flat batches use PyTorch's own `varlen_attn`; that
sentences do not see each other is checked before anything is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_8b import (
    LLAMA_31_8B,
    TINY,
    flat_attention,
    isolation_error,
    needed_flops,
    random_model,
    random_rows,
    vocabulary,
    word_tokenizer,
)  # fmt: skip

ROOT = Path(__file__).resolve().parents[1]
PEAK_FLOPS = 989e12
N_LABELS, N_SCORED, N_SCORED_TOKENS = 9, 1024, 16_384
PACK_LENGTH = 2048
# import name -> requirement; installed from --wheels where missing
WANTED = {name: name for name in ("trl", "peft", "transformers", "accelerate", "datasets", "pydantic", "pyarrow")}
WANTED |= {"yaml": "PyYAML", "liger_kernel": "liger-kernel", "gguf": "gguf", "jinja2": "jinja2", "psutil": "psutil"}


@dataclass(frozen=True)
class Mode:
    """Fields of trl.SFTConfig on top of the batch; `dtype` is of the frozen weights."""

    sft: dict[str, Any] = field(default_factory=dict)
    dtype: str = "bfloat16"
    at_once: int | None = None  # examples in one pass; None: the whole batch
    batch: int | None = None  # examples an update; None: --batch
    needs: str | None = None  # a package
    fused: bool = False  # the harness's LoRA as one operation, instead of PEFT's under autocast


NO_CHECKPOINTS = {"activation_checkpointing": False}
FLAT = {**NO_CHECKPOINTS, "padding_free": True, "max_length": None}
MODES = {
    "trl_defaults": Mode(dtype="float32", at_once=8),
    "trl_defaults_bfloat16_weights": Mode(at_once=8),
    "padded": Mode(NO_CHECKPOINTS, at_once=32),
    "length_grouped": Mode({**NO_CHECKPOINTS, "train_sampling_strategy": "group_by_length"}, at_once=32),
    "padding_free": Mode(FLAT, at_once=64),
    "padding_free_batch_16": Mode(FLAT, batch=16),
    "padding_free_fused_lora": Mode(FLAT, at_once=64, fused=True),
    "packed": Mode({**NO_CHECKPOINTS, "packing": True, "max_length": PACK_LENGTH}),
    "padding_free_checkpointing": Mode({**FLAT, "activation_checkpointing": True}, at_once=64),
    "padding_free_liger": Mode({**FLAT, "use_liger_kernel": True}, at_once=64, needs="liger_kernel"),
    "scoring": Mode(),
}  # the order in which they run: what the goal needs comes first where time is short
FIRST = ("padding_free", "trl_defaults", "padding_free_fused_lora", "packed", "scoring")
OURS = ("padding_free", "padding_free_fused_lora", "packed", "padding_free_liger")


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    chosen = given.modes.split(",") if given.modes else [*FIRST, *(name for name in MODES if name not in FIRST)]
    unknown = sorted(set(chosen) - set(MODES))
    if unknown:
        raise SystemExit(f"--modes: no mode {', '.join(unknown)}; known: {', '.join(MODES)}")
    if given.worker:
        given.worker.write_text(json.dumps(measure(chosen[0], given)), encoding="utf-8")
        return 0
    if given.wheels:
        _install_missing(given.wheels)
    import torch

    if not given.dry_run and not torch.cuda.is_available():
        print("no CUDA device here: a dry run with a tiny model on the CPU follows", flush=True)
        given.dry_run = True
    if given.dry_run:
        print("DRY RUN: tiny model on the CPU. It shows that the script works; its numbers mean nothing.", flush=True)
    else:
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
    _report(_run_all(chosen, given), dry_run=given.dry_run)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", help=f"some of {', '.join(MODES)}, separated by commas")
    parser.add_argument("--batch", type=int, default=128, help="examples an update (default: 128, about 4,900 tokens)")
    parser.add_argument("--updates", type=int, default=8, help="timed updates, after --warm-up")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=64, help="examples in one pass, at most (default: 64)")
    parser.add_argument("--deadline", type=float, default=520.0, help="seconds after which no mode is started or kept")
    parser.add_argument("--wheels", type=Path, help="folder of wheels for a machine without a network")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser


def _install_missing(folder: Path) -> None:
    missing = [wheel for name, wheel in WANTED.items() if importlib.util.find_spec(name) is None]
    for wheel in missing:  # one by one: a wheel that was not brought costs its own mode only
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(folder), wheel]
        if subprocess.run(command, check=False).returncode:
            print(f"{wheel}: no usable wheel in {folder}", flush=True)
    importlib.invalidate_caches()


def _run_all(chosen: Sequence[str], given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Measurements by mode; a mode that could not run has a `reason` instead."""
    began, found = time.monotonic(), {}
    for name in chosen:
        left = given.deadline - (time.monotonic() - began)
        needs = MODES[name].needs
        if left <= 0:
            found[name] = {"reason": f"the deadline of {given.deadline:g} s had passed"}
        elif needs and importlib.util.find_spec(needs) is None:
            found[name] = {"reason": f"{needs} is not installed"}
        elif given.dry_run:
            found[name] = measure(name, given)
        else:
            found[name] = _in_a_process(name, given, given.at_once, left)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    return found


def _in_a_process(name: str, given: argparse.Namespace, at_once: int, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--modes", name, "--worker", str(answer),
                   "--batch", str(given.batch), "--at-once", str(at_once),
                   "--updates", str(given.updates), "--warm-up", str(given.warm_up)]  # fmt: skip
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return {"reason": f"stopped at the deadline of {given.deadline:g} s"}
        left = seconds - (time.monotonic() - began)
        if done.returncode and "out of memory" in done.stderr and at_once > 1 and left > 0:
            return _in_a_process(name, given, at_once // 2, left)
        if done.returncode:
            return {"reason": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
        return dict(json.loads(answer.read_text(encoding="utf-8")))


def _report(found: dict[str, dict[str, Any]], *, dry_run: bool) -> None:
    start = "figure dry_run_" if dry_run else "figure "
    for name, one in found.items():
        if "reason" in one:
            print(f"{name}: not measured: {one['reason']}")
        for what, value in one.items():
            if isinstance(value, int | float):
                print(f"{start}{name}_{what} {value:.4g}")
    speeds = {name: one["real_tokens_per_second"] for name, one in found.items() if "real_tokens_per_second" in one}
    ours = max((speeds[name] for name in OURS if name in speeds), default=0)
    if ours and "trl_defaults" in speeds:
        print(f"{start}training_gpu_ratio {ours / speeds['trl_defaults']:.2f}")


def measure(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Train or score with one mode in this process."""
    import torch

    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    mode = MODES[name]
    shape = TINY if given.dry_run else LLAMA_31_8B
    model = random_model(shape, mode.dtype, cuda=not given.dry_run)
    tokenizer = word_tokenizer(shape["vocab_size"])
    if name == "scoring":
        return _score(model, tokenizer, dry_run=given.dry_run)
    if mode.sft.get("padding_free") or mode.sft.get("packing"):
        attention = flat_attention(model)
        far = isolation_error(model)
        if far > (0.2 if model.dtype == torch.bfloat16 else 1e-4):
            return {"reason": f"{attention}: sentences of a flat batch see each other (logits differ by {far:.3g})"}
        return {"attention": attention, "isolation_error": far, **_train(model, tokenizer, mode, given)}
    return _train(model, tokenizer, mode, given)


def _train(model: Any, tokenizer: Any, mode: Mode, given: argparse.Namespace) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    batch, packed = mode.batch or given.batch, bool(mode.sft.get("packing"))
    n_updates = given.warm_up + given.updates
    rows = random_rows(batch * n_updates * (2 if packed else 1), model.config.vocab_size)
    at_once = 1 if packed else min(mode.at_once or batch, given.at_once, batch)
    with tempfile.TemporaryDirectory() as scratch:
        fixed = {
            "output_dir": scratch, "max_steps": n_updates, "per_device_train_batch_size": at_once,
            "gradient_accumulation_steps": 2 if packed else batch // at_once, "save_strategy": "no", "seed": 1,
            "disable_tqdm": True, "use_cpu": given.dry_run, "logging_steps": 1000,
            "bf16": not (given.dry_run or mode.fused), "dataloader_pin_memory": not given.dry_run,
        }  # fmt: skip
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(**{**fixed, **_known(mode.sft)}),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        if mode.fused and not _fuse(trainer.model):
            return {"reason": "no layer could be fused"}
        trainer.remove_callback(PrinterCallback)
        clock = _watch(trainer, synchronize=not given.dry_run)
        trainer.train()
    seconds = clock.ends[-1] - clock.ends[given.warm_up - 1]
    share = given.updates / n_updates  # all updates are alike in the mean
    lengths = torch.cat(clock.lengths).double()
    tokens = float(lengths.sum()) * share
    needed = needed_flops(
        trainer.model, tokens=tokens, supervised=float(sum(clock.supervised)) * share,
        squares=float((lengths**2).sum()) * share,
    )  # fmt: skip
    return {
        "real_tokens_per_second": tokens / seconds,
        "share_of_peak": needed / seconds / PEAK_FLOPS,
        "seconds_per_update": seconds / given.updates,
        "real_tokens_per_update": tokens / given.updates,
        "examples_at_once": at_once,
        "peak_gib": 0.0 if given.dry_run else torch.cuda.max_memory_allocated() / 2**30,
    }


def _fuse(model: Any) -> int:
    from harness.backends.fused_lora import fuse

    return fuse(model)


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings under the names of the installed transformers, which renamed one."""
    from trl import SFTConfig

    old = "activation_checkpointing" not in SFTConfig.__dataclass_fields__
    names = {"activation_checkpointing": "gradient_checkpointing"} if old else {}
    return {names.get(name, name): value for name, value in settings.items()}


@dataclass(frozen=True)
class Seen:
    """When each update ended, and what each pass held; on the device, for reading it would make the device wait."""

    ends: list[float] = field(default_factory=list)
    lengths: list[Any] = field(default_factory=list)
    supervised: list[Any] = field(default_factory=list)


def _watch(trainer: Any, *, synchronize: bool) -> Seen:
    import torch
    from transformers import TrainerCallback

    seen = Seen()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if synchronize:
                torch.cuda.synchronize()
            seen.ends.append(time.perf_counter())

    plain = trainer.training_step

    def counting(model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
        flat = "cu_seq_lens_q" in inputs
        seen.lengths.append(inputs["cu_seq_lens_q"].diff() if flat else inputs["attention_mask"].sum(dim=1))
        seen.supervised.append((inputs["labels"] != -100).sum())
        return plain(model, inputs, *rest)

    trainer.training_step = counting
    trainer.add_callback(Clock())
    return seen


def _score(model: Any, tokenizer: Any, *, dry_run: bool) -> dict[str, Any]:
    """The harness's label scorer: sentences a second with nine labels of 2 to 4 tokens."""
    import torch

    from harness.scoring.label_likelihood import score_labels

    n = 16 if dry_run else N_SCORED
    words = vocabulary(model.config.vocab_size)
    prompts = [" ".join(words[i - 3] for i in row["input_ids"][:-4]) for row in random_rows(n, model.config.vocab_size)]
    labels = [" ".join([" " + words[10 * k], *words[10 * k + 1 : 10 * k + 2 + k % 3]]) for k in range(N_LABELS)]
    model.eval()
    score_labels(model, tokenizer, prompts[:16], labels, max_tokens=N_SCORED_TOKENS)
    began = time.perf_counter()
    score_labels(model, tokenizer, prompts, labels, max_tokens=N_SCORED_TOKENS)
    seconds = time.perf_counter() - began  # the scores are numpy arrays, so the device has finished
    peak = 0.0 if dry_run else torch.cuda.max_memory_allocated() / 2**30
    return {"sentences_per_second": n / seconds, "peak_gib": peak}


if __name__ == "__main__":
    sys.exit(main())
