"""Notes through the stage: from planned visits to tables, over real HTTP."""

import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from test_generation_stage import SIGHTS, do
from toy_arms import WORDS, toy_run, writing_server

from harness.generation.stage import units
from harness.schemas.tables import PLANNED, REJECTED, SYNTHETIC
from harness.store import Run, read_rows, sha256_file


def write_note(prompt: str, seed: int) -> str:
    """A note that carries every point of its prompt, different for each seed."""
    rng = random.Random(seed)
    where = iter(rng.sample(WORDS * 6, 100))
    before, _, after = prompt.partition("asked about and not there")
    stated = [re.sub(r" \(\w+\)|, told by.*", "", line[4:]) for line in before.splitlines() if line.startswith("  * ")]
    told = ["Per daughter: " if "told by" in line else "" for line in before.splitlines() if line.startswith("  * ")]
    denied = [line[4:] for line in after.splitlines() if line.startswith("  * ")]
    lines = ["Subjective:", *(f"{who}{term} near the {next(where)} and {next(where)}." for who, term in zip(told, stated, strict=True)),
             *(f"Denies {term} in the {next(where)}." for term in denied), f"Came by the {next(where)}."]  # fmt: skip
    more = " ".join(rng.sample(WORDS, 9))
    lines += ["Objective:", f"Seen near the {more}.", "Assessment:", f"Steady since the {next(where)}.", "Plan:",
              f"Return after the {' '.join(rng.sample(WORDS, 8))}."]  # fmt: skip
    return "\n".join(lines)


def arms(backend: dict[str, Any], n: int = 8, *, max_attempts: int = 8, **more: Any) -> dict[str, Any]:
    more = {"sampling": {"max_new_tokens": 512, "max_attempts": max_attempts}, **more}
    return {
        name: {"sees": sees, "unit": "note", "n_notes": n, "n_sentences": 20, "backend": backend, **more}
        for name, sees in SIGHTS.items()
    }


def tables(run: Run, arm: str) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    folder = run.path("generation", arm)
    planned = defaultdict(list)
    for row in read_rows(folder / "planned.parquet", PLANNED):
        planned[row["text_id"]].append(row)
    return read_rows(folder / "synthetic.parquet", SYNTHETIC), planned


def test_a_note_carries_every_mention_of_its_visit(tmp_path: Path) -> None:
    with writing_server(write_note) as (backend, prompts):
        run = toy_run(tmp_path, arms(backend))
        counts = do(run, "dualalign")
    rows, planned = tables(run, "dualalign")
    assert len(rows) == counts.rows_out == 8
    for row in rows:
        assert (row["unit"], row["planned_label"], row["finish_reason"]) == ("note", None, "stop")
        assert [one["mention_index"] for one in planned[row["text_id"]]] == list(range(8))
        for one in planned[row["text_id"]]:
            assert one["term"] in row["text"]
        assert row["text"].count("\n") > 5
    assert Counter(row["stage"] for row in rows) == {"early": 4, "late": 4}
    assert all("Write one clinic note" in prompt for prompt in prompts)


def test_a_note_arm_without_visits_meets_the_label_quotas(tmp_path: Path) -> None:
    with writing_server(write_note) as (backend, _):
        run = toy_run(tmp_path, arms(backend))
        for arm in ("unguided", "statistical"):
            do(run, arm)
            rows, planned = tables(run, arm)
            # training gold is 5:3:2 of ten; 20 planned sentences are 10, 6, 4
            assert Counter(one["label"] for some in planned.values() for one in some) == {
                "memory": 10,
                "mood": 6,
                "other": 4,
            }
            assert all(one["term"] is None for some in planned.values() for one in some)
            assert all((row["persona_id"] is not None) == (arm == "statistical") for row in rows)
            assert all(row["stage"] is row["style"] is row["visit_index"] is None for row in rows)


def test_a_note_that_leaves_something_out_is_dropped_with_its_reason(tmp_path: Path) -> None:
    def forgetful(prompt: str, seed: int) -> str:
        note = write_note(prompt, seed)
        return re.sub("gets lost", "goes out", note) if seed % 2 else note

    with writing_server(forgetful) as (backend, _):
        run = toy_run(tmp_path, arms(backend, max_attempts=3))
        counts = do(run, "semantic")
    rejected = read_rows(run.path("generation", "semantic", "rejected.parquet"), REJECTED)
    assert {row["reason"] for row in rejected} <= {"lacks planned terms", "unfilled"}
    assert counts.notes["reasons"]["lacks planned terms"] == counts.rejected > 0


def test_notes_are_the_same_bytes_again_and_ask_nothing_twice(tmp_path: Path) -> None:
    with writing_server(write_note) as (backend, prompts):
        run = toy_run(tmp_path, arms(backend))
        do(run, "dualalign")
        names = ("synthetic", "planned", "rejected")
        before = [sha256_file(run.path("generation", "dualalign", f"{name}.parquet")) for name in names]
        n_asked = len(prompts)
        do(run, "dualalign")
        assert len(prompts) == n_asked
    assert [sha256_file(run.path("generation", "dualalign", f"{name}.parquet")) for name in names] == before


def test_a_sentence_has_one_row_of_plan(tmp_path: Path) -> None:
    with writing_server() as (backend, _):
        run = toy_run(tmp_path, {"dual": {"sees": SIGHTS["dualalign"], "n_sentences": 10, "backend": backend}})
        do(run, "dual")
    rows, planned = tables(run, "dual")
    for row in rows:
        (one,) = planned[row["text_id"]]
        assert (one["label"], one["term"]) == (row["planned_label"], row["planned_term"])


def test_how_an_arm_is_annotated_decides_no_text(tmp_path: Path) -> None:
    plain = units(toy_run(tmp_path / "a", arms({"kind": "embedded"})))
    other = units(
        toy_run(
            tmp_path / "b",
            arms({"kind": "embedded"}, annotation={"labels": "llm", "votes": 3, "backend": {"kind": "embedded"}}),
        )
    )
    assert [json.dumps(dict(unit.settings)) for unit in plain] == [json.dumps(dict(unit.settings)) for unit in other]


@pytest.mark.parametrize(
    ("arm", "expected"), [("unguided", {"gold.parquet"}), ("semantic", {"visits.parquet", "mentions.parquet"})]
)
def test_note_units_read_only_what_decides_them(tmp_path: Path, arm: str, expected: set[str]) -> None:
    (unit,) = [one for one in units(toy_run(tmp_path, arms({"kind": "embedded"}))) if one.name == arm]
    assert {path.name for path in unit.inputs} == expected
