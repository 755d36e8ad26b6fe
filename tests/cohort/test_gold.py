from typing import Any

import pytest

from harness.cohort.cells import parse_bands
from harness.cohort.gold import import_gold
from harness.errors import DataError
from harness.records import Record, Records
from harness.schemas.recipe_parts import Gold
from harness.schemas.task import Task


def records(*rows: dict[str, Any]) -> Records:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Records(columns, tuple(Record(number, row) for number, row in enumerate(rows, start=1)))


def sentence(**cells: Any) -> dict[str, Any]:
    return {"patient_id": "p1", "text": "Repeats questions.", "label": "memory", **cells}


def faults_of(found: Records, task: Task, **settings: Any) -> list[str]:
    with pytest.raises(DataError) as raised:
        import_gold(found, Gold(**settings), task, "gold.csv")
    head, *lines = str(raised.value).splitlines()
    assert head == f"gold.csv: {len(lines)} fault{'s' if len(lines) > 1 else ''}"
    return [line.removeprefix("  - ") for line in lines]


def test_columns_and_labels_are_mapped(toy_task: Task) -> None:
    found = import_gold(
        records({"id": 1, "person": 12, "sentence": "Got  lost.\r\n", "y": "MEM", "years": 70, "extra": "x"}),
        Gold(
            columns={
                "sentence_id": "id",
                "patient_id": "person",
                "text": "sentence",
                "label": "y",
                "age_years": "years",
            },
            labels={"MEM": "memory"},
        ),
        toy_task,
        "gold",
    )
    row = found.rows[0]
    assert (row["sentence_id"], row["patient_id"], row["text"], row["label"]) == ("1", "12", "Got lost.", "memory")
    assert (row["age_years"], row["age_band"], row["sex"], row["site"]) == (70.0, "65-74", None, None)
    assert found.ignored_columns == ("extra",)


def test_missing_column_names_the_nearest_one(toy_task: Task) -> None:
    faults = faults_of(records({"patient_id": "p1", "txt": "Falls.", "lable": "falls"}), toy_task)
    assert faults == [
        "missing column 'text'; did you mean 'txt'?; found: patient_id, txt, lable; "
        "name yours under gold.columns, e.g. {text: <your column>}",
        "missing column 'label'; did you mean 'lable'?; found: patient_id, txt, lable; "
        "name yours under gold.columns, e.g. {label: <your column>}",
    ]


def test_mistyped_maps_are_reported_together(toy_task: Task) -> None:
    faults = faults_of(
        records(sentence()), toy_task, columns={"sentenceid": "id", "note_id": "note"}, labels={"MEM": "memry"}
    )
    assert [fault.split(":")[0] for fault in faults] == ["gold.columns", "missing column 'note' (for note_id); found",
                                                         "gold.labels"]  # fmt: skip
    assert "did you mean 'sentence_id'?" in faults[0]
    assert "did you mean 'memory'?" in faults[2]


def test_all_faults_of_the_rows_come_together(toy_task: Task) -> None:
    faults = faults_of(
        records(
            sentence(sentence_id="a", sex="female"),
            sentence(sentence_id="a", label="memry"),
            sentence(sentence_id="b", text="  \n"),
            sentence(sentence_id="c", sex="femal", age_years="old"),
            sentence(sentence_id="d", patient_id=None, label=None),
            sentence(sentence_id="e", text=5, label="memry"),
            sentence(sentence_id="f", age_years=70, age_band="75+"),
        ),
        toy_task,
    )
    assert faults == [
        "row 2 and 1 more, column 'label': found 'memry'; did you mean 'memory'?; allowed: memory, falls, other",
        "row 3, column 'text': empty text; a sentence is required",
        "row 4, column 'age_years': found 'old'; allowed: years from 0 to 130, or empty",
        "row 4, column 'sex': found 'femal'; did you mean 'female'?; allowed: female, male, or empty; map yours "
        "under gold.levels, e.g. {sex: {femal: <ours>}}",
        "row 5, column 'patient_id': empty; an id is required",
        "row 5, column 'label': empty; a label is required",
        "row 6, column 'text': found int; must be text",
        "row 7, column 'age_band': found '75+', but the age is 70; correct one of them",
        "row 2, column 'sentence_id': 'a' is already in row 1; ids must be unique (found 2 times)",
    ]


def test_note_text_in_the_wrong_column_is_never_shown(toy_task: Task) -> None:
    note = "Mrs Example was seen on the ward and is quite forgetful these days."
    faults = faults_of(records(sentence(label=note, sex=note, sentence_id="a")), toy_task)
    assert len(faults) == 2
    assert all("a value of 67 characters" in fault for fault in faults)
    assert "Example" not in "".join(faults)


@pytest.mark.parametrize("blank", [None, "", "  ", "unknown", "Unknown", "n/a", float("nan")])
def test_missing_subgroup_values_are_null(toy_task: Task, blank: Any) -> None:
    row = import_gold(records(sentence(sex=blank, age_years=blank)), Gold(), toy_task, "gold").rows[0]
    assert row["sex"] is None
    assert row["age_years"] is None


def test_report_titles_are_read_as_levels(toy_task: Task) -> None:
    assert import_gold(records(sentence(sex="woman")), Gold(), toy_task, "gold").rows[0]["sex"] == "female"


def test_generated_ids_tell_repeats_apart_and_do_not_depend_on_other_patients(toy_task: Task) -> None:
    mine = [sentence(), sentence(), sentence(text="Fell.")]
    alone = import_gold(records(*mine), Gold(), toy_task, "gold").rows
    among = import_gold(records(sentence(patient_id="p0"), *mine), Gold(), toy_task, "gold").rows
    ids = [row["sentence_id"] for row in alone]
    assert len(set(ids)) == 3
    assert [row["sentence_id"] for row in among[1:]] == ids


def test_patient_in_two_splits_is_refused(toy_task: Task) -> None:
    rows = [sentence(split="train"), sentence(split="test"), sentence(patient_id="p2", split="tset")]
    assert faults_of(records(*rows), toy_task, split="column") == [
        "row 3, column 'split': found 'tset'; did you mean 'test'?; allowed: train, validation, test",
        "row 2, column 'split': patient 'p1' is in 'test' here and in 'train' in row 1; a patient belongs to one split",
        "column 'split': no row is in 'test'; it must not be empty",
    ]


def test_duplicates_are_dropped_only_when_asked_and_kept_with_a_reason(toy_task: Task) -> None:
    rows = [sentence(sentence_id="a"), sentence(sentence_id="b"), sentence(sentence_id="c", label="other"),
            sentence(sentence_id="d", patient_id="p2")]  # fmt: skip
    assert len(import_gold(records(*rows), Gold(), toy_task, "gold").rows) == 4
    found = import_gold(records(*rows), Gold(deduplicate=True), toy_task, "gold")
    assert [row["sentence_id"] for row in found.rows] == ["a", "c", "d"]
    assert found.rejected == [{"row_id": "b", "reason": "duplicate", "detail": "repeats a"}]


def test_bands_are_half_open_and_other_levels_are_no_bands() -> None:
    assert parse_bands(["<30", "30-44", "85+"]) == {"<30": (0, 30), "30-44": (30, 45), "85+": (85, float("inf"))}
    assert parse_bands(["young", "65-74"]) is None


@pytest.mark.parametrize(("age", "band"), [(64.9, "<65"), (65, "65-74"), (74.9, "65-74"), (75, "75+"), (104, "75+")])
def test_age_band_follows_the_age(toy_task: Task, age: float, band: str) -> None:
    assert import_gold(records(sentence(age_years=age)), Gold(), toy_task, "gold").rows[0]["age_band"] == band


def test_levels_are_mapped_and_an_unknown_one_says_where(toy_task: Task) -> None:
    rows = records(sentence(sex="F"), sentence(sex="male"), sentence(sex="M"), sentence(sex="U"))
    levels = {"sex": {"F": "female", "U": "unknown"}}
    assert faults_of(rows, toy_task, levels=levels) == [
        "row 3, column 'sex': found 'M'; allowed: female, male, or empty; map yours under gold.levels, e.g. "
        "{sex: {M: <ours>}}"
    ]
    levels["sex"]["M"] = "male"
    found = import_gold(rows, Gold(levels=levels), toy_task, "gold.csv")
    assert [row["sex"] for row in found.rows] == ["female", "male", "male", None]


def test_a_subgroup_without_a_column_is_known_as_such(toy_task: Task) -> None:
    found = import_gold(records(sentence(gender="F", age_years=70)), Gold(), toy_task, "gold.csv")
    assert set(found.without_column) == {"sex", "race_ethnicity", "stage", "site"}  # the age gives the band
