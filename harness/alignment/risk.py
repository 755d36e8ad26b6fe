"""Risk factors of personas: correlated yes/no variables, conditional on demographics, no impossible combinations.

Every factor is an interval of a latent normal variable (`copula.py`) whose length is its prevalence in the person's
demographic cell. Factors tied by rules share one latent variable: what excludes each other lies side by side, what
requires another lies inside it. Latent variables are correlated so that the associations hold over the whole cohort;
beyond these, and given the demographics, the factors are as independent as can be.

Whole people then come out by quota rather than by independent draws: each factor has its number of carriers, and those
whose latent variable lies deepest in the interval carry it, so the correlation is kept.

Source of the quota: Rosen, J. Stat. Plan. Inference 62 (1997) 159 (Pareto sampling), with the copula's uniform
variables as the random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.alignment.copula import Pair, calibrate, complete, rectangle
from harness.alignment.prevalence import cell_prevalences, exclusive_with, joint_prevalence
from harness.errors import ConfigError
from harness.joint import Joint
from harness.schemas.population import Population, RiskAssociation


@dataclass(frozen=True)
class Place:
    """Where a factor lies on its latent variable, uniform scale; arrays have shape (n_cells,).

    Attributes:
        latent: Index of the latent variable.
        start: Its carriers begin here,
        end: and end here.
        limit: People between `end` and here could carry it and do not.
        parent: Factor that carriers must have, or None.
        excluded_by: Factors before it on the same variable whose carriers cannot have it.
        gate: Factor whose carriers alone this latent variable speaks of, or None for everybody.
    """

    latent: int
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    limit: NDArray[np.float64]
    parent: str | None
    excluded_by: tuple[str, ...]
    gate: str | None


@dataclass(frozen=True)
class RiskModel:
    """All that a draw of risk factors needs, and how well it meets the associations.

    Attributes:
        overall: Factor to prevalence among all people; parents first.
        prevalence: Factor to prevalence by cell of the flat joint, shape (n_cells,).
        places: Factor to its place.
        correlation: Of the latent variables, shape (n_latents, n_latents).
        fixed: Factors that are demographic levels; nothing is drawn for them.
        gaps: Pair of associated factors to the share of people who carry both, less what the odds ratio asks for.
    """

    overall: Mapping[str, float]
    prevalence: Mapping[str, NDArray[np.float64]]
    places: Mapping[str, Place]
    correlation: NDArray[np.float64]
    fixed: frozenset[str]
    gaps: Mapping[tuple[str, str], float]


def fit_risk_model(population: Population, joint: Joint) -> RiskModel:
    """Lay the factors out on latent variables and correlate these as the associations ask.

    Raises:
        ConfigError: Prevalences or associations that contradict each other or the rules, by name.
    """
    prevalence = cell_prevalences(population, joint)
    places = _lay_out(population, prevalence)
    mass = joint.probability.ravel()
    correlation = _correlate(population, places, mass)
    gaps = {
        association.factors: float(mass @ _both(*association.factors, prevalence, places, correlation))
        - _wanted(population, association)
        for association in population.risk_factor_associations
    }
    _refuse_gaps(population, gaps)
    return RiskModel(
        overall={factor: population.risk_factors[factor].v for factor in prevalence},
        prevalence=prevalence,
        places=places,
        correlation=correlation,
        fixed=frozenset(rule.factor for rule in population.risk_rules.same_as),
        gaps=gaps,
    )


# -- intervals ---------------------------------------------------------------------------------------------------------


def _lay_out(population: Population, prevalence: Mapping[str, NDArray[np.float64]]) -> dict[str, Place]:
    requires = {rule.factor: rule.requires for rule in population.risk_rules.requires}
    places: dict[str, Place] = {}
    taken: set[str] = set()  # parents whose interval holds a child already
    n_latents = 0
    for factor, share in prevalence.items():
        mates = tuple(other for other in places if other in exclusive_with(population, factor))
        parent = requires.get(factor)
        if mates:
            beside = places[mates[-1]]
            latent, gate, start, limit = beside.latent, beside.gate, beside.end, beside.limit
        elif parent is not None and parent not in taken:
            around = places[parent]
            latent, gate, start, limit = around.latent, around.gate, around.start, around.end
        else:
            # A second child may go together with the first in any way: it gets a variable of its own.
            latent, gate = n_latents, parent
            start, limit = np.zeros_like(share), np.ones_like(share)
            n_latents += 1
        if parent is not None:
            taken.add(parent)
        among = share if gate is None else _divide(share, prevalence[gate])
        places[factor] = Place(latent, start, np.minimum(start + among, limit), limit, parent, mates, gate)
    return places


def _divide(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


# -- associations ------------------------------------------------------------------------------------------------------


def _wanted(population: Population, association: RiskAssociation) -> float:
    first, second = (population.risk_factors[factor].v for factor in association.factors)
    return joint_prevalence(first, second, association.odds_ratio)


def _correlate(population: Population, places: Mapping[str, Place], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """One entry for every pair of latent variables with an association, the rest as independent as these allow."""
    same_as = {rule.factor for rule in population.risk_rules.same_as}
    pairs: dict[tuple[int, int], list[Pair]] = {}
    for association in population.risk_factor_associations:
        first, second = sorted(association.factors, key=lambda factor: places[factor].latent)
        one, two = places[first], places[second]
        # Cell prevalences alone can make these go together: the latent variable has nothing to say about everybody.
        if one.latent == two.latent or one.gate or two.gate or same_as & set(association.factors):
            continue
        pair = _pair(one, two, mass, wanted=_wanted(population, association))
        pairs.setdefault((one.latent, two.latent), []).append(pair)
    n = 1 + max((place.latent for place in places.values()), default=-1)
    wanted, fixed = np.eye(n), np.eye(n, dtype=np.bool_)
    for (row, column), asked in pairs.items():
        wanted[row, column] = wanted[column, row] = calibrate(asked)
        fixed[row, column] = fixed[column, row] = True
    return complete(wanted, fixed)


def _pair(one: Place, two: Place, mass: NDArray[np.float64], *, wanted: float) -> Pair:
    """Both intervals by group of cells that have the same ones: there are far fewer of these than cells."""
    edges = np.stack([one.start, one.end, two.start, two.end])
    distinct, group = np.unique(np.round(edges, 12), axis=1, return_inverse=True)
    grouped = np.bincount(group.ravel(), mass, minlength=distinct.shape[1]).astype(np.float64)
    return Pair(mass=grouped, first=distinct[:2], second=distinct[2:], wanted=wanted)


def _both(
    first: str,
    second: str,
    prevalence: Mapping[str, NDArray[np.float64]],
    places: Mapping[str, Place],
    correlation: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share of each cell that carries both factors, shape (n_cells,)."""
    if first == second:
        return prevalence[first]
    one, two = places[first], places[second]
    if one.latent == two.latent:
        overlap = np.minimum(one.end, two.end) - np.maximum(one.start, two.start)
        shared: NDArray[np.float64] = np.maximum(overlap, 0.0)
        return shared if one.gate is None else shared * prevalence[one.gate]
    for place, gated, other in ((one, first, second), (two, second, first)):
        if place.gate is not None and not _inside(other, gated, places):
            share: NDArray[np.float64] = place.end - place.start
            return share * _both(place.gate, other, prevalence, places, correlation)
    return rectangle(
        np.stack([one.start, one.end]), np.stack([two.start, two.end]), float(correlation[one.latent, two.latent])
    )


def _inside(factor: str, other: str, places: Mapping[str, Place]) -> bool:
    """Whether `factor` is drawn among carriers of `other`."""
    gate = places[factor].gate
    return gate is not None and (gate == other or _inside(gate, other, places))


def _refuse_gaps(population: Population, gaps: Mapping[tuple[str, str], float]) -> None:
    lines = [
        f"{' and '.join(association.factors)} with odds ratio {association.odds_ratio:g} want "
        f"{_wanted(population, association):.4f} of all people to carry both, the other targets leave "
        f"{_wanted(population, association) + gaps[association.factors]:.4f} (tolerance {association.tolerance:g})"
        for association in population.risk_factor_associations
        if abs(gaps[association.factors]) > association.tolerance
    ]
    if lines:
        raise ConfigError(
            "risk_factor_associations contradict each other: " + "; ".join(lines) + "; change one of them"
        )
