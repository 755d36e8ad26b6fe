"""How long the evaluation of a whole recipe takes: all metrics, intervals, contrasts and p-values, in memory.

    python benchmarks/bootstrap.py                     # both cases, each in a process of its own
    python benchmarks/bootstrap.py --case medium

medium: a quickstart-sized test set under 7 mixes (the aim: 20 s). large: 12,000 test sentences of 1,000 patients, three
train seeds, 10,000 replicates (the aim: 60 s and 2 GB). Learners are those of a run: llm, tfidf, majority.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from harness import seeds
from harness.evaluation.panel import MixRuns, Panel, build_panel
from harness.evaluation.stage import evaluate
from harness.schemas.recipe import Evaluation

ROOT_SEED = 11


@dataclass(frozen=True)
class Case:
    n_sentences: int
    n_patients: int
    n_classes: int
    n_mixes: int
    n_train_seeds: int
    levels: dict[str, int]
    n_bootstrap: int


CASES = {
    "medium": Case(720, 90, 6, 7, 1, {"sex": 2, "age_band": 5, "race_ethnicity": 6, "stage": 4}, 2_000),
    "large": Case(12_000, 1_000, 6, 7, 3, {"sex": 2, "age_band": 6, "race_ethnicity": 7, "stage": 5}, 10_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    wanted = parser.parse_args().case
    context = multiprocessing.get_context("spawn")
    for name in CASES if wanted == "all" else [wanted]:
        with context.Pool(1) as pool:
            seconds, peak_mb, n_rows = pool.apply(measure_case, (name,))
        prefix = "bootstrap" if name == "medium" else f"bootstrap_{name}"
        print(f"{name}: {CASES[name]}, {n_rows} rows")
        print(f"figure {prefix}_seconds {seconds:.2f}")
        print(f"figure {prefix}_peak_mb {peak_mb:.0f}")


def measure_case(name: str) -> tuple[float, float, int]:
    """Seconds, peak resident megabytes of the process, and rows written."""
    case = CASES[name]
    panel, runs = build_case(case)
    settings = Evaluation(n_bootstrap=case.n_bootstrap)
    clock = time.perf_counter()
    metrics, contrasts = evaluate(panel, runs, settings=settings, root_seed=ROOT_SEED)
    seconds = time.perf_counter() - clock
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds, peak_mb, len(metrics) + len(contrasts)


def build_case(case: Case) -> tuple[Panel, dict[str, list[MixRuns]]]:
    rng = seeds.generator(ROOT_SEED, "benchmark", "bootstrap")
    labels = [f"label_{k}" for k in range(case.n_classes)]
    patient = rng.integers(case.n_patients, size=case.n_sentences)
    columns = {
        name: [f"level_{one}" for one in rng.integers(n, size=case.n_patients)[patient]]
        for name, n in case.levels.items()
    }
    gold = pa.table(
        {
            "sentence_id": [f"s{i:06d}" for i in range(case.n_sentences)],
            "patient_id": [f"p{p:05d}" for p in patient],
            "split": ["test"] * case.n_sentences,
            "label": [labels[k] for k in rng.integers(case.n_classes, size=case.n_sentences)],
            **columns,
        }
    )
    levels = {name: [f"level_{k}" for k in range(n)] for name, n in case.levels.items()}
    panel = build_panel(gold, "test", label_ids=labels, levels=levels)
    runs = {
        learner: [invented_runs(panel, f"mix_{m}", learner, n_seeds, rng) for m in range(case.n_mixes)]
        for learner, n_seeds in (("llm", case.n_train_seeds), ("tfidf", 1), ("majority", 1))
    }
    return panel, runs


def invented_runs(panel: Panel, mix: str, learner: str, n_seeds: int, rng: np.random.Generator) -> MixRuns:
    """Answers that are right about half of the time; the majority learner gives every sentence the same ones."""
    n_classes = len(panel.label_ids)
    logits = rng.normal(size=(n_seeds, panel.truth.size, n_classes))
    logits[:, np.arange(panel.truth.size), panel.truth] += 1.0
    if learner == "majority":
        logits[:] = logits[:, :1]
    probability = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return MixRuns(mix, learner, probability.argmax(axis=-1), probability)


if __name__ == "__main__":
    main()
