import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from invented_run import FolderBuilder, make_recipe, sentence
from wandb_files import Offline, add_predictions, offline_runs

from harness.logs import PRIVATE_DEFAULTS
from harness.reports import stage
from harness.reports.inputs import Inputs
from harness.reports.tracking import tracking_mode
from harness.reports.wandb_record import tables
from harness.reports.wandb_record.record import write_record
from harness.reports.wandb_record.runs import build_records, record_id
from harness.store import Run

CELLS = ("gold-seed0", "gold_dualalign-seed0")
NAMES = {
    "generate": ("generate",),
    "mix": ("gold", "gold_dualalign"),
    "train": CELLS,
    "score": tuple(f"{cell}-score" for cell in CELLS),
    "evaluate": ("evaluate",),
}
PATIENTS = tuple(f'"p{index:02d}"' for index in range(24))


@dataclass(frozen=True)
class Recorded:
    """The record of one invented run, with what the log said."""

    run: Run
    inputs: Inputs
    folder: Path
    note: dict[str, Any]
    said: list[str]

    @property
    def runs(self) -> dict[str, Offline]:
        return offline_runs(self.folder)


def offline_environment(patch: pytest.MonkeyPatch) -> None:
    for name in (*PRIVATE_DEFAULTS, "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        patch.delenv(name, raising=False)
    patch.setenv("WANDB_MODE", "offline")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    offline_environment(monkeypatch)


class Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Written once for all tests that only read it: eight runs."""
    folder = tmp_path_factory.mktemp("recorded")
    run = add_predictions(
        FolderBuilder(make_recipe(folder, arms=("dualalign",), seeds_per_mix=1), folder / "run").build()
    )
    logger, listener = logging.getLogger("harness.reports.wandb_record.record"), Listener()
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        with pytest.MonkeyPatch.context() as patch:
            offline_environment(patch)
            inputs = stage.read_inputs(run)
            note = write_record(inputs, run, folder / "out")
    finally:
        logger.removeHandler(listener)
        logger.setLevel(logging.NOTSET)
    yield Recorded(run, inputs, folder / "out", note, listener.said)


def test_every_job_has_its_runs_in_the_recipes_group(recorded: Recorded) -> None:
    assert recorded.note == {"mode": "offline", "n_runs": 8}
    assert recorded.said == [
        f"W&B: 8 runs recorded offline; to upload them: wandb sync {recorded.folder}/wandb/offline-run-*"
    ]
    by_job: dict[str, set[str]] = {}
    for name, run in recorded.runs.items():
        header = run.header
        by_job.setdefault(header.job_type, set()).add(name)
        assert (header.run_group, header.project) == ("invented", "dualalign-harness")
        assert header.host == "" and not header.git.remote_url
        assert {"recipe:invented", "task:memoria", "model:smollm2-135m"} <= set(header.tags)
    assert by_job == {job: set(names) for job, names in NAMES.items()}


def test_ids_of_the_files_are_those_of_the_records(recorded: Recorded) -> None:
    expected = {record.name: record.id for record in build_records(recorded.inputs, recorded.run)}
    assert {name: run.header.run_id for name, run in recorded.runs.items()} == expected
    assert len(set(expected.values())) == 8


def test_a_training_has_its_settings_curve_and_scores(recorded: Recorded) -> None:
    run = recorded.runs["gold_dualalign-seed0"]
    assert {"mix:gold_dualalign", "regime:augmented", "origin:gold", "origin:dualalign"} <= set(run.header.tags)
    config = run.config
    assert config["budget"] == {"updates": 30, "examples": 240, "supervised_tokens": 720, "comparison": "equal budget"}
    assert (config["git_commit"], config["train_seed"], config["mix"]["name"]) == ("0123abc", 0, "gold_dualalign")
    assert config["training"]["global_batch_size"] == 8
    assert config["training_fingerprint"] == "training-gold_dualalign/seed_0-fingerprint"
    assert config["test_set_sha256"] == recorded.inputs.test_set_sha256
    curve = next(one for one in recorded.inputs.curves if one.mix == "gold_dualalign")
    losses = {row["_step"]: row["train/loss"] for row in run.history if "train/loss" in row}
    assert losses == dict(zip(curve.steps, curve.losses, strict=True))
    metric, contrast = (getattr(recorded.inputs, name)("gold_dualalign", "llm") for name in ("metric", "contrast"))
    assert run.summary["macro_f1_ci_low"] == pytest.approx(metric["ci_low"])
    assert run.summary["difference_to_gold_p_adjusted"] == pytest.approx(contrast["p_adjusted"])


def test_tables_have_their_columns_and_rows(recorded: Recorded) -> None:
    found = recorded.runs["evaluate"].tables
    columns = {name: table["columns"] for name, table in found.items()}
    assert columns == {
        "per_class": list(tables.CLASS_COLUMNS),
        "per_subgroup": list(tables.SUBGROUP_COLUMNS),
        "contrasts": list(tables.CONTRAST_COLUMNS),
        "calibration": list(tables.SUBGROUP_COLUMNS),
        "reliability": list(tables.RELIABILITY_COLUMNS),
        "temperatures": list(tables.TEMPERATURE_COLUMNS),
        "confusion": list(tables.CONFUSION_COLUMNS),
    }
    assert len(found["per_class"]["data"]) == 2 * 3 * 4 * 4  # mixes, learners, metrics, classes
    assert len(found["contrasts"]["data"]) == len(recorded.inputs.contrasts)
    assert len(found["confusion"]["data"]) == 2 * 3 * 16
    severe = [row for row in found["per_subgroup"]["data"] if row[4] == "severe"]
    assert severe and all(row[5] is None and "insufficient" in row for row in severe)
    cell = recorded.runs["gold-seed0-score"].tables
    assert {name: table["columns"] for name, table in cell.items()} == {
        "per_class": list(tables.CELL_CLASS_COLUMNS),
        "per_subgroup": list(tables.CELL_SUBGROUP_COLUMNS),
        "confusion": list(tables.CONFUSION_COLUMNS),
        "predictions": list(tables.PREDICTION_COLUMNS),
    }
    assert [row[0] for row in cell["per_class"]["data"]] == ["memory", "function", "worry", "other"]


def test_predictions_are_by_id_and_hold_what_was_predicted(recorded: Recorded) -> None:
    rows = recorded.runs["gold-seed0-score"].tables["predictions"]["data"]
    assert len(rows) == 48
    assert rows[:2] == [["s001", "function", "function", True, 0.7, 0.7], ["s002", "worry", "worry", True, 0.7, 0.7]]
    assert ["s006", "worry", "other", False, 0.7, 0.1] in rows


def test_lineage_runs_from_gold_to_metrics(recorded: Recorded) -> None:
    """Every input is an output of another run, with the same digest; only gold comes from outside."""
    runs = recorded.runs
    made = {name: (one.type, one.digest) for run in runs.values() for name, one in run.artifacts(used=False).items()}
    used = {name: set(run.artifacts(used=True)) for name, run in runs.items()}
    assert {name: kind for name, (kind, _) in made.items()} == {
        "invented-synthetic-dualalign": "synthetic",
        "invented-mix-gold": "mix",
        "invented-mix-gold_dualalign": "mix",
        "invented-adapter-gold-seed_0": "adapter",
        "invented-adapter-gold_dualalign-seed_0": "adapter",
        "invented-predictions-gold-seed_0": "predictions",
        "invented-predictions-gold_dualalign-seed_0": "predictions",
        "invented-metrics": "metrics",
    }
    assert used == {
        "generate": set(),
        "gold": {"invented-gold"},
        "gold_dualalign": {"invented-gold", "invented-synthetic-dualalign"},
        "gold-seed0": {"invented-mix-gold"},
        "gold_dualalign-seed0": {"invented-mix-gold_dualalign"},
        "gold-seed0-score": {"invented-adapter-gold-seed_0", "invented-gold"},
        "gold_dualalign-seed0-score": {"invented-adapter-gold_dualalign-seed_0", "invented-gold"},
        "evaluate": {
            "invented-gold",
            "invented-predictions-gold-seed_0",
            "invented-predictions-gold_dualalign-seed_0",
        },
    }
    for run in runs.values():
        for name, one in run.artifacts(used=True).items():
            assert name == "invented-gold" or made[name] == (one.type, one.digest)
    assert (
        len({one.digest for run in runs.values() for one in run.artifacts(used=True).values() if one.type == "gold"})
        == 1
    )
    assert len({digest for _, digest in made.values()}) == len(made)


def test_artifacts_hold_hashes_and_counts_and_no_table(recorded: Recorded) -> None:
    every = [
        one for run in recorded.runs.values() for used in (True, False) for one in run.artifacts(used=used).values()
    ]
    assert all([entry.path for entry in one.manifest.contents] == ["contents.json"] for one in every)
    facts = {one.name: json.loads(one.metadata) for one in every}
    assert facts["invented-gold"]["sha256"]["gold.parquet"] == recorded.inputs.input_sha256["00_cohort/gold.parquet"]
    assert facts["invented-gold"]["counts"]["test"] == {"n_sentences": 12, "n_patients": 8}
    assert facts["invented-adapter-gold-seed_0"]["sha256"] == {
        "adapter/adapter_model.safetensors": "gold-0-weights-hash"
    }
    assert facts["invented-mix-gold_dualalign"]["made_from"] == ["invented-gold", "invented-synthetic-dualalign"]
    assert "07_evaluation/metrics.parquet" in facts["invented-metrics"]["sha256"]


def test_no_text_no_patient_and_no_weights_are_anywhere(recorded: Recorded) -> None:
    files = [path for path in recorded.folder.glob("wandb/**/*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert len(content) > 50_000 and b"s001" in content
    assert not any(sentence(place, index).encode() in content for place in ("gold", "dualalign") for index in range(96))
    assert b"kettle" not in content
    assert not any(patient.encode() in content for patient in PATIENTS)
    assert b"weights of" not in content


def test_writing_again_goes_on_in_the_same_runs(recorded: Recorded, tmp_path: Path, offline: None) -> None:
    first = {name: run.header.run_id for name, run in recorded.runs.items()}
    digests = {name: one.digest for run in recorded.runs.values() for name, one in run.artifacts(used=False).items()}
    (next(iter(recorded.runs.values())).folder / "old").touch()
    write_record(recorded.inputs, recorded.run, recorded.folder)
    again = recorded.runs
    assert {name: run.header.run_id for name, run in again.items()} == first
    assert len(list(recorded.folder.glob("wandb/offline-run-*"))) == len(first)
    assert not list(recorded.folder.glob("wandb/offline-run-*/old"))
    assert {name: one.digest for run in again.values() for name, one in run.artifacts(used=False).items()} == digests


def test_text_and_weights_leave_only_where_the_recipe_says_so(tmp_path: Path, offline: None) -> None:
    recipe = make_recipe(
        tmp_path, arms=("dualalign",), seeds_per_mix=1, tracking={"wandb": {"log_text": True, "log_adapters": True}}
    )
    run = add_predictions(FolderBuilder(recipe, tmp_path / "run").build())
    write_record(stage.read_inputs(run), run, tmp_path)
    content = b"".join(path.read_bytes() for path in tmp_path.glob("wandb/**/*") if path.is_file())
    assert b"Dualalign says in remark" in content
    assert b"Gold says in remark" not in content
    runs = offline_runs(tmp_path)
    made = runs["gold-seed0"].artifacts(used=False)
    weights = made["invented-weights-gold-seed_0"]
    assert {entry.path for entry in weights.manifest.contents} == {"contents.json", "adapter/adapter_model.safetensors"}
    used = runs["gold-seed0-score"].artifacts(used=True)["invented-adapter-gold-seed_0"]
    assert used.digest == made["invented-adapter-gold-seed_0"].digest  # the same version, with weights or without


def test_a_server_that_is_down_costs_a_warning_and_nothing_else(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, offline: None
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    run = add_predictions(make_run(arms=("dualalign",), seeds_per_mix=1))
    (unit,) = stage.units(run)
    folder = run.path("reports")
    folder.mkdir()
    counts = unit.work(folder)
    assert all((folder / name).stat().st_size > 0 for name in unit.outputs)
    note = counts.notes["wandb"]
    assert (note["mode"], note["n_runs"], note["n_offline"]) == ("online", 0, 8)
    assert note["failed"]
    assert set(offline_runs(folder)) == {name for names in NAMES.values() for name in names}
    (warning,) = [one.message for one in caplog.records if one.levelname == "WARNING" and "W&B" in one.message]
    assert "the reports are complete, and the other runs are recorded offline" in warning


def test_a_run_without_predictions_is_recorded_without_scores(inputs: Inputs, make_run: Callable[..., Run]) -> None:
    jobs = [record.job_type for record in build_records(inputs, make_run("two"))]
    assert jobs == ["generate", "mix", "mix", "mix", *["train"] * 6, "evaluate"]


def test_disabled_writes_nothing(recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert write_record(recorded.inputs, recorded.run, tmp_path) == {"mode": "disabled", "n_runs": 0}
    assert not (tmp_path / "wandb").exists()


def test_the_environment_decides_before_the_recipe(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recorded.inputs.recipe
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert tracking_mode(recipe) == "offline"
    monkeypatch.setenv("WANDB_MODE", "")
    assert tracking_mode(recipe) == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert tracking_mode(recipe) == "online"


def test_a_recipe_that_asks_for_online_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # prepare_environment must not decide the mode: it would win over the recipe
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert "WANDB_MODE" not in PRIVATE_DEFAULTS
    assert tracking_mode(make_recipe(tmp_path, arms=(), tracking={"wandb": {"mode": "online"}})) == "online"


def test_an_id_changes_with_anything_that_makes_another_record(recorded: Recorded, tmp_path: Path) -> None:
    same = recorded.inputs
    withheld = stage.read_inputs(
        FolderBuilder(
            make_recipe(tmp_path, arms=("dualalign",), reporting={"min_patients_shown": 11}), tmp_path / "r"
        ).build()
    )
    parts: list[Any] = [(same, "train", "m", "f"), (same, "score", "m", "f"), (same, "train", "n", "f")]
    parts += [(same, "train", "m", "g"), (withheld, "train", "m", "f")]
    ids = {record_id(*one) for one in parts}
    assert len(ids) == 5
    assert record_id(*parts[0]) in ids
