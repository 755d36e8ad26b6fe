"""How long the histories of many personas take, and how well the notes of one hang together.

    python benchmarks/histories.py                     # 1,000 personas: about 100,000 notes, 1.7 million mentions
    python benchmarks/histories.py --personas 100

Time and memory are of writing visits.parquet and mentions.parquet, in a process of its own. Coherence is measured on 60
personas, with the shipped trajectory and with the same one without its `onset`: how many of a note's stated terms the
next note states again, and which share of the denials contradicts an earlier note.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from harness.alignment.semantic import PRESENT, draw_mentions, draw_visits
from harness.schemas.tables import MENTIONS, VISITS
from harness.schemas.task import Task, load_task
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator
from harness.store import table_writer

ROOT_SEED = 11
N_COHERENCE = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--personas", type=int, default=1000)
    n = parser.parse_args().personas
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak_mb, n_visits, n_mentions = pool.apply(measure, (n,))
    task, trajectory = shipped()
    together = coherence(trajectory, task)
    apart = coherence(trajectory.model_copy(update={"onset": None}), task)
    print(f"{n} personas: {n_visits} notes, {n_mentions} mentions")
    print(f"figure histories_seconds {seconds:.1f}")
    print(f"figure histories_peak_mb {peak_mb:.0f}")
    for name, (repeated, contradicted) in (("", together), ("_without_onset", apart)):
        print(f"figure repeated_in_next_note{name} {repeated:.3f}")
        print(f"figure denials_of_stated_terms{name} {contradicted:.4f}")


def shipped() -> tuple[Task, Trajectory]:
    task = load_task("alzheimers", base=Path())
    return task, load_trajectory(task.folder / "trajectory.yaml", task)


def measure(n: int) -> tuple[float, float, int, int]:
    """Seconds, peak of resident memory in MB, notes and mentions."""
    task, trajectory = shipped()
    n_visits = n_mentions = 0
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        table_writer(Path(folder) / "visits.parquet", VISITS) as add_visits,
        table_writer(Path(folder) / "mentions.parquet", MENTIONS) as add_mentions,
    ):
        for index in range(n):
            name = f"persona-{index:06d}"
            visits = draw_visits(trajectory, name, generator(ROOT_SEED, "visits", name))
            rng = generator(ROOT_SEED, "mentions", name)
            mentions = draw_mentions(trajectory, task.lexicon, visits, negative=task.negative, rng=rng)
            add_visits(visits)
            add_mentions(mentions)
            n_visits, n_mentions = n_visits + visits.num_rows, n_mentions + mentions.num_rows
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.perf_counter() - start, peak_mb, n_visits, n_mentions


def coherence(trajectory: Trajectory, task: Task) -> tuple[float, float]:
    """Share of stated terms that the next note states again; share of denials of a term that an earlier one states."""
    n_stated = n_repeated = n_denied = n_contradicted = 0
    for index in range(N_COHERENCE):
        name = f"persona-{index:06d}"
        visits = draw_visits(trajectory, name, generator(ROOT_SEED, "visits", name))
        rng = generator(ROOT_SEED, "mentions", name)
        stated: dict[int, set[str]] = defaultdict(set)
        denied: list[tuple[int, str]] = []
        for row in draw_mentions(trajectory, task.lexicon, visits, negative=task.negative, rng=rng).to_pylist():
            if row["polarity"] == PRESENT:
                stated[row["visit_index"]].add(row["term"])
            else:
                denied.append((row["visit_index"], row["term"]))
        for this, following in itertools.pairwise(sorted(stated)):
            n_stated += len(stated[this])
            n_repeated += len(stated[this] & stated[following])
        first = {term: visit for visit in sorted(stated, reverse=True) for term in stated[visit]}
        n_denied += len(denied)
        n_contradicted += sum(first.get(term, visit) < visit for visit, term in denied)
    return n_repeated / n_stated, n_contradicted / n_denied


if __name__ == "__main__":
    main()
