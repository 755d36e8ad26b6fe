"""A real model as annotator: the embedded one."""

from pathlib import Path

import pytest
from toy_texts import do, sentence, tables, toy_run

pytestmark = pytest.mark.slow


@pytest.fixture
def texts(tmp_path: Path) -> list[dict[str, object]]:
    (tmp_path / "few.jsonl").write_text(
        '{"label": "memory", "text": "Asks twice."}\n{"label": "mood", "text": "Sighs at noon."}\n'
        '{"label": "other", "text": "Return in May."}\n',
        encoding="utf-8",
    )
    return [sentence(index) for index in range(3)]


def test_the_embedded_model_labels_or_is_counted_and_never_guessed_for(
    tmp_path: Path, texts: list[dict[str, object]]
) -> None:
    run = toy_run(tmp_path, {"labels": "llm", "max_new_tokens": 12, "backend": {"kind": "embedded"}}, texts=texts)
    counts = do(run)
    found = tables(run)
    assert counts.rows_in == 3 == len(found["sentences"]) + len(found["rejected"])
    assert {row["reason"] for row in found["rejected"]} <= {"no valid answer", "tied votes"}
    assert {row["label"] for row in found["sentences"]} <= {"memory", "mood", "other"}
    assert counts.notes["answers_asked"] >= 3
    assert counts.notes["agreement"]["n"] == len([row for row in found["sentences"] if row["planned_label"]])
    again = tables(run)
    do(run)
    assert tables(run) == again
