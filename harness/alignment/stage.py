"""Target population and trajectory in, personas, visits and mentions out. Gold never comes near this stage.

One unit. Personas are drawn together, because quotas need all of them; visits and mentions are drawn persona by
persona.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from harness.alignment.semantic import draw_mentions, draw_visits
from harness.alignment.statistical import Persona, draw_personas, persona_id
from harness.schemas.arms import Arm
from harness.schemas.manifest import Counts
from harness.schemas.population import load_population
from harness.schemas.tables import MENTIONS, PERSONAS, VISITS
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator
from harness.store import Run, Unit, write_table

STAGE = "alignment"
SENTENCES_PER_PERSONA = 4
MIN_PERSONAS = 20
VERSION = 2  # raised when a draw changes although task and recipe do not


def units(run: Run) -> list[Unit]:
    """One unit that writes all three tables; they are empty when no arm sees a persona or a trajectory."""
    arms = run.recipe.arms
    n = max((n_personas(arm) for arm in arms.values() if needs_alignment(arm)), default=0)
    task = run.task
    files = (run.population_file, run.trajectory_file, task.path(task.file.lexicon))
    inputs = [path for path in files if path is not None] if n else []

    def work(folder: Path) -> Counts:
        return _align(run, n, folder)

    return [
        Unit(
            stage=STAGE,
            name="",
            inputs=inputs,
            settings={
                "version": VERSION,
                "n_personas": n,
                "labels": list(task.label_ids),
                "negative": task.negative,
                "levels": {name: list(variable.levels) for name, variable in task.file.subgroups.items()},
            },
            seed_path=(STAGE,),
            work=work,
            outputs=("personas.parquet", "visits.parquet", "mentions.parquet"),
        )
    ]


def needs_alignment(arm: Arm) -> bool:
    return bool({"persona", "trajectory"} & set(arm.sees or ())) or (
        arm.sees is not None and arm.labels == "trajectory"
    )


def n_personas(arm: Arm) -> int:
    """Personas that an arm draws on: what the recipe says, else one for every four sentences, at least 20."""
    return arm.n_personas or max(MIN_PERSONAS, math.ceil(arm.n_sentences / SENTENCES_PER_PERSONA))


def _align(run: Run, n: int, folder: Path) -> Counts:
    task = run.task
    population_path, trajectory_path = run.population_file, run.trajectory_file
    personas: list[Persona] = []
    if n and population_path is not None:
        population = load_population(population_path, task)
        personas = draw_personas(population, n, generator(run.seed, STAGE, "personas"))
    visits, mentions = VISITS.schema.empty_table(), MENTIONS.schema.empty_table()
    if n and trajectory_path is not None:
        visits, mentions = _histories(run, load_trajectory(trajectory_path, task), [persona_id(i) for i in range(n)])
    write_table(folder / "personas.parquet", [persona.row() for persona in personas], PERSONAS)
    write_table(folder / "visits.parquet", visits, VISITS)
    write_table(folder / "mentions.parquet", mentions, MENTIONS)
    notes = {"personas": len(personas), "visits": visits.num_rows, "mentions": mentions.num_rows}
    return Counts(rows_in=n, rows_out=sum(notes.values()), notes=notes)


def _histories(run: Run, trajectory: Trajectory, persona_ids: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """Visits and mentions of all personas, each from a stream named after the persona."""
    visits, mentions = [], []
    for one in persona_ids:
        visits.append(draw_visits(trajectory, one, generator(run.seed, STAGE, "visits", one)))
        rng = generator(run.seed, STAGE, "mentions", one)
        mentions.append(draw_mentions(trajectory, run.task.lexicon, visits[-1], negative=run.task.negative, rng=rng))
    return pa.concat_tables(visits), pa.concat_tables(mentions)
