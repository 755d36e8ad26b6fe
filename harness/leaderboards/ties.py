"""Which entries of several runs may be the best: the same patients are drawn again for all of them at once.

Each run keeps hits, true and predicted sentences of every test patient (`patient_counts`). Runs with the same test set
share patients, so what patients have in common cancels between runs as it does within one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness import seeds
from harness.leaderboards.boards import Entry
from harness.metrics.best import Scores, Standing, compare_with_best
from harness.metrics.counts import Floats, Tallies, macro_f1
from harness.metrics.resampling import Multiplicities, draw_patients, resample_sums
from harness.metrics.uncertainty import effective_patients
from harness.reports.inputs import LLM
from harness.reports.leaderboard import LABEL_SEPARATOR

FLOORS = ("majority",)  # not competitors
N_REPLICATES = 4000
ROOT_SEED = 0  # runs have root seeds of their own; the draw here is the same whichever runs are compared
SAME_SCORE = 1e-5  # leaderboard.csv holds six decimals
NO_COUNTS = "its run keeps no counts by patient"
OTHER_SCORE = "its counts by patient do not give its score"
OTHER_PATIENTS = "its run names patients or their labels otherwise, so they cannot be paired"

Key = tuple[str, str, str]  # run, mix, learner


@dataclass(frozen=True)
class Patients:
    """The test patients of a run.

    Attributes:
        ids: Sorted.
        labels: Labels of the task.
        true: True sentences by patient and label, shape (n_patients, n_labels).
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    true: Floats


def with_ties(entries: Sequence[Entry], counts: Mapping[str, pa.Table]) -> list[Entry]:
    """Entries with their standing among the comparable ones; those that cannot be compared say why.

    Args:
        entries: From `boards.compare`, comparable ones first.
        counts: PATIENT_COUNTS of each run that has them.
    """
    competing = [entry for entry in entries if not entry.why_apart and entry.row.learner not in FLOORS]
    patients = _usual_patients(competing, counts)
    n_seeds = _usual_seeds(competing)
    reasons: dict[Key, str] = {}
    tallies: dict[Key, Tallies] = {}
    for entry in competing:
        found = _tallies(entry, counts, patients, n_seeds)
        if isinstance(found, str):
            reasons[_key(entry)] = found
        else:
            tallies[_key(entry)] = found
    standings = _standings(tallies, patients, competing) if patients is not None else {}
    return [_told(entry, standings.get(_key(entry)), reasons.get(_key(entry), "")) for entry in entries]


def _key(entry: Entry) -> Key:
    return entry.run, entry.row.mix, entry.row.learner


def _told(entry: Entry, standing: Standing | None, reason: str) -> Entry:
    if standing is None or standing.reason:
        row = replace(entry.row, tied=None, shortfall=None, shortfall_high=None)
        return replace(entry, row=row, why_no_tie=reason if standing is None else standing.reason or "")
    row = replace(entry.row, tied=standing.tied, shortfall=standing.shortfall, shortfall_high=standing.shortfall_high)
    return replace(entry, row=row)


def _usual_seeds(competing: Sequence[Entry]) -> int:
    counted = Counter(entry.row.n_train_seeds for entry in competing if entry.row.learner == LLM)
    return counted.most_common(1)[0][0] if counted else 1


def _usual_patients(competing: Sequence[Entry], counts: Mapping[str, pa.Table]) -> Patients | None:
    """The test patients that most runs have (of several the first); None where no run keeps counts."""
    by_run = {entry.run: entry.row.labels for entry in competing if entry.run in counts}
    found = [_patients(counts[run], labels) for run, labels in by_run.items() if counts[run].num_rows]
    if not found:
        return None
    marks = [(one.ids, one.true.tobytes()) for one in found]
    return found[marks.index(Counter(marks).most_common(1)[0][0])]


def _patients(table: pa.Table, labels: str) -> Patients:
    """Those of a run, by any one of its entries: the truth is the same for all."""
    ids, names = tuple(sorted(table["patient_id"].unique().to_pylist())), tuple(labels.split(LABEL_SEPARATOR))
    one = _of(table, table["mix"][0].as_py(), table["learner"][0].as_py())
    return Patients(ids, names, _placed(one, ids, names, "n_true")[:, 0])


def _of(table: pa.Table, mix: str, learner: str) -> pa.Table:
    return table.filter(pc.and_(pc.equal(table["mix"], mix), pc.equal(table["learner"], learner)))


def _placed(table: pa.Table, ids: Sequence[str], labels: Sequence[str], column: str) -> Floats:
    """Counts of one mix and learner, shape (n_patients, n_seeds, n_labels); 0 where there is no row."""
    names = sorted(table["train_seed"].unique().to_pylist(), key=int)
    place = [
        pc.index_in(table[name], pa.array(values, pa.string())).to_numpy()
        for name, values in (("patient_id", ids), ("train_seed", names), ("label", labels))
    ]
    found = np.zeros((len(ids), len(names), len(labels)))
    found[tuple(place)] = table[column].to_numpy()
    return found


def _tallies(entry: Entry, counts: Mapping[str, pa.Table], patients: Patients | None, n_seeds: int) -> Tallies | str:
    """Counts of one entry by patient, train seed and label; or why it cannot be compared."""
    if entry.row.macro_f1 is None:
        return f"no score: {entry.row.reason or entry.row.status}"
    table = _of(counts[entry.run], entry.row.mix, entry.row.learner) if entry.run in counts else None
    if table is None or patients is None or not table.num_rows:
        return NO_COUNTS
    found = _paired(table, patients)
    if found is None:
        return OTHER_PATIENTS
    if abs(float(_scores(found).mean()) - entry.row.macro_f1) > SAME_SCORE:
        return OTHER_SCORE
    return _over_seeds(found, n_seeds, is_trained=entry.row.learner == LLM)


def _paired(table: pa.Table, patients: Patients) -> Tallies | None:
    """Counts in the order of `patients`; None where these are not the same patients with the same true labels."""
    for column, known in (("patient_id", patients.ids), ("label", patients.labels)):
        if not set(table[column].unique().to_pylist()) <= set(known):
            return None
    placed = [_placed(table, patients.ids, patients.labels, f"n_{name}") for name in ("hits", "true", "predicted")]
    found = Tallies(*placed)
    return found if (found.true == patients.true[:, None]).all() else None


def _over_seeds(tallies: Tallies, n_seeds: int, *, is_trained: bool) -> Tallies | str:
    """The counts with the number of train seeds that all share; a baseline depends on none."""
    n_patients, own, n_labels = tallies.hits.shape
    if own != n_seeds and (is_trained or own != 1):
        return f"{own} train seed{'s' if own != 1 else ''}; most of the others have {n_seeds}"
    return Tallies(*(np.broadcast_to(one, (n_patients, n_seeds, n_labels)) for one in tallies))


def _scores(tallies: Tallies) -> Floats:
    """Macro-F1 by train seed."""
    return macro_f1(Tallies(*(one.sum(axis=0) for one in tallies)))


def _standings(tallies: Mapping[Key, Tallies], patients: Patients, competing: Sequence[Entry]) -> dict[Key, Standing]:
    if not tallies:
        return {}
    keys = sorted(tallies)  # so that the order in which runs are given changes no draw
    n_patients = len(patients.ids)
    rng = seeds.generator(ROOT_SEED, "leaderboards", "patients")
    drawn = draw_patients(n_patients, N_REPLICATES, rng=rng).astype(np.float32)
    sizes = patients.true.sum(axis=1)
    scores = Scores(
        by_seed=np.stack([_scores(tallies[key]) for key in keys]),
        replicates=np.stack([_replicates(tallies[key], drawn) for key in keys], axis=1),
        n_patients=n_patients,
        n_effective=effective_patients(sizes, n_patients),
    )
    confidence = competing[0].row.confidence
    found = compare_with_best(scores, confidence, rng=seeds.generator(ROOT_SEED, "leaderboards", "train_seeds"))
    return dict(zip(keys, found, strict=True))


def _replicates(tallies: Tallies, drawn: Multiplicities) -> Floats:
    """Macro-F1 under each replicate of patients, shape (n_replicates, n_seeds)."""
    return macro_f1(Tallies(*(resample_sums(one, drawn) for one in tallies)))
