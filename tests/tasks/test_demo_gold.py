"""The demo gold keeps what its description promises."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from sklearn.metrics import cohen_kappa_score

from harness.schemas.shipped import shipped
from harness.schemas.task import load_task

FOLDER = shipped("tasks") / "alzheimers"
HARD_KINDS = {"denied", "family_history", "drug_side_effect", "resolved", "test_score", "other_sense"}
STATED_KAPPA = 0.996  # SOURCES.md


@pytest.fixture(scope="module")
def gold() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "demo_gold.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def annotation() -> list[dict[str, str]]:
    with (FOLDER / "demo_gold_annotation.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shingles(text: str, n_words: int) -> set[tuple[str, ...]]:
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return set(zip(*(words[i:] for i in range(n_words)), strict=False))


def test_it_has_720_sentences_of_80_patients(gold: list[dict[str, Any]]) -> None:
    assert len(gold) == 720
    assert len({row["patient_id"] for row in gold}) == 80
    assert len({row["sentence_id"] for row in gold}) == 720


def test_a_third_is_other_and_a_hundred_of_those_are_hard(gold: list[dict[str, Any]]) -> None:
    other = [row for row in gold if row["label"] == "other"]
    assert len(other) >= len(gold) / 3
    kinds = Counter(row["hard_kind"] for row in other if row["hard_kind"])
    assert set(kinds) == HARD_KINDS
    assert sum(kinds.values()) >= 100
    assert min(kinds.values()) >= 15


def test_no_two_sentences_are_near_duplicates(gold: list[dict[str, Any]]) -> None:
    sets = [shingles(row["text"], 3) for row in gold]
    for (i, one), (j, two) in combinations(enumerate(sets), 2):
        if one & two:
            assert len(one & two) / len(one | two) < 0.2, (gold[i]["sentence_id"], gold[j]["sentence_id"])


def test_no_sentence_comes_from_a_template(gold: list[dict[str, Any]]) -> None:
    shared = Counter(shingle for row in gold for shingle in shingles(row["text"], 5))
    assert max(shared.values()) <= 2


def test_patients_cover_every_subgroup_level_and_one_level_is_too_rare(gold: list[dict[str, Any]]) -> None:
    task = load_task("alzheimers", base=FOLDER)
    patients = {row["patient_id"]: row for row in gold}.values()
    counts = {
        (variable, level): sum(patient[variable] == level for patient in patients)
        for variable, found in task.file.subgroups.items()
        for level in found.levels
    }
    assert counts[("race_ethnicity", "nh_aian")] == 2
    assert min(n for key, n in counts.items() if key != ("race_ethnicity", "nh_aian")) >= 10


def test_a_patient_has_one_value_of_each_variable(gold: list[dict[str, Any]]) -> None:
    for variable in ("age_years", "age_band", "sex", "race_ethnicity", "stage"):
        assert len({(row["patient_id"], row[variable]) for row in gold}) == 80


def test_both_labels_of_every_sentence_are_kept_and_disagreements_are_adjudicated(
    gold: list[dict[str, Any]], annotation: list[dict[str, str]]
) -> None:
    assert {row["sentence_id"]: row["label"] for row in gold} == {
        row["sentence_id"]: row["label"] for row in annotation
    }
    for row in annotation:
        agreed = row["annotator_a"] == row["annotator_b"]
        assert agreed == (row["adjudication"] == "")
        assert row["label"] in {row["annotator_a"], row["annotator_b"]}


def test_the_stated_agreement_is_the_measured_one(annotation: list[dict[str, str]]) -> None:
    kappa = cohen_kappa_score([row["annotator_a"] for row in annotation], [row["annotator_b"] for row in annotation])
    assert kappa == pytest.approx(STATED_KAPPA, abs=5e-4)
    assert f"{STATED_KAPPA}" in (FOLDER / "SOURCES.md").read_text(encoding="utf-8")
