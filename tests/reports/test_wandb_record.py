import json
import logging
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.logs import PRIVATE_DEFAULTS
from harness.reports import stage
from harness.reports.inputs import Inputs
from harness.reports.tracking import tracking_mode
from harness.reports.wandb_record import build_records, record_id, write_record
from harness.store import Run

HEADER_BYTES, BLOCK_BYTES = 7, 32768  # of a .wandb file: LevelDB's log format behind W&B's own header
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_offline_run(path: Path) -> list[Any]:
    """Every record of a `.wandb` file, as W&B's own protobuf message."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content[:4] == b":W&B"
    position, parts, records = HEADER_BYTES, b"", []
    while position + HEADER_BYTES <= len(content):
        left = BLOCK_BYTES - position % BLOCK_BYTES
        if left < HEADER_BYTES:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + HEADER_BYTES])
        body = content[position + HEADER_BYTES : position + HEADER_BYTES + length]
        position += HEADER_BYTES + length
        parts = body if kind in (FULL, FIRST) else parts + body
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            records.append(record)
    return records


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*PRIVATE_DEFAULTS, "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield


def offline_runs(folder: Path) -> dict[str, Path]:
    """W&B id to the folder of its run."""
    found = sorted((folder / "wandb").glob("offline-run-*"))
    return {path.name.rsplit("-", 1)[1]: path for path in found}


@pytest.mark.slow
def test_what_was_recorded_is_read_back_from_the_file(
    inputs: Inputs, tmp_path: Path, offline: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="harness.reports.wandb_record"):
        note = write_record(inputs, tmp_path)
    assert note == {"mode": "offline", "n_runs": 6}  # three mixes, two seeds
    ours = [one.message for one in caplog.records if one.name == "harness.reports.wandb_record"]
    assert ours == [f"W&B: 6 runs recorded offline; to upload them: wandb sync {tmp_path}/wandb/offline-run-*"]
    records = {record.id: record for record in build_records(inputs)}
    runs = offline_runs(tmp_path)
    assert set(runs) == set(records)
    expected = next(record for record in records.values() if record.name == "gold_dualalign-seed1")
    messages = read_offline_run(runs[expected.id] / f"run-{expected.id}.wandb")

    (header,) = [message.run for message in messages if message.WhichOneof("record_type") == "run"]
    assert (header.display_name, header.run_group, header.job_type) == ("gold_dualalign-seed1", "invented", "train")
    assert (header.project, list(header.tags)) == ("dualalign-harness", list(expected.tags))
    assert header.host == "" and not header.git.remote_url
    config = values(header.config.update)
    assert config["budget"] == {"updates": 30, "examples": 240, "supervised_tokens": 720, "comparison": "equal budget"}
    assert (config["git_commit"], config["train_seed"]) == ("0123abc", 1)
    assert config["mix"]["name"] == "gold_dualalign"
    assert config["training"]["global_batch_size"] == 8
    assert config["sha256"]["test_set"] == inputs.test_set_sha256

    history = [values(message.history.item) for message in messages if message.WhichOneof("record_type") == "history"]
    losses = {row["_step"]: row["train/loss"] for row in history if "train/loss" in row}
    assert losses == dict(zip(expected.curve.steps, expected.curve.losses, strict=True))

    summary: dict[str, Any] = {}
    for message in messages:
        if message.WhichOneof("record_type") == "summary":
            summary |= values(message.summary.update)
    metric = inputs.metric("gold_dualalign", "llm", train_seed="1")
    every, contrast = inputs.metric("gold_dualalign", "llm"), inputs.contrast("gold_dualalign", "llm")
    assert metric is not None and every is not None and contrast is not None
    assert summary["macro_f1"] == pytest.approx(metric["value"])
    assert summary["macro_f1_ci_low"] == pytest.approx(every["ci_low"])
    assert summary["difference_to_gold_p_adjusted"] == pytest.approx(contrast["p_adjusted"])


@pytest.mark.slow
def test_tables_hold_classes_and_levels_and_no_text_anywhere(
    inputs: Inputs, tmp_path: Path, offline: None, gold_texts: list[str], synthetic_texts: list[str]
) -> None:
    write_record(inputs, tmp_path)
    for run in offline_runs(tmp_path).values():
        tables = {
            path.name.split("_30_")[0]: json.loads(path.read_text()) for path in run.glob("files/media/table/*.json")
        }
        assert set(tables) == {"per_class", "per_subgroup"}
        assert [row[0] for row in tables["per_class"]["data"]] == ["memory", "function", "worry", "other"]
        severe = next(row for row in tables["per_subgroup"]["data"] if row[1] == "severe")
        assert severe[2] is None and "insufficient" in severe
    content = b"".join(path.read_bytes() for path in tmp_path.glob("wandb/**/*") if path.is_file())
    assert len(content) > 10_000
    assert not any(text.encode() in content for text in (*gold_texts, *synthetic_texts))
    assert b"kettle" not in content


@pytest.mark.slow
def test_text_is_recorded_only_where_the_recipe_says_so(
    make_run: Callable[..., Run], tmp_path: Path, offline: None, gold_texts: list[str]
) -> None:
    run = make_run(seeds_per_mix=1, tracking={"wandb": {"log_text": True, "project": "open"}})
    write_record(stage.read_inputs(run), tmp_path)
    content = b"".join(path.read_bytes() for path in tmp_path.glob("wandb/**/*.json") if path.is_file())
    assert b"Dualalign says in remark" in content
    assert b"Gold says in remark" not in content


@pytest.mark.slow
def test_writing_again_replaces_the_record(inputs: Inputs, tmp_path: Path, offline: None) -> None:
    write_record(inputs, tmp_path)
    first = offline_runs(tmp_path)
    marked = next(iter(first.values())) / "old"
    marked.touch()
    write_record(inputs, tmp_path)
    assert set(offline_runs(tmp_path)) == set(first)
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == len(first)
    assert not list(tmp_path.glob("wandb/offline-run-*/old"))


@pytest.mark.slow
def test_a_server_that_is_down_costs_a_warning_and_not_the_reports(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, offline: None
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "5")
    run = make_run(seeds_per_mix=1)
    (unit,) = stage.units(run)
    folder = run.path("reports")
    folder.mkdir()
    counts = unit.work(folder)
    assert all((folder / name).stat().st_size > 0 for name in unit.outputs)
    assert counts.notes["wandb"]["mode"] == "online"
    assert counts.notes["wandb"]["n_runs"] == 0
    assert counts.notes["wandb"]["failed"]
    assert any(
        record.levelname == "WARNING" and "the reports are complete" in record.message for record in caplog.records
    )


def test_disabled_writes_nothing(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert write_record(inputs, tmp_path) == {"mode": "disabled", "n_runs": 0}
    assert not (tmp_path / "wandb").exists()


def test_the_environment_decides_before_the_recipe(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert tracking_mode(inputs.recipe) == "offline"
    monkeypatch.setenv("WANDB_MODE", "")
    assert tracking_mode(inputs.recipe) == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert tracking_mode(inputs.recipe) == "online"


def test_a_recipe_that_asks_for_online_gets_it(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    # prepare_environment must not decide the mode: it would win over the recipe
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert "WANDB_MODE" not in PRIVATE_DEFAULTS
    assert tracking_mode(make_run(tracking={"wandb": {"mode": "online"}}).recipe) == "online"


def test_an_id_changes_with_anything_that_makes_another_training() -> None:
    ids = {
        record_id(*parts) for parts in (("r", "m", 0, "f"), ("r", "m", 1, "f"), ("r", "n", 0, "f"), ("r", "m", 0, "g"))
    }
    assert len(ids) == 4
    assert record_id("r", "m", 0, "f") == record_id("r", "m", 0, "f")


def test_every_mix_and_seed_has_its_record(inputs: Inputs) -> None:
    names = [record.name for record in build_records(inputs)]
    assert names == [f"{mix}-seed{seed}" for mix in inputs.mixes for seed in (0, 1)]
