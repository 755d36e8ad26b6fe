"""How near to the target do personas come, and what do they cost?

    python benchmarks/personas.py

Margin error: the largest distance between a share among the personas and its target, over every level of every margin.
Independent draws take each persona from the same raked joint. Both are averaged over the same number of seeds.

At 100,000 personas: the largest distance of a risk factor's overall prevalence, of its prevalence in any level of any
variable, and of the share of people who carry both of two associated factors, from their targets. Seconds count
reconciling all targets, drawing, and building the table; megabytes are the peak of a process that does nothing else.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.alignment.prevalence import joint_prevalence
from harness.alignment.statistical import PersonaModel, draw_personas, fit_personas
from harness.joint import Joint
from harness.schemas.population import Population, load_population
from harness.schemas.task import load_task
from harness.seeds import generator

TASK = "alzheimers"
N_SMALL, N_LARGE, N_SEEDS = 100, 100_000, 50
COST = "--cost"


def main() -> None:
    if COST in sys.argv:
        _cost()
        return
    population = _population()
    model = fit_personas(population)
    quota, independent, risk = [], [], []
    for seed in range(N_SEEDS):
        personas = draw_personas(model, N_SMALL, generator(seed, "benchmark", "quota"))
        quota.append(margin_error(population, personas.select(list(population.margins)).to_pylist()))
        risk.append(prevalence_error(population, personas))
        independent.append(margin_error(population, independent_draw(model.joint, N_SMALL, seed)))
    print(f"figure personas_{N_SMALL}_margin_error_quota {np.mean(quota):.5f}")
    print(f"figure personas_{N_SMALL}_margin_error_quota_worst {np.max(quota):.5f}")
    print(f"figure personas_{N_SMALL}_margin_error_independent {np.mean(independent):.5f}")
    print(f"figure personas_{N_SMALL}_risk_factor_error_quota_worst {np.max(risk):.5f}")
    large = draw_personas(model, N_LARGE, generator(0, "benchmark", "large"))
    errors = association_errors(population, large)
    print(f"figure personas_{N_LARGE}_prevalence_error_worst {prevalence_error(population, large):.5f}")
    print(f"figure personas_{N_LARGE}_conditional_prevalence_error_worst {conditional_error(model, large):.5f}")
    print(f"figure personas_{N_LARGE}_association_error_mean {np.mean(errors):.5f}")
    print(f"figure personas_{N_LARGE}_association_error_worst {np.max(errors):.5f}")
    cost = subprocess.run([sys.executable, __file__, COST], check=True, capture_output=True, text=True)
    print(cost.stdout, end="")


def _cost() -> None:
    clock = time.perf_counter()
    draw_personas(fit_personas(_population()), N_LARGE, generator(0, "benchmark", "large"))
    print(f"figure personas_{N_LARGE}_seconds {time.perf_counter() - clock:.2f}")
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"figure personas_{N_LARGE}_peak_mb {peak_kib / 1024:.0f}")


def margin_error(population: Population, people: Sequence[Mapping[str, str]]) -> float:
    return max(
        abs(sum(person[variable] == level for person in people) / len(people) - share)
        for variable in population.margins
        for level, share in population.shares(variable).items()
    )


def carriers(personas: pa.Table, factors: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    lists = personas["risk_factors"].combine_chunks()
    person, names = lists.value_parent_indices().to_numpy(), np.array(lists.flatten().to_pylist())
    found = {factor: np.zeros(len(lists), dtype=np.bool_) for factor in factors}
    for factor in factors:
        found[factor][person[names == factor]] = True
    return found


def prevalence_error(population: Population, personas: pa.Table) -> float:
    carried = carriers(personas, list(population.risk_factors))
    return max(abs(carried[name].mean() - factor.v) for name, factor in population.risk_factors.items())


def conditional_error(model: PersonaModel, personas: pa.Table) -> float:
    carried = carriers(personas, list(model.risk.overall))
    labels, mass = model.joint.labels(), model.joint.probability.ravel()
    worst = 0.0
    for variable, levels in model.joint.levels.items():
        column = np.array(personas[variable].to_pylist())
        for level in levels:
            inside, people = labels[variable] == level, column == level
            for factor, prevalence in model.risk.prevalence.items():
                wanted = float(mass[inside] @ prevalence[inside]) / float(mass[inside].sum())
                worst = max(worst, abs(float(carried[factor][people].mean()) - wanted))
    return worst


def association_errors(population: Population, personas: pa.Table) -> list[float]:
    carried = carriers(personas, list(population.risk_factors))
    errors = []
    for association in population.risk_factor_associations:
        first, second = association.factors
        wanted = joint_prevalence(
            population.risk_factors[first].v, population.risk_factors[second].v, association.odds_ratio
        )
        errors.append(abs(float(np.mean(carried[first] & carried[second])) - wanted))
    return errors


def independent_draw(joint: Joint, n: int, seed: int) -> list[dict[str, str]]:
    rng = generator(seed, "benchmark", "independent")
    cells = np.unravel_index(
        rng.choice(joint.probability.size, size=n, p=joint.probability.ravel()), joint.probability.shape
    )
    return [
        {variable: levels[cells[axis][index]] for axis, (variable, levels) in enumerate(joint.levels.items())}
        for index in range(n)
    ]


def _population() -> Population:
    task = load_task(TASK, base=Path.cwd())
    path = task.path(task.file.population)
    assert path is not None, "the shipped task has a population"
    return load_population(path, task)


if __name__ == "__main__":
    main()
