"""Planned against measured peak memory of training, on a CPU, for models of three sizes.

python benchmarks/memory.py                     # LoRA on about 19M, 135M (the embedded model) and 362M parameters
python benchmarks/memory.py --method full
python benchmarks/memory.py --case none         # a model of next to no size: what the process itself holds

Each model is trained for two updates of 16 sentences of the demo gold by `harness.training.sft`, alone in a process.
Measured is the highest resident memory from before the model is loaded to the end (Linux's VmHWM, set back first), less
the resident memory after imports. Planned is what `harness plan --device cpu` says of the same rows. The last lines are
`figure memory_plan_error_<size> VALUE`, planned over measured minus one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

N_UPDATES, N_ROWS = 2, 16
EMBEDDED = "embedded:smollm2-135m"
SHAPES: dict[str, dict[str, int]] = {
    "none": {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
             "num_key_value_heads": 1},
    "19m": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8, "num_attention_heads": 8,
            "num_key_value_heads": 4},
    "135m": {},
    "362m": {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15,
             "num_key_value_heads": 5},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", choices=SHAPES, action="append", help="only this size; may be given again")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, default=16, help="rows of one pass, of 16 in an update")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        measure(given.measure)
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for case in given.case or ("19m", "135m", "362m"):
            folder = Path(name) / case
            job = prepare(folder, case, given)
            planned, parts = plan(job, folder)
            run = subprocess.run([sys.executable, __file__, "--measure", folder], check=True, capture_output=True)
            told = json.loads(run.stdout.splitlines()[-1])
            words = f"planned {planned / 2**20:.0f} MiB, measured {told['peak'] / 2**20:.0f} MiB"
            imports = f"{told['base'] / 2**20:.0f} MiB after imports"
            print(f"{case} {given.method} {given.dtype}: {words} above {imports}; {parts}", flush=True)
            figures.append((case, planned, told["peak"]))
    for case, planned, measured in figures:
        if case == "none":
            print(f"figure memory_process_mib {measured / 2**20:.0f}")
        print(f"figure memory_plan_error_{case} {planned / measured - 1:+.3f}")


def prepare(folder: Path, case: str, given: argparse.Namespace) -> Any:
    """Model, rows and settings of one case; the settings."""
    from harness.backends.models import load_tokenizer
    from harness.backends.tokenizer import encode_pairs
    from harness.prompts.render import completions, render_classify
    from harness.schemas.tables import TRAIN
    from harness.schemas.task import load_task
    from harness.store import write_json, write_table
    from harness.training.job import SETTINGS_FILE, TrainingJob

    folder.mkdir()
    task = load_task("alzheimers", base=Path())
    names = completions(task)
    gold = [json.loads(line) for line in (task.folder / "demo_gold.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [(row["text"], row["label"], names[row["label"]]) for row in gold[: N_UPDATES * N_ROWS]]
    prompts = [render_classify(task, text) for text, *_ in texts]
    pairs = encode_pairs(load_tokenizer(EMBEDDED), prompts, [answer for *_, answer in texts])
    rows = [
        {"example_id": f"e{i}", "origin": "gold", "sentence_id": f"s{i}", "patient_id": None, "pass_index": 0,
         "text": text, "label": label, "prompt": prompt, "completion": answer, "n_supervised_tokens": pair.n_supervised}
        for i, ((text, label, answer), prompt, pair) in enumerate(zip(texts, prompts, pairs, strict=True))
    ]  # fmt: skip
    write_table(folder / "train.parquet", rows, TRAIN)
    job = TrainingJob(
        mix="demo", seed_index=0, root_seed=1, base_model=model(folder, case), revision=None, weights="random",
        dtype=given.dtype, method=given.method, lora={"lora_dropout": 0.0} if given.method == "lora" else {},
        sft={"learning_rate": 1e-4, "per_device_train_batch_size": given.batch}, global_batch_size=N_ROWS,
        updates=N_UPDATES, max_length=512,
    )  # fmt: skip
    write_json(folder / SETTINGS_FILE, job.model_dump(mode="json"))
    return job


def model(folder: Path, case: str) -> str:
    """The embedded model, or a folder of one with random weights and the same tokenizer."""
    if not SHAPES[case]:
        return EMBEDDED
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    from harness.backends.embedded import unpacked_model

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(unpacked_model())
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
                         eos_token_id=tokenizer.eos_token_id, **SHAPES[case])  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return str(folder / "model")


def plan(job: Any, folder: Path) -> tuple[int, str]:
    """Planned bytes for exactly these rows, and their parts in MiB."""
    import numpy as np

    from harness.backends.models import load_tokenizer
    from harness.backends.tokenizer import encode_pairs
    from harness.planning.training import Lengths, Setup, model_config
    from harness.schemas.recipe_parts import Training
    from harness.schemas.tables import TRAIN
    from harness.store import read_table
    from harness.training.footprint import measure_footprint
    from harness.training.memory import Sharing
    from harness.training.plan import plan_batches

    rows = read_table(folder / "train.parquet", TRAIN)
    pairs = encode_pairs(load_tokenizer(EMBEDDED), rows["prompt"].to_pylist(), rows["completion"].to_pylist())
    lengths = Lengths(np.array([len(pair.ids) for pair in pairs]), np.array([pair.n_supervised for pair in pairs]),
                      is_counted=True, is_mix=True)  # fmt: skip
    training = Training(base_model=job.base_model, dtype=job.dtype, method=job.method, lora=job.lora, sft=job.sft,
                        global_batch_size=N_ROWS)  # fmt: skip
    setup = Setup(training, model_config(job.base_model), None, Sharing("single", 1), lengths, root_seed=1)
    batches = plan_batches(N_ROWS, n_processes=1, at_most=job.sft["per_device_train_batch_size"])
    way = setup.way(batches)
    memory = setup.memory(measure_footprint(setup.config, way, setup.batch(batches)), way)
    parts = {name: round(value / 2**20) for name, value in vars(memory).items() if value}
    return memory.total, f"planned parts {parts}"


def measure(folder: Path) -> None:
    """Train the case in `folder` and print its memory as JSON."""
    from transformers import LlamaForCausalLM  # noqa: F401 - part of the imports, not of training

    from harness.training import sft
    from harness.training.job import SETTINGS_FILE, TrainingJob

    job = TrainingJob.model_validate_json((folder / SETTINGS_FILE).read_bytes())
    base = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets VmHWM back to what is resident now
    sft.train(job, folder / "train.parquet", folder)
    print(json.dumps({"base": base, "peak": resident("VmHWM") - base}))


def resident(name: str) -> int:
    """A line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
