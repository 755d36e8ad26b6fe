"""The `trajectory` unit of stage cohort: a recipe's dated notes in, the target of semantic alignment out."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.cohort.notes.course import course_rates
from harness.cohort.notes.document import About, render, trajectory_content
from harness.cohort.notes.rates import Rate, estimate
from harness.cohort.notes.read import Kept, Source, read_diagnoses, text_batches
from harness.cohort.notes.scan import Mentions, available_processes, scan_batches
from harness.cohort.notes.tally import Notes as Gathered
from harness.cohort.notes.tally import gather, tally
from harness.cohort.notes.terms import co_occurrence, never_found, term_rates
from harness.cohort.notes.timeline import build_timeline, stage_times
from harness.errors import ConfigError, DataError
from harness.schemas.base import read_yaml
from harness.schemas.cohorts import Notes
from harness.schemas.manifest import Counts
from harness.schemas.tables import CO_OCCURRENCE, GOLD, RATES, REJECTED
from harness.schemas.task import Task
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator
from harness.store import Run, Unit, atomic_path, read_table, write_table

log = logging.getLogger(__name__)

STAGE, UNIT = "cohort", "trajectory"
VERSION = 1  # raised when an estimate changes although task, recipe and notes do not
HELD_OUT_SPLITS = ("validation", "test")
SEED_PATH = (STAGE, UNIT)
SMALL_FILE_BYTES = 4_000_000  # read in this process: starting others takes longer than some thousand notes do
OUTPUTS = ("trajectory.yaml", "rates.parquet", "co_occurrence.parquet", "rejected.parquet")


def trajectory_units(run: Run) -> list[Unit]:
    """The unit, where the recipe names notes.

    Raises:
        ConfigError: The task has no trajectory or no lexicon, which say what to look for and in which stages.
    """
    settings = run.recipe.file.notes
    if settings is None:
        return []
    task = run.task
    trajectory, lexicon = task.path(task.file.trajectory), task.path(task.file.lexicon)
    if trajectory is None or lexicon is None:
        raise ConfigError(f"{run.recipe.path}: notes: fitting needs a trajectory (stages, labels) and a lexicon; "
                          f"the task {task.id!r} lacks one")  # fmt: skip

    def work(folder: Path) -> Counts:
        return _write(run, settings, folder)

    files = [settings.path, settings.diagnoses, trajectory, lexicon]
    return [
        Unit(
            stage=STAGE,
            name=UNIT,
            inputs=[run.path(STAGE, "gold.parquet"), *(one for one in files if one is not None)],
            settings={
                "version": VERSION,
                "notes": settings.model_dump(mode="json", exclude={"path", "diagnoses"}),
                "labels": list(task.label_ids),
                "negative": task.negative,
            },
            seed_path=SEED_PATH,
            work=work,
            outputs=OUTPUTS,
        )
    ]


def _write(run: Run, settings: Notes, folder: Path) -> Counts:
    task = run.task
    task_file = task.path(task.file.trajectory)
    assert task_file is not None  # noqa: S101 - the unit exists only where there is one
    trajectory = load_trajectory(task_file, task)
    held_out = _held_out(run)
    window = trajectory.time_axis.window
    source = Source(settings, held_out, read_diagnoses(settings, held_out), window)
    kept = Kept()
    processes = available_processes() if settings.path.stat().st_size > SMALL_FILE_BYTES else 1
    mentions = scan_batches([term.term for term in task.lexicon], text_batches(source, kept), n_processes=processes)
    _tell(settings.path, kept, window)
    notes = gather(kept, mentions if task.negative is not None else _stated(mentions))
    rates = _estimates(run, notes, trajectory, settings.min_patients)
    about = About(settings.path.name, len(notes.patient), len(notes.patients), never_found(rates))
    text = render(trajectory_content(read_yaml(task_file), rates, about), about)
    with atomic_path(folder / "trajectory.yaml") as temporary:
        temporary.write_text(text, encoding="utf-8")
        load_trajectory(temporary, task)  # nothing is left behind that alignment could not read
    write_table(folder / "rates.parquet", [asdict(rate) for rate in rates], RATES)
    pairs = co_occurrence(notes, task.lexicon, min_patients=settings.min_patients)
    write_table(folder / "co_occurrence.parquet", pairs, CO_OCCURRENCE)
    write_table(folder / "rejected.parquet", _unique(kept.rejected), REJECTED)
    return Counts(rows_in=kept.n_rows, rows_out=len(notes.patient), rejected=len(kept.rejected),
                  notes=_counted(kept, mentions, notes, rates))  # fmt: skip


def _held_out(run: Run) -> frozenset[str]:
    """Patients whose sentences are kept for validation and test; whatever else is known of them is not looked at."""
    gold = read_table(run.path(STAGE, "gold.parquet"), GOLD, columns=["patient_id", "split"]).to_pylist()
    return frozenset(row["patient_id"] for row in gold if row["split"] in HELD_OUT_SPLITS)


def _estimates(run: Run, notes: Gathered, trajectory: Trajectory, min_patients: int) -> list[Rate]:
    task: Task = run.task
    sums = tally(notes, build_timeline(trajectory), trajectory, task.lexicon)
    times = stage_times(trajectory, generator(run.seed, *SEED_PATH, "stages"))
    rates = estimate(sums, trajectory.stage_ids, times, min_patients=min_patients,
                     rng=generator(run.seed, *SEED_PATH, "rates"))  # fmt: skip
    if all(rate.status != "ok" for rate in rates if rate.parameter == "notes_per_year"):
        raise DataError(f"{run.recipe.path}: notes: no stage has notes of at least {min_patients} patients (found "
                        f"{len(notes.patients)} patients in all); give more notes, lower notes.min_patients, or leave "
                        "notes out and use the task's trajectory")  # fmt: skip
    rates += term_rates(sums, notes, task.lexicon, min_patients=min_patients,
                        rng=generator(run.seed, *SEED_PATH, "terms"))  # fmt: skip
    return rates + course_rates(notes, task.lexicon, min_patients=min_patients,
                                rng=generator(run.seed, *SEED_PATH, "course"))  # fmt: skip


def _stated(mentions: Mentions) -> Mentions:
    """Without denials, for a task that has no label for them."""
    kept = ~mentions.is_absent
    return Mentions(mentions.note[kept], mentions.term[kept], mentions.is_absent[kept], mentions.n_aside)


def _tell(path: Path, kept: Kept, window: tuple[float, float]) -> None:
    """Warn of notes that were left out, with the first row of each kind; and stop where none stayed.

    Raises:
        DataError: No note is left.
    """
    allowed = f"dated notes from {-window[0]:g} years before the diagnosis to {max(window[1], 0):g} years after it"
    told = [f"{n} {reason} (first: row {kept.first_row[reason]})" for reason, n in sorted(kept.reasons.items())]
    if not kept.patient_id:
        found = ", ".join([*told, *([f"{kept.n_held_out} of held-out patients"] if kept.n_held_out else [])])
        raise DataError(f"{path}: no note is left to fit; found {found or 'none'}; allowed: {allowed}, of training "
                        "patients with a diagnosis date")  # fmt: skip
    if told:
        log.warning("%s: notes left out: %s; allowed: %s; all are in rejected.parquet", path, ", ".join(told), allowed)


def _unique(rejected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows with ids that differ, where a note's id is given to several notes."""
    seen: Counter[str] = Counter()
    rows = []
    for row in rejected:
        seen[row["row_id"]] += 1
        n = seen[row["row_id"]]
        rows.append(row if n == 1 else {**row, "row_id": f"{row['row_id']} #{n}"})
    return rows


def _counted(kept: Kept, mentions: Mentions, notes: Gathered, rates: list[Rate]) -> dict[str, Any]:
    return {
        "patients": len(notes.patients),
        "notes_of_held_out_patients": kept.n_held_out,
        "left_out": dict(sorted(kept.reasons.items())),
        "mentions": len(mentions.note),
        "denied": int(mentions.is_absent.sum()),
        "of_relatives_or_hypothetical": mentions.n_aside,
        "stages_carried_over": sorted({one.stage for one in rates
                                       if one.parameter == "notes_per_year" and one.status != "ok"}),
        "terms_never_found": len(never_found(rates)),
    }  # fmt: skip
