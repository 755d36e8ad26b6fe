"""Who writes a persona's notes, in which style; and how unevenly notes fall on the years."""

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.alignment.semantic import draw_visits
from harness.schemas.documentation import STYLES
from harness.schemas.marks import Number
from harness.schemas.task import load_task
from harness.schemas.trajectory import Counts, Trajectory, load_trajectory
from harness.seeds import generator

N = 250
SIGMA = 4.0
Table = list[dict[str, Any]]


def number(v: float) -> Number:
    return Number(v=v, status="assumed", check="none", src="own")


@pytest.fixture(scope="module")
def shipped_trajectory() -> Trajectory:
    task = load_task("alzheimers", base=Path())
    return load_trajectory(task.folder / "trajectory.yaml", task)


@pytest.fixture(scope="module")
def drawn(shipped_trajectory: Trajectory) -> list[Table]:
    return [draw_visits(shipped_trajectory, f"p{seed}", generator(seed, "visits")).to_pylist() for seed in range(N)]


def test_an_author_keeps_to_one_type_and_one_style(shipped_trajectory: Trajectory, drawn: list[Table]) -> None:
    assert shipped_trajectory.documentation is not None
    pool = shipped_trajectory.documentation.authors.values
    styles: dict[str, set[str]] = defaultdict(set)
    for rows in drawn:
        of_type: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            assert row["author_id"].startswith(f"{row['persona_id']}.{row['note_type']}.")
            styles[row["author_id"]].add(row["style"])
            of_type[row["note_type"]].add(row["author_id"])
        assert all(len(found) <= pool[note_type] for note_type, found in of_type.items())
    assert all(len(found) == 1 for found in styles.values())
    assert {style for found in styles.values() for style in found} == set(STYLES)


def test_styles_have_their_shares_among_authors(shipped_trajectory: Trajectory, drawn: list[Table]) -> None:
    style_of = {row["author_id"]: row["style"] for rows in drawn for row in rows}
    found = list(style_of.values())
    assert shipped_trajectory.documentation is not None
    for style, share in shipped_trajectory.documentation.style_share.values.items():
        error = np.sqrt(share * (1 - share) / len(found))  # authors are independent
        assert abs(found.count(style) / len(found) - share) < SIGMA * error


@pytest.mark.parametrize(("note_type", "expected"), [("primary_care", 0.75), ("emergency", 0.75)])
def test_the_next_note_of_a_type_is_by_the_same_author_as_often_as_declared(
    drawn: list[Table], note_type: str, expected: float
) -> None:
    same = []
    for rows in drawn:
        authors = [row["author_id"] for row in rows if row["note_type"] == note_type]
        same += [one == following for one, following in itertools.pairwise(authors)]
    assert len(same) > 1000
    assert abs(np.mean(same) - expected) < SIGMA * np.sqrt(expected * (1 - expected) / len(same))


def test_a_type_with_one_author_has_always_the_same(shipped_trajectory: Trajectory) -> None:
    documentation = shipped_trajectory.documentation
    assert documentation is not None
    one = documentation.authors.model_copy(update={"values": dict.fromkeys(documentation.authors.values, 1)})
    update = {"documentation": documentation.model_copy(update={"authors": one, "continuity": number(0)})}
    rows = draw_visits(shipped_trajectory.model_copy(update=update), "p", generator(0, "one")).to_pylist()
    assert len({row["author_id"] for row in rows}) == len({row["note_type"] for row in rows}) > 3


def test_without_documentation_visits_have_neither_and_are_otherwise_the_same(
    shipped_trajectory: Trajectory, drawn: list[Table]
) -> None:
    bare = shipped_trajectory.model_copy(update={"documentation": None})
    rows = draw_visits(bare, "p3", generator(3, "visits")).to_pylist()
    assert {(row["author_id"], row["style"]) for row in rows} == {(None, None)}
    assert rows == [{**row, "author_id": None, "style": None} for row in drawn[3]]


def yearly_counts(trajectory: Trajectory, n: int) -> np.ndarray[Any, Any]:
    """Notes in each whole year of one stage (years -7 to -3), boundaries not jittered; shape (n x 4,)."""
    still = trajectory.model_copy(update={"stage_jitter_years": number(0)})
    found = []
    for seed in range(n):
        table: pa.Table = draw_visits(still, "p", generator(seed, "counts"))
        years = np.floor(-(table["days_before_diagnosis"].to_numpy() + 0.5) / 365.25).astype(int)
        found.append([np.count_nonzero(years == year) for year in range(-7, -3)])
    return np.concatenate(found)


def variance_error(counts: np.ndarray[Any, Any]) -> float:
    """Standard error of the sample variance, from the sample's own fourth moment."""
    return float(((counts - counts.mean()) ** 2).std() / np.sqrt(len(counts)))


def test_notes_a_year_are_overdispersed_as_declared(shipped_trajectory: Trajectory) -> None:
    counts = yearly_counts(shipped_trajectory, N)
    # mean 10, size 3: variance 10 + 10^2 / 3 = 43.3
    assert counts.mean() == pytest.approx(10, abs=SIGMA * np.sqrt(43.3 / len(counts)))
    assert counts.var(ddof=1) == pytest.approx(10 + 100 / 3, abs=SIGMA * variance_error(counts))


def test_poisson_notes_are_not(shipped_trajectory: Trajectory) -> None:
    poisson = Counts(by_stage=shipped_trajectory.notes_per_year.by_stage, dist="poisson")
    counts = yearly_counts(shipped_trajectory.model_copy(update={"notes_per_year": poisson}), N)
    assert counts.var(ddof=1) == pytest.approx(10, abs=SIGMA * variance_error(counts))
