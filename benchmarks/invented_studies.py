"""Studies with known truth, for `coverage.py`: who the patients are, what the mixes answer, and what a metric truly is.

Patients differ in difficulty, size and in which classes they have, train seeds in skill, and a seed has patients it is
good at. All mixes are equally good on the whole. The truth comes from numerical integration over patients and seeds,
not from a large sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.evaluation.panel import ALL_LEVELS, OVERALL, MixRuns, Panel, Slice
from harness.metrics.counts import Floats, Tallies, accuracy, f1, macro_f1

SHARES = np.array([0.40, 0.20, 0.15, 0.12, 0.08, 0.05])  # of the classes among sentences
EASE = np.array([0.6, 0.2, 0.0, 0.0, -0.3, -0.6])  # log odds that a class adds to being right
SKILL, PATIENT_SD, MIX_SHARE = 1.0, 0.8, 0.7  # log odds of being right; how much of difficulty both mixes share
PATIENT_BY_SEED_SD = 0.3
CONFUSED = (SHARES + 0.1)[None] * (1 - np.eye(SHARES.size))  # what a wrong answer is taken for
CONFUSED /= CONFUSED.sum(axis=1, keepdims=True)
LEVEL_SHARES = np.array([0.4, 0.3, 0.2, 0.1])  # of the patients in the levels of a subgroup variable
VARIABLE = "site"


@dataclass(frozen=True)
class Kind:
    """What a study is like.

    Attributes:
        n_patients: Patients.
        n_seeds: Train seeds.
        seed_sd: Their standard deviation in log odds; 0.15 moves accuracy by about 2.5 points, which is a lot.
        n_mixes: Mixes, all of equal skill.
        levels: What each level of a subgroup variable adds to the log odds of being right; none without a variable.
    """

    n_patients: int
    n_seeds: int
    seed_sd: float
    n_mixes: int = 2
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class Study:
    panel: Panel
    runs: list[MixRuns]


def invent(kind: Kind, rng: np.random.Generator) -> Study:
    """A study of this kind; its first slice holds everybody, the others the levels."""
    sizes = np.maximum(1, rng.poisson(rng.gamma(2.8, 4.3, size=kind.n_patients)))  # mean 12, a few with over 30
    patient = np.repeat(np.arange(kind.n_patients), sizes)
    truths = pick(rng.dirichlet(SHARES * 6, size=kind.n_patients)[patient], rng)
    ease = rng.normal(0, PATIENT_SD, kind.n_patients)
    # Levels are dealt, not drawn: a level of a tenth of 100 patients has ten.
    dealt = np.floor(np.arange(kind.n_patients) * 0.6180339887 % 1 * 1000) / 1000
    level = np.searchsorted(LEVEL_SHARES.cumsum()[:-1], dealt, side="right") if kind.levels else np.zeros_like(patient)
    added = np.array(kind.levels)[level] if kind.levels else np.zeros(kind.n_patients)
    runs = []
    for m in range(kind.n_mixes):
        own = MIX_SHARE * ease + np.sqrt(1 - MIX_SHARE**2) * rng.normal(0, PATIENT_SD, kind.n_patients) + added
        predicted = []
        for _ in range(kind.n_seeds):
            moved = own + rng.normal(0, PATIENT_BY_SEED_SD, kind.n_patients) + rng.normal(0, kind.seed_sd)
            right = rng.random(patient.size) < 1 / (1 + np.exp(-(SKILL + EASE[truths] + moved[patient])))
            predicted.append(np.where(right, truths, pick(CONFUSED[truths], rng)))
        # Ranking and calibration are not looked at; equal probabilities will do.
        probability = np.full((kind.n_seeds, patient.size, SHARES.size), 1 / SHARES.size)
        runs.append(MixRuns(f"mix_{m}", "llm", np.array(predicted), probability))
    slices = [Slice.of(OVERALL, ALL_LEVELS, rows=np.arange(patient.size), patient=patient)]
    slices += [
        Slice.of(VARIABLE, f"level_{k}", rows=np.flatnonzero(level[patient] == k), patient=patient)
        for k in range(len(kind.levels))
    ]
    labels = tuple(f"label_{k}" for k in range(SHARES.size))
    ids = tuple(str(i) for i in range(patient.size))
    return Study(Panel(labels, "test", ids, truths, patient, kind.n_patients, tuple(slices)), runs)


def pick(shares: Floats, rng: np.random.Generator) -> np.ndarray:
    """One class per row of shares."""
    return np.minimum((rng.random(len(shares))[:, None] > shares.cumsum(axis=1)).sum(axis=1), SHARES.size - 1)


def truth(seed_sd: float, added: float = 0.0) -> dict[str, float]:
    """What each metric is over all patients of a level, averaged over all train seeds."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    moved = seed_sd * nodes[:, None] + SKILL + added + EASE  # (seeds, classes)
    spread = np.hypot(PATIENT_SD, PATIENT_BY_SEED_SD)
    right = (weights / (1 + np.exp(-(moved[..., None] + spread * nodes)))).sum(axis=-1)
    hits = SHARES * right
    tallies = Tallies(hits, np.broadcast_to(SHARES, hits.shape), hits + (SHARES * (1 - right)) @ CONFUSED)
    return {name: float((values * weights).sum()) for name, values in metrics_of(tallies).items()}


def true_gap(seed_sd: float, levels: Sequence[float]) -> float:
    """Best minus worst level in macro-F1."""
    values = [truth(seed_sd, added)["macro_f1"] for added in levels]
    return max(values) - min(values)


def metrics_of(tallies: Tallies) -> dict[str, Floats]:
    """The metrics whose intervals are looked at."""
    by_class = f1(tallies)
    return {
        "accuracy": accuracy(tallies),
        "macro_f1": macro_f1(tallies),
        "f1_common": by_class[..., 1],
        "f1_rare": by_class[..., 5],
    }
