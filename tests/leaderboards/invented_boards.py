"""Finished runs as a leaderboard over runs sees them: a CSV, a manifest and counts by patient. Nobody ran them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from harness import seeds
from harness.metrics.counts import Tallies, macro_f1, tally_by_patient
from harness.reports.leaderboard import LeaderboardRow, leaderboard_csv
from harness.schemas.manifest import Counts, Manifest
from harness.schemas.tables import PATIENT_COUNTS
from harness.store import sha256_file, write_json, write_table, write_text

LABELS = ("memory", "falls", "other")
N_PATIENTS, N_SENTENCES = 30, 10
NO_VALUES = {field.name: None for field in fields(LeaderboardRow)}


def make_row(mix: str = "gold", **changes: Any) -> LeaderboardRow:
    """A row with the fields every row has; all others are empty unless given."""
    given = {
        "recipe": "invented",
        "task": "memoria",
        "task_version": 3,
        "labels": ",".join(LABELS),
        "mix": mix,
        "regime": "TRTR",
        "learner": "llm",
        "model": "toy, fine-tuned",
        "split": "test",
        "reference_mix": "gold",
        "budget": "equal budget",
        "budget_unit": "updates",
        "budget_size": 30,
        "global_batch_size": 8,
        "n_train_seeds": 1,
        "n_test_sentences": N_PATIENTS * N_SENTENCES,
        "n_test_patients": N_PATIENTS,
        "confidence": 0.95,
        "status": "ok",
        "test_set_sha256": "ab" * 32,
        "metrics_version": 1,
    }
    return LeaderboardRow(**{**NO_VALUES, **given, **changes})


def answers(skill: float, *names: str, n_seeds: int = 1) -> Tallies:
    """Counts by patient of a model that is right with this probability and else guesses; the truth is always the same."""
    truth = seeds.generator(8, "truth").choice(len(LABELS), size=N_PATIENTS * N_SENTENCES, p=[0.5, 0.3, 0.2])
    patient = np.repeat(np.arange(N_PATIENTS), N_SENTENCES)
    rng = seeds.generator(8, "answers", *names)
    guess = rng.choice(len(LABELS), size=(n_seeds, truth.size))
    predicted = np.where(rng.random((n_seeds, truth.size)) < skill, truth, guess)
    return tally_by_patient(truth, predicted, patient, n_patients=N_PATIENTS, n_classes=len(LABELS))


def count_rows(tallies: Tallies, mix: str, learner: str, *, patient: str = "p") -> list[dict[str, Any]]:
    hits, true, predicted = tallies
    truth = np.broadcast_to(true, hits.shape)
    return [
        {"mix": mix, "learner": learner, "train_seed": str(k), "patient_id": f"{patient}{p:02d}", "label": LABELS[c],
         "n_hits": int(hits[p, k, c]), "n_true": int(truth[p, k, c]), "n_predicted": int(predicted[p, k, c])}
        for p, k, c in np.ndindex(hits.shape)
        if truth[p, k, c] or predicted[p, k, c]
    ]  # fmt: skip


def score(tallies: Tallies) -> float:
    return float(macro_f1(Tallies(*(one.sum(axis=0) for one in tallies))).mean())


def write_run(
    folder: Path, skills: Mapping[str, float], *, n_seeds: int = 1, patient: str = "p", **changes: Any
) -> Path:
    """A run folder with a fine-tuned model for each mix, of that skill; `changes` are made to every row."""
    rows, counts = [], []
    for mix, skill in skills.items():
        found = answers(skill, folder.name, mix, n_seeds=n_seeds)
        value = score(found)
        cells = {"macro_f1": value, "macro_f1_ci_low": value - 0.05, "macro_f1_ci_high": value + 0.05}
        rows.append(make_row(mix, **{**cells, "n_train_seeds": n_seeds, **changes}))
        counts += count_rows(found, mix, "llm", patient=patient)
    write_table(folder / "07_evaluation" / "patient_counts.parquet", counts, PATIENT_COUNTS)
    write_reports(folder, leaderboard_csv(rows))
    return folder


def write_reports(folder: Path, text: str) -> None:
    """The leaderboard as the stage leaves it, with a manifest that knows it and its tables."""
    path = folder / "08_reports" / "leaderboard.csv"
    write_text(path, text)
    counts = folder / "07_evaluation" / "patient_counts.parquet"
    manifest = Manifest(
        stage="reports",
        unit="",
        fingerprint="f",
        recipe="invented",
        settings={},
        root_seed=1,
        seed_path=("reports",),
        inputs={"07_evaluation/patient_counts.parquet": sha256_file(counts)} if counts.is_file() else {},
        outputs={"leaderboard.csv": sha256_file(path)},
        counts=Counts(),
        versions={},
        git_commit=None,
        started="2026-01-02T03:04:05+00:00",
        seconds=1.0,
        peak_rss_mb=1.0,
    )
    write_json(folder / "08_reports" / "manifest.json", manifest.model_dump(mode="json"))
