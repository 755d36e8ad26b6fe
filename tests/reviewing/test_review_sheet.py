"""The sheet out and the ratings back, on a run folder with invented sentences."""

import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import DataError
from harness.records import parse_records
from harness.reviewing.ratings import Rating
from harness.reviewing.results import Settings, between, of_rater
from harness.reviewing.sheet import Item, draw_items
from harness.reviewing.stage import KEY, PAGE, RATERS_FOLDER, SHEET, read_back, write_sheet
from harness.schemas.recipe import load_recipe
from harness.schemas.shipped import shipped
from harness.schemas.tables import GOLD, SENTENCES
from harness.seeds import generator
from harness.store import Run, sha256_file, write_table

sys.path.insert(0, str(Path(__file__).parents[1] / "annotation"))
from toy_texts import toy_run

LABELS = ("memory", "mood", "other")
SETTINGS = Settings(confidence=0.95, n_replicates=300)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = toy_run(tmp_path, {})
    gold = [{"sentence_id": f"g{index}", "patient_id": f"q{index // 2}", "split": ("train", "test", "validation")[index % 3],
             "text": f"Goldword {index}.", "label": "memory"} for index in range(60)]  # fmt: skip
    sentences = [{"sentence_id": f"dual/{index:06d}/0", "text_id": f"{index:06d}", "char_start": 0, "char_end": 9,
                  "text": f"=Armword {index}.", "label": "mood", "label_source": "plan",
                  "persona_id": f"p{index // 2}" if index % 2 else None} for index in range(40)]  # fmt: skip
    write_table(run.path("cohort", "gold.parquet"), gold, GOLD)
    write_table(run.path("annotation", "dual", "sentences.parquet"), sentences, SENTENCES)
    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rate(path: Path, answers: list[dict[str, Any]], columns: str = "item_id,realism,source,label") -> Path:
    names = columns.split(",")
    lines = [",".join(str(one.get(name, "")) for name in names) for one in answers]
    path.write_text("\n".join([columns, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_sheet_mixes_training_gold_with_all_arms_and_tells_nothing(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "review"
    write_sheet(run, out, 12)
    sheet, key = rows(out / RATERS_FOLDER / SHEET), rows(out / KEY)
    assert Counter(row["origin"] for row in key) == {"gold": 12, "dual": 12}
    assert {int(row["sentence_id"][1:]) % 3 for row in key if row["origin"] == "gold"} == {
        0
    }  # the training split alone
    assert [row["item_id"] for row in sheet] == [f"{index:03d}" for index in range(1, 25)]
    origins = [row["origin"] for row in key]
    assert origins != sorted(origins) != origins[::-1]
    for name in (SHEET, PAGE):
        shown = (out / RATERS_FOLDER / name).read_text(encoding="utf-8")
        assert not [word for word in ("gold", "dual", "g12", "persona", 'p1"', "q1") if word in shown]
    assert all(row["text"].startswith(("Goldword", "'=Armword")) for row in sheet)  # a spreadsheet runs no formula
    assert {path.name for path in (out / RATERS_FOLDER).iterdir()} == {SHEET, PAGE}


def test_the_same_run_gives_the_same_sheet_and_another_is_not_written_over_it(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "review"
    write_sheet(run, out, 12)
    before = {path.name: sha256_file(path) for path in out.rglob("*.*")}
    write_sheet(run, out, 12)
    assert {path.name: sha256_file(path) for path in out.rglob("*.*")} == before
    with pytest.raises(DataError, match="belongs to another sheet"):
        write_sheet(run, out, 13)
    assert {path.name: sha256_file(path) for path in out.rglob("*.*")} == before


def test_held_out_gold_decides_nothing(run: Run, tmp_path: Path) -> None:
    write_sheet(run, tmp_path / "a", 12)
    gold = [{"sentence_id": f"g{index}", "patient_id": f"q{index // 2}", "split": ("train", "test", "validation")[index % 3],
             "text": f"Goldword {index}." if index % 3 == 0 else "Poison.", "label": "memory" if index % 3 == 0 else "other"}
            for index in range(60)]  # fmt: skip
    write_table(run.path("cohort", "gold.parquet"), gold, GOLD)
    write_sheet(run, tmp_path / "b", 12)
    for name in (KEY, f"{RATERS_FOLDER}/{SHEET}", f"{RATERS_FOLDER}/{PAGE}"):
        assert sha256_file(tmp_path / "a" / name) == sha256_file(tmp_path / "b" / name)


def test_ratings_come_back_as_realism_guesses_and_agreement(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "review"
    key = write_sheet(run, out, 12)
    # The first rater always takes gold for real and dual for synthetic, and labels all as we do; the second calls
    # everything real and memory.
    sure = [
        {"item_id": one.item_id, "realism": 5 if one.origin == "gold" else 2, "source": one.truth, "label": one.label}
        for one in key
    ]
    easy = [{"item_id": one.item_id, "realism": 4, "source": "real", "label": "Memory Trouble"} for one in key]
    files = [rate(tmp_path / "sure.csv", sure), rate(tmp_path / "easy.csv", easy)]
    found = read_back(run, out, files)
    assert found == json.loads((out / "review.json").read_text(encoding="utf-8"))
    first, second = found["raters"]["sure"], found["raters"]["easy"]
    assert (first["realism"]["gold"]["value"], first["realism"]["dual"]["value"]) == (5, 2)
    assert first["told_apart"]["dual"] == {
        "n": 24, "value": 1.0, "low": pytest.approx(0.025 ** (1 / 24)), "high": 1.0, "reason": None,
    }  # fmt: skip
    assert second["told_apart"]["dual"]["value"] == 0.5
    assert (first["labels"]["all"]["value"], second["labels"]["all"]["value"]) == (1, 0)
    assert first["labels"]["gold"]["value"] is None  # one label throughout: no kappa, and it says why
    assert "one and the same label" in first["labels"]["gold"]["reason"]
    (pair,) = found["between_raters"]
    assert (pair["raters"], pair["labels"]["n"], pair["labels"]["value"]) == (["sure", "easy"], 24, 0)
    text = (out / "review.md").read_text(encoding="utf-8")
    assert "| dual | 2.00 [2.00, 2.00], n = 12 | 0.000 [0.000, 0.265], n = 12 | 1.000 [0.858, 1.000], n = 24 |" in text
    assert "## sure and easy" in text


def test_what_is_left_open_is_undefined_and_not_zero(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "review"
    key = write_sheet(run, out, 5)
    (one,) = read_back(run, out, [rate(tmp_path / "r.csv", [{"item_id": key[0].item_id, "realism": 3}])])[
        "raters"
    ].values()
    assert (one["n_rated"], one["n_items"]) == (1, 10)
    assert one["told_apart"]["dual"]["reason"] == "guesses on both kinds are needed"
    assert one["labels"]["all"]["reason"] == "no item was labelled twice"
    values = [one["realism"][origin]["value"] for origin in ("gold", "dual")]
    assert sorted(values, key=str) == [3, None]


def test_faults_of_ratings_come_together_with_their_rows(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "review"
    write_sheet(run, out, 5)
    answers = [
        {"item_id": "001", "realism": 6}, {"item_id": "099", "realism": 3}, {"item_id": "002", "source": "reel"},
        {"item_id": "002", "label": "memry"},
    ]  # fmt: skip
    path = rate(tmp_path / "r.csv", answers)
    with pytest.raises(DataError) as caught:
        read_back(run, out, [path])
    message = str(caught.value)
    for part in (
        f"{path}: 5 faults", "row 2: realism '6'; allowed: 1, 2, 3, 4, 5, or empty",
        "row 3: item_id '099' is not on the sheet", "row 4: source 'reel'; did you mean 'real'?; allowed: real, synthetic",
        "row 5: item_id '002' stands in row 4 already", "row 5: label 'memry'; did you mean 'memory'?",
    ):  # fmt: skip
        assert part in message
    assert not (out / "review.json").exists()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("item_id,realism,label", "missing column source; found item_id, realism, label"),
        ("item_id,realism,source,label", "nothing is rated"),
    ],
)
def test_a_file_that_is_no_rating_is_refused(run: Run, tmp_path: Path, columns: str, expected: str) -> None:
    out = tmp_path / "review"
    write_sheet(run, out, 5)
    with pytest.raises(DataError, match=expected):
        read_back(run, out, [rate(tmp_path / "r.csv", [{"item_id": "001"}], columns)])


def test_reading_before_writing_says_what_to_do(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="write the sheet first"):
        read_back(run, tmp_path / "nowhere", [tmp_path / "r.csv"])


def test_an_origin_without_sentences_is_named() -> None:
    with pytest.raises(DataError, match="dual: holds no sentence to review"):
        draw_items({"dual": []}, 3, rng=generator(1, "t"))


def items(n: int = 40) -> dict[str, Item]:
    return {
        f"{i:03d}": Item(f"{i:03d}", "gold" if i % 2 else "arm", f"s{i}", f"g{i}", LABELS[i % 3], "") for i in range(n)
    }


def test_a_guess_at_random_is_right_half_the_time_and_its_interval_holds_a_half() -> None:
    rng = generator(5, "guess")
    ratings = {one: Rating(int(rng.integers(1, 6)), ("real", "synthetic")[rng.integers(2)], None) for one in items(400)}
    found = of_rater(ratings, items(400), LABELS, SETTINGS, rng=generator(1, "b"))["told_apart"]["arm"]
    assert found["low"] < 0.5 < found["high"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.05)


def test_two_raters_agree_by_hand() -> None:
    # 4 common items; labels agree on 3. First: memory 2, mood 2. Second: memory 3, mood 1. Chance (2*3 + 2*1) / 16 = 0.5.
    first = {f"{i:03d}": Rating(None, None, label) for i, label in enumerate(["memory", "memory", "mood", "mood"])}
    second = {
        f"{i:03d}": Rating(None, None, label) for i, label in enumerate(["memory", "memory", "memory", "mood", "other"])
    }
    found = between(first, second, items(), LABELS, SETTINGS, rng=generator(1, "b"))
    assert (found["labels"]["n"], found["labels"]["value"]) == (4, pytest.approx((0.75 - 0.5) / 0.5))
    assert (found["sources"]["n"], found["sources"]["value"]) == (0, None)


def test_ratings_are_read_from_any_table(tmp_path: Path) -> None:
    from harness.reviewing.ratings import read_ratings

    line = json.dumps({"item_id": "001", "realism": 4, "source": "Real", "label": None})
    run = toy_run(tmp_path, {})
    found = read_ratings(parse_records(line.encode(), ".jsonl", "r"), {"001"}, run.task, where="r")
    assert found == {"001": Rating(4, "real", None)}


def test_the_command_writes_a_sheet_warns_and_reads_ratings_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shipped("recipes") / "quickstart.yaml"
    loaded = load_recipe(recipe)
    made = Run(recipe=loaded, folder=tmp_path / "run")
    gold = [
        {"sentence_id": f"g{i}", "patient_id": f"q{i}", "split": "train", "text": f"Gold {i}.", "label": "other"}
        for i in range(4)
    ]
    write_table(made.path("cohort", "gold.parquet"), gold, GOLD)
    for arm in loaded.used_arms:
        one = {
            "sentence_id": f"{arm}/0/0",
            "text_id": "0",
            "char_start": 0,
            "char_end": 9,
            "text": "Arm.",
            "label": "other",
            "label_source": "plan",
        }
        write_table(made.path("annotation", arm, "sentences.parquet"), [one], SENTENCES)
    command = ["review", str(recipe), "--run-dir", str(made.folder), "--n", "3"]
    written = CliRunner().invoke(app, command)
    assert written.exit_code == 0, written.output
    assert "5 sentences" in written.output
    assert "warning: the sheet holds note text of training gold" in written.output
    assert "Gold 1." not in written.output
    folder = made.folder / "review"
    path = rate(tmp_path / "r.csv", [{"item_id": row["item_id"], "source": "real"} for row in rows(folder / KEY)])
    read = CliRunner().invoke(app, [*command, "--read", str(path)])
    assert read.exit_code == 0, read.output
    assert "## Rater r" in read.output
