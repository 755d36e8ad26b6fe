import numpy as np
import pytest
from numpy.testing import assert_allclose

from harness.errors import ConfigError
from harness.raking import Target, rake

ROWS = np.array([0, 0, 1, 1])
COLUMNS = np.array([0, 1, 0, 1])


def target(name: str, group: np.ndarray, *wanted: float) -> Target:
    return Target(name, group, np.array(wanted), tuple(f"{name}{index}" for index in range(len(wanted))))


def test_a_flat_seed_gives_independence() -> None:
    joint = rake(np.ones(4), [target("row", ROWS, 0.3, 0.7), target("column", COLUMNS, 0.6, 0.4)])
    assert_allclose(joint, [0.18, 0.12, 0.42, 0.28], atol=1e-9)


def test_odds_ratios_of_the_seed_survive() -> None:
    seed = np.array([3.0, 1.0, 1.0, 2.0])  # odds ratio 6
    joint = rake(seed, [target("row", ROWS, 0.3, 0.7), target("column", COLUMNS, 0.6, 0.4)])
    assert joint[0] * joint[3] / (joint[1] * joint[2]) == pytest.approx(6.0, rel=1e-6)
    assert_allclose([joint[:2].sum(), joint[[0, 2]].sum()], [0.3, 0.6], atol=1e-6)


def test_conflicting_targets_are_named() -> None:
    targets = [
        target("row", ROWS, 0.3, 0.7),
        target("cell", np.arange(4), 0.4, 0.1, 0.2, 0.3),
        target("column", COLUMNS, 0.6, 0.4),
    ]
    with pytest.raises(ConfigError) as raised:
        rake(np.ones(4), targets)
    # The cells give 0.5 and 0.5 of the rows, and 0.6 and 0.4 of the columns: only row and cell disagree.
    message = str(raised.value)
    assert message.startswith("targets contradict each other: row wants 0.3000 of row0, the others leave 0.5000; cell ")
    assert "column" not in message


def test_a_group_that_nobody_can_be_in_is_named() -> None:
    with pytest.raises(ConfigError, match="row: wants people in row0, but the other targets leave nobody there"):
        rake(np.array([0.0, 0.0, 1.0, 1.0]), [target("row", ROWS, 0.3, 0.7)])
