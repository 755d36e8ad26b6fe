"""Plan against annotator on the page: numbers with intervals, and reasons where there are none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.reports import page, stage
from harness.reports.agreement import agreement_section, band
from harness.reports.leaderboard import leaderboard_rows
from harness.schemas.arms import Annotation
from harness.schemas.tables import AGREEMENT
from harness.store import Run, write_table


def row(name: str, kappa: float | None, **more: Any) -> dict[str, Any]:
    status = "ok" if kappa is not None else "undefined"
    return {"class": name, "n": 40, "n_planned": 12, "n_annotated": 10, "n_both": 9, "kappa": kappa, "status": status,
            "ci_low": None, "ci_high": None, "reason": None, **more}  # fmt: skip


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    run = make_run(arms=("unguided", "dualalign"))
    rows = [row("all", 0.634, n_both=31, ci_low=0.5, ci_high=0.75), row("memory", 0.712), row("function", -0.021),
            row("worry", None, reason="no item was labelled twice"), row("other", 0.0)]  # fmt: skip
    write_table(run.path("annotation", "dualalign", "agreement.parquet"), rows, AGREEMENT)
    annotation = Annotation.model_validate({
        "labels": "llm", "votes": 3, "path": "/secret/folder/labels.csv",
        "backend": {"kind": "openai_api", "base_url": "http://localhost:1/v1", "model": "judge-1"},
    })  # fmt: skip
    file = run.recipe.file.model_copy(update={"annotation": annotation})
    return replace(run, recipe=run.recipe.model_copy(update={"file": file}))


def test_the_page_tells_how_far_plan_and_annotator_agree(run: Run) -> None:
    inputs = stage.read_inputs(run)
    html = page.report_page(inputs, leaderboard_rows(inputs))
    for part in (
        "Plan against annotator", "judge-1, 3 votes a sentence", "31 of 40", "0.63 [0.50, 0.75]<small>substantial</small>",
        "\u22120.02 <small>poor</small>", "no item was labelled twice", "0.00 <small>slight</small>", "agreement.csv",
    ):  # fmt: skip
        assert part in html
    assert "/secret" not in html
    assert "labels.csv" in html
    assert run.path("annotation", "dualalign", "agreement.parquet") in stage.input_files(run)


def test_only_arms_that_somebody_judged_are_shown(run: Run) -> None:
    section = agreement_section(stage.read_inputs(run))
    assert [one["arm"] for one in section["rows"]] == ["dualalign"]
    assert len(section["rows"][0]["cells"]) == len(section["labels"]) == 4


def test_without_an_annotator_the_page_says_nothing_of_agreement(make_run: Callable[..., Run], tmp_path: Path) -> None:
    inputs = stage.read_inputs(make_run(arms=("unguided",)))
    assert "Plan against annotator" not in page.report_page(inputs, leaderboard_rows(inputs))


@pytest.mark.parametrize(
    ("kappa", "word"),
    [(-0.1, "poor"), (0, "slight"), (0.2, "slight"), (0.21, "fair"), (0.8, "substantial"), (1, "almost perfect")],
)
def test_words_of_kappa_are_those_of_their_source(kappa: float, word: str) -> None:
    assert band(kappa) == word
