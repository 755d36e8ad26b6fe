"""Notes written from a known trajectory: what the tests of fitting fit."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from harness.alignment.semantic import draw_mentions, draw_visits
from harness.schemas.base import read_yaml
from harness.schemas.recipe import Recipe, load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.task import Task, load_task
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator

STATED = ("{Term} noted today.", "Reports {term} since spring.", "Wife describes {term}.", "{Term}, about as before.",
          "Worsening {term} per daughter.")  # fmt: skip
DENIED = ("Denies {term}.", "No {term}.", "Negative for {term}.", "Without {term} so far.")
PLAIN = ("BP 132/78, pulse regular.", "Follow up in three months.", "Family history of tremor in an uncle.",
         "Labs reviewed with patient.", "Will monitor for agitation.")  # fmt: skip


@dataclass(frozen=True)
class Study:
    task: Task
    truth: Trajectory
    rows: list[dict[str, Any]]


def known_trajectory(folder: Path, *, onset: bool = True) -> tuple[Task, Trajectory]:
    """The shipped task, and its trajectory at real density in a file of its own."""
    task = load_task("alzheimers", base=folder)
    content = read_yaml(shipped("tasks") / "alzheimers" / "trajectory.yaml")
    content["mentions_per_note"]["density_multiplier"]["v"] = 1
    if not onset:
        content.pop("onset", None)
    path = folder / "known.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return task, load_trajectory(path, task)


def simulate(task: Task, truth: Trajectory, n_patients: int, seed: int) -> list[dict[str, Any]]:
    """Notes of the first patients of a seed, with denials, relatives and plain sentences among the mentions."""
    rows = []
    for number in range(n_patients):
        patient = f"n{number:04d}"
        visits = draw_visits(truth, patient, generator(seed, "visits", patient))
        mentions = draw_mentions(
            truth, task.lexicon, visits, negative=task.negative, rng=generator(seed, "mentions", patient)
        )
        rng = generator(seed, "words", patient)
        texts = [_sentences(mentions, index, rng) for index in range(visits.num_rows)]
        diagnosed = np.datetime64("2020-06-15") + number
        for index, (days, kind) in enumerate(
            zip(visits["days_before_diagnosis"].to_pylist(), visits["note_type"].to_pylist(), strict=True)
        ):
            rows.append({"note_id": f"{patient}-{index:04d}", "patient_id": patient, "date": str(diagnosed - days),
                         "note_type": kind, "diagnosis_date": str(diagnosed), "text": texts[index]})  # fmt: skip
    return rows


def _sentences(mentions: pa.Table, index: int, rng: np.random.Generator) -> str:
    here = np.flatnonzero(mentions["visit_index"].to_numpy() == index)
    said = [PLAIN[rng.integers(len(PLAIN))]]
    for row in here:
        term, denied = mentions["term"][int(row)].as_py(), mentions["polarity"][int(row)].as_py() == "absent"
        pattern = (DENIED if denied else STATED)[rng.integers(4)]
        said.append(pattern.format(term=term, Term=term.capitalize()))
    return " ".join(said[place] for place in rng.permutation(len(said)))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def notes_recipe(folder: Path, notes: Path, **keys: Any) -> Recipe:
    """A recipe on the shipped task and its demo gold with these notes."""
    content = {"task": "alzheimers", "seed": 7, "mixes": ["gold"], "notes": {"path": str(notes), **keys}}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_recipe(path)
