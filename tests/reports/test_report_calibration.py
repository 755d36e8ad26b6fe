from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.reports.calibration import calibration_section, diagram, x_position, y_position
from harness.reports.inputs import Inputs


def bin_row(bin_index: int, *, confidence: float, right: float, n: int = 10, **changes: Any) -> Mapping[str, Any]:
    return {"probability": "as_scored", "train_seed": "0", "bin": bin_index, "n": n, "confidence": confidence,
            "right": right, **changes}  # fmt: skip


def test_positions_run_over_the_frame_and_the_diagonal_is_straight() -> None:
    assert [x_position(value) for value in (0, 0.5, 1)] == [30, 111, 192]  # 30 + value * (200 - 30 - 8)
    assert [y_position(value) for value in (0, 0.5, 1)] == [174, 91, 8]  # 174 - value * (200 - 26 - 8)


def test_a_line_per_seed_and_kind_as_scored_first_bins_in_order() -> None:
    rows = [
        bin_row(0, confidence=0.5, right=0.5, probability="scaled"),
        bin_row(1, confidence=1.0, right=0.0, n=12),
        bin_row(0, confidence=0.5, right=0.5),
        bin_row(0, confidence=0.5, right=1.0, train_seed="1"),
    ]
    found = diagram("gold", 0, rows, words="")
    assert [curve.kind for curve in found.curves] == ["as_scored", "as_scored", "scaled"]
    assert found.curves[0].points == "111.0,91.0 192.0,174.0"
    assert found.curves[0].dots[1].words == "as scored, seed 0: 1.00 sure, 0.00 right, 12 sentences"
    assert found.counts == "2 bins of 10 to 12 sentences"


def test_every_learner_but_the_floor_has_a_table_and_levels_are_drawn_of_the_model(inputs: Inputs) -> None:
    model, counted = calibration_section(inputs)["learners"]
    assert (model["learner"], counted["learner"]) == ("llm", "tfidf")
    assert [row["mix"] for row in model["rows"]] == list(inputs.mixes)
    assert [(part["variable"], [level["title"] for level in part["levels"]]) for part in model["by_level"]] == [
        ("sex", ["Female", "Male"]),
        ("stage", ["Mild"]),  # of severe there are too few
    ]
    assert counted["by_level"] == [] and len(counted["diagrams"]) == len(inputs.mixes)
    assert model["diagrams"][0].words == "ECE 0.120, scaled 0.050"


def test_without_a_validation_split_nothing_is_called_scaled(inputs: Inputs) -> None:
    metrics = [
        {**row, "value": None, "status": "undefined", "reason": "no validation sentences"}
        if row["metric"] == "ece_scaled"
        else row
        for row in inputs.metrics
    ]
    bins = [row for row in inputs.reliability if row["probability"] == "as_scored"]
    found = calibration_section(replace(inputs, metrics=metrics, reliability=bins, temperatures=()))["learners"][0]
    assert found["diagrams"][0].words == "ECE 0.120"
    assert {curve.kind for curve in found["diagrams"][0].curves} == {"as_scored"}
    assert found["rows"][0]["cells"][1]["words"] == "undefined: no validation sentences"
    assert found["rows"][0]["temperatures"] == []


def test_a_run_with_neither_bins_nor_scores_has_no_section(inputs: Inputs) -> None:
    bare = replace(inputs, metrics=(), reliability=(), temperatures=())
    assert calibration_section(bare)["learners"] == []


@pytest.mark.parametrize("n_bins", [1, 10])
def test_counts_speak_of_one_bin_or_many(n_bins: int) -> None:
    rows = [bin_row(index, confidence=0.5, right=0.5) for index in range(n_bins)]
    assert diagram("gold", 0, rows, words="").counts == ("1 bin" if n_bins == 1 else "10 bins") + " of 10 sentences"
