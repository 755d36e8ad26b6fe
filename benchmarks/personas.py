"""How much nearer to the target are quotas than independent draws, and what do they cost?

    python benchmarks/personas.py

Margin error: the largest distance between a share among the personas and its target, over every level of every margin.
Independent draws take each persona from the same raked joint. Both are averaged over the same number of seeds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.alignment.statistical import Joint, Persona, draw_personas, raked_joint
from harness.schemas.population import Population, load_population
from harness.schemas.task import Task, load_task
from harness.seeds import generator

TASK = "alzheimers"
N_SMALL, N_LARGE, N_SEEDS = 100, 10_000, 50


def main() -> None:
    task = load_task(TASK, base=Path.cwd())
    population = _population(task)
    joint = raked_joint(population)
    quota, independent, risk = [], [], []
    for seed in range(N_SEEDS):
        rng = generator(seed, "benchmark", "quota")
        personas = draw_personas(population, N_SMALL, rng)
        quota.append(margin_error(population, [persona.demographics for persona in personas]))
        risk.append(risk_error(population, personas))
        independent.append(margin_error(population, independent_draw(joint, N_SMALL, seed)))
    clock = time.perf_counter()
    draw_personas(population, N_LARGE, generator(0, "benchmark", "large"))
    seconds = time.perf_counter() - clock
    print(f"figure personas_{N_SMALL}_margin_error_quota {np.mean(quota):.5f}")
    print(f"figure personas_{N_SMALL}_margin_error_quota_worst {np.max(quota):.5f}")
    print(f"figure personas_{N_SMALL}_margin_error_independent {np.mean(independent):.5f}")
    print(f"figure personas_{N_SMALL}_risk_factor_error_quota_worst {np.max(risk):.5f}")
    print(f"figure personas_{N_LARGE}_seconds {seconds:.2f}")


def margin_error(population: Population, people: Sequence[Mapping[str, str]]) -> float:
    return max(
        abs(sum(person[variable] == level for person in people) / len(people) - share)
        for variable in population.margins
        for level, share in population.shares(variable).items()
    )


def risk_error(population: Population, personas: list[Persona]) -> float:
    return max(
        abs(sum(name in persona.risk_factors for persona in personas) / len(personas) - factor.v)
        for name, factor in population.risk_factors.items()
    )


def independent_draw(joint: Joint, n: int, seed: int) -> list[dict[str, str]]:
    rng = generator(seed, "benchmark", "independent")
    cells = np.unravel_index(
        rng.choice(joint.probability.size, size=n, p=joint.probability.ravel()), joint.probability.shape
    )
    return [
        {variable: levels[cells[axis][index]] for axis, (variable, levels) in enumerate(joint.levels.items())}
        for index in range(n)
    ]


def _population(task: Task) -> Population:
    path = task.path(task.file.population)
    assert path is not None, "the shipped task has a population"
    return load_population(path, task)


if __name__ == "__main__":
    main()
