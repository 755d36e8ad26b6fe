"""A run that learned nothing says so."""

from __future__ import annotations

import math

import pytest

from harness.training.health import health

FALLING = [3.0, 2.9, 3.1, 2.5, 2.0, 1.5, 1.2, 1.1, 1.0, 0.9]


def test_a_falling_loss_is_sound() -> None:
    assert health(FALLING, 4).as_notes() == {"status": "finished", "reason": None}


def test_a_loss_above_its_start_for_a_whole_epoch_has_diverged() -> None:
    """Start (1 + 2 + 3) / 3 = 2; updates 4 to 7 lie above it, four in all."""
    losses = [1.0, 2.0, 3.0, 2.1, 5.0, 2.5, 2.2, 1.0, 1.0]
    found = health(losses, 4)
    assert found.status == "diverged"
    assert found.reason == (
        "the loss lay above its start (2.0000) in 4 updates one after another, an epoch's worth, up to update 7"
    )
    assert health(losses, 5).status == "finished"
    assert health([1.0, 2.0, 3.0, 2.1, 5.0, 1.9, 2.2, 2.3, 1.0], 4).status == "finished"  # one update below in between


def test_a_loss_as_high_as_its_start_is_not_above_it() -> None:
    assert health([2.0] * 12, 3).status == "finished"


def test_a_run_shorter_than_an_epoch_is_judged_by_half_of_itself() -> None:
    rising = [1.0, 1.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    assert health(rising, 1000).status == "diverged"  # five above, and 8 // 2 = 4
    assert health([*rising[:6], 0.9, 0.9], 1000).status == "finished"  # three above


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_has_diverged(bad: float) -> None:
    found = health([1.0, bad, 0.5], 1)
    assert found.as_notes() == {"status": "diverged", "reason": f"the loss is {bad} at update 2 of 3"}


@pytest.mark.parametrize("n_updates", [1, 2, 3, 5])
def test_a_handful_of_updates_is_judged_by_its_numbers_alone(n_updates: int) -> None:
    assert health([1.0, 2.0, 3.0, 9.0, 9.0][:n_updates], 1).status == "finished"
