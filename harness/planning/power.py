"""How small a difference a recipe can see with its test set and train seeds: from a pilot's contrasts, or from guesses.

Reads `contrasts.parquet` alone: the standard errors stand there. What is found for the pilot is carried over to another
number of patients or seeds by `metrics/power.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, DataError
from harness.evaluation.contrasts import spread_of_row
from harness.metrics.power import POWER, detectable, patients_needed, seeds_needed
from harness.metrics.uncertainty import Spread
from harness.schemas.recipe import Recipe
from harness.schemas.tables import CONTRASTS
from harness.store import Run, read_rows

LEARNER, METRIC, EVERY_CLASS = "llm", "macro_f1", "all"
OVERALL = "overall"
OF_SEVERAL = "("  # names of effects and interactions begin with it
COLUMNS = ("where", "patients", "detectable")


@dataclass(frozen=True)
class Guess:
    """What is believed of a difference before any pilot.

    Attributes:
        patient_sd: Standard deviation over patients of the difference each would show alone, e.g. 0.3.
        seed_sd: Standard deviation over train seeds of the difference, e.g. 0.01; unused with one seed.
        n_patients: Test patients.
        n_seeds: Train seeds.
    """

    patient_sd: float
    seed_sd: float
    n_patients: int
    n_seeds: int


@dataclass(frozen=True)
class Power:
    """One place of a study, with the standard errors of a difference there."""

    where: str
    n_patients: int
    spread: Spread


def from_pilot(recipe: Recipe, folder: Path) -> list[Power]:
    """Overall and every subgroup level of a finished run; of several mixes the one whose difference is vaguest.

    Raises:
        DataError: No evaluation in the run folder.
        ConfigError: The run compared no mixes, or so few patients that no standard error stands there.
    """
    path = Run(recipe=recipe, folder=folder).path("evaluation", "contrasts.parquet")
    vaguest: dict[str, Power] = {}
    if not path.is_file():
        raise DataError(
            f"{path}: no such table; run `harness evaluate RECIPE` first, or give --patient-sd and --patients"
        )
    for row in read_rows(path, CONTRASTS):
        if _is_wanted(row):
            place = _power(row)
            if place.where not in vaguest or place.spread.total > vaguest[place.where].spread.total:
                vaguest[place.where] = place
    if not vaguest:
        raise ConfigError(
            f"{path}: no difference of two mixes in {METRIC} with a standard error; run a recipe with two mixes and "
            f"enough test patients, or give --patient-sd and --patients"
        )
    return sorted(vaguest.values(), key=lambda place: place.where != OVERALL)


def from_guess(guess: Guess) -> list[Power]:
    """The one place that guesses are about."""
    spread = Spread(
        patients=guess.patient_sd / guess.n_patients**0.5,
        seeds=guess.seed_sd / guess.n_seeds**0.5 if guess.n_seeds > 1 else 0.0,
        df_patients=max(1.0, guess.n_patients - 1),
        df_seeds=guess.n_seeds - 1,
    )
    return [Power(OVERALL, guess.n_patients, spread)]


def power_lines(
    places: Sequence[Power], *, confidence: float, difference: float | None, n_comparisons: int = 1
) -> Iterator[str]:
    """The table for people: what can be detected, and with `difference` how many patients or seeds that would take.

    Args:
        places: Where.
        confidence: Of the recipe's intervals.
        difference: To be found.
        n_comparisons: Tests in the family; Holm's procedure finds a difference that is the only one at the level over
            their number.
    """
    confidence = 1 - (1 - confidence) / n_comparisons
    n_seeds = places[0].spread.df_seeds + 1
    heads = [*COLUMNS, *(["patients needed", "seeds needed"] if difference is not None else [])]
    rows = [heads, *(_cells(place, confidence=confidence, difference=difference) for place in places)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        yield "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
    yield ""
    yield (
        f"detectable: smallest true difference in {METRIC} whose {100 * confidence:.4g}% interval leaves out zero "
        f"with probability {POWER:.0%}, {_compared(n_comparisons)}, {n_seeds} train seed{'s' if n_seeds != 1 else ''}"
    )
    if n_seeds == 1:
        yield "one train seed shows nothing of what a second training would change: take these as too small"
    if difference is not None:
        yield f"needed: for a difference of {difference:g}, changing patients or seeds alone; -: no number is enough"


def _compared(n: int) -> str:
    return "one comparison alone" if n == 1 else f"the only one among {n} comparisons"


def _is_wanted(row: Mapping[str, Any]) -> bool:
    names = (row["mix_a"], row["subgroup_level"])
    return (
        row["learner"] == LEARNER
        and row["metric"] == METRIC
        and row["class"] == EVERY_CLASS
        and not any(name.startswith(OF_SEVERAL) for name in names)
        and row["se_patients"] is not None
        and row["se_patients"] + row["se_seeds"] > 0
    )


def _power(row: Mapping[str, Any]) -> Power:
    is_overall = row["subgroup_variable"] == OVERALL
    where = OVERALL if is_overall else f"{row['subgroup_variable']}: {row['subgroup_level']}"
    return Power(where, row["n_patients"], spread_of_row(row))


def _cells(place: Power, *, confidence: float, difference: float | None) -> list[str]:
    cells = [place.where, str(place.n_patients), f"{detectable(place.spread, confidence=confidence):.3f}"]
    if difference is None:
        return cells
    patients = patients_needed(place.spread, place.n_patients, difference=difference, confidence=confidence)
    n_seeds = seeds_needed(place.spread, difference=difference, confidence=confidence)
    return [*cells, *("-" if number is None else f"{number:,}" for number in (patients, n_seeds))]
