"""Synthetic texts in, labelled sentences out. One unit per arm that a mix draws from.

The label is what the text was asked to show (`plan`) or what its file says (`file`); it is not looked at again, so the
confidence is null. A generated text is one sentence by the generator's own filter, and a file's row is one sentence by
its author's word: both are taken whole, without the white space around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.schemas.manifest import Counts
from harness.schemas.tables import SENTENCES, SUBGROUP_COLUMNS, SYNTHETIC
from harness.sentences import split
from harness.store import Run, Unit, count_values, read_table, write_table

STAGE = "annotation"
VERSION = 1


def units(run: Run) -> list[Unit]:
    return [_unit(run, name) for name in run.recipe.used_arms]


def _unit(run: Run, name: str) -> Unit:
    source = run.path("generation", name, "synthetic.parquet")

    def work(folder: Path) -> Counts:
        synthetic = read_table(source, SYNTHETIC)
        rows = [label_sentence(name, row) for row in synthetic.to_pylist()]
        table = write_table(folder / "sentences.parquet", rows, SENTENCES)
        n_several = sum(len(split(row["text"])) > 1 for row in rows)
        notes = {"labels": count_values(table, "label"), "texts_of_several_sentences": n_several}
        return Counts(rows_in=synthetic.num_rows, rows_out=len(rows), notes=notes)

    return Unit(
        stage=STAGE,
        name=name,
        inputs=[source],
        settings={"version": VERSION, "labels": list(run.task.label_ids)},
        seed_path=(STAGE, name),
        work=work,
        outputs=("sentences.parquet",),
    )


def label_sentence(arm: str, synthetic: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the sentences table for one row of the synthetic table."""
    text = synthetic["text"]
    start = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    subgroups = {
        name: value for name, value in synthetic.items() if name in SUBGROUP_COLUMNS or name not in SYNTHETIC.columns
    }
    return {
        "sentence_id": f"{arm}/{synthetic['text_id']}/0",
        "text_id": synthetic["text_id"],
        "persona_id": synthetic["persona_id"],
        "char_start": start,
        "char_end": end,
        "text": text[start:end],
        "label": synthetic["planned_label"],
        "label_source": "file" if synthetic["backend"] == "file" else "plan",
        "confidence": None,
        "term": synthetic["planned_term"],
        "planned_label": synthetic["planned_label"],
        **subgroups,
    }
