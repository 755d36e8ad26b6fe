"""How small a difference can a study see, and how large must it be to see a given one?

Everything follows from the two standard errors of a difference: the patients' shrinks with the root of the number of
patients, the seeds' with that of train seeds. The rule is the interval's own (`uncertainty.half_width`), so that "can
be detected" means "its interval would leave out zero", with the wished probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.metrics.uncertainty import Spread, half_width

POWER = 0.8  # the convention: Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed. (1988), sec. 2.4
MAX_PATIENTS = 1_000_000
MAX_SEEDS = 1000


def detectable(spread: Spread, *, confidence: float = 0.95, power: float = POWER) -> float:
    """Smallest true difference whose interval leaves out zero with probability `power`.

    Args:
        spread: Of the difference as the study measures it; without a reason.
        confidence: Of the interval.
        power: Wished probability.

    Returns:
        On the scale of the difference.

    Source: Bloom, Minimum detectable effects, Evaluation Review 19 (1995) 547-556: the sum of two t quantiles times the
    standard error; here the two parts of the interval keep their own degrees of freedom.
    """
    return half_width(spread, confidence) + half_width(spread, 2 * power - 1)


def rescaled(spread: Spread, *, patients: float = 1.0, n_seeds: int | None = None) -> Spread:
    """What the spread would be in a larger study.

    Args:
        spread: As measured.
        patients: Times as many patients.
        n_seeds: Train seeds there would be; None leaves them as they are.
    """
    now = spread.df_seeds + 1
    wanted = now if n_seeds is None else n_seeds
    return replace(
        spread,
        patients=spread.patients / patients**0.5,
        df_patients=max(1.0, (spread.df_patients + 1) * patients - 1),
        seeds=spread.seeds * (now / wanted) ** 0.5,
        taken_off=spread.taken_off * now / wanted / patients,
        df_seeds=max(0, wanted - 1),
    )


def patients_needed(spread: Spread, n_patients: int, *, difference: float, confidence: float = 0.95) -> int | None:
    """Patients with which `difference` is detectable at POWER, the train seeds as they are; None where no number is."""

    def is_enough(n: int) -> bool:
        return detectable(rescaled(spread, patients=n / n_patients), confidence=confidence) <= difference

    return _smallest(is_enough, low=2, high=MAX_PATIENTS)


def seeds_needed(spread: Spread, *, difference: float, confidence: float = 0.95) -> int | None:
    """Train seeds with which `difference` is detectable at POWER, the patients as they are; None where no number is.

    A spread of one train seed says nothing of seeds: there the answer is 1, or None.
    """

    def is_enough(n: int) -> bool:
        return detectable(rescaled(spread, n_seeds=n), confidence=confidence) <= difference

    if spread.seeds == 0:
        now = spread.df_seeds + 1
        return now if is_enough(now) else None
    return _smallest(is_enough, low=2, high=MAX_SEEDS)


def _smallest(is_enough: Callable[[int], bool], *, low: int, high: int) -> int | None:
    """The first number that is enough, where every larger one is too."""
    if not is_enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low
