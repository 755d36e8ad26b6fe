"""How often do 95% intervals hold the truth, and how often does a family of tests claim what is not there?

    python benchmarks/coverage.py --jobs 2         # 1,500 studies of each kind: some minutes
    python benchmarks/coverage.py --studies 200    # a look

Studies are invented with known truth (`invented_studies.py`). Beside the harness's interval stand the percentile
interval of the same patients and seeds drawn again, and the row bootstrap, which draws sentences. Only metrics of hard
decisions are looked at, so counts are resampled here without the rest of `measure`; the first study of every kind is
also given to `measure`, and both must agree. Each line is a row of a table in docs/statistics.md.
Interactions and families are shares of studies in which something is claimed; nothing differs in them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from invented_studies import SHARES, Kind, Study, invent, metrics_of, true_gap, truth
from threadpoolctl import threadpool_limits

from harness import seeds
from harness.evaluation.by_subgroup import Measured, Resampling, measure
from harness.evaluation.combined import Term, combine, without_value
from harness.evaluation.contrasts import adjust, contrast_rows
from harness.evaluation.gaps import gap_rows
from harness.evaluation.interactions import interaction_rows
from harness.evaluation.kinds import KINDS
from harness.evaluation.panel import Slice
from harness.metrics.counts import Floats, Tallies, tally_by_patient
from harness.metrics.estimate import Estimate, insufficient, known
from harness.metrics.resampling import draw_patients, draw_seeds, draw_swaps, resample_sums
from harness.metrics.uncertainty import Interval, bounded_interval, percentile_interval, plain_interval
from harness.metrics.utility import ALL, FORMULAS, Column, mean_over_seeds
from harness.schemas.recipe_parts import Evaluation

ROOT_SEED = 17
CONFIDENCE = 0.95
N_REPLICATES = 400
N_SWAPS = 2000  # 36 tests, six mixes by six classes, need p-values below 0.05 / 36
N_ROW_STUDIES = 300  # the row bootstrap is slow, and far enough from 95% to be seen in so many
COLUMNS: dict[str, Column] = {
    "accuracy": ("accuracy", ALL),
    "macro_f1": ("macro_f1", ALL),
    "f1_common": ("f1", 1),
    "f1_rare": ("f1", 5),
}
MEASURED: list[Column] = [
    *((name, ALL) for name in KINDS["single"].overall_metrics),
    *(("f1", k) for k in range(SHARES.size)),
]
MIXES = (
    *(Kind(n, 1, 0.0) for n in (10, 20, 40, 50, 100, 200)),
    *(Kind(n, 2, 0.15) for n in (50, 200)),
    *(Kind(n, 3, 0.15) for n in (20, 40, 50, 100, 200)),
    Kind(50, 3, 0.0),
    Kind(50, 5, 0.15),
)
EQUAL, APART = (0.0, 0.0, 0.0, 0.0), (0.3, 0.0, 0.0, -0.7)  # the worst level is the smallest
LEVELS = tuple(
    Kind(n, n_seeds, seed_sd, 2, levels)
    for n in (100, 200)
    for n_seeds, seed_sd in ((1, 0.0), (3, 0.15))
    for levels in (EQUAL, APART)
)
FAMILIES = (Kind(50, 1, 0.0, 7), Kind(50, 3, 0.15, 7), Kind(200, 3, 0.15, 7))
SMALL = 20  # studies with fewer patients stand for a subgroup level; they do not count in the figures of whole studies

Cells = dict[tuple[str, str], float]  # of what, and which interval or test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1500)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    print(f"nominal {CONFIDENCE}, binomial standard error {(0.05 * 0.95 / given.studies) ** 0.5:.4f}", flush=True)
    with ProcessPoolExecutor(given.jobs) as pool:
        found: dict[str, list[float]] = defaultdict(list)
        for look, kinds in ((of_mixes, MIXES), (of_levels, LEVELS), (of_families, FAMILIES)):
            for kind, cells in zip(kinds, pool.map(partial(look, n_studies=given.studies), kinds), strict=True):
                show(kind, cells)
                for (what, how), share in cells.items():
                    if kind.n_patients >= SMALL:
                        found[f"gap_{how}" if what == "gap" else f"{look.__name__.removeprefix('of_')}_{how}"].append(
                            share
                        )
    for name, shares in sorted(found.items()):
        print(f"figure coverage_{name}_lowest {min(shares):.3f}")
        print(f"figure coverage_{name}_highest {max(shares):.3f}")
        print(f"figure coverage_{name}_mean {np.mean(shares):.3f}")


def show(kind: Kind, cells: Cells) -> None:
    about = f"| {kind.n_patients} | {kind.n_seeds} | {kind.seed_sd} |"
    about += f" {' '.join(map(str, kind.levels))} |" if kind.levels else ""
    by_what: dict[str, list[str]] = defaultdict(list)
    for (what, how), share in cells.items():
        by_what[what].append(f"{share:.3f}" if how in ("harness", "percentile", "rows") else f"{how} {share:.3f}")
    print(about, " | ".join(f"{what}: {' '.join(shares)}" for what, shares in by_what.items()), "|", flush=True)


def every_study(kind: Kind, n_studies: int) -> Iterator[tuple[int, Study, Resampling, np.random.Generator]]:
    threadpool_limits(1, user_api="blas")  # of this process, from here on
    for index in range(n_studies):
        rng = seeds.generator(ROOT_SEED, "coverage", str(kind), str(index))
        study = invent(kind, rng)
        drawn = Resampling(
            draw_patients(kind.n_patients, N_REPLICATES, rng=rng),
            draw_seeds(kind.n_seeds, N_REPLICATES, rng=rng),
            draw_swaps(kind.n_patients, N_SWAPS if kind.n_mixes > 2 else 1, rng=rng),
        )
        if index == 0:
            same_as_measure(study, drawn)
        yield index, study, drawn, rng


def of_mixes(kind: Kind, n_studies: int) -> Cells:
    """Share of studies whose interval holds the truth, by metric and by kind of interval."""
    expected = truth(kind.seed_sd)
    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for index, study, drawn, rng in every_study(kind, n_studies):
        measured = counted(study, study.panel.slices[0], drawn)
        rows = by_rows(study, rng) if index < N_ROW_STUDIES else None
        for name, column in COLUMNS.items():
            for what, coefficients, aim in (
                (name, [1.0, 0.0], expected[name]),
                (f"{name} difference", [1.0, -1.0], 0.0),
            ):
                for how, interval in intervals(
                    [(measured, coefficients)], column, drawn, None if rows is None else rows[name]
                ):
                    note(held[what, how], interval, aim)
    return {what: float(np.mean(values)) for what, values in sorted(held.items()) if values}


def of_levels(kind: Kind, n_studies: int) -> Cells:
    """Coverage in a level of a fifth and in one of a tenth of the patients, of the gap, and false interactions."""
    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    gap, bias = true_gap(kind.seed_sd, kind.levels), []
    for _, study, drawn, _ in every_study(kind, n_studies):
        levels = [counted(study, part, drawn) for part in study.panel.slices[1:]]
        for place, about in ((2, "fifth"), (3, "tenth")):
            expected = truth(kind.seed_sd, kind.levels[place])
            for name in ("accuracy", "macro_f1"):
                for what, coefficients, aim in (
                    (f"{about} {name}", [1.0, 0.0], expected[name]),
                    (f"{about} {name} difference", [1.0, -1.0], 0.0),
                ):
                    found = dict(intervals([(levels[place], coefficients)], COLUMNS[name], drawn, None))
                    note(held[what, "harness"], found.get("harness"), aim)
        row = next(gap_rows(levels, study.panel, learner="llm", drawn=drawn, confidence=CONFIDENCE))
        note(held["gap", "harness"], Interval(row["ci_low"], row["ci_high"], None), gap)
        bias.append(row["value"] - gap)
        for row in interaction_rows(
            levels, study.panel, learner="llm", reference="mix_0", drawn=drawn, confidence=CONFIDENCE
        ):
            held[row["metric"], "interaction"].append(row["p_value"] is not None and row["p_value"] <= 1 - CONFIDENCE)
    cells = {what: float(np.mean(values)) for what, values in sorted(held.items())}
    print(f"gap {gap:.3f}, shown on average {gap + float(np.mean(bias)):.3f}")
    return cells


def of_families(kind: Kind, n_studies: int) -> Cells:
    """Share of studies in which Holm's procedure claims any of six mixes to differ from gold, when none does."""
    false: dict[tuple[str, str], int] = defaultdict(int)
    for _, study, drawn, _ in every_study(kind, n_studies):
        measured = counted(study, study.panel.slices[0], drawn)
        rows = contrast_rows(
            measured, study.panel, learner="llm", reference="mix_0", drawn=drawn, confidence=CONFIDENCE
        )
        adjusted = adjust(list(rows), confidence=CONFIDENCE)
        claimed = {
            row["metric"] for row in adjusted if row["p_adjusted"] is not None and row["p_adjusted"] <= 1 - CONFIDENCE
        }
        for metric in ("accuracy", "macro_f1", "f1"):
            false[metric, "holm"] += metric in claimed
    return {what: n / n_studies for what, n in false.items()}


def note(held: list[bool], interval: Interval | None, aim: float) -> None:
    if interval is not None and interval.low is not None and interval.high is not None:
        held.append(bool(interval.low <= aim <= interval.high))


def intervals(
    terms: list[Term], column: Column, drawn: Resampling, rows: Floats | None
) -> Iterator[tuple[str, Interval]]:
    """None where the harness shows no value."""
    if without_value(terms, column) is not None:
        return
    [(_, coefficients)] = terms
    found = combine(terms, column)
    interval, bounds = (plain_interval, (-1.0, 1.0)) if coefficients[1] else (bounded_interval, (0.0, 1.0))
    yield "harness", interval(found.value, found.spread, confidence=CONFIDENCE, bounds=bounds)
    yield "percentile", percentile_interval((found.replicates * drawn.seeds).sum(axis=1), CONFIDENCE)
    if rows is not None:
        yield "rows", percentile_interval(rows @ coefficients, CONFIDENCE)


def counted(study: Study, part: Slice, drawn: Resampling) -> Measured:
    """What `measure` would find, of the metrics in MEASURED alone."""
    truths = study.panel.truth[part.rows]
    shape = (len(study.runs), study.runs[0].predicted.shape[0], SHARES.size)
    predicted = np.concatenate([run.predicted[:, part.rows] for run in study.runs])
    n_patients = part.patients.size
    flat = tally_by_patient(truths, predicted, part.patient, n_patients=n_patients, n_classes=SHARES.size)
    tallies = Tallies(
        flat.hits.reshape(n_patients, *shape), flat.true[:, :, None], flat.predicted.reshape(n_patients, *shape)
    )
    whole = Tallies(*(one.sum(axis=0) for one in tallies))
    times = drawn.patients[:, part.patients].astype(np.float32)
    resampled = Tallies(*(resample_sums(one, times) for one in tallies))
    replicates: dict[Column, Floats] = {}
    by_seed: list[list[dict[Column, Estimate]]] = [[{} for _ in range(shape[1])] for _ in range(shape[0])]
    n_positive = whole.true[0, 0].astype(np.int64)
    for name, k in MEASURED:
        values, points = FORMULAS[name](resampled), FORMULAS[name](whole)
        replicates[name, k] = values if k is None else values[..., k]
        for (m, s), value in np.ndenumerate(points if k is None else points[..., k]):
            by_seed[m][s][name, k] = shown(float(value), n_patients, None if k is None else int(n_positive[k]))
    overall = [{column: mean_over_seeds([one[column] for one in runs]) for column in MEASURED} for runs in by_seed]
    mixes = tuple(run.mix for run in study.runs)
    return Measured(part, mixes, by_seed, overall, replicates, tallies, n_positive)


def shown(value: float, n_patients: int, n_positive: int | None) -> Estimate:
    floors = Evaluation()
    if n_patients < floors.min_patients or (n_positive is not None and n_positive < floors.min_positives):
        return insufficient("too few")
    return known(value)


def same_as_measure(study: Study, drawn: Resampling) -> None:
    for part in study.panel.slices:
        fast = counted(study, part, drawn)
        whole = measure(study.panel, part, study.runs, drawn=drawn, settings=Evaluation())
        for column in MEASURED:
            pairs = zip(fast.overall, whole.overall, strict=True)
            if any(not np.isclose(one[column].value or 0, other[column].value or 0) for one, other in pairs):
                raise AssertionError(f"{column} in {part.level}: not what `measure` finds")
            if whole.overall[0][column].value is not None:
                np.testing.assert_array_equal(fast.replicates[column], whole.replicates[column])


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


if __name__ == "__main__":
    main()
