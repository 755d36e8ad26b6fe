"""Counts in, what may be known of the cohort out: shares, pairs, prevalences and odds ratios without small counts.

Everything here is computed from figures that may be shown, so that nothing further can be read from it:

* levels that are pooled share the pool in the proportions of the task's own population, else evenly;
* hidden cells of a pair follow the joint of the rest (`joint.py`);
* levels whose carriers are too few have the prevalence of their pool;
* a factor carried by too few, or by all but a few, has no prevalence, and the task's own stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cohort.structured.counts import Counts, Pair
from harness.cohort.structured.joint import fit_joint, pair_of
from harness.cohort.structured.suppression import collapse, hidden_cells, pool_small

SOURCE_ID = "cohort"
MARK = "derived"
RISK_FACTOR, RISK_FACTOR_PAIR = "risk_factor", "risk_factor_pair"
JOINED = "+"
Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Estimates:
    """What the target population is written from.

    Attributes:
        n: People counted.
        shares: Variable to level to share, adding up to 1.
        pooled: Variable to the levels that share one count; empty where each has its own.
        pairs: Two variables to shares, shape of their levels, adding up to 1 and to `shares`.
        hidden: Two variables to the number of hidden cells.
        prevalences: Risk factor to share of carriers, of those that may be shown.
        conditional: (factor, variable) to level to share of carriers.
        conditional_pooled: (factor, variable) to the levels that share one figure.
        odds_ratios: Two factors to their odds ratio.
        cells: Rows of the population table, suppressed ones included.
        gap: Largest distance between the fitted joint and a figure it was fitted to.
    """

    n: float
    shares: Mapping[str, Mapping[str, float]]
    pooled: Mapping[str, tuple[str, ...]]
    pairs: Mapping[Pair, NDArray[np.float64]]
    hidden: Mapping[Pair, int]
    prevalences: Mapping[str, float]
    conditional: Mapping[Pair, Mapping[str, float]]
    conditional_pooled: Mapping[Pair, tuple[str, ...]]
    odds_ratios: Mapping[Pair, float]
    cells: Sequence[Mapping[str, Any]]
    gap: float


def estimate(counts: Counts, min_cell: int, reference: Mapping[str, Mapping[str, float]]) -> Estimates:
    """Estimate a population from counts, with small ones suppressed.

    Args:
        counts: All over the same people, `min_cell` of them or more.
        min_cell: Smallest count to be shown; 0 shows everything.
        reference: Variable to level to share in the task's own population, to share out a pool.
    """
    groups = {name: pool_small(margin[None, :], min_cell) for name, margin in counts.margins.items()}
    shares = {name: _share_out(name, counts, groups[name], reference.get(name, {})) for name in counts.levels}
    cells = [row for name in counts.levels for row in _margin_cells(name, counts, groups[name])]
    joint, gap, hidden, pair_cells = _joint(counts, groups, shares, min_cell)
    axes = {name: axis for axis, name in enumerate(counts.levels)}
    prevalences, conditional, factor_pools, factor_cells = _factors(counts, groups, min_cell)
    odds_ratios, both_cells = _odds_ratios(counts, prevalences, min_cell)
    return Estimates(
        n=counts.n,
        shares={name: dict(zip(counts.levels[name], found.tolist(), strict=True)) for name, found in shares.items()},
        pooled={name: _pool_names(counts.levels[name], groups[name]) for name in counts.levels},
        pairs={(a, b): pair_of(joint, (axes[a], axes[b])) for a, b in counts.pairs},
        hidden=hidden,
        prevalences=prevalences,
        conditional=conditional,
        conditional_pooled=factor_pools,
        odds_ratios=odds_ratios,
        cells=[*cells, *pair_cells, *factor_cells, *both_cells],
        gap=gap,
    )


def _pool_names(levels: Sequence[str], groups: Groups) -> tuple[str, ...]:
    return tuple(levels[index] for group in groups if len(group) > 1 for index in group)


def _cell(variable: str, level: str, *, value: float | None, n: float | None) -> dict[str, Any]:
    """A row of the population table; suppressed when it has no count."""
    return {
        "variable": variable,
        "level": level,
        "value": None if n is None else value,
        "n": None if n is None else round(n),
        "source_id": SOURCE_ID,
        "mark": MARK,
        "suppressed": n is None,
    }


# -- margins and pairs -------------------------------------------------------------------------------------------------


def _share_out(name: str, counts: Counts, groups: Groups, reference: Mapping[str, float]) -> NDArray[np.float64]:
    """Share of each level, a pool divided in the proportions of the reference; shape (n_levels,)."""
    margin, levels = counts.margins[name], counts.levels[name]
    shares = np.zeros(len(levels))
    for group in groups:
        index = list(group)
        parts = np.array([reference.get(levels[one], 0.0) for one in group])
        parts = parts if (parts > 0).all() else np.ones(len(group))
        shares[index] = margin[index].sum() / margin.sum() * parts / parts.sum()
    return shares


def _margin_cells(name: str, counts: Counts, groups: Groups) -> list[dict[str, Any]]:
    levels, margin, rows = counts.levels[name], counts.margins[name], []
    for group in groups:
        n = float(margin[list(group)].sum())
        rows.append(_cell(name, JOINED.join(levels[index] for index in group), value=n / counts.n, n=n))
        if len(group) > 1:
            rows += [_cell(name, levels[index], value=None, n=None) for index in group]
    return rows


def _joint(
    counts: Counts, groups: Mapping[str, Groups], shares: Mapping[str, NDArray[np.float64]], min_cell: int
) -> tuple[NDArray[np.float64], float, dict[Pair, int], list[dict[str, Any]]]:
    """Fit the joint over groups to what may be shown, then spread each pool over its levels."""
    names = list(counts.levels)
    hidden: dict[Pair, int] = {}
    wanted: dict[tuple[int, int], NDArray[np.float64]] = {}
    cells: list[dict[str, Any]] = []
    for (a, b), table in counts.pairs.items():
        grouped = collapse(table, {0: groups[a], 1: groups[b]})
        hide = hidden_cells(grouped, min_cell)
        hidden[a, b] = int(hide.sum())
        cells += _pair_cells((a, b), counts, groups, grouped, hide=hide)
        if not hide.all():
            wanted[names.index(a), names.index(b)] = np.where(hide, np.nan, grouped / counts.n)
    margins = [
        np.array([counts.margins[name][list(group)].sum() for group in groups[name]]) / counts.margins[name].sum()
        for name in names
    ]
    joint, gap = fit_joint(margins, wanted)
    for axis, name in enumerate(names):
        joint = _spread(joint, axis, groups[name], shares[name])
    return joint, gap, hidden, cells


def _pair_cells(
    pair: Pair,
    counts: Counts,
    groups: Mapping[str, Groups],
    table: NDArray[np.float64],
    *,
    hide: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    names = [[JOINED.join(counts.levels[one][i] for i in group) for group in groups[one]] for one in pair]
    return [
        _cell(
            " x ".join(pair),
            f"{first} x {second}",
            value=float(table[i, j]) / counts.n,
            n=None if hide[i, j] else float(table[i, j]),
        )
        for i, first in enumerate(names[0])
        for j, second in enumerate(names[1])
    ]


def _spread(joint: NDArray[np.float64], axis: int, groups: Groups, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace the groups of an axis by their levels, each with its part of the group."""
    group_of, part = np.zeros(len(shares), dtype=np.int64), np.zeros(len(shares))
    for number, group in enumerate(groups):
        index, total = list(group), float(shares[list(group)].sum())
        group_of[index] = number
        part[index] = shares[index] / total if total > 0 else 0.0
    shape = [1] * joint.ndim
    shape[axis] = len(shares)
    spread: NDArray[np.float64] = joint.take(group_of, axis=axis) * part.reshape(shape)
    return spread


# -- risk factors ------------------------------------------------------------------------------------------------------


def _factors(
    counts: Counts, groups: Mapping[str, Groups], min_cell: int
) -> tuple[dict[str, float], dict[Pair, dict[str, float]], dict[Pair, tuple[str, ...]], list[dict[str, Any]]]:
    """Prevalences that may be shown, overall and by level."""
    prevalences: dict[str, float] = {}
    conditional: dict[Pair, dict[str, float]] = {}
    pools: dict[Pair, tuple[str, ...]] = {}
    cells: list[dict[str, Any]] = []
    for factor, n in counts.carriers.items():
        shown = min(n, counts.n - n) >= min_cell
        cells.append(_cell(RISK_FACTOR, factor, value=n / counts.n, n=n if shown else None))
        if not shown:
            continue
        prevalences[factor] = n / counts.n
        for name in counts.levels:
            if (factor, name) not in counts.carriers_by:
                continue
            found = _by_level(counts, factor, name, groups[name], min_cell)
            cells += found.cells
            if found.prevalence:
                conditional[factor, name] = found.prevalence
                pools[factor, name] = found.pooled
    return prevalences, conditional, pools, cells


@dataclass(frozen=True)
class _ByLevel:
    prevalence: dict[str, float]
    """Empty where nothing by level may be shown."""
    pooled: tuple[str, ...]
    cells: list[dict[str, Any]]


def _by_level(counts: Counts, factor: str, name: str, groups: Groups, min_cell: int) -> _ByLevel:
    """Prevalence in each level; levels of a pooled margin count as one."""
    levels = counts.levels[name]
    carriers = collapse(counts.carriers_by[factor, name], {0: groups})
    people = collapse(counts.margins[name], {0: groups})
    merged = pool_small(np.stack([carriers, people - carriers]), min_cell)
    pools: Groups = tuple(tuple(sorted(level for one in group for level in groups[one])) for group in merged)
    prevalence: dict[str, float] = {}
    cells: list[dict[str, Any]] = []
    for group, members in zip(merged, pools, strict=True):
        n, of = float(carriers[list(group)].sum()), float(people[list(group)].sum())
        place = f"{RISK_FACTOR}:{factor} by {name}"
        if len(merged) > 1:
            prevalence |= {levels[index]: n / of for index in members}
            cells.append(_cell(place, JOINED.join(levels[index] for index in members), value=n / of, n=n))
        if len(merged) == 1 or len(members) > 1:
            cells += [_cell(place, levels[index], value=None, n=None) for index in members]
    return _ByLevel(prevalence, _pool_names(levels, pools) if prevalence else (), cells)


def _odds_ratios(
    counts: Counts, shown: Mapping[str, float], min_cell: int
) -> tuple[dict[Pair, float], list[dict[str, Any]]]:
    """Odds ratios of two factors, where all four cells of their table may be shown and none is empty."""
    ratios: dict[Pair, float] = {}
    cells: list[dict[str, Any]] = []
    for a, b in combinations([name for name in counts.carriers if name in shown], 2):
        if (a, b) not in counts.carriers_both:
            continue
        both = counts.carriers_both[a, b]
        only_a, only_b = counts.carriers[a] - both, counts.carriers[b] - both
        neither = counts.n - both - only_a - only_b
        visible = min(both, only_a, only_b, neither) >= max(min_cell, 1)
        cells.append(_cell(RISK_FACTOR_PAIR, f"{a} x {b}", value=both / counts.n, n=both if visible else None))
        if visible:
            ratios[a, b] = both * neither / (only_a * only_b)
    return ratios, cells
