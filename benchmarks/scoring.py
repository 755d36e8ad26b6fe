"""Scoring labels: the harness against lm-evaluation-harness 0.4.13, the same model, prompts and labels.

    pip install lm-eval==0.4.13
    python benchmarks/scoring.py                        # 64 sentences, three kinds of prompt, three turns
    python benchmarks/scoring.py --sentences 1000 --kinds named --turns 1

SmolLM2-135M in float32, sentences of the shipped reference sets, six labels of several tokens. lm-evaluation-harness
runs a multiple-choice task as one log-likelihood request for each sentence and label; it is given these requests
through its HF backend (`HFLM.loglikelihood`, batch 16), without what its task layer adds. Both score the label and the
end token. Three kinds of prompt:

    bare      the sentence alone, as the harness fine-tunes on it
    named     an instruction that names the six labels
    defined   an instruction that defines them: a zero-shot prompt in full (the figure)

On a processor both are bound by multiplications, so the ratio is that of tokens: the longer the instruction, the more
there is to share.

Turns are interleaved; a ratio is the median over turns. Predictions must be equal wherever lm-evaluation-harness's best
two labels differ by more than the largest difference between the two computations.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task

KINDS = ("bare", "named", "defined")
FIGURE = "defined"
BATCH = 16
Scores = NDArray[np.float64]  # shape (n_sentences, n_labels), in nats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    given = parser.parse_args()

    from harness.backends.models import load_model, load_tokenizer

    task = load_task("alzheimers", base=Path())
    texts, labels = _sentences(given.sentences), [f" {label.name}" for label in task.labels]
    tokenizer = load_tokenizer("embedded:smollm2-135m")
    model = load_model("embedded:smollm2-135m", dtype=given.dtype)
    theirs = _lm_eval(model, tokenizer)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {len(texts)} sentences, "
          f"{len(labels)} labels of {_lengths(tokenizer, labels)} tokens")  # fmt: skip
    ratios = {}
    for kind in given.kinds:
        prompts = [_prompt(kind, task, text) for text in texts]
        print(f"{kind}: prompts of {_lengths(tokenizer, prompts)} tokens", flush=True)
        ratios[kind] = _compare(
            kind, lambda p=prompts: _ours(model, tokenizer, p, labels), lambda p=prompts: theirs(p, labels), given.turns
        )
    for kind, ratio in ratios.items():
        print(f"figure scoring_ratio_{kind} {ratio:.2f}")
    if FIGURE in ratios:
        print(f"figure scoring_ratio {ratios[FIGURE]:.2f}")


def _compare(kind: str, ours: Callable[[], Scores], theirs: Callable[[], Scores], turns: int) -> float:
    """Median ratio of sentences a second; refuses to give one where the two disagree."""
    seconds: list[tuple[float, float]] = []
    for turn in range(turns):
        (mine, a), (other, b) = _timed(ours), _timed(theirs)
        seconds.append((a, b))
        print(
            f"  turn {turn}: harness {len(mine) / a:.2f}, lm-eval {len(other) / b:.2f} sentences a second", flush=True
        )
    apart = float(np.abs(mine - other).max())
    best, second = np.sort(other, axis=1)[:, -1], np.sort(other, axis=1)[:, -2]
    clear = best - second > 2 * apart
    if (mine.argmax(axis=1) != other.argmax(axis=1))[clear].any():
        raise SystemExit(f"{kind}: predictions differ, or log-likelihoods by {apart:.2e} nats")
    same = float((mine.argmax(axis=1) == other.argmax(axis=1)).mean())
    print(f"figure scoring_{kind}_largest_difference_nats {apart:.1e}")
    print(f"figure scoring_{kind}_equal_predictions {same:.4f}")
    return float(np.median([b / a for a, b in seconds]))


def _timed(work: Callable[[], Scores]) -> tuple[Scores, float]:
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def _ours(model: Any, tokenizer: Any, prompts: list[str], labels: list[str]) -> Scores:
    from harness.scoring.label_likelihood import score_labels

    return score_labels(model, tokenizer, prompts, labels, max_tokens=None).log_likelihood


def _lm_eval(model: Any, tokenizer: Any) -> Callable[[list[str], list[str]], Scores]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    backend = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH, device="cpu")

    def score(prompts: list[str], labels: list[str]) -> Scores:
        ends = [label + tokenizer.eos_token for label in labels]
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=(prompt, end), idx=k)
            for prompt in prompts
            for k, end in enumerate(ends)
        ]
        found = backend.loglikelihood(requests, disable_tqdm=True)
        return np.array([one for one, _ in found]).reshape(len(prompts), len(labels))

    return score


def _sentences(n: int) -> list[str]:
    """Fictional sentences of the reference sets, an arm at a time, in turn."""
    folder = shipped("tasks") / "alzheimers" / "reference"
    arms = [[json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
            for path in sorted(folder.glob("*.jsonl"))]  # fmt: skip
    mixed = [text for row in zip(*arms, strict=False) for text in row]
    found = list(dict.fromkeys(mixed))[:n]
    if len(found) < n:
        raise SystemExit(f"--sentences {n}: the reference sets hold {len(found)} different sentences")
    return found


def _prompt(kind: str, task: Task, text: str) -> str:
    if kind == "bare":
        return f"Sentence: {text}\nLabel:"
    names = ", ".join(label.name for label in task.labels)
    intro = f"Choose the label of a sentence from the notes of a patient with {task.file.disease}. Labels: {names}.\n"
    if kind == "defined":
        intro += "".join(f"{label.name}: {label.definition}\n" for label in task.labels)
    return f"{intro}\nSentence: {text}\nLabel:"


def _lengths(tokenizer: Any, texts: list[str]) -> str:
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    return f"{min(lengths)} to {max(lengths)} (mean {np.mean(lengths):.1f})"


if __name__ == "__main__":
    main()
