"""Who carries which risk factor: whole people from a fitted model, by quota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.alignment.risk import Place, RiskModel

SMALLEST_QUOTA = 100  # in a group of fewer people, one person is more than one percentage point
SWEEPS = 4  # a group's quota disturbs the others' by a few people; four rounds leave about one
FAR = 50.0  # log odds beyond which nobody's latent variable lies


def draw_carriers(
    model: RiskModel, cells: NDArray[np.int64], groups: Sequence[NDArray[np.int64]], rng: np.random.Generator
) -> dict[str, NDArray[np.bool_]]:
    """Who carries which factor.

    A factor's number of carriers is its prevalence times the number of people, rounded. In every group of at least
    `SMALLEST_QUOTA` people the number is held too, to about one person; smaller ones are left to chance.

    Args:
        model: As fitted to the joint that the people come from.
        cells: Cell of the flat joint of each person, shape (n,).
        groups: One array per variable: the level of each person, shape (n,) each.
        rng: One stream for all factors.

    Returns:
        Factor to carriers, shape (n,) each, parents first.
    """
    uniform = _latent_uniforms(model.correlation, len(cells), rng)
    carried: dict[str, NDArray[np.bool_]] = {}
    for factor, overall in model.overall.items():
        expected = model.prevalence[factor][cells]
        if factor in model.fixed:
            carried[factor] = expected > 0
            continue
        place = model.places[factor]
        can = _can_carry(place, carried, expected)
        quotas = [quota for group in groups for quota in _quotas(group, can, expected)]
        depth = _depth(place, cells, uniform[:, place.latent])[can]
        chosen = can[_deepest(depth, quotas, int(overall * len(cells) + 0.5))]
        carried[factor] = np.zeros(len(cells), dtype=np.bool_)
        carried[factor][chosen] = True
    return carried


def _latent_uniforms(correlation: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Correlated uniform variables, shape (n, n_latents)."""
    from scipy.special import ndtr

    values, vectors = np.linalg.eigh(correlation)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    uniform: NDArray[np.float64] = ndtr(rng.standard_normal((n, len(correlation))) @ root)
    return uniform


def _can_carry(
    place: Place, carried: Mapping[str, NDArray[np.bool_]], expected: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Indices of the people who can carry the factor, given what they carry already."""
    can = expected > 0
    if place.parent is not None:
        can &= carried[place.parent]
    for other in place.excluded_by:
        can &= ~carried[other]
    return np.flatnonzero(can)


def _depth(place: Place, cells: NDArray[np.int64], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """How deep each person lies in the interval, shape (n,): log odds, negative inside, lowest first.

    Among people who can carry the factor, the latent variable is uniform over [start, limit); its odds over those of
    the interval's share of that are the ranking variable of Pareto sampling.
    """
    start, end, limit = place.start[cells], place.end[cells], place.limit[cells]
    width = np.maximum(limit - start, np.finfo(np.float64).tiny)
    return _log_odds((uniform - start) / width) - _log_odds((end - start) / width)


def _log_odds(share: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        share = np.clip(share, 0.0, 1.0)
        odds: NDArray[np.float64] = np.log(share) - np.log1p(-share)
    return np.clip(odds, -FAR, FAR)


def _deepest(
    depth: NDArray[np.float64], quotas: Sequence[tuple[NDArray[np.int64], int]], wanted: int
) -> NDArray[np.int64]:
    """Positions of the `wanted` deepest people, after each large group's threshold has moved to its own number."""
    for _ in range(SWEEPS):
        for members, n_members in quotas:
            depth[members] -= _threshold(depth[members], n_members)
    wanted = min(wanted, len(depth))
    return np.argpartition(depth, wanted - 1)[:wanted] if wanted else np.empty(0, dtype=np.int64)


def _quotas(
    group: NDArray[np.int64], can: NDArray[np.int64], expected: NDArray[np.float64]
) -> list[tuple[NDArray[np.int64], int]]:
    """Positions in `can` and number of carriers, for every level with enough people."""
    n_people, n_carriers = np.bincount(group), np.bincount(group, expected)
    levels = group[can]
    found = []
    for level in np.flatnonzero(n_people >= SMALLEST_QUOTA):
        members = np.flatnonzero(levels == level)
        if len(members):
            found.append((members, min(int(n_carriers[level] + 0.5), len(members))))
    return found


def _threshold(depth: NDArray[np.float64], wanted: int) -> float:
    """A depth that `wanted` people lie below."""
    if wanted in (0, len(depth)):
        return float(depth.min() - 1.0 if wanted == 0 else depth.max() + 1.0)
    split = np.partition(depth, (wanted - 1, wanted))
    return float(split[wanted - 1] + split[wanted]) / 2
