"""How often does the 95% interval of each metric hold the truth: those of probabilities, and of several labels?

    python benchmarks/coverage_metrics.py --jobs 2         # 600 studies of each kind: some minutes
    python benchmarks/coverage_metrics.py --studies 50     # a look

`coverage.py` looks closely at accuracy and F1; here is the rest of the metrics table, on studies whose answers come
with probabilities. Everything goes through `measure` and the rows of the evaluation stage. The truth of a metric is its
value on 16,000 patients, averaged over equally likely train seeds. Two mixes of equal skill; the second of two numbers
is of their difference. Each line is a row of a table in docs/statistics.md; for metrics of a class, the mean over them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from invented_studies import SHARES, Study
from scipy.special import expit, softmax
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from harness import seeds
from harness.evaluation.by_subgroup import Measured, Resampling, measure
from harness.evaluation.combined import combine, without_value
from harness.evaluation.panel import ALL_LEVELS, OVERALL, MixRuns, Panel, Slice
from harness.evaluation.rows import metric_rows
from harness.metrics import utility
from harness.metrics.counts import Floats
from harness.metrics.resampling import draw_patients, draw_seeds, draw_swaps
from harness.metrics.uncertainty import plain_interval
from harness.schemas.recipe_parts import Evaluation

ROOT_SEED = 18
CONFIDENCE = 0.95
N_REPLICATES = 400
TRUE_PATIENTS, TRUE_SEEDS = 16_000, 9
# Signal of the true class over noise of 1 in each class; how much patients differ in it, and a seed at a patient.
SKILL, PATIENT_SD, PATIENT_BY_SEED_SD, MIX_SHARE = 1.4, 0.4, 0.15, 0.7
OVERCONFIDENT = 1.6  # factor on log odds; 1 is calibrated but for what patients differ in
TILT = 0.6  # standard deviation of a patient's own log odds of a label, where there are several


@dataclass(frozen=True)
class Kind:
    """What a study is like; `seed_sd` is on the scale of the signal, 0.1 moves accuracy by about 2.5 points.

    `confidence` is a factor on log odds.
    """

    labels: utility.Kind
    n_patients: int
    n_seeds: int
    seed_sd: float
    confidence: float = OVERCONFIDENT


STUDIES = tuple(
    Kind(labels, n_patients, n_seeds, seed_sd)
    for labels in ("single", "multi")
    for n_patients in (50, 200)
    for n_seeds, seed_sd in ((1, 0.0), (3, 0.1))
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--confidence", type=float, default=OVERCONFIDENT, help="1: a model that is nearly calibrated")
    given = parser.parse_args()
    kinds = [replace(kind, confidence=given.confidence) for kind in STUDIES]
    print(f"nominal {CONFIDENCE}, binomial standard error {(0.05 * 0.95 / given.studies) ** 0.5:.4f}", flush=True)
    everything = defaultdict(list)
    with ProcessPoolExecutor(given.jobs) as pool:
        for kind, cells in zip(kinds, pool.map(partial(coverage, n_studies=given.studies), kinds), strict=True):
            print(f"| {kind.labels} | {kind.n_patients} | {kind.n_seeds} | "
                  + " | ".join(f"{name}: {alone:.3f} {apart:.3f}" for name, (alone, apart) in cells.items()),
                  "|", flush=True)  # fmt: skip
            for name, both in cells.items():
                everything["ece" if name == "ece" else "others"] += both
    for name, shares in sorted(everything.items()):
        print(f"figure coverage_of_{name}_lowest {min(shares):.3f}")
        print(f"figure coverage_of_{name}_highest {max(shares):.3f}")
        print(f"figure coverage_of_{name}_mean {np.mean(shares):.3f}")


def coverage(kind: Kind, n_studies: int) -> dict[str, tuple[float, float]]:
    """Share of studies whose interval holds the truth, by metric: of a mix, and of the difference of two."""
    threadpool_limits(1, user_api="blas")
    truth = true_values(kind)
    alone: dict[str, list[bool]] = defaultdict(list)
    apart: dict[str, list[bool]] = defaultdict(list)
    for index in range(n_studies):
        rng = seeds.generator(ROOT_SEED, "coverage_metrics", str(kind), str(index))
        study = invent(kind, rng, rng.normal(0, kind.seed_sd, (2, kind.n_seeds)))
        measured = measured_by(study, rng)
        for row in metric_rows(measured, study.panel, learner="llm", confidence=CONFIDENCE):
            if row["train_seed"] == "all" and row["mix"] == "mix_0" and row["ci_low"] is not None:
                aim = truth[row["metric"], row["class"]]
                alone[row["metric"]].append(row["ci_low"] - 1e-9 <= aim <= row["ci_high"] + 1e-9)
        for name, held in differences(measured):
            apart[name].append(held)
    return {name: (float(np.mean(alone[name])), float(np.mean(apart[name]))) for name in sorted(alone)}


def differences(measured: Measured) -> Iterator[tuple[str, bool]]:
    """Whether the interval of the difference of the two mixes holds zero, for each column that has a value."""
    for column in measured.overall[0]:
        terms = [(measured, (1.0, -1.0))]
        if without_value(terms, column) is None:
            found = combine(terms, column)
            low, high, _ = plain_interval(found.value, found.spread, confidence=CONFIDENCE, bounds=(-1.0, 1.0))
            if low is not None and high is not None:
                yield column[0], low <= 0 <= high


def true_values(kind: Kind) -> dict[tuple[str, str], float]:
    """By metric and class; train seeds stand at the middles of equally likely parts of their distribution."""
    n_seeds = TRUE_SEEDS if kind.seed_sd else 1
    of_seeds = kind.seed_sd * norm.ppf((np.arange(n_seeds) + 0.5) / n_seeds)
    if kind.seed_sd:
        of_seeds *= kind.seed_sd / of_seeds.std()
    rng = seeds.generator(ROOT_SEED, "coverage_metrics", "truth", str(kind))
    study = invent(replace(kind, n_patients=TRUE_PATIENTS), rng, of_seeds[None])
    panel, run = study.panel, study.runs[0]
    answers = zip(run.predicted, run.probability, strict=True)
    found = [panel.looking.estimates(panel.truth, *one) for one in answers]
    values: dict[tuple[str, str], float] = {}
    for name, k in found[0]:
        of_each = [one[name, k].value for one in found]
        values[name, "all" if k is None else panel.label_ids[k]] = float(np.mean([v for v in of_each if v is not None]))
    return values


def measured_by(study: Study, rng: np.random.Generator) -> Measured:
    n_patients, n_seeds = study.panel.n_patients, study.runs[0].predicted.shape[0]
    drawn = Resampling(
        draw_patients(n_patients, N_REPLICATES, rng=rng),
        draw_seeds(n_seeds, N_REPLICATES, rng=rng),
        draw_swaps(n_patients, 1, rng=rng),
    )
    return measure(study.panel, study.panel.slices[0], study.runs, drawn=drawn, settings=Evaluation())


def invent(kind: Kind, rng: np.random.Generator, of_seeds: Floats) -> Study:
    """A study of this kind, a mix for each row of `of_seeds`, shape (n_mixes, n_seeds)."""
    sizes = np.maximum(1, rng.poisson(rng.gamma(2.8, 4.3, size=kind.n_patients)))  # mean 12, a few with over 30
    patient = np.repeat(np.arange(kind.n_patients), sizes)
    truth = _truth(kind, rng, patient)
    signs = 2.0 * truth - 1 if truth.ndim == 2 else 2.0 * np.eye(SHARES.size)[truth] - 1
    common = rng.normal(0, PATIENT_SD, kind.n_patients)
    runs = []
    for m, of_mix in enumerate(of_seeds):
        own = MIX_SHARE * common + np.sqrt(1 - MIX_SHARE**2) * rng.normal(0, PATIENT_SD, kind.n_patients)
        predicted, probability = [], []
        for of_seed in of_mix:
            skill = SKILL + own + rng.normal(0, PATIENT_BY_SEED_SD, kind.n_patients) + of_seed
            seen = skill[patient][:, None] * signs / 2 + rng.normal(size=signs.shape)
            odds = kind.confidence * (seen * SKILL + np.log(SHARES))
            if kind.labels == "single":
                probability.append(softmax(odds, axis=1))
                predicted.append(odds.argmax(axis=1))
            else:
                probability.append(expit(odds))
                predicted.append(odds > 0)
        runs.append(MixRuns(f"mix_{m}", "llm", np.array(predicted), np.array(probability)))
    part = Slice.of(OVERALL, ALL_LEVELS, rows=np.arange(patient.size), patient=patient)
    labels = tuple(f"label_{k}" for k in range(SHARES.size))
    ids = tuple(map(str, range(patient.size)))
    return Study(Panel(labels, "test", ids, truth, patient, kind.n_patients, (part,), kind.labels), runs)


def _truth(kind: Kind, rng: np.random.Generator, patient: np.ndarray) -> np.ndarray:
    if kind.labels == "single":
        shares = rng.dirichlet(SHARES * 6, size=kind.n_patients)[patient].cumsum(axis=1)
        drawn = (rng.random(patient.size)[:, None] > shares).sum(axis=1)
        return np.asarray(np.minimum(drawn, SHARES.size - 1))
    tilt = rng.normal(0, TILT, (kind.n_patients, SHARES.size))
    shown = rng.random((patient.size, SHARES.size)) < expit(np.log(SHARES / (1 - SHARES)) + tilt)[patient]
    empty = np.flatnonzero(~shown.any(axis=1))  # a sentence has at least one label
    shown[empty, rng.choice(SHARES.size, size=empty.size, p=SHARES)] = True
    return shown


if __name__ == "__main__":
    main()
