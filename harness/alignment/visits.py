"""When a persona's notes are written, of which type, by whom and in which style. Pure.

Legend: S stages, D domains, T lexicon terms, N notes of one persona.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.schemas.documentation import Documentation
from harness.schemas.trajectory import Counts, Trajectory

DAYS_PER_YEAR = 365.25


def stage_edges(trajectory: Trajectory, rng: np.random.Generator) -> NDArray[np.float64]:
    """Start of every stage and the end of the last, shape (S + 1,), jittered, in order and inside the window."""
    start, end = trajectory.time_axis.window
    inner = np.array(trajectory.boundaries, dtype=np.float64)
    inner = np.sort(inner + rng.normal(0.0, trajectory.stage_jitter_years.v, size=len(inner)))
    return np.concatenate([[start], np.clip(inner, start, end), [end]])


def note_years(trajectory: Trajectory, edges: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Moments of the notes in years relative to the diagnosis, shape (N,), sorted, before the window's end."""
    start, end = trajectory.time_axis.window
    rate = by_stage(trajectory, trajectory.notes_per_year)
    moments: list[NDArray[np.float64]] = []
    for year in np.arange(start, end):
        inside = np.clip(edges, year, min(year + 1, end))  # (S + 1,), the year cut into its stages
        expected = rate * np.diff(inside)  # notes of this year by stage, (S,)
        n_notes = int(draw_counts(trajectory.notes_per_year, np.array([expected.sum()]), rng)[0])
        stage = _choose(list(range(len(rate))), expected, n_notes, rng).astype(np.int64)
        moments.append(inside[stage] + rng.random(n_notes) * np.diff(inside)[stage])
    return np.sort(np.concatenate(moments)) if moments else np.empty(0)


def note_types(trajectory: Trajectory, stage: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.object_]:
    """Type of each note by the shares of its stage, shape (N,)."""
    found = np.empty(len(stage), dtype=object)
    for index, stage_id in enumerate(trajectory.stage_ids):
        shares = trajectory.note_type_share[stage_id].values
        where = np.flatnonzero(stage == index)
        found[where] = _choose(list(shares), np.array(list(shares.values())), len(where), rng)
    return found


def authors(
    documentation: Documentation, persona_id: str, types: NDArray[np.object_], rng: np.random.Generator
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Author and style of each note.

    Every note type has its own few authors. The next note of a type is by the same one with the declared probability,
    else by one of the others, all alike. An author's style is drawn once, so styles have their shares in expectation.

    Args:
        documentation: Styles, authors by note type and continuity.
        persona_id: Part of the ids, because nobody is known to write for two patients.
        types: Note types in order of time, shape (N,).
        rng: The persona's own stream.

    Returns:
        `author_id` and `style`, shape (N,) each.
    """
    author_id, style = np.empty(len(types), dtype=object), np.empty(len(types), dtype=object)
    shares = documentation.style_share.values
    for note_type, n_authors in documentation.authors.values.items():
        where = np.flatnonzero(types == note_type)
        n = int(n_authors)
        styles = _choose(list(shares), np.array(list(shares.values())), n, rng)
        step = rng.integers(1, n, size=len(where)) if n > 1 else np.zeros(len(where), dtype=np.int64)
        step[rng.random(len(where)) < documentation.continuity.v] = 0
        author = np.cumsum(step) % n
        author_id[where] = [f"{persona_id}.{note_type}.{one}" for one in author]
        style[where] = styles[author]
    return author_id, style


def by_stage(trajectory: Trajectory, counts: Counts) -> NDArray[np.float64]:
    return np.array([counts.by_stage[stage].v for stage in trajectory.stage_ids])


def draw_counts(counts: Counts, mean: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Poisson or negative binomial counts around `mean`; the latter as a Poisson with gamma-distributed rate."""
    if counts.dispersion is not None:
        size = counts.dispersion.v
        mean = rng.gamma(size, mean / size)
    return rng.poisson(mean).astype(np.int64)


def _choose(
    options: list[int] | list[str], shares: NDArray[np.float64], n: int, rng: np.random.Generator
) -> NDArray[np.object_]:
    chosen: NDArray[np.object_] = np.array(options, dtype=object)
    if n == 0:
        return chosen[:0]
    return chosen[rng.choice(len(options), size=n, p=shares / shares.sum())]
