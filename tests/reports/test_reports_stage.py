from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.errors import ConfigError, DataError
from harness.reports import stage
from harness.schemas.tables import METRICS
from harness.store import Run, clear_unit, fingerprint, hash_inputs, hash_outputs, write_table


def unit_of(run: Run) -> stage.Unit:
    (unit,) = stage.units(run)
    return unit


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def test_the_unit_is_known_before_its_inputs_are(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = Run(recipe=make_run().recipe, folder=tmp_path / "nothing")
    unit = unit_of(run)
    assert unit.outputs == (
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "ablation.md",
        "fidelity.csv",
        "fidelity.md",
        "report.html",
    )
    with pytest.raises(DataError, match=r"gold\.parquet: missing; run `harness cohort RECIPE` first"):
        hash_inputs(run, unit.inputs)


def test_work_writes_what_the_unit_promises_and_nothing_for_a_disabled_tracker(
    make_run: Callable[..., Run], quiet: None
) -> None:
    run = make_run()
    unit, folder = unit_of(run), run.path("reports")
    folder.mkdir()
    counts = unit.work(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(unit.outputs)
    assert counts.rows_out == 3 * 3  # mixes x learners
    assert counts.notes["wandb"] == {"mode": "disabled", "n_runs": 0}


def test_tables_decide_the_reports_byte_for_byte(make_run: Callable[..., Run], quiet: None) -> None:
    hashes = []
    for name in ("one", "two"):
        run = make_run(name)
        folder = run.path("reports")
        folder.mkdir()
        unit_of(run).work(folder)
        hashes.append(hash_outputs(folder, skip=()))
    assert hashes[0] == hashes[1]


def test_a_changed_metric_or_setting_makes_the_reports_stale(make_run: Callable[..., Run], quiet: None) -> None:
    run, other = make_run("one"), make_run("two", evaluation={"reference_mix": "gold_unguided"})
    before = fingerprint(run, unit_of(run), hash_inputs(run, unit_of(run).inputs))
    assert fingerprint(other, unit_of(other), hash_inputs(other, unit_of(other).inputs)) != before
    path = run.path("evaluation", "metrics.parquet")
    rows = pq.read_table(path).to_pylist()
    write_table(path, [{**row, "n": 47} for row in rows], METRICS)
    assert fingerprint(run, unit_of(run), hash_inputs(run, unit_of(run).inputs)) != before


def test_another_tracking_mode_makes_the_reports_stale(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    found = set()
    for mode in ("disabled", "offline", "dryrun"):
        monkeypatch.setenv("WANDB_MODE", mode)
        found.add(fingerprint(run, unit_of(run), {}))
    assert len(found) == 2  # dryrun is W&B's old word for offline


def test_an_unknown_tracking_mode_is_one_clear_error(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(
        ConfigError, match=r"^WANDB_MODE is 'ofline'; did you mean 'offline'\?; known: offline, online, disabled"
    ):
        stage.units(run)


def test_the_record_outlives_a_second_run(make_run: Callable[..., Run]) -> None:
    run = make_run()
    folder = run.path("reports")
    (folder / "wandb" / "offline-run-1").mkdir(parents=True)
    (folder / "report.html").write_text("old")
    clear_unit(folder, keep=unit_of(run).resumable)
    assert [path.name for path in folder.iterdir()] == ["wandb"]


def test_samples_take_labels_in_turn_and_do_not_depend_on_row_order(make_run: Callable[..., Run]) -> None:
    inputs = stage.read_inputs(make_run())
    labels = [row["label"] for row in inputs.samples["dualalign"]]
    assert labels == ["memory", "function", "worry", "other", "memory", "function"]
    again = stage.read_inputs(make_run("again"))
    assert again.samples == inputs.samples
