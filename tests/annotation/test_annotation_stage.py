import json
import random
from pathlib import Path
from typing import Any

import pytest
from toy_texts import NOTE, annotator, do, note, reads_meaning, sentence, tables, toy_run

from harness.annotation.stage import units
from harness.errors import BackendError, DataError
from harness.store import sha256_file, unit_folder

ROOM = {"max_new_tokens": 512}


def llm(backend: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"labels": "llm", "backend": backend, **more}


def test_a_sentence_keeps_the_label_it_was_asked_for(tmp_path: Path) -> None:
    texts = [sentence(0), sentence(1, backend="file", housing="alone", text=" Two. Sentences. ")]
    counts = do(run := toy_run(tmp_path, {}, texts=texts))
    found = tables(run)
    first, second = found["sentences"]
    assert (first["sentence_id"], first["label"], first["label_source"], first["confidence"]) == (
        "dual/000000/0", "memory", "plan", None,
    )  # fmt: skip
    assert (first["planned_label"], first["term"], first["annotator_label"]) == ("memory", "forgets names", None)
    assert (first["sex"], first["stage"], first["persona_id"], first["housing"]) == ("female", None, "p0", None)
    assert (second["label_source"], second["text"], second["housing"]) == ("file", "Two. Sentences.", "alone")
    assert (counts.rows_in, counts.rows_out, counts.rejected) == (2, 2, 0)
    assert set(found) == {"sentences", "rejected"}  # nobody was asked, so nothing agrees or differs


def test_a_note_is_cut_and_labelled_by_what_each_sentence_says(tmp_path: Path) -> None:
    counts = do(run := toy_run(tmp_path, {}, texts=[note()], unit="note", sampling=ROOM))
    found = tables(run)
    assert [(row["text"], row["label"], row["term"]) for row in found["sentences"]] == [
        ("Forgets names of friends.", "memory", "forgets names"),
        ("Tearful when she gets lost.", "mood", "tearful"),  # ties: mood before memory
        ("Denies falls.", "other", "falls"),
        ("Alert and neat.", "other", None),
        ("Gets lost on the way home but is not tearful.", "memory", "gets lost"),
    ]
    for row in found["sentences"]:
        assert NOTE[row["char_start"] : row["char_end"]] == row["text"]
        assert row["sex"] == "female"
    assert [(row["reason"], row["detail"]) for row in found["rejected"]] == [
        ("unplanned", "Falls again, see in spring.")
    ]
    assert (counts.rows_in, counts.rows_out, counts.rejected) == (6, 5, 1)


def test_an_annotator_labels_and_its_agreement_with_the_plan_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def mistaken(text: str, seed: int) -> str:
        return json.dumps({"label": "other"}) if "kettle" in text else reads_meaning(text, seed)

    with annotator(mistaken) as (backend, server), caplog.at_level("INFO"):
        run = toy_run(tmp_path, llm(backend))
        counts = do(run)
    found = tables(run)
    assert len(server.bodies) == 12
    assert all(row["label"] == row["annotator_label"] and row["confidence"] == 1 for row in found["sentences"])
    differing = found["disagreements"]  # sentences 0, 5 and 10 are near the kettle
    assert [row["sentence_id"][-3:] for row in differing] == ["0/0", "5/0", "0/0"]
    assert all(row["kept"] and row["annotator_label"] == "other" != row["planned_label"] for row in differing)
    rows = {row["class"]: row for row in found["agreement"]}
    # 12 sentences, 9 agree. Plan 6, 6, 0; annotator 4, 5, 3. Chance (6*4 + 6*5) / 144 = 0.375; (0.75 - 0.375) / 0.625 = 0.6
    assert rows["all"]["kappa"] == pytest.approx(0.6)
    assert (rows["all"]["n"], rows["all"]["n_both"]) == (12, 9)
    assert rows["all"]["ci_low"] < 0.6 < rows["all"]["ci_high"]
    # memory: 4 both, 6 by plan, 4 by annotator. Agree 10/12; chance (6*4 + 6*8) / 144 = 0.5; (0.8333 - 0.5) / 0.5 = 2/3
    assert (rows["memory"]["n_planned"], rows["memory"]["n_annotated"], rows["memory"]["n_both"]) == (6, 4, 4)
    assert rows["memory"]["kappa"] == pytest.approx(2 / 3)
    assert rows["other"]["kappa"] == 0  # never planned: no agreement beyond chance
    assert counts.notes["agreement"]["kappa"] == pytest.approx(0.6)
    assert "agrees with the plan on 9 of 12, kappa 0.600" in caplog.text
    assert not any(row["text"] in caplog.text for row in found["sentences"])


def test_what_differs_may_be_dropped_and_is_kept_with_its_reason(tmp_path: Path) -> None:
    with annotator(lambda text, seed: '{"label": "memory"}') as (backend, _):
        run = toy_run(tmp_path, llm(backend, disagreement="drop"))
        do(run)
    found = tables(run)
    assert {row["label"] for row in found["sentences"]} == {"memory"}
    assert {row["reason"] for row in found["rejected"]} == {"disagreement"}
    assert len(found["rejected"]) == len(found["disagreements"]) == 6
    assert not any(row["kept"] for row in found["disagreements"])


def test_votes_give_a_confidence_and_unsure_labels_are_dropped(tmp_path: Path) -> None:
    def wavering(text: str, seed: int) -> str:
        return json.dumps({"label": random.Random(seed).choice(["memory", "memory", "mood"])})

    with annotator(wavering) as (backend, server):
        run = toy_run(tmp_path, llm(backend, votes=5, min_confidence=0.8))
        do(run)
    found = tables(run)
    assert len(server.bodies) == 60
    assert len({body["seed"] for body in server.bodies}) == 60
    assert {row["confidence"] for row in found["sentences"]} <= {0.8, 1.0}
    assert {row["reason"] for row in found["rejected"]} == {"low confidence"}
    assert len(found["sentences"]) + len(found["rejected"]) == 12


def test_an_unknown_label_is_asked_for_again_and_then_rejected_never_guessed(tmp_path: Path) -> None:
    def stubborn(text: str, seed: int) -> str:
        return (
            '{"label": "memory loss"}'
            if "kettle" in text
            else "Surely memory."
            if "garden" in text
            else '{"label": "mood"}'
        )

    with annotator(stubborn) as (backend, server):
        run = toy_run(tmp_path, llm(backend))
        counts = do(run)
    found = tables(run)
    assert [row["row_id"] for row in found["rejected"]] == [f"dual/{index:06d}/0" for index in (0, 1, 5, 6, 10, 11)]
    assert {row["reason"] for row in found["rejected"]} == {"no valid answer"}
    assert len(server.bodies) == 6 + 3 * 6
    assert counts.notes["answers_without_label"] == {"no JSON and no label": 9, "unknown label": 9}
    assert all(row["label"] == "mood" for row in found["sentences"])


def test_a_second_run_asks_nothing_again_and_gives_the_same_bytes(tmp_path: Path) -> None:
    with annotator() as (backend, server):
        run = toy_run(tmp_path, llm(backend, votes=2))
        do(run)
        folder = run.path("annotation", "dual")
        before = {path.name: sha256_file(path) for path in folder.glob("*.parquet")}
        n_asked = len(server.bodies)
        do(run)
        assert len(server.bodies) == n_asked == 24
    assert {path.name: sha256_file(path) for path in folder.glob("*.parquet")} == before


def test_an_annotator_that_is_down_leaves_no_table_and_is_named(tmp_path: Path) -> None:
    run = toy_run(
        tmp_path, llm({"kind": "openai_api", "base_url": "http://127.0.0.1:9/v1", "model": "m", "max_retries": 0})
    )
    with pytest.raises(BackendError, match=r"annotator of arm 'dual': no answer from http://127.0.0.1:9/v1"):
        do(run)
    assert not list(run.path("annotation", "dual").glob("*.parquet"))


def test_the_prompt_holds_the_guideline_and_nothing_of_the_plan(tmp_path: Path) -> None:
    texts = [sentence(0, planned_label="mood", planned_term="secretword", text="Forgets the names of friends.")]
    with annotator() as (backend, server):
        do(toy_run(tmp_path, llm({**backend, "structured_output": "json_schema"}), texts=texts))
    (body,) = server.bodies
    prompt = body["messages"][0]["content"]
    for part in (
        "- memory: Forgets.",
        "- mood: Feels low.",
        "1. Denied is other.",
        "Sentence: Forgets the names of friends.",
    ):
        assert part in prompt
    assert "secretword" not in prompt
    assert body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == [
        "memory",
        "mood",
        "other",
    ]


def test_labels_of_people_come_back_by_sentence(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("sentence_id,label\ndual/000001/0,Memory Trouble\ndual/000002/0,memory\n", encoding="utf-8")
    run = toy_run(tmp_path, {"labels": "file", "path": path})
    counts = do(run)
    found = tables(run)
    by_id = {row["sentence_id"]: row for row in found["sentences"]}
    assert (by_id["dual/000001/0"]["label"], by_id["dual/000001/0"]["label_source"]) == ("memory", "file")
    assert (by_id["dual/000003/0"]["label"], by_id["dual/000003/0"]["label_source"]) == ("mood", "plan")
    assert [row["sentence_id"] for row in found["disagreements"]] == ["dual/000001/0"]
    assert counts.notes["labelled_by_file"] == 2
    assert {row["class"]: row["n"] for row in found["agreement"]}["all"] == 2


def test_faults_of_a_label_file_come_together_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    lines = [
        "sentence_id,label",
        "dual/000099/0,memory",
        "dual/000001/0,memry",
        "dual/000002/0,mood",
        "dual/000002/0,mood",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    run = toy_run(tmp_path, {"labels": "file", "path": path})
    with pytest.raises(DataError) as caught:
        do(run)
    message = str(caught.value)
    for part in (
        f"{path}: 3 faults", "row 2: sentence_id 'dual/000099/0' is no sentence of arm 'dual'; did you mean",
        "row 3: label 'memry'; did you mean 'memory'?; allowed: memory, mood, other",
        "row 5: sentence_id 'dual/000002/0' stands in row 4 already",
    ):  # fmt: skip
        assert part in message
    assert not list(run.path("annotation", "dual").glob("*.parquet"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sentence,label\nx,memory\n", "missing column sentence_id; found sentence, label"),
        ("sentence_id,label\nduel/000001/0,memory\n", "row 2: sentence_id 'duel/000001/0' is of no arm"),
    ],
)
def test_a_label_file_of_something_else_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        do(toy_run(tmp_path, {"labels": "file", "path": path}))


def test_what_decides_labels_is_in_the_settings_and_transport_is_not(tmp_path: Path) -> None:
    def settings(**more: Any) -> str:
        backend = {"kind": "openai_api", "base_url": "http://localhost:1/v1", "model": "m", **more.pop("backend", {})}
        (unit,) = units(toy_run(tmp_path, llm(backend, **more)))
        assert "answers.sqlite-journal" in unit.resumable
        return json.dumps(dict(unit.settings))

    assert settings() == settings(backend={"concurrency": 2, "timeout_s": 3})
    assert len({settings(), settings(votes=3), settings(temperature=0.9), settings(backend={"model": "n"})}) == 4


def test_a_note_of_labels_alone_leaves_the_labels_to_the_annotator(tmp_path: Path) -> None:
    from harness.schemas.tables import PLANNED
    from harness.store import write_table

    with annotator() as (backend, _):
        run = toy_run(tmp_path, llm(backend), texts=[note()], unit="note", sampling=ROOM, sees=["label"])
        plan = [{"text_id": "000000", "mention_index": 0, "label": "memory"}]
        write_table(run.path("generation", "dual", "planned.parquet"), plan, PLANNED)
        do(run)
    found = tables(run)
    assert [row["label"] for row in found["sentences"]] == ["memory", "memory", "other", "other", "memory", "other"]
    assert all(row["planned_label"] is None for row in found["sentences"])
    (overall, *_) = found["agreement"]
    assert (overall["n"], overall["kappa"], overall["status"]) == (0, None, "undefined")
    assert unit_folder(run, units(run)[0]).name == "dual"
