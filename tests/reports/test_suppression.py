"""A suppressed copy of a small invented study, written by the stage and searched for what must not be in it.

Of 60 test patients 40 have the stage mild, 14 moderate, 6 severe; 4 have the class `other`. Severe and other are too few;
moderate and worry, the next smallest, go with them. Whatever rests on a hidden cell has a number of its own that occurs
nowhere else.
"""

import csv
import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
from invented_run import LABELS, LEVELS
from wandb_files import add_predictions

from harness.reports import stage
from harness.reports.inputs import Inputs
from harness.reports.suppression import NUMBERS, suppress
from harness.schemas.recipe_parts import Reporting
from harness.schemas.tables import AUDIT, CONFUSION, CONTRASTS, GOLD_STATISTICS, METRICS, RELIABILITY
from harness.store import Run, write_table

PATIENTS = {"memory": 45, "function": 40, "worry": 30, "other": 4}
STAGES = {"mild": 40, "moderate": 14, "severe": 6}
SEXES = {"female": 35, "male": 25}
TOTAL = 60
SMALL = 0.987654  # a value that rests on a hidden cell
SMALL_COUNT = 70717
TELLS = ("0.987", "0.988", "987654", "70717", "70,717")
HIDDEN_PLACES = {("stage", "severe"), ("stage", "moderate"), ("stage", "gap"), ("stage", "(interaction)")}


def is_small(variable: str, level: str, label: str) -> bool:
    return (variable, level) in HIDDEN_PLACES or label in ("other", "worry")


def statistics() -> list[dict[str, Any]]:
    """Of the test split as told above; of the others four times as many, so that nothing is small there."""
    rows = []
    for split, times in (("train", 4), ("validation", 4), ("test", 1), ("all", 9)):
        places = [("overall", "all", TOTAL), *(("stage", level, n) for level, n in STAGES.items())]
        places += [("sex", level, n) for level, n in SEXES.items()]
        for variable, level, n in places:
            for label, have in (*PATIENTS.items(), ("all", TOTAL)):
                few = split == "test" and is_small(variable, level, label)
                rows.append({
                    "split": split, "variable": variable, "level": level, "label": label,
                    "n_patients": times * n * have // TOTAL if times == 1 or split == "all" else times * max(n * have // TOTAL, 11),
                    "n_sentences": SMALL_COUNT if few or split == "all" else 3 * times * n,
                })  # fmt: skip
    return rows


def poisoned(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the telling numbers, where it rests on a hidden cell."""
    if not is_small(row["subgroup_variable"], row["subgroup_level"], row["class"]):
        return row
    numbers = {name: SMALL for name in ("value", "difference", "ci_low", "ci_high", "detectable") if name in row}
    counts = {name: SMALL_COUNT for name in ("n", "n_positive", "n_patients") if name in row}
    return {**row, **numbers, **counts, "status": "ok", "reason": "best: mild; worst: severe, 70717 patients"}


def study(make_run: Callable[..., Run], **changes: Any) -> Run:
    run = add_predictions(make_run(arms=("dualalign",), seeds_per_mix=1, **changes))
    folder = run.path("evaluation")
    for name, spec in (("metrics", METRICS), ("contrasts", CONTRASTS)):
        rows = [poisoned(row) for row in pq.read_table(folder / f"{name}.parquet").to_pylist()]
        middle = [poisoned({**row, "subgroup_level": "moderate"}) for row in rows if row["subgroup_level"] == "severe"]
        write_table(folder / f"{name}.parquet", [*rows, *middle], spec)
    confusion = pq.read_table(folder / "confusion.parquet").to_pylist()
    confusion = [{**row, "n": SMALL_COUNT} if row["true_label"] in ("other", "worry") else row for row in confusion]
    write_table(folder / "confusion.parquet", confusion, CONFUSION)
    bins = pq.read_table(folder / "reliability.parquet").to_pylist()
    of_sex = [{**row, "n": 40} for row in bins if row["subgroup_variable"] != "stage"]
    severe = [{**row, "subgroup_variable": "stage", "subgroup_level": "severe", "right": SMALL, "n": 40} for row in bins
              if (row["subgroup_variable"], row["subgroup_level"]) == ("overall", "all")]  # fmt: skip
    write_table(folder / "reliability.parquet", [*of_sex, *severe], RELIABILITY)
    write_table(run.path("cohort", "gold_statistics.parquet"), statistics(), GOLD_STATISTICS)
    audit = [
        {
            "check": "near_duplicate",
            "origin": "gold",
            "against": "test",
            "n_checked": SMALL_COUNT,
            "n_found": 3,
            "n_removed": 3,
        }
    ]
    write_table(run.path("mixes", "gold", "audit.parquet"), audit, AUDIT)
    return run


def write(run: Run) -> Path:
    (unit,) = stage.units(run)
    folder = run.path("reports")
    folder.mkdir()
    unit.work(folder)
    return folder


def texts(folder: Path) -> dict[str, str]:
    """Everything that was written, W&B's files and the page's downloads in the clear."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): unquote(path.read_bytes().decode("utf-8", "replace")) for path in files}


def downloads(page: str) -> dict[str, list[dict[str, str]]]:
    found = re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)"[^>]*download="([^"]*)"', page)
    found += [
        (uri, name)
        for name, uri in re.findall(r'download="([^"]*)"[^>]*href="data:text/csv;charset=utf-8,([^"]*)"', page)
    ]
    return {name: list(csv.DictReader(io.StringIO(unquote(uri)))) for uri, name in found}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def test_nothing_that_rests_on_a_hidden_cell_is_in_any_file(make_run: Callable[..., Run], offline: None) -> None:
    full = study(make_run)
    folder = write(full)
    limited = full.recipe.file.model_copy(update={"reporting": Reporting(min_patients_shown=11)})
    (unit,) = stage.units(Run(recipe=full.recipe.model_copy(update={"file": limited}), folder=full.folder))
    unit.work(folder)  # over a full copy, as a recipe that was changed would
    found = texts(folder)
    assert {name for name in found if "/" not in name} == set(stage.OUTPUTS)
    assert sum(name.endswith(".wandb") for name in found) == 8
    for name, text in found.items():
        told = [tell for tell in TELLS if tell in text]
        assert not told, f"{name} tells {told}"
    assert "sentence_id" not in "".join(text for name, text in found.items() if name.startswith("wandb"))


def test_the_numbers_searched_for_are_there_in_a_full_copy(make_run: Callable[..., Run], offline: None) -> None:
    """Otherwise the search above would find nothing whatever was written."""
    found = texts(write(study(make_run)))
    for name in ("ablation.md", "report.html"):
        assert "0.988" in found[name] and ("70717" in found[name] or "70,717" in found[name])
    wandb = "".join(text for name, text in found.items() if name.startswith("wandb"))
    assert "987654" in wandb and "70717" in wandb and "sentence_id" in wandb
    assert "uppressed" not in found["report.html"].replace("suppressed-", "")


def test_downloads_of_hidden_cells_hold_a_status_and_no_number(make_run: Callable[..., Run], quiet: None) -> None:
    run = study(make_run, reporting={"min_patients_shown": 11})
    folder = write(run)
    tables = downloads((folder / "report.html").read_text())
    by_level = tables["stage_macro_f1_llm.csv"]
    small = [row for row in by_level if row["subgroup_level"] in ("moderate", "severe", "gap")]
    assert small
    for row in small:
        assert row["status"] == "suppressed"
        assert row["reason"] == "fewer than 11 patients, or what would give such a cell away"
        assert not any(row[name] for name in NUMBERS & set(row))
    shown = [row for row in by_level if row["subgroup_level"] == "mild"]
    assert shown and all(row["status"] == "ok" and row["value"] and row["n_patients"] for row in shown)
    gold = tables["gold_statistics.csv"]
    few = [row for row in gold if row["split"] == "all" or (row["split"] == "test" and row["level"] == "severe")]
    assert few and all(row["n_sentences"] == row["n_patients"] == "suppressed" for row in few)
    confusion = tables["confusion_llm.csv"]
    assert {row["true_label"] for row in confusion if row["n"] == "suppressed"} == {"other", "worry"}
    kept = suppress(stage.read_inputs(run)).reliability
    assert {row["subgroup_level"] for row in kept} == {"all", "female", "male"}


def test_every_text_says_on_top_that_it_is_a_suppressed_copy(make_run: Callable[..., Run], quiet: None) -> None:
    run = study(make_run, reporting={"min_patients_shown": 11})
    n = suppress(stage.read_inputs(run)).n_withheld
    assert n is not None and n > 100
    words = f"Suppressed copy: {n:,} values that rest on fewer than 11 patients"
    found = texts(write(run))
    for name in ("leaderboard.md", "leaderboard.tex", "ablation.md", "fidelity.md", "report.html"):
        assert words in found[name], name


def test_a_limit_of_null_hands_on_the_very_same_inputs(inputs: Inputs) -> None:
    assert suppress(inputs) is inputs


def test_a_limit_that_nothing_is_under_changes_no_number(make_run: Callable[..., Run]) -> None:
    inputs = stage.read_inputs(make_run(reporting={"min_patients_shown": 2}))
    rows = [
        {"split": split, "variable": variable, "level": level, "label": label, "n_sentences": 90, "n_patients": 30}
        for split in ("train", "validation", "test", "all")
        for variable, level in (("overall", "all"), *((v, level) for v, levels in LEVELS.items() for level in levels))
        for label in (*LABELS, "all")
    ]
    inputs = dataclasses.replace(inputs, gold_statistics=rows)
    copy = suppress(inputs)
    assert copy.metrics == inputs.metrics and copy.confusion == inputs.confusion
    assert copy.gold_statistics == rows and copy.reliability == inputs.reliability
    assert copy.temperatures == inputs.temperatures and copy.composition == inputs.composition


def test_a_split_of_few_patients_takes_its_row_counts_and_temperatures_along(make_run: Callable[..., Run]) -> None:
    run = study(make_run, reporting={"min_patients_shown": 11})
    rows = [
        {**row, "n_patients": 8, "n_sentences": 24} if row["split"] == "validation" else row for row in statistics()
    ]
    write_table(run.path("cohort", "gold_statistics.parquet"), rows, GOLD_STATISTICS)
    copy = suppress(stage.read_inputs(run))
    assert not copy.temperatures
    told = {one.stage: one.counts.rows_out for one in copy.manifests}
    assert told["cohort"] is None and told["scoring"] is None and told["training"] == 30


def test_a_diagram_with_a_bin_of_few_sentences_goes_as_a_whole(make_run: Callable[..., Run]) -> None:
    """Share right is linear in the bins: those that stay, and the accuracy, would tell the one that goes."""
    inputs = stage.read_inputs(study(make_run, reporting={"min_patients_shown": 11}))
    rows = [{**row, "n": 10} if (row["bin"], row["subgroup_level"], row["mix"]) == (2, "male", "gold") else row
            for row in inputs.reliability]  # fmt: skip
    kept = suppress(dataclasses.replace(inputs, reliability=rows)).reliability
    assert {row["subgroup_level"] for row in kept if row["mix"] == "gold"} == {"all", "female"}
    assert {row["subgroup_level"] for row in kept if row["mix"] == "gold_dualalign"} == {"all", "female", "male"}


def test_gold_that_an_arm_aims_at_is_withheld_as_gold_is(make_run: Callable[..., Run]) -> None:
    run = study(make_run, reporting={"min_patients_shown": 11})
    rows = [
        {**row, "n_patients": 3} if (row["split"], row["label"]) == ("train", "other") else row for row in statistics()
    ]
    write_table(run.path("cohort", "gold_statistics.parquet"), rows, GOLD_STATISTICS)
    copy = suppress(stage.read_inputs(run))
    by_arm = {
        arm: [row for row in copy.fidelity if (row["arm"], row["measure"]) == (arm, "label_share")]
        for arm in ("gold", "dualalign")
    }
    assert all(row["status"] == "suppressed" and row["value"] is None for row in by_arm["gold"])
    assert all(row["value"] is not None and row["target"] is None for row in by_arm["dualalign"])
    of_sex = [row for row in copy.fidelity if row["arm"] == "gold" and row["measure"] == "domain_share"]
    assert of_sex and all(row["status"] == "suppressed" for row in of_sex)


def test_a_mix_of_few_patients_does_not_tell_how_many_sentences_they_have(make_run: Callable[..., Run]) -> None:
    inputs = stage.read_inputs(study(make_run, reporting={"min_patients_shown": 11}))
    one = dataclasses.replace(inputs.composition["gold_dualalign"], n_gold_patients=3)
    copy = suppress(dataclasses.replace(inputs, composition={**inputs.composition, "gold_dualalign": one}))
    assert copy.composition["gold_dualalign"].n_sentences is None
    assert copy.composition["gold_dualalign"].by_origin == {"gold": (None, 120), "dualalign": (20, 120)}
    assert copy.composition["gold"] == inputs.composition["gold"]


def test_that_nearly_all_patients_have_a_class_is_not_told(make_run: Callable[..., Run]) -> None:
    run = make_run(reporting={"min_patients_shown": 11})
    rows = [
        {"split": split, "variable": "overall", "level": "all", "label": label, "n_sentences": 200,
         "n_patients": 58 if label == "memory" else 60 if label == "all" else 40}
        for split in ("train", "validation", "test", "all")
        for label in (*LABELS, "all")
    ]  # fmt: skip
    copy = suppress(dataclasses.replace(stage.read_inputs(run), gold_statistics=rows))
    assert {row["n_patients"] for row in copy.gold_statistics if row["label"] != "all"} == {None}
    assert {row["n_sentences"] for row in copy.gold_statistics} == {200}
    assert {row["n_patients"] for row in copy.gold_statistics if row["label"] == "all"} == {60}


# What is handed on as it is: no count or value of few patients is in it.
HANDED_ON = {
    "recipe", "split", "curves", "samples", "arms", "input_sha256", "test_set_sha256", "git_commit", "agreement", "spent_usd",
}  # fmt: skip
WITHHELD_FROM = {
    "metrics", "contrasts", "ties", "confusion", "gold_statistics", "reliability", "temperatures", "fidelity", "audit",
    "composition", "manifests", "n_withheld", "exchange",
}  # fmt: skip


def test_every_table_of_a_report_is_either_censored_or_known_to_be_safe() -> None:
    """A new table fails here until somebody has decided."""
    names = {field.name for field in dataclasses.fields(Inputs) if field.init}
    assert names == HANDED_ON | WITHHELD_FROM
