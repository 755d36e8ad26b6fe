import math

import pytest

from harness.reports import plots, wording


def test_a_difference_axis_is_symmetric_and_holds_every_value() -> None:
    for values in ([0.013, -0.2], [0.004], [-0.97, 0.5], [], [0.0]):
        axis = plots.difference_axis(values)
        assert axis.low == -axis.high
        assert all(axis.low <= value <= axis.high for value in values)
        assert 0.0 in axis.ticks
        assert axis.x(0) == plots.CELL_WIDTH / 2


def test_positions_run_from_margin_to_margin() -> None:
    axis = plots.share_axis()
    assert [axis.x(value) for value in (0, 0.5, 1)] == [12.0, 100.0, 188.0]
    assert axis.x(1.7) == axis.x(1)


@pytest.mark.parametrize(("span", "step"), [(1.0, 0.5), (2.0, 0.5), (0.3, 0.1), (40, 10), (100, 50)])
def test_steps_are_one_two_or_five_times_a_power_of_ten(span: float, step: float) -> None:
    assert plots.nice_step(span) == pytest.approx(step)


def test_smoothing_keeps_a_straight_line_and_the_length() -> None:
    line = [3.0 - 0.1 * index for index in range(25)]
    assert plots.smooth(line) == pytest.approx(line)
    assert plots.smooth([1.0]) == [1.0]


def test_smoothing_means_five_neighbours() -> None:
    # index 2 sees all five: (1 + 2 + 9 + 2 + 1) / 5 = 3; the ends see themselves
    assert plots.smooth([1.0, 2.0, 9.0, 2.0, 1.0]) == pytest.approx([1.0, 4.0, 3.0, 4.0, 1.0])


def test_panels_share_their_axes_and_leave_out_what_is_not_finite() -> None:
    curves = [
        ("gold", 0, [1, 2, 3], [2.0, math.nan, 1.0]),
        ("gold", 1, [1, 2, 3], [2.0, 1.5, 1.2]),
        ("b", 0, [1], [math.inf]),
    ]
    (panel,) = plots.loss_panels(curves, ["gold", "b"])
    assert [line.seed for line in panel.lines] == [0, 1]
    assert len(panel.lines[0].raw.split()) == 2
    assert plots.loss_panels([], ["gold"]) == []


def test_long_curves_are_thinned() -> None:
    steps = list(range(1, 10_001))
    (panel,) = plots.loss_panels([("gold", 0, steps, [1.0] * len(steps))], ["gold"])
    assert len(panel.lines[0].smooth.split()) <= plots.MAX_POINTS


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0404, "+0.040"), (-0.5, "\u22120.500"), (0.0001, "0.000"), (-0.0001, "0.000"), (None, "\u2014")],
)
def test_signs_are_shown_where_a_number_has_one(value: float | None, text: str) -> None:
    assert wording.signed(value) == text


def test_families_are_said_in_words() -> None:
    assert wording.family_words("holm:f1 per class overall, llm (12 tests)") == (
        "F1 per class overall, llm (12 tests): adjusted by Holm's procedure"
    )
    assert wording.family_words("something else") == "something else"


def test_durations_are_said_in_the_unit_that_reads_best() -> None:
    assert [wording.seconds(value) for value in (3.21, 75, 3700)] == ["3.2 s", "1 min 15 s", "1 h 01 min"]
