import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from toy_arms import toy_run, write_sentence, writing_server

from harness.errors import BackendError, DataError, SpendingError
from harness.generation.stage import units
from harness.schemas.manifest import Counts
from harness.schemas.tables import GOLD, REJECTED, SYNTHETIC
from harness.store import Run, hash_inputs, read_rows, sha256_file, unit_folder, write_table

SIGHTS = {
    "unguided": ["label"],
    "statistical": ["label", "persona"],
    "semantic": ["label", "trajectory"],
    "dualalign": ["label", "persona", "trajectory"],
}


def do(run: Run, arm: str) -> Counts:
    (unit,) = [unit for unit in units(run) if unit.name == arm]
    hash_inputs(run, unit.inputs)
    folder = unit_folder(run, unit)
    folder.mkdir(parents=True, exist_ok=True)
    counts = unit.work(folder)
    assert all((folder / name).is_file() for name in unit.outputs)
    return counts


def rows(run: Run, arm: str) -> list[dict[str, Any]]:
    return read_rows(run.path("generation", arm, "synthetic.parquet"), SYNTHETIC)


def arms(backend: dict[str, Any], n: int = 20, **more: Any) -> dict[str, Any]:
    return {name: {"sees": sees, "n_sentences": n, "backend": backend, **more} for name, sees in SIGHTS.items()}


def test_arms_get_the_training_golds_label_quotas_whatever_is_held_out(tmp_path: Path) -> None:
    with writing_server() as (backend, _):
        hashes = []
        for held_out in ("other", "mood"):
            run = toy_run(tmp_path / held_out, arms(backend), held_out=held_out)
            for arm in SIGHTS:
                do(run, arm)
                # training gold is 5:3:2 of ten; 20 sentences are 10, 6, 4, however many held-out ones are `mood`
                counted = Counter(row["planned_label"] for row in rows(run, arm))
                assert counted == {"memory": 10, "mood": 6, "other": 4}
            hashes.append([sha256_file(run.path("generation", arm, "synthetic.parquet")) for arm in SIGHTS])
    assert hashes[0] == hashes[1]


def test_rows_say_what_their_prompt_showed_and_no_more(tmp_path: Path) -> None:
    with writing_server() as (backend, prompts):
        run = toy_run(tmp_path, arms(backend))
        for arm, sees in SIGHTS.items():
            del prompts[:]
            do(run, arm)
            for row in rows(run, arm):
                for column in ("persona_id", "sex", "age_band", "race_ethnicity"):
                    assert (row[column] is not None) == ("persona" in sees)
                assert (row["stage"] is not None) == ("trajectory" in sees)
                assert (row["visit_index"] is not None) == (len(sees) == 3)
                assert "trajectory" in sees or row["planned_term"] is None
            assert any("race" in prompt for prompt in prompts) == ("persona" in sees)
            assert any("Note:" in prompt for prompt in prompts) == ("trajectory" in sees)


def test_an_instructed_arm_shows_no_example_and_says_which_template_it_used(tmp_path: Path) -> None:
    with writing_server() as (backend, prompts):
        run = toy_run(tmp_path, arms(backend, prompt="instruct"))
        for arm, sees in SIGHTS.items():
            del prompts[:]
            do(run, arm)
            assert {row["template"] for row in rows(run, arm)} == {"instruct.jinja"}
            assert all("Exactly one sentence" in prompt for prompt in prompts)
            assert not any("freezer" in prompt for prompt in prompts)
            assert any("race" in prompt for prompt in prompts) == ("persona" in sees)
            assert any("Finding:" in prompt for prompt in prompts) == ("trajectory" in sees)
    inputs = {path.name for unit in units(run) for path in unit.inputs}
    assert "few.jsonl" not in inputs


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    with writing_server() as (backend, _):
        hashes = []
        for name in ("a", "b"):
            run = toy_run(tmp_path / name, arms(backend))
            do(run, "dualalign")
            folder = run.path("generation", "dualalign")
            hashes.append([sha256_file(folder / f"{table}.parquet") for table in ("synthetic", "rejected")])
    assert hashes[0] == hashes[1]


def test_a_second_run_asks_nothing_again(tmp_path: Path) -> None:
    with writing_server() as (backend, prompts):
        run = toy_run(tmp_path, arms(backend))
        do(run, "semantic")
        before = sha256_file(run.path("generation", "semantic", "synthetic.parquet"))
        n_asked = len(prompts)
        do(run, "semantic")
        assert len(prompts) == n_asked >= 20
    assert sha256_file(run.path("generation", "semantic", "synthetic.parquet")) == before


def test_what_is_dropped_is_kept_with_its_reason_and_counted(tmp_path: Path) -> None:
    def sloppy(prompt: str, seed: int) -> str:
        return write_sentence(prompt, seed) if seed % 3 else "Short."

    with writing_server(sloppy) as (backend, _):
        run = toy_run(tmp_path, arms(backend, sampling={"max_attempts": 2}))
        counts = do(run, "dualalign")
    rejected = read_rows(run.path("generation", "dualalign", "rejected.parquet"), REJECTED)
    dropped = [row for row in rejected if row["reason"] != "unfilled"]
    assert {row["reason"] for row in dropped} == {"length"}
    assert {row["detail"] for row in dropped} == {"Short."}
    assert counts.rows_in == counts.rows_out + counts.rejected
    assert counts.rejected == len(dropped) > 0
    assert counts.notes["unfilled"] == len(rejected) - len(dropped) == 20 - counts.rows_out
    assert counts.notes["reasons"] == {"length": len(dropped)}
    assert sum(one["asked"] for one in counts.notes["by_label"].values()) == counts.rows_in
    json.dumps(counts.notes)


def test_an_arm_of_nothing_but_rubbish_is_an_error(tmp_path: Path) -> None:
    with writing_server(lambda prompt, seed: "Short.") as (backend, _):
        run = toy_run(tmp_path, arms(backend, sampling={"max_attempts": 2}))
        with pytest.raises(BackendError, match=r"arm 'unguided': none of 40 candidates was kept \(length: 40\)"):
            do(run, "unguided")


def test_a_cap_stops_over_all_arms_and_a_higher_one_goes_on_without_asking_twice(tmp_path: Path) -> None:
    with writing_server() as (backend, prompts):
        given = arms(backend, n=10)
        uncapped = toy_run(tmp_path / "uncapped", given)
        expected = {arm: do(uncapped, arm).rows_out for arm in SIGHTS}
        n_needed = len(prompts)
        del prompts[:]
        # each answer is counted at 9 + 7 tokens: room for about one and a half of the four arms
        capped = toy_run(tmp_path / "capped", given, spending={"max_tokens_total": 16 * n_needed // 2})
        do(capped, "unguided")
        with pytest.raises(SpendingError) as caught:
            for arm in list(SIGHTS)[1:]:
                do(capped, arm)
        assert re.search(r"arm '\w+': \d+ of 10 sentences wait for an answer in round \d+\. spending\.max_tokens_total stops "
                         r"here: [\d,]+ tokens of [\d,]+ are spent", str(caught.value))  # fmt: skip
        assert 0 < len(prompts) <= n_needed // 2
        raised = toy_run(tmp_path / "capped", given, spending={"max_tokens_total": 16 * n_needed + 2000})
        assert {arm: do(raised, arm).rows_out for arm in SIGHTS} == expected
        assert len(prompts) == n_needed  # what was answered before was not asked again
    for arm in SIGHTS:
        assert rows(raised, arm) == rows(uncapped, arm)


def test_no_text_and_no_prompt_reaches_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with writing_server() as (backend, _), caplog.at_level("DEBUG"):
        run = toy_run(tmp_path, arms(backend))
        do(run, "dualalign")
    assert "generation/dualalign: kept 20 of" in caplog.text
    for row in rows(run, "dualalign"):
        assert row["text"] not in caplog.text
    assert "Sentence:" not in caplog.text


def test_an_arm_uses_only_its_own_number_of_personas(tmp_path: Path) -> None:
    with writing_server() as (backend, _):
        run = toy_run(tmp_path, arms(backend, n_personas=2))
        do(run, "dualalign")
    assert len({row["persona_id"] for row in rows(run, "dualalign")}) == 2


def test_labels_may_follow_the_trajectory(tmp_path: Path) -> None:
    with writing_server() as (backend, _):
        run = toy_run(tmp_path, arms(backend, n=16, labels="trajectory"))
        do(run, "dualalign")
    # the toy plan holds 3 memory, 3 mood and 2 denied mentions a visit
    assert Counter(row["planned_label"] for row in rows(run, "dualalign")) == {"memory": 6, "mood": 6, "other": 4}


def test_settings_decide_and_transport_does_not(tmp_path: Path) -> None:
    def settings(**backend: Any) -> list[Any]:
        base = {"kind": "openai_api", "base_url": "http://localhost:1/v1", "model": "m"}
        return [unit.settings for unit in units(toy_run(tmp_path, arms({**base, **backend})))]

    assert settings() == settings(concurrency=3, timeout_s=7, max_retries=0)
    assert settings() != settings(model="n")
    for unit in units(toy_run(tmp_path, arms({"kind": "embedded"}))):
        json.dumps(dict(unit.settings))
        assert "requests.sqlite-journal" in unit.resumable  # without it a torn transaction could not be rolled back


def test_units_need_no_inputs_and_only_what_their_arm_sees(tmp_path: Path) -> None:
    run = toy_run(tmp_path, arms({"kind": "embedded"}))
    inputs = {unit.name: {path.name for path in unit.inputs} for unit in units(run)}
    assert inputs["unguided"] == {"gold.parquet", "few.jsonl"}
    assert inputs["statistical"] == {"gold.parquet", "few.jsonl", "personas.parquet"}
    assert inputs["semantic"] == {"gold.parquet", "few.jsonl", "visits.parquet", "mentions.parquet"}
    assert inputs["dualalign"] == inputs["statistical"] | inputs["semantic"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_file_is_an_arm(tmp_path: Path, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = [{"sentence": "Gets lost at night.", "label": "memory"}, {"sentence": "", "label": "mood"}]
    path = tmp_path / f"mine.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in content), encoding="utf-8")
    elif suffix == "csv":
        path.write_text("sentence,label\nGets lost at night.,memory\n,mood\n", encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(content), path)
    run = toy_run(tmp_path, {"theirs": {"path": path.name, "columns": {"text": "sentence"}}})
    counts = do(run, "theirs")
    assert (counts.rows_in, counts.rows_out, counts.rejected) == (2, 1, 1)
    (row,) = rows(run, "theirs")
    assert (row["text"], row["planned_label"], row["backend"], row["n_attempts"]) == (
        "Gets lost at night.",
        "memory",
        "file",
        1,
    )
    assert (row["prompt_sha256"], row["template"], row["finish_reason"]) == (None, None, None)


def test_training_gold_without_rows_is_an_error(tmp_path: Path) -> None:
    run = toy_run(tmp_path, arms({"kind": "embedded"}))
    write_table(run.path("cohort", "gold.parquet"), [], GOLD)
    with pytest.raises(DataError, match="no rows of memory, mood, other"):
        do(run, "unguided")
