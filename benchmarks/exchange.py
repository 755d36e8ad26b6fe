"""How often do intervals of the exchange rate hold a known truth, and how often do they have no upper end?

    python benchmarks/exchange.py                  # 1,000 studies of each kind: about a minute
    python benchmarks/exchange.py --studies 100    # a look

Invented studies: gold alone at 30, 72, 144 and 288 sentences scores along a known power curve, and a mix scores what a
known number of gold sentences would (102, between the points; 600, beyond them). Fictional patients differ for all
models alike and for each; train seeds differ where there are three. Beside the harness's interval (where curve and mix
are not told apart) stand the quantiles of what replicates of patients read off. An interval of the monotone curve for
600 can only be a bound, so nothing is said of it.
"""

from __future__ import annotations

import argparse

import numpy as np

from harness import seeds
from harness.metrics.counts import Floats
from harness.metrics.exchange import Scores, fit_curve, read_curve
from harness.metrics.learning_curve import FITS, Fit
from harness.metrics.resampling import draw_patients, resample_sums

N = np.array([30.0, 72.0, 144.0, 288.0])
N_PATIENTS, N_REPLICATES, CONFIDENCE = 60, 400, 0.95
NOISE = 0.006  # sd over train seeds; patients: 10 times that for all models alike, 4 times for each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    n_studies = parser.parse_args().studies
    head = (
        "truth",
        "fit",
        "train seeds",
        "holds it",
        "no upper end",
        "median width",
        "quantiles hold it",
        "no upper end",
    )
    print("| " + " | ".join(head) + " |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    held: dict[str, list[float]] = {"harness": [], "quantiles": []}
    for truth, fit in ((102.0, "power"), (102.0, "monotone"), (600.0, "power")):
        for n_seeds in (1, 3):
            ours, theirs = _cover(fit, truth, n_seeds, n_studies)
            print(
                f"| {truth:g} | {fit} | {n_seeds} | {_words(ours, truth)} | {_width(ours)} | {_words(theirs, truth)} |"
            )
            for name, found in (("harness", ours), ("quantiles", theirs)):
                held[name].append(float(np.mean((found[:, 0] <= truth) & (truth <= found[:, 1]))))
    for name, shares in held.items():
        print(f"figure exchange_{name}_lowest {min(shares):.3f}")
        print(f"figure exchange_{name}_highest {max(shares):.3f}")


def _words(found: Floats, truth: float) -> str:
    low, high = found.T
    return f"{np.mean((low <= truth) & (truth <= high)):.3f} | {np.mean(np.isinf(high)):.2f}"


def _width(found: Floats) -> str:
    width = np.median(found[:, 1] - found[:, 0])
    return "none" if np.isinf(width) else f"{width:.0f}"


def _cover(fit: Fit, truth: float, n_seeds: int, n_studies: int) -> tuple[Floats, Floats]:
    """Intervals of the harness and of quantiles, shape (n_studies, 2) each."""
    ours, theirs = np.zeros((n_studies, 2)), np.zeros((n_studies, 2))
    tail = 100 * (1 - CONFIDENCE) / 2
    for number in range(n_studies):
        points, mix = _study(truth, number, n_seeds)
        curve = fit_curve(fit, N, points)
        reading = read_curve(curve, mix, n_patients=N_PATIENTS, n_effective=N_PATIENTS, confidence=CONFIDENCE)
        ours[number] = reading.low, reading.high
        replicates = np.stack([point.replicates.mean(axis=1) for point in points], axis=1)
        read = FITS[fit](N, replicates).where(mix.replicates.mean(axis=1))
        read = np.where(np.isnan(read), np.inf, read)  # a replicate whose curve does not rise reads no number
        theirs[number] = np.percentile(read, [tail, 100 - tail], method="nearest")
    return ours, theirs


def _study(truth: float, number: int, n_seeds: int) -> tuple[list[Scores], Scores]:
    rng = seeds.generator(11, "benchmarks", "exchange", str(number))
    true = 0.85 - 0.35 * (np.append(N, truth) / 30) ** -0.6
    alike = rng.normal(scale=10 * NOISE, size=N_PATIENTS)
    own = rng.normal(scale=4 * NOISE, size=(true.size, 1, N_PATIENTS))
    trained = rng.normal(scale=NOISE if n_seeds > 1 else 0.0, size=(true.size, n_seeds, 1))
    by_patient = true[:, None, None] + alike + own + trained  # (n_scores, n_seeds, n_patients)
    right = np.round(1e4 * np.moveaxis(by_patient, 2, 0)).astype(np.int64)
    replicates = resample_sums(right, draw_patients(N_PATIENTS, N_REPLICATES, rng=rng)) / (1e4 * N_PATIENTS)
    scores = [Scores(by_patient[k].mean(axis=1), replicates[:, k]) for k in range(true.size)]
    return scores[:-1], scores[-1]


if __name__ == "__main__":
    main()
