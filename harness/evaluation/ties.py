"""Which mixes and learners of one run may be the best, and the counts by patient that a leaderboard over runs needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.evaluation.by_subgroup import Measured, Row
from harness.evaluation.panel import Panel
from harness.metrics.best import Scores, Standing, compare_with_best
from harness.metrics.counts import Floats
from harness.metrics.estimate import Estimate
from harness.metrics.uncertainty import effective_patients
from harness.metrics.utility import ALL, Column
from harness.schemas.tables import PATIENT_COUNTS

MAIN: Column = ("macro_f1", ALL)
Entry = tuple[str, str]  # mix and learner


def tie_rows(
    learners: Mapping[str, Measured], panel: Panel, *, confidence: float, rng: np.random.Generator
) -> Iterator[Row]:
    """TIES rows of one split.

    Args:
        learners: All sentences of the split under the same replicates of patients, by learner; without those that are
            only a floor. A learner with one train seed beside others with several does not depend on it.
        panel: The split.
        confidence: Probability that the best entry is among the tied.
        rng: For `compare_with_best`.
    """
    places = [(mix, learner) for learner, measured in learners.items() for mix in measured.mixes]
    estimates = {place: _estimate(learners, place) for place in places}
    # By name, so that the order of mixes in a recipe changes no draw.
    entries = sorted(place for place, estimate in estimates.items() if estimate.value is not None)
    standings = dict(zip(entries, _compared(learners, entries, confidence, rng=rng), strict=True))
    for mix, learner in places:
        row: Row = {"mix": mix, "learner": learner, "split": panel.split, "n_compared": len(entries)}
        estimate = estimates[mix, learner]
        yield row | _cells(standings.get((mix, learner)), estimate)


def patient_ids(gold: pa.Table, split: str) -> list[str]:
    """Names of a panel's patients in the panel's order."""
    rows = gold.filter(pc.equal(gold["split"], split)).sort_by("sentence_id")
    found: list[str] = rows["patient_id"].unique().to_pylist()
    return found


def patient_count_table(measured: Measured, panel: Panel, *, learner: str, patients: Sequence[str]) -> pa.Table:
    """PATIENT_COUNTS rows of one learner.

    Args:
        measured: All sentences of the split.
        panel: The split.
        learner: Its name.
        patients: From `patient_ids`.
    """
    hits, true, predicted = (np.asarray(one) for one in measured.tallies)
    truth = np.broadcast_to(true, predicted.shape)
    found = np.nonzero((truth > 0) | (predicted > 0))
    patient, mix, seed, label = found
    columns = {
        "mix": np.array(measured.mixes)[mix],
        "learner": np.full(mix.size, learner),
        "train_seed": seed.astype(str),
        "patient_id": np.array(patients)[measured.part.patients[patient]],
        "label": np.array(panel.label_ids)[label],
        "n_hits": hits[found].astype(np.int64),
        "n_true": truth[found].astype(np.int64),
        "n_predicted": predicted[found].astype(np.int64),
    }
    return pa.table(columns, schema=PATIENT_COUNTS.schema)


def _estimate(learners: Mapping[str, Measured], place: Entry) -> Estimate:
    mix, learner = place
    measured = learners[learner]
    return measured.overall[measured.mixes.index(mix)][MAIN]


def _compared(
    learners: Mapping[str, Measured], entries: Sequence[Entry], confidence: float, *, rng: np.random.Generator
) -> list[Standing]:
    if not entries:
        return []
    n_seeds = max(len(measured.by_seed[0]) for measured in learners.values())
    found = [_of_entry(learners[learner], mix, n_seeds) for mix, learner in entries]
    measured = learners[entries[0][1]]  # patients and their sentences are the same for all
    sizes = measured.n_sentences
    scores = Scores(
        by_seed=np.stack([by_seed for by_seed, _ in found]),
        replicates=np.stack([replicates for _, replicates in found], axis=1),
        n_patients=sizes.size,
        n_effective=effective_patients(sizes, sizes.size),
    )
    return compare_with_best(scores, confidence, rng=rng)


def _of_entry(measured: Measured, mix: str, n_seeds: int) -> tuple[Floats, Floats]:
    """Macro-F1 by train seed, and under each replicate, shapes (n_seeds,) and (n_replicates, n_seeds)."""
    m = measured.mixes.index(mix)
    by_seed = np.array([seed[MAIN].value for seed in measured.by_seed[m]], dtype=np.float64)
    replicates = measured.replicates[MAIN][:, m]
    return np.broadcast_to(by_seed, (n_seeds,)), np.broadcast_to(replicates, (len(replicates), n_seeds))


def _cells(standing: Standing | None, estimate: Estimate) -> Row:
    if standing is None:
        nothing = dict.fromkeys(("value", "shortfall", "shortfall_high", "tied"))
        return nothing | {"status": estimate.status, "reason": estimate.reason}
    return {
        "value": standing.value,
        "shortfall": standing.shortfall,
        "shortfall_high": standing.shortfall_high,
        "tied": standing.tied,
        "status": "ok" if standing.reason is None else "undefined",
        "reason": standing.reason,
    }
