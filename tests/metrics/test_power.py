from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness import seeds
from harness.metrics.power import detectable, patients_needed, rescaled, seeds_needed
from harness.metrics.uncertainty import Spread, half_width, spread_of


def test_hand_computed_with_one_seed() -> None:
    # (t_0.975 + t_0.8) * se with 49 degrees of freedom = (2.0096 + 0.8492) * 0.02
    spread = Spread(0.02, 0.0, 49, 0)
    assert detectable(spread) == pytest.approx((2.0096 + 0.8492) * 0.02, abs=1e-5)


def test_more_patients_and_seeds_shrink_their_own_part_alone() -> None:
    spread = Spread(0.02, 0.01, 49, 2)
    more = rescaled(spread, patients=4)
    assert (more.patients, more.seeds, more.df_patients, more.df_seeds) == (0.01, 0.01, 199, 2)
    again = rescaled(spread, n_seeds=12)
    assert (again.patients, again.seeds, again.df_seeds) == (0.02, 0.005, 11)


def test_needed_is_the_first_number_that_is_enough() -> None:
    spread = Spread(0.02, 0.004, 49, 2)
    n = patients_needed(spread, 50, difference=0.04)
    assert n is not None
    assert detectable(rescaled(spread, patients=n / 50)) <= 0.04 < detectable(rescaled(spread, patients=(n - 1) / 50))
    n = seeds_needed(spread, difference=0.06)
    assert n is not None
    assert detectable(rescaled(spread, n_seeds=n)) <= 0.06 < detectable(rescaled(spread, n_seeds=n - 1))


def test_what_the_other_part_forbids_needs_no_number() -> None:
    assert patients_needed(Spread(0.02, 0.02, 49, 2), 50, difference=0.03) is None  # seeds alone take more
    assert seeds_needed(Spread(0.02, 0.02, 49, 2), difference=0.03) is None  # so do patients
    assert seeds_needed(Spread(0.02, 0.0, 49, 0), difference=0.03) is None
    assert seeds_needed(Spread(0.02, 0.0, 49, 0), difference=0.3) == 1


@pytest.mark.parametrize(("n_seeds", "seed_sd"), [(1, 0.0), (6, 0.02)])
def test_a_detectable_difference_is_found_in_about_four_of_five_studies(n_seeds: int, seed_sd: float) -> None:
    """Patients and seeds are normal here, so that the formula's own standard errors are known."""
    n_patients, patient_sd = 40, 0.2
    spread = Spread(
        patient_sd / np.sqrt(n_patients), seed_sd / np.sqrt(n_seeds) if n_seeds > 1 else 0.0, 39, n_seeds - 1
    )
    aim = detectable(spread)
    found = []
    for index in range(400):
        rng = seeds.generator(0, "test_power", str(n_seeds), str(index))
        shown = aim + rng.normal(0, patient_sd, (n_patients, 1)) + rng.normal(0, seed_sd, n_seeds)
        drawn = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=200) / n_patients
        seen = spread_of(drawn @ shown, shown.mean(axis=0), n_patients=n_patients, n_effective=n_patients)
        found.append(abs(shown.mean()) > half_width(seen, 0.95))
    low, high = stats.binom.interval(0.999, 400, 0.8)
    assert low - 12 <= sum(found) <= high + 12  # the rule adds two approximations of 3% at most
