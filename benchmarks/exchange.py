"""How often do intervals of the exchange rate hold a known truth, and how often do they have no upper end?

    python benchmarks/exchange.py                  # 1,000 studies of each kind: about two minutes
    python benchmarks/exchange.py --studies 100    # a look

Invented studies: gold alone at 30, 72, 144 and 288 sentences scores along a known power curve, and a mix scores what a
known number of gold sentences would (102, between the points; 600, beyond them). Fictional patients differ for all
models alike and for each; train seeds differ where there are three. In half of the kinds gold is that of patients
drawn at random, anew for each train seed: who they are moves a score by sd 0.03 at 30 sentences, less at more, not at
all where everybody is in, and moves the mix as it moves the gold under it. The truth is then the average over draws, of
which one train seed has seen one. Beside the harness's interval (where curve and mix are not told apart) stand the
quantiles of what replicates of patients read off. An interval of the monotone curve for 600 can only be a bound, so
nothing is said of it.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

from harness import seeds
from harness.metrics.counts import Floats
from harness.metrics.exchange import Scores, fit_curve, read_curve
from harness.metrics.learning_curve import FITS, Fit
from harness.metrics.resampling import draw_patients, resample_sums

N = np.array([30.0, 72.0, 144.0, 288.0])
N_PATIENTS, N_REPLICATES, CONFIDENCE = 60, 400, 0.95
NOISE = 0.006  # sd over train seeds; patients: 10 times that for all models alike, 4 times for each
N_DRAWN = np.array([5, 12, 24, 48])  # training patients behind N, 6 sentences each
DRAW_SD = 0.03  # sd over draws at the smallest; 0.02 to 0.04 with TF-IDF on the demo gold
GOLD_UNDER = {102.0: 1, 600.0: 2}  # truth to the place in N of the mix's own gold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    n_studies = parser.parse_args().studies
    head = (
        "truth",
        "fit",
        "patients drawn",
        "train seeds",
        "holds it",
        "no upper end",
        "median width",
        "quantiles hold it",
        "no upper end",
    )
    print("| " + " | ".join(head) + " |")
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    held: dict[str, list[float]] = {}
    for is_drawn, (truth, fit), n_seeds in product(
        (False, True), ((102.0, "power"), (102.0, "monotone"), (600.0, "power")), (1, 3)
    ):
        found = _cover(fit, truth, n_studies, n_seeds=n_seeds, is_drawn=is_drawn)
        ours, theirs = found
        kind = f"{truth:g} | {fit} | {'yes' if is_drawn else 'no'} | {n_seeds}"
        print(f"| {kind} | {_words(ours, truth)} | {_width(ours)} | {_words(theirs, truth)} |", flush=True)
        for name, ends in zip(("harness", "quantiles"), found, strict=True):
            group = f"{name}_drawn_{n_seeds}_seeds" if is_drawn else name
            held.setdefault(group, []).append(float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))))
    for name, shares in held.items():
        print(f"figure exchange_{name}_lowest {min(shares):.3f}")
        print(f"figure exchange_{name}_highest {max(shares):.3f}")


def _words(found: Floats, truth: float) -> str:
    low, high = found.T
    return f"{np.mean((low <= truth) & (truth <= high)):.3f} | {np.mean(np.isinf(high)):.2f}"


def _width(found: Floats) -> str:
    width = np.median(found[:, 1] - found[:, 0])
    return "none" if np.isinf(width) else f"{width:.0f}"


def _cover(fit: Fit, truth: float, n_studies: int, *, n_seeds: int, is_drawn: bool) -> tuple[Floats, Floats]:
    """Intervals of the harness and of quantiles, shape (n_studies, 2) each."""
    ours, theirs = np.zeros((n_studies, 2)), np.zeros((n_studies, 2))
    tail = 100 * (1 - CONFIDENCE) / 2
    for number in range(n_studies):
        points, mix = _study(truth, number, n_seeds=n_seeds, is_drawn=is_drawn)
        curve = fit_curve(fit, N, points)
        reading = read_curve(curve, mix, n_patients=N_PATIENTS, n_effective=N_PATIENTS, confidence=CONFIDENCE)
        ours[number] = reading.low, reading.high
        replicates = np.stack([point.replicates.mean(axis=1) for point in points], axis=1)
        read = FITS[fit](N, replicates).where(mix.replicates.mean(axis=1))
        read = np.where(np.isnan(read), np.inf, read)  # a replicate whose curve does not rise reads no number
        theirs[number] = np.percentile(read, [tail, 100 - tail], method="nearest")
    return ours, theirs


def _study(truth: float, number: int, *, n_seeds: int, is_drawn: bool) -> tuple[list[Scores], Scores]:
    rng = seeds.generator(11, "benchmarks", "exchange", str(number))
    true = 0.85 - 0.35 * (np.append(N, truth) / 30) ** -0.6
    alike = rng.normal(scale=10 * NOISE, size=N_PATIENTS)
    own = rng.normal(scale=4 * NOISE, size=(true.size, 1, N_PATIENTS))
    trained = rng.normal(scale=NOISE if n_seeds > 1 else 0.0, size=(true.size, n_seeds, 1))
    by_patient = true[:, None, None] + alike + own + trained  # (n_scores, n_seeds, n_patients)
    if is_drawn:
        by_patient = by_patient + _draw_errors(number, n_seeds, GOLD_UNDER[truth])[..., None]
    right = np.round(1e4 * np.moveaxis(by_patient, 2, 0)).astype(np.int64)
    replicates = resample_sums(right, draw_patients(N_PATIENTS, N_REPLICATES, rng=rng)) / (1e4 * N_PATIENTS)
    scores = [Scores(by_patient[k].mean(axis=1), replicates[:, k]) for k in range(true.size)]
    return scores[:-1], scores[-1]


def _draw_errors(number: int, n_seeds: int, under: int) -> Floats:
    """What the training patients drawn add to each score, (n_scores, n_seeds): zero on average over draws."""
    rng = seeds.generator(11, "benchmarks", "exchange", str(number), "draws")
    everybody = rng.normal(size=N_DRAWN[-1])
    everybody -= everybody.mean()
    everybody *= DRAW_SD / np.sqrt(1 / N_DRAWN[0] - 1 / N_DRAWN[-1])  # of a mean without replacement
    orders = rng.permuted(np.tile(everybody, (n_seeds, 1)), axis=1)
    points = orders.cumsum(axis=1)[:, N_DRAWN - 1] / N_DRAWN  # (n_seeds, n_points), nested
    return np.concatenate([points, points[:, [under]]], axis=1).T


if __name__ == "__main__":
    main()
