"""How often do 95% intervals hold the truth, and how often does a family of tests claim what is not there?

    python benchmarks/coverage.py                  # some minutes on one core
    python benchmarks/coverage.py --studies 200    # a look

Invented studies with known truth: patients differ in difficulty, size and in which classes they have, train seeds in
skill, and a seed has patients it is good at. Two mixes of equal skill are scored on each study; the truth comes from
numerical integration over patients and seeds, not from a large sample. Beside the harness's interval stand the
percentile interval of the same patients and seeds drawn again, and the row bootstrap, which draws sentences.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from harness import seeds
from harness.evaluation.by_subgroup import Measured, Resampling, measure
from harness.evaluation.combined import combine
from harness.evaluation.contrasts import adjust, contrast_rows
from harness.evaluation.panel import ALL_LEVELS, OVERALL, MixRuns, Panel, Slice
from harness.evaluation.rows import OF_DIFFERENCES
from harness.metrics.counts import Floats, Tallies, accuracy, f1, macro_f1
from harness.metrics.resampling import draw_patients, draw_seeds, draw_swaps
from harness.metrics.uncertainty import Interval, bounded_interval, percentile_interval, plain_interval
from harness.metrics.utility import ALL, Column
from harness.schemas.recipe_parts import Evaluation

ROOT_SEED = 17
CONFIDENCE = 0.95
N_REPLICATES = 400
SHARES = np.array([0.40, 0.20, 0.15, 0.12, 0.08, 0.05])  # of the classes among sentences
EASE = np.array([0.6, 0.2, 0.0, 0.0, -0.3, -0.6])  # log odds that a class adds to being right
SKILL, PATIENT_SD, MIX_SHARE = 1.0, 0.8, 0.7  # log odds of being right; how much of difficulty both mixes share
PATIENT_BY_SEED_SD = 0.3
CONFUSED = (SHARES + 0.1)[None] * (1 - np.eye(SHARES.size))  # what a wrong answer is taken for
CONFUSED /= CONFUSED.sum(axis=1, keepdims=True)
COLUMNS: dict[str, Column] = {
    "macro_f1": ("macro_f1", ALL),
    "f1_common": ("f1", 1),
    "f1_rare": ("f1", 5),
    "accuracy": ("accuracy", ALL),
}
# Standard deviation of train seeds in log odds: 0.15 moves accuracy by about 2.5 points, which is a lot.
CASES = (
    [(n, 1, 0.0) for n in (10, 20, 40, 50, 100, 200)] + [(n, 3, 0.15) for n in (20, 40, 50, 100, 200)] + [(50, 5, 0.15)]
)
FAMILY = {"mixes": 7, "patients": 50}


@dataclass(frozen=True)
class Study:
    panel: Panel
    runs: list[MixRuns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1500)
    n_studies = parser.parse_args().studies
    worst: dict[str, list[float]] = defaultdict(list)
    with threadpool_limits(1, user_api="blas"):
        for n_patients, n_seeds, seed_sd in CASES:
            found = coverage(n_patients, n_seeds, seed_sd, n_studies)
            print(f"{n_patients} patients, {n_seeds} train seeds, seed sd {seed_sd}: nominal {CONFIDENCE}")
            for what in sorted({what for what, _ in found}):
                shares = {kind: found[what, kind] for kind in ("harness", "percentile", "rows")}
                print(
                    f"  {what:<24}" + "".join(f"{kind:>12} {share:.3f}" for kind, share in shares.items()), flush=True
                )
                if n_patients >= 20:
                    for kind, share in shares.items():
                        worst[kind].append(share)
        for n_seeds, seed_sd in ((1, 0.0), (3, 0.15)):
            share = false_families(n_studies, n_seeds, seed_sd)
            print(f"figure coverage_family_type_1_error_{n_seeds}_seeds {share:.4f}")
    for kind, shares in worst.items():
        print(f"figure coverage_{kind}_lowest {min(shares):.3f}")
        print(f"figure coverage_{kind}_highest {max(shares):.3f}")
        print(f"figure coverage_{kind}_mean {np.mean(shares):.3f}")


def coverage(n_patients: int, n_seeds: int, seed_sd: float, n_studies: int) -> dict[tuple[str, str], float]:
    """Share of studies whose interval holds the truth, by number and by kind of interval."""
    expected = truth(seed_sd)
    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for index in range(n_studies):
        rng = seeds.generator(ROOT_SEED, "coverage", str((n_patients, n_seeds, seed_sd)), str(index))
        study = invent(n_patients, n_seeds, seed_sd, 2, rng)
        measured, drawn = look(study, rng)
        rows = by_rows(study, rng)
        for name, column in COLUMNS.items():
            if any(one[column].value is None for one in measured.overall):
                continue  # too few positives: the harness shows no value
            for what, coefficients, aim in (
                (f"{name}", [1.0, 0.0], expected[name]),
                (f"{name} difference", [1.0, -1.0], 0.0),
            ):
                for kind, interval in intervals(measured, column, coefficients, drawn, rows[name]):
                    if interval.low is not None and interval.high is not None:
                        held[what, kind].append(interval.low <= aim <= interval.high)
    return {place: float(np.mean(values)) for place, values in held.items()}


def intervals(
    measured: Measured, column: Column, coefficients: list[float], drawn: Resampling, rows: Floats
) -> Iterator[tuple[str, Interval]]:
    found = combine([(measured, coefficients)], column)
    if coefficients[1]:
        yield "harness", plain_interval(found.value, found.spread, confidence=CONFIDENCE, bounds=OF_DIFFERENCES)
    else:
        yield "harness", bounded_interval(found.value, found.spread, confidence=CONFIDENCE, bounds=(0, 1))
    yield "percentile", percentile_interval((found.replicates * drawn.seeds).sum(axis=1), CONFIDENCE)
    yield "rows", percentile_interval(rows @ coefficients, CONFIDENCE)


def by_rows(study: Study, rng: np.random.Generator) -> dict[str, Floats]:
    """Each metric when sentences are drawn, mean over seeds, shape (n_replicates, n_mixes)."""
    truths, n_classes = study.panel.truth, SHARES.size
    predicted = np.stack([run.predicted for run in study.runs])  # (n_mixes, n_seeds, n_sentences)
    cells = (predicted * n_classes + truths).reshape(-1, truths.size)
    found = []
    times = rng.multinomial(truths.size, np.full(truths.size, 1 / truths.size), size=N_REPLICATES).astype(np.float64)
    for cell in cells:
        table = np.zeros((truths.size, n_classes**2))
        table[np.arange(truths.size), cell] = 1
        found.append((times @ table).reshape(-1, n_classes, n_classes))  # predicted, true
    tables = np.moveaxis(np.array(found), 0, 1).reshape(N_REPLICATES, *predicted.shape[:2], n_classes, n_classes)
    tallies = Tallies(np.diagonal(tables, axis1=-2, axis2=-1), tables.sum(axis=-2), tables.sum(axis=-1))
    return {name: values.mean(axis=2) for name, values in metrics_of(tallies).items()}


def metrics_of(tallies: Tallies) -> dict[str, Floats]:
    by_class = f1(tallies)
    return {
        "macro_f1": macro_f1(tallies),
        "f1_common": by_class[..., 1],
        "f1_rare": by_class[..., 5],
        "accuracy": accuracy(tallies),
    }


def false_families(n_studies: int, n_seeds: int, seed_sd: float) -> float:
    """Share of studies in which Holm's procedure claims any of six mixes to differ from gold, when none does."""
    false = 0
    for index in range(n_studies):
        rng = seeds.generator(ROOT_SEED, "family", str(n_seeds), str(index))
        study = invent(FAMILY["patients"], n_seeds, seed_sd, FAMILY["mixes"], rng)
        measured, drawn = look(study, rng)
        rows = adjust(
            list(
                contrast_rows(
                    measured, study.panel, learner="llm", reference="mix_0", drawn=drawn, confidence=CONFIDENCE
                )
            )
        )
        false += any(row["metric"] == "macro_f1" and row["p_adjusted"] <= 1 - CONFIDENCE for row in rows)
    return false / n_studies


def look(study: Study, rng: np.random.Generator) -> tuple[Measured, Resampling]:
    n_seeds = study.runs[0].predicted.shape[0]
    drawn = Resampling(
        draw_patients(study.panel.n_patients, N_REPLICATES, rng=rng),
        draw_seeds(n_seeds, N_REPLICATES, rng=rng),
        draw_swaps(study.panel.n_patients, N_REPLICATES, rng=rng),
    )
    return measure(study.panel, study.panel.slices[0], study.runs, drawn=drawn, settings=Evaluation()), drawn


def invent(n_patients: int, n_seeds: int, seed_sd: float, n_mixes: int, rng: np.random.Generator) -> Study:
    """A study in which all mixes are equally good on the whole, though not with each patient or seed."""
    sizes = np.maximum(1, rng.poisson(rng.gamma(2.8, 4.3, size=n_patients)))  # mean 12, a few patients with over 30
    patient = np.repeat(np.arange(n_patients), sizes)
    wanted = rng.dirichlet(SHARES * 6, size=n_patients)
    truths = pick(wanted[patient], rng)
    ease = rng.normal(0, PATIENT_SD, n_patients)
    runs = []
    for m in range(n_mixes):
        own = MIX_SHARE * ease + np.sqrt(1 - MIX_SHARE**2) * rng.normal(0, PATIENT_SD, n_patients)
        predicted = []
        for _ in range(n_seeds):
            moved = own + rng.normal(0, PATIENT_BY_SEED_SD, n_patients) + rng.normal(0, seed_sd)
            right = rng.random(patient.size) < 1 / (1 + np.exp(-(SKILL + EASE[truths] + moved[patient])))
            predicted.append(np.where(right, truths, pick(CONFUSED[truths], rng)))
        # Ranking and calibration are not looked at here; equal probabilities make them cheap.
        runs.append(
            MixRuns(f"mix_{m}", "llm", np.array(predicted), np.full((n_seeds, patient.size, SHARES.size), 1 / 6))
        )
    part = Slice.of(OVERALL, ALL_LEVELS, rows=np.arange(patient.size), patient=patient)
    labels = tuple(f"label_{k}" for k in range(SHARES.size))
    ids = tuple(str(i) for i in range(patient.size))
    return Study(Panel(labels, "test", ids, truths, patient, n_patients, (part,)), runs)


def pick(shares: Floats, rng: np.random.Generator) -> np.ndarray:
    """One class per row of shares."""
    return np.minimum((rng.random(len(shares))[:, None] > shares.cumsum(axis=1)).sum(axis=1), SHARES.size - 1)


def truth(seed_sd: float) -> dict[str, float]:
    """What each metric is over all patients, averaged over all train seeds."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    moved = seed_sd * nodes[:, None] + SKILL + EASE  # (seeds, classes)
    spread = np.hypot(PATIENT_SD, PATIENT_BY_SEED_SD)
    right = (weights / (1 + np.exp(-(moved[..., None] + spread * nodes)))).sum(axis=-1)
    hits = SHARES * right
    tallies = Tallies(hits, np.broadcast_to(SHARES, hits.shape), hits + (SHARES * (1 - right)) @ CONFUSED)
    return {name: float((values * weights).sum()) for name, values in metrics_of(tallies).items()}


if __name__ == "__main__":
    main()
