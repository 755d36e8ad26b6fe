"""How long the evaluation of a whole recipe takes: all metrics, intervals, contrasts and p-values, in memory.

    python benchmarks/bootstrap.py                     # both cases, each in a process of its own
    python benchmarks/bootstrap.py --case medium

    python benchmarks/bootstrap.py --case fairlearn    # pip install -c constraints.txt -e '.[benchmark]'

medium: a quickstart-sized test set under 7 mixes (the aim: 20 s). large: 12,000 test sentences of 1,000 patients, three
train seeds, 10,000 replicates (the aim: 60 s and 2 GB). Learners are those of a run: llm, tfidf, majority.

fairlearn: the large case's fine-tuned runs alone, against `MetricFrame(n_boot=...)` with scikit-learn's metrics of hard
decisions for the same runs, subgroup levels and replicates. A few of its replicates are timed, over one run and every
variable, and multiplied up: its time grows with replicates and runs in proportion. The harness's time holds AUROC,
calibration, contrasts and p-values besides; fairlearn draws sentences, not patients. CPU seconds on one core each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness import seeds
from harness.evaluation.by_subgroup import Row
from harness.evaluation.learners import evaluate
from harness.evaluation.panel import MixRuns, Panel, build_panel
from harness.evaluation.square import CELLS
from harness.schemas.recipe_parts import Evaluation

if TYPE_CHECKING:
    from fairlearn.metrics import MetricFrame

ROOT_SEED = 11
FAIRLEARN_REPLICATES = 10
SQUARE = {cell: f"mix_{m + 1}" for m, cell in enumerate(CELLS)}


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
    parser.add_argument("--case", choices=[*CASES, "fairlearn", "all"], default="all")
    wanted = parser.parse_args().case
    context = multiprocessing.get_context("spawn")
    if wanted == "fairlearn":
        with context.Pool(1) as pool:
            print_ratio(*pool.apply(measure_fairlearn))
        return
    for name in CASES if wanted == "all" else [wanted]:
        with context.Pool(1) as pool:
            seconds, cpu_seconds, peak_mb, n_rows = pool.apply(measure_case, (name,))
        prefix = "bootstrap" if name == "medium" else f"bootstrap_{name}"
        print(f"{name}: {CASES[name]}, {n_rows} rows")
        print(f"figure {prefix}_seconds {seconds:.2f}")
        print(f"figure {prefix}_cpu_seconds {cpu_seconds:.2f}")
        print(f"figure {prefix}_peak_mb {peak_mb:.0f}")


def measure_case(name: str) -> tuple[float, float, float, int]:
    """Seconds, CPU seconds, peak resident megabytes of the process, and rows written."""
    case = CASES[name]
    panel, runs = build_case(case)
    settings = Evaluation(n_bootstrap=case.n_bootstrap)
    clock, cpu = time.perf_counter(), time.process_time()
    metrics, contrasts = evaluate(panel, runs, settings=settings, root_seed=ROOT_SEED, square=SQUARE)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds, cpu_seconds, peak_mb, len(metrics) + len(contrasts)


def measure_fairlearn() -> tuple[float, float, float, float]:
    """CPU seconds of the harness; of fairlearn per replicate, and without any; largest difference between the two."""
    from fairlearn.metrics import MetricFrame

    case = CASES["large"]
    panel, runs = build_case(case)
    cpu = time.process_time()
    metrics, _ = evaluate(
        panel, {"llm": runs["llm"]}, settings=Evaluation(n_bootstrap=case.n_bootstrap), root_seed=ROOT_SEED
    )
    own = time.process_time() - cpu
    features = {name: np.empty(panel.truth.size, dtype=object) for name in case.levels}
    for part in panel.slices[1:]:
        features[part.variable][part.rows] = part.level

    def frames(n_boot: int | None) -> tuple[float, list[MetricFrame]]:
        clock, made = time.process_time(), []
        for feature in features.values():
            resampled = {} if n_boot is None else {"n_boot": n_boot, "ci_quantiles": [0.025, 0.975], "random_state": 1}
            made.append(
                MetricFrame(
                    metrics=scikit_learn_metrics(case.n_classes),
                    y_true=panel.truth,
                    y_pred=runs["llm"][0].predicted[0],
                    sensitive_features=feature,
                    **resampled,
                )
            )
        return time.process_time() - clock, made

    without, made = frames(None)
    with_replicates, _ = frames(FAIRLEARN_REPLICATES)
    return own, (with_replicates - without) / FAIRLEARN_REPLICATES, without, largest_difference(made, metrics)


def scikit_learn_metrics(n_classes: int) -> dict[str, Callable[..., float]]:
    """The harness's metrics of hard decisions under their names, `f1/label_0` for those of a class."""
    from sklearn import metrics as sk

    found: dict[str, Callable[..., float]] = {
        "accuracy": sk.accuracy_score,
        "balanced_accuracy": sk.balanced_accuracy_score,
        "macro_f1": partial(sk.f1_score, average="macro", zero_division=0),
        "weighted_f1": partial(sk.f1_score, average="weighted", zero_division=0),
    }
    for k in range(n_classes):
        for name, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            found[f"{name}/label_{k}"] = partial(score, labels=[k], average="macro", zero_division=0)
    return found


def largest_difference(made: list[MetricFrame], metrics: list[Row]) -> float:
    """Of any value of the first run's first seed, overall and by level, between the two."""
    table = {
        (row["metric"], row["class"], row["subgroup_level"], row["subgroup_variable"]): row["value"]
        for row in metrics
        if (row["mix"], row["train_seed"]) == ("mix_0", "0")
    }
    found = []
    for variable, frame in zip(CASES["large"].levels, made, strict=True):
        for name, values in frame.by_group.items():
            metric, _, label = str(name).partition("/")
            found += [abs(table[metric, label or "all", level, variable] - value) for level, value in values.items()]
    return float(np.max(found))


def print_ratio(own: float, replicate: float, without: float, difference: float) -> None:
    case = CASES["large"]
    n_runs = case.n_mixes * case.n_train_seeds
    theirs = n_runs * (without + case.n_bootstrap * replicate)
    print(f"fairlearn: {replicate:.2f} CPU s for one replicate of one run, all variables; {n_runs} runs")
    print(
        f"{case.n_bootstrap} replicates, extrapolated from {FAIRLEARN_REPLICATES}: {theirs:.0f} CPU s; "
        f"harness {own:.1f}; values differ by at most {difference:.1e}"
    )
    print(f"figure bootstrap_fairlearn_cpu_seconds {theirs:.0f}")
    print(f"figure bootstrap_ratio {theirs / own:.0f}")


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
