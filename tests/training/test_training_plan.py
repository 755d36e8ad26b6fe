from __future__ import annotations

import pytest

from harness.errors import ConfigError
from harness.seeds import generator
from harness.training.plan import checkpoint_interval, order_rows, plan_batches


@pytest.mark.parametrize(
    ("global_batch", "n_processes", "at_most", "expected"),
    [
        (16, 1, 16, (16, 1)),
        (16, 2, 16, (8, 1)),
        (64, 2, 16, (16, 2)),
        (48, 2, 16, (12, 2)),  # 24 a process: 12 is its largest divisor up to 16
        (14, 2, 4, (1, 7)),
    ],
)
def test_the_largest_batch_that_fits_is_taken(
    global_batch: int, n_processes: int, at_most: int, expected: tuple[int, int]
) -> None:
    plan = plan_batches(global_batch, n_processes=n_processes, at_most=at_most)
    assert (plan.per_device_batch, plan.accumulation) == expected
    assert plan.n_processes * plan.per_device_batch * plan.accumulation == global_batch


def test_a_global_batch_that_cannot_be_shared_names_those_that_can() -> None:
    with pytest.raises(ConfigError, match="is 10, which 4 processes cannot share equally; set it to 8 or 12"):
        plan_batches(10, n_processes=4)


@pytest.mark.parametrize("at_most", [0, -4, "16"])
def test_a_per_device_batch_that_is_no_batch_is_refused(at_most: int) -> None:
    with pytest.raises(ConfigError, match=f"per_device_train_batch_size is {at_most!r}; give a whole number from 1"):
        plan_batches(16, n_processes=1, at_most=at_most)


def test_every_row_is_shown_exactly_once() -> None:
    order = order_rows(["a"] * 7 + ["b"] * 5, [0, 0, 0, 1, 1, 1, 2] + [0] * 5, rng=generator(1, "order"))
    assert sorted(order.tolist()) == list(range(12))


def test_passes_of_a_source_follow_each_other() -> None:
    passes = [0, 1, 2, 0, 1, 2, 0, 1, 2]
    order = order_rows(["a"] * 9, passes, rng=generator(1, "order"))
    assert [passes[row] for row in order] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_small_source_with_many_passes_is_spread_over_the_run() -> None:
    origins = ["small"] * 40 + ["large"] * 40
    passes = [i // 4 for i in range(40)] + [0] * 40  # ten passes of four rows beside one pass of forty
    order = order_rows(origins, passes, rng=generator(1, "order"))
    for begin in range(0, 80, 20):
        n_small = sum(origins[row] == "small" for row in order[begin : begin + 20])
        assert 8 <= n_small <= 12


def test_order_depends_on_the_seed_alone() -> None:
    rows = (["a", "b"] * 20, [0] * 40)
    one = order_rows(*rows, rng=generator(1, "order", "seed_0"))
    assert one.tolist() == order_rows(*rows, rng=generator(1, "order", "seed_0")).tolist()
    assert one.tolist() != order_rows(*rows, rng=generator(1, "order", "seed_1")).tolist()


@pytest.mark.parametrize(("updates", "expected"), [(1, 1), (4, 1), (48, 12), (50, 13)])
def test_a_run_has_about_four_checkpoints(updates: int, expected: int) -> None:
    assert checkpoint_interval(updates) == expected
