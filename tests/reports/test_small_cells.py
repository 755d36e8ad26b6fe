"""An attacker who adds and subtracts learns nothing of a hidden cell; the statistics are those of invented patients."""

from itertools import product

import numpy as np
import pytest
from invented_run import LABELS, LEVELS, make_recipe
from scipy.linalg import null_space

from harness import seeds
from harness.cohort.statistics import gold_statistics
from harness.reports.small_cells import ALL, OVERALL, Cell, hidden_cells
from harness.reports.suppression import find_hidden

LIMIT = 11
TOTAL = Cell(OVERALL, ALL, ALL)


def margin(**counts: int) -> dict[Cell, int]:
    """One variable, `stage`, whose levels hold these patients, each with one level; no classes."""
    return {TOTAL: sum(counts.values()), **{Cell("stage", level, ALL): n for level, n in counts.items()}}


def levels(hidden: frozenset[Cell]) -> set[str]:
    return {cell.level for cell in hidden}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"mild": 30, "moderate": 20, "severe": 11}, set()),
        ({"mild": 30, "moderate": 20, "severe": 10}, {"severe", "moderate"}),  # 61 - 30 - 20 would tell severe
        ({"mild": 30, "moderate": 6, "severe": 5}, {"severe", "moderate"}),  # 11 patients together
        ({"mild": 30, "moderate": 5, "severe": 5}, {"severe", "moderate", "mild"}),  # 10 are too few together
        ({"mild": 30, "moderate": 20, "severe": 0}, {"severe", "moderate"}),  # nobody is a small number
    ],
)
def test_a_small_level_takes_the_next_smallest_with_it(counts: dict[str, int], expected: set[str]) -> None:
    assert levels(hidden_cells(margin(**counts), LIMIT)) == expected


def test_patients_with_several_levels_are_not_counted_twice() -> None:
    """Nine and eight patients may be the same nine, so that the two levels together do not rest on seventeen."""
    counts = {
        TOTAL: 35,
        Cell("stage", "mild", ALL): 33,
        Cell("stage", "moderate", ALL): 9,
        Cell("stage", "severe", ALL): 8,
    }
    assert levels(hidden_cells(counts, LIMIT)) == {"mild", "moderate", "severe"}


def test_everything_of_a_hidden_level_and_a_hidden_class_is_hidden() -> None:
    counts = margin(mild=40, moderate=20, severe=6)
    for label, n in (("memory", 60), ("function", 50), ("worry", 40), ("other", 4)):
        counts[Cell(OVERALL, ALL, label)] = n
        counts |= {Cell("stage", level, label): n // 3 for level in ("mild", "moderate", "severe")}
    hidden = hidden_cells(counts, LIMIT)
    assert {cell for cell in hidden if cell.label == ALL} == {
        Cell("stage", "severe", ALL),
        Cell("stage", "moderate", ALL),
    }
    assert {cell.label for cell in hidden if cell.variable == OVERALL} == {"other", "worry"}
    assert {
        cell for cell in counts if cell.level in ("severe", "moderate") or cell.label in ("other", "worry")
    } <= hidden


def test_a_bridge_between_two_rectangles_is_not_left_open() -> None:
    """Rows and columns that each hide two cells or more can still determine one: here the cell (c, 3).

    Rectangles (a, b) x (1, 2) and (d, e) x (4, 5) are hidden. (c, 3) joins them through (c, 1) and (d, 3): rows and
    columns of both hold two or more, but summing one side of the bridge leaves it alone.
    """
    labels, places = "12345", "abcde"
    small = {*product("ab", "12"), *product("de", "45"), ("c", "1"), ("c", "3"), ("d", "3")}
    counts = {Cell("v", level, label): 5 if (level, label) in small else 50 for level, label in product(places, labels)}
    counts |= {Cell("v", level, ALL): 200 for level in places} | {Cell(OVERALL, ALL, label): 200 for label in labels}
    counts[TOTAL] = 1000
    hidden = hidden_cells(counts, LIMIT)
    assert not list(exposed(counts, hidden))


def exposed(counts: dict[Cell, int], hidden: frozenset[Cell]) -> list[Cell]:
    """The attack: every sum there is, solved for the hidden cells; those that can take one value only.

    Written apart from the code under test, cell by cell from the meaning of a cell.
    """
    unknown = sorted(hidden)
    rows = []
    for cell in counts:
        if cell.label == ALL:
            parts = [one for one in counts if one[:2] == cell[:2] and one.label != ALL]
            rows += [equation(parts, cell, unknown)] if parts else []
        if cell.variable == OVERALL:
            for variable in {one.variable for one in counts} - {OVERALL}:
                parts = [one for one in counts if (one.variable, one.label) == (variable, cell.label)]
                rows += [equation(parts, cell, unknown)] if parts else []
    if not unknown:
        return []
    free = null_space(np.array(rows))
    return [cell for cell, directions in zip(unknown, free, strict=True) if np.allclose(directions, 0)]


def equation(parts: list[Cell], total: Cell, unknown: list[Cell]) -> list[float]:
    return [float(cell in parts) - float(cell == total) for cell in unknown]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory):
    return make_recipe(tmp_path_factory.mktemp("task"), arms=()).task


@pytest.mark.parametrize("draw", range(12))
def test_no_hidden_cell_of_invented_patients_follows_from_what_is_shown(task, draw: int) -> None:
    rng = seeds.generator(3, "small-cells", str(draw))
    statistics = gold_statistics(list(patients(rng, n=int(rng.integers(30, 150)))), task)
    hidden = find_hidden(statistics, LIMIT)
    had = {row["label"] for row in statistics if row["variable"] == OVERALL and row["n_patients"]}
    for split in ("train", "validation", "test"):
        rows = [row for row in statistics if row["split"] == split and row["label"] in had]
        n_patients = {Cell(row["variable"], row["level"], row["label"]): row["n_patients"] for row in rows}
        cells = hidden.cells[split]
        assert {cell for cell, n in n_patients.items() if n < LIMIT} <= cells
        assert not exposed(n_patients, cells)
        for variable, names in LEVELS.items():
            unseen = [cell for level in names if (cell := Cell(variable, level, ALL)) in cells]
            if unseen and TOTAL not in cells:
                assert sum(n_patients[cell] for cell in unseen) >= LIMIT
    assert 0 < sum(map(len, hidden.cells.values())) < 3 * len(hidden.known)


def test_a_level_and_a_class_that_nobody_has_hide_nothing(task) -> None:
    """Both are declared and empty in every split; their zeros are no secret, and take no partner with them."""
    rows = [
        {"sentence_id": f"{i}", "patient_id": f"{i}", "split": "test", "sex": ("male", "female")[i % 2], "stage": "mild",
         "label": list(LABELS)[i // 2 % 3]}
        for i in range(120)
    ]  # fmt: skip
    hidden = find_hidden(gold_statistics(rows, task), LIMIT)
    assert not hidden.cells["test"]
    assert not hidden.cell("test", "stage", "severe")
    assert hidden.cell("test", "handedness", "left")  # of which the statistics know nothing


def patients(rng: np.random.Generator, n: int):
    """Sentences of patients with a sex, a stage that may change, and classes some of which are rare."""
    shares = rng.dirichlet([2.0, 2.0, 1.0, 0.3])
    for patient in range(n):
        split = ("train", "test", "validation")[min(2, int(rng.integers(0, 5)) // 2)]
        sex = "male" if rng.random() < 0.2 else "female"
        for number in range(int(rng.integers(1, 8))):
            yield {
                "sentence_id": f"{patient}-{number}", "patient_id": str(patient), "split": split, "sex": sex,
                "stage": "severe" if rng.random() < 0.15 else "mild",
                "label": list(LABELS)[int(rng.choice(4, p=shares))],
            }  # fmt: skip
