from __future__ import annotations

from pathlib import Path

from harness.training.checkpoints import keep_matching, latest, mark_complete


def save(folder: Path, updates: int, *, whole: bool = True) -> Path:
    checkpoint = folder / f"checkpoint-{updates}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text("w")
    if whole:
        mark_complete(checkpoint)
    return checkpoint


def test_the_latest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    keep_matching(tmp_path, "a")
    for updates in (2, 10, 9):
        save(tmp_path, updates)
    save(tmp_path, 12, whole=False)
    assert latest(tmp_path) == tmp_path / "checkpoint-10"


def test_a_checkpoint_whose_saving_was_interrupted_is_removed(tmp_path: Path) -> None:
    keep_matching(tmp_path, "a")
    half = save(tmp_path, 4, whole=False)
    keep_matching(tmp_path, "a")
    assert not half.exists()


def test_checkpoints_of_other_settings_are_discarded(tmp_path: Path) -> None:
    keep_matching(tmp_path, "a")
    save(tmp_path, 4)
    keep_matching(tmp_path, "a")
    assert latest(tmp_path) is not None
    keep_matching(tmp_path, "b")
    assert latest(tmp_path) is None


def test_checkpoints_of_unknown_settings_are_discarded(tmp_path: Path) -> None:
    save(tmp_path, 4)
    (tmp_path / "key.json").write_text('{"key": ')
    keep_matching(tmp_path, "a")
    assert latest(tmp_path) is None
