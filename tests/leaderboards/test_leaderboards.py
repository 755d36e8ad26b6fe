"""A leaderboard over runs: what stands together, what stands apart and why, what is tied."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from invented_boards import N_PATIENTS, answers, count_rows, make_row, score, write_reports, write_run
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import ConfigError
from harness.leaderboards.boards import Board, compare, row_from_csv
from harness.leaderboards.stage import Leaderboard, leaderboard_over, write_leaderboard
from harness.leaderboards.text import board_csv, board_latex, board_markdown
from harness.leaderboards.ties import NO_COUNTS, OTHER_PATIENTS, OTHER_SCORE
from harness.reports.leaderboard import CSV_COLUMNS, leaderboard_csv
from harness.schemas.tables import PATIENT_COUNTS
from harness.store import write_table


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def reasons(board: Leaderboard) -> dict[tuple[str, str], str]:
    return {(entry.run, entry.row.mix): entry.why_apart for entry in board.entries}


# -- what stands together ----------------------------------------------------------------------------------------------


def test_a_row_survives_being_written_and_read() -> None:
    rows = [make_row(), make_row("b", macro_f1=0.5, tied=True, n_updates=7, shortfall=0.0), make_row("c", tied=False)]
    assert [row_from_csv(cells) for cells in read(leaderboard_csv(rows))] == rows


def test_comparable_runs_share_one_table_best_first(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, {"gold": 0.4, "more": skill}) for name, skill in (("one", 0.6), ("two", 0.8))]
    board = leaderboard_over(folders)
    assert [(entry.run, entry.row.mix) for entry in board.entries][:2] == [("two", "more"), ("one", "more")]
    assert set(reasons(board).values()) == {""}
    scores = [entry.row.macro_f1 for entry in board.entries]
    assert scores == sorted(scores, key=lambda one: -(one or 0))
    rows = read(board_csv(board.entries))
    assert list(rows[0]) == ["run", "comparable", "why_apart", *CSV_COLUMNS, "why_no_tie"]
    assert {row["comparable"] for row in rows} == {"yes"}
    assert "Not comparable" not in board_markdown(board.entries, {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_set_sha256": "f" * 64}, "another test set (ffffffffffff instead of abababababab)"),
        ({"task_version": 9}, "another version of the task (9 instead of 3)"),
        ({"task": "amentia"}, "another task (amentia instead of memoria)"),
        ({"metrics_version": 2}, "another version of the metrics (2 instead of 1)"),
        ({"labels": "memory,mood,other"}, "another label set (with mood and without falls)"),
        ({"labels": "other,falls,memory"}, "another label set (in another order)"),
        ({"split": "validation"}, "another split (validation instead of test)"),
        ({"budget_size": 60}, "another budget (60 updates in batches of 8 instead of 30 updates in batches of 8)"),
        ({"budget_unit": "epochs"}, "another budget (30 epochs in batches of 8 instead of 30 updates in batches of 8)"),
        (
            {"global_batch_size": 16},
            "another budget (30 updates in batches of 16 instead of 30 updates in batches of 8)",
        ),
    ],
)
def test_what_cannot_be_compared_stands_apart_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    folders = [write_run(tmp_path / "odd", {"gold": 0.9}, **changes)]
    folders += [write_run(tmp_path / name, {"gold": 0.5}) for name in ("one", "two")]
    board = leaderboard_over(folders)
    assert reasons(board) == {("one", "gold"): "", ("two", "gold"): "", ("odd", "gold"): reason}
    markdown = board_markdown(board.entries, board.left_out)
    common, apart = markdown.split(f"## Not comparable: {reason}")
    assert "| odd |" in apart and "| odd |" not in common
    assert "| one |" in common and "| one |" not in apart
    assert next(entry.row.tied for entry in board.entries if entry.run == "odd") is None


def test_one_mix_of_a_run_at_another_budget_stands_apart_alone() -> None:
    rows = (make_row("gold", macro_f1=0.5), make_row("long", macro_f1=0.6, budget_size=90))
    entries = compare([Board("one", rows), Board("two", (make_row("gold", macro_f1=0.4),))])
    assert [(entry.run, entry.row.mix, bool(entry.why_apart)) for entry in entries] == [
        ("one", "gold", False),
        ("two", "gold", False),
        ("one", "long", True),
    ]


def test_of_equally_common_budgets_the_first_counts() -> None:
    boards = [Board("one", (make_row(budget_size=60),)), Board("two", (make_row(budget_size=30),))]
    assert [entry.run for entry in compare(boards) if not entry.why_apart] == ["one"]
    assert [entry.run for entry in compare(boards[::-1]) if not entry.why_apart] == ["two"]


def test_baselines_have_no_budget_to_differ_in() -> None:
    baseline = make_row(learner="tfidf", budget_unit=None, budget_size=None, global_batch_size=None)
    entries = compare([Board("one", (make_row(), baseline)), Board("two", (make_row(budget_size=99), baseline))])
    assert [(entry.run, entry.row.learner) for entry in entries if entry.why_apart] == [("two", "llm")]


def test_a_diverged_row_never_enters_silently() -> None:
    marked = make_row("bad", macro_f1=0.9, status="diverged", reason="seed_1: the loss rose")
    entries = compare([Board("one", (make_row(macro_f1=0.5), marked))])
    assert [entry.why_apart for entry in entries] == ["", "diverged in training (seed_1: the loss rose)"]


def test_adding_a_run_changes_no_number_of_another(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", {"gold": 0.4, "more": 0.6})
    second = write_run(tmp_path / "two", {"gold": 0.5, "other": 0.7})

    def numbers(board: Leaderboard) -> dict[str, dict[str, Any]]:
        ties = {"tied", "shortfall", "shortfall_high"}  # of the whole table, not of the row
        return {
            entry.row.mix: {name: value for name, value in asdict(entry.row).items() if name not in ties}
            for entry in board.entries
            if entry.run == "one"
        }

    alone = numbers(leaderboard_over([first]))
    assert alone == numbers(leaderboard_over([first, second])) == numbers(leaderboard_over([second, first]))
    there, back = leaderboard_over([first, second]), leaderboard_over([second, first])
    assert there.entries == back.entries


def test_only_the_learners_asked_for_are_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", {"gold": 0.5})
    rows = [make_row(macro_f1=0.5), make_row(macro_f1=0.4, learner="tfidf", budget_unit=None)]
    write_reports(folder, leaderboard_csv(rows))
    assert {entry.row.learner for entry in leaderboard_over([folder], ["tfidf"]).entries} == {"tfidf"}
    with pytest.raises(ConfigError, match="^--learner: found svm; the runs have llm, tfidf$"):
        leaderboard_over([folder], ["svm"])


# -- ties --------------------------------------------------------------------------------------------------------------


def ties(board: Leaderboard) -> dict[tuple[str, str], bool | None]:
    return {(entry.run, entry.row.mix): entry.row.tied for entry in board.entries}


def test_a_clear_winner_over_two_runs_is_tied_with_none(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "one", {"gold": 0.3, "more": 0.9}), write_run(tmp_path / "two", {"gold": 0.3})]
    board = leaderboard_over(folders)
    assert ties(board) == {("one", "more"): True, ("one", "gold"): False, ("two", "gold"): False}
    assert board.entries[0].row.shortfall_high == 0.0
    assert "No entry is statistically tied with the first" in board_markdown(board.entries, {})


def test_entries_of_equal_skill_in_two_runs_are_tied_and_marked(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, {"gold": 0.2, "more": 0.6}) for name in ("one", "two")]
    board = leaderboard_over(folders)
    assert [ties(board)[run, "more"] for run in ("one", "two")] == [True, True]
    assert [ties(board)[run, "gold"] for run in ("one", "two")] == [False, False]
    markdown = board_markdown(board.entries, {})
    marked = [line for line in markdown.splitlines() if line.startswith("|") and "\u2020" in line]
    assert len(marked) == 1 and marked[0].startswith(f"| {board.entries[1].run} |")  # not the first itself
    assert "simultaneous one-sided comparison with the best of 4" in markdown


def test_several_train_seeds_are_compared_and_other_numbers_of_them_are_not(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, {"gold": 0.3, "more": 0.7}, n_seeds=3) for name in ("one", "two")]
    folders.append(write_run(tmp_path / "short", {"gold": 0.5}, n_seeds=1))
    board = leaderboard_over(folders)
    assert ties(board)["short", "gold"] is None
    [short] = [entry for entry in board.entries if entry.run == "short"]
    assert short.why_no_tie == "1 train seed; most of the others have 3"
    assert "- `short`, `gold`, llm: 1 train seed; most of the others have 3" in board_markdown(board.entries, {})
    assert [ties(board)[run, "gold"] for run in ("one", "two")] == [False, False]


def test_runs_whose_patients_or_counts_do_not_fit_say_so(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "one", {"gold": 0.5, "more": 0.6})]
    folders.append(write_run(tmp_path / "renamed", {"gold": 0.5}, patient="q"))
    folders.append(write_run(tmp_path / "lost", {"gold": 0.5}))
    (folders[-1] / "07_evaluation" / "patient_counts.parquet").unlink()
    write_reports(folders[-1], (folders[-1] / "08_reports" / "leaderboard.csv").read_text())
    folders.append(write_run(tmp_path / "wrong", {"gold": 0.5}, macro_f1=0.123))
    told = {entry.run: entry.why_no_tie for entry in leaderboard_over(folders).entries}
    assert told == {"one": "", "renamed": OTHER_PATIENTS, "lost": NO_COUNTS, "wrong": OTHER_SCORE}


def test_a_baseline_beside_several_train_seeds_takes_part_and_a_floor_does_not(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", {"gold": 0.6}, n_seeds=3)
    board = leaderboard_over([folder])
    [llm] = [entry.row for entry in board.entries]
    tfidf, floor = answers(0.2, "tfidf"), answers(0.0, "majority")
    others = {"budget_unit": None, "n_train_seeds": 1}
    rows = [
        llm,
        make_row(learner="tfidf", macro_f1=score(tfidf), **others),
        make_row(learner="majority", macro_f1=score(floor), **others),
    ]
    counts = count_rows(answers(0.6, "one", "gold", n_seeds=3), "gold", "llm")
    counts += count_rows(tfidf, "gold", "tfidf") + count_rows(floor, "gold", "majority")
    write_table(folder / "07_evaluation" / "patient_counts.parquet", counts, PATIENT_COUNTS)
    write_reports(folder, leaderboard_csv(rows))
    found = {entry.row.learner: entry.row.tied for entry in leaderboard_over([folder]).entries}
    assert found == {"llm": True, "tfidf": False, "majority": None}


# -- folders that give nothing -----------------------------------------------------------------------------------------


def test_every_folder_without_a_finished_run_is_named_with_the_reason(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", {"gold": 0.5})
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "04_mixes").mkdir(parents=True)
    half = write_run(tmp_path / "half", {"gold": 0.5})
    (half / "08_reports" / "manifest.json").unlink()
    edited = write_run(tmp_path / "edited", {"gold": 0.5})
    path = edited / "08_reports" / "leaderboard.csv"
    path.write_text(path.read_text().replace("memoria", "amentia"))
    old = write_run(tmp_path / "old", {"gold": 0.5})
    write_table(old / "07_evaluation" / "patient_counts.parquet", [], PATIENT_COUNTS)
    foreign = tmp_path / "foreign"
    write_reports(foreign, "mix,macro_f1\ngold,0.5\n")
    garbled = write_run(tmp_path / "garbled", {"gold": 0.5})
    write_reports(garbled, leaderboard_csv([make_row(n_train_seeds="several")]))
    folders = [tmp_path / name for name in ("nowhere", "empty", "begun")] + [half, edited, old, foreign, garbled, good]
    board = leaderboard_over(folders)
    assert {entry.run for entry in board.entries} == {"good"}
    told = {Path(folder).name: reason for folder, reason in board.left_out.items()}
    assert told.pop("foreign").startswith("its leaderboard.csv lacks the columns recipe, task, task_version")
    assert told == {
        "nowhere": "there is no such folder",
        "empty": "it is no run folder: it holds no stage's folder",
        "begun": "the run is not finished: its reports are not begun; run the recipe to its end",
        "half": "the run is not finished: its reports are interrupted (its files are not complete); run the recipe to its end",
        "edited": "its leaderboard.csv is not the one that the run wrote; run the recipe again",
        "old": "07_evaluation/patient_counts.parquet has changed since its leaderboard was written; run the recipe to its end",
        "garbled": "its leaderboard.csv holds 'several' in column n_train_seeds; expected int",
    }
    assert "## Left out" in board_markdown(board.entries, board.left_out)


def test_no_finished_run_is_one_error_that_names_all_folders(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no finished run among the 0 folders given; run a recipe first$"):
        leaderboard_over([])
    with pytest.raises(ConfigError) as caught:
        leaderboard_over([tmp_path, tmp_path / "nowhere"])
    assert str(caught.value) == (
        "no finished run among the 2 folders given; run a recipe first\n"
        f"  - {tmp_path}: it is no run folder: it holds no stage's folder\n"
        f"  - {tmp_path / 'nowhere'}: there is no such folder"
    )


def test_two_runs_of_one_name_are_both_kept_and_told_apart_by_path(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / place / "same", {"gold": 0.5}) for place in ("a", "b")]
    folders.append(write_run(tmp_path / "c", {"gold": 0.5}))
    board = leaderboard_over([*folders, folders[0]])  # one of them twice
    assert sorted(entry.run for entry in board.entries) == sorted([str(folders[0]), str(folders[1]), "c"])


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_latex_escapes_what_latex_would_read_as_a_command(tmp_path: Path) -> None:
    folder = write_run(tmp_path / r"50%_&#$~^{x}\y", {"gold_dualalign": 0.5})
    board = leaderboard_over([folder])
    text = board_latex(board.entries, {})
    name = r"50\%\_\&\#\$\textasciitilde{}\textasciicircum{}\{x\}\textbackslash{}y"
    assert f"\n{name} & gold\\_dualalign & toy, fine-tuned & " in text
    for begin, end in ((r"\begin{table}", r"\end{table}"), (r"\begin{tabular}{lllrrrrr}", r"\end{tabular}")):
        assert text.count(begin) == text.count(end) == 1
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {7}  # eight columns
    assert text.isascii()
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    # no braces are left open
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


def test_latex_says_how_many_intervals_ties_and_what_is_not_shown(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, {"gold": 0.5}) for name in ("one", "two")]
    folders.append(write_run(tmp_path / "odd", {"gold": 0.5}, task_version=4))
    board = leaderboard_over([*folders, tmp_path / "nowhere"])
    text = board_latex(board.entries, board.left_out)
    caption = next(line for line in text.splitlines() if line.startswith(r"\caption"))
    assert f"(300 sentences of {N_PATIENTS} patients)" in caption
    assert r"95\% intervals" in caption
    assert r"\textsuperscript{\textdagger} statistically tied with the first" in caption
    assert "Not comparable and not shown: 1 row: another version of the task (4 instead of 3)." in caption
    assert "1 folder left out." in caption
    assert r"\textsuperscript{\textdagger}" in text.split(r"\midrule")[1]


def test_the_page_escapes_names_and_asks_for_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one & <b>two", {"gold": 0.5, "more": 0.5}, train_seconds=61.0, spent_usd=1.5)
    path = tmp_path / "board.html"
    write_leaderboard(leaderboard_over([folder, tmp_path / "nowhere"]), {"html": path, "csv": None})
    html = path.read_text(encoding="utf-8")
    assert "one &amp; &lt;b&gt;two" in html and "<b>two" not in html
    assert not re.findall(r"(?:src|href)=\"(?!data:)", html) and "http:" not in html and "https:" not in html
    assert "1 min 01 s" in html and "there is no such folder" in html
    heads, row = re.findall(r"<th scope=\"col\"", html), html.split("<tbody>")[1].split("</tr>")[0]
    assert len(heads) == len(re.findall(r"<t[hd][ >]", row))


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH")
def test_in_a_browser_every_head_becomes_a_button_and_the_filter_appears(tmp_path: Path) -> None:
    """The script of the report page, which this page shares, ends by showing the filter: so it met no error."""
    folder = write_run(tmp_path / "one", {"gold": 0.3, "more": 0.9})
    path = tmp_path / "board.html"
    write_leaderboard(leaderboard_over([folder]), {"html": path})
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert dom.count('class="sort"') == path.read_text(encoding="utf-8").count('<th scope="col"') > 10
    [form] = re.findall(r"<form[^>]*>", dom)
    assert "hidden" not in form


def test_the_command_prints_and_writes_all_four(tmp_path: Path) -> None:
    folders = [str(write_run(tmp_path / name, {"gold": 0.5})) for name in ("one", "two")]
    paths = {kind: tmp_path / f"board.{kind}" for kind in ("csv", "md", "latex", "html")}
    options = [part for kind, path in paths.items() for part in (f"--{kind}", str(path))]
    done = CliRunner().invoke(app, ["leaderboard", *folders, *options])
    assert done.exit_code == 0, done.output
    assert done.output.strip() == paths["md"].read_text(encoding="utf-8").strip()
    assert done.output.startswith("# Leaderboard of 2 runs\n")
    assert {row["run"] for row in read(paths["csv"].read_text())} == {"one", "two"}
    assert r"\begin{tabular}" in paths["latex"].read_text()
    assert "<table" in paths["html"].read_text(encoding="utf-8")


def test_an_undefined_score_comes_last_with_its_status(tmp_path: Path) -> None:
    empty = make_row("none", status="undefined", reason="no true sentence")
    entries = compare([Board("one", (empty, make_row(macro_f1=0.2)))])
    assert [entry.row.mix for entry in entries] == ["gold", "none"]
    assert "| one | `none` | toy, fine-tuned | undefined |" in board_markdown(entries, {})
