"""Target population and trajectory in, personas, visits and mentions out. Gold never comes near this stage.

One unit. Personas are drawn together, because quotas need all of them; visits and mentions are drawn persona by
persona.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from harness.alignment.semantic import draw_mentions, draw_visits
from harness.alignment.statistical import draw_personas, fit_personas, persona_id
from harness.errors import ConfigError
from harness.schemas.arms import Arm
from harness.schemas.manifest import Counts
from harness.schemas.population import load_population
from harness.schemas.tables import MENTIONS, PERSONAS, VISITS
from harness.schemas.trajectory import Trajectory, load_trajectory
from harness.seeds import generator
from harness.store import Run, Unit, table_writer, write_table

STAGE = "alignment"
SENTENCES_PER_PERSONA = 4
MIN_PERSONAS = 20
VERSION = 3  # raised when a draw changes although task and recipe do not


def units(run: Run) -> list[Unit]:
    """One unit that writes all three tables; they are empty when no arm sees a persona or a trajectory."""
    arms = run.recipe.arms
    n = max((n_personas(arm) for arm in arms.values() if needs_alignment(arm)), default=0)
    task = run.task
    population, trajectory = _targets(run)
    lexicon = None if trajectory is None else task.path(task.file.lexicon)

    def work(folder: Path) -> Counts:
        return _align(run, n, folder)

    return [
        Unit(
            stage=STAGE,
            name="",
            inputs=[path for path in (population, trajectory, lexicon) if path is not None],
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


def _targets(run: Run) -> tuple[Path | None, Path | None]:
    """Population and trajectory, each where an arm needs it: a copied task may hold one that nobody has adapted."""
    arms = run.recipe.arms.values()
    return (
        run.population_file if any(_needs_persona(arm) for arm in arms) else None,
        run.trajectory_file if any(_needs_trajectory(arm) for arm in arms) else None,
    )


def needs_alignment(arm: Arm) -> bool:
    return _needs_persona(arm) or _needs_trajectory(arm)


def _needs_persona(arm: Arm) -> bool:
    return "persona" in (arm.sees or ())


def _needs_trajectory(arm: Arm) -> bool:
    return arm.sees is not None and ("trajectory" in arm.sees or arm.labels == "trajectory")


def n_personas(arm: Arm) -> int:
    """Personas that an arm draws on: what the recipe says, else one for every four sentences, at least 20."""
    return arm.n_personas or max(MIN_PERSONAS, math.ceil(arm.n_sentences / SENTENCES_PER_PERSONA))


def _align(run: Run, n: int, folder: Path) -> Counts:
    task = run.task
    population_path, trajectory_path = _targets(run)
    personas = (
        _personas(run, n, population_path) if n and population_path is not None else PERSONAS.schema.empty_table()
    )
    write_table(folder / "personas.parquet", personas, PERSONAS)
    histories: Iterable[tuple[pa.Table, pa.Table]] = ()
    if n and trajectory_path is not None:
        ids = [persona_id(index) for index in range(n)]
        histories = _histories(run, load_trajectory(trajectory_path, task), ids)
    n_visits = n_mentions = 0
    with (
        table_writer(folder / "visits.parquet", VISITS) as add_visits,
        table_writer(folder / "mentions.parquet", MENTIONS) as add_mentions,
    ):
        for visits, mentions in histories:
            add_visits(visits)
            add_mentions(mentions)
            n_visits, n_mentions = n_visits + visits.num_rows, n_mentions + mentions.num_rows
    notes = {"personas": personas.num_rows, "visits": n_visits, "mentions": n_mentions}
    return Counts(rows_in=n, rows_out=sum(notes.values()), notes=notes)


def _personas(run: Run, n: int, path: Path) -> pa.Table:
    population = load_population(path, run.task)
    try:
        model = fit_personas(population)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return draw_personas(model, n, generator(run.seed, STAGE, "personas"))


def _histories(run: Run, trajectory: Trajectory, persona_ids: Sequence[str]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Visits and mentions persona by persona, each from a stream named after the persona."""
    for one in persona_ids:
        visits = draw_visits(trajectory, one, generator(run.seed, STAGE, "visits", one))
        rng = generator(run.seed, STAGE, "mentions", one)
        yield visits, draw_mentions(trajectory, run.task.lexicon, visits, negative=run.task.negative, rng=rng)
