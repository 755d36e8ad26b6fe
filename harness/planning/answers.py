"""Answers that somebody else gave to an arm's prompts: judged like any reply, and written as a file arm."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.backends.base import Reply
from harness.errors import ConfigError, DataError, Faults, nearest
from harness.generation.export import prompt_rows
from harness.generation.manner import Manner, template_name
from harness.generation.stage import manner
from harness.planning.aligned import run_to_alignment
from harness.records import Records, parse_records
from harness.schemas.recipe import Recipe
from harness.store import write_text

COLUMNS = ("text_id", "text")


@dataclass(frozen=True)
class Collected:
    """What became of the answers.

    Attributes:
        n_prompts: Prompts of the arm.
        kept: Rows of a file arm: prompt, answer, and what the prompt showed.
        rejected: Filter reason to number of answers.
    """

    n_prompts: int
    kept: list[dict[str, Any]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def n_unanswered(self) -> int:
        return self.n_prompts - len(self.kept) - self.rejected.total()


def collect_answers(
    recipe: Recipe, folder: Path, answers: Path, out: Path, *, arm: str, model_id: str = "unknown"
) -> Collected:
    """Judge the answers to an arm's prompts by the arm's own filters and write those kept as JSONL.

    Args:
        recipe: The recipe whose prompts were answered (`harness prompts`).
        folder: The run folder; stages up to alignment are run there.
        answers: JSONL, CSV or Parquet with text_id and text.
        out: The file to write.
        arm: Whose prompts they are.
        model_id: Who answered, for the tables.

    Raises:
        ConfigError: An unknown arm, one that is a file, or one that writes notes.
        DataError: A missing column, an id that no prompt has, or one that stands twice; all of them, with rows.
    """
    _check_arm(recipe, arm)
    texts = _texts(parse_records(answers.read_bytes(), answers.suffix, str(answers)), str(answers))
    how = manner(run_to_alignment(recipe, folder), arm)
    template = template_name(recipe.task, recipe.arms[arm])
    prompts = prompt_rows(how, how.build(how.slots, 0), arm=arm, template=template)
    unknown = sorted(set(texts) - {row["text_id"] for row in prompts})
    if unknown:
        raise DataError(
            f"{answers}: {len(unknown)} ids are of no prompt of arm {arm!r} (first: {unknown[0]!r}); allowed: "
            f"{prompts[0]['text_id']} to {prompts[-1]['text_id']}; was it this recipe, seed and gold?"
        )
    found = _judge(how, prompts, texts, model_id)
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found.kept))
    return found


def _check_arm(recipe: Recipe, arm: str) -> None:
    known = [name for name, one in recipe.arms.items() if one.path is None and one.unit == "sentence"]
    if arm not in known:
        raise ConfigError(
            f"{recipe.path}: no arm {arm!r} that writes sentences{nearest(arm, known)}; known: "
            f"{', '.join(known) or 'none'}"
        )


def _texts(records: Records, where: str) -> dict[str, str]:
    faults = Faults(where)
    faults.extend(f"missing column {name!r}" for name in COLUMNS if name not in records.columns)
    if faults.messages:
        raise DataError(faults.render())
    texts: dict[str, str] = {}
    for record in records.rows:
        text_id, text = (record.cells.get(name) for name in COLUMNS)
        if not isinstance(text, str):
            faults.add(f"row {record.row}, column 'text': found a {type(text).__name__}; a text is required")
        elif str(text_id) in texts:
            faults.add(f"row {record.row}, column 'text_id': {str(text_id)!r} stands in an earlier row too")
        else:
            texts[str(text_id)] = text
    if faults.messages:
        raise DataError(faults.render())
    return texts


def _judge(how: Manner[Any, Any], prompts: list[dict[str, Any]], texts: Mapping[str, str], model_id: str) -> Collected:
    """In the order of slots, so that which of two near-duplicates stays does not depend on the file's order."""
    found = Collected(n_prompts=len(prompts))
    for slot, row in zip(how.slots, prompts, strict=True):
        if row["text_id"] not in texts:
            continue
        reply = Reply(status="ok", text=texts[row["text_id"]], finish_reason="stop")
        reason = how.judge.reject(reply, how.view(slot))
        if reason is None:
            found.kept.append({**row, "text": how.clean(reply.text), "model_id": model_id})
        else:
            found.rejected[reason] += 1
    return found
